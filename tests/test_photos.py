"""Photos of every format: pixels, orientation, colour profile and resolution."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from revgan.data import formats
from revgan.data.formats import Header, Selection, pyramid
from revgan.errors import UserError

fast = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

HELD = {
    ".webp": ((3, 4), ("uint8",)),
    ".bmp": ((1, 3), ("uint8",)),
    ".jxl": ((1, 2, 3, 4), ("uint8", "uint16")),
    ".avif": ((1, 2, 3, 4), ("uint8",)),
}
"""Channels and types that a format holds without loss."""


def random_pixels(channels, shape, dtype="uint8", seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, np.iinfo(dtype).max, (channels, *shape), dtype, endpoint=True)


@pytest.mark.parametrize("suffix", HELD)
@fast
@given(data=st.data())
def test_what_is_written_is_read_whole_and_in_windows(tmp_path, suffix, data):
    channels, types = HELD[suffix]
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    dtype = data.draw(st.sampled_from(types))
    values = random_pixels(data.draw(st.sampled_from(channels)), shape, dtype)
    if len(values) in (2, 4):
        values[-1, 0, 0] = 7  # formats drop an alpha channel that is opaque everywhere
    path = tmp_path / f"x{suffix}"
    formats.write(path, values, Header(len(values), shape, values.dtype))
    window = tuple(slice(side // 3, side // 3 + side // 2 + 1) for side in shape)
    with formats.open(path, 2) as file:
        header, whole, part = file.header, file.read(), file.read(window)
    assert (header.channels, header.shape, header.dtype) == (len(values), shape, values.dtype)
    np.testing.assert_array_equal(whole, values)
    np.testing.assert_array_equal(part, values[:, *window])


@pytest.mark.parametrize("suffix", [*HELD, ".gif"])
def test_what_a_format_cannot_hold_is_refused(suffix):
    assert not formats.holds(f"x{suffix}", Header(3, (4, 4), np.dtype(np.float32)))
    assert not formats.holds(f"x{suffix}", Header(5, (4, 4), np.dtype(np.uint8)))


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.fromarray(random_pixels(1, (9, 12), seed=seed)[0]) for seed in range(3)]
    for suffix in (".gif", ".webp", ".png"):
        path = tmp_path / f"x{suffix}"
        options = {"lossless": True} if suffix == ".webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        read = formats.read(path, 2).values
        np.testing.assert_array_equal(read[0], np.asarray(frames[0]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", "16.png", ".webp", ".avif", ".tif"])
def test_pictures_are_turned_upright_alike(tmp_path, suffix, orientation):
    """JPEG XL's decoder does it, too; nothing here writes such files."""
    values = np.kron(random_pixels(3, (2, 3)), np.ones((16, 16), np.uint8))  # kind to JPEG
    stored = np.moveaxis(values, 0, -1)
    path = tmp_path / f"x{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    picture = Image.fromarray(stored)
    if suffix == ".tif":
        tag = (274, "H", 1, orientation, True)
        options = {"photometric": "rgb", "metadata": None, "extratags": [tag]}
        tifffile.imwrite(path, stored, tile=(16, 16), **options)
    elif suffix == "16.png":
        deep = imagecodecs.png_encode(np.array(stored, np.uint16, order="C") * 257)
        content = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        check = zlib.crc32(content)
        chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", check)
        path.write_bytes(deep[:33] + chunk + deep[33:])
    else:
        options = {} if suffix == ".png" else {"quality": 100, "lossless": True, "subsampling": 0}
        options |= {"subsampling": "4:4:4"} if suffix == ".avif" else {}
        picture.save(path, exif=exif, **options)
    tagged = picture.copy()
    tagged.getexif()[274] = orientation
    expected = np.moveaxis(np.asarray(ImageOps.exif_transpose(tagged)), -1, 0)
    with formats.open(path, 2) as file:
        read = file.read()
        window = (slice(5, 30), slice(3, 20))
        np.testing.assert_array_equal(file.read(window), read[:, *window])
        assert file.header.shape == read.shape[1:]
    if read.dtype == np.uint16:
        read = read // 257
    assert np.abs(read.astype(int) - expected).max() <= (4 if suffix in (".jpg", ".avif") else 0)


def test_bmp_and_avif_keep_what_they_can(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.fromarray(np.moveaxis(random_pixels(3, (20, 30)), 0, -1))
    picture.save(tmp_path / "x.bmp", dpi=(300, 300))
    picture.save(tmp_path / "x.avif", icc_profile=profile)
    assert formats.probe(tmp_path / "x.avif", 2).source.icc == profile
    scan = formats.read(tmp_path / "x.bmp", 2)
    formats.write(tmp_path / "y.bmp", scan.values, scan.header)
    for name in ("x.bmp", "y.bmp"):
        assert formats.probe(tmp_path / name, 2).source.dpi == pytest.approx((300, 300), rel=1e-3)


def test_jpeg_xl_of_fractions_is_read(tmp_path):
    values = np.random.default_rng(0).random((20, 30, 3), np.float32)
    (tmp_path / "x.jxl").write_bytes(imagecodecs.jpegxl_encode(values, lossless=True))
    read = formats.read(tmp_path / "x.jxl", 2).values
    np.testing.assert_array_equal(np.moveaxis(read, 0, -1), values)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_colour_profile_and_resolution_come_out_again(tmp_path, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.fromarray(np.moveaxis(random_pixels(3, (20, 30)), 0, -1))
    picture.save(tmp_path / f"x{suffix}", icc_profile=profile, dpi=(300, 150))
    scan = formats.read(tmp_path / f"x{suffix}", 2)
    for target in {suffix, ".png", ".tif", ".jpg"}:
        formats.write(tmp_path / f"y{target}", scan.values, scan.header)
        with Image.open(tmp_path / f"y{target}") as found:
            assert found.info["icc_profile"] == profile, target
            if ".webp" not in (suffix, target):  # which has no resolution
                assert found.info["dpi"] == pytest.approx((300, 150), rel=1e-3), target
    # A profile of RGB says nothing of grey.
    formats.write(tmp_path / "grey.png", scan.values[:1], scan.header)
    with Image.open(tmp_path / "grey.png") as found:
        assert "icc_profile" not in found.info


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_palettes_become_their_colours(tmp_path, suffix):
    numbers = random_pixels(1, (20, 30))[0] % 16
    colours = random_pixels(1, (16, 3), seed=1)[0]
    picture = Image.fromarray(numbers).convert("P")
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / f"x{suffix}")
    scan = formats.read(tmp_path / f"x{suffix}", 2)
    np.testing.assert_array_equal(np.moveaxis(scan.values, 0, -1), colours[numbers])
    formats.write(tmp_path / "y.tif", scan.values, scan.header)
    np.testing.assert_array_equal(formats.read(tmp_path / "y.tif", 2).values, scan.values)


def test_a_level_of_a_pyramid_of_no_vendor_is_read(tmp_path):
    finest = random_pixels(2, (300, 500), "uint16")
    coarse = pyramid.means(finest, (2, 2))
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for number, values in enumerate((finest, coarse)):
            file.write(
                np.moveaxis(values, 0, -1),
                tile=(64, 64),
                photometric="minisblack",
                planarconfig="contig",
                subfiletype=1 if number else 0,
                resolution=(2e4 / 2**number, 2e4 / 2**number),  # half a micrometre
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    for part, values in (({}, finest), ({"level": 1}, coarse), ({"pixel_size": 1.0}, coarse)):
        scan = formats.read(tmp_path / "x.tif", 2, Selection(**part))
        np.testing.assert_array_equal(scan.values, values)
    dpi = scan.header.source.dpi
    assert dpi == pytest.approx((25400, 25400))
    half = formats.probe(tmp_path / "x.tif", 2, Selection(pixel_size=0.75))
    assert half.shape == (200, 333)


def test_channels_of_any_format_are_chosen(tmp_path):
    values = random_pixels(3, (20, 30))
    for suffix in (".png", ".tif", ".webp"):
        formats.write(tmp_path / f"x{suffix}", values, Header(3, (20, 30), values.dtype))
        with formats.open(tmp_path / f"x{suffix}", 2, Selection(channels=("2", "0"))) as file:
            assert file.header.channels == 2
            np.testing.assert_array_equal(file.read(), values[[2, 0]])
        with pytest.raises(UserError, match="give numbers from 0 to 2"):
            formats.read(tmp_path / f"x{suffix}", 2, Selection(channels=("3",)))


def test_texts_and_profiles_of_any_length_are_no_damage(tmp_path):
    pixels = np.moveaxis(random_pixels(3, (20, 30)), 0, -1)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    text.add_text("comment", "y" * 3_000_000, zip=True)
    Image.fromarray(pixels).save(tmp_path / "text.png", pnginfo=text)
    Image.fromarray(pixels).save(tmp_path / "icc.png", icc_profile=bytes(2_000_000))
    for name in ("text.png", "icc.png"):
        read = formats.read(tmp_path / name, 2).values
        np.testing.assert_array_equal(np.moveaxis(read, 0, -1), pixels)


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_bits_becomes_16(tmp_path, bits):
    stored = random_pixels(3, (20, 30), "uint16") >> (16 - bits)
    options = {"level": 100, "bitspersample": bits, "pixelformat": "444"}
    data = imagecodecs.avif_encode(np.moveaxis(stored, 0, -1).copy(), **options)
    (tmp_path / "x.avif").write_bytes(data)
    read = formats.read(tmp_path / "x.avif", 2).values
    np.testing.assert_array_equal(read, np.rint(stored * (65535 / (2**bits - 1))))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_level_of_grey_is_transparent_whatever_the_bits(tmp_path, bits):
    levels = random_pixels(1, (9, 16))[0] >> (8 - bits)
    packed = np.packbits(
        np.unpackbits(levels[..., None], axis=2)[..., 8 - bits :].reshape(9, -1), 1
    )
    rows = np.pad(packed, ((0, 0), (1, 0))).tobytes()

    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 16, 9, bits, 0, 0, 0, 0),
        b"tRNS": struct.pack(">H", 1),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    data = b"".join(chunk(name, content) for name, content in chunks.items())
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    read = formats.read(tmp_path / "x.png", 2).values
    np.testing.assert_array_equal(read[0], levels * (255 // (2**bits - 1)))
    np.testing.assert_array_equal(read[1], np.where(levels == 1, 0, 255))


@pytest.mark.parametrize("kind", ["lossless", "twelve bits"])
def test_a_jpeg_of_more_than_8_bits_becomes_16(tmp_path, kind):
    stored = random_pixels(1, (20, 30), "uint16")[0] >> 4
    lossless = kind == "lossless"
    encode = imagecodecs.ljpeg_encode if lossless else imagecodecs.jpeg8_encode
    (tmp_path / "x.jpg").write_bytes(encode(stored, bitspersample=12))
    if not lossless:
        stored = imagecodecs.jpeg8_decode((tmp_path / "x.jpg").read_bytes())
    scan = formats.read(tmp_path / "x.jpg", 2)
    np.testing.assert_array_equal(scan.values[0], np.rint(stored * (65535 / 4095)))
    assert scan.dtype == np.uint16
    (tmp_path / "x.jpg").write_bytes((tmp_path / "x.jpg").read_bytes()[:200])
    with pytest.raises(UserError, match=r"x\.jpg cannot be read"):
        formats.read(tmp_path / "x.jpg", 2)


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".gif", ".jxl", ".avif"])
def test_a_damaged_file_is_named(tmp_path, suffix):
    values = random_pixels(3, (64, 64))
    path = tmp_path / f"x{suffix}"
    if suffix == ".gif":
        Image.fromarray(values[0]).save(path)
    else:
        formats.write(path, values, Header(3, (64, 64), values.dtype))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"x\.\w+ cannot be read"):
        formats.read(path, 2)


def test_a_decoder_that_is_missing_is_named(tmp_path, monkeypatch):
    values = random_pixels(3, (8, 8))
    formats.write(tmp_path / "x.jxl", values, Header(3, (8, 8), values.dtype))

    class JPEGXL:
        available = False

    monkeypatch.setattr(imagecodecs, "JPEGXL", JPEGXL)
    with pytest.raises(UserError, match="needs a build of imagecodecs with JPEGXL"):
        formats.read(tmp_path / "x.jxl", 2)


def test_a_picture_of_another_name_is_read_by_its_first_bytes(tmp_path):
    pixels = np.moveaxis(random_pixels(3, (20, 30)), 0, -1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    read = formats.read(tmp_path / "x.jpg", 2).values
    np.testing.assert_array_equal(np.moveaxis(read, 0, -1), pixels)
