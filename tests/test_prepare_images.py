"""`revgan prepare cityscapes` and `maps`: what they find, what they write, what they refuse."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from revgan.cli import main
from revgan.data.config import DataConfig
from revgan.data.datasets import cityscapes
from revgan.data.datasets.cityscapes import CLASSES, PALETTE
from revgan.data.labels import IGNORED, Palette, class_map
from revgan.data.sets import open_data_set
from scans import read_image

SCENES = {
    "train": (
        "aachen/aachen_000000_000019",
        "aachen/aachen_000001_000019",
        "ulm/ulm_000002_000019",
    ),
    "val": ("lindau/lindau_000000_000019",),
}
COUNTING = [number for number, label in enumerate(CLASSES) if not label.void]
COLOURS = np.array([label.colour for label in CLASSES], np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def ids_map(seed=0):
    """Blocks of 2 x 4 pixels of every class, (32, 64)."""
    classes = np.random.default_rng(seed).permutation(np.arange(256) % len(CLASSES))
    return classes.reshape(16, 16).repeat(2, 0).repeat(4, 1).astype(np.uint8)


def scene(source, split, name, seed=0):
    """A photo, a label map with alpha, and its ids, as in the archives."""
    ids = ids_map(seed)
    alpha = np.full((*ids.shape, 1), 255, np.uint8)
    save(source / "leftImg8bit" / split / f"{name}_leftImg8bit.png", noise(*ids.shape, seed))
    labels = source / "gtFine" / split
    save(labels / f"{name}_gtFine_color.png", np.concatenate((COLOURS[ids], alpha), 2))
    save(labels / f"{name}_gtFine_labelIds.png", ids)


def make_cityscapes(source):
    for split, names in SCENES.items():
        for seed, name in enumerate(names):
            scene(source, split, name, seed)
    (source / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_polygons.json").touch()
    (source / "leftImg8bit" / "train" / "ulm" / "._ulm_leftImg8bit.png").write_text("of macOS")
    return source


def make_maps(source):
    for split, count in (("train", 3), ("val", 2)):
        for number in range(1, count + 1):
            halves = np.hstack([noise(48, 48, number), np.full((48, 48, 3), 80 * number, np.uint8)])
            save(source / split / f"{number}.jpg", halves, quality=95)
    return source


MAKERS = {"cityscapes": make_cityscapes, "maps": make_maps}


def one_scene_a_split(source):
    for split, names in SCENES.items():
        scene(source, split, names[0])


def other_names(source):
    for split in ("train", "val"):
        save(source / split / "a.jpg", noise(8, 16))


OTHERS = {"cityscapes": one_scene_a_split, "maps": other_names}


@pytest.fixture
def target(tmp_path):
    return tmp_path / "made"


@pytest.fixture
def streets(tmp_path):
    return make_cityscapes(tmp_path / "archives")


@pytest.fixture
def sheets(tmp_path):
    return make_maps(tmp_path / "maps")


@pytest.fixture(params=MAKERS)
def task(request, tmp_path):
    """A task and its source."""
    return request.param, MAKERS[request.param](tmp_path / "source")


def run(task, source, target, *options):
    return main(["prepare", task, str(source), str(target), *map(str, options)])


def refusal(capsys, *arguments, status=1):
    """The one sentence on stderr that the command ends with."""
    assert run(*arguments) == status
    error = capsys.readouterr().err
    assert error.startswith("revgan: ")
    assert error.count("\n") == 1
    return error.strip()


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Cityscapes


def test_the_classes_are_those_of_the_benchmark():
    assert len(CLASSES) == 34
    assert COUNTING == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert PALETTE.names == tuple(CLASSES[number].name for number in COUNTING)
    assert PALETTE.names[0] == "road"
    assert PALETTE.names[-1] == "bicycle"
    assert "".join(bytes(label.colour).hex() for label in PALETTE.counting) == (
        "804080f423e846464666669cbe9999999999faaa1edcdc006b8e23"
        "98fb984682b4dc143cff000000008e000046003c640050640000e6770b20"
    )
    assert {label.colour for label in PALETTE.classes} == {label.colour for label in CLASSES}
    black = [label.name for label in PALETTE.classes if label.colour == (0, 0, 0)]
    assert black == ["unlabeled"]


def test_scenes_become_photos_label_maps_and_class_ids(streets, target, capsys):
    assert run("cityscapes", streets, target, "--size", 16) == 0
    assert "16 x 16 pixels" in capsys.readouterr().out
    names = {"train": SCENES["train"], "test": SCENES["val"]}
    assert files(target) == sorted(
        ["labels.yaml", "prepared.json"]
        + [
            f"{role}{kind}/{name.split('/')[1]}.png"
            for role in names
            for kind in ("A", "B", "Labels")
            for name in names[role]
        ]
    )
    assert Palette.read(target) == PALETTE
    data = open_data_set(DataConfig(path=str(target), crop=16), paired=True)
    assert data.test_aligned
    assert (data.a.channels, data.b.channels) == (3, 3)
    train_ids = np.array([COUNTING.index(k) if k in COUNTING else IGNORED for k in range(34)])
    for seed, ref in enumerate(data.b.train):
        ids = ids_map(seed)[::2, ::4]
        assert class_map(ref, PALETTE).tolist() == train_ids[ids].tolist()
        np.testing.assert_array_equal(read_image(ref.path), COLOURS[ids])


def test_colours_alone_tell_the_same_but_for_groups_of_poles(streets, target):
    assert run("cityscapes", streets, target, "--size", 16) == 0
    data = open_data_set(DataConfig(path=str(target), crop=16), paired=True)
    true = class_map(data.b.test[0], PALETTE)
    shutil.rmtree(target / "testLabels")
    by_colour = class_map(data.b.test[0], PALETTE)
    different = true != by_colour
    assert by_colour[different].unique().tolist() == [PALETTE.names.index("pole")]
    groups = ids_map()[::2, ::4] == [label.name for label in CLASSES].index("polegroup")
    assert torch.equal(different, torch.from_numpy(groups))


def test_photos_are_smoothed_and_label_maps_are_not(streets, target):
    """Each pixel of a photo is a mean over many, and each of a label map is one of them."""
    assert run("cityscapes", streets, target, "--size", 4) == 0
    name = "aachen_000000_000019.png"
    photo = read_image(target / "trainA" / name).astype(float)
    assert photo.std() < 0.3 * noise(32, 64).std()  # of means over 8 x 16 independent pixels
    np.testing.assert_array_equal(
        read_image(target / "trainB" / name), COLOURS[ids_map()[4::8, 8::16]]
    )


def test_a_size_of_128_is_the_default(streets, target):
    assert run("cityscapes", streets, target) == 0
    for kind in ("A", "B", "Labels"):
        assert read_image(next((target / f"test{kind}").iterdir())).shape[:2] == (128, 128)


def test_an_archive_that_is_missing_is_named_and_where_it_is_to_be_had(streets, target, capsys):
    shutil.rmtree(streets / "gtFine")
    message = refusal(capsys, "cityscapes", streets, target)
    assert "holds no gtFine/train/CITY/*_gtFine_color.png, gtFine/train/CITY/" in message
    assert "unpack gtFine_trainvaltest.zip of cityscapes-dataset.com (free, after reg" in message
    assert not target.exists()


def test_a_missing_split_is_named(streets, target, capsys):
    shutil.rmtree(streets / "leftImg8bit" / "val")
    message = refusal(capsys, "cityscapes", streets, target)
    assert "holds no leftImg8bit/val/CITY/*_leftImg8bit.png; unpack leftImg8bit_train" in message


def test_missing_partners_are_counted_and_named(streets, target, capsys):
    first, second, third = (
        streets / "gtFine" / "train" / f"{name}_gtFine_color.png" for name in SCENES["train"]
    )
    first.unlink()
    second.unlink()
    ids = third.with_name(third.name.replace("color", "labelIds"))
    ids.unlink()
    (streets / "leftImg8bit" / "train" / f"{SCENES['train'][2]}_leftImg8bit.png").unlink()
    message = refusal(capsys, "cityscapes", streets, target)
    assert "lacks 4 images of incomplete scenes" in message
    assert "leftImg8bit/train/ulm/ulm_000002_000019_leftImg8bit.png, gtFine/train/aachen" in message
    assert ", ...; unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip" in message
    assert not target.exists()


def test_unknown_ids_are_refused_by_name(streets, target, capsys):
    path = streets / "gtFine" / "train" / f"{SCENES['train'][1]}_gtFine_labelIds.png"
    ids = ids_map()
    ids[0, :3] = 255
    save(path, ids)
    message = refusal(capsys, "cityscapes", streets, target)
    assert f"{path} holds the id 255 at 3 pixels, but Cityscapes has ids 0 to 33" in message


def test_unknown_colours_are_left_to_scoring(streets, target):
    path = streets / "gtFine" / "val" / f"{SCENES['val'][0]}_gtFine_color.png"
    save(path, np.full((32, 64, 4), 7, np.uint8))
    assert run("cityscapes", streets, target, "--size", 16) == 0


@pytest.mark.parametrize(
    ("ending", "pixels", "message"),
    [
        ("color", np.zeros((32, 62, 3), np.uint8), "is 62 x 32 pixels, but"),
        ("labelIds", np.zeros((30, 64), np.uint8), "is 64 x 30 pixels, but"),
        ("labelIds", np.zeros((32, 64, 3), np.uint8), "must be an 8-bit grey image"),
        ("labelIds", np.zeros((32, 64), np.uint16), "must be an 8-bit grey image"),
        ("color", np.zeros((32, 64), np.uint16), "has 16 bits per sample"),
    ],
)
def test_images_that_do_not_fit_are_refused(streets, target, capsys, ending, pixels, message):
    path = streets / "gtFine" / "train" / f"{SCENES['train'][0]}_gtFine_{ending}.png"
    save(path, pixels)
    assert f"{path} {message}" in refusal(capsys, "cityscapes", streets, target)


def test_labels_yaml_stays_as_it_was_edited(streets, target):
    assert run("cityscapes", streets, target, "--size", 16) == 0
    fewer = Palette("B", PALETTE.counting[:5])
    fewer.write(target)
    assert run("cityscapes", streets, target, "--size", 16) == 0
    assert Palette.read(target) == fewer


# Maps


def test_halves_become_pairs(sheets, target, capsys):
    assert run("maps", sheets, target, "--size", 16) == 0
    assert "pairs for training: 3, for the test: 2" in capsys.readouterr().out
    data = open_data_set(DataConfig(path=str(target), crop=16), paired=True)
    assert [ref.name for ref in data.a.train] == ["1", "2", "3"]
    assert data.test_aligned
    for number, ref in enumerate(data.b.test, start=1):
        # Beside noise, a few values of JPEG's artefacts.
        np.testing.assert_allclose(ref.read().values.astype(int), 80 * number, atol=8)
    photo = data.a.train[0].read().values.astype(float)
    assert photo.std() < 0.7 * noise(48, 48).std()  # of means over 3 x 3 pixels


def test_a_folder_test_goes_before_val(sheets, target):
    shutil.copytree(sheets / "train", sheets / "test")
    assert run("maps", sheets, target) == 0
    assert len(list((target / "testA").iterdir())) == 3
    assert read_image(target / "testB" / "1.png").shape == (256, 256, 3)


def test_a_missing_split_of_maps_is_told_where_it_is_to_be_had(sheets, target, capsys):
    shutil.rmtree(sheets / "val")
    message = refusal(capsys, "maps", sheets, target)
    assert "holds no test/*.jpg or val/*.jpg; give the folder maps of efrosgans.eecs" in message


def test_images_that_are_not_side_by_side_are_refused(sheets, target, capsys):
    save(sheets / "train" / "2.jpg", noise(48, 48))
    message = refusal(capsys, "maps", sheets, target)
    assert "2.jpg is 48 x 48 pixels, but" in message
    assert "must be twice as wide as it is high" in message


# Both


def test_what_is_prepared_can_be_trained_on(task, target, tmp_path):
    assert run(*task, target, "--size", 32) == 0
    options = {
        "objective": "paired",
        "training.steps": 1,
        "generator.width": 2,
        "generator.depth": 1,
        "discriminator.width": 2,
        "data.crop": 32,
        "runtime.device": "cpu",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    assert main(["train", str(target), "--run", str(tmp_path / "run"), *arguments]) == 0


def test_what_is_there_stays_as_it_is(task, target):
    assert run(*task, target, "--size", 16) == 0
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.png")}
    assert run(*task, target, "--size", 16) == 0
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.png")} == before


def test_what_is_missing_is_made_anew(task, target):
    assert run(*task, target, "--size", 16) == 0
    before = {name: (target / name).read_bytes() for name in files(target)}
    for path in (*target.glob("trainA/*1*"), *target.glob("testB/*")):
        path.unlink()
    assert run(*task, target, "--size", 16) == 0
    assert {name: (target / name).read_bytes() for name in files(target)} == before


@pytest.mark.parametrize("change", ["size", "images"])
def test_other_options_or_images_into_the_same_folder_are_refused(task, target, capsys, change):
    name, source = task
    assert run(*task, target, "--size", 16) == 0
    before = files(target)
    if change == "images":
        shutil.rmtree(source)
        OTHERS[name](source)
    message = refusal(capsys, *task, target, "--size", 32 if change == "size" else 16)
    assert f"{target} was made from other images or with other options, see " in message
    assert files(target) == before


def test_another_task_into_the_same_folder_is_refused(streets, sheets, target, capsys):
    assert run("maps", sheets, target, "--size", 16) == 0
    assert "was made from other images" in refusal(
        capsys, "cityscapes", streets, target, "--size", 16
    )
    assert json.loads((target / "prepared.json").read_text())["task"] == "maps"


def test_a_folder_with_other_things_is_refused(task, target, capsys):
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    assert f"{target} exists and isn't an empty folder" in refusal(capsys, *task, target)
    assert files(target) == ["notes.txt"]


def test_a_truncated_image_is_named_and_the_rest_is_done_once_it_is_replaced(
    task, target, capsys, tmp_path
):
    name, source = task
    path = sorted(source.rglob("[!.]*.*g"))[-1]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"{path} cannot be read" in refusal(capsys, name, source, target, "--size", 16)
    assert not list(target.rglob(".*"))  # nothing half-written
    path.write_bytes(whole)
    assert run(name, source, target, "--size", 16) == 0
    assert run(name, source, tmp_path / "anew", "--size", 16) == 0
    assert files(target) == files(tmp_path / "anew")


def test_a_source_that_is_no_folder_is_told_what_it_should_be(task, target, capsys):
    name, source = task
    assert f"{source}.zip does not exist; give a folder of" in refusal(
        capsys, name, f"{source}.zip", target
    )
    archive = source.with_suffix(".zip")
    archive.write_bytes(b"PK")
    assert f"{archive} is a file, not a folder" in refusal(capsys, name, archive, target)


def test_a_size_of_none_is_refused(task, target, capsys):
    assert "--size must be 1 or more, not 0" in refusal(
        capsys, *task, target, "--size", 0, status=2
    )
    assert not target.exists()


def test_an_interrupted_preparation_is_completed(streets, target, monkeypatch):
    write, calls = cityscapes.write_pixels, []

    def interrupt(path, image):
        calls.append(path)
        if len(calls) == 5:
            raise KeyboardInterrupt
        write(path, image)

    with monkeypatch.context() as patch:
        patch.setattr(cityscapes, "write_pixels", interrupt)
        assert run("cityscapes", streets, target, "--size", 16) == 130
    assert run("cityscapes", streets, target, "--size", 16) == 0
    assert len(list(target.rglob("*.png"))) == 12
