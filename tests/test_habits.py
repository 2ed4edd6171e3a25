"""What people bring from other tools, and look for first."""

import subprocess
from pathlib import Path

import pytest

from revgan.cli import COMMANDS, main
from revgan.options import Parser, add_run_options
from revgan.options.habits import _OURS, of_other_tools

FIXTURES = Path(__file__).parent / "fixtures" / "before"


@pytest.fixture(scope="module")
def training():
    parser = Parser("train")
    add_run_options(parser)
    return [name for name in parser._option_string_actions if name.startswith("--")]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "x", "--dataroot", "y"], "revgan train FOLDER"),
        (["train", "x", "--netG=unet_256"], "here that is --generator.model"),
        (["train", "x", "--continue_train"], "here that is --resume"),
        (["train", "x", "--load_size", "286"], "here that is --data.resize"),
        (["train", "x", "--batch-size", "4"], "here that is --training.batch_size"),
        (["train", "x", "--lr", "0.1"], "here that is --optimizer.lr"),
        (["translate", "x", "y", "z", "--gpu_ids", "0"], "here that is --device"),
        (["translate", "x", "y", "z", "--roi_size", "64"], "here that is --window"),
        (["train", "x", "--data.corp", "64"], "did you mean --data.crop"),
    ],
)
def test_options_of_other_tools_lead_to_ours(capsys, arguments, hint):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert hint in error
    assert error.count("\n") == 1


def test_options_that_are_named_exist(training):
    known = {*training, "--device", "--resize", "--resume", "--run", "--window", "--overlap"}
    named = [each.split()[0] for ours in _OURS.values() for each in ours.split("|")]
    assert [name for name in named if f"--{name}" not in known] == []
    assert of_other_tools("--lambda-L1", training) == "here that is --losses.l1_weight"
    assert of_other_tools("--nothing", training) is None


def test_help_lists_what_most_people_set_and_on_request_all(capsys):
    shown = []
    for arguments in (["--help"], ["--help", "all"]):
        with pytest.raises(SystemExit):
            main(["train", *arguments])
        shown.append(capsys.readouterr().out)
    short, whole = shown
    assert "--training.steps" in short
    assert "--generator.ode_rtol" not in short
    assert "revgan train --help all lists all options." in short
    assert "--generator.ode_rtol" in whole
    assert len(short) < len(whole) / 2


def test_the_environment_is_told_without_names_of_the_user(capsys):
    assert main(["env"]) == 0
    shown = capsys.readouterr().out
    for what in ("revgan:", "python:", "processor:", "memory:", "threads:", "GPU:", "torch 2"):
        assert what in shown
    assert str(Path.home()) not in shown


def test_runs_are_listed_with_steps_scores_and_sizes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("images", "volumes"):
        (tmp_path / name).symlink_to(FIXTURES / name / "run")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.yaml").write_text("[")
    (tmp_path / "damaged" / "metrics.jsonl").write_text("")
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (images,) = (line for line in lines if line.startswith("images"))
    assert "paired revgan 2 x 2" in images
    assert "4 of 4" in images
    assert "15.24 dB in training" in images
    assert any(line.startswith("damaged") for line in lines)
    assert main(["runs", str(tmp_path / "none")]) == 1
    assert "has no runs" in capsys.readouterr().err


def test_shells_complete_commands_and_options(tmp_path, capsys):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    asked = """
source "$1"
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _shtab_revgan
    echo "${COMPREPLY[@]}"
}
try revgan tr; try revgan train --training.e; try revgan train --generator.model res
"""
    done = subprocess.run(["bash", "-c", asked, "", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "train translate",
        "--training.epochs --training.ema",
        "resnet",
    ]
    assert all(f"revgan_{name}" in script.read_text() for name in COMMANDS if name != "import")
