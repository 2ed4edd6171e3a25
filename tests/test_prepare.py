"""`revgan prepare`: its tasks."""

import pytest

from revgan.cli import main
from revgan.commands.prepare import TASKS


def test_the_help_lists_the_tasks(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["prepare", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert all(f" {name} {what}" in text for name, (what, *_) in TASKS.items())


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_its_own_help(name, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["prepare", name, "--help"])
    text = capsys.readouterr().out
    assert f"usage: revgan prepare {name} " in text
    assert ("--max-b" in text) == (name == "hcp")
    assert ("--size" in text) == (name != "hcp")


def test_a_wrong_option_is_told_with_the_task(capsys):
    assert main(["prepare", "hcp", "a", "b", "--max-c", "3"]) == 2
    assert "unrecognized arguments: --max-c 3; did you mean --max-b" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["mr", "a", "b"]])
def test_without_a_known_task_they_are_named(arguments, capsys):
    assert main(["prepare", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("revgan: ")
    assert told.endswith("; see revgan prepare --help\n")
    assert all(name in told for name in TASKS)
