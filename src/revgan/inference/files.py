"""Translates files of images or volumes with a trained model."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from revgan.data.formats import (
    KINDS,
    WHOLE,
    Header,
    Selection,
    is_scan,
    suffix_of,
    suffixes,
)
from revgan.data.patterns import domain_scans, wildcards
from revgan.data.refs import ScanRef, Scans, given_scans
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.files import remove_abandoned
from revgan.inference.averaging import AveragedJob, members, require_alike
from revgan.inference.batches import Outcome, translate_all
from revgan.inference.jobs import fitting_type
from revgan.inference.outputs import fitting_path, least_header, output_paths
from revgan.inference.parts import describe
from revgan.inference.shares import ALL, Share
from revgan.inference.slicewise import file_job
from revgan.inference.translator import Translator
from revgan.inference.windows import Cutting


@dataclass(frozen=True)
class Wishes:
    """What the user wants of a translation.

    Attributes:
        direction: "AtoB" or "BtoA".
        device: "auto", or a device's name in PyTorch.
        windows: decides, for a model, whether and how large files are cut.
        into_folder: the target is a folder of files even if the source is one scan and it doesn't
            exist yet.
        recursive: looks into folders inside the source, too.
        selection: which part of the source's files is meant; what it leaves open is as in training.
        skip_existing: leaves out files whose translation is there already.
        part: which of a folder's files to translate.
        dtype: of the values to write; None for that of `Translator.output_type`.
        resize: pixels that the shorter side of images is scaled to first; None leaves them.
        stack: further files, folders or patterns, whose channels follow those of the source.
        ensemble: further models, with whose translations the mean is taken.
        flips: axes of the models' grid over whose mirror images it is taken too.
        spread: a file or folder for the standard deviation of what the mean is of; None for none.
    """

    direction: Direction
    device: str
    windows: Callable[[Translator], Cutting | None]
    into_folder: bool = False
    recursive: bool = False
    selection: Selection = WHOLE
    skip_existing: bool = False
    part: Share = ALL
    dtype: str | None = None
    resize: int | None = None
    stack: tuple[str, ...] = ()
    ensemble: tuple[Path, ...] = ()
    flips: tuple[int, ...] = ()
    spread: Path | None = None


def run_translation(run: Path, source: Path, target: Path, wishes: Wishes, console: Console) -> int:
    """Translates a file, or every image or volume of a folder, and tells what was written.

    Args:
        run: a run folder or a model folder.
        source: an image or volume, whichever the model translates, a folder of them, or a pattern
            of their paths.
        target: a file or folder for a file, a folder for a folder. In a folder, files keep their
            names; JPEGs become PNGs if the translation has an alpha channel. Folders are made as
            needed.
        wishes: all else.
        console: where to tell it.

    Returns:
        How many files were written.

    Raises:
        UserError: the model, a file or the target is not usable; all other files are written.
    """
    device = None if wishes.device == "auto" else wishes.device
    translator = Translator.from_pretrained(run, device)
    directions = translator.generator.directions
    if wishes.direction not in directions:
        raise UserError(
            f"{run} does not translate {wishes.direction}; give --direction "
            f"{' or '.join(directions)}"
        )
    dims = translator.file_dims
    if wishes.resize is not None and not KINDS[dims].halved:
        raise UserError(f"--resize is for images, and {run} translates volumes; leave it out")
    found = _found(source, dims, wishes)
    found.tell()
    one = len(found.refs) == 1 and found.refs[0].path == source  # not the only one in a folder
    into_folder = wishes.into_folder or not one or (target.is_dir() and not is_scan(target))
    _check_names(run, source, target, into_folder, dims)
    if into_folder and not wishes.into_folder and not target.exists() and suffix_of(target):
        raise UserError(
            f"{target} is named like a file, but {source} is a folder or pattern of files; name a "
            f"folder, or write {target}/"
        )
    outputs = [target]
    if into_folder:
        least = least_header(translator, wishes.direction, wishes.dtype)
        outputs = output_paths(found.refs, target, least, console)
    for ref, output in zip(found.refs, outputs, strict=True):
        if output.resolve() in [path.resolve() for path in (ref.path, *ref.more)]:
            raise UserError(f"{ref} is both input and output; name another output")
    _check_averaging(run, translator, wishes)
    models = [translator, *(Translator.from_pretrained(path, device) for path in wishes.ensemble)]
    require_alike(models, [run, *wishes.ensemble], wishes.direction)
    for model in models:
        model.windows = wishes.windows(model)
    spreads = _spreads(outputs, wishes.spread, translator, wishes, into_folder=into_folder)
    dtype = _common_type(translator, found.refs, wishes)
    pairs = list(zip(found.refs, outputs, strict=True))
    mine = wishes.part.of(pairs)
    left = [pair for pair in mine if not (wishes.skip_existing and pair[1].exists())]
    _make_folders([path for _, output in left for path in (output, spreads.get(output)) if path])
    averaged = members(models, wishes.flips)
    jobs = [
        file_job(translator, ref, output, wishes.direction, dtype, wishes.resize)
        if len(averaged) == 1
        else AveragedJob(
            averaged, ref, output, wishes.direction, dtype, wishes.resize, spreads.get(output)
        )
        for ref, output in left
    ]
    outcome = translate_all(jobs, wishes.direction, console)
    _tell(translator, outcome, pairs, mine, left, wishes, console)
    return len(outcome.written)


def _check_averaging(run: Path, translator: Translator, wishes: Wishes) -> None:
    """Refuses means that aren't ones, before other models are loaded.

    Raises:
        UserError: an axis doesn't exist; an axis or a model would count twice; or there is only one
            translation to tell the spread of.
    """
    axes, flips = range(translator.generator.spatial_dims), wishes.flips
    if any(axis not in axes for axis in flips) or len(set(flips)) < len(flips):
        raise UserError(f"--flips must be axes from 0 to {axes[-1]}, each once, not {list(flips)}")
    models = [_model(path) for path in (run, *wishes.ensemble)]
    if twice := [path for path in wishes.ensemble if models.count(_model(path)) > 1]:
        raise UserError(f"{twice[0]} would count twice in the mean; name each model once")
    if wishes.spread is not None and not wishes.ensemble and not flips:
        raise UserError("--spread is of several translations; add --ensemble or --flips")


def _model(path: Path) -> Path:
    """The model folder of a run, or what else is given."""
    folder = path / "model"
    return (folder if folder.is_dir() else path).resolve()


def _spreads(
    outputs: Sequence[Path],
    spread: Path | None,
    translator: Translator,
    wishes: Wishes,
    *,
    into_folder: bool,
) -> dict[Path, Path]:
    """The file for the spread of each output, in a format that holds fractions.

    Raises:
        UserError: a file would be written twice.
    """
    dims = translator.file_dims
    if spread is None:
        return {}
    if not into_folder:
        made = {outputs[0]: spread}
    else:
        header = Header(translator.channels(wishes.direction)[1], (1,) * dims, np.dtype(np.float32))
        names = [fitting_path(spread / output.name, header) for output in outputs]
        made = dict(zip(outputs, names, strict=True))
    for output, path in made.items():
        if path.resolve() == output.resolve():
            raise UserError(f"{path} would hold the translation and its spread; name another")
    return made


def _found(source: Path, dims: int, wishes: Wishes) -> Scans:
    """The scans to translate: of a path, or matched by what wildcards stand for."""
    paths = [str(source), *wishes.stack]
    for path in paths:
        if not Path(path).exists() and not wildcards(path):
            raise UserError(f"{path} does not exist; give a file or a folder")
    looking: dict[str, Any] = {"recursive": wishes.recursive, "selection": wishes.selection}
    if source.exists() and not wishes.stack:
        return given_scans(source, dims, **looking)
    return domain_scans(Path(), paths, dims, **looking)[1]


def _common_type(
    translator: Translator, refs: Sequence[ScanRef], wishes: Wishes
) -> np.dtype[Any] | None:
    """One type for all files of a folder, whichever part of them; None if the model says it."""
    if wishes.dtype is not None:
        return np.dtype(wishes.dtype)
    if translator.output_type(wishes.direction, np.dtype(np.uint8)) is not None:
        return None
    found = set()
    for ref in refs:
        with suppress(UserError):  # which the file's own translation tells
            found.add(ref.header(translator.file_dims).dtype)
    return fitting_type(translator, wishes.direction, found) if found else None


def _make_folders(outputs: Sequence[Path]) -> None:
    for folder in sorted({output.parent for output in outputs}):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder)
        except OSError as error:
            raise UserError(
                f"the folder {folder} can't be made ({error.strerror}); name another output"
            ) from error


def _tell(
    translator: Translator,
    outcome: Outcome,
    all: Sequence[object],
    mine: Sequence[object],
    left: Sequence[tuple[ScanRef, Path]],
    wishes: Wishes,
    console: Console,
) -> None:
    """Tells what became of the files.

    Raises:
        UserError: some weren't translated.
    """

    def say(sentence: str) -> None:
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)

    if wishes.part.count > 1:
        say(f"Part {wishes.part}: {len(mine)} of {len(all)} files")
    if len(left) < len(mine):
        say(f"Skipped {len(mine) - len(left)} of {len(mine)} files, whose translations are there")
    windows = translator.windows
    if windows is not None and outcome.cut:
        how = describe(translator.generator, windows.windows)
        which = "The file was" if len(left) == 1 else f"{outcome.cut} of {len(left)} files were"
        say(f"{which} translated in parts, {how}")
    if not outcome.failures:
        return
    if len(left) == 1:
        raise UserError(outcome.failures[0])
    for failure in outcome.failures:
        say(f"Not translated: {failure}")
    raise UserError(
        f"{len(outcome.failures)} of {len(left)} files were not translated, for the reasons above; "
        "mend them, and translate what is missing with --skip-existing"
    )


def _check_names(
    run: Path, source: Path, target: Path, into_folder: bool, spatial_dims: int
) -> None:
    """Refuses files whose suffix isn't of the model's kind."""
    kind, known = KINDS[spatial_dims], ", ".join(suffixes(spatial_dims))
    if into_folder and target.is_file():
        raise UserError(f"{target} is a file, but the output must be a folder; name a folder")
    if source.is_file() and suffix_of(source) and not suffix_of(source, spatial_dims):
        raise UserError(
            f"{source} is not {kind.article} by its suffix, which is what the model in {run} "
            f"translates; give one that ends in {known}"
        )
    if not into_folder and not suffix_of(target, spatial_dims) and suffix_of(source):
        raise UserError(
            f"{target} is neither a folder nor {kind.article} by its suffix; give a folder to be "
            f"made as {target}/, or a file that ends in {known}"
        )
