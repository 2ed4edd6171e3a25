"""The command line: finds the command, and turns errors into exit statuses.

Each command is imported when called, and PyTorch when it runs, so that help doesn't wait for it.
"""

import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import TextIO

from revgan import __version__
from revgan.errors import (
    Notice,
    Stopped,
    UserError,
    io_sentence,
    out_of_memory,
    solver_failed,
    visible,
)

COMMANDS = {
    "demo": "train on a built-in sample set, translate its test images, write a report",
    "train": "train a model on your images or volumes, or resume a run",
    "translate": "translate images or volumes with a trained model",
    "serve": "open a web page that translates files with a trained model",
    "models": "list the trained models that come with revgan",
    "prepare": "make one of the paper's data sets: Cityscapes, Maps or diffusion tensors",
    "import": "make a model folder from weights of the paper's code, CycleGAN or pix2pix",
    "export": "write a trained model as an ONNX or PyTorch file that other programs run",
    "push": "put a trained model on the Hugging Face hub, with a model card",
    "evaluate": "score one or more runs, translate their test images, write reports",
    "figure": "draw test images beside the translations of runs",
    "plan": "predict the memory that training needs, and what fits",
    "runs": "list runs with their steps, scores and sizes",
    "env": "print what this machine has, for reports of bugs",
    "completion": "print a script that completes commands and options in a shell",
    "benchmark": "compare ways to train, or measure the paper's tables (benchmark paper)",
}

USAGE_ERROR = 2

_OUT_OF_MEMORY = (
    "the device doesn't have enough memory; revgan plan shows what fits: set generator.memory "
    "auto, lower data.crop, training.batch_size, generator.width or discriminator.width, or "
    "translate with a --window"
)

_SOLVER_FAILED = (
    "the ODE solver gave up, as values are infinite or its steps became too small; raise "
    "generator.ode_rtol and ode_atol, lower optimizer.lr, or use a solver with fixed steps, such "
    "as generator.ode_solver rk4"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit status: 0; 1 for an error that the user can fix; 2 for a wrong command line; 128
        plus the signal's number if one stopped training.
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
    """While active, SIGTERM ends the command like Ctrl-C, so that unfinished files are removed."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    known = signal.getsignal(signal.SIGTERM)
    if known is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield  # someone else handles it
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, known)


def _run(name: str, arguments: list[str]) -> int:
    from revgan.environment import bound_kernel_caches
    from revgan.load import Load
    from revgan.options import Parser
    from revgan.text import PlainConsole, shell_word

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names need not be UTF-8
    load = Load()
    module = "import_weights" if name == "import" else name  # import is a Python keyword
    command = import_module(f"revgan.commands.{module}")
    parser = Parser(name)
    command.add_options(parser)
    options = parser.parse_args(arguments)
    options.command_line = " ".join(map(shell_word, ["revgan", name, *arguments]))
    load.before_torch()
    bound_kernel_caches()
    with load.followed():
        return command.run(options, PlainConsole())


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


def _tell(message: object) -> None:
    """Prints a sentence to stderr, on one line, whatever names are in it."""
    print(f"revgan: {visible(message)}", file=sys.stderr)


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
        _tell(message)
    else:
        _show_warning(message, category, filename, lineno, file, line)


def _fail(message: str, status: int) -> int:
    _tell(message)
    return status
