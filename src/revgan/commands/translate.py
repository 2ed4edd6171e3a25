"""`revgan translate`: translate files of images or volumes with a trained model."""

from pathlib import Path
from typing import Literal

from jsonargparse import Namespace
from rich.console import Console

from revgan.directions import Direction
from revgan.environment import require_device
from revgan.errors import UsageError, visible
from revgan.options import Parser, add_window_options, window_options
from revgan.training.config import Device

OutputType = Literal["auto", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"]


def add_options(parser: Parser) -> None:
    """What to translate, with which model, to where."""
    parser.description = "Translate an image, a volume, or a folder of them."
    parser.add_argument(
        "run",
        help="a run folder, its checkpoints/step-N, a model folder, an exported model, or a "
        "model on the Hugging Face hub, user/name",
    )
    parser.add_argument(
        "input",
        help="an image (PNG, JPEG, TIFF, OME-TIFF, OME-Zarr, a whole slide) or a volume (NIfTI, "
        "MHA, NRRD, NPY, OME-Zarr, a DICOM series), whichever the model is for, or a folder of "
        "them, or a pattern of their paths, such as sub-*/anat/*_T1w.nii.gz",
    )
    parser.add_argument(
        "output",
        help=(
            "a file, or a folder where files keep their names; folders are made as needed, for a "
            "single file if the name ends in /; JPEGs become PNGs if the translation has an alpha "
            "channel"
        ),
    )
    parser.add_argument(
        "--stack",
        nargs="+",
        metavar="INPUT",
        default=[],
        help="further files, folders or patterns, whose channels follow those of the input, for a "
        "model that was trained on several files as one scan",
    )
    parser.add_argument(
        "--recursive", action="store_true", help="search the input's subfolders too"
    )
    parser.add_argument(
        "--series",
        type=str | None,
        help="which of several scans in a file or folder is meant: DICOM series by number, "
        "description or UID, without it each of them; images of OME-TIFF and OME-Zarr by number or "
        "name",
    )
    parser.add_argument(
        "--level",
        type=int | None,
        help="level of pyramids to translate, 0 the finest; by default that of training",
    )
    parser.add_argument(
        "--pixel-size",
        metavar="MICROMETRES",
        type=float | None,
        help="micrometres from pixel to pixel that images are resampled to as they are read; by "
        "default those of training",
    )
    parser.add_argument(
        "--select",
        metavar="CHANNELS",
        type=tuple[str | int, ...] | None,
        help="channels of the files to translate, by number from 0 or by name; by default those of "
        "training",
    )
    parser.add_argument("--z", type=int | None, help="plane, from 0, of stacks for a 2D model")
    parser.add_argument("--t", type=int | None, help="point in time, from 0, of time series")
    parser.add_argument("--direction", type=Direction, default="AtoB", help="AtoB or BtoA")
    parser.add_argument(
        "--device", type=Device, default="auto", help="where to run; auto takes a GPU if possible"
    )
    add_window_options(parser)
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out files whose translations are there, such as those of an interrupted run",
    )
    parser.add_argument(
        "--part",
        metavar="NUMBER/COUNT|auto",
        type=str | None,
        help="translate one of several parts of a folder, such as 3/64; auto takes it from the "
        "environment of a Slurm array job or of torchrun",
    )
    parser.add_argument(
        "--ensemble",
        metavar="RUN",
        nargs="+",
        default=[],
        help="further runs or model folders; the translation is the mean of all of theirs",
    )
    parser.add_argument(
        "--flips",
        metavar="AXES",
        type=tuple[int, ...],
        default=(),
        help="average over mirror images too, along these axes and all their combinations, such as "
        "[0, 1]; axes are those of the model's grid, from 0 (of images: rows, columns)",
    )
    parser.add_argument(
        "--spread",
        metavar="PATH",
        type=str | None,
        help="also write the standard deviation of the translations that are averaged, as a map of "
        "uncertainty: a file, or a folder if the output is one",
    )
    parser.add_argument(
        "--dtype",
        type=OutputType,
        default="auto",
        help="type of the values to write, of all files; auto takes that of the input, if it has "
        "the numbers of the output's range, else float32; photos keep their depth",
    )
    parser.add_argument(
        "--resize",
        metavar="PIXELS",
        type=int | None,
        help="scale the shorter side of images to so many pixels first, as data.resize in training",
    )


def run(options: Namespace, console: Console) -> int:
    """Translates, and says what was written."""
    from revgan.data.formats import Selection
    from revgan.inference.files import Wishes, run_translation
    from revgan.inference.shares import share

    require_device(options.device, "--device")
    if options.resize is not None and options.resize < 1:
        raise UsageError(f"--resize must be 1 or more, not {options.resize}")
    wishes = Wishes(
        options.direction,
        options.device,
        window_options(options).decide,
        into_folder=options.output.endswith("/"),
        recursive=options.recursive,
        selection=Selection(
            options.series,
            options.level,
            options.pixel_size,
            None if options.select is None else tuple(map(str, options.select)),
            options.z,
            options.t,
        ),
        skip_existing=options.skip_existing,
        part=share(options.part),
        dtype=None if options.dtype == "auto" else options.dtype,
        resize=options.resize,
        stack=tuple(options.stack),
        ensemble=tuple(map(Path, options.ensemble)),
        flips=options.flips,
        spread=None if options.spread is None else Path(options.spread),
    )
    output = Path(options.output)
    written = run_translation(Path(options.run), Path(options.input), output, wishes, console)
    files = "1 file" if written == 1 else f"{written} files"
    console.print(f"Wrote {files} to {visible(str(output))}", soft_wrap=True)
    return 0
