"""A model folder from the checkpoints of the paper's released code, CycleGAN or pix2pix."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from revgan.directions import Direction
from revgan.errors import UsageError, UserError
from revgan.files import replacing
from revgan.networks.generator import TwoWayGenerator
from revgan.networks.pretrained import save_generator
from revgan.networks.released import (
    CYCLEGAN_FILES,
    PIX2PIX_FILE,
    REVGAN_FILES,
    import_pair,
    import_revgan,
    read_weights,
)

LATEST = "latest"

Key = TypeVar("Key", bound=str)


def import_model(
    source: Path, model: Path, epoch: str | None = None, direction: Direction | None = None
) -> TwoWayGenerator:
    """Reads a checkpoint of the paper's released code, CycleGAN or pix2pix; writes a model folder.

    Args:
        source: a checkpoint folder, or one file of a generator.
        model: the folder to make, whole or not at all; it must be new or empty.
        epoch: what the names of the folder's files begin with; by default "latest".
        direction: of a generator whose file does not name one; by default "AtoB".

    Returns:
        The generator that was written.

    Raises:
        UsageError: `epoch` or `direction` says what the source says already.
        UserError: the source isn't such a checkpoint, or `model` already exists.
        OSError: a file can't be read or written.
    """
    model = model.resolve()
    _check_target(model)
    if source.is_file():
        if epoch is not None:
            raise UsageError(f"--epoch chooses among the files of a folder; omit it with {source}")
        generator = _from_file(source, direction)
    else:
        generator = _from_folder(source, epoch or LATEST, direction)
    _write(generator, model)
    return generator


def _check_target(model: Path) -> None:
    if model.exists() and (not model.is_dir() or any(model.iterdir()) or model == Path.cwd()):
        raise UserError(
            f"{model} exists and isn't an empty folder; name a new or empty folder for the model"
        )


def _write(generator: TwoWayGenerator, model: Path) -> None:
    model.parent.mkdir(parents=True, exist_ok=True)
    with replacing(model) as whole:
        save_generator(generator, whole)


def _from_file(path: Path, direction: Direction | None) -> TwoWayGenerator:
    if any(path.stem.endswith(f"_net_{name}") for name in REVGAN_FILES.values()):
        raise UserError(f"{path} is one of the five parts of a RevGAN; give the folder of all five")
    named = [way for way, name in CYCLEGAN_FILES.items() if path.stem.endswith(f"_net_{name}")]
    if named:
        _refuse_direction(direction, path)
    return import_pair({direction or (*named, "AtoB")[0]: read_weights(path)})


def _from_folder(folder: Path, epoch: str, direction: Direction | None) -> TwoWayGenerator:
    if not folder.is_dir():
        raise UserError(
            f"{folder} does not exist; give a checkpoint folder, or the file of a generator"
        )
    parts = _present(folder, epoch, REVGAN_FILES)
    ways = _present(folder, epoch, CYCLEGAN_FILES)
    single = _present(folder, epoch, {direction or "AtoB": PIX2PIX_FILE})
    found = [path.name for paths in (parts, ways, single) for path in paths.values()]
    if not found:
        raise _nothing_found(folder, epoch)
    if sum(map(bool, (parts, ways, single))) > 1:
        raise UserError(
            f"{folder} holds different kinds of generators, {', '.join(found)}; give a folder with "
            "one kind"
        )
    if not single:
        _refuse_direction(direction, folder)
    if not parts:
        return import_pair({way: read_weights(path) for way, path in (ways or single).items()})
    missing = [_file(epoch, name) for part, name in REVGAN_FILES.items() if part not in parts]
    if missing:
        raise UserError(
            f"{folder} holds parts of a RevGAN, but not {', '.join(missing)}; copy the missing "
            "ones there"
        )
    return import_revgan({part: read_weights(path) for part, path in parts.items()})


def _present(folder: Path, epoch: str, names: Mapping[Key, str]) -> dict[Key, Path]:
    paths = {key: folder / _file(epoch, name) for key, name in names.items()}
    return {key: path for key, path in paths.items() if path.is_file()}


def _refuse_direction(direction: Direction | None, source: Path) -> None:
    if direction is not None:
        raise UsageError(
            f"--direction is for pix2pix, whose file does not name one; omit it with {source}"
        )


def _nothing_found(folder: Path, epoch: str) -> UserError:
    others = sorted({path.name.partition("_net_G")[0] for path in folder.glob("*_net_G*.pth")})
    if others:
        return UserError(
            f"{folder} holds no generator of the epoch {epoch}; choose with --epoch among "
            f"{', '.join(others)}"
        )
    revgan, cyclegan = (
        " and ".join(_file(epoch, name) for name in names.values())
        for names in (REVGAN_FILES, CYCLEGAN_FILES)
    )
    return UserError(
        f"{folder} holds no checkpoint; give a folder with {revgan} (RevGAN), {cyclegan} "
        f"(CycleGAN) or {_file(epoch, PIX2PIX_FILE)} (pix2pix)"
    )


def _file(epoch: str, name: str) -> str:
    return f"{epoch}_net_{name}.pth"
