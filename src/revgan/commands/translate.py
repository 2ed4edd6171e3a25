"""`revgan translate`: images or volumes through a trained model, from files to files."""

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.directions import Direction
from revgan.environment import require_device
from revgan.errors import visible
from revgan.options import Parser, add_window_options, window_options
from revgan.training.config import Device


def add_options(parser: Parser) -> None:
    """What is translated, by which model, into what."""
    parser.description = "Translate an image or a volume, or a folder of them."
    parser.add_argument("run", help="a run folder or a model folder")
    parser.add_argument(
        "input",
        help="an image (PNG, JPEG, TIFF) or a volume (NIfTI, MHA, NRRD, NPY, a DICOM series), "
        "whichever the model is for, or a folder of them",
    )
    parser.add_argument(
        "output",
        help="a file, or a folder where files keep their names; folders are made, for a single "
        "file if the name ends in /; JPEGs whose translation has an alpha channel, which JPEG "
        "can't hold, become PNGs",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="look into the folders inside the input, too"
    )
    parser.add_argument(
        "--series",
        type=str | None,
        help="which DICOM series of a folder is meant, by its number, description or UID; without "
        "it, each of them is translated",
    )
    parser.add_argument("--direction", type=Direction, default="AtoB", help="which way")
    parser.add_argument(
        "--device", type=Device, default="auto", help="where to run; auto takes a GPU if possible"
    )
    add_window_options(parser)


def run(options: Namespace, console: Console) -> int:
    """Translates, and tells what was written."""
    from revgan.inference.files import run_translation

    require_device(options.device, "--device")
    written = run_translation(
        Path(options.run),
        Path(options.input),
        Path(options.output),
        options.direction,
        options.device,
        window_options(options).decide,
        console,
        into_folder=options.output.endswith("/"),
        recursive=options.recursive,
        series=options.series,
    )
    what = f"{len(written)} files in {options.output}" if len(written) > 1 else str(written[0])
    console.print(f"Wrote {visible(what)}", soft_wrap=True)
    return 0
