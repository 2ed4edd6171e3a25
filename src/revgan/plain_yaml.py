"""YAML as configurations need it: plain values, few levels, every key once, whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node

from revgan.errors import short

LARGEST = 2**20
"""Bytes of a file."""

DEEPEST = 20
"""Levels of lists and mappings."""

_FIRST = "# This file is whole if its last line is ...\n"
_END = "..."
"""YAML's mark of a document's end."""


def whole_yaml(content: Mapping[str, Any]) -> str:
    """YAML that `parse_yaml` refuses if its end is missing.

    A file that a power cut has torn between two lines is YAML still, and what is missing would get
    its default without a word.
    """
    return _FIRST + yaml.safe_dump(dict(content), sort_keys=False, explicit_end=True)


class _NotPlainError(yaml.MarkedYAMLError):
    """It is YAML, but nothing that a configuration needs."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses what makes a small file take all memory or the stack."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        mark = self.get_mark()
        if self.check_event(AliasEvent):
            raise _NotPlainError(problem="has an alias", problem_mark=mark)
        if self.depth >= DEEPEST:
            raise _NotPlainError(problem="is nested too deep", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise _NotPlainError(
                problem=f"has the key {short(twice)} twice", problem_mark=node.start_mark
            )
        return mapping


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        OSError: it can't be read.
        ValueError: it isn't YAML, or not plain; the message goes on from the file's name.
    """
    with path.open("rb") as file:
        return parse_yaml(file.read(LARGEST + 1))


def parse_yaml(text: bytes | str) -> Any:
    """What YAML says.

    Raises:
        ValueError: as of `read_yaml`.
    """
    if len(text) > LARGEST:
        raise ValueError(f"is larger than {LARGEST // 2**20} MiB")
    lines = text.encode(errors="replace") if isinstance(text, str) else text
    if lines.startswith(_FIRST.strip().encode()) and lines.split()[-1] != _END.encode():
        raise ValueError(f"is torn, as its last line, {_END}, is missing")
    try:
        return yaml.load(text, _Loader)
    except _NotPlainError as error:
        raise ValueError(f"{error.problem}{_where(error)}") from error
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"isn't YAML{_where(error)} ({error.problem})") from error
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, OverflowError) as error:
        # PyYAML's own constructors stumble over dates and numbers that there can't be.
        raise ValueError(f"isn't YAML ({short(error, 100)})") from error


def _where(error: yaml.MarkedYAMLError) -> str:
    return f" from line {error.problem_mark.line + 1} on" if error.problem_mark else ""
