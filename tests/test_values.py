"""Any number of channels, any type of values, and what wasn't measured, from file to network and
back; of images as of volumes."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from rich.console import Console

from revgan.cli import main
from revgan.data.choosing import choose_intensity
from revgan.data.config import DataConfig
from revgan.data.foreground import foreground_positions
from revgan.data.formats import KINDS, Header, Scan, create, read, write
from revgan.data.formats.axes import channel_axis
from revgan.data.grids import resample
from revgan.data.intensity import IntensityConfig, PerScan, fit_intensity, mapping_from_dict
from revgan.data.mappings import Intensity, TypeRange
from revgan.data.missing import missing_in, nodata_for
from revgan.data.number_types import in_type
from revgan.data.preparation import Grid, Preparation
from revgan.data.refs import ScanRef
from revgan.data.sampling import TrainingSamples
from revgan.data.sets import open_data_set
from revgan.data.survey import Survey
from revgan.errors import UserError
from revgan.inference import Translator, Windows
from revgan.inference.outputs import output_paths
from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.networks.pretrained import save_generator
from revgan.training.batch import Batch
from revgan.training.config import LossConfig
from revgan.training.losses import adversarial_loss
from revgan.training.objectives import Fakes, Players, build_objective

TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")

SMALL = [
    *("--data.crop=32", "--generator.width=4", "--generator.depth=1", "--discriminator.width=4"),
    *("--generator.memory=naive", "--runtime.device=cpu", "--training.log_every=1"),
    "--training.validate_every=null",
]


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pattern(channels=1, size=(40, 44), seed=0):
    """Smooth values (C, *size) from 0 to 1, both of which occur."""
    random = np.random.default_rng(seed)
    places = np.meshgrid(*map(np.arange, size), indexing="ij")
    waves = [sum(np.sin(place / random.uniform(3, 9)) for place in places) for _ in range(channels)]
    values = np.stack(waves)
    return (values - values.min()) / np.ptp(values)


def write_set(root, make, splits=("train", "test"), count=2, suffix=".tif"):
    """Files that `make(domain, number)` gives, with the header that it may give besides."""
    for split in splits:
        for domain in "AB":
            folder = root / f"{split}{domain}"
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                made = make(domain, number)
                values, header = made if isinstance(made, tuple) else (made, None)
                header = header or Header(len(values), values.shape[1:], values.dtype)
                with create(folder / f"{number}{suffix}", header) as file:
                    file.write(values)
    return root


# Mappings


@settings(max_examples=40, deadline=None)
@given(dtype=st.sampled_from(TYPES), per_channel=st.booleans(), seed=st.integers(0, 2**16))
def test_values_of_every_type_come_back_from_the_network(dtype, per_channel, seed):
    dtype, random = np.dtype(dtype), np.random.default_rng(seed)
    if dtype.kind == "f":
        # A scale and an offset, as elevations have one; far within float16, too.
        values = (random.normal(size=(3, 5, 6)) * 10 + 300).astype(dtype)
        tolerance = 600 * (2**-24 if dtype.itemsize > 2 else 2**-11)
    else:
        limits = np.iinfo(dtype)
        low = int(random.integers(limits.min, limits.max - 100))
        high = min(limits.max, low + 2**20)  # float32 has 24 bits for what is between -1 and 1
        values = random.integers(low, high, (3, 5, 6), dtype, endpoint=True)
        tolerance = 0
    config = IntensityConfig("percentiles", 0.0, 100.0, per_channel=per_channel)
    mapping = replace(fit_intensity(config, [values]), dtype=dtype.name)
    mapping = mapping_from_dict(yaml.safe_load(yaml.safe_dump(mapping.to_dict())))
    unit = mapping.to_unit(values)
    assert unit.dtype == np.float32
    assert np.abs(unit).max() <= 1
    back = in_type(mapping.from_unit(unit), mapping.output_type(None))
    assert back.dtype == dtype
    difference = np.abs(back.astype(np.float64) - values.astype(np.float64))
    assert difference.max() <= tolerance


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int32"])
def test_the_range_of_a_type_is_that_of_any_type_of_integers(dtype):
    dtype = np.dtype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    unit = TypeRange(dtype.name).to_unit(np.array([[low, high]], dtype))
    assert unit.tolist() == [[-1, 1]]
    back = in_type(TypeRange(dtype.name).from_unit(unit), dtype)
    assert back.tolist() == [[low, high]]


def test_photos_keep_their_depth_and_other_types_are_the_domains():
    for dtype in (np.dtype("u1"), np.dtype("u2")):
        assert TypeRange("uint8").output_type(dtype) == dtype
    assert TypeRange("uint16").output_type(np.dtype("float32")) == np.uint16
    assert TypeRange("bool").output_type(np.dtype("u1")) == np.bool_
    assert Intensity(0, 1, dtype="float16").output_type(np.dtype("u1")) == np.float16
    assert Intensity(0, 1).output_type(np.dtype("u1")) is None  # of an earlier version


def test_channels_of_unlike_scale_have_limits_of_their_own():
    values = pattern(2).astype(np.float32) * np.array([100, 0.1], np.float32)[:, None, None]
    unit = fit_intensity(IntensityConfig(per_channel=True), [values]).to_unit(values)
    assert np.ptp(unit, axis=(1, 2)).tolist() == [2, 2]
    pooled = fit_intensity(IntensityConfig(), [values]).to_unit(values)
    assert np.ptp(pooled[1]) < 0.01
    given = Intensity((0.0, 0.0), (100.0, 0.1))
    expected = 2 * np.ptp(values, axis=(1, 2)) / np.array([100, 0.1])
    assert np.ptp(given.to_unit(values), axis=(1, 2)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", ["percentiles-per-scan", "zscore-per-scan"])
def test_scans_of_unlike_scale_become_alike_and_are_written_on_the_typical_one(method):
    config = IntensityConfig(method)
    scans = [pattern(seed=1).astype(np.float32) * scale for scale in (100, 1000, 4000)]
    own = [PerScan(config, Intensity(0, 1)).of_scan([scan]) for scan in scans]
    limits = [np.array([[each.low], [each.high]]) for each in own]
    mapping = PerScan.from_limits(config, limits)
    assert mapping_from_dict(yaml.safe_load(yaml.safe_dump(mapping.to_dict()))) == mapping
    units = [mapping.of_scan([scan]).to_unit(scan) for scan in scans]
    for unit in units[1:]:
        np.testing.assert_allclose(unit, units[0], atol=1e-5)
    back = mapping.from_unit(units[0])
    np.testing.assert_allclose(back.clip(*limits[1].ravel()), scans[1].clip(*limits[1].ravel()),
                               atol=0.01)  # fmt: skip


# What is chosen


def chosen(values, dtype=None, kind=2):
    dtype = np.dtype(dtype or values.dtype)
    survey = Survey.of([values])
    return choose_intensity(survey, dtype, KINDS[kind], clip=True, per_channel=False)


def test_sixteen_bits_that_are_used_are_a_photo_and_fewer_are_not_read_as_black():
    photo = (pattern() * 65535).astype(np.uint16)
    assert chosen(photo).mapping == TypeRange("uint16")
    for top in (1000, 4095, 255, 16383):
        unit = chosen((pattern() * top).astype(np.uint16)).mapping.to_unit(
            (pattern() * top).astype(np.uint16)
        )
        assert np.ptp(unit) == 2, top


def test_a_few_far_out_values_do_not_decide_what_is_bright():
    values = pattern().astype(np.float32) * 3000
    assert chosen(values).mapping == Intensity(float(values.min()), float(values.max()))
    wild = values.copy()
    wild[0, 0, :3] = 60000
    mapping = chosen(wild).mapping
    assert mapping.high == pytest.approx(3000, rel=0.05)
    assert "percentiles" in chosen(wild).why


def test_channels_are_set_apart_where_they_are_unlike_and_volumes_take_percentiles():
    values = pattern(3).astype(np.float32)
    assert not isinstance(chosen(values).mapping.low, tuple)
    values[2] *= 500
    found = chosen(values)
    assert isinstance(found.mapping.low, tuple)
    assert "each channel separately" in found.why
    volume = pattern(size=(9, 10, 11)).astype(np.int16)
    volume[0, :5] = 7
    plain = chosen(volume, kind=3)
    assert plain.plain
    assert plain.mapping == fit_intensity(IntensityConfig(), [volume])


@pytest.mark.filterwarnings("ignore::revgan.errors.Notice")
@pytest.mark.parametrize(("dims", "objective"), [(2, "paired"), (2, "unpaired"), (3, "paired")])
def test_twelve_bits_and_fractions_train_to_the_losses_of_the_full_range(tmp_path, dims, objective):
    size = (40, 44) if dims == 2 else (34, 33, 32)

    def images(domain, number):
        return pattern(3 if dims == 2 else 1, size, seed=number + (domain == "B") * 10)

    scales = {
        "full": lambda values: (values * 65535).round().astype(np.uint16),
        "thousand": lambda values: (values * 1000).round().astype(np.uint16),
        "fractions": lambda values: (values * 0.3 - 7).astype(np.float32),
    }
    losses = {}
    for name, scaled in scales.items():
        suffix = ".tif" if dims == 2 else ".npy"
        make = {"make": lambda *of, s=scaled: s(images(*of)), "suffix": suffix}
        root = write_set(tmp_path / name, splits=("train",), **make)
        run = tmp_path / f"run-{name}"
        options = [f"--objective={objective}", "--training.steps=4", *SMALL]
        options += [f"--data.spatial_dims={dims}", "--generator.downsamplings=1"]
        assert main(["train", str(root), "--run", str(run), *options]) == 0
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = next(line for line in reversed(lines) if "gan_AtoB" in line)
        terms = ("gan_", "l1_", "cycle_", "identity_")
        losses[name] = sum(last[key] for key in last if key.startswith(terms))
    assert losses["thousand"] == pytest.approx(losses["full"], rel=0.05)
    assert losses["fractions"] == pytest.approx(losses["full"], rel=0.05)


def test_types_that_can_not_be_the_scale_are_refused(tmp_path):
    root = write_set(tmp_path, lambda *_: pattern().astype(np.float32))
    config = DataConfig(path=str(root), crop=32, intensity_a="type")
    with pytest.raises(UserError, match="values of float32, whose full range doesn't make"):
        open_data_set(config, paired=True)


def test_configurations_of_before_keep_the_range_of_the_type(tmp_path):
    from revgan.options.runs import stored_config

    text = (
        "data:\n  spatial_dims: 2\n  intensity_a: percentiles\n  low_a: null\n"
        "  intensity_b: percentiles\n  clip: true\n"
    )
    (tmp_path / "config.yaml").write_text(text)
    data = stored_config(tmp_path / "config.yaml").data
    assert (data.intensity_a, data.intensity_b) == ("type", "type")
    (tmp_path / "config.yaml").write_text(text + "  fill: low\n")
    assert stored_config(tmp_path / "config.yaml").data.intensity_a == "percentiles"


# What wasn't measured


def with_gaps(values, dtype, nodata):
    """Values with two gaps, one of them in the first channel alone, and their header."""
    values = values.astype(dtype)
    mark = np.nan if nodata is None else nodata
    values[:, :12, :20], values[0, 30:, 30:] = mark, mark
    return values, Header(len(values), values.shape[1:], values.dtype, nodata=nodata)


def test_nan_and_nodata_are_missing_and_infinite_values_may_be_nodata():
    values = np.array([[1, np.nan, -9999]], np.float32)
    assert missing_in(values, None).tolist() == [[False, True, False]]
    assert missing_in(values, -9999).tolist() == [[False, True, True]]
    assert missing_in(values[:, :1], -9999) is None
    assert missing_in(np.array([[0, 7]], np.uint8), 7).tolist() == [[False, True]]
    assert missing_in(np.array([[0, 7]], np.uint8), -1) is None  # no such value
    assert nodata_for(np.dtype("u1"), -9999) == 0
    assert nodata_for(np.dtype("i2"), -9999) == -9999
    assert nodata_for(np.dtype("f4"), None) is None


@pytest.mark.parametrize(("dtype", "nodata"), [("float32", None), ("int16", -9999), ("uint16", 0)])
@pytest.mark.filterwarnings("ignore::revgan.errors.Notice")
@pytest.mark.parametrize("options", [{}, {"resize": 36}, {"cache": "disk"}, {"cache": "memory"}])
def test_gaps_enter_no_statistics_and_are_filled(tmp_path, dtype, nodata, options):
    def scans(domain, number):
        return with_gaps(pattern(2, seed=number) * 1000 + 500, dtype, nodata)

    root = write_set(tmp_path, scans)
    data = open_data_set(DataConfig(path=str(root), crop=32, **options), paired=True)
    assert data.a.gaps
    assert data.a.intensity.low > 400
    assert data.a.intensity.high < 1600
    loaded, measured = data.a.load(data.a.train[0]), data.a.measured(data.a.train[0])
    scale = options.get("resize", 40) / 40
    rows, columns = round(10 * scale), round(17 * scale)  # what smoothing doesn't reach
    assert (loaded[:, :rows, :columns] == -1).all()
    assert not measured[:rows, :columns].any()
    assert 0.7 < float(measured.float().mean()) < 0.85
    samples = TrainingSamples(data, DataConfig(path=str(root), crop=32), paired=True, seed=0)
    assert any(samples[number][0].isnan().any() for number in range(8))
    number = open_data_set(DataConfig(path=str(root), crop=32, fill=1000.0, **options), paired=True)
    filled = number.a.load(number.a.train[0])[:, :rows, :columns]
    assert (filled == filled[0, 0, 0]).all()
    assert abs(float(filled[0, 0, 0])) < 0.1


def test_foreground_and_resampling_leave_gaps_out():
    values = np.zeros((2, 8, 9, 10), np.float32)
    values[:, 4:] = 10
    values[:, 4, 4] = np.nan
    positions = {tuple(position) for position in foreground_positions(values)}
    assert positions == {(x, y, z) for x in range(4, 8) for y in range(9) for z in range(10)} - {
        (4, 4, z) for z in range(10)
    }
    scan = Scan(values, np.eye(4), None, values.dtype)
    finer = np.diag([0.5, 0.5, 0.5, 1])
    moved = resample(scan, finer, (15, 17, 19))
    assert np.isnan(moved[:, 8, 8]).all()
    assert not np.isnan(moved[:, :7]).any()
    far = moved[:, 9:]
    np.testing.assert_allclose(far[~np.isnan(far)], 10, rtol=1e-6)  # not darker at the gap


def players(objective, channels=2):
    torch.manual_seed(0)
    judged = objective.judged_channels(channels, channels)
    generator = RevGenerator(2, channels, channels, width=4, depth=1, norm="none")
    judges = [PatchDiscriminator(2, judged, width=4, norm="none") for _ in "ab"]
    return Players(generator, *judges)


def losses_of(objective, batch):
    game, fakes, terms = players(objective), Fakes(), {}
    for term in objective.generator_terms(game, batch, fakes):
        torch.stack(list(term.values())).sum().backward()
        terms |= {name: float(loss.detach()) for name, loss in term.items()}
    for domain in ("a", "b"):
        draws = torch.Generator().manual_seed(0)
        (fake,) = objective.judged_fakes(domain, [fakes], draws)
        for term in objective.discriminator_terms(domain, game, batch, fake):
            terms |= {name: float(loss.detach()) for name, loss in term.items()}
    gradients = [weight.grad for weight in game.generator.parameters()]
    return terms, gradients


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_without_gaps_in_a_batch_its_losses_are_those_of_a_batch_without(kind):
    objective = build_objective(kind, LossConfig())
    a, b = torch.rand(2, 1, 2, 64, 64) * 2 - 1
    fill = torch.full((1, 1, 1), -1.0)
    plain, gradients = losses_of(objective, Batch(a, b))
    objective = build_objective(kind, LossConfig())
    masked, others = losses_of(objective, Batch.with_gaps(a, b, fill, fill))
    assert masked == pytest.approx(plain, rel=1e-5)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_losses_and_gradients_are_numbers_where_much_is_missing(kind):
    a, b = torch.rand(2, 1, 2, 64, 64) * 2 - 1
    a[..., :48], b[:, 0, 40:] = torch.nan, torch.nan
    fill = torch.full((1, 1, 1), -1.0)
    for first in (a, torch.full_like(a, torch.nan)):  # in part, and all of it
        batch = Batch.with_gaps(first, b, fill, fill)
        assert torch.cat((batch.a, batch.b)).isfinite().all()
        terms, gradients = losses_of(build_objective(kind, LossConfig()), batch)
        assert all(np.isfinite(value) for value in terms.values())
        assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def test_distances_and_judgements_count_what_was_measured():
    truth = torch.zeros(1, 2, 4, 4)
    truth[0, 0, :2] = torch.nan
    fill = torch.full((1, 1, 1), -1.0)
    batch = Batch.with_gaps(torch.zeros(1, 2, 4, 4), truth, fill, fill)
    made = torch.zeros(1, 2, 4, 4)
    made[0, 0, :2] = 100  # where nothing was measured
    made[0, 1, 3] = 1
    assert float(batch.distance("b", made)) == pytest.approx(4 / 24)
    within = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    within[0, 0, 3] = False
    assert float(batch.distance("b", made, batch.gaps.measured["b"] & within)) == 0
    logits = torch.tensor([[[[3.0, 1.0], [1.0, 1.0]]]])
    seen = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert float(adversarial_loss(logits, real=True, form="least-squares", seen=seen)) == 1
    seen[..., :4, :4] = False  # the first patch's place
    assert float(adversarial_loss(logits, real=True, form="least-squares", seen=seen)) == 0


# Files


def identity(preparation, channels=2, dims=2):
    """A translator whose network is one of random weights; what comes of gaps is none of them."""
    torch.manual_seed(0)
    net = RevGenerator(dims, channels, channels, width=4, depth=1, norm="none", downsamplings=1)
    return Translator(net, preparation)


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
@pytest.mark.parametrize(("dtype", "nodata"), [("float32", None), ("int16", -9999), ("uint16", 7)])
@pytest.mark.parametrize("made", ["float32", "int16", "uint8"])
def test_nodata_stays_nodata(tmp_path, suffix, dtype, nodata, made):
    values, header = with_gaps(pattern(2) * 1000 + 500, dtype, nodata)
    if suffix == ".npy" and nodata is not None:
        pytest.skip(".npy has no place for it")
    write(tmp_path / f"x{suffix}", values, header)
    preparation = Preparation(Intensity(500, 1500, dtype=dtype), Intensity(10, 90, dtype=made))
    translator = identity(preparation)
    translator.translate_file(tmp_path / f"x{suffix}", tmp_path / f"y{suffix}", "AtoB")
    scan = read(tmp_path / f"y{suffix}", 2)
    assert scan.dtype == made
    wanted = nodata_for(np.dtype(made), nodata)
    gaps = missing_in(scan.values, wanted)
    nowhere = np.zeros(values.shape[1:], bool)
    nowhere[:12, :20] = True
    assert np.array_equal(gaps.all(axis=0), nowhere)  # and not where one channel alone was missing
    if suffix == ".tif":
        assert scan.nodata == wanted


@pytest.mark.parametrize("windows", [None, Windows(16)])
@pytest.mark.parametrize(("made", "nodata"), [("uint8", 0), ("uint8", 255), ("int16", -4)])
def test_what_was_measured_is_never_translated_to_the_value_that_means_missing(
    tmp_path, windows, made, nodata
):
    values = (pattern(2) * 200 + 20).astype(made)
    values[:, :12, :20] = nodata
    dtype = np.dtype(made)
    header = Header(2, values.shape[1:], dtype, nodata=float(nodata))
    write(tmp_path / "x.tif", values, header)
    # All translations are the value itself: their range is a thousandth around it.
    around = Intensity(nodata - 1e-3, nodata + 1e-3, dtype=made)
    translator = identity(Preparation(Intensity(0, 250, dtype=made), around))
    translator.windows = windows
    translator.translate_file(tmp_path / "x.tif", tmp_path / "y.tif", "AtoB")
    scan = read(tmp_path / "y.tif", 2)
    missing = np.zeros(values.shape[1:], bool)
    missing[:12, :20] = True
    assert np.array_equal((scan.values == nodata).all(axis=0), missing)
    assert np.array_equal((scan.values == nodata).any(axis=0), missing)
    assert set(np.unique(scan.values[:, ~missing])) == {nodata + (1 if nodata < 255 else -1)}


def test_a_nodata_that_the_type_cannot_hold_is_nan_and_the_file_says_so(tmp_path):
    values = pattern().astype(np.float64)
    values[:, :4, :5] = -1.7976931348623157e308
    header = Header(1, values.shape[1:], values.dtype, nodata=-1.7976931348623157e308)
    write(tmp_path / "x.tif", values, header)
    mapping = Intensity(0, 1, dtype="float32")
    translator = identity(Preparation(mapping, mapping), channels=1)
    translator.translate_file(tmp_path / "x.tif", tmp_path / "y.tif", "AtoB")
    scan = read(tmp_path / "y.tif", 2)
    assert np.isnan(scan.nodata)
    assert np.array_equal(np.isnan(scan.values), values < 0)


def test_scaled_images_keep_what_photos_have_beside_their_pixels(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.fromarray(np.moveaxis((pattern(3) * 255).astype(np.uint8), 0, -1))
    picture.save(tmp_path / "x.png", icc_profile=profile, dpi=(300, 300))
    save_generator(RevGenerator(2, 3, 3, width=2, depth=1), tmp_path / "model")
    names = [str(tmp_path / name) for name in ("model", "x.png", "y.png")]
    assert main(["translate", *names, "--resize=20"]) == 0
    with Image.open(tmp_path / "y.png") as made:
        assert made.size == (22, 20)
        assert made.info["icc_profile"] == profile
        assert made.info["dpi"] == pytest.approx((150, 150), rel=1e-3)  # stored per metre


@pytest.mark.parametrize("windows", [None, Windows(16)])
def test_fractions_without_gaps_become_integers_of_which_none_means_missing(tmp_path, windows):
    # OME-TIFF has no place for such a value, and refuses it.
    values = pattern(2).astype(np.float32)
    write(tmp_path / "x.ome.tif", values, Header(2, values.shape[1:], values.dtype))
    translator = identity(Preparation(Intensity(0, 1, dtype="float32"), TypeRange("uint8")))
    translator.windows = windows
    translator.translate_file(tmp_path / "x.ome.tif", tmp_path / "y.ome.tif", "AtoB")
    scan = read(tmp_path / "y.ome.tif", 2)
    assert (scan.dtype, scan.nodata) == (np.uint8, None)


def test_gaps_of_volumes_stay_on_their_own_grid(tmp_path):
    values = pattern(size=(12, 13, 14)).astype(np.float32) * 100
    values[:, :4, :5] = np.nan
    affine = np.diag([-1.0, 1, 1, 1])
    nibabel.save(nibabel.Nifti1Image(values[0], affine), tmp_path / "x.nii.gz")
    mapping = Intensity(0, 100, dtype="int16")
    preparation = Preparation(mapping, mapping, Grid("RAS", (1.0, 1.0, 1.5)))
    translator = identity(preparation, channels=1, dims=3)
    translator.translate_file(tmp_path / "x.nii.gz", tmp_path / "y.nii.gz", "AtoB")
    made = np.asanyarray(nibabel.load(tmp_path / "y.nii.gz").dataobj)
    assert made.dtype == np.int16
    assert np.array_equal(made == np.iinfo(np.int16).min, np.isnan(values[0]))


LAYOUTS = {
    "planes": {"planarconfig": "separate", "photometric": "minisblack", "compression": "zlib"},
    "side by side": {"planarconfig": "contig", "photometric": "minisblack", "tile": (16, 16)},
    "pages": {"photometric": "minisblack", "compression": "lzw"},
    "rgb": {"planarconfig": "contig", "photometric": "rgb", "compression": "zstd"},
    "twelve bits": {"planarconfig": "contig", "photometric": "minisblack", "bitspersample": 12},
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_tiff_is_written_back_in_its_layout_and_type(tmp_path, name, dtype):
    options = LAYOUTS[name]
    if "bitspersample" in options and dtype != "uint16":
        pytest.skip("fractions have no fewer bits")
    channels = 3 if name == "rgb" else 7
    values = (pattern(channels, size=(31, 33)) * 4000).astype(dtype)
    last = options.get("planarconfig") == "contig"
    pixels = np.moveaxis(values, 0, -1) if last else values
    tifffile.imwrite(tmp_path / "x.tif", pixels, metadata=None, **options)
    scan = read(tmp_path / "x.tif", 2)
    np.testing.assert_array_equal(scan.values, values)
    write(tmp_path / "y.tif", scan.values[:, ::-1], scan.header)
    with tifffile.TiffFile(tmp_path / "x.tif") as one, tifffile.TiffFile(tmp_path / "y.tif") as two:
        for kept in ("planarconfig", "photometric", "compression", "bitspersample", "dtype"):
            assert getattr(two.pages.first, kept) == getattr(one.pages.first, kept)
        assert two.pages.first.is_tiled == one.pages.first.is_tiled
        assert len(two.pages) == len(one.pages)
        stored = two.asarray()
    np.testing.assert_array_equal(np.moveaxis(stored, -1, 0) if last else stored, values[:, ::-1])


def test_arrays_are_images_whichever_axis_has_their_channels(tmp_path):
    values = pattern(7, size=(24, 20)).astype(np.float16)
    for array, axis in ((values, 0), (np.moveaxis(values, 0, -1), -1), (values[0], None)):
        np.save(tmp_path / "x.npy", array)
        scan = read(tmp_path / "x.npy", 2)
        expected = values if axis is not None else values[:1]
        np.testing.assert_array_equal(scan.values, expected)
        write(tmp_path / "y.npy", scan.values, scan.header)
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), array)
        tifffile.imwrite(tmp_path / "x.tif", array)  # as pages, which nothing explains
        np.testing.assert_array_equal(read(tmp_path / "x.tif", 2).values, expected)
    assert [channel_axis(shape) for shape in ((64, 64, 200), (200, 64, 64), (5, 8, 9))] == [2, 0, 0]


@pytest.mark.parametrize(
    ("name", "channels", "dtype", "expected"),
    [
        ("x.jpg", 7, "uint16", "x.tif"),
        ("x.png", 1, "float32", "x.tif"),
        ("x.jpg", 4, "uint8", "x.png"),
        ("x.tif", 7, "float64", "x.tif"),
    ],
)
def test_translations_in_a_folder_go_to_a_format_that_holds_them(name, channels, dtype, expected):
    made = Header(channels, (1, 1), np.dtype(dtype))
    (output,) = output_paths([ScanRef(Path(name))], Path("out"), made, Console())
    assert output == Path("out") / expected


# From end to end


@pytest.mark.filterwarnings("ignore::revgan.errors.Notice")
@pytest.mark.parametrize("objective", ["paired", "unpaired"])
def test_seven_bands_go_all_the_way(tmp_path, objective, capsys):
    def scans(domain, number):
        if domain == "A":
            return with_gaps(pattern(7, seed=number) * 4000, "uint16", 0)
        return with_gaps(pattern(2, seed=number) * 20 - 30, "float32", None)

    root = write_set(tmp_path / "set", scans)
    options = [f"--objective={objective}", "--losses.identity_weight=0", "--training.steps=2"]
    options += ["--training.sample_every=2", "--training.validate_every=2"]
    small = [option for option in SMALL if "validate" not in option]
    assert main(["train", str(root), "--run", str(tmp_path / "run"), *options, *small]) == 0
    assert main(["translate", str(tmp_path / "run"), str(root / "testB"), str(tmp_path / "out"),
                 "--direction", "BtoA"]) == 0  # fmt: skip
    scan = read(tmp_path / "out" / "0.tif", 2)
    assert (scan.values.shape, scan.dtype) == ((7, 40, 44), np.uint16)
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["test"]
    results = read(tmp_path / "run" / "results" / "AtoB" / "1.tif", 2)
    assert (results.values.shape, results.dtype) == ((2, 40, 44), np.float32)
    # A's gap is one of its translation, by A's own mark where the type of B has it.
    assert missing_in(results.values, results.nodata)[:, :12, :20].all()
