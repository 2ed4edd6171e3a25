"""Volumes through a trained model: units, places in space, windows, memory, evaluation."""

import gc
import tracemalloc
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

from revgan import Translator
from revgan.cli import main
from revgan.data.datasets.brain import T1
from revgan.data.formats import Scan
from revgan.data.mappings import Intensity
from revgan.data.preparation import PREPARATION, Grid, Preparation
from revgan.inference import Windows, planning
from revgan.inference.restoring import restore
from revgan.memory import measure_step
from revgan.networks import GeneratorConfig, TwoWayGenerator, build_generator
from revgan.networks.pretrained import save_generator
from scans import read_volume, write_image, write_volume

ODD = (61, 73, 59)
TINY = GeneratorConfig(
    width=2, depth=1, downsamplings=1, first_kernel=3, last_kernel=1, memory="naive"
)
CT = Intensity(-1000, 2000)
MR = Intensity(0, 500)


def rotation():
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    return matrix * np.linalg.det(matrix)


def affine(directions, zooms=(1, 1, 1)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(directions) * zooms
    matrix[:3, 3] = (-12.25, 33.5, -70)
    return matrix


AFFINES = {
    "anisotropic": affine(np.eye(3), (0.9, 1.1, 3.3)),
    "LPS": affine(np.diag([-1, -1, 1])),
    "ASL": affine(np.eye(3)[[2, 0, 1]] * [1, 1, -1], (0.5, 0.7, 1.1)),
    "oblique": affine(rotation(), (0.9375, 1.25, 4.8)),
}


class Same(TwoWayGenerator):
    """Stands in for a network that has learnt to change nothing."""

    model = "revgan"

    def _add_layers(self):
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x, direction="AtoB"):
        return x


SAME = Same.from_config(replace(TINY, norm="none"), 3, 1, 1)


def network(channels=(1, 1), spatial_dims=3, **changes):
    return build_generator(replace(TINY, **changes), spatial_dims, *channels).requires_grad_(False)


def preparation(**grid):
    return Preparation(CT, MR, Grid(**grid))


def make_model(folder, prepared=None, **options):
    save_generator(network(**options), folder)
    if prepared is not None:
        prepared.write(folder)
    return folder


def scan(shape=(13, 11, 9), channels=1, place=None, dtype="int16"):
    """A volume as read, with values of CT."""
    values = np.random.default_rng(0).integers(-1000, 2000, (channels, *shape))
    place = AFFINES["oblique"] if place is None else place
    return Scan(values.astype(np.float32), place, None, np.dtype(dtype))


def save(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = scan(**options)
    write_volume(path, volume.values, volume)
    return path


def translate(*arguments):
    return main(["translate", *map(str, arguments)])


def refusal(capsys, *arguments, status=1):
    capsys.readouterr()
    assert translate(*arguments) == status
    captured = capsys.readouterr()
    assert captured.err.startswith("revgan: ")
    assert captured.err.count("\n") == 1
    return captured.err.strip()


def test_tensors_keep_their_batch_axis():
    translator = Translator(network(channels=(1, 2)))
    assert translator(torch.zeros(1, 9, 11, 13)).shape == (2, 9, 11, 13)
    assert translator(torch.zeros(3, 2, 9, 11, 13), "BtoA").shape == (3, 1, 9, 11, 13)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_arrays_are_in_the_units_of_the_files(direction):
    translator = Translator(network(), preparation())
    before, after = (CT, MR) if direction == "AtoB" else (MR, CT)
    unit = torch.rand(1, 9, 11, 13) * 2 - 1
    values = before.from_unit(unit.numpy())
    translated = translator(values, direction)
    assert (translated.dtype, translated.shape) == (np.float32, (1, 9, 11, 13))
    expected = after.from_unit(translator(unit, direction).numpy())
    # Intensities come to [-1, 1] with float32's rounding, of up to 3e-7 for these units.
    assert np.allclose(translated, expected, rtol=0, atol=1e-5 * (after.high - after.low))
    assert np.array_equal(translator(values[0], direction), translated)


def test_arrays_of_integers_are_understood():
    translator = Translator(network(), preparation())
    values = np.arange(-500, 500, dtype=np.int16).reshape(10, 10, 10)
    assert np.array_equal(translator(values), translator(values.astype(np.float32)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.zeros(1, 8, 8), "3 spatial sizes"),
        (torch.zeros(2, 8, 8, 8), "AtoB takes"),
        (np.zeros((8, 8), np.float32), r"shape \(X, Y, Z\)"),
        (np.zeros((2, 8, 8, 8), np.float32), "AtoB takes"),
    ],
)
def test_what_is_no_volume_is_refused(given, expected):
    with pytest.raises(ValueError, match=expected):
        Translator(network(), preparation())(given)


def test_a_model_of_images_refuses_volumes():
    with pytest.raises(ValueError, match="2 spatial sizes"):
        Translator(network(spatial_dims=2))(torch.zeros(1, 1, 8, 8, 8))


@pytest.mark.parametrize("place", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("orientation", [None, "RAS", "LPI", "SAL"])
def test_turning_to_the_models_orientation_and_back_changes_nothing(place, orientation):
    volume = scan(place=place)
    assert np.array_equal(restore(Grid(orientation).bring(volume), volume.header), volume.values)


@pytest.mark.parametrize("place", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.5, 2.0)])
def test_resampling_there_and_back_keeps_places(place, spacing):
    volume = scan((25, 23, 21), place=place)
    world = np.einsum("ij,jxyz->ixyz", place[:3, :3], np.indices(volume.values.shape[1:]))
    slope = np.array([0.3, -0.7, 0.1])
    # Interpolation keeps what rises evenly in space: any other value would be of another place.
    volume = replace(volume, values=np.tensordot(slope, world, 1)[np.newaxis].astype(np.float32))
    restored = restore(Grid("RAS", spacing).bring(volume), volume.header)
    inside = (slice(None), *[slice(5, -5)] * 3)  # beyond the outermost samples, all is even
    # Values of up to 100 are interpolated twice in float32, at places of float32.
    assert np.allclose(restored[inside], volume.values[inside], rtol=0, atol=1e-4)


def assert_same_place(before, after):
    """Of two NIfTI files."""
    assert after.shape == before.shape
    assert np.array_equal(after.affine, before.affine)
    for form in ("sform", "qform"):
        matrix_before, code_before = getattr(before.header, f"get_{form}")(coded=True)
        matrix_after, code_after = getattr(after.header, f"get_{form}")(coded=True)
        assert code_after == code_before
        if code_before:
            assert np.array_equal(matrix_after, matrix_before)
    assert after.header.get_zooms() == before.header.get_zooms()
    assert after.header.get_xyzt_units() == before.header.get_xyzt_units()


@pytest.mark.parametrize("place", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("grid", [{}, {"orientation": "RAS"}], ids=["as it is", "turned"])
def test_a_volume_comes_back_where_it_was(tmp_path, place, grid):
    source = save(tmp_path / "x.nii.gz", shape=ODD, place=place)
    translator = Translator(SAME, Preparation(CT, CT, Grid(**grid)))
    translator.translate_file(source, tmp_path / "y.nii.gz", "AtoB")
    before, after = (nibabel.load(tmp_path / name) for name in ("x.nii.gz", "y.nii.gz"))
    assert_same_place(before, after)
    assert after.get_data_dtype() == before.get_data_dtype()
    assert np.array_equal(after.dataobj, before.dataobj)


def test_the_mni152_volume_comes_back_where_it_was(tmp_path):
    spec = find_spec("nilearn")
    if spec is None:
        pytest.skip("the volume is in the package nilearn")
    source = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / T1
    eight_bits = Intensity(0, 255)
    prepared = Preparation(eight_bits, eight_bits, Grid("LPI"))
    Translator(SAME, prepared).translate_file(source, tmp_path / "y.nii.gz", "AtoB")
    before, after = (nibabel.load(path) for path in (source, tmp_path / "y.nii.gz"))
    assert_same_place(before, after)
    # Through [-1, 1] and back, float32 rounds by 255 / 2**23, at most.
    assert np.allclose(after.dataobj, before.dataobj, rtol=0, atol=1e-4)


def test_sform_and_qform_that_differ_both_stay(tmp_path):
    image = nibabel.Nifti1Image(scan(shape=ODD).values[0].astype(np.int16), None)
    image.set_sform(AFFINES["oblique"], code="scanner")
    image.set_qform(AFFINES["LPS"], code="aligned")
    nibabel.save(image, tmp_path / "x.nii")
    translator = Translator(network(), preparation(orientation="RAS", spacing=(3.0, 3.0, 3.0)))
    translator.translate_file(tmp_path / "x.nii", tmp_path / "y.nii", "AtoB")
    before, after = (nibabel.load(tmp_path / name).header for name in ("x.nii", "y.nii"))
    assert np.array_equal(after.get_sform(), before.get_sform())
    assert np.array_equal(after.get_qform(), before.get_qform())
    assert (after["sform_code"], after["qform_code"]) == (1, 2)
    assert np.array_equal(after["dim"], before["dim"])


@pytest.mark.parametrize("channels", [(1, 2), (2, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".npy"])
def test_each_format_comes_back_as_itself(tmp_path, suffix, channels):
    model = make_model(tmp_path / "model", preparation(), channels=channels)
    source = save(tmp_path / f"x{suffix}", channels=channels[0])
    assert translate(model, source, tmp_path / f"y{suffix}") == 0
    before, after = (read_volume(tmp_path / f"{name}{suffix}") for name in "xy")
    assert after.values.shape == (channels[1], *before.values.shape[1:])
    # MetaImage writes affines as text of 17 digits.
    assert np.allclose(after.affine, before.affine, rtol=0, atol=1e-12)
    expected = Translator.from_pretrained(model).translate_scan(before, "AtoB")
    # Whole numbers are stored, as in the source, where values spread over enough of them.
    assert np.allclose(after.values, expected, rtol=0, atol=0.5)


def test_a_folder_of_volumes_becomes_a_folder_of_volumes(capsys, tmp_path):
    model = make_model(tmp_path / "run" / "model", preparation())
    names = {"a.nii.gz", "b.nii", "c.b.nrrd", "d.npy"}
    for name in names:
        save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").touch()
    assert translate(tmp_path / "run", tmp_path / "in", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert "Wrote 4 files" in capsys.readouterr().out
    assert translate(model, tmp_path / "in" / "b.nii", tmp_path / "out", "--direction=BtoA") == 0


def test_wrong_files_are_refused_in_one_sentence(capsys, tmp_path):
    volumes = make_model(tmp_path / "volumes", preparation())
    images = make_model(tmp_path / "images", spatial_dims=2)
    scanned, double = save(tmp_path / "x.nii.gz"), save(tmp_path / "double.nii", channels=2)
    picture = tmp_path / "in" / "x.png"
    picture.parent.mkdir()
    write_image(picture, np.zeros((9, 9, 1), np.uint8))
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(scanned.read_bytes()[:-200])
    for model, source, target, expected in (
        (volumes, picture, "y.nii", "x.png is not a volume by its suffix, which is what the model"),
        (images, scanned, "y.png", "x.nii.gz is not an image by its suffix, which is what the"),
        (volumes, picture.parent, "out", "holds images such as x.png"),
        (volumes, scanned, "y.png", "neither a folder nor a volume by its suffix"),
        (volumes, tmp_path / "no.nii", "y.nii", "does not exist"),
        (volumes, double, "y.nii", "has 2 channels, but for AtoB the model takes volumes with 1"),
        (volumes, damaged, "y.nii", "damaged.nii.gz cannot be read"),
        (volumes, scanned, "x.nii.gz", "both input and output"),
    ):
        assert expected in refusal(capsys, model, source, tmp_path / target)
        assert not (tmp_path / "y.nii").exists()


def test_a_model_without_its_intensities_is_refused(capsys, tmp_path):
    model = make_model(tmp_path / "model")
    message = refusal(capsys, model, save(tmp_path / "x.nii"), tmp_path / "y.nii")
    assert f"the model has no {PREPARATION}" in message
    with pytest.raises(ValueError, match="takes only tensors"):
        Translator.from_pretrained(model)(np.zeros((8, 8, 8), np.float32))


@pytest.mark.parametrize("window", ["16", "auto", "whole"])
def test_large_volumes_are_cut_as_asked(capsys, monkeypatch, tmp_path, window):
    model = make_model(tmp_path / "model", preparation())
    source = save(tmp_path / "x.nii.gz", shape=(40, 39, 38))
    translator = Translator.from_pretrained(model)
    whole = translator.translate_scan(read_volume(source), "AtoB")
    monkeypatch.setattr(planning, "free_budget", lambda device: 2**21)  # too few for one pass
    assert translate(model, source, tmp_path / "y.nii.gz", "--window", window) == 0
    found = read_volume(tmp_path / "y.nii.gz").values
    said = capsys.readouterr().out
    assert ("translated in parts, with the result of one pass" in said) == (window != "whole")
    # Stored as whole numbers, which parts may round to the other side.
    assert np.abs(found - np.rint(whole)).max() <= (window != "whole")
    options = ("--window=16", "--statistics=approximate")
    assert translate(model, source, tmp_path / "z.nii.gz", *options) == 0
    assert "approximate statistics, pooled over windows" in capsys.readouterr().out
    assert 1 < np.abs(read_volume(tmp_path / "z.nii.gz").values - whole).max() < 100


def test_enough_memory_makes_it_one_pass(capsys, monkeypatch, tmp_path):
    model = make_model(tmp_path / "model", preparation())
    source = save(tmp_path / "x.nii.gz", shape=(40, 39, 38))
    monkeypatch.setattr(planning, "free_budget", lambda device: 2**30)
    assert translate(model, source, tmp_path / "y.nii.gz") == 0
    assert "windows" not in capsys.readouterr().out


def test_large_images_are_cut_too(capsys, tmp_path):
    model = make_model(tmp_path / "model", spatial_dims=2)
    write_image(tmp_path / "x.png", np.zeros((50, 70, 1), np.uint8))
    assert translate(model, tmp_path / "x.png", tmp_path / "y.png", "--window=32") == 0
    assert "translated in parts, with the result of one pass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--window=15"], "must be auto, whole or, for this model, a multiple of 2 from 4 up"),
        (["--window=2"], "from 4 up, not 2"),
        (["--window=large"], "not large"),
        (["--window=16", "--overlap=1"], "--overlap must be from 0 to below 1, not 1"),
        (["--overlap=-0.5"], "--overlap must be from 0 to below 1, not -0.5"),
    ],
)
def test_wrong_windows_are_refused_before_anything_is_written(capsys, tmp_path, options, expected):
    model = make_model(tmp_path / "model", preparation())
    source = save(tmp_path / "x.nii")
    target = tmp_path / "new" / "y.nii"
    assert expected in refusal(capsys, model, source, target, *options, status=2)
    assert not (tmp_path / "new").exists()


def test_too_little_memory_for_any_window_is_said(capsys, monkeypatch, tmp_path):
    model = make_model(tmp_path / "model", preparation())
    monkeypatch.setattr(planning, "free_budget", lambda device: 1000)
    message = refusal(capsys, model, save(tmp_path / "x.nii"), tmp_path / "y.nii")
    assert "of free memory isn't enough for any window" in message


def bytes_of_arrays():
    """What NumPy's arrays hold; Python's own bookkeeping isn't counted."""
    gc.collect()
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    traces = tracemalloc.take_snapshot().filter_traces([arrays]).traces
    return sum(trace.size for trace in traces)


def test_one_volume_after_another_takes_no_more_memory(tmp_path):
    source = save(tmp_path / "x.nii", shape=(40, 40, 40))
    translator = Translator(network(), preparation(orientation="RAS"), Windows(32))

    def work():
        translator.translate_file(source, tmp_path / "y.nii", "AtoB")

    work()
    assert measure_step(work).retained == 0  # tensors
    tracemalloc.start()
    work()
    before = bytes_of_arrays()
    for _ in range(3):
        work()
    assert bytes_of_arrays() <= before
    tracemalloc.stop()
