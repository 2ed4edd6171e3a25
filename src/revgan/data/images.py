"""Images in and out of PNG, JPEG and TIFF files and of tensors, exact in bit depth.

An image is an array (H, W, C) of uint8 or uint16: grey, grey and alpha, RGB or RGBA.
"""

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
import torch
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor

from revgan.errors import UserError
from revgan.files import replacing

# What tifffile finds wrong with a file ends in this module's one sentence, or does not matter; by
# default its log would be printed before it.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

ImageArray = npt.NDArray[np.uint8 | np.uint16]
"""An image (H, W, C) of uint8 or uint16 with 1 to 4 channels."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""The suffixes of image files, in lower case; upper case is understood too."""

JPEG_SUFFIXES = (".jpg", ".jpeg")
"""Those of them that JPEGs have."""


@dataclass(frozen=True)
class ImageFormat:
    """What all images of a domain have in common.

    Attributes:
        channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
        bits: per sample.
    """

    channels: int
    bits: Literal[8, 16]


def image_format(array: ImageArray) -> ImageFormat:
    """The channels and the bit depth of an image (H, W, C).

    Raises:
        ValueError: the array is no image of 1 to 4 channels, uint8 or uint16, or has no pixels.
    """
    if array.ndim != 3 or array.size == 0 or array.shape[2] > 4:
        raise ValueError(f"an image has shape (H, W, C) with 1 to 4 channels, not {array.shape}")
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"an image is uint8 or uint16, not {array.dtype}")
    return ImageFormat(channels=array.shape[2], bits=8 if array.dtype == np.uint8 else 16)


def read_image(path: Path | str) -> ImageArray:
    """Reads an image (H, W, C) of uint8 or uint16, C from 1 to 4, with the values in the file.

    JPEGs are turned upright (EXIF). Palettes become RGB, or RGBA with transparency; black-and-white
    images become grey, CMYK JPEGs RGB.

    Raises:
        UserError: the file is missing, damaged, truncated, empty, of another kind, or holds
            several images, other samples than 8 or 16 unsigned bits, or more than 4 channels.
    """
    path = Path(path)
    _require_suffix(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({_reason(error)}); give an existing, readable image file"
        ) from error
    # By its first bytes, as many a PNG goes by the name of .jpg.
    decode = next((_DECODERS[magic] for magic in _DECODERS if head.startswith(magic)), None)
    if decode is None:
        kind = "no image in spite of its name" if head else "an empty file"
        raise UserError(f"{path} is {kind}; replace it by a PNG, JPEG or TIFF file")
    try:
        image = decode(path)
        image_format(image)
    except UserError:
        raise
    except Exception as error:  # damaged files make decoders raise nearly anything
        raise UserError(
            f"{path} cannot be decoded ({_reason(error)}); replace it by an undamaged copy"
        ) from error
    return image


def write_image(path: Path | str, array: ImageArray) -> None:
    """Writes an image (H, W, C) in the format of the path's suffix; the folder must exist.

    PNG and TIFF keep every value; JPEG (quality 95) does not. The file appears complete or not at
    all: a failure leaves what was there before.

    Raises:
        UserError: the suffix is of no image, the format cannot hold the array, or writing fails.
        ValueError: the array is no image, see `image_format`.
    """
    path = Path(path)
    _require_suffix(path)
    require_room(path, image_format(array), array.shape[:2])
    try:
        with replacing(path) as unfinished:
            unfinished.write_bytes(_encode(path, array))
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({_reason(error)}); choose a writable folder with space left"
        ) from error


def require_room(path: Path, kind: ImageFormat, size: tuple[int, ...]) -> None:
    """Refuses a file for an image that its format can't hold; of those written here, JPEG alone.

    Args:
        path: the file to be written, with the suffix of an image.
        kind: of the image.
        size: its height and width.

    Raises:
        UserError: the image has too many bits, channels or pixels.
    """
    limits = {
        f"{kind.bits} bits per channel": kind.bits == 8,
        "an alpha channel": kind.channels in (1, 3),
        f"{max(size)} pixels a side": max(size) <= 65500,
    }
    beyond = [what for what, kept in limits.items() if not kept]
    if beyond and path.suffix.lower() in JPEG_SUFFIXES:
        raise UserError(
            f"{path} can't hold an image with {' and '.join(beyond)}, as JPEG has 1 or 3 channels "
            "of 8 bits and at most 65500 pixels a side; use the suffix .png or .tif"
        )


def to_tensor(array: ImageArray) -> Tensor:
    """A float32 tensor (C, H, W) in [-1, 1] from an image (H, W, C): 0 is -1, the maximum is 1."""
    values = np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32)
    # Not by torch, whose threads wait for each other where cores are busy with training.
    values /= np.float32(np.iinfo(array.dtype).max / 2)
    values -= 1
    return torch.from_numpy(values)


def to_array(tensor: Tensor, bits: Literal[8, 16]) -> ImageArray:
    """The image (H, W, C) nearest to a tensor (C, H, W); values outside [-1, 1] are clamped."""
    dtype = np.uint8 if bits == 8 else np.uint16
    maximum = np.iinfo(dtype).max
    scaled = (tensor.detach().cpu().float() + 1) * (maximum / 2)
    values = scaled.round_().clamp_(0, maximum).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(values, dtype=dtype)


def convert_channels(array: ImageArray, channels: int) -> ImageArray:
    """An image (H, W, C) with another number of channels, or itself if it has that number.

    Grey is repeated to RGB; RGB becomes grey by its luma (ITU-R BT.601); alpha is dropped, or added
    as opaque.

    Raises:
        ValueError: `channels` is not 1, 2, 3 or 4.
    """
    if not 1 <= channels <= 4:
        raise ValueError(f"an image has 1 to 4 channels, not {channels}")
    present = array.shape[2]
    if present == channels:
        return array
    has_alpha = present in (2, 4)
    colour = array[..., :-1] if has_alpha else array
    if channels <= 2 < present:
        colour = _luma(colour)
    elif present <= 2 < channels:
        colour = colour.repeat(3, axis=2)
    if channels in (1, 3):
        return colour
    opaque = np.full_like(array[..., :1], np.iinfo(array.dtype).max)
    return np.concatenate((colour, array[..., -1:] if has_alpha else opaque), axis=2)


def _luma(rgb: ImageArray) -> ImageArray:
    """Grey (H, W, 1), rounded to nearest, from RGB (H, W, 3)."""
    red, green, blue = np.moveaxis(rgb, 2, 0).astype(np.uint32)
    thousandths = 299 * red + 587 * green + 114 * blue
    luma: ImageArray = ((thousandths + 500) // 1000).astype(rgb.dtype)
    return luma[..., np.newaxis]


def _require_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is no image by its suffix; use one of {', '.join(SUFFIXES)}")


def _reason(error: Exception) -> str:
    """What an error says, on one line."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error) or type(error).__name__).split())


def _read_png(path: Path) -> ImageArray:
    data = path.read_bytes()
    bits = data[24]  # in IHDR, which is always the first chunk
    if bits == 16:  # Pillow would drop the lower 8 bits of colour images
        image: ImageArray = imagecodecs.png_decode(data)
        return image if image.ndim == 3 else image[..., np.newaxis]
    # Not Image.open, which refuses images of more than 179 megapixels.
    with PngImageFile(io.BytesIO(data)) as picture:
        return _from_pillow(picture)


def _read_jpeg(path: Path) -> ImageArray:
    with JpegImageFile(io.BytesIO(path.read_bytes())) as picture:
        return _from_pillow(ImageOps.exif_transpose(picture))


def _from_pillow(picture: Image.Image) -> ImageArray:
    mode = "L" if picture.mode in ("1", "L", "LA") else "RGB"
    if picture.has_transparency_data:
        mode += "A"
    array: ImageArray = np.array(picture if picture.mode == mode else picture.convert(mode))
    return array if array.ndim == 3 else array[..., np.newaxis]


def _read_tiff(path: Path) -> ImageArray:
    with tifffile.TiffFile(path) as tif:
        axes = tif.series[0].axes
        if len(tif.series) > 1 or axes not in ("YX", "YXS", "SYX", "CYX"):
            raise UserError(
                f"{path} is not one 2D image but a stack or collection ({len(tif.pages)} pages, "
                f"axes {axes}); save each image as a file of its own"
            )
        _check_tiff(path, tif)
        image = tif.series[0].asarray()
        inverted = tif.series[0].keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if axes == "YX":
        image = image[np.newaxis]
    if axes != "YXS":
        image = np.moveaxis(image, 0, -1)
    if image.shape[2] > 4:
        raise UserError(f"{path} has {image.shape[2]} channels; save it with 1 to 4")
    if image.dtype == np.bool_:
        image = image * np.uint8(255)
    return ~image if inverted else image


def _check_tiff(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuses what tifffile would read without complaint, but not as the image it shows."""
    page = tif.series[0].keyframe
    dtype = tif.series[0].dtype
    if dtype.kind not in "bu" or page.bitspersample not in (1, 8, 16):
        raise UserError(
            f"{path} has samples of {page.bitspersample} bits (as {dtype}); save it with unsigned "
            "samples of 8 or 16 bits"
        )
    kinds = tifffile.PHOTOMETRIC
    plain = page.photometric in (kinds.MINISWHITE, kinds.MINISBLACK, kinds.RGB)
    # tifffile turns YCbCr into RGB only where JPEG does it.
    in_jpeg = page.photometric == kinds.YCBCR and page.compression == tifffile.COMPRESSION.JPEG
    if not (plain or in_jpeg):
        kind = getattr(page.photometric, "name", page.photometric)
        raise UserError(f"{path} stores its colours as {kind}; save it as grey or RGB")
    # JPEG strips that end early would be filled up with grey.
    for part in tif.pages:
        ends = map(sum, zip(part.dataoffsets, part.databytecounts, strict=True))
        if max(ends) > tif.filehandle.size:
            raise UserError(f"{path} is truncated; replace it by an undamaged copy")


_DECODERS: dict[bytes, Callable[[Path], ImageArray]] = {
    b"\x89PNG\r\n\x1a\n": _read_png,
    b"\xff\xd8\xff": _read_jpeg,
    b"II*\0": _read_tiff,
    b"MM\0*": _read_tiff,
    b"II+\0": _read_tiff,  # BigTIFF
    b"MM\0+": _read_tiff,
}


def _encode(path: Path, array: ImageArray) -> bytes | bytearray:
    match path.suffix.lower():
        case ".png":
            return imagecodecs.png_encode(np.ascontiguousarray(array))
        case ".tif" | ".tiff":
            return _encode_tiff(array)
        case _:
            return _encode_jpeg(array)


def _encode_tiff(array: ImageArray) -> bytes:
    channels = array.shape[2]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array[..., 0] if channels == 1 else array,
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        metadata=None,
    )
    return buffer.getvalue()


def _encode_jpeg(array: ImageArray) -> bytes:
    buffer = io.BytesIO()
    grey_or_rgb = array[..., 0] if array.shape[2] == 1 else array
    Image.fromarray(grey_or_rgb).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
