"""`revgan completion`: a script that completes commands and options in a shell."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan import commands
from revgan.options import Parser

Shell = Literal["bash", "zsh", "tcsh"]


def add_options(parser: Parser) -> None:
    """Which shell."""
    parser.description = (
        "Print a script that completes commands and options with the Tab key. For bash, put "
        'eval "$(revgan completion bash)" into ~/.bashrc.'
    )
    parser.add_argument("shell", type=Shell, help="bash, zsh or tcsh")


def run(options: Namespace, console: Console) -> int:
    """Prints the script."""
    whole = Parser()
    whole.prog = "revgan"
    for found in iter_modules(commands.__path__):
        name = "import" if found.name == "import_weights" else found.name
        command, parser = import_module(f"{commands.__name__}.{found.name}"), Parser(name)
        what = (command.__doc__ or "").partition(": ")[2].rstrip(".")
        whole.add_task(name, parser, what)
        command.add_options(parser)  # last, as it may add tasks
    console.out(whole.get_completion_script(f"shtab-{options.shell}"), highlight=False)
    return 0
