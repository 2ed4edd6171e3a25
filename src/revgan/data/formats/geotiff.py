"""GeoTIFF and cloud-optimised GeoTIFF, by rasterio: bands with their place on the ground."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from revgan.data.formats.contract import (
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.formats.entries import first_bytes
from revgan.data.formats.ground import ground_of, transform_of
from revgan.data.formats.tiff_family import TiffFamily
from revgan.errors import UserError, notice

# GDAL's complaints become one `UserError`, or don't matter.
logging.getLogger("rasterio").addHandler(logging.NullHandler())

GEO_TAGS = {33550, 33922, 34264, 34735, 42112, 42113}
"""The numbers of TIFF's tags for the place (pixel size, tie points, transformation, CRS) and of
GDAL's metadata and nodata value."""

PLACED = {33550, 33922, 34264, 34735}
"""The tags that say where the pixels are."""

CACHE = 64 * 2**20
"""Bytes of blocks that GDAL may cache; by default it takes 5% of the machine's memory."""

STRIP = 512
"""Rows of a mask that are copied at a time."""

COMPANIONS = (".ovr", ".OVR", ".msk", ".MSK", ".ovr.msk", ".ovr.MSK", ".msk.ovr", ".msk.OVR")
"""The ends of names that GDAL looks for overviews and masks under, without a folder's list."""

KEPT = ("compress", "interleave", "photometric", "blockxsize", "blockysize", "tiled", "predictor")
"""The parts of a file's layout that are kept on output."""


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
        mask: the file itself, if it has a mask beside its bands; the mask is copied from there.
    """

    layout: dict[str, Any]
    tags: dict[str, str]
    band_tags: list[dict[str, str]]
    colours: tuple[Any, ...]
    units: tuple[str | None, ...]
    overviews: list[int]
    cog: bool
    gcps: tuple[list[Any], Any]
    mask: Path | None


class _GeoReader(Reader):
    windowed = True

    def __init__(self, path: Path) -> None:
        import rasterio

        _require_plain_companions(path)
        with _gdal():
            self._file = rasterio.open(path.resolve(), driver="GTiff")
        try:
            if self._file.tags(ns="OVERVIEWS"):
                raise UserError(
                    f"{path} says that its overviews are in another file, which could be any; "
                    "remove the metadata OVERVIEWS, also from a file .aux.xml beside it"
                )
            self.header = self._read_header(path)
        except BaseException:
            self.close()
            raise

    def _read_header(self, path: Path) -> Header:
        file = self._file
        stored = np.dtype(file.dtypes[0]) if "complex" not in file.dtypes[0] else None
        if stored is None or len(set(file.dtypes)) > 1:
            raise UserError(
                f"{path} has bands of {', '.join(sorted(set(file.dtypes)))}; save real numbers of "
                "one type, such as the amplitude of complex SAR data"
            )
        self._bits = file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS") == "1"
        self._scaled = any(scale != 1 for scale in file.scales) or any(file.offsets)
        self._palette = _palette(file)
        channels = file.count if self._palette is None else self._palette.shape[1]
        nodata = file.nodata
        if self._scaled:
            stored = np.dtype(np.float32)
            if nodata is not None:  # bands may differ in scale; NaN can't be one of their values
                nodata = float("nan")
        named = self._palette is None and any(file.descriptions)
        return Header(
            channels,
            (file.height, file.width),
            stored,
            source=_source(file, path),
            ground=None if file.transform.is_identity else ground_of(file.transform, file.crs),
            nodata=nodata,
            names=tuple(name or "" for name in file.descriptions) if named else (),
            masked=_has_mask(file),
        )

    def values(self, window: Window) -> Values:
        with _gdal():
            values: Values = self._file.read(window=_rasterio_window(window, self.header.shape))
        if self._palette is not None:
            return np.moveaxis(self._palette[values[0]], -1, 0)
        if self._bits:
            return values * np.uint8(255)
        if not self._scaled:
            return values
        scaled = values * np.reshape(self._file.scales, (-1, 1, 1))
        scaled += np.reshape(self._file.offsets, (-1, 1, 1))
        if self._file.nodata is not None:
            scaled[values == self._file.nodata] = np.nan
        return scaled.astype(np.float32)

    def measured(self, window: Window) -> NDArray[np.bool_] | None:
        if not _has_mask(self._file):
            return None
        with _gdal():
            mask = self._file.dataset_mask(window=_rasterio_window(window, self.header.shape))
        return np.asarray(mask > 0)

    def close(self) -> None:
        with _gdal():
            self._file.close()


class _GeoWriter(Writer):
    """Writes windows as they come; at the end it makes overviews, and rearranges a COG."""

    def __init__(self, path: Path, header: Header) -> None:
        import rasterio

        self._path, self._header = path, header
        self._source = header.source if isinstance(header.source, GeoSource) else None
        cog = self._source is not None and self._source.cog
        self._plain = path.with_name(f"{path.stem}.plain.tif") if cog else path
        with _gdal():
            self._file = rasterio.open(self._plain, "w", **self._profile())
            self._describe()

    def _profile(self) -> dict[str, Any]:
        header = self._header
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "count": header.channels,
            "height": header.shape[0],
            "width": header.shape[1],
            "dtype": header.dtype.name,
            "nodata": header.nodata if _fits(header.nodata, header.dtype) else None,
            "BIGTIFF": "IF_SAFER",
            "compress": "deflate",
            **({} if self._source is None else self._source.layout),
        }
        if header.ground is not None:
            profile |= {"transform": transform_of(header.ground), "crs": header.ground.crs or None}
        colours = self._source.colours if self._source is not None else ()
        if len(colours) != header.channels:  # such as RGB for one band
            profile.pop("photometric", None)
        lossy = profile["compress"] in ("jpeg", "webp", "lerc", "jxl")
        if lossy and (header.dtype != np.uint8 or header.channels not in (1, 3)):
            profile["compress"] = "deflate"
            profile.pop("photometric", None)
        if "predictor" not in profile and profile["compress"] in ("deflate", "lzw", "zstd"):
            profile["predictor"] = 3 if header.dtype.kind == "f" else 2
        if header.dtype.kind != "f" and profile.get("predictor") == 3:
            profile["predictor"] = 2
        return profile

    def _describe(self) -> None:
        file, header, source = self._file, self._header, self._source
        for band, name in enumerate(header.names, start=1):
            file.set_band_description(band, name)
        if source is None:
            return
        file.update_tags(**source.tags)
        points, crs = source.gcps
        if points:
            file.gcps = points, crs
        if len(source.colours) != header.channels:
            return
        file.colorinterp = source.colours
        for band, (tags, unit) in enumerate(
            zip(source.band_tags, source.units, strict=True), start=1
        ):
            file.update_tags(band, **tags)
            if unit:
                file.set_band_unit(band, unit)

    def write(self, window: Window, values: Values) -> None:
        with _gdal():
            self._file.write(values, window=_rasterio_window(window, self._header.shape))

    def finish(self) -> None:
        from rasterio.enums import Resampling
        from rasterio.shutil import copy

        overviews = self._source.overviews if self._source is not None else []
        with _gdal():
            self._write_mask()
            if overviews and self._plain == self._path:
                self._file.build_overviews(overviews, Resampling.average)
            self._file.close()
            if self._plain != self._path:
                profile = self._profile()
                copy(
                    str(self._plain),
                    str(self._path),
                    driver="COG",
                    compress=profile["compress"],
                    blocksize=profile.get("blockxsize", 512),
                    bigtiff="IF_SAFER",
                    overview_resampling="average",
                )
                self._plain.unlink()

    def _write_mask(self) -> None:
        """Copies the source file's mask, strip by strip."""
        import rasterio
        from rasterio.windows import Window as RasterioWindow

        if self._source is None or self._source.mask is None:
            return
        with rasterio.open(self._source.mask, driver="GTiff") as source:
            if source.shape != self._header.shape:
                return
            for top in range(0, source.height, STRIP):
                strip = RasterioWindow(0, top, source.width, min(STRIP, source.height - top))
                self._file.write_mask(source.dataset_mask(window=strip), window=strip)

    def abandon(self) -> None:
        with _gdal():
            self._file.close()
        if self._plain != self._path:
            self._plain.unlink(missing_ok=True)


class GeoTiff(TiffFamily):
    """GeoTIFF."""

    spatial_dims = (2,)

    def holds(self, path: Path, file: tifffile.TiffFile) -> bool:
        found = GEO_TAGS & {tag.code for tag in file.pages.first.tags}
        if not found or _has_rasterio():
            return bool(found)
        if found & PLACED:
            notice(
                f"{path} and other GeoTIFFs are read as plain pixels, without their place on the "
                "ground, nodata values and band names; install revgan[geo] to keep them"
            )
        return False

    def suits(self, path: Path, header: Header) -> bool:
        geographic = header.ground is not None or isinstance(header.source, GeoSource)
        return geographic and len(header.shape) == 2 and _has_rasterio()

    def open(self, path: Path, spatial_dims: int, selection: Selection) -> Reader:
        return _GeoReader(path)

    def create(self, path: Path, header: Header) -> Writer:
        return _GeoWriter(path, header)


@cache
def _has_rasterio() -> bool:
    return find_spec("rasterio") is not None


@contextmanager
def _gdal() -> Iterator[None]:
    """GDAL with bounded memory, and without warnings about files that have no place."""
    import rasterio.errors

    # Not within `catch_warnings`, which threads that read at once would undo for each other.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    with rasterio.Env(
        GDAL_CACHEMAX=CACHE, GDAL_TIFF_INTERNAL_MASK=True, GDAL_DISABLE_READDIR_ON_OPEN=True
    ):
        yield


def _require_plain_companions(path: Path) -> None:
    """Refuses masks and overviews beside a file that are no TIFFs.

    GDAL reads them in any of its formats, of which VRT shows any other file, also over a network.
    """
    for suffix in COMPANIONS:
        beside = path.with_name(f"{path.name}{suffix}")
        if os.path.lexists(beside) and not first_bytes(beside).startswith(GeoTiff.magic):
            raise UserError(f"{beside} isn't a TIFF, as masks and overviews are; remove it")


def _source(file: Any, path: Path) -> GeoSource:
    structure = file.tags(ns="IMAGE_STRUCTURE")
    layout: dict[str, Any] = {"compress": "none"}
    layout |= {name: file.profile[name] for name in KEPT if name in file.profile}
    if not layout.get("tiled"):  # a strip's height only; GDAL takes no width of strips
        layout.pop("blockxsize", None)
    if "PREDICTOR" in structure:
        layout["predictor"] = int(structure["PREDICTOR"])
    points, crs = file.gcps
    return GeoSource(
        layout,
        file.tags(),
        [file.tags(band) for band in file.indexes],
        tuple(file.colorinterp),
        tuple(file.units),
        file.overviews(1),
        structure.get("LAYOUT") == "COG",
        (points, crs),
        path.resolve() if _has_mask(file) else None,
    )


def _has_mask(file: Any) -> bool:
    """Whether the file has one mask for all bands."""
    from rasterio.enums import MaskFlags

    flags = set(file.mask_flag_enums[0])
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _palette(file: Any) -> NDArray[np.uint8] | None:
    """The colour table, (256, 3) or with alpha (256, 4), if the only band holds colour numbers."""
    from rasterio.enums import ColorInterp

    if file.count > 1 or file.colorinterp[0] != ColorInterp.palette or file.dtypes[0] != "uint8":
        return None
    colours = np.zeros((256, 4), np.uint8)
    for number, colour in file.colormap(1).items():
        colours[number] = colour
    opaque = (colours[list(file.colormap(1)), 3] == 255).all()
    return colours[:, :3] if opaque else colours


def _fits(value: float | None, dtype: np.dtype[Any]) -> bool:
    """Whether a type can represent a value, as it must for a file's nodata."""
    if value is None or dtype.kind == "f":
        return value is not None
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _rasterio_window(window: Window, shape: tuple[int, ...]) -> Any:
    from rasterio.windows import Window as RasterioWindow

    rows, columns = (range(*p.indices(side)) for p, side in zip(window, shape, strict=True))
    return RasterioWindow(columns.start, rows.start, len(columns), len(rows))
