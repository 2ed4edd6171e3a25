"""Which networks' code a command may run: what is named on its line, or all with ``--trust``."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from jsonargparse import Namespace

from revgan.options.parser import Parser

CLASS = "--losses.feature_class"


def add_class_trust(parser: Parser) -> None:
    """``--trust``, for commands that train; `trust_given` and `trust_all` act by it."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help=(
            f"let {CLASS} come from a configuration too, such as that of a run's folder; its code "
            "can read and change all your files"
        ),
    )


def trust_given(parser: Parser) -> None:
    """Trusts classes that are named on the command line itself, not in files that it names."""
    for name in _named(parser.args):
        _trust(name)


def trust_all(options: Namespace) -> None:
    """With ``--trust``, trusts the class that the options name, wherever they are from."""
    if options.trust and options["losses.feature_class"] is not None:
        _trust(options["losses.feature_class"])


def _named(arguments: Sequence[str]) -> Iterator[str]:
    for argument, following in pairwise([*arguments, ""]):
        name, given, value = argument.partition("=")
        if name == CLASS:
            yield value if given else following


def _trust(name: str) -> None:
    from revgan.training.features import trust_class  # imports PyTorch, which `--help` must not

    trust_class(name)
