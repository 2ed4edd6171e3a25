"""What finds a user's mistakes."""

import sys
from dataclasses import dataclass
from typing import Literal

import pytest

from revgan.errors import UserError, check_types, one_line, optional


@dataclass
class Setting:
    colour: Literal["red", "blue"]
    dims: "Literal[2, 3]" = 2  # as under `from __future__ import annotations`
    name: str = "any"


def test_a_value_that_is_no_choice_is_named_with_the_choices():
    check_types(Setting("red", 3, "x"))
    with pytest.raises(ValueError, match="colour must be one of red, blue, not 'green'"):
        check_types(Setting("green"))
    with pytest.raises(ValueError, match="dims must be one of 2, 3, not 4"):
        check_types(Setting("blue", 4))


def test_a_missing_optional_package_ends_in_a_sentence_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        UserError, match=r"needs the package SimpleITK: pip install 'revgan\[itk\]'$"
    ):
        optional("SimpleITK", "itk", "MetaImage and NRRD")


def test_an_error_of_the_system_is_quoted_without_pythons_number(tmp_path):
    with pytest.raises(OSError, match="Errno") as error:
        (tmp_path / "x").read_text()
    assert one_line(error.value) == f"No such file or directory: {tmp_path / 'x'}"
    assert one_line(OSError("odd\nthing")) == "odd thing"
