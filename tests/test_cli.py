"""Every wrong input ends in one sentence, and leaves nothing behind."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from revgan.cli import COMMANDS, main
from revgan.data.formats.files import OpenScan
from revgan.data.sampling import TrainingSamples
from revgan.errors import UsageError, notice
from revgan.inference.planning import WindowOptions
from revgan.networks import pretrained
from revgan.options import Parser, add_window_options, window_options
from revgan.training import Trainer, checkpoint, journal, loop, session
from scans import read_image, write_image

TINY = {
    "training.steps": 2,
    "generator.width": 2,
    "generator.depth": 1,
    "generator.memory": "naive",  # so that nothing is planned, which takes longer than two steps
    "discriminator.width": 2,
    "data.crop": 32,
    "data.aligned": "true",  # or a notice says that names and sizes are trusted
    "runtime.device": "cpu",
}


def save(path, size=(36, 40), channels=3, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    maximum = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, maximum + 1, (*size, channels), dtype)
    write_image(path, pixels)


def make_images(root, channels=(3, 3), test=True, **options):
    for split in ("train", "test") if test else ("train",):
        for domain, count in zip("AB", channels, strict=True):
            for name in ("0", "1"):
                save(root / f"{split}{domain}" / f"{name}.png", channels=count, **options)
    return root


def train(images, run, *more, **changed):
    """Trains a tiny model; options by name with __ for the dot; returns the exit status."""
    options = TINY | {name.replace("__", "."): value for name, value in changed.items()}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return main(["train", str(images), "--run", str(run), *arguments, *map(str, more)])


def refusal(capsys, *arguments, status=None):
    """The one sentence on stderr that a command ends with."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    return sentence(capsys, code, status)


def sentence(capsys, code, status=None):
    error = capsys.readouterr().err
    assert code == status if status else code != 0
    assert error.startswith("revgan: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1, error
    return error.removeprefix("revgan: ").removesuffix("\n")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def trained(images):
    run = images.parent / "trained-run"
    shutil.rmtree(run, ignore_errors=True)
    assert train(images, run) == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A finished run of 2 steps that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "run")


def files(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "tensorboard" not in path.parts
    }


# The command line


def test_an_unknown_command_is_told_the_known_ones(capsys):
    message = refusal(capsys, "trian", status=2)
    assert all(name in message for name in ("trian", "demo", "train", "translate", "evaluate"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_in_words_and_not_in_python(capsys, command):
    with pytest.raises(SystemExit) as done:
        main([command, "--help", "all"])
    assert done.value.code == 0
    help_text = capsys.readouterr().out
    assert f"usage: revgan {command}" in help_text
    assert "Path to a configuration file" not in help_text
    for python in (
        "`",
        "type:",
        "Optional",
        "Literal",
        "tuple",
        "revgan.training",
        "default: null",
    ):
        assert python not in help_text
    assert "default: )" not in help_text


def test_no_help_waits_for_pytorch_or_what_is_slower():
    """All in one process of its own: in this one, tests have imported everything."""
    program = """
import sys
from importlib import import_module
from revgan.cli import COMMANDS, main
for words in [[], *([name] for name in COMMANDS), ["prepare", "hcp"], ["benchmark", "paper"]]:
    try:
        main([*words, "--help"])
    except SystemExit:
        pass
    print(*words, *(name for name in sys.argv[1:] if name in sys.modules), file=sys.stderr)
"""
    slow = "torch monai accelerate matplotlib nibabel SimpleITK tensorboard torchmetrics scipy"
    done = subprocess.run(
        [sys.executable, "-c", program, *slow.split()], capture_output=True, text=True, check=True
    )
    shown = [[], *([name] for name in COMMANDS), ["prepare", "hcp"], ["benchmark", "paper"]]
    assert [line.split() for line in done.stderr.splitlines()] == shown
    assert done.stdout.count("usage: revgan") == len(shown)


def test_window_options_have_the_defaults_of_the_windows():
    parser = Parser("translate")
    add_window_options(parser)
    assert window_options(parser.parse_args([])) == WindowOptions()


def test_the_usage_does_not_repeat_a_long_list_of_options(capsys):
    usage = {}
    for command in ("train", "plan", "demo", "translate", "figure"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        usage[command] = " ".join(capsys.readouterr().out.split("\n\n")[0].split())
    assert usage["train"] == "usage: revgan train [options] [images]"
    assert usage["plan"] == "usage: revgan plan [options] [run_folder]"
    assert usage["demo"] == "usage: revgan demo [options]"
    assert usage["translate"] == "usage: revgan translate [options] run input output"
    assert "[--direction {AtoB,BtoA}]" in usage["figure"]


def test_the_help_shows_the_defaults_of_the_preset(capsys):
    paired = ["--objective", "paired"]
    for arguments, learning_rate in (
        ([], "0.0002"),
        (paired, "0.0005"),
        (["--preset", "paper"], "0.002"),
    ):
        with pytest.raises(SystemExit):
            main(["train", *arguments, "--help"])
        assert f"default: {learning_rate})" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "give a folder of images"),
        (["x", "--data.corp", "32"], "--data.corp 32; did you mean --data.crop"),
        (["x", "--generator.widht=8"], "did you mean --generator.width"),
        (["x", "--data", "y"], "did you mean --data.path"),
        (["x", "--data.cro", "32"], "did you mean --data.crop"),
        (["x", "y"], "unrecognized arguments: y; see revgan train --help"),
        (["x", "--data.crop"], "--data.crop: expected one argument; see revgan train --help"),
        (
            ["x", "--data.crop", "a\nb"],
            "--data.crop must be a whole number or whole numbers such as [64, 64, 12], not",
        ),
        (["x", "--data.crop", "33"], "--data.crop must be a multiple of 4"),
        (["x", "--data.resize", "1.5"], "--data.resize must be a whole number or null, not 1.5"),
        (["x", "--data.flip", "maybe"], "--data.flip must be true or false, not maybe"),
        (["x", "--data.channels_a", "7"], "--data.channels_a must be null or 1 to 4, not 7"),
        (
            ["x", "--optimizer.lr", "nan"],
            "--optimizer.lr must be a number, not nan; see revgan train --help",
        ),
        (["x", "--optimizer.lr", "-1"], "--optimizer.lr must be above 0"),
        (["x", "--generator.width", "0"], "--generator.width must be 1 or more"),
        (
            ["x", "--losses.consensus_weight", "1", "--generator.memory", "lean"],
            "--losses.consensus_weight above 0 needs second derivatives",
        ),
        (
            ["x", "--generator.model", "resnet", "--generator.core", "ode"],
            "--generator.core can't be ode with model resnet, only with revgan",
        ),
        (["x", "--training.steps", "0"], "--training.steps must be 1 or more"),
        (["x", "--run", ""], "an argument is empty; fill it or omit it, see revgan train --help"),
        (["x", "--data.path", "y"], "the images are given twice, as x and as --data.path"),
        (
            ["x", "--training.epochs", "2", "--training.steps=3"],
            "--training.epochs does nothing beside training.steps 3; omit it, or give",
        ),
        (["x", "--preset=demo", "--training.epochs=2"], "nothing beside training.steps"),
        (["x", "--optimizer.lr", ".nan"], "--optimizer.lr must be a finite number, not nan"),
        (["x", "--losses.l1_weight=1e400"], "--losses.l1_weight must be a finite number, not inf"),
        (["x", "--data.spacing", "[1,.inf,1]"], "--data.spacing must be a finite number, not inf"),
        (["x", "--training.seed", str(2**64)], "--training.seed must be 18446744073709551615 or"),
        (["x", "--training.seed", "9" * 5000], "training.seed"),
        (["x", "--training.steps", "[" * 3000], "training.steps"),
        (["x", "--generator.width", "1000000000"], "--generator.width must be 16384 or less"),
        (["x", "--data.crop", "1000000000"], "--data.crop must be 65536 or less"),
        (["x", "--training.batch_size=99999999999"], "--training.batch_size must be 65536 or less"),
        (["x", "--runtime.workers=100000"], "--runtime.workers must be 1024 or less"),
        (["x", "--memory-budget", "8"], "memory_budget must be a size such as 8GiB or 500MB"),
        (["x", f"--memory-budget={'9' * 400}GiB"], "memory_budget must be a size such as 8GiB"),
        (["x", "--training.on_nan", "skip"], "--training.on_nan must be stop, or skip N such as"),
        (["x", "--training.ema", "1.5"], "--training.ema must be null, or above 0 and below 1"),
        (["x", "--runtime.device", "gpu"], "must be one of auto, cpu, cuda, mps, not gpu"),
        (
            ["x", "--preset", "nope"],
            "the presets are cyclegan, default, demo, demo-brain, demo-map,",
        ),
        (
            ["x", "--preset="],
            "the presets are cyclegan, default, demo, demo-brain, demo-map,",
        ),
    ],
)
def test_a_wrong_option_is_named_with_what_would_be_right(capsys, arguments, expected):
    assert expected in refusal(capsys, "train", *arguments, status=2)


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("train", ["--data.crop=[1, x]"], "whole number or whole numbers such as [64, 64, 12]"),
        ("train", ["--data.spacing", "[1, 2]"], "three numbers such as [1, 1, 1] or null, not [1"),
        ("translate", ["--flips", "[0, {}]"], "whole numbers such as [64, 64, 12], not [0, {}]"),
        ("translate", ["--select", "{a: 1}"], "a list such as [DAPI, 2] or null, not {a: 1}"),
        ("figure", ["--window", "40", "x"], "--window must be a number, not x"),
        ("plan", ["--channels", "nan", "1"], "--channels must be a whole number, not nan"),
        ("evaluate", ["--distribution", "random", "x"], "one of random, segmenter, inception, no"),
    ],
)
def test_an_option_with_several_values_is_named_with_what_would_be_right(
    capsys, command, arguments, expected
):
    assert expected in refusal(capsys, command, "x", "y", "z", *arguments, status=2)


def test_no_option_of_any_type_is_refused_in_words_of_python():
    seen = set()
    for name in COMMANDS:
        if name in ("demo", "prepare", "benchmark"):  # whose tasks' types are those of others
            continue
        parser = Parser(name)
        import_module(f"revgan.commands.{name}{'_weights' * (name == 'import')}").add_options(
            parser
        )
        for action in parser._actions:
            kind = str(getattr(action, "_typehint", None)), action.nargs
            if not hasattr(action, "_typehint") or kind in seen or not action.option_strings:
                continue
            seen.add(kind)
            option = action.option_strings[-1]
            for value in ("x", "[1, x]", "[1, {}]", "{a: 1}", "[[1]]", "1.5", "[true]"):
                told = parser.mistake(option, value) or ""
                try:
                    if not told:  # to read all options takes longer
                        parser.parse_args([f"{option}={value}"])
                except UsageError as error:
                    told = str(error)
                odd = ("Union", "<class", "Annotated", "tuple[", "NoneType", "Parser key")
                assert not any(word in told for word in odd), told
    assert len(seen) > 25


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "x"},
        {"LOCAL_RANK": "7"},
        {"WORLD_SIZE": "2", "RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": "99999999"},
        {"ACCELERATE_USE_CPU": "maybe"},
        {"ACCELERATE_DYNAMO_BACKEND": "nope"},
        {"ACCELERATE_USE_DEEPSPEED": "true"},
        {"LOCAL_WORLD_SIZE": "0"},
    ],
)
def test_variables_that_no_training_can_begin_with_are_named(
    tmp_path, monkeypatch, capsys, variables
):
    AcceleratorState._reset_state(reset_partial_state=True)  # else none is read again
    make_images(tmp_path / "images")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    where = [str(tmp_path / "images"), "--run", str(tmp_path / "run")]
    said = refusal(capsys, "train", *where, *options)
    name = next(iter(variables))
    assert "training can't begin with the environment variables" in said or "must be a" in said
    assert f"{name}={variables[name]}" in said or f"{name} must be a" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--channels", "3"], "argument --channels: expected 2 arguments"),
        (["--memory-budget", "-1GiB"], "argument --memory-budget: expected one argument"),
    ],
)
def test_an_option_is_told_how_many_values_it_needs(capsys, arguments, expected):
    message = refusal(capsys, "plan", *arguments, status=2)
    assert message.startswith(f"{expected}; see revgan plan")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "can't be read (No such file or directory)"),
        (b"a: [1\nb: }", "isn't YAML from line 2 on"),
        (b"\xff\x00", "isn't YAML"),
        (b"", "must hold options by name: objective, data"),
        (b"- 1\n- 2", "must hold options by name: objective, data"),
        (b"nonsense: 3", "unknown key nonsense; use objective, data"),
        (b"generator: {widht: 3}", "generator.widht; did you mean generator.width"),
        (b"generator: 5", "must hold options by name: model, width, depth"),
        (b"generator:", "must hold options by name: model, width, depth"),
        (b"optimizer: {lr: .nan}", "--optimizer.lr must be a finite number, not nan"),
        (b"data: {crop: 1e9}", "data.crop"),
        (b"[" * 3000, "is nested too deep from line 1 on"),
        (b"{a: " * 2000 + b"1" + b"}" * 2000, "is nested too deep from line 1 on"),
        (b"training: {steps: " + b"9" * 5000 + b"}", "isn't YAML"),
        (b"objective: paired\nobjective: unpaired", "has the key objective twice from line 1 on"),
        (b"data: &d {}\ngenerator: *d", "has an alias from line 2 on"),
        (b"data: !!timestamp x", "isn't YAML"),
        (b"#" * 2**20 + b"\n", "is larger than 1 MiB"),
    ],
)
def test_a_configuration_file_that_is_none_is_refused(capsys, tmp_path, content, expected):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    message = refusal(capsys, "train", "x", "--config", path, status=2)
    assert str(path) in message or message.startswith("--")
    assert expected in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("generator: {memory: wide}", "generator.memory must be one of auto, naive, reversible"),
        ("generator: {width: [3]}", "generator.width must be a whole number, not [3]"),
        ("data: {flip: 3}", "data.flip must be true or false, not 3"),
        ("objective: 7", "objective must be one of"),
    ],
)
def test_a_wrong_value_in_a_file_is_told_in_words(capsys, tmp_path, content, said):
    path = tmp_path / "c.yaml"
    path.write_text(content)
    message = refusal(capsys, "train", "x", f"--config={path}", status=2)
    assert message.startswith(f"{path}: {said}")
    assert "typing" not in message
    assert "class" not in message


def test_a_wrong_value_in_a_configuration_file_is_refused(capsys, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: {crop: hello}")
    message = refusal(capsys, "train", "x", f"--config={path}", status=2)
    assert message.startswith(f"{path}: ")
    assert "data.crop must be a whole number" in message
    assert "not hello" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("option", ["--runtime.device=cuda", "--runtime.precision=fp16"])
def test_a_device_that_is_not_there_is_refused(capsys, images, tmp_path, option):
    message = sentence(capsys, train(images, tmp_path / "run", option))
    assert "cpu" in message or "float32" in message
    assert not (tmp_path / "run").exists()


# Data


def spoil_missing(root):
    shutil.rmtree(root)


def spoil_truncated(root):
    path = root / "testB" / "1.png"
    path.write_bytes(path.read_bytes()[:-500])


def spoil_counts(root):
    (root / "trainB" / "1.png").unlink()


def spoil_names(root):
    (root / "trainB" / "1.png").rename(root / "trainB" / "z.png")


def spoil_one_test_folder(root):
    shutil.rmtree(root / "testB")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (spoil_missing, "does not exist"),
        (spoil_truncated, "testB/1.png cannot be read"),
        (spoil_counts, "trainB 1"),
        (spoil_names, "unlike 1, z"),
        (spoil_one_test_folder, "testB does not exist"),
        (lambda root: save(root / "trainA" / "1.png", (31, 40)), "trainA/1.png has 40 x 31 pixels"),
        (lambda root: save(root / "testA" / "1.png", dtype=np.uint16), "16 bits"),
        (
            lambda root: save(root / "trainB" / "1.png", (36, 44)),
            "must have the same size, so resample one onto the other's grid",
        ),
        (lambda root: save(root / "testB" / "1.png", (36, 44)), "must have the same size"),
    ],
)
def test_bad_data_is_refused_before_anything_is_written(capsys, tmp_path, spoil, expected):
    images, run = make_images(tmp_path / "images"), tmp_path / "runs" / "run"
    spoil(images)
    assert expected in sentence(capsys, train(images, run, objective="paired"), 1)
    assert not (tmp_path / "runs").exists()


def test_domains_of_different_channels_need_no_identity_loss_and_translate(capsys, tmp_path):
    images = make_images(tmp_path / "images", channels=(1, 3), dtype=np.uint16)
    run = tmp_path / "run"
    by_type = {"data__intensity_a": "type", "data__intensity_b": "type"}
    message = sentence(capsys, train(images, run, **by_type))
    assert "--losses.identity_weight 0" in message
    assert not run.exists()
    assert train(images, run, losses__identity_weight=0, **by_type) == 0
    assert "method: type" in (run / "model" / "intensity.yaml").read_text()
    target = tmp_path / "out.png"
    assert main(["translate", str(run), str(images / "testA" / "0.png"), str(target)]) == 0
    translated = read_image(target)
    assert translated.shape == (36, 40, 3)
    assert translated.dtype == np.uint16


def test_ctrl_c_while_images_are_checked_leaves_nothing(capsys, images, tmp_path, monkeypatch):
    def interrupt(path, *what):
        raise KeyboardInterrupt

    monkeypatch.setattr(OpenScan, "read", interrupt)
    assert sentence(capsys, train(images, tmp_path / "run"), 130) == "interrupted"
    assert not (tmp_path / "run").exists()


@pytest.fixture
def _interruptible():
    """Shells start what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize(
    ("number", "status", "told"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (session, "checked_data"),
        (loop, "decide_memory"),
        (loop.RunFolder, "forget_after"),
        (TrainingSamples, "__getitem__"),
    ],
)
def test_a_signal_before_the_first_step_leaves_nothing(
    capsys, images, tmp_path, monkeypatch, number, status, told, owner, name
):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    function = getattr(owner, name)

    def signalled(*arguments, **options):
        os.kill(os.getpid(), number)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, signalled)
    assert sentence(capsys, train(images, tmp_path / "run"), status) == told
    assert not (tmp_path / "run").exists()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_comes_within_a_destructor_is_heeded(capsys, images, tmp_path, monkeypatch):
    class Signalled:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            sum(range(10))

    decide_memory = loop.decide_memory

    def losing(*arguments, **options):
        Signalled()
        return decide_memory(*arguments, **options)

    monkeypatch.setattr(loop, "decide_memory", losing)
    assert train(images, tmp_path / "run") == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# Run folders


def test_a_run_folder_in_use_is_left_alone(capsys, run, images, tmp_path):
    before = files(run)
    assert "--resume" in sentence(capsys, train(images, run), 1)
    assert "--resume" in refusal(capsys, "demo", "--run", run, status=1)
    assert files(run) == before
    (tmp_path / "file").touch()
    assert "isn't an empty folder" in sentence(capsys, train(images, tmp_path / "file"), 1)
    assert "is a file" in sentence(capsys, train(images, tmp_path / "file" / "run"), 1)


def test_resuming_a_finished_run_says_so_and_changes_nothing(capsys, run):
    before = files(run)
    assert main(["train", "--resume", str(run)]) == 0
    assert main(["train", "--resume", str(run), "--training.steps", "1"]) == 0
    assert "All 2 steps are done" in capsys.readouterr().out
    assert files(run) == before


def test_a_finished_run_goes_on_when_steps_are_raised(run):
    assert main(["train", "--resume", str(run), "--training.steps", "3"]) == 0
    assert (run / "checkpoints" / "step-3").is_dir()
    assert yaml.safe_load((run / "config.yaml").read_text())["training"]["steps"] == 3


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--preset", "paper"], "omit --preset"),
        (["--run", "elsewhere"], "omit --run"),
        (["other"], "omit the folder of images"),
        (["--generator.width", "4"], "continues with the run's networks; omit --"),
        (["--discriminator.width", "4"], "continues with the run's networks; omit --"),
        (["--objective", "paired"], "continues with the run's networks; omit --"),
        (["--data.path", "/nowhere"], "no longer in /nowhere"),
    ],
)
def test_resuming_as_something_else_is_refused(capsys, run, more, expected):
    before = files(run)
    assert expected in refusal(capsys, "train", *more, "--resume", run)
    assert files(run) == before


def test_resuming_what_is_no_run_is_refused(capsys, run, images, tmp_path):
    assert "does not exist" in refusal(capsys, "train", "--resume", tmp_path / "no", status=1)
    assert "has no config.yaml" in refusal(capsys, "train", "--resume", images, status=1)
    state = run / "checkpoints" / "step-2" / checkpoint.STATE
    state.write_bytes(state.read_bytes()[:100])
    assert "step-2 can't be read" in refusal(capsys, "train", "--resume", run, status=1)
    shutil.rmtree(run / "checkpoints")
    assert "no checkpoint" in refusal(capsys, "train", "--resume", run, status=1)
    (run / "config.yaml").write_text("a: [")
    assert "config.yaml isn't YAML" in refusal(capsys, "train", "--resume", run, status=2)


def test_a_model_folder_is_told_from_a_run_folder(capsys, run):
    for arguments in (["evaluate", run / "model"], ["train", "--resume", run / "model"]):
        message = refusal(capsys, *arguments, status=1)
        assert "is a model folder, not a run folder; give the run folder" in message


# A full disk


def full_after(function, calls):
    """The function, which finds the disk full after some calls."""
    left = iter(range(calls))

    def limited(*arguments, **options):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*arguments, **options)

    return limited


def test_a_full_disk_leaves_the_last_checkpoint_whole(capsys, run, monkeypatch):
    monkeypatch.setattr(pretrained, "save_file", full_after(pretrained.save_file, 2))
    arguments = ["--resume", run, "--training.steps", 6, "--training.checkpoint_every", 1]
    message = refusal(capsys, "train", *arguments, status=1)
    assert "step-4 could not be written: no space is left" in message
    assert message.endswith("continue with --resume from step 3, the last complete checkpoint")
    assert list(run.rglob(".*")) == []
    monkeypatch.undo()
    assert main(["train", "--resume", str(run)]) == 0
    assert (run / "checkpoints" / "step-6").is_dir()


def test_a_disk_too_full_for_the_model_leaves_the_checkpoint(capsys, run, monkeypatch):
    write = pretrained.save_file

    def fail_for_the_model(tensors, path):
        if path.parent.name == "model":
            raise pretrained.SafetensorError("I/O error: No space left on device (os error 28)")
        write(tensors, path)

    monkeypatch.setattr(pretrained, "save_file", fail_for_the_model)
    message = refusal(capsys, "train", "--resume", run, "--training.steps", 3, status=1)
    assert (
        "model.safetensors could not be written: no space is left on the disk; make room" in message
    )
    assert message.endswith("continue with --resume from step 3, the last complete checkpoint")
    monkeypatch.undo()
    assert main(["train", "--resume", str(run)]) == 0


@pytest.mark.parametrize(
    ("owner", "name", "calls", "named"),
    [
        (journal, "save_generator", 0, "model"),
        (journal, "json_line", 0, "metrics.jsonl"),
        (journal.BestModel, "offer", 0, "best"),
        (Accelerator, "log", 0, "tensorboard"),
        (Accelerator, "end_training", 0, "tensorboard"),
    ],
)
def test_what_the_full_disk_cuts_short_is_named(
    capsys, run, monkeypatch, owner, name, calls, named
):
    monkeypatch.setattr(owner, name, full_after(getattr(owner, name), calls))
    message = refusal(capsys, "train", "--resume", run, "--training.steps", 3, status=1)
    assert f"{run / named} could not be written: no space is left on the disk" in message
    monkeypatch.undo()
    assert main(["train", "--resume", str(run)]) == 0


def test_a_disk_that_is_full_from_the_start_leaves_no_run(capsys, images, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "write_text", full_after(journal.write_text, 0))
    assert "no space is left" in sentence(capsys, train(images, tmp_path / "run"), 1)
    assert not (tmp_path / "run").exists()


def test_a_disk_that_is_really_full_brings_no_traceback(images, tmp_path):
    """TensorBoard writes in a thread, whose traceback only a real process shows."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        options = [f"--{name}={value}" for name, value in TINY.items()]
        options += ["--training.steps=60", "--training.log_every=1", f"--run={disk / 'run'}"]
        command = [sys.executable, "-c", "import sys, revgan.cli; sys.exit(revgan.cli.main())"]
        done = subprocess.run(
            [*command, "train", str(images), *options], capture_output=True, text=True
        )
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert done.returncode == 1
    assert "no space is left on the disk" in done.stderr
    assert done.stderr.count("\n") == 1


# Evaluating


def test_evaluate_prints_nothing_but_json_on_stdout(capsys, run):
    assert main(["evaluate", str(run), "--json"]) == 0
    captured = capsys.readouterr()
    assert {row["direction"] for row in json.loads(captured.out)["test"]} == {"AtoB", "BtoA"}
    assert captured.err == ""


def test_what_can_not_be_evaluated_is_refused(capsys, run, tmp_path):
    assert "does not exist" in refusal(capsys, "evaluate", tmp_path / "no", status=1)
    config = yaml.safe_load((run / "config.yaml").read_text())
    images = make_images(tmp_path / "images", test=False)
    config["data"]["path"] = str(images)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert "has no test images" in refusal(capsys, "evaluate", run, status=1)
    shutil.rmtree(images)
    message = refusal(capsys, "evaluate", run, status=1)
    assert f"no longer in {images}" in message
    assert message.endswith(f"data.path into {run / 'config.yaml'}")
    shutil.rmtree(run / "model")
    make_images(images)
    assert "isn't a model folder" in refusal(capsys, "evaluate", run, status=1)


def test_unaligned_test_images_are_scored_by_round_trips(capsys, run, tmp_path):
    images = make_images(tmp_path / "images")
    (images / "testB" / "1.png").rename(images / "testB" / "z.png")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= {"path": str(images), "aligned": "auto"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["evaluate", str(run)]) == 0
    assert "only round trips" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("a memory-saving reversible core has no second derivative"), False),
    ],
)
def test_memory_that_is_not_enough_is_told_and_nothing_else_taken_for_it(
    capsys, images, tmp_path, monkeypatch, error, told
):
    def fail(*_):
        raise error

    monkeypatch.setattr(Trainer, "step", fail)
    if told:
        assert "doesn't have enough memory" in sentence(capsys, train(images, tmp_path / "run"), 1)
    else:
        with pytest.raises(RuntimeError, match="second derivative"):
            train(images, tmp_path / "run")


def test_notices_are_sentences_on_stderr_said_once(monkeypatch, capsys):
    def twice(options, console):
        for _ in range(2):
            notice("the file has 2 pages; the first is used")
        return 0

    monkeypatch.setattr("revgan.commands.figure.run", twice)
    assert main(["figure", "run"]) == 0
    assert capsys.readouterr().err == "revgan: the file has 2 pages; the first is used\n"
