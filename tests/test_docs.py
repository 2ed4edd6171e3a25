"""The code on the pages in docs/ and in docstrings runs as it stands there."""

import doctest
import re
from pathlib import Path

import pytest

from revgan.networks import PatchDiscriminator, ResnetGenerator, RevGenerator
from revgan.reversible import AdditiveCoupling, AffineCoupling, OdeCore, ReversibleSequential

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("page", ["engine.md", "memory.md"])
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
