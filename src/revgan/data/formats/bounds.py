"""What a file declares, compared with its size and the free memory, before its values are read."""

from pathlib import Path

from revgan.data.formats.contract import Reader
from revgan.data.formats.kinds import KINDS
from revgan.errors import UserError
from revgan.memory import format_bytes

EASY = 2**26
"""Bytes that are read without looking how many are free."""


def require_declared(reader: Reader, path: Path) -> None:
    """Refuses a file that is too small for the size that it declares."""
    if path.is_file() and reader.least > path.stat().st_size:
        shape = reader.header.shape
        raise UserError(
            f"{path} says that it has {KINDS[len(shape)].size(shape)}, but is too small for that; "
            "replace it with an undamaged copy"
        )


def require_memory(needed: int, path: Path) -> None:
    """Refuses what the memory can't hold, rather than let the system end the process.

    Args:
        needed: in bytes.
        path: the file to be read.
    """
    if needed <= EASY:
        return
    import torch  # not above: configurations need words of formats, and no PyTorch

    from revgan.memory import free_memory

    if needed > (free := free_memory(torch.device("cpu"))):
        raise UserError(
            f"{path} needs {format_bytes(needed)} of memory to be read, but {format_bytes(free)} "
            "are free; crop it, or save it in a format that can be read in parts, such as TIFF"
        )
