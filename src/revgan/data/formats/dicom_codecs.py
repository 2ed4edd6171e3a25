"""Compressed DICOM: what pydicom has no decoder for by itself, by imagecodecs."""

from functools import cache
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

DECODER_DEPENDENCIES: dict[str, tuple[str, ...]] = {}
"""pydicom asks plug-ins for this: which packages each encoding needs."""


def is_available(uid: str) -> bool:
    """Pydicom asks plug-ins for this: whether they can decode a transfer syntax."""
    return True


@cache
def add_codecs() -> None:
    """Tells pydicom of these decoders; once."""
    from pydicom import uid
    from pydicom.pixels.decoders.base import get_decoder

    for syntax in (
        uid.JPEGExtended12Bit,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEGLSNearLossless,
        uid.JPEG2000Lossless,
        uid.JPEG2000,
        uid.HTJ2KLossless,
        uid.HTJ2KLosslessRPCL,
        uid.HTJ2K,
    ):
        DECODER_DEPENDENCIES[syntax] = ("imagecodecs",)
        get_decoder(syntax).add_plugin("imagecodecs", (__name__, "decode"))


def decode(source: bytes, runner: "DecodeRunner") -> bytes:
    """One frame, as pydicom wants it from a plug-in.

    Args:
        source: as it is encoded.
        runner: what pydicom knows of it, and is told of what comes of it.

    Returns:
        Its pixels in the machine's byte order, colours interleaved.
    """
    from pydicom import uid

    syntax = runner.transfer_syntax
    high_throughput = uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        pixels = imagecodecs.jpegls_decode(source)
    elif syntax in (uid.JPEG2000Lossless, uid.JPEG2000, *high_throughput):
        pixels = imagecodecs.jpeg2k_decode(source)
        if runner.samples_per_pixel > 1:  # YBR_RCT and YBR_ICT are so when decoded
            runner.set_option("photometric_interpretation", "RGB")
    elif syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        pixels = imagecodecs.ljpeg_decode(source)
    else:
        pixels = imagecodecs.jpeg_decode(source)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return np.ascontiguousarray(pixels).tobytes()
