"""Files of strangers: they name no others outside their folder, and declare no sizes in vain."""

import bz2
import gzip
import json
import lzma
import os
import resource
import struct
import warnings
import zlib

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from revgan import memory
from revgan.data import formats
from revgan.data.formats.jxl import declared_size
from revgan.data.labels import Palette
from revgan.data.patterns import found_by
from revgan.data.preparation import Preparation
from revgan.data.refs import find_scans
from revgan.errors import UserError
from revgan.training.runs import RunFolder


def refused(path, spatial_dims=None):
    with pytest.raises(UserError) as error:
        formats.read(path, spatial_dims)
    message = str(error.value)
    assert "\n" not in message
    return message


def png(width, height):
    """Of the declared size, but with two rows of pixels."""

    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(2 + 6 * width))
    parts = chunk(b"IHDR", size), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def nifti():
    header = nibabel.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header.set_data_dtype(np.uint8)
    content = bytearray(header.binaryblock)
    content[108:112] = struct.pack("<f", 352)
    content[344:348] = b"n+1\0"
    return bytes(content) + bytes(400)


def npy(path):
    about = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, about)


def test_sizes_that_the_file_can_not_hold_are_refused_unread(tmp_path):
    (tmp_path / "x.png").write_bytes(png(60000, 60000))
    (tmp_path / "x.nii").write_bytes(nifti())
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(nifti()))
    npy(tmp_path / "x.npy")
    for path in tmp_path.iterdir():
        with pytest.raises(UserError, match="but is too small for that"):
            formats.probe(path, 2 if path.suffix == ".npy" else None)


def test_a_file_that_unpacks_to_more_than_the_free_memory_is_refused(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((5000, 5000, 3), np.uint8)).save(tmp_path / "x.png", compress_level=1)
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**8)
    assert "needs 143 MiB of memory to be read, but 95.4 MiB are free" in refused(
        tmp_path / "x.png"
    )


@pytest.mark.parametrize("boxes", [False, True])
def test_jpeg_xl_is_refused_by_its_declared_size_before_it_is_decoded(tmp_path, boxes):
    # No small multiple of 8, 18 bits a side, no ratio: 250,000 x 250,000.
    side = 250_000 - 1
    size = 0 | 2 << 1 | side << 3 | 0 << 21 | 2 << 24 | side << 26
    content = b"\xff\x0a" + size.to_bytes(6, "little") + bytes(20)
    if boxes:
        start = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
        first, rest = content[:4], content[4:]
        parts = [
            struct.pack(">I4sI", 12 + len(x), b"jxlp", n) + x for n, x in enumerate([first, rest])
        ]
        content = start + b"".join(parts)
    (tmp_path / "x.jxl").write_bytes(content)
    assert "of memory to be read" in refused(tmp_path / "x.jxl")


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (40, 48), (300, 400), (37, 600), (100, 200), (64, 520)])
def test_the_size_that_jpeg_xl_declares_is_the_one_that_it_has(shape, boxes):
    pixels = np.zeros((*shape, 3), np.uint8)
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1, usecontainer=boxes)
    assert declared_size(data) == shape[::-1]


def test_a_header_without_values_needs_more_memory_than_there_is(tmp_path):
    (tmp_path / "x.mha").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 40000 40000 40000\nElementType = MET_UCHAR\n"
        "ElementDataFile = LOCAL\n"
    )
    assert "of memory to be read" in refused(tmp_path / "x.mha")


META = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("x.mha", f"{META}ElementDataFile = /etc/passwd\n"),
        ("x.mha", f"{META}  elementdatafile: ../secret\n"),
        ("x.mhd", f"{META}ElementDataFile = LIST\nlink\n"),
        ("x.nrrd", f"{NRRD}data file: ../secret\n\n"),
        ("x.nhdr", f"{NRRD}DataFile:../secret\n\n"),
    ],
)
def test_headers_that_name_files_elsewhere_are_refused(tmp_path, name, header):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / name).write_text(header)
    assert "outside its folder" in refused(folder / name)


def test_a_long_header_hides_no_name(tmp_path):
    comments = f"Comment = {'a' * 1000}\n" * 1200
    (tmp_path / "x.mha").write_text(f"{comments}{META}ElementDataFile = /etc/passwd\n")
    assert "has a header of more than 1 MiB" in refused(tmp_path / "x.mha")


OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="8" SizeZ="2" SizeC="1" '
    'SizeT="1"><Channel ID="C:0" SamplesPerPixel="1"/><TiffData IFD="0" FirstZ="0" PlaneCount="1">'
    '<UUID FileName="x.ome.tif">urn:uuid:1</UUID></TiffData><TiffData IFD="0" FirstZ="1" '
    'PlaneCount="1"><UUID FileName="{}">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
)


def test_ome_takes_planes_from_its_folder_alone(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for secret in (tmp_path / "secret.tif", folder / "beside.tif"):
        tifffile.imwrite(secret, np.full((8, 8), 77, np.uint8))
    (folder / "link.tif").symlink_to(tmp_path / "secret.tif")
    path = folder / "x.ome.tif"
    for name in ("../secret.tif", "..&#47;secret.tif", str(tmp_path / "secret.tif"), "link.tif"):
        tifffile.imwrite(
            path, np.zeros((8, 8), np.uint8), description=OME.format(name), metadata=None
        )
        assert "outside its folder" in refused(path, 3)
    tifffile.imwrite(
        path, np.zeros((8, 8), np.uint8), description=OME.format("beside.tif"), metadata=None
    )
    assert formats.read(path, 3).values.max() == 77


def test_a_plane_whose_file_is_missing_or_damaged_is_not_read_as_black(tmp_path):
    path, beside = tmp_path / "x.ome.tif", tmp_path / "beside.tif"
    tifffile.imwrite(
        path, np.zeros((8, 8), np.uint8), description=OME.format(beside.name), metadata=None
    )
    assert "x.ome.tif says that pages are in beside.tif, which isn't there" in refused(path, 3)
    tifffile.imwrite(beside, np.full((8, 8), 77, np.uint8), compression="zlib")
    beside.write_bytes(beside.read_bytes().replace(b"x\x9c", b"xx").replace(b"x\xda", b"xx"))
    assert refused(path, 3).startswith(f"{beside} cannot be read")


VRT = (
    '<VRTDataset rasterXSize="8" rasterYSize="8"><Metadata><MDI key="INTERNAL_MASK_FLAGS_1">2</MDI>'
    '</Metadata><VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>'
    "/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
)


def test_geotiffs_bring_no_other_files(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "x.tif"
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8"}
    place = rasterio.transform.from_origin(5, 6, 1, 1)

    def write():
        with rasterio.open(path, "w", crs="EPSG:32633", transform=place, **profile) as file:
            file.write(np.ones((1, 8, 8), np.uint8))
            return file

    write()
    for suffix in (".msk", ".OVR", ".msk.ovr"):
        beside = path.with_name(f"x.tif{suffix}")
        beside.write_text(VRT)
        assert f"{beside} isn't a TIFF" in refused(path)
        beside.unlink()
    beside = path.with_name("x.tif.aux.xml")
    beside.write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/passwd</MDI>'
        "</Metadata></PAMDataset>"
    )
    assert "says that its overviews are in another file" in refused(path)
    beside.unlink()
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/vsicurl/http://localhost/x")
    assert "says that its overviews are in another file" in refused(path)
    write()
    assert formats.read(path).values.all()
    vrt = tmp_path / "y.tif"
    vrt.write_text(VRT)
    assert "is not an image despite its name" in refused(vrt)


@pytest.fixture
def odd(tmp_path):
    """A folder with an image, and with what would take forever to read."""
    folder = tmp_path / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "lost.png").symlink_to("nowhere")
    (folder / "device.png").symlink_to("/dev/zero")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "ok.png")
    return folder


def test_pipes_devices_and_loops_are_passed_over_with_a_word(odd):
    found = find_scans(odd, 2)
    assert [ref.name for ref in found.refs] == ["ok"]
    reasons = {path.name: reason for path, reason in found.passed}
    assert reasons == {
        "pipe.png": "a pipe, socket or device, not a file",
        "pipe": "a pipe, socket or device, not a file",
        "device.png": "a pipe, socket or device, not a file",
        "loop.png": "a link that leads nowhere",
        "lost.png": "a link that leads nowhere",
    }
    by_pattern, passed = found_by(odd, "*.png", 2)
    assert len(by_pattern) == 1
    assert len(passed) == 4


@pytest.mark.parametrize("name", ["pipe.png", "loop.png", "device.png"])
def test_a_pipe_device_or_loop_that_is_named_is_refused(odd, name):
    assert "give a file" in refused(odd / name)


@pytest.mark.parametrize("file", ["labels.yaml", "intensity.yaml"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: &a [1]\nb: *a\n", "has an alias"),
        ("[" * 3000, "is nested too deep"),
        ("domain: A\ndomain: B\n", "has the key domain twice"),
        ("a: 2024-99-99\n", "isn't YAML"),
        ("\0", "isn't YAML"),
        ("!!python/object/apply:os.system [exit]", "isn't YAML"),
    ],
)
def test_yaml_of_strangers_is_plain_everywhere(tmp_path, file, content, said):
    (tmp_path / file).write_text(content)
    read = Palette.read if file == "labels.yaml" else Preparation.read
    with warnings.catch_warnings(), pytest.raises(UserError, match=said):
        read(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("nowhere")])
@pytest.mark.parametrize("name", ["labels.yaml", "intensity.yaml", "metrics.jsonl"])
def test_what_is_no_file_does_not_count_as_missing(tmp_path, name, make):
    make(tmp_path / name)
    read = {"labels.yaml": Palette.read, "intensity.yaml": Preparation.read}
    with pytest.raises(UserError, match="is not a file; replace it with an undamaged copy"):
        read.get(name, lambda folder: RunFolder(folder).history())(tmp_path)


@pytest.fixture
def image(tmp_path):
    """An OME-Zarr of one chunk, and the file of that."""
    pytest.importorskip("zarr")
    values = np.random.default_rng(0).integers(256, size=(1, 40, 44)).astype(np.uint8)
    path = tmp_path / "x.ome.zarr"
    formats.write(path, values, formats.Header(1, (40, 44), np.dtype(np.uint8), None))
    (chunk,) = (each for each in (path / "0" / "c").rglob("*") if each.is_file())
    return path, chunk


def repacked(path, *codecs, **changes):
    about = json.loads((path / "0" / "zarr.json").read_text())
    about["codecs"] = list(codecs)
    (path / "0" / "zarr.json").write_text(json.dumps(about | changes))


def zstd_of_unknown_size(content):
    """A frame of runs of zeros, or of a raw block, that doesn't say its size (RFC 8878)."""
    head, step = b"\x28\xb5\x2f\xfd\x00\x58", 2**17
    if any(content):
        return head + (len(content) << 3 | 1).to_bytes(3, "little") + content
    runs = [(step << 3 | 2 | (n + step >= len(content))) for n in range(0, len(content), step)]
    return head + b"".join(run.to_bytes(3, "little") + b"\0" for run in runs)


BOMB = 2**27
BYTES = {"name": "bytes"}
BLOSC = {"typesize": 1, "cname": "zstd", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}
PACKED = {
    "zstd": lambda content: imagecodecs.zstd_encode(content),
    "zstd of unknown size": zstd_of_unknown_size,
    "gzip": gzip.compress,
    "blosc": lambda content: imagecodecs.blosc_encode(content),
    "numcodecs.zlib": zlib.compress,
    "numcodecs.bz2": bz2.compress,
    "numcodecs.lzma": lzma.compress,
    "numcodecs.lz4": lambda content: imagecodecs.lz4_encode(content, header=True),
}
SETTINGS = {"zstd": {"level": 1, "checksum": False}, "gzip": {"level": 1}, "blosc": BLOSC}


@pytest.mark.parametrize("codec", PACKED)
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
def test_a_chunk_that_unpacks_to_more_than_is_declared_is_refused_unread(image, codec):
    path, chunk = image
    name = codec.split()[0]
    repacked(path, BYTES, {"name": name, "configuration": SETTINGS.get(name, {})})
    whole = np.arange(40 * 44, dtype=np.uint8).tobytes()
    chunk.write_bytes(PACKED[codec](whole))
    assert formats.read(path).values.tobytes() == whole
    chunk.write_bytes(PACKED[codec](bytes(BOMB)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "unpacks to more than the image's metadata say" in refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < BOMB // 2**11


def test_a_chunk_in_a_shard_that_unpacks_to_more_than_is_declared_is_refused(image):
    google_crc32c = pytest.importorskip("google_crc32c")  # zarr's own
    path, chunk = image
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    inner = {"chunk_shape": [1, 20, 44], "index_codecs": index, "index_location": "end"}
    zstd = {"name": "zstd", "configuration": SETTINGS["zstd"]}
    inner["codecs"] = [BYTES, zstd]
    repacked(path, {"name": "sharding_indexed", "configuration": inner})

    def write(*chunks):
        places = np.cumsum([0, *map(len, chunks)])[:-1]
        table = b"".join(
            struct.pack("<QQ", *each) for each in zip(places, map(len, chunks), strict=True)
        )
        check = struct.pack("<I", google_crc32c.value(table))
        chunk.write_bytes(b"".join(chunks) + table + check)

    half = PACKED["zstd"](bytes(range(220)) * 4)
    write(half, half)
    assert formats.read(path).values.tobytes() == bytes(range(220)) * 8
    write(half, PACKED["zstd"](bytes(BOMB)))
    assert "unpacks to more" in refused(path)  # read as a whole
    with formats.open(path) as scan, pytest.raises(UserError, match="unpacks to more"):
        scan.read((slice(20, 40), slice(0, 44)))  # and chunk by chunk
    inner["index_codecs"] = index[:1]
    repacked(path, {"name": "sharding_indexed", "configuration": inner})
    assert "index isn't at their end, with a checksum" in refused(path)


def test_a_pyramid_of_endless_levels_is_refused(image):
    path, _ = image
    about = json.loads((path / "zarr.json").read_text())
    about["attributes"]["ome"]["multiscales"][0]["datasets"] *= 100
    (path / "zarr.json").write_text(json.dumps(about))
    assert "pyramid has more than 64 levels" in refused(path)


def test_chunks_that_are_packed_twice_are_refused(image):
    path, _ = image
    zstd = {"name": "zstd", "configuration": SETTINGS["zstd"]}
    repacked(path, BYTES, zstd, zstd)
    assert "packs its chunks several times, by zstd and zstd" in refused(path)


@pytest.mark.parametrize("target", ["/dev/zero", "/etc/hostname", "../elsewhere"])
@pytest.mark.parametrize("what", ["0/c/0/0/0", "0", "0/zarr.json", "zarr.json"])
def test_links_out_of_a_folder_of_chunks_are_refused(image, target, what):
    path, _ = image
    linked = path / what
    linked.rename(path.parent / "elsewhere")
    linked.symlink_to(path.parent / "elsewhere" if target == "../elsewhere" else target)
    sentence = refused(path)
    assert "a link that leads out of it" in sentence or what == "zarr.json"


@pytest.mark.parametrize("what", ["0/c/0/0/0", "0/zarr.json"])
def test_pipes_in_a_folder_of_chunks_are_refused(image, what):
    path, _ = image
    (path / what).unlink()
    os.mkfifo(path / what)
    assert "a pipe, socket or device, not a file" in refused(path)
