import numpy as np
import pytest
import torch

from revgan.cli import main
from revgan.inference import Translator
from revgan.networks import RevGenerator
from revgan.networks.pretrained import ARCHITECTURE, WEIGHTS, save_generator
from scans import read_image, write_image


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


def make_model(folder, a=3, b=3):
    save_generator(RevGenerator(2, a, b, width=2, depth=1), folder)
    return folder


def save(path, size=(9, 7), channels=3, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    maximum = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, maximum + 1, (*size, channels), dtype)
    write_image(path, pixels)
    return path


def translate(*arguments):
    return main(["translate", *map(str, arguments)])


def refusal(capsys, *arguments):
    capsys.readouterr()
    assert translate(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("revgan: ")
    assert captured.err.count("\n") == 1
    return captured.err.strip()


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (1, 33), (8, 8), (33, 47)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_size_and_bit_depth_stay(model, tmp_path, size, dtype):
    source = save(tmp_path / "x.png", size, dtype=dtype)
    assert translate(model, source, tmp_path / "y.tif") == 0
    translated = read_image(tmp_path / "y.tif")
    assert translated.shape == (*size, 3)
    assert translated.dtype == dtype


@pytest.mark.parametrize(("direction", "source", "result"), [("AtoB", 3, 1), ("BtoA", 1, 3)])
@pytest.mark.parametrize("given", [1, 2, 3, 4])
def test_channels_are_converted_to_the_models(tmp_path, direction, source, result, given):
    model = make_model(tmp_path / "model", a=3, b=1)
    image = save(tmp_path / "x.png", channels=given)
    assert translate(model, image, tmp_path / "y.png", "--direction", direction) == 0
    assert read_image(tmp_path / "y.png").shape == (9, 7, result)


def test_a_folder_keeps_its_names_in_a_new_folder(model, tmp_path):
    names = {"a.png", "b.jpg", "c.TIF"}
    for name in names:
        save(tmp_path / "in" / name)
    assert translate(model, tmp_path / "in", tmp_path / "new" / "out") == 0
    assert {path.name for path in (tmp_path / "new" / "out").iterdir()} == names


def test_a_file_goes_into_a_missing_folder_or_into_a_present_one(model, tmp_path):
    source = save(tmp_path / "x.png")
    assert translate(model, source, tmp_path / "new" / "folder" / "y.png") == 0
    assert translate(model, source, tmp_path / "new") == 0
    assert translate(model, source, f"{tmp_path}/other/folder/") == 0
    assert (tmp_path / "new" / "folder" / "y.png").is_file()
    assert (tmp_path / "new" / "x.png").is_file()
    assert (tmp_path / "other" / "folder" / "x.png").is_file()


def test_jpegs_become_pngs_where_jpeg_can_not_hold_the_result(capsys, tmp_path):
    model = make_model(tmp_path / "model", a=3, b=4)
    save(tmp_path / "in" / "x.jpg")
    save(tmp_path / "in" / "y.tif")
    assert translate(model, tmp_path / "in", tmp_path / "out") == 0
    assert ".png instead" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x.png", "y.tif"}
    assert translate(model, tmp_path / "in", tmp_path / "back", "--direction", "BtoA") == 0
    assert {path.name for path in (tmp_path / "back").iterdir()} == {"x.jpg", "y.tif"}


def test_two_inputs_never_become_one_output(capsys, tmp_path):
    model = make_model(tmp_path / "model", a=3, b=4)
    save(tmp_path / "in" / "x.jpg")
    save(tmp_path / "in" / "x.png")
    message = refusal(capsys, model, tmp_path / "in", tmp_path / "out")
    assert "x.jpg" in message
    assert "would both become" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("channels", "dtype", "expected"),
    [(4, np.uint8, "an alpha channel"), (3, np.uint16, "16 bits per channel")],
)
def test_a_jpeg_that_can_not_hold_the_result_is_refused_before_the_translation(
    capsys, tmp_path, monkeypatch, channels, dtype, expected
):
    model = make_model(tmp_path / "model", a=3, b=channels)
    source = save(tmp_path / "x.png", dtype=dtype)
    monkeypatch.setattr(Translator, "__call__", None)
    message = refusal(capsys, model, source, tmp_path / "y.jpg")
    assert f"can't hold an image with {expected}" in message
    assert "use the suffix .png" in message
    assert not (tmp_path / "y.jpg").exists()


def test_wrong_inputs_and_outputs_are_refused_before_anything_is_written(capsys, model, tmp_path):
    source, folder = save(tmp_path / "in" / "x.png"), tmp_path / "in"
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.touch()
    before = sorted(tmp_path.rglob("*"))
    for given, target, expected in (
        (tmp_path / "no.png", tmp_path / "y.png", "does not exist"),
        (empty, tmp_path / "out", "holds no images"),
        (folder, file, "is a file"),
        (folder, tmp_path / "y.png", "is named like a file"),
        (source, tmp_path / "new" / "y.xyz", "a file that ends in "),
        (source, tmp_path / "new", f"give a folder to be made as {tmp_path}/new/"),
        (source, f"{file}/", "is a file"),
        (source, file / "y.png", "can't be made"),
        (source, source, "both input and output"),
        (folder, folder, "both input and output"),
    ):
        assert expected in refusal(capsys, model, given, target)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unreadable_image_is_named(capsys, model, tmp_path):
    source = save(tmp_path / "x.png", (40, 40))
    source.write_bytes(source.read_bytes()[:-100])
    assert "x.png cannot be read" in refusal(capsys, model, source, tmp_path / "y.png")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (WEIGHTS, b"damaged"),
        (ARCHITECTURE, b""),
        (ARCHITECTURE, b"a: ["),
        (ARCHITECTURE, b"\xff\x00"),
        (ARCHITECTURE, b"model: another"),
        (ARCHITECTURE, b"format: 1\nmodel: RevGenerator\nwidth: 4\ndepth: 1"),
        (ARCHITECTURE, b"format: 99\nmodel: RevGenerator"),
    ],
)
def test_a_damaged_model_is_refused(capsys, model, tmp_path, name, content):
    (model / name).write_bytes(content)
    message = refusal(capsys, model, save(tmp_path / "x.png"), tmp_path / "y.png")
    assert f"the model in {model} can't be loaded" in message


def test_a_folder_without_a_model_is_refused(capsys, tmp_path):
    message = refusal(capsys, tmp_path, save(tmp_path / "x.png"), tmp_path / "y.png")
    assert "isn't a model folder" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused_with_the_usable_ones(capsys, model, tmp_path):
    arguments = [model, save(tmp_path / "x.png"), tmp_path / "y.png", "--device", "cuda"]
    assert "--device cuda is not available" in refusal(capsys, *arguments)
