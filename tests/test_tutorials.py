"""The tutorials run as they stand, with short trainings of small networks."""

import re
import shlex
from pathlib import Path

import pytest

from revgan.cli import main

PAGES = Path(__file__).parent.parent / "docs" / "tutorials"
SHORT = [
    "--training.steps=1",
    "--training.validate_every=null",
    "--generator.width=4",
    "--generator.depth=1",
    "--generator.memory=naive",  # so that nothing is planned
    "--discriminator.width=4",
    "--runtime.device=cpu",
]


@pytest.mark.parametrize("page", sorted(path.stem for path in PAGES.glob("*.md")))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_tutorial_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    for language, code in re.findall(r"```(python|sh)\n(.*?)```", text, re.S):
        if language == "python":
            exec(code, {})
            continue
        for line in code.replace("\\\n", "").splitlines():
            program, command, *arguments = shlex.split(line)
            assert program == "revgan"
            short = SHORT if command == "train" else []
            assert main([command, *arguments, *short]) == 0, line


@pytest.mark.parametrize("page", sorted(path.stem for path in PAGES.glob("*.md")))
def test_a_tutorials_pictures_are_those_that_its_commands_draw(page):
    """benchmarks/tutorials.py runs the commands, and keeps their figures under these names."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[.*?\]\(\.\./images/(.*?)\)", text)
    drawn = re.findall(r"^revgan figure .*--output (\S+)\.png", text, re.M)
    assert sorted(shown) == sorted(f"tutorial-{name}.jpg" for name in drawn)
    assert shown
    for name in shown:
        assert (PAGES.parent / "images" / name).stat().st_size < 300_000
