"""`revgan prepare`: its tasks."""

import pytest

from revgan.cli import main
from revgan.commands.prepare import TASKS


def test_the_help_lists_the_tasks(capsys):
    assert main(["prepare", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text and task.what in text for name, task in TASKS.items())


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
    assert "revgan prepare hcp knows no option --max-c; did you mean --max-b" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "needs a task; give one of"), (["mr", "a", "b"], "knows no task 'mr'; give one of")],
)
def test_without_a_known_task_they_are_named(arguments, message, capsys):
    assert main(["prepare", *arguments]) == 2
    assert capsys.readouterr().err == f"revgan: revgan prepare {message} {', '.join(TASKS)}\n"
