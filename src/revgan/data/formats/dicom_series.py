"""DICOM: which slices make a volume, in which order, and where it lies."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from revgan.data.formats.contract import Affine, Passed, Selection
from revgan.data.formats.dicom_slices import NoImageError, Slice, slices_of
from revgan.errors import UserError, notice, one_line

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's coordinates grow towards left, posterior and superior; this goes there and back."""

SAME = 0.01
"""Millimetres within which slices are at one position."""

UNEVEN = 0.05
"""How far slices may be from even distances, as a share of these: no more than rounding does."""

TILTED = np.deg2rad(0.1)
"""From how much on slices that are shifted against each other are told of."""


@dataclass(frozen=True)
class Series:
    """Slices that make one volume.

    Attributes:
        slices: in the order of the files.
        stack: which of several in a file they are; "" if there is only one.
    """

    slices: tuple[Slice, ...]
    stack: str = ""

    @property
    def title(self) -> str:
        """What people call it."""
        first = self.slices[0]
        words = [first.number, first.description and f"({first.description})"]
        words.append(self.stack and f"stack {self.stack}")
        return " ".join(filter(None, ["series", *words]))

    @property
    def files(self) -> list[Path]:
        """Of its slices, each once."""
        return list(dict.fromkeys(each.path for each in self.slices))


def find_series(files: Sequence[Path], selection: Selection) -> tuple[list[Series], list[Passed]]:
    """The series in files of one folder that can make volumes, and what else is there.

    Of a series, single slices that lie otherwise, such as localizers, are left out.

    Raises:
        UserError: none is the one that the selection asks for.
    """
    by_series: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
    passed = []
    for path in files:
        try:
            found = slices_of(path)
        except NoImageError as error:
            passed.append(Passed(path, str(error)))
        except Exception as error:  # damaged files make pydicom raise nearly anything
            passed.append(Passed(path, f"damaged DICOM ({one_line(error, 80)})"))
        else:
            for stack, slices in _stacks(found).items():
                by_series[found[0].series, stack, str(path) if stack else ""].extend(slices)
    series = [Series(tuple(slices), stack) for (_, stack, _), slices in by_series.items()]
    if selection.series is not None and series:
        series = [_chosen(series, selection.series, files[0].parent)]
        chosen = set(series[0].files)
        others = dict.fromkeys(each.path for slices in by_series.values() for each in slices)
        passed += [
            Passed(path, f"not of series {selection.series}")
            for path in others
            if path not in chosen
        ]
    volumes = []
    for each in series:
        volume, more = _without_strays(each)
        passed += more
        volumes += [volume] if volume else []
    return volumes, passed


def _stacks(slices: Sequence[Slice]) -> dict[str, list[Slice]]:
    """A file's slices by the stack that they are in; all by "" unless several are volumes."""
    found: dict[str, list[Slice]] = defaultdict(list)
    for each in slices:
        found[each.stack].append(each)
    several = len(found) > 1 and min(map(len, found.values())) > 1 and "" not in found
    return found if several else {"": list(slices)}


def _chosen(series: list[Series], wanted: str, folder: Path) -> Series:
    """By its UID, its number, what it is called, its stack, or else its place in the list."""
    heads = [each.slices[0] for each in series]
    for names in (
        [head.series for head in heads],
        [head.number for head in heads],
        [head.description for head in heads],
        [each.stack for each in series],
        [str(place) for place in range(len(heads))],
    ):
        if names.count(wanted) == 1:
            return series[names.index(wanted)]
    raise UserError(
        f"{folder} holds no series {wanted} but {listed(series)}; choose one by its number, its "
        "UID or its stack's number"
    )


def listed(series: Sequence[Series]) -> str:
    """Series in words."""
    return ", ".join(each.title for each in series)


def _without_strays(series: Series) -> tuple[Series | None, list[Passed]]:
    """The slices of a series that lie side by side on one grid, the most of them; the rest."""
    passed: dict[Path, str] = {}
    grids: dict[Any, list[Slice]] = defaultdict(list)
    seen: dict[tuple[str, int | None], Path] = {}
    for each in series.slices:
        first = seen.setdefault((each.uid, each.frame), each.path)
        if each.uid and first != each.path:
            passed[each.path] = f"the same instance as {first.name}"
        elif each.localizer and len(series.slices) > 1:
            passed[each.path] = "a localizer"
        elif not each.placed:
            passed[each.path] = "DICOM that doesn't say where in the patient it is"
        else:
            assert each.directions is not None
            directions = tuple(np.round(each.directions, 3) + 0.0)  # -0 is 0
            grids[each.shape, each.samples, directions].append(each)
    if not grids:
        return None, [Passed(path, reason) for path, reason in passed.items()]
    largest = max(grids.values(), key=len)
    for slices in grids.values():
        if slices is not largest:
            for each in slices:
                passed[each.path] = f"of other size or orientation than most of {series.title}"
    if len(largest) == 1:
        passed[largest[0].path] = "a single slice, which isn't a volume"
    taken = {each.path for each in largest} if len(largest) > 1 else set()
    for path in taken & passed.keys():  # some of its frames
        all_of_it, left = (
            sum(each.path == path for each in slices) for slices in (series.slices, largest)
        )
        notice(f"{path}: {all_of_it - left} of {all_of_it} frames are left out ({passed[path]})")
    told = [Passed(path, reason) for path, reason in passed.items() if path not in taken]
    return (replace(series, slices=tuple(largest)) if taken else None), told


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order.

    Attributes:
        slices: by position along the normal, and at each position those of the channels.
        affine: (4, 4), to millimetres in RAS+.
    """

    slices: tuple[tuple[Slice, ...], ...]
    affine: Affine


def stack(series: Series, where: Path) -> Stack:
    """Orders the slices of a series, and finds where the volume lies.

    Several slices at every position, such as echoes or points in time, are channels.

    Args:
        series: at least two slices of the same orientation.
        where: for messages.

    Raises:
        UserError: slices are missing, unevenly spaced, or of several spacings.
    """
    what = f"{where}: {series.title}" if len(series.files) > 1 else str(where)
    first = series.slices[0]
    assert first.directions is not None
    assert first.spacing is not None
    spacings = np.array([each.spacing for each in series.slices])
    if np.ptp(spacings, axis=0).max() > 1e-4 * spacings.min():
        raise UserError(f"{what} has slices of several pixel spacings; take one of these out")
    across, down = np.array(first.directions[:3]), np.array(first.directions[3:])
    normal = np.cross(across, down)
    along = [float(np.dot(normal, np.array(each.position))) for each in series.slices]
    order = sorted(range(len(along)), key=lambda index: along[index])
    levels: list[list[Slice]] = []
    heights: list[float] = []
    for index in order:
        if not heights or along[index] - heights[-1] > SAME:
            heights.append(along[index])
            levels.append([])
        levels[-1].append(series.slices[index])
    counts = Counter(map(len, levels))
    if len(counts) > 1:
        most = counts.most_common(1)[0][0]
        odd = next(level for level in levels if len(level) != most)
        raise UserError(
            f"{what} has {most} slice{'s'[: most > 1]} at most positions, but {len(odd)} at that "
            f"of {odd[0].path.name}; complete the series, or take out what is there twice"
        )
    if len(levels) < 2:
        raise UserError(f"{what} is 2D: all slices are at one position; volumes have several")
    ordered = tuple(tuple(sorted(level, key=lambda each: each.order)) for level in levels)
    _require_even(heights, ordered, what)
    positions = np.array([level[0].position for level in ordered])
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    _require_straight(positions, step, what)
    tilt = float(np.arccos(min(1.0, np.dot(step, normal) / np.linalg.norm(step))))
    if tilt > TILTED:
        notice(
            f"{what} is tilted by {np.rad2deg(tilt):.1f} degrees (the gantry's tilt): its slices "
            "are shifted against each other, as its affine says"
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * first.spacing[0], down * first.spacing[1]
    affine[:3, 2], affine[:3, 3] = step, positions[0]
    return Stack(ordered, LPS @ affine)


def _require_even(heights: list[float], levels: tuple[tuple[Slice, ...], ...], what: str) -> None:
    """Refuses slices at uneven distances: on an even grid they would not be where they are."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    worst = int(np.argmax(np.abs(steps - usual)))
    # Rounded positions add up to nothing; a change of distance adds up along the series.
    even = np.linspace(heights[0], heights[-1], len(heights))
    if abs(steps[worst] - usual) <= UNEVEN * usual and (
        np.abs(np.array(heights) - even).max() <= 0.5 * usual
    ):
        return
    before, after = (levels[index][0].path.name for index in (worst, worst + 1))
    problem = f"{before} and {after} are {steps[worst]:.4g} mm apart, most others {usual:.4g}"
    missing = round(steps[worst] / usual) - 1
    if missing > 0 and abs(steps[worst] - (missing + 1) * usual) <= UNEVEN * usual * (missing + 1):
        are = "slice is" if missing == 1 else "slices are"
        raise UserError(f"{what} has a gap: {problem}; {missing} {are} missing, get all of them")
    raise UserError(
        f"{what} has unevenly spaced slices: {problem}; resample it to even ones, or take out "
        "those of other spacing"
    )


def _require_straight(positions: Any, step: Any, what: str) -> None:
    """Refuses slices that are not shifted alike from one to the next."""
    straight = positions[0] + np.arange(len(positions))[:, None] * step
    away = float(np.linalg.norm(positions - straight, axis=1).max())
    if away > 0.5 * float(np.linalg.norm(step)):
        raise UserError(
            f"{what} has slices up to {away:.3g} mm beside their place in a stack; split it into "
            "stacks"
        )
