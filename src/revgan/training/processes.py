"""What the processes of one training do together, and the error when one is gone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from revgan.errors import UserError, out_of_memory


class LostProcessError(UserError):
    """Another process of the training has ended, or can't be reached."""


@contextmanager
def together() -> Iterator[None]:
    """Surrounds what all processes of a training must take part in.

    Raises:
        LostProcessError: one of them is gone.
    """
    try:
        yield
    except RuntimeError as error:
        # The backends' errors have no common type, but nothing else can fail inside.
        if out_of_memory(error) or not torch.distributed.is_initialized():
            raise
        raise LostProcessError(
            f"process {torch.distributed.get_rank()} of {torch.distributed.get_world_size()} has "
            "lost another process; see that one's message for the reason"
        ) from error


def first_told(cause: str | None) -> str | None:
    """The first cause that any process of the training reports; all must call this.

    Raises:
        LostProcessError: one of them is gone.
    """
    if not torch.distributed.is_initialized():
        return cause
    causes: list[str | None] = [None] * torch.distributed.get_world_size()
    with together():
        torch.distributed.all_gather_object(causes, cause)
    return next((each for each in causes if each is not None), None)
