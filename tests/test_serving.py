"""What people upload to `revgan serve`, and what it makes of that, without a browser."""

import os
import shutil
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from revgan.cli import main
from revgan.data import formats
from revgan.data.mappings import Intensity
from revgan.data.preparation import Preparation
from revgan.errors import UserError
from revgan.inference import Translator
from revgan.inference.planning import AUTO, WindowOptions
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator
from revgan.serving import keeping
from revgan.serving.keeping import FullError, Keeping
from revgan.serving.looking import VIEWS, compared, slices, views_of
from revgan.serving.work import Workshop

MOST = 10**6


def workshop(dims, channels, preparation=None, windows=AUTO):
    torch.manual_seed(0)
    network = RevGenerator(
        spatial_dims=dims, in_channels=channels[0], out_channels=channels[1], width=4, depth=1
    )
    return Workshop(Translator(network, preparation), windows, MOST)


@pytest.fixture(scope="module")
def photos():
    return workshop(2, (3, 1))


@pytest.fixture(scope="module")
def volumes():
    preparation = Preparation(Intensity(0, 1000), Intensity(-100, 100))
    return workshop(3, (1, 1), preparation, WindowOptions("whole"))  # to predict takes seconds


def translated(shop, folder, *uploads, direction="AtoB", round_trip=True, report=None):
    folder.mkdir()
    report = report or (lambda what, done, total: None)
    return shop.translate(uploads, folder, direction, report, round_trip=round_trip)


def refused(shop, tmp_path, *uploads):
    with pytest.raises(UserError) as error:
        translated(shop, tmp_path / f"room-{len(list(tmp_path.iterdir()))}", *uploads)
    sentence = str(error.value)
    assert str(tmp_path) not in sentence
    assert "\n" not in sentence
    return sentence


def photo(path, dtype="uint8", channels=3):
    most = np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(0, most, (channels, 20, 24), dtype, endpoint=True)
    formats.write(path, values, formats.Header(channels, (20, 24), np.dtype(dtype)))
    return path


@pytest.mark.parametrize(("name", "dtype"), [("x.png", "uint16"), ("x.tif", "uint8")])
def test_a_result_is_what_translating_the_file_gives(photos, tmp_path, name, dtype):
    path = photo(tmp_path / name, dtype)
    result = translated(photos, tmp_path / "room", path)
    photos.translator.translate_file(path, tmp_path / f"by-hand-{name}", "AtoB")
    assert result.output.read_bytes() == (tmp_path / f"by-hand-{name}").read_bytes()
    assert result.words == f"{name}: 24 x 20 pixels, {dtype}"
    assert formats.probe(result.returned).channels == 3
    assert views_of(result.views) == list(VIEWS)
    result.remove()
    assert not result.folder.exists()
    assert path.exists()


def test_differences_are_those_of_what_is_shown(photos, tmp_path):
    result = translated(photos, tmp_path / "room", photo(tmp_path / "x.png"))
    result.views["translation"] = result.views["input"]
    same = compared(result.views, "Difference", "Axial", 0)
    assert same.words.endswith("Mean size: 0%.")
    # Nothing differs: the middle of the colours everywhere.
    assert np.ptp(same.right.reshape(-1, 3), axis=0).max() == 0
    result.views["translation"] = brighter(result.views["input"], 0.5)
    other = compared(result.views, "Difference", "Axial", 0)
    assert other.words.endswith("Mean size: 25%.")
    assert other.right[..., 0].mean() > other.right[..., 2].mean()


def brighter(stack, by):
    return type(stack)(stack.values + by, stack.spacing, stack.volume)


def test_large_files_go_in_parts_and_tell_how_far_they_are(tmp_path):
    shop = workshop(2, (3, 3), windows=WindowOptions("16"))
    told = []
    path = photo(tmp_path / "x.png")
    translated(shop, tmp_path / "room", path, report=lambda *report: told.append(report))
    assert ("Translating", 0, 0) in told
    assert any(what == "Translating back" and 0 < done == total for what, done, total in told)


def test_volumes_keep_their_place_and_show_slices_in_three_planes(volumes, tmp_path):
    values = np.arange(12 * 16 * 8).reshape(12, 16, 8) % 1000
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), affine), tmp_path / "x.nii.gz")
    result = translated(volumes, tmp_path / "room", tmp_path / "x.nii.gz", round_trip=False)
    assert np.array_equal(nibabel.load(result.output).affine, affine)
    assert views_of(result.views) == ["Translation", "Difference"]
    seen = result.views["input"]
    assert [slices(seen, plane) for plane in ("Axial", "Coronal", "Sagittal")] == [8, 16, 12]
    axial, coronal = (
        compared(result.views, "Translation", plane, 3).left for plane in ("Axial", "Coronal")
    )
    # Pixels are square: 16 rows by 12 columns, and 8 slices of 2 mm by 12 columns.
    assert axial.shape[0] * 12 == axial.shape[1] * 16
    assert coronal.shape[0] * 12 == coronal.shape[1] * 16


@pytest.mark.parametrize("root", ["in", "in/x.ome.zarr"])
def test_a_folder_comes_and_goes_as_an_archive(volumes, tmp_path, root):
    pytest.importorskip("zarr")
    values = np.random.default_rng(0).integers(0, 999, (1, 8, 12, 10), np.uint16)
    header = formats.Header(1, (8, 12, 10), values.dtype, np.eye(4))
    formats.write(tmp_path / "in" / "x.ome.zarr", values, header)
    with zipfile.ZipFile(tmp_path / "x.ome.zarr.zip", "w") as archive:
        for path in (tmp_path / "in").rglob("*"):
            if path.is_relative_to(tmp_path / root) and path != tmp_path / root:
                archive.write(path, path.relative_to(tmp_path / root))
    result = translated(volumes, tmp_path / "room", tmp_path / "x.ome.zarr.zip")
    assert result.output.name == "x.ome.zarr.zip"
    with zipfile.ZipFile(result.output) as archive:
        archive.extractall(tmp_path / "out")
    assert formats.probe(tmp_path / "out" / "x.ome.zarr", 3).shape == (8, 12, 10)


def test_files_that_are_one_scan_together_are_one_upload(volumes, tmp_path):
    pytest.importorskip("SimpleITK")
    (tmp_path / "x.raw").write_bytes(bytes(8 * 12 * 10))
    (tmp_path / "x.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 8 12 10\nElementType = MET_UCHAR\n"
        "ElementDataFile = x.raw\n"
    )
    result = translated(volumes, tmp_path / "room", tmp_path / "x.mhd", tmp_path / "x.raw")
    assert result.words == "x.mhd: 8 x 12 x 10 voxels, uint8"
    assert result.output.name == "x.mha"


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_a_dicom_series_is_dropped_as_its_files_and_comes_back_as_an_archive(
    volumes, tmp_path, suffix
):
    dicoms = pytest.importorskip("dicoms")
    stored = np.random.default_rng(0).integers(0, 999, (6, 12, 10), np.uint16)
    files = sorted(dicoms.write_series(tmp_path / "ct", stored, suffix=suffix).iterdir())
    assert len(files) == 6
    result = translated(volumes, tmp_path / "room", *files)
    with zipfile.ZipFile(result.output) as archive:
        archive.extractall(tmp_path / "out")
    (folder,) = (tmp_path / "out").iterdir()
    assert formats.probe(folder, 3).shape == (10, 12, 6)


def test_several_scans_or_none_are_refused(photos, tmp_path):
    assert "drop one first" in refused(photos, tmp_path)
    two = photo(tmp_path / "x.png"), photo(tmp_path / "y.png")
    assert "2 images" in refused(photos, tmp_path, *two)


def packed(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/x.png", "..\\x.png", "C:\\x.png", ".", "./.."]
)
def test_archives_with_names_that_lead_out_of_them_are_refused(photos, tmp_path, name):
    archive = packed(tmp_path / "x.zip", (name, b"x"))
    assert "leads out of the archive" in refused(photos, tmp_path, archive)
    assert {path.name for path in tmp_path.rglob("*.png")} == set()


def test_archives_of_traps_end_in_a_sentence(photos, tmp_path):
    deep = packed(tmp_path / "deep.zip", ("a/" * 5000 + "x.png", b"x"))
    assert "undamaged ZIP archive" in refused(photos, tmp_path, deep)
    both = packed(tmp_path / "both.zip", ("x", b"x"), ("x/x.png", b"x"))
    assert "undamaged ZIP archive" in refused(photos, tmp_path, both)
    link = zipfile.ZipInfo("x.png")
    link.external_attr = 0o120777 << 16  # a symbolic link, which is unpacked as what it says
    assert "is not an image" in refused(
        photos, tmp_path, packed(tmp_path / "link.zip", (link, "/etc/passwd"))
    )
    # Declares 9 bytes, and has a thousand times as many.
    lying = packed(tmp_path / "lying.zip", ("x.png", bytes(9000))).read_bytes()
    size = struct.pack("<I", 9000)
    (tmp_path / "lying.zip").write_bytes(lying.replace(size, struct.pack("<I", 9)))
    assert "undamaged ZIP archive" in refused(photos, tmp_path, tmp_path / "lying.zip")


def declaring(width, height):
    """A PNG of the declared size, but with two rows of pixels."""

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(2 + 6 * width))
    parts = chunk(b"IHDR", size), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_what_unpacks_to_too_much_is_refused(photos, tmp_path):
    bomb = packed(tmp_path / "x.zip", ("x.png", bytes(MOST + 1)))
    assert bomb.stat().st_size < 10**4
    assert "unpacks to 1.0 MiB in 1 file" in refused(photos, tmp_path, bomb)
    (tmp_path / "x.png").write_bytes(declaring(60000, 60000))
    assert "60000 x 60000 pixels" in refused(photos, tmp_path, tmp_path / "x.png")


def test_what_would_not_fit_the_memory_to_be_shown_is_refused(photos, tmp_path, monkeypatch):
    path = photo(tmp_path / "x.png")
    monkeypatch.setattr("revgan.serving.work.free_budget", lambda device: 10**4)
    assert "x.png has 24 x 20 pixels, which takes" in refused(photos, tmp_path, path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 100])
def test_damaged_archives_and_large_uploads_are_refused(photos, tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    assert "undamaged ZIP archive" in refused(photos, tmp_path, tmp_path / "x.zip")
    (tmp_path / "x.png").write_bytes(bytes(MOST + 1))
    assert "this page takes" in refused(photos, tmp_path, tmp_path / "x.png")


@dataclass
class Kept:
    folder: Path
    memory: int = 0
    gone: bool = False

    def remove(self):
        self.gone = True


def entry(folder, size, changed):
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(bytes(size))
    os.utime(folder, (changed, changed))
    return folder


def keeping_of(folder, monkeypatch, most=1000, spare=10**9):
    usage = shutil.disk_usage(folder)._replace(total=20 * spare, free=spare + most)
    monkeypatch.setattr(keeping, "SPARE", spare)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    return Keeping(folder, most + 2**20)


def test_the_oldest_files_go_for_new_ones_but_none_that_are_in_use(tmp_path, monkeypatch):
    size = 4096  # of an empty folder
    first, used, last = (
        entry(tmp_path / place / name, 300, changed)
        for place, name, changed in (("uploads", "a", 1), ("results", "b", 2), ("results", "c", 3))
    )
    keep = Keeping(tmp_path, 3 * (300 + first.lstat().st_size) + 400)
    one, other = Kept(used), Kept(last)
    keep.add(one)
    keep.add(other)
    with keep.writing(0, used), keep.writing(300):
        assert first.exists()  # there is room
        with keep.writing(300):
            assert [each.exists() for each in (first, used, last)] == [False, True, True]
        with pytest.raises(FullError, match="at the moment; try again"), keep.writing(10**6):
            pytest.fail("there is none")
        assert [one.gone, other.gone] == [False, True]
    with keep.writing(size):
        assert used.exists()  # what has come in the meantime counts no more


def test_a_disk_that_others_need_too_is_not_filled(tmp_path, monkeypatch):
    old = entry(tmp_path / "uploads" / "a", 300, 1)
    keep = keeping_of(tmp_path, monkeypatch)
    with keep.writing(900):
        assert old.exists()
        with pytest.raises(FullError), keep.writing(10**5):
            pytest.fail("there is none")
    assert not old.exists()  # which didn't help


def test_pictures_of_results_and_bodies_have_a_limit_in_memory(tmp_path, monkeypatch):
    keep = Keeping(tmp_path, 10**9)
    results = [Kept(tmp_path / str(n), keeping.PICTURES // 3) for n in range(5)]
    for result in results:
        keep.add(result)
    assert [result.gone for result in results] == [True, True, False, False, False]
    keep.add(Kept(tmp_path / "large", 2 * keeping.PICTURES))
    assert all(result.gone for result in results)
    monkeypatch.setattr(keeping, "free_budget", lambda device: 1000)
    with (
        keep.receiving(400),
        pytest.raises(FullError, match="too much is being sent"),
        keep.receiving(101),
    ):
        pytest.fail("there is none")
    with keep.receiving(500):
        pass


def test_the_picture_of_a_result_that_went_is_not_looked_for(photos, tmp_path):
    result = translated(photos, tmp_path / "room", photo(tmp_path / "x.png"))
    assert result.memory == sum(view.values.nbytes for view in result.views.values()) > 0
    result.remove()
    assert (result.memory, result.folder.exists()) == (0, False)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "tiles"
    save_generator(RevGenerator(width=4, depth=1), folder)
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "70000"], "--port must be from 0 to 65535, not 70000"),
        (["--max-upload", "lots"], "--max-upload must be a size such as 500MB, not lots"),
        (["--max-kept", "lots"], "--max-kept must be a size from --max-upload (1GiB) up, such as"),
        (["--max-kept", "500MB"], "--max-kept must be a size from --max-upload (1GiB) up, such as"),
        (["--window", "3"], "--window must be"),
    ],
)
def test_wrong_options_are_refused(model, capsys, options, said):
    assert main(["serve", str(model), *options]) == 2
    assert said in capsys.readouterr().err


def test_without_gradio_the_command_says_how_to_get_it(model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["serve", str(model), "--port", "0"]) == 1
    assert "pip install 'revgan[serve]'" in capsys.readouterr().err
