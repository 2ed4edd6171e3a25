"""`revgan translate`: images through a trained model, from files to files."""

from pathlib import Path

from rich.console import Console
from rich.progress import track

from revgan.data.folders import find_images
from revgan.data.images import SUFFIXES
from revgan.errors import UserError
from revgan.inference import Translator
from revgan.networks import Direction

JPEG = (".jpg", ".jpeg")


def run_translation(
    run: Path, source: Path, target: Path, direction: Direction, device: str, console: Console
) -> list[Path]:
    """Translates a file, or every image of a folder, and returns what was written.

    Args:
        run: a run folder or a model folder.
        source: an image, or a folder of images.
        target: for an image, a file, or a folder that exists; for a folder, a folder. Within a
            folder, images keep their names; JPEGs become PNGs where the translation has an alpha
            channel. Folders are made.
        direction: "AtoB" or "BtoA".
        device: "auto", or a device's name as PyTorch has it.
        console: for the progress bar.

    Raises:
        UserError: the model, an image or the target is not usable; images before it are written.
    """
    into_folder = source.is_dir() or target.is_dir()
    sources = find_images(source) if source.is_dir() else [source]
    _check_target(source, target, into_folder)
    translator = Translator.from_pretrained(run, None if device == "auto" else device)
    directions = translator.generator.directions
    if direction not in directions:
        raise UserError(
            f"{run} does not translate {direction}; give --direction {' or '.join(directions)}"
        )
    outputs = [target]
    if into_folder:
        outputs = _outputs(sources, target, _channels(translator, direction), console)
    for path, output in zip(sources, outputs, strict=True):
        if output.resolve() == path.resolve():
            raise UserError(f"{path} is input and output at once; name another output")
    try:
        outputs[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder {outputs[0].parent} can't be made ({error.strerror}); name another output"
        ) from error
    quiet = len(sources) == 1 or not console.is_terminal
    pairs = list(zip(sources, outputs, strict=True))
    for path, output in track(pairs, direction, console=console, disable=quiet):
        translator.translate_file(path, output, direction)
    return outputs


def _check_target(source: Path, target: Path, into_folder: bool) -> None:
    if not source.exists():
        raise UserError(f"{source} does not exist; give an image or a folder of images")
    if source.is_dir() and target.is_file():
        raise UserError(f"{target} is a file, but {source} is a folder; name a folder as output")
    if not into_folder and target.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{target} is neither a folder nor an image by its suffix; name a folder that exists, "
            f"or a file that ends in {', '.join(SUFFIXES)}"
        )


def _channels(translator: Translator, direction: Direction) -> int:
    generator = translator.generator
    return generator.out_channels if direction == "AtoB" else generator.in_channels


def _outputs(sources: list[Path], folder: Path, channels: int, console: Console) -> list[Path]:
    """Where the translations go: the names of the inputs, but PNG for what JPEG can't hold."""
    outputs = [folder / path.name for path in sources]
    if channels in (2, 4) and any(path.suffix.lower() in JPEG for path in outputs):
        console.print("JPEG can't hold the model's alpha channel: writing .png instead")
        outputs = [
            path.with_suffix(".png") if path.suffix.lower() in JPEG else path for path in outputs
        ]
    taken: dict[Path, Path] = {}
    for path, output in zip(sources, outputs, strict=True):
        if output in taken:
            raise UserError(f"{taken[output]} and {path} would both become {output}; rename one")
        taken[output] = path
    return outputs
