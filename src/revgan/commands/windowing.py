"""One pass or windows: the options of commands that translate."""

from jsonargparse import Namespace

from revgan.commands.options import Parser
from revgan.training.windowing import AUTO, WindowOptions


def add_window_options(parser: Parser) -> None:
    """The options `--window` and `--overlap`."""
    parser.add_argument(
        "--window",
        metavar="auto|whole|SIZE",
        type=str,
        default=AUTO.window,
        help="whole: each file in one pass; SIZE: in windows of so many pixels or voxels a side, "
        "which overlap and are blended; auto: in one pass where that fits into the free memory, "
        "else in the largest windows that fit",
    )
    parser.add_argument(
        "--overlap",
        metavar="SHARE",
        type=float,
        default=AUTO.overlap,
        help="share of a window's side that it has in common with the next",
    )


def window_options(options: Namespace) -> WindowOptions:
    """What was given of `add_window_options`."""
    return WindowOptions(options.window, options.overlap)
