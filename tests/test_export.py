"""Exported files compute what the model computes, and say what they take."""

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from revgan.cli import main
from revgan.data.formats import Scan, read
from revgan.data.intensity import IntensityConfig, PerScan
from revgan.data.mappings import Intensity, TypeRange
from revgan.data.preparation import Preparation
from revgan.directions import DIRECTIONS
from revgan.errors import UserError
from revgan.exporting import ExportOptions, checking, export_model, files, graph
from revgan.inference import Translator, Windows
from revgan.inference.parts import describe
from revgan.networks import RevGenerator, build_generator
from revgan.networks.pretrained import save_generator
from revgan.options.runs import stored_config
from revgan.reversible import AdditiveCoupling, ReversibleSequential
from revgan.training.config import preset_names, preset_path

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLOSE = 1e-4
"""Sums in another order tip numbers on the grid of 2**-16, and norms amplify that."""

DOCS = Path(__file__).parent.parent / "docs"

SMALL = {"width": 4, "depth": 1, "downsamplings": 1, "first_kernel": 3, "memory": "naive"}
OFF = (slice(None), 0, 0)
"""Where nothing was measured, of a volume."""


def translator(spatial_dims, channels, preparation=None, **fields):
    torch.manual_seed(0)
    fields = SMALL | {"init": "kaiming"} | fields  # so that outputs have a range
    return Translator(RevGenerator(spatial_dims, *channels, **fields), preparation)


def run(path, x):
    """As a user without revgan would."""
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {"input": x})[0]


@pytest.fixture(scope="module")
def photos():
    return translator(2, (3, 3))


@pytest.fixture(scope="module")
def of_photos(photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "model.onnx"
    real = np.random.default_rng(1).integers(0, 256, (3, 30, 40), np.uint8)
    sample = Scan(real, None, None, real.dtype)
    return path, export_model(photos, path, "BtoA", ExportOptions(), [sample])


VOLUMES = Preparation(Intensity((0.0, -1000.0), (10.0, 2000.0)), Intensity(5, 25, clip=False))


@pytest.fixture(scope="module")
def volumes():
    thin = {"downsamplings": (1, 1, 0), "last_kernel": 1}  # along the last axis
    return translator(3, (2, 1), VOLUMES, norm="none", identity_start=True, **thin)


@pytest.fixture(scope="module")
def of_volumes(volumes, tmp_path_factory):
    path = tmp_path_factory.mktemp("volumes") / "AtoB.onnx"
    export_model(volumes, path, "AtoB", ExportOptions(values="file"))
    return path


def test_an_onnx_file_takes_batches_of_any_size(photos, of_photos):
    path, difference = of_photos
    assert difference.largest < CLOSE
    assert difference.count == 1
    for sizes in ((32, 32), (31, 46), (64, 21)):
        batch = torch.rand(2, 3, *sizes) * 2 - 1
        expected = torch.stack([photos(x, "BtoA") for x in batch]).numpy()
        np.testing.assert_allclose(run(path, batch.numpy()), expected, rtol=0, atol=2 * CLOSE)


def small_presets():
    """The presets' generators at small widths, each once, by the first preset that has it.

    Directions take turns, in 2D and in 3D: what differs between them is the way through the core,
    which all have in common.
    """
    found = {}
    for preset in preset_names():
        config = stored_config(preset_path(preset))
        small = {"depth": 1}
        if config.generator.model == "unet":
            small = {"downsamplings": 3, "dropout": 0.0}
        generator = replace(
            config.generator, width=4, memory="naive", init="kaiming", stored_blocks=0, **small
        )
        found.setdefault((generator, config.data.spatial_dims), preset)
    ways = {dims: cycle(DIRECTIONS) for dims in (2, 3)}
    return [
        pytest.param(config, dims, next(ways[dims]), id=preset)
        for (config, dims), preset in found.items()
    ]


# About 3 s for each of them: PyTorch's exporter, and four sizes in both programs.
@pytest.mark.parametrize(("config", "dims", "direction"), small_presets())
def test_every_presets_networks_compute_the_same_in_onnx(tmp_path, config, dims, direction):
    torch.manual_seed(0)
    model = Translator(build_generator(config, dims, 2, 2 if config.skip else 1))
    path = tmp_path / "model.onnx"
    assert export_model(model, path, direction, ExportOptions()).largest < CLOSE  # of three sizes
    least = model.generator.config.min_size
    sizes = [max(least, 8) + 13, max(least, 20) + 26, max(least, 12) + 13][:dims]
    x = torch.rand(1, model.channels(direction)[0], *sizes) * 2 - 1
    expected = model(x, direction).numpy()
    spread = max(2.0, np.ptp(expected))
    np.testing.assert_allclose(run(path, x.numpy()), expected, rtol=0, atol=CLOSE * spread)


def test_a_file_says_what_it_takes(of_photos):
    model = onnx.load(of_photos[0])
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["batch", 3, "height", "width"]] * 2
    said = {each.key: each.value for each in model.metadata_props}
    assert said["direction"] == "BtoA"
    assert [int(said[f"{end}_channels"]) for end in ("input", "output")] == [3, 3]
    assert ast.literal_eval(said["input_range"]) == [-1, 1]
    assert (said["size_multiples"], said["min_sizes"]) == ("[2, 2]", "[4, 4]")


def test_the_script_of_the_docs_needs_no_revgan(of_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(of_photos[0], "model.onnx")
    photo = np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8)
    Image.fromarray(photo).save("photo.png")
    (script,) = re.findall(r"```python\n(.*?)```", (DOCS / "export.md").read_text("utf-8"), re.S)
    assert "revgan" not in script
    exec(script, {})
    expected = Translator.from_pretrained("model.onnx")(photo, "BtoA")
    assert np.array_equal(np.asarray(Image.open("translated.png")), expected)


def test_values_of_files_go_in_and_come_out(volumes, of_volumes):
    draws = np.random.default_rng(0)
    for shape in ((9, 8, 12), (11, 14, 10), (16, 9, 9)):
        scan = draws.uniform(-2, 12, (2, *shape)).astype(np.float32)
        scan[1] *= 200
        scan[OFF] = np.nan
        values = run(of_volumes, scan[None])[0]
        expected = volumes.translate_scan(Scan(scan, None, None, scan.dtype), "AtoB")
        known = np.isfinite(expected)
        assert known.sum() == known.size - shape[-1]  # elsewhere, files get NaN
        np.testing.assert_allclose(values[known], expected[known], rtol=0, atol=20 * CLOSE)


def test_a_file_translates_as_its_model_does_in_windows_too(volumes, of_volumes):
    windows = Windows(24, overlap=0.9, statistics="approximate")
    exported = Translator.from_pretrained(of_volumes.parent, windows=windows)
    assert exported.generator.directions == ("AtoB",)
    scan = np.random.default_rng(0).uniform(0, 2000, (2, 9, 10, 31)).astype(np.float32)
    there = volumes.translate_scan(Scan(scan, None, None, scan.dtype), "AtoB")
    here = exported.translate_scan(Scan(scan, None, None, scan.dtype), "AtoB")
    np.testing.assert_allclose(here, there, rtol=0, atol=20 * CLOSE)


def test_windows_of_an_exported_norm_are_said_to_differ(of_photos):
    exported = Translator.from_pretrained(of_photos[0])
    assert "each normalised by itself" in describe(exported.generator, Windows(32))


def test_rounding_to_the_grid_is_exported_bit_for_bit(tmp_path):
    class Round(torch.nn.Module):
        def __init__(self):
            super().__init__()
            f, g = (torch.nn.Threshold(0.3, 0.1) for _ in "fg")
            self.core = ReversibleSequential(AdditiveCoupling(f, g))

        def forward(self, x):
            return self.core.inverse(self.core(x))

    x = torch.randn(2, 4, 64, 64) * torch.tensor([1e-6, 0.1, 1, 60]).view(4, 1, 1)
    with torch.no_grad(), graph.quiet():
        program = torch.export.export(Round(), (x,))
        torch.onnx.export(program, dynamo=True).save(tmp_path / "round.onnx")
        expected = Round()(x)
    session = onnxruntime.InferenceSession(tmp_path / "round.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.array_equal(found, expected.numpy())
    assert not np.array_equal(found, x.numpy())


def test_the_command_writes_a_file_that_runs_in_pytorch(photos, tmp_path, capsys):
    save_generator(photos.generator, tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), str(tmp_path / "model.pt2")]) == 0
    assert "model.pt2: AtoB, within " in capsys.readouterr().out
    metadata = {"direction": "", "size_multiples": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=metadata)
    assert (metadata["direction"], metadata["size_multiples"]) == ("AtoB", "[2, 2]")
    x = torch.rand(1, 3, 26, 38) * 2 - 1
    torch.testing.assert_close(program.module()(x), photos(x), rtol=0, atol=2 * CLOSE)


def test_a_file_that_differs_is_not_kept(photos, tmp_path, monkeypatch):
    tolerance = files.TOLERANCES["float16"]
    monkeypatch.setitem(files.TOLERANCES, "float16", CLOSE)
    options = ExportOptions("pt2", precision="float16")
    with pytest.raises(UserError, match=r"model\.pt2 was not written, as it differs") as error:
        export_model(photos, tmp_path / "model.pt2", "AtoB", options)
    assert not list(tmp_path.iterdir())
    (difference,) = re.findall(r"by (\d\S*) of", str(error.value))
    assert CLOSE < float(difference) < tolerance
    assert next(photos.generator.parameters()).dtype == torch.float32  # as it was


def test_what_no_graph_can_hold_is_refused(photos, tmp_path, monkeypatch):
    per_scan = PerScan(IntensityConfig("zscore-per-scan"), Intensity(0, 1))
    model = translator(2, (1, 1), Preparation(per_scan, TypeRange()))
    path = tmp_path / "model.onnx"
    with pytest.raises(UserError, match="each scan has a range of intensities of its own"):
        export_model(model, path, "AtoB", ExportOptions(values="file"))
    model = translator(2, (1, 1), core="ode", ode_solver="dopri5")
    with pytest.raises(UserError, match="dopri5, chooses its steps by the data"):
        export_model(model, path, "AtoB", ExportOptions())
    monkeypatch.setattr("revgan.errors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'revgan\[export\]'"):
        export_model(photos, path, "AtoB", ExportOptions())


def changed(of_photos, path, **metadata):
    model = onnx.load(of_photos[0])
    said = {each.key: each.value for each in model.metadata_props} | metadata
    onnx.helper.set_model_props(model, {key: value for key, value in said.items() if value})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"direction": ""}, "has no direction among its metadata"),
        ({"values": "odd"}, "translates odd values"),
        ({"config.yaml": "model: [" * 50}, "config.yaml"),
        ({"config.yaml": "{model: RevGenerator, format: 1, width: 10000000}"}, "width"),
        ({"intensity.yaml": "a: &x [*x]"}, "alias"),
    ],
)
def test_files_of_others_end_in_one_sentence(of_photos, tmp_path, metadata, message):
    path = changed(of_photos, tmp_path / "other.onnx", **metadata)
    with pytest.raises(UserError, match=message) as error:
        Translator.from_pretrained(path)
    assert "\n" not in str(error.value)


def with_other_graph(of_photos, path, change):
    model = onnx.load(of_photos[0])
    change(model)
    onnx.save(model, path)
    return path


def takes_seven(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7


def takes_a_vector(model):
    del model.graph.input[0].type.tensor_type.shape.dim[1:]


def returns_twice(model):
    (output,) = model.graph.output
    model.graph.node.append(onnx.helper.make_node("Identity", [output.name], ["again"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("again", 1, [None] * 4))


def grows(model):
    """Demands 12 TB for any image."""
    much = [1, 3, 10**6, 10**6]
    sizes = onnx.helper.make_tensor("much", onnx.TensorProto.INT64, [4], much)
    model.graph.initializer.append(sizes)
    (given,) = model.graph.input
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == given.name:
                node.input[place] = "grown"
    model.graph.node.insert(0, onnx.helper.make_node("Expand", [given.name, "much"], ["grown"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (takes_seven, r"it takes \[.*7.*\], not 3 channels|INVALID_GRAPH|Fail"),
        (takes_a_vector, "it takes .*, not 3 channels|can't be run|onnxruntime can run"),
        (returns_twice, "it returns .* and .*, not 3 channels"),
        (grows, "can't be run on values of size"),
    ],
)
def test_a_graph_that_is_not_what_its_metadata_say_ends_in_a_sentence(
    of_photos, tmp_path, change, message
):
    path = with_other_graph(of_photos, tmp_path / "other.onnx", change)
    with pytest.raises(UserError, match=message) as error:
        Translator.from_pretrained(path)(np.zeros((20, 24, 3), np.uint8), "BtoA")
    assert "\n" not in str(error.value)


def test_a_sample_of_other_channels_is_refused(photos):
    label = SimpleNamespace(direction="AtoB")
    scan = Scan(np.zeros((24, 20, 20), np.uint8), None, None, np.dtype(np.uint8))
    with pytest.raises(UserError, match="has 24 channels, but for AtoB the model takes 3; give"):
        checking._unit(photos, label, scan)


def test_two_directions_must_be_of_one_model(of_photos, tmp_path):
    changed(of_photos, tmp_path / "BtoA.onnx")
    architecture = "{model: RevGenerator, format: 1, width: 8}"
    changed(of_photos, tmp_path / "AtoB.onnx", direction="AtoB", **{"config.yaml": architecture})
    with pytest.raises(UserError, match="of different models"):
        Translator.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.txt",), "ends in .onnx or .pt2"),
        (("model.onnx", "--format", "pt2"), "ends in .pt2"),
        (("model.onnx", "--direction", "both"), "a folder for two files"),
    ],
)
def test_the_command_refuses_names_that_do_not_fit(capsys, arguments, message):
    assert main(["export", "run", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_monai_runs_a_bundle(tmp_path):
    for package in ("fire", "ignite"):
        pytest.importorskip(package)
    before = DOCS.parent / "tests" / "fixtures" / "before" / "volumes"
    bundle, volume = tmp_path / "bundle", before / "data" / "testA" / "0.nii.gz"
    assert main(["export", str(before / "run"), str(bundle), "--format", "bundle"]) == 0
    (bundle / "input").mkdir()
    shutil.copy(volume, bundle / "input")
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(bundle)]
    config = bundle / "configs" / "inference.json"
    subprocess.run([*command, "--config_file", str(config)], check=True, capture_output=True)
    Translator.from_pretrained(before / "run").translate_file(volume, tmp_path / "b.nii", "AtoB")
    found, expected = read(bundle / "output" / "0_AtoB.nii.gz"), read(tmp_path / "b.nii")
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-4)
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["network_data_format"]["inputs"]["image"]["num_channels"] == 1


def test_bundles_are_for_volumes_and_new_folders(photos, tmp_path, capsys):
    save_generator(photos.generator, tmp_path / "model")
    for folder, message in (
        (tmp_path / "new", "for models of volumes"),
        (tmp_path, "a new folder"),
    ):
        assert main(["export", str(tmp_path / "model"), str(folder), "--format", "bundle"])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
