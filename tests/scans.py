"""Images and volumes as tests write and read them."""

import numpy as np
import tifffile

from revgan.data.formats import Header, Scan, create, probe, pyramid, read, write


def write_image(path, pixels):
    """Writes pixels (H, W, C) of uint8 or uint16."""
    values = np.moveaxis(pixels, -1, 0)
    with create(path, Header(len(values), values.shape[1:], values.dtype)) as file:
        file.write(values)


def read_image(path):
    """The pixels (H, W, C) of an image."""
    return np.moveaxis(_as_told(path, 2).values, 0, -1)


def write_volume(path, values, like):
    """Writes values (C, X, Y, Z) at the place of a scan."""
    write(path, values, like.header)


def read_volume(path):
    """A volume, as float32."""
    scan = _as_told(path, 3)
    values = np.ascontiguousarray(scan.values, np.float32)
    return Scan(values, scan.affine, scan.source, scan.dtype)


def _as_told(path, spatial_dims):
    """A scan, which is what its header says before any value is read."""
    scan, header = read(path, spatial_dims), probe(path, spatial_dims)
    assert (header.channels, *header.shape) == scan.values.shape
    assert header.dtype == scan.values.dtype or scan.values.dtype == np.float32  # scaled NIfTI
    return scan


MPP = 0.5
"""Micrometres from pixel to pixel of slides, at their finest level."""


def write_slide(path, values, levels=3, **options):
    """Writes (3, H, W) as a tiled pyramid, as OpenSlide reads TIFFs of no vendor."""
    path.parent.mkdir(exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for number in range(levels):
            file.write(
                np.moveaxis(values, 0, -1),
                tile=(256, 256),
                photometric="rgb",
                compression="zlib",
                resolution=(1e4 / MPP / 2**number, 1e4 / MPP / 2**number),
                resolutionunit="CENTIMETER",
                subfiletype=1 if number else 0,
                metadata=None,
                **options,
            )
            values = pyramid.means(values, (2, 2))
