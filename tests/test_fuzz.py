"""Damaged and hostile files and options: each ends in a value or in one sentence.

Whatever is read, no file is left, and no example takes 5 seconds of a CPU or a GB of memory. CI
tries more examples: REVGAN_FUZZ_EXAMPLES is their number for each kind of file.
"""

import json
import os
import resource
import shutil
import struct
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from dicoms import write_series
from revgan.cli import COMMANDS, main
from revgan.data import formats
from revgan.data.formats import Header
from revgan.data.labels import LabelClass, Palette
from revgan.data.mappings import TypeRange
from revgan.data.preparation import Preparation
from revgan.errors import UserError, io_sentence, visible
from revgan.evaluation.agreement import read_agreement
from revgan.figures.agreement import agreement_figure
from revgan.networks import GeneratorConfig, build_generator
from revgan.networks.foreign import UNetConfig
from revgan.networks.pretrained import load_generator, save_generator
from revgan.options import Parser, add_run_options, run_config, stored_config
from revgan.scores.agreement import AgreementTally
from revgan.training.best import Best
from revgan.training.checkpoint import load_checkpoint, save_checkpoint
from revgan.training.config import RunConfig
from revgan.training.record import DataRecord
from revgan.training.runs import RunFolder
from scans import write_slide

EXAMPLES = int(os.environ.get("REVGAN_FUZZ_EXAMPLES", "6"))
CPU_SECONDS, KIBIBYTES = 5, 2**20
LONGEST = 2000
"""Characters of a sentence, which may quote names and values."""

# The same examples each time: damage that a C library doesn't survive must not depend on chance.
bounded = settings(max_examples=EXAMPLES, derandomize=True, database=None)


@contextmanager
def in_a_sentence(folder=None):
    """Passes over errors that a command ends with, if they are one sentence."""
    files = sorted(folder.rglob("*")) if folder else []
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' words about damage; the error is ours
        said = ""
        try:
            yield
        except UserError as error:
            said = visible(error)
        except OSError as error:
            said = io_sentence(error)
    assert len(said) < LONGEST
    assert "Traceback" not in said
    assert time.process_time() - start < CPU_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < KIBIBYTES
    assert (sorted(folder.rglob("*")) if folder else []) == files


NUMBERS = st.sampled_from([0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63])
TEXTS = st.sampled_from(
    [
        *("-1", "0", "1e400", ".nan", ".inf", "9" * 5000, "1" * 30, "null", "~", "''", "{", "["),
        *(
            "&a *a",
            "*a",
            "!!python/name:os.system",
            "\0",
            "\x1b[31m",
            "\udcff",
            "../../x",
            "/dev/x",
        ),
        *("[" * 3000, "%d", "{a: 1, a: 2}", "2024-99-99", "true", "\n", ":", "é"),
    ]
)
BYTES = st.one_of(
    st.binary(max_size=8),
    st.builds(lambda kind, n: struct.pack(kind, n % 2**16), st.sampled_from(["<H", ">H"]), NUMBERS),
    st.builds(lambda kind, n: struct.pack(kind, n % 2**32), st.sampled_from(["<I", ">I"]), NUMBERS),
    st.builds(lambda kind, n: struct.pack(kind, n), st.sampled_from(["<Q", ">Q"]), NUMBERS),
    st.sampled_from([np.float32(value).tobytes() for value in ("nan", "inf", -1, 1e38)]),
    TEXTS.map(lambda text: text.encode("utf-8", "surrogateescape")),
)
PLACES = st.one_of(st.floats(0, 1), st.integers(0, 400))
"""A share of a file's size, or a place in its header."""

DAMAGE = st.lists(
    st.tuples(st.sampled_from(["write", "insert", "cut", "delete"]), PLACES, BYTES),
    min_size=1,
    max_size=4,
)


def damaged(content, damage):
    for how, place, new in damage:
        at = min(place if isinstance(place, int) else int(place * len(content)), len(content))
        if how == "write":
            content = content[:at] + new + content[at + len(new) :]
        elif how == "insert":
            content = content[:at] + new + content[at:]
        elif how == "delete":
            content = content[:at] + content[at + max(1, len(new)) :]
        else:
            content = content[:at]
    return content


def values(channels, *shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(256, size=(channels, *shape)).astype(dtype)


def written(folder, name, channels, *shape, dtype=np.uint8):
    affine = np.eye(4) if len(shape) == 3 else None
    header = Header(channels, shape, np.dtype(dtype), affine)
    formats.write(folder / name, values(channels, *shape, dtype=dtype), header)


def gif(folder):
    Image.fromarray(values(1, 8, 9)[0]).save(folder / "x.gif")


def analyze(folder):
    nibabel.save(nibabel.Spm2AnalyzeImage(values(1, 4, 5, 6)[0], np.eye(4)), folder / "x.hdr")


def detached(folder):
    (folder / "x.raw").write_bytes(bytes(4 * 5 * 6))
    (folder / "x.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\n"
        "ElementDataFile = x.raw\n"
    )


def geotiff(folder):
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.transform.from_origin(5, 6, 1, 1)
    profile = {"driver": "GTiff", "width": 9, "height": 8, "count": 2, "dtype": "uint16"}
    profile |= {"crs": "EPSG:32633", "transform": place, "nodata": 7}
    with rasterio.open(folder / "x.tif", "w", **profile) as file:
        file.write(values(2, 8, 9, dtype=np.uint16))


def named(name, channels, *shape, dtype=np.uint8):
    return lambda folder: written(folder, name, channels, *shape, dtype=dtype)


def zarr(folder):
    pytest.importorskip("zarr")
    written(folder, "x.ome.zarr", 2, 8, 9, dtype=np.uint16)


def slide(folder):
    pytest.importorskip("openslide")
    write_slide(folder / "x.svs", values(3, 80, 96), levels=2)


def shipped(*names):
    """Files of other software, which nibabel brings."""

    def copied(folder):
        for name in names:
            shutil.copy(Path(nibabel.__file__).parent / "tests" / "data" / name, folder)

    return copied


PHANTOM = "phantom_EPI_asc_CLEAR_2_1"

SCANS = {
    **{f"x{suffix}": named(f"x{suffix}", 3, 8, 9) for suffix in (".png", ".jpg", ".tif", ".webp")},
    **{f"x{suffix}": named(f"x{suffix}", 3, 8, 9) for suffix in (".bmp", ".jxl", ".avif")},
    "x.gif": gif,
    "x.ome.tif": named("x.ome.tif", 2, 8, 9, dtype=np.uint16),
    "deep.png": named("deep.png", 3, 8, 9, dtype=np.uint16),
    "x.npy": named("x.npy", 2, 8, 9, dtype=np.float32),
    "geo x.tif": geotiff,
    "x.ome.zarr": zarr,
    "x.svs": slide,
    **{
        f"x{suffix}": named(f"x{suffix}", 2, 4, 5, 6, dtype=np.int16)
        for suffix in (".nii", ".nii.gz", ".mha", ".nrrd", ".mgz")
    },
    "x.hdr": analyze,
    "tiny.mnc": shipped("tiny.mnc"),
    "small.mnc": shipped("small.mnc"),
    "scaled+tlrc.HEAD": shipped("scaled+tlrc.HEAD", "scaled+tlrc.BRIK"),
    f"{PHANTOM}.PAR": shipped(f"{PHANTOM}.PAR", f"{PHANTOM}.REC"),
    "x.mhd": detached,
    "series": lambda folder: write_series(folder / "series", values(1, 3, 4, 5)[0]),
}
"""What makes a whole scan, by its name in its folder."""


@pytest.mark.parametrize("name", SCANS)
def test_a_damaged_scan_is_read_or_refused(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    SCANS[name](folder)
    path = folder / name.rpartition(" ")[2]
    dims = len(formats.probe(path).shape)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    whole = {file: file.read_bytes() for file in files}

    @bounded
    @given(st.integers(0, len(files) - 1), DAMAGE)
    def read(number, damage):
        file = files[number]
        file.write_bytes(damaged(whole[file], damage))
        with in_a_sentence(folder):
            scan = formats.read(path, dims)
            assert scan.values.ndim == dims + 1
        file.write_bytes(whole[file])

    read()


SMALL = GeneratorConfig(width=2, depth=1, memory="naive")


def model_of(folder):
    save_generator(build_generator(SMALL, 2, 1, 1), folder / "model")
    Preparation(TypeRange("uint8"), TypeRange("uint16")).write(folder / "model")


def palette_of(folder):
    colours = (0, 0, 0), (1, 2, 3), (4, 5, 6)
    classes = tuple(LabelClass(str(n), colour, void=n > 1) for n, colour in enumerate(colours))
    Palette("B", classes).write(folder)


def checkpoint_of(folder):
    tensors = build_generator(SMALL, 2, 1, 1).state_dict()
    counts = {"scaler": {}, "skipped": {"total": 1, "row": 0}}
    save_checkpoint(folder / "checkpoints", 3, tensors, counts, 1)


def texts_of(folder):
    (folder / "config.yaml").write_text(RunConfig().to_yaml())
    (folder / "metrics.jsonl").write_text('{"step": 1, "gan_a": 0.5}\n' * 3)
    best = {"step": 1, "by": "psnr", "split": "val", "mae": 1.0, "psnr": 2.0, "ssim": 0.5}
    (folder / "best.json").write_text(str(best).replace("'", '"'))
    DataRecord({"train A": {"1.png": (10, "0" * 64)}}).write(folder / "data.json")
    unet = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "channels": [4, 8]}
    (folder / "unet.yaml").write_text(yaml.safe_dump({**unet, "strides": [2], "norm": "batch"}))


def agreement_of(folder):
    tally = AgreementTally(-5.0, 9.0, 0.5)
    draws = torch.Generator().manual_seed(0)
    for number in "12":
        truth = torch.rand(1, 8, 9, generator=draws) * 14 - 5
        tally.add(number, number, truth + 0.5, truth, None)
    content = {"AtoB": tally.result().to_dict()}
    (folder / "agreement.json").write_text(json.dumps(content, indent=1))


def draw_agreement_of(folder):
    agreement_figure({"run": read_agreement(folder / "agreement.json", "AtoB")})


READERS = {
    "agreement.json": (agreement_of, draw_agreement_of),
    "model": (model_of, lambda folder: (load_generator(folder / "model"),)),
    "preparation": (model_of, lambda folder: Preparation.read(folder / "model")),
    "palette": (palette_of, Palette.read),
    "checkpoint": (checkpoint_of, lambda folder: load_checkpoint(folder / "checkpoints")),
    "config.yaml": (texts_of, lambda folder: stored_config(folder / "config.yaml")),
    "metrics.jsonl": (texts_of, lambda folder: RunFolder(folder).history()),
    "best.json": (texts_of, Best.read),
    "data.json": (texts_of, lambda folder: DataRecord.read(folder / "data.json")),
    "unet.yaml": (texts_of, lambda folder: UNetConfig.read(folder / "unet.yaml")),
}
"""What makes whole files, and what reads them."""


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_of_ours_is_read_or_refused(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    make, read = READERS[name]
    make(folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    files = [file for file in files if "." not in name or file.name == name]
    whole = {file: file.read_bytes() for file in files}

    @bounded
    @given(st.integers(0, len(files) - 1), DAMAGE)
    def survive(number, damage):
        file = files[number]
        file.write_bytes(damaged(whole[file], damage))
        with in_a_sentence(folder):
            read(folder)
        file.write_bytes(whole[file])

    survive()


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_a_damaged_network_of_a_stranger_is_refused(suffix, tmp_path_factory):
    from monai.networks import nets  # noqa: F401 - it takes longer than an example may

    from revgan.networks.foreign import load_network

    folder = tmp_path_factory.mktemp("network")
    texts_of(folder)
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        (folder / "unet.onnx").write_bytes(bytes(100))
    else:
        save_file({"weight": torch.zeros(3, 4)}, folder / "unet.safetensors")
    path = folder / f"unet{suffix}"
    whole = path.read_bytes()

    @bounded
    @given(DAMAGE)
    def survive(damage):
        path.write_bytes(damaged(whole, damage))
        with in_a_sentence(folder):
            load_network(path, torch.device("cpu"))
            pytest.fail("it isn't a U-Net")

    survive()


PARSER = Parser("train")
add_run_options(PARSER)
OPTIONS = sorted(
    option
    for action in PARSER._actions
    for option in action.option_strings
    if option not in ("-h", "--help", "--config", "--print_config")
)
VALUES = st.one_of(
    TEXTS,
    st.text(max_size=6),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["[1, 2]", "{a: 1}", "1e9", "skip 10", "lean", "8GiB", "[24, 24]", "auto"]),
)


@bounded
@given(st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES), min_size=1, max_size=3))
def test_options_of_any_value_are_taken_or_refused(given_options):
    arguments = [f"{name}={value}" for name, value in given_options]
    with in_a_sentence():
        run_config(PARSER.parse_args(arguments))


@bounded
@given(
    st.sampled_from(sorted(COMMANDS)),
    st.lists(st.one_of(VALUES, st.sampled_from(["--run", "--device", "--resume"])), max_size=3),
)
def test_a_command_line_of_anything_ends_with_a_sentence(tmp_path_factory, command, words):
    words = [word for word in words if "\0" not in word]  # which no system passes on
    folder = tmp_path_factory.mktemp("cwd")
    before = Path.cwd()
    os.chdir(folder)
    try:
        # With an option that there isn't, so that nothing begins.
        assert main([command, *words, "--no-such-option"]) in (1, 2)
        assert not list(folder.iterdir())
    finally:
        os.chdir(before)
        shutil.rmtree(folder)
