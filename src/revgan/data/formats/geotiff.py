"""GeoTIFF and cloud-optimised GeoTIFF, by rasterio: bands with their place on the ground."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from revgan.data.formats import selecting
from revgan.data.formats.contract import (
    Header,
    Reader,
    Selection,
    Values,
    Window,
    Writer,
)
from revgan.data.formats.entries import first_bytes
from revgan.data.formats.geo_source import QUALITIES, GeoSource, has_mask, source_of
from revgan.data.formats.ground import ground_of, transform_of
from revgan.data.formats.tiff_family import TiffFamily
from revgan.errors import UserError, notice

# GDAL's complaints become one `UserError`, or don't matter.
logging.getLogger("rasterio").addHandler(logging.NullHandler())

PLACED = {33550, 33922, 34264, 34735, 50844}
"""The numbers of TIFF's tags for the place: pixel size, tie points, transformation, CRS, RPCs."""

GEO_TAGS = {*PLACED, 42112, 42113}
"""These, and those of GDAL's metadata and nodata value."""

CACHE = 64 * 2**20
"""Bytes of blocks that GDAL may cache; by default it takes 5% of the machine's memory."""

STRIP = 512
"""Rows of a mask that are copied at a time."""

COMPANIONS = (".ovr", ".OVR", ".msk", ".MSK", ".ovr.msk", ".ovr.MSK", ".msk.ovr", ".msk.OVR")
"""The ends of names that GDAL looks for overviews and masks under, without a folder's list."""

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
"""Types of integers that are written; of fractions, float32 and float64."""


class _GeoReader(Reader):
    windowed = True

    def __init__(self, path: Path, series: str | None) -> None:
        import rasterio

        _require_plain_companions(path)
        with _gdal():
            self._file = rasterio.open(path.resolve(), driver="GTiff")
            if images := self._file.subdatasets:
                self._file.close()
                numbers = [str(number) for number in range(len(images))]
                name = images[selecting.series(path, series, numbers)]
                self._file = rasterio.open(name, driver="GTiff")
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
            source=source_of(file),
            ground=None if file.transform.is_identity else ground_of(file.transform, file.crs),
            nodata=nodata,
            names=tuple(name or "" for name in file.descriptions) if named else (),
            masked=has_mask(file),
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
        if not has_mask(self._file):
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
        if not _packs(profile["compress"], header):
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
        if source.rpcs is not None:
            file.rpcs = source.rpcs
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
        overviews = [factor for factor in overviews if factor <= min(self._header.shape)]
        with _gdal():
            self._write_mask()
            if overviews and self._plain == self._path:
                self._file.build_overviews(overviews, Resampling.average)
            self._file.close()
            if self._plain != self._path:
                profile = self._profile()
                quality = [profile[name] for name in QUALITIES if name in profile]
                if "WEBP_LOSSLESS" in profile:
                    quality = ["100"]
                copy(
                    str(self._plain),
                    str(self._path),
                    driver="COG",
                    compress=profile["compress"],
                    blocksize=profile.get("blockxsize", 512),
                    bigtiff="IF_SAFER",
                    overview_resampling="average",
                    **({"quality": quality[0]} if quality else {}),
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
    selects = ("series",)
    instead = ".npy"

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
        return _GeoReader(path, selection.series)

    def create(self, path: Path, header: Header) -> Writer:
        return _GeoWriter(path, header)

    def beyond(self, header: Header) -> list[str]:
        held = header.dtype.name in (*TYPES, "float32", "float64")
        return [] if held else [f"values of {header.dtype}"]


@cache
def _has_rasterio() -> bool:
    return find_spec("rasterio") is not None


@contextmanager
def _gdal() -> Iterator[None]:
    """GDAL with bounded memory, and without warnings about files that have no place.

    Raises:
        OSError: for what GDAL says in exceptions of its own.
    """
    import rasterio.errors
    from rasterio._err import CPLE_BaseError  # which rasterio.errors doesn't have

    # Not within `catch_warnings`, which threads that read at once would undo for each other.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    with rasterio.Env(
        GDAL_CACHEMAX=CACHE, GDAL_TIFF_INTERNAL_MASK=True, GDAL_DISABLE_READDIR_ON_OPEN=True
    ):
        try:
            yield
        except CPLE_BaseError as error:
            raise OSError(error.errmsg) from error


def _require_plain_companions(path: Path) -> None:
    """Refuses masks and overviews beside a file that are no TIFFs.

    GDAL reads them in any of its formats, of which VRT shows any other file, also over a network.
    """
    for suffix in COMPANIONS:
        beside = path.with_name(f"{path.name}{suffix}")
        if os.path.lexists(beside) and not first_bytes(beside).startswith(GeoTiff.magic):
            raise UserError(f"{beside} isn't a TIFF, as masks and overviews are; remove it")


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


def _packs(compression: str, header: Header) -> bool:
    """Whether GDAL packs values of such a type, in so many channels, by a compression."""
    if compression.startswith("lerc"):
        return header.dtype.kind == "f" or header.dtype.itemsize <= 4
    channels = {"jpeg": (1, 3), "jxl": (1, 3), "webp": (3,)}.get(compression)
    return channels is None or (header.dtype == np.uint8 and header.channels in channels)


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
