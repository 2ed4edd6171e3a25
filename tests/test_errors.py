"""What finds a user's mistakes."""

from dataclasses import dataclass
from typing import Literal

import pytest

from revgan.errors import check_choices


@dataclass
class Setting:
    colour: Literal["red", "blue"]
    dims: "Literal[2, 3]" = 2  # as under `from __future__ import annotations`
    name: str = "any"


def test_a_value_that_is_no_choice_is_named_with_the_choices():
    check_choices(Setting("red", 3, "x"))
    with pytest.raises(ValueError, match="colour must be one of red, blue, not 'green'"):
        check_choices(Setting("green"))
    with pytest.raises(ValueError, match="dims must be one of 2, 3, not 4"):
        check_choices(Setting("blue", 4))
