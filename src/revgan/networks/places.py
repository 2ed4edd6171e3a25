"""Where trained generators are: in model folders, in runs, in checkpoints and in the package."""

from dataclasses import dataclass, fields
from pathlib import Path

from safetensors import SafetensorError, safe_open

from revgan.errors import UserError, notice, one_line, visible
from revgan.networks.config import GeneratorConfig
from revgan.networks.generator import TwoWayGenerator
from revgan.networks.hub import downloaded, is_hub_name
from revgan.networks.pretrained import (
    ARCHITECTURE,
    MODELS,
    WEIGHTS,
    load_generator,
    read_architecture,
)

STATE = "state.safetensors"
"""Everything that a resumed run needs, in a checkpoint's folder."""

SHIPPED = Path(__file__).parent.parent / "models"
"""The model folders that come with the package."""


@dataclass(frozen=True)
class StoredModel:
    """A trained generator on disk.

    Attributes:
        folder: the model folder, which says what the networks are and how scans are prepared.
        weights: where the weights are: in the folder, or in a checkpoint of the same run.
    """

    folder: Path
    weights: Path

    @classmethod
    def find(cls, where: str | Path) -> "StoredModel":
        """A model by its place or name.

        Args:
            where: a model folder, a run folder, a run's checkpoints/step-N, or else the name of a
                model that comes with the package, or of one on the Hugging Face hub (user/name).

        Raises:
            UserError: there is nothing of this name.
        """
        path, name = Path(where), str(where)
        if path.exists():
            if name in shipped_models():
                notice(
                    f"{visible(path.absolute())} is used, not the model {name} that comes with "
                    "revgan; from another folder, the name means the latter"
                )
            return cls._at(path)
        if name in shipped_models():
            return cls._at(SHIPPED / name)
        if is_hub_name(name):
            return cls._at(downloaded(name))
        own = (
            f", or one of revgan's own ({', '.join(shipped_models())})" if shipped_models() else ""
        )
        raise UserError(
            f"{visible(path)} does not exist; give a run folder, a model folder, or a model on the "
            f"Hugging Face hub, user/name{own}"
        )

    @classmethod
    def _at(cls, path: Path) -> "StoredModel":
        if (path / STATE).is_file():  # RUN/checkpoints/step-N
            return cls(path.absolute().parent.parent / "model", path / STATE)
        folder = path / "model" if (path / "model").is_dir() else path
        return cls(folder, folder / WEIGHTS)

    def architecture(self) -> tuple[GeneratorConfig, int]:
        """What the networks are made of, and whether they are for images (2) or volumes (3).

        Raises:
            UserError: the folder doesn't say it.
        """
        try:
            kind, arguments = read_architecture(self.folder / ARCHITECTURE)
            known = {field.name for field in fields(GeneratorConfig)} & arguments.keys()
            config = GeneratorConfig(
                MODELS[kind].model, memory="auto", **{name: arguments[name] for name in known}
            )
            return config, int(arguments["spatial_dims"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{visible(self.folder)} isn't a model folder: {one_line(error, 200)}; give a run "
                "folder or its model/ folder"
            ) from error

    def load(self) -> TwoWayGenerator:
        """The generator, with its weights; of a checkpoint their average, if it has one.

        Raises:
            UserError: the folder isn't a model folder, or its files don't fit together.
        """
        if self.weights.parent == self.folder:
            return load_generator(self.folder)
        try:
            with safe_open(self.weights, "pt") as file:
                averaged = any(name.startswith("average.") for name in file.keys())  # noqa: SIM118
        except SafetensorError as error:
            raise UserError(
                f"the checkpoint {visible(self.weights)} can't be read: {one_line(error, 200)}; "
                "give another one, or the run's folder"
            ) from error
        return load_generator(self.folder, self.weights, "average." if averaged else "generator.")


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{WEIGHTS}"))
