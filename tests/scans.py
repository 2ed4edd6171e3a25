"""Images and volumes as tests write and read them."""

import numpy as np

from revgan.data.formats import Header, Scan, create, read, write


def write_image(path, pixels):
    """Writes pixels (H, W, C) of uint8 or uint16."""
    values = np.moveaxis(pixels, -1, 0)
    with create(path, Header(len(values), values.shape[1:], values.dtype)) as file:
        file.write(values)


def read_image(path):
    """The pixels (H, W, C) of an image."""
    return np.moveaxis(read(path, spatial_dims=2).values, 0, -1)


def write_volume(path, values, like):
    """Writes values (C, X, Y, Z) at the place of a scan."""
    write(path, values, like.header)


def read_volume(path):
    """A volume, as float32."""
    scan = read(path, spatial_dims=3)
    values = np.ascontiguousarray(scan.values, np.float32)
    return Scan(values, scan.affine, scan.source, scan.dtype)
