"""Label maps: what colours mean, and mistakes in them."""

import numpy as np
import pytest
import torch
from PIL import Image

from revgan.data.config import DataConfig
from revgan.data.labels import IGNORED, LabelClass, Palette, class_map
from revgan.data.mappings import TypeRange
from revgan.data.refs import ScanRef
from revgan.data.sets import open_data_set
from revgan.errors import UserError

ROAD, SKY, VOID = (128, 64, 128), (70, 130, 180), (0, 0, 0)
PALETTE = Palette(
    "B", (LabelClass("void", VOID, void=True), LabelClass("road", ROAD), LabelClass("sky", SKY))
)


def label_map(*colours, size=8):
    """Vertical stripes of colours, (size, size * len(colours), 3)."""
    return np.repeat(np.tile(np.array(colours, np.uint8), (size, 1, 1)), size, axis=1)


def values(pixels):
    """(3, H, W)."""
    return np.moveaxis(pixels, -1, 0)


def in_unit(pixels):
    return torch.from_numpy(TypeRange().to_unit(values(pixels)))


def write(folder, name, pixels):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return ScanRef(folder / f"{name}.png")


def test_classes_are_numbered_without_the_void_ones():
    assert PALETTE.names == ("road", "sky")
    classes = PALETTE.exact(values(label_map(ROAD, VOID, SKY, size=1)), "x")
    assert classes.tolist() == [[0, IGNORED, 1]]


def test_the_nearest_colour_never_is_a_void_one():
    image = in_unit(label_map((1, 1, 1), (120, 70, 120), (80, 120, 200), size=1))
    assert PALETTE.nearest(image).tolist() == [[0, 0, 1]]


def test_painting_a_class_map_and_reading_it_gives_it_back():
    pixels = label_map(SKY, ROAD, VOID)
    classes = PALETTE.exact(values(pixels), "x")
    assert torch.equal(PALETTE.paint(classes), in_unit(pixels))
    without_void = Palette("B", PALETTE.counting)
    assert torch.equal(without_void.paint(classes), in_unit(pixels))  # black is the substitute


def test_unknown_colours_are_named_and_counted(tmp_path):
    pixels = label_map(ROAD, SKY)
    pixels[0, :3] = (1, 2, 3)
    pixels[1, 0] = (9, 9, 9)
    ref = write(tmp_path / "testB", "x", pixels)
    with pytest.raises(UserError, match=r"x\.png has 2 colours .* \(1, 2, 3\) at 3 pixels, \(9, 9"):
        class_map(ref, PALETTE)


def test_class_ids_beside_the_label_maps_go_before_their_colours(tmp_path):
    ref = write(tmp_path / "testB", "x", label_map(ROAD, SKY))
    ids = np.full((8, 16), IGNORED, np.uint8)
    ids[:, :4] = 1
    write(tmp_path / "testLabels", "x", ids)
    classes = class_map(ref, PALETTE)
    assert classes.unique().tolist() == [1, IGNORED]
    assert (classes == 1).sum() == 32


def test_class_ids_that_only_some_label_maps_have_are_refused(tmp_path):
    refs = [write(tmp_path / "testB", name, label_map(ROAD, SKY)) for name in ("x", "y")]
    write(tmp_path / "testLabels", "x", np.zeros((8, 16), np.uint8))
    class_map(refs[0], PALETTE)
    with pytest.raises(UserError, match=r"testLabels has no class ids for .*y\.png; put y\.png"):
        class_map(refs[1], PALETTE)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.full((8, 16), 2, np.uint8), "holds the class 2 at 128 pixels.*classes 0 to 1"),
        (np.zeros((8, 15), np.uint8), "15 x 8 pixels, but .* 16 x 8"),
        (np.zeros((8, 16, 3), np.uint8), "8-bit grey image"),
    ],
)
def test_class_ids_that_do_not_fit_are_refused(tmp_path, ids, message):
    ref = write(tmp_path / "testB", "x", label_map(ROAD, SKY))
    write(tmp_path / "testLabels", "x", ids)
    with pytest.raises(UserError, match=message):
        class_map(ref, PALETTE)


def test_another_size_takes_the_nearest_class(tmp_path):
    ref = write(tmp_path / "trainB", "x", label_map(ROAD, SKY))
    assert class_map(ref, PALETTE, (2, 4)).tolist() == [[0, 0, 1, 1]] * 2


def test_the_file_says_what_was_written(tmp_path):
    PALETTE.write(tmp_path)
    assert Palette.read(tmp_path) == PALETTE
    assert Palette.read(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("domain: C\nclasses: []", "domain must be A or B"),
        ("domain: B", "lacks 'classes'"),
        ("domain: [", "can't be understood"),
        ("just text", "can't be understood"),
        ("domain: B\nclasses: [{name: x, colour: [1, 2, 3]}]", "2 to 254 classes must count"),
        ("domain: B\nclasses: [{name: x, colour: [1, 2]}, {name: y, colour: [1, 1, 2]}]", "three"),
        (
            "domain: B\nclasses: [{name: x, colour: [1, 2, 900]}, {name: y, colour: [0, 0, 0]}]",
            "255",
        ),
        ("domain: B\nclasses: [{name: x, colour: red}]", "whole numbers"),
        ("domain: B\nclasses: [{name: x, colour: [0, 0, 0], hue: 1}]", "unknown key hue"),
        ("domain: B\nclasses: [{name: x, colour: [0, 0, 0], void: 1}]", "true or false"),
        (
            "domain: B\nclasses: [{name: x, colour: [0, 0, 0]}, {name: y, colour: [0, 0, 0]}]",
            "stands for two classes",
        ),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_its_name(tmp_path, text, message):
    (tmp_path / "labels.yaml").write_text(text)
    with pytest.raises(UserError, match=f"labels.yaml can't be understood.*{message}|{message}"):
        Palette.read(tmp_path)


def test_label_maps_keep_flat_colours_when_they_are_resized(tmp_path):
    for name in ("trainA", "trainB", "testA", "testB"):
        write(tmp_path / name, "x", label_map(ROAD, SKY, size=32))
    PALETTE.write(tmp_path)
    data = open_data_set(DataConfig(path=str(tmp_path), resize=25, crop=24), paired=True)
    assert data.palette == PALETTE
    labels = data.b.load(data.b.test[0])
    assert len(labels.flatten(1).unique(dim=1).T) == 2
    assert len(data.a.load(data.a.test[0]).flatten(1).unique(dim=1).T) > 2  # photos are smoothed
    size = tuple(labels.shape[1:])
    assert torch.equal(class_map(data.b.test[0], PALETTE, size), PALETTE.nearest(labels))


def test_a_label_map_and_a_photo_of_different_size_are_no_pair(tmp_path):
    for name in ("trainA", "trainB"):
        write(tmp_path / name, "x", label_map(ROAD, SKY, size=32))
    write(tmp_path / "trainB", "x", label_map(ROAD, SKY, size=40))
    PALETTE.write(tmp_path)
    with pytest.raises(UserError, match="must have the same size"):
        open_data_set(DataConfig(path=str(tmp_path), crop=24), paired=True)
