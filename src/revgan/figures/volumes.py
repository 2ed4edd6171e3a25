"""Pictures of volumes: input, translation, truth and difference in three planes."""

from collections.abc import Sequence

from torch import Tensor

from revgan.figures.differences import difference_map
from revgan.figures.pictures import image_grid
from revgan.figures.slices import VolumeSlices

GRID_LIMIT = 64.0
"""Grey levels of 0..255 at the ends of the difference map in `volume_grid`.

It is the same in every grid, so that the differences of two training steps can be compared.
"""


def volume_pictures(slices: VolumeSlices, limit: float) -> dict[str, Tensor]:
    """The strips of one test volume by name, from top to bottom.

    Args:
        slices: the volume and what became of it.
        limit: see `difference_map`, in grey levels of 0..255.

    Returns:
        "input", "translation", "truth" and "difference" (these two where the truth is known) and
        "round trip", each (C, H, W) in [-1, 1].
    """
    pictures = {"input": slices.input, "translation": slices.translation}
    if slices.truth is not None:
        pictures["truth"] = slices.truth
        difference = (slices.translation - slices.truth).mean(0) * 127.5
        pictures["difference"] = difference_map(difference, limit)
    return pictures | {"round trip": slices.round_trip}


def volume_grid(rows: Sequence[VolumeSlices]) -> Tensor:
    """Test volumes one below the other on white, for TensorBoard and sample files.

    Args:
        rows: of which each shows the pictures of `volume_pictures` side by side.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        ValueError: there is no volume.
    """
    return image_grid([list(volume_pictures(slices, GRID_LIMIT).values()) for slices in rows])
