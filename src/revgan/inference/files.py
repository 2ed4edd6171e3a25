"""Translates files of images or volumes with a trained model."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from revgan.data.formats import (
    KINDS,
    Header,
    Selection,
    holds,
    is_scan,
    suffix_of,
    suffixes,
    writable,
)
from revgan.data.refs import ScanRef, given_scans
from revgan.directions import Direction
from revgan.errors import UserError
from revgan.inference.translator import Translator
from revgan.inference.windows import Windows
from revgan.progress import progress_bar


def run_translation(
    run: Path,
    source: Path,
    target: Path,
    direction: Direction,
    device: str,
    windows: Callable[[Translator], Windows | None],
    console: Console,
    *,
    into_folder: bool = False,
    recursive: bool = False,
    series: str | None = None,
) -> list[Path]:
    """Translates a file, or every image or volume in a folder, and returns the files written.

    Args:
        run: a run folder or a model folder.
        source: an image or volume, whichever the model translates, or a folder of them.
        target: a file or folder for a file, a folder for a folder. In a folder, files keep their
            names; JPEGs become PNGs if the translation has an alpha channel. Folders are made as
            needed.
        direction: "AtoB" or "BtoA".
        device: "auto", or a device's name in PyTorch.
        windows: decides, for a model, whether and how large files are cut.
        console: for the progress bar.
        into_folder: whether the target is a folder of files, even if `source` is one scan and the
            folder doesn't exist yet.
        recursive: whether to search subfolders of `source` too.
        series: which of several scans in a file or folder to translate, as in `data.series`.

    Raises:
        UserError: the model, a file or the target can't be used; earlier files have been written.
    """
    if not source.exists():
        raise UserError(f"{source} does not exist; give a file or a folder")
    translator = Translator.from_pretrained(run, None if device == "auto" else device)
    directions = translator.generator.directions
    if direction not in directions:
        raise UserError(
            f"{run} does not translate {direction}; give --direction {' or '.join(directions)}"
        )
    dims = translator.generator.spatial_dims
    found = given_scans(source, dims, recursive=recursive, selection=Selection(series=series))
    found.tell()
    sources = found.refs
    one = len(sources) == 1 and sources[0].path == source  # not the only one in a folder
    into_folder = into_folder or not one or (target.is_dir() and not is_scan(target))
    _check_names(run, source, target, into_folder, dims)
    outputs = [target]
    if into_folder:
        outputs = _outputs(sources, target, translator.channels(direction)[1], dims, console)
    for ref, output in zip(sources, outputs, strict=True):
        if output.resolve() == ref.path.resolve():
            raise UserError(f"{ref} is both input and output; name another output")
    translator.windows = windows(translator)
    try:
        outputs[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {outputs[0].parent} can't be made ({error.strerror}); name another output"
        ) from error
    _translate_all(translator, sources, outputs, direction, console)
    return outputs


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


def _outputs(
    sources: Sequence[ScanRef], folder: Path, channels: int, spatial_dims: int, console: Console
) -> list[Path]:
    """The paths of the translations: the inputs' names, or .png where their format can't hold them.

    That is the case for an alpha channel in a JPEG. Formats that can only be read are replaced by
    others.
    """
    smallest = Header(channels, (1,) * spatial_dims, np.dtype(np.uint8))
    outputs = [writable(folder / ref.file_name) for ref in sources]
    unfit = [path for path in outputs if not holds(path, smallest)]
    if unfit:
        kind = unfit[0].suffix
        console.print(f"{kind} can't hold the model's alpha channel: writing .png instead")
        outputs = [path.with_suffix(".png") if path in unfit else path for path in outputs]
    taken: dict[Path, ScanRef] = {}
    for ref, output in zip(sources, outputs, strict=True):
        if output in taken:
            raise UserError(f"{taken[output]} and {ref} would both become {output}; rename one")
        taken[output] = ref
    return outputs


def _translate_all(
    translator: Translator,
    sources: Sequence[ScanRef],
    outputs: list[Path],
    direction: Direction,
    console: Console,
) -> None:
    """Translates file by file, with a progress bar for the files and one for a file's windows."""
    cut: set[Path] = set()
    with progress_bar(console) as bar:
        files = bar.add_task(direction, total=len(sources), visible=len(sources) > 1)
        windows = bar.add_task("windows", visible=False)

        def show(path: Path, done: int, total: int) -> None:
            cut.add(path)
            bar.update(windows, completed=done, total=total, visible=True)

        for done, (ref, output) in enumerate(zip(sources, outputs, strict=True)):
            try:
                output.parent.mkdir(parents=True, exist_ok=True)
                translator.translate_file(
                    ref.path, output, direction, partial(show, ref.path), ref.selection
                )
            except UserError as error:
                if len(sources) == 1:
                    raise
                raise UserError(f"{error} ({done} of {len(sources)} files are written)") from error
            bar.update(windows, visible=False)
            bar.advance(files)
    if translator.windows is not None and cut:
        console.print(
            f"Of {len(sources)} files, {len(cut)} were cut into windows of "
            f"{translator.windows.size}, overlapping by {translator.windows.overlap:g} of that",
            soft_wrap=True,
        )
