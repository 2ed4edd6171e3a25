"""What the families of TIFF have in common."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from revgan.data.formats.contract import Family, Header, Values


def predictable(dtype: np.dtype[Any]) -> bool:
    """Whether tifffile takes differences of values of a type from sample to sample."""
    return dtype.kind == "f" or (dtype.kind in "iu" and dtype.itemsize <= 4)


class TiffFamily(Family):
    """A family of TIFFs, which are told apart by their tags.

    Attributes:
        claims_damaged: whether a special family takes files that tifffile can't open, as all others
            leave the message to the general one.
    """

    suffixes: tuple[str, ...] = (".tif", ".tiff")
    magic = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
    special = True
    claims_damaged = False

    def claims(self, path: Path) -> bool:
        try:
            with tifffile.TiffFile(path) as file:
                return self.holds(path, file)
        except Exception:  # damaged
            return self.claims_damaged

    def holds(self, path: Path, file: tifffile.TiffFile) -> bool:
        """Whether an open file is of this family."""
        raise NotImplementedError

    def write(self, path: Path, values: Values, header: Header) -> None:
        writer = self.create(path, header)
        writer.write((slice(None),) * len(header.shape), values)
        writer.finish()
