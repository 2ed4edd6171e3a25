"""The command line: finds the command, and turns errors into exit statuses.

Each command is imported when it is called, and PyTorch when it runs, so that no help waits for it.
"""

import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TextIO

from revgan import __version__
from revgan.errors import (
    Notice,
    Stopped,
    UserError,
    io_sentence,
    out_of_memory,
    solver_failed,
)

COMMANDS = {
    "demo": "train on a real sample set, translate what was held out, write a report",
    "train": "train a model on your images or volumes, or resume a run",
    "translate": "translate images or volumes with a trained model",
    "prepare": "make a data set of the paper for training: Cityscapes, Maps or diffusion tensors",
    "import": "make a model folder from weights of the paper's code, CycleGAN or pix2pix",
    "evaluate": "scores, translated test images and reports of runs, one or several compared",
    "figure": "pictures of test images beside the translations of runs",
    "plan": "predict the memory that a training needs, and what fits",
    "benchmark": "measure ways to train side by side, or (benchmark paper) the paper's tables",
}

USAGE_ERROR = 2

_OUT_OF_MEMORY = (
    "the device's memory is not enough; revgan plan says what fits: lower data.crop, "
    "training.batch_size, generator.width or discriminator.width, or translate with a --window"
)

_SOLVER_FAILED = (
    "the ODE solver gave up, as values are infinite or its steps became too small; raise "
    "generator.ode_rtol and ode_atol, lower optimizer.lr, or take a solver with fixed steps, such "
    "as generator.ode_solver rk4"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit status: 0; 1 for an error that the user can mend; 2 for a wrong command line; 128
        and the signal's number where one stopped training.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else USAGE_ERROR
    if arguments[0] in ("-V", "--version"):
        print(f"revgan {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        return _fail(f"there is no command {name}; the commands are {known}", USAGE_ERROR)
    try:
        with _terminable(), warnings.catch_warnings():
            warnings.showwarning = _show
            warnings.simplefilter("once", Notice)
            return _run(name, rest)
    except UserError as error:
        return _fail(str(error), error.status)
    except OSError as error:
        return _fail(io_sentence(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _fail(_OUT_OF_MEMORY, 1)
    except AssertionError as error:
        if not solver_failed(error):
            raise
        return _fail(_SOLVER_FAILED, 1)
    except Stopped as stopped:
        how = "interrupted" if stopped.signal == signal.SIGINT else "terminated"
        return _fail(how, 128 + stopped.signal)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


@contextmanager
def _terminable() -> Iterator[None]:
    """Within, SIGTERM ends the command as Ctrl-C does, so that unfinished files are removed."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    known = signal.getsignal(signal.SIGTERM)
    if known is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield  # somebody else decides
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, known)


def _run(name: str, arguments: list[str]) -> int:
    from rich.console import Console

    from revgan.environment import Load
    from revgan.options import Parser

    load = Load()
    module = "import_weights" if name == "import" else name  # import is Python's own word
    command = import_module(f"revgan.commands.{module}")
    parser = Parser(name)
    command.add_options(parser)
    options = parser.parse_args(arguments)
    options.command_line = shlex.join(["revgan", name, *arguments])
    load.yield_when_busy()
    return command.run(options, Console())


def _overview() -> str:
    lines = [f"  {name:<10} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: revgan COMMAND ...",
            "",
            "Memory-efficient image-to-image translation with reversible GANs.",
            "",
            "commands:",
            *lines,
            "",
            "revgan COMMAND --help shows a command's options.",
        ]
    )


_show_warning = warnings.showwarning


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints notices as sentences, and all other warnings as Python does."""
    if issubclass(category, Notice):
        print(f"revgan: {message}", file=sys.stderr)
    else:
        _show_warning(message, category, filename, lineno, file, line)


def _fail(message: str, status: int) -> int:
    print(f"revgan: {message}", file=sys.stderr)
    return status
