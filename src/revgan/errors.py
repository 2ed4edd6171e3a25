"""Errors that end a command."""


class UserError(Exception):
    """Something the user can mend, told in one sentence.

    The message says what is wrong, where, and what would be right.

    Attributes:
        status: the exit status of a command that ends with it.
    """

    status = 1


class UsageError(UserError):
    """The command line is wrong."""

    status = 2


def solver_failed(error: AssertionError) -> bool:
    """Whether an ODE solver gave up: its steps became too small, or values infinite.

    Torchdiffeq has no error of its own for this; it asserts.
    """
    return any(phrase in str(error) for phrase in ("underflow in dt", "non-finite values in state"))


def out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or Python could not get the memory that it asked for.

    PyTorch has an error of its own for GPUs only; on the CPU it raises a plain RuntimeError.
    """
    if isinstance(error, MemoryError):
        return True
    phrases = ("out of memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
