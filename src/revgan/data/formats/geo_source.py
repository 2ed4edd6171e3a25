"""What is kept of a GeoTIFF besides its values and its place, for files written like it."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Self

STALE = "STATISTICS_"
"""How tags begin that tell of the values of the original."""

PER_BAND = "NODATA_VALUES"
"""The tag by which GDAL marks pixels whose bands all have the value that is listed for them; what
is written has a mask instead."""

KEPT = ("compress", "interleave", "photometric", "blockxsize", "blockysize", "tiled", "predictor")
"""The parts of a file's layout that are kept on output."""

QUALITIES = ("JPEG_QUALITY", "WEBP_LEVEL")
"""How much is lost, by compressions that lose something: GDAL's options are called as its tags."""


@dataclass(frozen=True, eq=False)
class GeoSource:
    """What is kept from a GeoTIFF besides its place.

    Attributes:
        layout: the parts of rasterio's profile that are `KEPT`.
        tags: the file's.
        band_tags: each band's.
        colours: each band's colour interpretation.
        units: each band's.
        overviews: the factors of its smaller copies.
        cog: whether it is cloud-optimised.
        gcps: ground control points and their CRS, of files without a transform.
        rpcs: rational polynomials from the ground to pixels; None if there are none.
        mask: GDAL's name of the image, if it has a mask beside its bands; it is copied from there.
    """

    layout: dict[str, Any]
    tags: dict[str, str]
    band_tags: list[dict[str, str]]
    colours: tuple[Any, ...]
    units: tuple[str | None, ...]
    overviews: list[int]
    cog: bool
    gcps: tuple[list[Any], Any]
    rpcs: Any
    mask: str | None

    def resized(self, factors: Sequence[float]) -> Self:
        """Of the same image with rows and columns so many times as far apart; without the mask."""
        down, across = factors
        points, crs = self.gcps
        moved = [copy(point) for point in points]
        for point in moved:
            point.row, point.col = point.row / down, point.col / across
        rpcs = copy(self.rpcs)
        if rpcs is not None:  # they count from the middle of the first pixel
            rpcs.line_off, rpcs.samp_off = (
                (offset + 0.5) / factor - 0.5
                for offset, factor in ((rpcs.line_off, down), (rpcs.samp_off, across))
            )
            rpcs.line_scale, rpcs.samp_scale = rpcs.line_scale / down, rpcs.samp_scale / across
        return replace(self, gcps=(moved, crs), rpcs=rpcs, mask=None)


def source_of(file: Any) -> GeoSource:
    """What is kept of a file that rasterio has opened."""
    structure = file.tags(ns="IMAGE_STRUCTURE")
    layout: dict[str, Any] = {"compress": "none"}
    layout |= {name: file.profile[name] for name in KEPT if name in file.profile}
    if not layout.get("tiled"):  # a strip's height only; GDAL takes no width of strips
        layout.pop("blockxsize", None)
    if "PREDICTOR" in structure:
        layout["predictor"] = int(structure["PREDICTOR"])
    layout |= {name: structure[name] for name in QUALITIES if name in structure}
    if structure.get("COMPRESSION_REVERSIBILITY") == "LOSSLESS" and layout["compress"] == "webp":
        layout["WEBP_LOSSLESS"] = "YES"
    points, crs = file.gcps
    return GeoSource(
        layout,
        {name: value for name, value in file.tags().items() if name != PER_BAND},
        [_lasting(file.tags(band)) for band in file.indexes],
        tuple(file.colorinterp),
        tuple(file.units),
        file.overviews(1),
        structure.get("LAYOUT") == "COG",
        (points, crs),
        file.rpcs,
        file.name if has_mask(file) else None,
    )


def _lasting(tags: dict[str, str]) -> dict[str, str]:
    """Those of a band's tags that are true of other values, too."""
    return {name: value for name, value in tags.items() if not name.startswith(STALE)}


def has_mask(file: Any) -> bool:
    """Whether the file has one mask for all bands."""
    from rasterio.enums import MaskFlags

    flags = set(file.mask_flag_enums[0])
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
