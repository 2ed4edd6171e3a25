"""`revgan env`: what this machine has, for reports of bugs."""

from jsonargparse import Namespace
from rich.console import Console

from revgan.options import Parser


def add_options(parser: Parser) -> None:
    """There are none."""
    parser.description = (
        "Print versions, processor, GPU, memory and threads, for a report of a bug. Nothing in it "
        "identifies you or the machine."
    )


def run(options: Namespace, console: Console) -> int:
    """Prints what this machine has."""
    from revgan.environment import machine

    for name, value in machine().items():
        console.print(f"{name + ':':<14} {value}", soft_wrap=True, highlight=False)
    return 0
