"""`revgan import`: make a model folder from checkpoints of other code."""

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.directions import Direction
from revgan.errors import visible
from revgan.options import Parser


def add_options(parser: Parser) -> None:
    """What to import, and where to."""
    parser.description = (
        "Make a model folder from a checkpoint of the paper's released code, CycleGAN or pix2pix."
    )
    parser.add_argument(
        "source", help="a checkpoint folder, or one .pth file of a ResNet generator or U-Net"
    )
    parser.add_argument("model", help="the folder to make, for revgan translate")
    parser.add_argument(
        "--epoch", help="what the folder's file names begin with; by default latest"
    )
    parser.add_argument(
        "--direction",
        type=Direction,
        help="the direction of a pix2pix generator; by default AtoB",
    )


def run(options: Namespace, console: Console) -> int:
    """Imports a checkpoint, and says what it is."""
    from revgan.networks.importing import import_model

    model = Path(options.model)
    generator = import_model(Path(options.source), model, options.epoch, options.direction)
    config = generator.config
    console.print(
        f"Wrote {visible(model)}: {config.model} of {config.size} and norm {config.norm}, "
        f"{' and '.join(generator.directions)}",
        soft_wrap=True,
    )
    return 0
