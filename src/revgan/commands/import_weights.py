"""`revgan import`: a model folder from the checkpoints of other code."""

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.directions import Direction
from revgan.errors import visible
from revgan.options import Parser


def add_options(parser: Parser) -> None:
    """What is imported, and where to."""
    parser.description = (
        "Make a model folder from a checkpoint of the paper's released code, CycleGAN or pix2pix."
    )
    parser.add_argument(
        "source", help="a checkpoint folder, or one .pth file of a ResNet generator"
    )
    parser.add_argument("model", help="the folder to make, for revgan translate")
    parser.add_argument(
        "--epoch", help="what the names of the folder's files begin with; by default latest"
    )
    parser.add_argument(
        "--direction",
        type=Direction,
        help="which way a pix2pix generator translates; by default AtoB",
    )


def run(options: Namespace, console: Console) -> int:
    """Imports a checkpoint, and tells what it is."""
    from revgan.networks.importing import import_model

    model = Path(options.model)
    generator = import_model(Path(options.source), model, options.epoch, options.direction)
    config = generator.config
    console.print(
        f"Wrote {visible(model)}: {config.model} of width {config.width}, depth {config.depth} and "
        f"norm {config.norm}, {' and '.join(generator.directions)}",
        soft_wrap=True,
    )
    return 0
