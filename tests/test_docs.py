"""The code on the pages in docs/ and in docstrings runs as it stands there."""

import doctest
import re
import shlex
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser as torchrun_parser

import revgan
from revgan.cli import main
from revgan.networks import PatchDiscriminator, ResnetGenerator, RevGenerator
from revgan.reversible import AdditiveCoupling, AffineCoupling, OdeCore, ReversibleSequential

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("page", ["coming-from.md", "engine.md", "memory.md"])
def test_the_examples_of_a_page_run(page):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)
    assert blocks
    exec("\n".join(blocks), {})


def test_the_examples_of_docstrings_run():
    for example in (
        *(AdditiveCoupling, AffineCoupling, ReversibleSequential, OdeCore),
        *(RevGenerator, ResnetGenerator, PatchDiscriminator),
    ):
        (found,) = doctest.DocTestFinder(recurse=False).find(example, globs={})
        assert found.examples
        assert doctest.DocTestRunner().run(found).failed == 0


def test_the_sentences_on_the_page_for_troubleshooting_are_those_that_revgan_says():
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        q for line in re.findall(r'^"[^:\n]*$', page, re.M) for q in re.findall('"(.*?)"', line)
    ]
    source = "".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
        for path in (DOCS.parent / "src").rglob("*.py")
    )
    assert len(quoted) > 15
    assert [sentence for sentence in quoted if sentence not in source] == []


def test_the_page_for_other_tools_names_options_that_exist(capsys):
    page = (DOCS / "coming-from.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["train", "--help", "all"])
    known = capsys.readouterr().out
    here = " ".join(row.split("|")[2] for row in re.findall(r"^\|.*\|$", page, re.M))
    options = re.findall(r"--(?:data|generator|discriminator|losses|optimizer|training)\.\w+", here)
    assert len(options) > 10
    assert [name for name in options if name not in known] == []


def test_the_citation_has_the_packages_version():
    citation = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == revgan.__version__


def test_the_lines_that_start_several_processes_reach_revgan_whole():
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:srun .*)?(torchrun|accelerate launch) (.*)$", page, re.M)
    assert len(lines) == 4
    parsers = {"torchrun": torchrun_parser, "accelerate launch": launch_command_parser}
    for program, arguments in lines:
        options = parsers[program]().parse_args(
            shlex.split(re.sub(r"\$\(.*?\)", "HEAD", arguments))
        )
        assert options.module
        assert options.training_script == "revgan"
        assert options.training_script_args == ["train", "FOLDER", "--run", "runs/mine"]
