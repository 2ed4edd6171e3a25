"""The trained models that come with the package: what they are and how good."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from revgan.networks.places import SHIPPED, StoredModel, shipped_models
from revgan.plain_yaml import read_yaml


@dataclass(frozen=True)
class ShippedModel:
    """A model that comes with the package.

    Attributes:
        name: for `Translator.from_pretrained` and the commands.
        a: what A is, in a few words.
        b: the same for B.
        spatial_dims: 2 for images, 3 for volumes.
        licence: of the weights.
        psnr: in dB on scans that training didn't see, by direction.
        ssim: the same, in [-1, 1].
        megabytes: on the disk.
        card: the file that says how it was made, and its limits.
    """

    name: str
    a: str
    b: str
    spatial_dims: int
    licence: str
    psnr: dict[str, float]
    ssim: dict[str, float]
    megabytes: float
    card: Path

    @classmethod
    def of(cls, name: str) -> "ShippedModel":
        """The model of a name that `shipped_models` has."""
        folder = SHIPPED / name
        _, spatial_dims = StoredModel.find(folder).architecture()
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        about: dict[str, Any] = read_yaml(folder / "about.yaml")
        return cls(
            name, spatial_dims=spatial_dims, megabytes=round(size, 1), card=folder / "README.md",
            **about,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "card": str(self.card)}


def all_shipped() -> list[ShippedModel]:
    """All of them."""
    return [ShippedModel.of(name) for name in shipped_models()]


def shipped(where: str) -> ShippedModel | None:
    """The model that a name stands for in `StoredModel.find`; None if that is none of these."""
    return (
        ShippedModel.of(where) if where in shipped_models() and not Path(where).exists() else None
    )
