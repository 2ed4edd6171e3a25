import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from revgan.data.formats import Header, create, read, suffixes
from revgan.data.formats.geo_source import GeoSource
from revgan.errors import UserError
from scans import read_image, write_image


def noise(height, width, channels, dtype=np.uint8, seed=0):
    maximum = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, maximum + 1, (height, width, channels), dtype)


def encoded(array, suffix, folder):
    path = folder / f"encoded{suffix}"
    write_image(path, array)
    return path.read_bytes()


def tiff(**options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, metadata=None, **options)
    return buffer.getvalue()


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
ADAM7 += [(1, 0, 2, 1)]


def png(array, colour_type, interlaced=False, extra=()):
    """A PNG written by the letter of the specification, for what the libraries do not write."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = array.shape[:2]
    bits = array.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    passes = [array[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [array]
    big_endian = array.dtype.newbyteorder(">")
    rows = b"".join(b"\0" + row.astype(big_endian).tobytes() for p in passes if p.size for row in p)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def refusal(path, action=read_image):
    """The message of the UserError, after what all of them promise."""
    with pytest.raises(UserError) as caught:
        action(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert not message.endswith(".")
    return message


# What is written is read again


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG", ".TIF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 1), (13, 4)])
def test_png_and_tiff_keep_every_value(tmp_path, suffix, dtype, channels, size):
    image = noise(*size, channels, dtype)
    path = tmp_path / f"image{suffix}"
    write_image(path, image)
    again = read_image(path)
    assert again.dtype == dtype
    assert np.array_equal(again, image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_colour_keeps_all_65536_values(tmp_path, suffix):
    image = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1) ^ np.uint16([0, 0x5555, 0xFFFF])
    write_image(tmp_path / f"image{suffix}", image)
    assert np.array_equal(read_image(tmp_path / f"image{suffix}"), image)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_view_into_a_larger_image_is_written_as_it_looks(tmp_path, suffix):
    large = noise(20, 20, 3)
    view = large[3:13, 17:5:-1]
    write_image(tmp_path / f"view{suffix}", view)
    write_image(tmp_path / f"copy{suffix}", view.copy())
    view_bytes = (tmp_path / f"view{suffix}").read_bytes()
    assert view_bytes == (tmp_path / f"copy{suffix}").read_bytes()


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_close_to_what_was_written(tmp_path, channels):
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    image = np.broadcast_to(ramp[:, None, None], (64, 64, channels))
    write_image(tmp_path / "image.jpg", image)
    difference = read_image(tmp_path / "image.jpg").astype(int) - image
    assert np.abs(difference).max() <= 3  # the quantisation of quality 95


def test_a_written_tiff_is_compressed_and_says_what_its_channels_are(tmp_path):
    for channels, photometric in ((1, "MINISBLACK"), (2, "MINISBLACK"), (3, "RGB"), (4, "RGB")):
        write_image(tmp_path / "image.tif", np.zeros((64, 64, channels), np.uint16))
        with tifffile.TiffFile(tmp_path / "image.tif") as tif:
            assert tif.pages.first.photometric.name == photometric
            assert len(tif.pages.first.extrasamples) == (channels in (2, 4))
        assert (tmp_path / "image.tif").stat().st_size < 64 * 64


# What others have written


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_png_of_every_kind_is_read_interlaced_or_not(
    tmp_path, interlaced, dtype, colour_type, channels
):
    image = noise(13, 11, channels, dtype)
    (tmp_path / "image.png").write_bytes(png(image, colour_type, interlaced))
    assert np.array_equal(read_image(tmp_path / "image.png"), image)


def test_palette_png_becomes_rgb_and_with_transparency_rgba(tmp_path):
    colours = noise(1, 4, 3)[0]
    index = noise(9, 9, 1)[..., 0] % 4
    picture = Image.fromarray(index, "L").convert("P")
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "plain.png")
    assert np.array_equal(read_image(tmp_path / "plain.png"), colours[index])

    alpha = np.array([255, 0, 128, 7], np.uint8)
    picture.save(tmp_path / "transparent.png", transparency=alpha.tobytes())
    expected = np.concatenate((colours, alpha[:, None]), axis=1)[index]
    assert np.array_equal(read_image(tmp_path / "transparent.png"), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_transparent_colour_of_a_png_becomes_alpha(tmp_path, dtype, colour_type, channels):
    image = noise(13, 11, channels, dtype)
    key = (b"tRNS", image[4, 5].astype(">u2").tobytes())
    (tmp_path / "image.png").write_bytes(png(image, colour_type, extra=[key]))
    opaque = (image != image[4, 5]).any(axis=2, keepdims=True)
    expected = np.concatenate((image, opaque * np.iinfo(dtype).max), axis=2)
    assert np.array_equal(read_image(tmp_path / "image.png"), expected)


def test_black_and_white_is_0_and_255_in_png_and_bool_in_tiff(tmp_path):
    white = noise(9, 10, 1) > 127
    for suffix, values in ((".png", white * np.uint8(255)), (".tif", white)):
        Image.fromarray(white[..., 0]).save(tmp_path / f"image{suffix}")
        assert np.array_equal(read_image(tmp_path / f"image{suffix}"), values)


def test_jpeg_is_turned_upright(tmp_path):
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees clockwise to see it upright
    Image.fromarray(image).save(tmp_path / "image.jpg", exif=exif)
    upright = read_image(tmp_path / "image.jpg")
    assert upright.shape == (32, 16, 3)
    assert upright[:14].min() > 240
    assert upright[18:].max() < 15


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "image.jpeg")
    assert read_image(tmp_path / "image.jpeg")[0, 0] == pytest.approx([255, 0, 0], abs=3)


def test_an_image_larger_than_pillow_thinks_wise_is_read(tmp_path, monkeypatch):
    image = noise(16, 16, 3)
    for suffix in (".png", ".jpg"):
        write_image(tmp_path / f"image{suffix}", image)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(read_image(tmp_path / "image.png"), image)
    assert read_image(tmp_path / "image.jpg").shape == image.shape


def test_a_png_by_the_name_of_jpg_is_read_as_what_it_is(tmp_path):
    image = noise(8, 8, 3, np.uint16)
    (tmp_path / "image.jpg").write_bytes(encoded(image, ".png", tmp_path))
    assert np.array_equal(read_image(tmp_path / "image.jpg"), image)


@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "separate", "photometric": "rgb"},
        {"planarconfig": "contig", "photometric": "rgb", "compression": "lzw"},
        {"planarconfig": "contig", "photometric": "rgb", "byteorder": ">"},
        {"planarconfig": "contig", "photometric": "rgb", "bigtiff": True, "tile": (16, 16)},
    ],
    ids=["planar", "lzw", "big-endian", "tiled-bigtiff"],
)
def test_tiff_of_every_arrangement_is_read(tmp_path, options):
    image = noise(40, 30, 3, np.uint16)
    planar = options["planarconfig"] == "separate"
    data = tiff(data=np.moveaxis(image, 2, 0) if planar else image, **options)
    (tmp_path / "image.tif").write_bytes(data)
    again = read_image(tmp_path / "image.tif")
    assert again.dtype.isnative
    assert np.array_equal(again, image)


def test_tiff_of_microscopy_channels_is_one_image(tmp_path):
    image = noise(30, 20, 3, np.uint16)
    channels_first = np.moveaxis(image, 2, 0)
    tifffile.imwrite(tmp_path / "image.tif", channels_first, imagej=True, metadata={"axes": "CYX"})
    assert np.array_equal(read_image(tmp_path / "image.tif"), image)


def test_tiff_whose_zero_is_white_is_inverted(tmp_path):
    image = noise(8, 8, 1)
    data = tiff(data=255 - image[..., 0], photometric="miniswhite")
    (tmp_path / "image.tif").write_bytes(data)
    assert np.array_equal(read_image(tmp_path / "image.tif"), image)


@pytest.mark.parametrize("software", ["tifffile.py", "a scanner"])
@pytest.mark.parametrize("options", [{}, {"ome": True}, {"compression": "deflate"}])
def test_true_is_1_in_masks_that_tifffile_writes_and_white_elsewhere(tmp_path, options, software):
    mask = noise(20, 12, 1)[..., 0] > 128
    path = tmp_path / "mask.tif"
    for values, axes in ((mask, "YX"), (np.stack([mask] * 3), "ZYX")):
        dims, about = len(axes), {"axes": axes}
        # It says that 0 is white.
        tifffile.imwrite(path, values, software=software, metadata=about, **options)
        again = read(path, dims).values[0]
        expected = mask if software == "tifffile.py" else ~mask
        np.testing.assert_array_equal(again if dims == 2 else again[..., 0].T, expected)


def test_tiff_with_smaller_copies_of_itself_is_one_image(tmp_path):
    image = noise(64, 64, 3)
    with tifffile.TiffWriter(tmp_path / "image.tif") as tif:
        options = {"photometric": "rgb", "tile": (16, 16), "metadata": None}
        tif.write(image, **options)
        tif.write(image[::2, ::2], subfiletype=1, **options)
    assert np.array_equal(read_image(tmp_path / "image.tif"), image)


# What is refused


def test_a_missing_image_is_named(tmp_path):
    assert "No such file" in refusal(tmp_path / "missing.png")


def test_a_folder_in_place_of_an_image_is_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    refusal(tmp_path / "folder.png")


@pytest.mark.parametrize("name", ["image.xyz", "image"])
def test_another_suffix_is_refused_with_those_understood(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    assert ", ".join(suffixes(2)) in refusal(tmp_path / name)
    message = refusal(tmp_path / name, lambda path: write_image(path, noise(2, 2, 1)))
    assert ", ".join(suffixes(2)) in message


def test_an_empty_file_and_another_kind_of_file_are_refused(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(b"")
    assert "empty file" in refusal(path)
    Image.new("RGB", (4, 4)).save(path, "PPM")
    assert "JPEG, WEBP, BMP" in refusal(path)


def test_an_image_without_pixels_is_refused(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(png(np.zeros((0, 4, 1), np.uint8), 0))
    refusal(path)


SMOOTH = np.add.outer(np.arange(32), np.arange(32))[..., None] * np.array([1, 2, 3])
FILES = {
    "8-bit png": lambda folder: encoded(noise(24, 24, 3), ".png", folder),
    "16-bit png": lambda folder: encoded(noise(24, 24, 3, np.uint16), ".png", folder),
    "jpeg": lambda folder: encoded(SMOOTH.astype(np.uint8), ".jpg", folder),
    "tiff": lambda folder: encoded(noise(24, 24, 3, np.uint16), ".tif", folder),
    "uncompressed tiff": lambda folder: tiff(data=noise(24, 24, 3), photometric="rgb"),
    "jpeg in tiff": lambda folder: tiff(
        data=SMOOTH.astype(np.uint8), photometric="ycbcr", compression="jpeg", rowsperstrip=8
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_truncated_file_is_refused_unless_every_pixel_is_there(tmp_path, kind):
    whole = FILES[kind](tmp_path)
    path = tmp_path / f"truncated.{'png' if 'png' in kind else 'tif' if 'tif' in kind else 'jpg'}"
    path.write_bytes(whole)
    image = read_image(path)
    refused = 0
    cuts = [*range(0, len(whole), len(whole) // 60), *range(len(whole) - 20, len(whole))]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        try:
            assert np.array_equal(read_image(path), image)
        except UserError:
            refusal(path)
            refused += 1
    assert refused >= 60


@settings(max_examples=60, deadline=None)
@given(place=st.integers(8, 1000), value=st.integers(0, 255), deep=st.booleans())
def test_a_damaged_png_is_read_or_refused_but_never_crashes(tmp_path_factory, place, value, deep):
    folder = tmp_path_factory.mktemp("damaged")
    data = bytearray(encoded(noise(16, 20, 3, np.uint16 if deep else np.uint8), ".png", folder))
    data[place % (len(data) - 8) + 8] = value
    # The size is not damaged, as no one has memory for what it could become.
    data[16:24] = struct.pack(">II", 20, 16)
    (folder / "image.png").write_bytes(data)
    try:
        assert 1 <= read_image(folder / "image.png").shape[2] <= 4
    except UserError:
        refusal(folder / "image.png")


def test_a_tiff_of_several_images_or_of_a_stack_is_refused(tmp_path):
    path = tmp_path / "image.tif"
    stack = np.zeros((3, 20, 20), np.uint8)
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    assert "3 pages" in refusal(path)
    with tifffile.TiffWriter(path) as tif:
        for size in (20, 30):
            tif.write(np.zeros((size, size), np.uint8), metadata=None)
    assert "2 pages" in refusal(path)


def test_a_tiff_of_complex_numbers_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((8, 8), np.complex64))
    assert "values of complex64" in refusal(tmp_path / "image.tif")


def test_a_tiff_of_colours_that_would_be_mistaken_is_refused(tmp_path):
    path = tmp_path / "image.tif"
    path.write_bytes(tiff(data=noise(8, 8, 4), photometric="separated"))
    assert "SEPARATED" in refusal(path)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 8, 2), np.uint8),
        ((8, 8, 4), np.uint8),
        ((8, 8, 3), np.uint16),
        ((1, 65501, 1), np.uint8),
    ],
)
def test_jpeg_refuses_what_it_cannot_hold(tmp_path, shape, dtype):
    path = tmp_path / "image.jpg"
    message = refusal(path, lambda p: write_image(p, np.zeros(shape, dtype)))
    assert ".png or .tif" in message
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_to_write_to_is_a_user_error(tmp_path):
    refusal(tmp_path / "missing" / "image.png", lambda path: write_image(path, noise(2, 2, 3)))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".nii.gz", "cog.tif"])
def test_a_full_disk_leaves_the_old_image_and_nothing_half_written(tmp_path, suffix):
    resource = pytest.importorskip("resource")
    path = tmp_path / f"image{suffix}"
    path.write_bytes(b"old")
    shape = (100, 100, 40) if suffix == ".nii.gz" else (100, 100)
    header = Header(3, shape, np.dtype(np.uint8))
    if suffix == "cog.tif":
        source = GeoSource({}, {}, [], (), (), [], True, ([], None), None, None)
        header = replace(header, source=source)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    def write(path):
        values = np.moveaxis(noise(100, 100, 3), -1, 0).reshape(
            3, 100, 100, *[1] * (len(shape) - 2)
        )
        values = np.broadcast_to(values, (3, *shape))
        with create(path, header) as file:
            for rows in (slice(0, 50), slice(50, 100)):
                file.write(values[:, rows], (rows, *[slice(None)] * (len(shape) - 1)))

    try:
        refusal(path, write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bits", [4, 12, 17])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
def test_few_bits_stay_few_only_in_the_smallest_type_that_has_them(tmp_path, bits, dtype):
    own = np.uint8 if bits < 8 else np.uint16 if bits < 16 else np.uint32
    values = np.random.default_rng(0).integers(0, 2**bits, (1, 20, 30)).astype(own)
    tifffile.imwrite(tmp_path / "x.tif", values[0], bitspersample=bits)
    scan = read(tmp_path / "x.tif")
    np.testing.assert_array_equal(scan.values, values)
    values = values.astype(dtype)
    with create(tmp_path / "y.tif", scan.header.of(values)) as file:
        file.write(values)
    np.testing.assert_array_equal(read(tmp_path / "y.tif").values, values)
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        kept = file.pages.first.bitspersample
    assert kept == (bits if dtype == np.dtype(own) else 8 * values.dtype.itemsize)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("array", "beyond"),
    [
        (np.zeros((4, 4, 5), np.uint8), "5 channels"),
        (np.zeros((4, 4, 3), np.float32), "values of float32"),
    ],
)
def test_photos_refuse_what_only_tiff_holds(tmp_path, suffix, array, beyond):
    message = refusal(tmp_path / f"image{suffix}", lambda path: write_image(path, array))
    assert beyond in message
    assert ".tif" in message


def test_an_image_without_pixels_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="an image"):
        write_image(tmp_path / "image.png", np.zeros((0, 4, 3), np.uint8))


def test_a_damaged_tag_of_a_tiff_prints_nothing_besides_the_error(tmp_path):
    path = tmp_path / "damaged.tif"
    data = bytearray(encoded(noise(40, 40, 3), ".tif", tmp_path))
    data[60] ^= 0xFF  # the data type of a tag
    data[400] ^= 0x55  # the compressed pixels
    path.write_bytes(data)
    program = (
        "import sys\nfrom revgan.data.formats import read as read_image\n"
        "from revgan.errors import UserError\n"
        "try:\n    read_image(sys.argv[1])\nexcept UserError as error:\n    print(error)"
    )
    # In a process of its own, as pytest takes logs before they are printed.
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "damaged.tif cannot be read" in done.stdout
