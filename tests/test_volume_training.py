"""Training on folders of volumes, from the files to the model, and what is planned for it."""

import json
import signal
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from revgan import Translator
from revgan.cli import main
from revgan.data.config import DataConfig
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.networks.pretrained import load_generator
from revgan.options import Parser, add_run_options, run_config
from revgan.training import choosing, validation
from revgan.training.choosing import decide_memory
from revgan.training.config import LossConfig, RunConfig, RuntimeConfig, TrainingConfig
from revgan.training.plan import Domains, planned_domains
from revgan.training.runs import RunFolder
from revgan.training.session import run_training
from revgan.training.setup import make_accelerator
from test_loop import stop_after
from test_volume_sets import make_volumes, save

SHAPE = (25, 26, 27)
PAPER_3D = {"downsamplings": 0, "first_kernel": 3, "last_kernel": 1, "identity_start": True}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def configuration(folder, objective="unpaired", data=None, losses=None, **training) -> RunConfig:
    settings = {"steps": 4, "log_every": 2, "sample_every": 2, "checkpoint_every": 2}
    return RunConfig(
        objective=objective,
        data=DataConfig(path=str(folder), spatial_dims=3, crop=24, aligned=True, **(data or {})),
        generator=GeneratorConfig(width=2, depth=1, memory="lean", **PAPER_3D),
        discriminator=DiscriminatorConfig(width=2),
        losses=LossConfig(**(losses or {})),
        training=TrainingConfig(**(settings | training)),
        runtime=RuntimeConfig(device="cpu"),
    )


def run(config: RunConfig, root, **how):
    output = StringIO()
    how = {"resume": False, **how}
    outcome = run_training(config, RunFolder(root), console=Console(file=output, width=200), **how)
    return outcome, output.getvalue()


def weights(root):
    return load_file(root / "model" / "model.safetensors")


@pytest.mark.parametrize(
    ("objective", "channels", "losses"),
    [
        ("paired", (1, 1), {}),
        ("unpaired", (1, 1), {}),
        ("paired", (2, 3), {}),
        ("unpaired", (2, 1), {"identity_weight": 0}),
    ],
)
def test_a_run_on_volumes_leaves_a_model_and_pictures(tmp_path, objective, channels, losses):
    folder = make_volumes(tmp_path / "set", SHAPE, channels=channels)
    outcome, output = run(configuration(folder, objective, losses=losses), tmp_path / "run")
    assert outcome.finished
    assert "2 volumes of A, 2 of B, 2 and 2 held out" in output
    assert f"in {tmp_path / 'cache' / 'revgan' / 'scans'}, with a limit of 93.1 GiB" in output
    generator = load_generator(tmp_path / "run" / "model")
    assert generator.spatial_dims == 3
    assert (generator.in_channels, generator.out_channels) == channels
    last, best = (Translator.from_pretrained(tmp_path / "run" / name) for name in ("model", "best"))
    assert last.preparation is not None
    assert last.preparation == best.preparation
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 4
    events = EventAccumulator(str(next((tmp_path / "run" / "tensorboard").glob("**/events*"))))
    events.Reload()
    assert "AtoB: input, translation, truth, difference, round trip" in events.Tags()["images"]


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, monkeypatch, objective):
    folder = make_volumes(tmp_path / "set", SHAPE)
    config = configuration(folder, objective, data={"foreground": 0.5})
    run(config, tmp_path / "through")
    stop_after(monkeypatch, 1, signal.SIGTERM)
    outcome, _ = run(config, tmp_path / "stopped")
    assert (outcome.steps, outcome.finished) == (1, False)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))  # prepared anew
    assert run(config, tmp_path / "stopped", resume=True)[0].finished
    through, resumed = weights(tmp_path / "through"), weights(tmp_path / "stopped")
    assert all(np.array_equal(through[key], resumed[key]) for key in through)


def mapping(root):
    return yaml.safe_load((root / "model" / "intensity.yaml").read_text())


def test_the_model_folder_says_what_volumes_go_through(tmp_path):
    folder = make_volumes(tmp_path / "set", SHAPE, count=1)
    data = {"intensity_a": "range", "low_a": -1000.0, "high_a": 2000.0, "orientation": "RAS"}
    data |= {"spacing": (1.0, 1.0, 1.0), "intensity_b": "zscore"}
    run(configuration(folder, data=data, steps=1), tmp_path / "run")
    content = mapping(tmp_path / "run")
    assert content["a"] == {"low": -1000.0, "high": 2000.0, "clip": True, "dtype": "float32"}
    assert content["b"]["low"] < 0 < content["b"]["high"]
    assert (content["orientation"], content["spacing"]) == ("RAS", [1.0, 1.0, 1.0])
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]
    assert (kept["low_a"], kept["low_b"], kept["spacing"]) == (-1000.0, None, [1.0, 1.0, 1.0])


def test_a_resumed_run_keeps_the_mapping_of_its_intensities(tmp_path):
    folder = make_volumes(tmp_path / "set", SHAPE)
    run(configuration(folder, steps=1), tmp_path / "run")
    before = mapping(tmp_path / "run")
    save(folder / "trainA" / "2.nii.gz", 5000 * np.random.default_rng(0).random(SHAPE))
    run(configuration(folder, steps=2), tmp_path / "run", resume=True, accept_new_data=True)
    assert mapping(tmp_path / "run") == before


def test_pictures_during_training_show_volumes_of_the_crops_size(tmp_path, monkeypatch):
    folder = make_volumes(tmp_path / "set", (52, 53, 54), count=1)
    shapes, translate = [], validation.translate_padded

    def translated(network, x, direction):
        shapes.append(tuple(x.shape[2:]))
        return translate(network, x, direction)

    monkeypatch.setattr(validation, "translate_padded", translated)
    run(configuration(folder, steps=1, sample_every=1), tmp_path / "run")
    assert set(shapes) == {(24, 24, 24)}
    with Image.open(tmp_path / "run" / "samples" / "step-000001-AtoB.png") as picture:
        assert picture.width > 5 * 3 * 24  # five strips of three slices


def test_memory_is_planned_for_volumes_of_their_channels(tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "largest_size", lambda *_: None)  # searches for seconds
    config = configuration(tmp_path)
    config = replace(config, generator=replace(config.generator, memory="auto", depth=2))
    config = replace(config, runtime=RuntimeConfig(device="cpu", memory_budget="1GiB"))
    output = StringIO()
    accelerator = make_accelerator(config.runtime)
    decided = decide_memory(config, (1, 1), accelerator, Console(file=output))
    assert decided.generator.memory == "naive"

    def needed(channels):
        tight = replace(config, runtime=replace(config.runtime, memory_budget="1B"))
        with pytest.raises(Exception, match="training at size 24 needs") as error:
            decide_memory(tight, channels, accelerator, Console(quiet=True))
        return float(str(error.value).split("needs ")[1].split()[0])

    # The image pools hold 2 x 50 cubes: 24^3 voxels of 4 bytes are 54 KiB.
    assert needed((1, 1)) > 100 * 24**3 * 4 / 2**20
    assert needed((2, 2)) > needed((1, 1)) + 100 * 24**3 * 4 / 2**20


# The command line


def command(capsys, *arguments):
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


SMALL = (
    "--preset=volumes", "--data.crop=24", "--generator.width=2", "--generator.depth=1",
    "--discriminator.width=2", "--runtime.device=cpu", "--training.checkpoint_every=1",
)  # fmt: skip


def test_train_and_resume_from_the_command_line(tmp_path, capsys):
    folder, root = make_volumes(tmp_path / "set", SHAPE, count=1), tmp_path / "run"
    train = ["train", folder, "--run", root, *SMALL, "--training.steps=1", "--data.aligned=true"]
    status, _, err = command(capsys, *train, "--data.low_a=1", "--data.spacing=[1,1,0.9]")
    assert (status, err) == (0, "")
    kept = yaml.safe_load((root / "config.yaml").read_text())["data"]
    assert (kept["orientation"], kept["spacing"]) == ("RAS", [1.0, 1.0, 0.9])
    resume = ["train", "--resume", root, "--training.steps=2"]
    for option in ("low_a=2", "orientation=LPS", "spacing=null", "intensity_b=zscore"):
        status, _, err = command(capsys, *resume, f"--data.{option}")
        assert (status, err.count("\n")) == (2, 1)
        assert f"omit --data.{option.split('=')[0]}" in err
    status, out, err = command(capsys, *resume)
    assert (status, err) == (0, "")
    assert "Trained 2 steps" in out


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--data.spacing=1", "must be three numbers such as [1, 1, 1] or null, not 1"),
        ("--data.spacing=[1,1]", "must be three numbers such as [1, 1, 1] or null, not [1,1]"),
        ("--data.spacing=[1,0,1]", "--data.spacing must be null or three numbers above 0"),
        ("--data.resize=30", "--data.resize does nothing for volumes"),
        ("--data.intensity_a=hu", "percentiles-per-scan, zscore-per-scan, not hu;"),
        ("--data.intensity_a=range", "--data.intensity_a, low_a and high_a don't go together"),
        ("--data.foreground=2", "--data.foreground must be from 0 to 1, not 2.0"),
        ("--data.crop=25", "--data.crop must be a multiple of 2 from 24 up, not 25"),
    ],
)
def test_options_for_volumes_that_are_wrong_end_in_one_sentence(tmp_path, capsys, option, expected):
    status, _, err = command(capsys, "train", tmp_path, *SMALL, option)
    assert (status, err.count("\n")) == (2, 1)
    assert expected in err


def test_bad_volumes_end_a_command_in_one_sentence(tmp_path, capsys):
    folder = make_volumes(tmp_path / "set", SHAPE)
    save(folder / "testB" / "1.nii.gz", np.zeros(SHAPE))
    status, _, err = command(capsys, "train", folder, "--run", tmp_path / "run", *SMALL)
    assert (status, err.count("\n")) == (1, 1)
    assert "testB/1.nii.gz is 0 everywhere" in err
    assert not (tmp_path / "run").exists()


def test_a_run_on_volumes_is_planned_as_such(tmp_path, capsys):
    folder = make_volumes(tmp_path / "set", SHAPE, count=1, channels=(1, 2))
    config = configuration(folder, "paired", steps=1)
    root = tmp_path / "run"
    run(config, root)
    assert planned_domains(config, RunFolder(root), None, None) == Domains(3, (1, 2))
    assert planned_domains(config, RunFolder(root), None, (6, 6)) == Domains(3, (6, 6))
    (root / "model" / "config.yaml").unlink()
    assert planned_domains(config, RunFolder(root), None, None) == Domains(3, (1, 1))
    assert planned_domains(config, None, None, None) == Domains(3, (1, 1))
    images = RunConfig(data=DataConfig(channels_b=1))
    assert planned_domains(images, None, None, None) == Domains(2, (3, 1))
    assert planned_domains(RunConfig(), None, 3, None) == Domains(3, (1, 1))
    status, out, _ = command(capsys, "plan", root, "--json", "--memory-budget=1MiB",
                             "--generator.memory=auto")  # fmt: skip
    content = json.loads(out)
    assert (status, content["spatial_dims"], content["size"]) == (0, 3, 24)


@pytest.mark.parametrize("preset", ["volumes", "hcp"])
def test_presets_for_volumes_describe_the_papers_network_in_3d(preset):
    parser = Parser("train")
    add_run_options(parser)
    config = run_config(parser.parse_args(["--preset", preset]))
    assert config.data.spatial_dims == 3
    assert (config.generator.first_kernel, config.generator.last_kernel) == (3, 1)
    assert config.generator.identity_start
    if preset == "hcp":
        assert (config.paired, config.data.crop, config.generator.downsamplings) == (True, 24, 0)
        assert (config.training.epochs, config.data.flip) == (20, False)
        # Translations start as their input, the tensors that a coarse scan gives, unbent.
        assert (config.generator.skip, config.generator.tanh) == (True, False)
        # Else "input unchanged" would be in other units than what it is compared with.
        assert config.data.intensity("a") == config.data.intensity("b")
