"""The house stands as CONTRIBUTING draws it: imports go down, never up and never round."""

import ast
from graphlib import CycleError, TopologicalSorter
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
    "exporting",
    "sharing",
    "benchmark",
    "serving",
    "options",
    "commands",
    "cli",
]
"""From the bottom up; a room may import from itself and those before it."""

LEAVES = {
    "errors",
    "files",
    "environment",
    "load",
    "directions",
    "progress",
    "faces",
    "plain_yaml",
    "text",
}
"""What several rooms need; they import from each other alone."""

PACKAGE = Path(revgan.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere but for the type checker."""
    names = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inside if name in MODULES} or {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("revgan.")}


def test_imports_go_down():
    climbing = {}
    for name, path in MODULES.items():
        here = room(name)
        if here in ROOMS:
            allowed = {*ROOMS[: ROOMS.index(here) + 1], *LEAVES}
        elif here in LEAVES:
            allowed = LEAVES
        else:  # the package itself hands out names of any room
            continue
        wrong = {other for other in imported(path) if room(other) not in allowed}
        if wrong:
            climbing[name] = wrong
    assert not climbing


def test_no_file_stands_outside_the_rooms():
    known = {*ROOMS, *LEAVES, "", "__main__", "presets"}
    assert {room(name) for name in MODULES} <= known


@pytest.mark.parametrize("name", ["revgan", *(f"revgan.{name}" for name in ROOMS)])
def test_imports_never_go_round(name):
    """Not within a room either; a room's face imports its files, and is imported by other rooms."""
    inside = {
        each: {other for other in imported(path) if other.startswith(name)} - {name}
        for each, path in MODULES.items()
        if each.startswith(name) and path.name != "__init__.py"
    }
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        pytest.fail(f"these files import each other: {' -> '.join(error.args[1])}")


def test_the_reversible_core_stands_alone():
    for name, path in MODULES.items():
        if room(name) == "reversible":
            assert all(other.startswith("revgan.reversible") for other in imported(path))


@pytest.mark.parametrize("name", [name for name in ROOMS if (PACKAGE / name).is_dir()])
def test_a_room_says_what_it_is(name):
    assert ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text()))


def branches_on_dimensions(tree):
    """Comparisons of the number of spatial axes, or of an array's axes."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(
            (isinstance(part, ast.Attribute) and part.attr in ("spatial_dims", "ndim"))
            or (isinstance(part, ast.Name) and part.id == "spatial_dims")
            for part in (node.left, *node.comparators)
        )
    ]


def test_images_and_volumes_take_one_path():
    """Nothing branches on it but the edges: the configuration refuses options that do nothing (5),
    built-in sets and label maps are of one kind (3), a format is for one kind (3), Pillow's grey
    pictures lack an axis (1), and the translator checks the shapes that users give it (4).
    """
    found = {
        name: branches
        for name, path in MODULES.items()
        if room(name) in ("data", "inference", "evaluation")
        and (branches := branches_on_dimensions(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert sum(map(len, found.values())) <= 16, found
