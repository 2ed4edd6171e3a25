"""Errors that end a command."""


class UserError(Exception):
    """Something the user can mend, told in one sentence.

    The message says what is wrong, where, and what would be right.

    Attributes:
        status: the exit status of a command that ends with it.
    """

    status = 1
