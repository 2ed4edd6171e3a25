"""`revgan export`: write a trained model as a file that other programs run."""

from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan.directions import DIRECTIONS, Direction
from revgan.errors import UsageError, visible
from revgan.options import Parser, sample_scans

Format = Literal["auto", "onnx", "pt2", "bundle"]
SUFFIXES = {".onnx": "onnx", ".pt2": "pt2"}


def add_options(parser: Parser) -> None:
    """Which model, to which file."""
    parser.description = (
        "Write a trained model as a file that other programs run, and check it against the model."
    )
    parser.add_argument("run", help="a run folder or a model folder")
    parser.add_argument(
        "output",
        help="the file to write, such as model.onnx; with --direction both, a folder for AtoB.onnx "
        "and BtoA.onnx",
    )
    parser.add_argument(
        "--format",
        type=Format,
        default="auto",
        help="onnx runs nearly everywhere and takes images or volumes of any size, pt2 is for "
        "PyTorch (torch.export), bundle makes a folder that python -m monai.bundle run runs on "
        "volumes; auto goes by the file's suffix",
    )
    parser.add_argument(
        "--direction", type=Direction | Literal["both"], default="AtoB", help="AtoB, BtoA or both"
    )
    parser.add_argument(
        "--dtype",
        type=Literal["float32", "float16"],
        default="float32",
        help="of weights and computations; inputs and outputs are float32 in any case",
    )
    parser.add_argument(
        "--values",
        type=Literal["unit", "file"],
        default="unit",
        help="what goes in and comes out: unit, from -1 to 1; file, values in the units of the "
        "training data's files, such as 0 to 255 or Hounsfield units, with NaN where nothing was "
        "measured",
    )
    parser.add_argument(
        "--sample",
        metavar="FILE",
        type=str | None,
        help="an image or volume, or a folder of them, to check the file with, beside random "
        "values; by default test files of the run's data, if they are there",
    )


def run(options: Namespace, console: Console) -> int:
    """Exports a model, and says how much the files differ from it."""
    from revgan.exporting import ExportOptions, export_model
    from revgan.inference import Translator

    output = Path(options.output)
    both = options.direction == "both"
    kind = _format(options, output, both)
    translator = Translator.from_pretrained(options.run, "cpu")
    directions: tuple[Direction, ...] = DIRECTIONS if both else (options.direction,)
    # Namespaces have a method of that name.
    values: Literal["unit", "file"] = "file" if kind == "bundle" else options["values"]
    wanted = ExportOptions(kind, options.dtype, values)
    for direction in directions:
        path = output / f"{direction}.{kind}" if both else output
        scans = sample_scans(options.run, options.sample, translator, direction)
        difference = export_model(translator, path, direction, wanted, scans)
        real = f", {difference.real:.1e} on {difference.count} real" if difference.count else ""
        console.print(
            f"Wrote {visible(path)}: {direction}, within {difference.random:.1e} of the model on "
            f"random inputs{real} (shares of the output's range)",
            soft_wrap=True,
        )
    return 0


def _format(options: Namespace, output: Path, both: bool) -> Literal["onnx", "pt2", "bundle"]:
    """The format, which a suffix must agree with."""
    if options.format == "bundle":
        if output.exists() or both or options.dtype != "float32":
            raise UsageError(
                "a bundle is a new folder, for one direction, in float32; name a folder that isn't "
                "there yet, and omit --dtype"
            )
        return "bundle"
    named = SUFFIXES.get(output.suffix.lower())
    if both:
        if named or output.is_file():
            raise UsageError(
                f"with --direction both the output is a folder for two files, not {output}"
            )
        return "pt2" if options.format == "pt2" else "onnx"
    if named is None or options.format not in ("auto", named):
        wanted = ".onnx or .pt2" if options.format == "auto" else f".{options.format}"
        raise UsageError(f"the output must be a file whose name ends in {wanted}, not {output}")
    return "pt2" if named == "pt2" else "onnx"
