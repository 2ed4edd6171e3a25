"""Which part of a file is meant: options of training and translating; what a model remembers."""

import numpy as np
import pytest
import tifffile
import torch
import yaml

from revgan.cli import main
from revgan.data import formats
from revgan.data.config import DataConfig
from revgan.data.formats import Selection
from revgan.data.mappings import TypeRange
from revgan.data.preparation import Preparation
from revgan.data.sets import open_data_set
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator
from scans import write_slide

NAMES = ("DAPI", "GFP", "phase")


def write_stack(path, seed):
    """Three channels of four planes, half a micrometre a pixel."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 4000, (4, 3, 48, 64), np.uint16)
    metadata = {
        "axes": "ZCYX",
        "Channel": {"Name": list(NAMES)},
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 2.0,
    }
    tifffile.imwrite(path, values, ome=True, metadata=metadata)
    return values


@pytest.fixture
def stacks(tmp_path):
    """The same files as A and B, as stained and unstained channels of one scan are."""
    for split, count in (("train", 2), ("test", 1)):
        for number in range(count):
            for domain in "AB":
                folder = tmp_path / "data" / f"{split}{domain}"
                folder.mkdir(parents=True, exist_ok=True)
                write_stack(folder / f"{number}.ome.tif", number)
    return tmp_path / "data"


SMALL = (
    *("--data.crop=32", "--generator.width=4", "--generator.depth=1", "--discriminator.width=4"),
    *("--training.steps=1", "--runtime.device=cpu", "--objective=paired"),
)


def test_each_domain_reads_its_part_and_keeps_it_apart_from_others(stacks, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    values = formats.read(stacks / "trainA" / "0.ome.tif", 3).values  # C, X, Y, Z
    for z in (1, 2):  # the cache knows which plane it keeps
        config = DataConfig(
            str(stacks),
            crop=32,
            cache="disk",
            select_a=("DAPI", 2),
            select_b=("GFP",),
            z_a=z,
            z_b=z,
        )
        data = open_data_set(config, paired=True)
        for domain, channels in ((data.a, [0, 2]), (data.b, [1])):
            read = domain.prepared(domain.train[0]).values
            np.testing.assert_array_equal(read, values[channels, :, :, z].transpose(0, 2, 1))
    assert data.preparation.part("a") == Selection(channels=("DAPI", "2"))


def test_a_model_remembers_its_channels_and_resolution(tmp_path, stacks):
    config = DataConfig(
        str(stacks), crop=16, select_a=("GFP",), z_a=0, z_b=0, pixel_size_a=1.0, pixel_size_b=1.0
    )
    preparation = open_data_set(config, paired=True).preparation
    preparation.write(tmp_path / "model")
    read = Preparation.read(tmp_path / "model")
    assert read == preparation
    assert read.part_a == Selection(channels=("GFP",), pixel_size=1.0)  # which plane, it doesn't


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--data.z_a=-1", "z_a must be null or at least 0"),
        ("--data.pixel_size_a=0", "pixel_size_a must be null or above 0"),
        ("--data.level_b=0 --data.pixel_size_b=1", "leave out level_b"),
        ("--data.select_a=[]", "name a channel"),
        ("--data.spatial_dims=3 --data.z_a=1", "z_a does nothing for volumes"),
        ("--data.spatial_dims=3 --data.pixel_size_b=1", "pixel_size_b does nothing for volumes"),
        ("--data.z_a=1 --data.z_b=1 --data.select_a=[RFP]", "has no channel RFP"),
        ("--data.t_a=3 --data.z_a=1", "give t from 0 to 0"),
        ("", "choose one by z"),
    ],
)
def test_options_that_mean_nothing_are_refused(capsys, stacks, tmp_path, option, said):
    status = main(["train", str(stacks), "--run", str(tmp_path / "run"), *SMALL, *option.split()])
    assert status in (1, 2)
    assert said in capsys.readouterr().err


def test_a_photo_has_no_level(capsys, tmp_path):
    for domain in "AB":
        (tmp_path / f"train{domain}").mkdir()
        values = np.zeros((3, 40, 40), np.uint8)
        path = tmp_path / f"train{domain}" / "0.png"
        formats.write(path, values, formats.Header(3, (40, 40), values.dtype))
    run = ["--run", str(tmp_path / "run")]
    assert main(["train", str(tmp_path), *run, *SMALL, "--data.level_a=1"]) == 1
    assert "0.png can't be read with level" in capsys.readouterr().err


def test_a_run_is_configured_with_the_parts_that_it_reads(stacks, tmp_path):
    parts = ["--data.select_a=[DAPI, 2]", "--data.select_b=[1]", "--data.z_a=1", "--data.z_b=3"]
    assert main(["train", str(stacks), "--run", str(tmp_path / "run"), *SMALL, *parts]) == 0
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]
    assert (stored["select_a"], stored["select_b"]) == (["DAPI", 2], [1])
    # Evaluation reads the same.
    assert main(["evaluate", str(tmp_path / "run")]) == 0


@pytest.fixture(scope="module")
def slide_model(tmp_path_factory):
    """A model of RGB images that saw them at one micrometre a pixel."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_generator(RevGenerator(2, 3, 3, width=4, depth=1), folder)
    part = Selection(pixel_size=1.0)
    Preparation(TypeRange("uint8"), TypeRange("uint8"), part_a=part, part_b=part).write(folder)
    return folder


def test_a_slide_is_translated_in_windows_at_the_resolution_of_training(tmp_path, slide_model):
    values = np.random.default_rng(0).integers(0, 256, (3, 700, 600), np.uint8)
    write_slide(tmp_path / "in" / "x.svs", values)
    args = ["translate", str(slide_model), str(tmp_path / "in")]
    assert main([*args, str(tmp_path / "out"), "--window=64"]) == 0
    read = formats.read(tmp_path / "in" / "x.svs", 2, Selection(pixel_size=1.0))
    made = formats.read(tmp_path / "out" / "x.ome.tif", 2)
    assert made.shape == (350, 300)
    np.testing.assert_allclose(made.affine, read.affine, rtol=1e-12)
    # The same slide at another level, and the same pixels as a photo, which has no size of pixels.
    single = ["translate", str(slide_model), str(tmp_path / "in" / "x.svs")]
    assert main([*single, str(tmp_path / "fine.zarr"), "--level=0", "--window=64"]) == 0
    assert formats.probe(tmp_path / "fine.zarr", 2).shape == (700, 600)
    photo = tmp_path / "photo.png"
    formats.write(photo, read.values, formats.Header(3, read.shape, read.values.dtype))
    assert main([*args[:2], str(photo), str(tmp_path / "made.png"), "--window=64"]) == 0
    np.testing.assert_array_equal(formats.read(tmp_path / "made.png", 2).values, made.values)


def test_channels_of_training_are_taken_from_files_that_have_more(tmp_path, capsys):
    torch.manual_seed(0)
    save_generator(RevGenerator(2, 1, 1, width=4, depth=1), tmp_path / "model")
    part = Selection(channels=("GFP",))
    types = TypeRange("uint16"), TypeRange("uint16")
    Preparation(*types, part_a=part, part_b=part).write(tmp_path / "model")
    write_stack(tmp_path / "x.ome.tif", 0)
    args = ["translate", str(tmp_path / "model")]
    stack, plane = str(tmp_path / "x.ome.tif"), tmp_path / "plane.ome.tif"
    assert main([*args, stack, str(tmp_path / "a.zarr")]) == 1
    assert "choose one by z" in capsys.readouterr().err
    assert main([*args, stack, str(tmp_path / "a.zarr"), "--z=2"]) == 0
    scan = formats.read(stack, 2, Selection(z=2, channels=("GFP",)))
    formats.write(plane, scan.values, scan.header)  # of this channel alone
    assert main([*args, str(plane), str(tmp_path / "b.zarr")]) == 0
    assert main([*args, stack, str(tmp_path / "c.zarr"), "--z=2", "--select=[1]"]) == 0
    assert main([*args, stack, str(tmp_path / "d.zarr"), "--z=2", "--select=[DAPI]"]) == 0
    a, b, c, d = (formats.read(tmp_path / f"{name}.zarr", 2).values for name in "abcd")
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)
    assert not np.array_equal(a, d)
    assert main([*args, stack, str(tmp_path / "e.zarr"), "--z=2", "--level=7"]) == 1
    assert "has 1 level" in capsys.readouterr().err
