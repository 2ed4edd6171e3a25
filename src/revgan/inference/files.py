"""Images or volumes through a trained model, from files to files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from revgan.data.folders import find_images
from revgan.data.images import JPEG_SUFFIXES, SUFFIXES
from revgan.data.volume_sets import find_volumes
from revgan.data.volumes import VOLUME_SUFFIXES, volume_suffix
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
) -> list[Path]:
    """Translates a file, or every image or volume of a folder, and returns what was written.

    Args:
        run: a run folder or a model folder.
        source: an image or a volume, whichever the model is for, or a folder of them.
        target: for a file, a file or a folder; for a folder, a folder. Within a folder, files keep
            their names; JPEGs become PNGs where the translation has an alpha channel. Folders are
            made.
        direction: "AtoB" or "BtoA".
        device: "auto", or a device's name as PyTorch has it.
        windows: decides for a model whether and how large files are cut.
        console: for the progress bar.
        into_folder: the target is a folder even if `source` is a file and it doesn't exist yet.

    Raises:
        UserError: the model, a file or the target is not usable; files before it are written.
    """
    if not source.exists():
        raise UserError(f"{source} does not exist; give a file or a folder")
    translator = Translator.from_pretrained(run, None if device == "auto" else device)
    directions = translator.generator.directions
    if direction not in directions:
        raise UserError(
            f"{run} does not translate {direction}; give --direction {' or '.join(directions)}"
        )
    into_folder = into_folder or source.is_dir() or target.is_dir()
    _check_names(run, source, target, into_folder, translator.generator.spatial_dims)
    sources = _sources(source, translator.generator.spatial_dims)
    outputs = [target]
    if into_folder:
        outputs = _outputs(sources, target, translator.channels(direction)[1], console)
    for path, output in zip(sources, outputs, strict=True):
        if output.resolve() == path.resolve():
            raise UserError(f"{path} is input and output at once; name another output")
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
    """Refuses files that are not of the model's kind by their suffix."""
    kind, suffixes = ("an image", SUFFIXES) if spatial_dims == 2 else ("a volume", VOLUME_SUFFIXES)
    if into_folder and target.is_file():
        raise UserError(f"{target} is a file, where a folder is needed; name a folder as output")
    if not source.is_dir() and not _has_suffix(source, spatial_dims):
        raise UserError(
            f"{source} is not {kind} by its suffix, which is what the model in {run} translates; "
            f"give one that ends in {', '.join(suffixes)}"
        )
    if not into_folder and not _has_suffix(target, spatial_dims):
        raise UserError(
            f"{target} is neither a folder nor {kind} by its suffix; give a folder to be made as "
            f"{target}/, or a file that ends in {', '.join(suffixes)}"
        )


def _has_suffix(path: Path, spatial_dims: int) -> bool:
    if spatial_dims == 2:
        return path.suffix.lower() in SUFFIXES
    return volume_suffix(path) is not None


def _sources(source: Path, spatial_dims: int) -> list[Path]:
    if not source.is_dir():
        return [source]
    if spatial_dims == 2:
        return find_images(source)
    return [file.path for file in find_volumes(source)]


def _outputs(sources: list[Path], folder: Path, channels: int, console: Console) -> list[Path]:
    """Where the translations go: the names of the inputs, but PNG for what JPEG can't hold."""
    outputs = [folder / path.name for path in sources]
    if channels in (2, 4) and any(path.suffix.lower() in JPEG_SUFFIXES for path in outputs):
        console.print("JPEG can't hold the model's alpha channel: writing .png instead")
        outputs = [
            path.with_suffix(".png") if path.suffix.lower() in JPEG_SUFFIXES else path
            for path in outputs
        ]
    taken: dict[Path, Path] = {}
    for path, output in zip(sources, outputs, strict=True):
        if output in taken:
            raise UserError(f"{taken[output]} and {path} would both become {output}; rename one")
        taken[output] = path
    return outputs


def _translate_all(
    translator: Translator,
    sources: list[Path],
    outputs: list[Path],
    direction: Direction,
    console: Console,
) -> None:
    """Translates file by file, behind a bar for the files and one for the windows of a file."""
    cut: set[Path] = set()
    with progress_bar(console) as bar:
        files = bar.add_task(direction, total=len(sources), visible=len(sources) > 1)
        windows = bar.add_task("windows", visible=False)

        def show(path: Path, done: int, total: int) -> None:
            cut.add(path)
            bar.update(windows, completed=done, total=total, visible=True)

        for done, (path, output) in enumerate(zip(sources, outputs, strict=True)):
            try:
                translator.translate_file(path, output, direction, partial(show, path))
            except UserError as error:
                if len(sources) == 1:
                    raise
                raise UserError(f"{error} ({done} of {len(sources)} files are written)") from error
            bar.update(windows, visible=False)
            bar.advance(files)
    if translator.windows is not None and cut:
        console.print(
            f"Of {len(sources)} files, {len(cut)} were cut into windows of "
            f"{translator.windows.size}, which overlap by {translator.windows.overlap:g} of that",
            soft_wrap=True,
        )
