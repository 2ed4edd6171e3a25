"""Finds scans by patterns of their paths, and matches them by their wildcards' text.

`sub-*/anat/*_T1w.nii.gz` and `sub-*/anat/*_T2w.nii.gz` find the scans of a subject in a tree of the
Brain Imaging Data Structure; `T1/*.mha` and `T2/*.mha` those of the same name in two folders.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path, PurePath

from revgan.data.formats import KINDS, WHOLE, Passed, Selection, passed_over, stem
from revgan.data.refs import ScanRef, Scans, given_scans
from revgan.errors import UserError

Key = tuple[str, ...]
"""The text that a pattern's wildcards stand for, in order; the first is the subject."""

ANY_FOLDERS = "**"


def matches(root: Path, pattern: str) -> Iterator[tuple[Key, Path]]:
    """The paths that match a pattern, ordered by name.

    ``*`` stands for any part of a name, ``?`` for a character, ``**`` for any folders, also none.
    Hidden files and folders match only what begins with a dot itself.

    Args:
        root: the folder that the pattern begins in, if it isn't absolute.
        pattern: with ``/`` between folders.
    """
    path = PurePath(pattern)
    start = Path(path.anchor) if path.is_absolute() else root
    parts = path.parts[1:] if path.is_absolute() else path.parts
    yield from _descend(start, parts, ())


def _descend(folder: Path, parts: Sequence[str], key: Key) -> Iterator[tuple[Key, Path]]:
    if not parts:
        yield key, folder
        return
    part, *rest = parts
    if part == ANY_FOLDERS:
        yield from _at_any_depth(folder, rest, key, "")
    elif "*" in part or "?" in part:
        wanted = re.compile(re.sub(r"\\\*", "(.*)", re.escape(part)).replace(r"\?", "(.)"))
        for entry in _entries(folder):
            found = wanted.fullmatch(entry.name)
            if found and (part.startswith(".") or not entry.name.startswith(".")):
                yield from _descend(entry, rest, (*key, *found.groups()))
    elif (folder / part).exists():
        yield from _descend(folder / part, rest, key)


def _at_any_depth(
    folder: Path, rest: Sequence[str], key: Key, passed: str
) -> Iterator[tuple[Key, Path]]:
    yield from _descend(folder, rest, (*key, passed))
    for entry in _entries(folder):
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            yield from _at_any_depth(entry, rest, key, f"{passed}/{entry.name}".lstrip("/"))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder} can't be listed ({error.strerror}); make it readable") from error


def wildcards(pattern: str) -> int:
    """How many parts of a pattern are wildcards."""
    return sum(1 if part == ANY_FOLDERS else len(re.findall(r"[*?]", part))
               for part in PurePath(pattern).parts)  # fmt: skip


Found = dict[Key, ScanRef]


def found_by(
    root: Path,
    pattern: str,
    spatial_dims: int,
    *,
    recursive: bool = False,
    selection: Selection = WHOLE,
) -> tuple[Found, list[Passed]]:
    """The scans by a pattern; those of a folder that it leads to also by their names.

    Raises:
        UserError: there are none, or several by the same key.
    """
    find = partial(given_scans, spatial_dims=spatial_dims, recursive=recursive, selection=selection)
    found: Found = {}
    passed: list[Passed] = []
    known: set[ScanRef] = set()  # ** may lead to a file, and to its folder
    for key, path in matches(root, pattern):
        if not path.is_dir() and (reason := passed_over(path, spatial_dims)):
            passed.append(Passed(path, reason))
            continue
        suffix = path.name[len(stem(path)) :]
        if suffix and key and key[-1].endswith(suffix):  # so that x.nii meets x.mha
            key = (*key[:-1], key[-1].removesuffix(suffix))
        scans = find(path)
        passed += scans.passed
        inside = not (len(scans.refs) == 1 and scans.refs[0].path == path)
        for ref in scans.refs:
            full = (*key, ref.name) if inside else key
            if ref not in known:
                known.add(ref)
                found[full] = replace(ref, root=root)
    if not found:
        kind = KINDS[spatial_dims].many
        why = f" ({len(passed)} skipped: {passed[0].reason})" if passed else ""
        raise UserError(
            f"{root} holds no {kind} that match the pattern {pattern}{why}; correct the pattern"
        )
    return found, passed


def matched(
    patterns: Mapping[str, Found],
) -> tuple[dict[str, Found], dict[str, list[ScanRef]]]:
    """The scans of several patterns that belong together, by what their wildcards stand for.

    Keys are compared by as many of their first parts as make the most of them meet, or else by one
    part of each, so that no two scans of a pattern fall together: `01/sub-01` and
    `01/2020-05-04-ct` meet by the subject.

    Returns:
        The scans of each pattern by the keys that all have, and the others of each.

    Raises:
        UserError: nothing belongs together.
    """
    best: dict[str, Found] = {}
    for parts in _comparisons([len(next(iter(found))) for found in patterns.values()]):
        cut = {
            name: {key[part]: ref for key, ref in found.items()}
            for part, (name, found) in zip(parts, patterns.items(), strict=True)
        }
        if any(len(cut[name]) < len(found) for name, found in patterns.items()):
            continue
        common = set.intersection(*map(set, cut.values()))
        if len(common) > len(next(iter(best.values()), {})):
            best = {
                name: {key: found[key] for key in sorted(common)} for name, found in cut.items()
            }
    if not best:
        examples = " and ".join(
            f"{next(iter(found.values()))} by {name}" for name, found in patterns.items()
        )
        raise UserError(
            f"no scans belong together by their wildcards ({examples}); put wildcards where the "
            "paths have the same text, such as the subject"
        )
    taken = {name: set(found.values()) for name, found in best.items()}
    alone = {
        name: [ref for ref in found.values() if ref not in taken[name]]
        for name, found in patterns.items()
    }
    return best, alone


def _comparisons(lengths: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Which parts of the keys of several patterns may be compared, the best first."""
    for length in range(min(lengths), -1, -1):
        yield (slice(0, length),) * len(lengths)
    single = ([slice(at, at + 1) for at in range(length)] for length in lengths)
    yield from product(*single)


def domain_scans(
    root: Path,
    patterns: Sequence[str],
    spatial_dims: int,
    *,
    recursive: bool = False,
    selection: Selection = WHOLE,
) -> tuple[Found, Scans]:
    """The scans of a domain: of one pattern, or channel upon channel those of several.

    Returns:
        The scans by their keys, and the skipped files.

    Raises:
        UserError: there are none, or a pattern is given twice.
    """
    if twice := next((each for each in patterns if patterns.count(each) > 1), None):
        raise UserError(
            f"{twice} is given twice, but the channels of a scan come from different files; name "
            "each once"
        )
    passed: list[Passed] = []
    by_pattern: dict[str, Found] = {}
    for pattern in patterns:
        found, others = found_by(
            root, pattern, spatial_dims, recursive=recursive, selection=selection
        )
        by_pattern[pattern] = found
        passed += others
    if len(patterns) > 1:
        together, alone = matched(by_pattern)
        passed += [
            Passed(ref.path, "no match in the other patterns of its domain")
            for refs in alone.values()
            for ref in refs
        ]
        first, *more = together.values()
        found = {
            key: replace(ref, more=tuple(other[key].path for other in more))
            for key, ref in first.items()
        }
    named = {
        key: replace(ref, label=_label(key, ref), subject=key[0] if key else "")
        for key, ref in found.items()
    }
    return named, Scans(tuple(named.values()), tuple(passed), root)


def _label(key: Key, ref: ScanRef) -> str:
    """A name from a key, without what another part of it says again: sub-01 of 01 and sub-01."""
    parts = [part for part in dict.fromkeys(key) if part]
    kept = [part for part in parts if not any(part != other and part in other for other in parts)]
    return "-".join(kept).replace("/", "-") or stem(ref.path)
