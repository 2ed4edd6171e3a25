"""Which file is to blame for what a library says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from revgan.errors import UserError, out_of_memory


def reason(error: Exception) -> str:
    """An error's message on one line."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error) or type(error).__name__).split())


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turns what libraries raise for damaged files into a `UserError`.

    Args:
        path: what is read; of a scan in several files, the one that is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files make decoders raise nearly anything
        if out_of_memory(error):
            raise UserError(
                f"{path} needs more memory to be read than there is; crop it"
            ) from error
        raise UserError(
            f"{path} cannot be read ({reason(error)}); replace it with an undamaged copy"
        ) from error
