"""The package's rooms import downwards only."""

import ast
from pathlib import Path

import pytest

import revgan

ROOMS = [
    "reversible",
    "networks",
    "memory",
    "data",
    "scores",
    "figures",
    "inference",
    "training",
    "evaluation",
    "benchmark",
    "commands",
    "cli",
]
"""From the bottom up; a room may import from itself and those before it."""

LEAVES = ["errors", "files", "environment", "directions"]
"""What several rooms need."""

PACKAGE = Path(revgan.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("revgan.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here not in ROOMS:  # leaves beside the rooms
        return
    allowed = {*ROOMS[: ROOMS.index(here) + 1], *LEAVES}
    assert {room(name) for name in imported(path)} <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_reversible_core_stands_alone(path):
    if path.relative_to(PACKAGE).parts[0] == "reversible":
        assert all(name.startswith("revgan.reversible") for name in imported(path))
