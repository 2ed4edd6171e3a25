"""`revgan translate`: images through a trained model, from files to files."""

from pathlib import Path

from rich.console import Console
from rich.progress import track

from revgan.data.folders import find_images
from revgan.errors import UserError
from revgan.inference import Translator
from revgan.networks import Direction


def run_translation(
    run: Path, source: Path, target: Path, direction: Direction, device: str, console: Console
) -> list[Path]:
    """Translates a file, or every image of a folder, and returns what was written.

    Args:
        run: a run folder or a model folder.
        source: an image, or a folder of images.
        target: for an image, a file, or a folder that exists; for a folder, a folder. Within a
            folder, images keep their names.
        direction: "AtoB" or "BtoA".
        device: "auto", or a device's name as PyTorch has it.
        console: for the progress bar.

    Raises:
        UserError: the model, an image or the target is not usable; images before it are written.
    """
    sources = find_images(source) if source.is_dir() else [source]
    if not source.exists():
        raise UserError(f"{source} does not exist; give an image or a folder of images")
    translator = Translator.from_pretrained(run, None if device == "auto" else device)
    into_folder = source.is_dir() or target.is_dir()
    if source.is_dir() and target.is_file():
        raise UserError(f"{target} is a file, but {source} is a folder; name a folder as output")
    if source.is_dir() and target.resolve() == source.resolve():
        raise UserError(f"{target} holds the inputs themselves; name another folder as output")
    (target if into_folder else target.parent).mkdir(parents=True, exist_ok=True)
    written = []
    for path in track(sources, direction, console=console, disable=len(sources) == 1):
        output = target / path.name if into_folder else target
        translator.translate_file(path, output, direction)
        written.append(output)
    return written
