"""What a report's viewer shows of one direction: its test scans as pictures for a page."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from revgan.data.domains import spread
from revgan.evaluation.cases import SIDES, Case, Kind, Side
from revgan.evaluation.tables import COLUMNS
from revgan.evaluation.windows import Window
from revgan.figures.differences import common_limit, difference_map, most_different
from revgan.figures.slices import side_by_side
from revgan.figures.stacks import Stack, encoded, mosaic
from revgan.figures.windows import windowed

EXACT = 4 * 10**6
"""Up to so many pixels in a page, pictures are kept as they are; more are compressed with loss."""

SMALL_PICTURE = 128
"""Pictures narrower than this are enlarged in the page, with square pixels."""


class Featured(NamedTuple):
    """A scan that the page shows outside the viewer too: its number, and what it is."""

    number: int
    label: str


class Front(NamedTuple):
    """A picture outside the viewer.

    Attributes:
        kind: of `cases.KINDS`.
        id: of its element, where the viewer takes the picture from there; else "".
        source: a data URL.
        small: whether its pixels are to be enlarged as squares.
    """

    kind: Kind
    id: str
    source: str
    small: bool


@dataclass(frozen=True)
class Viewer:
    """The test scans of a direction.

    Attributes:
        direction: "AtoB" or "BtoA".
        cases: its test scans, at least one.
        scores: those of each scan that has any, by its name and by the keys of `tables.COLUMNS`.
        ranked_by: the score that makes scans the best, the median and the worst.
        windows: by side, those to choose from; the first is the one at first. Pictures whose cases
            have tables need one.
    """

    direction: str
    cases: Sequence[Case]
    scores: Mapping[str, Mapping[str, float]]
    ranked_by: str
    windows: Mapping[Side, Sequence[Window]] = field(default_factory=dict)

    @property
    def windowed(self) -> list[Side]:
        """The sides whose windows can be chosen."""
        return [side for side in self.windows if side in self.cases[0].tables]

    def step(self, side: Side) -> float:
        """By how much a key changes a window: a fiftieth of the one at first, or a round less."""
        return nice_width(self.windows[side][0].width, 100)

    @property
    def volumes(self) -> bool:
        """Whether scans have slices in three planes."""
        return self.cases[0].volume

    @property
    def sides_known(self) -> bool:
        """Whether right and left are known of every scan."""
        return all(case.sides_known for case in self.cases)

    @property
    def kinds(self) -> list[Kind]:
        """The pictures of each scan."""
        return self.cases[0].kinds

    @property
    def front_kinds(self) -> list[Kind]:
        """The pictures that stand outside the viewer."""
        return [kind for kind in self.kinds if kind != "round trip" or "truth" not in self.kinds]

    @cached_property
    def limit(self) -> float:
        """The difference at the ends of the colour scale, the same for all scans."""
        differences = [case.difference for case in self.cases if case.difference is not None]
        return common_limit([most_different(difference) for difference in differences])

    @cached_property
    def exact(self) -> bool:
        """Whether pictures are few enough to be kept as they are."""
        return sum(math.prod(case.shape) * len(case.kinds) for case in self.cases) <= EXACT

    @cached_property
    def score_keys(self) -> list[str]:
        """The scores that a scan may have."""
        present = {key for scores in self.scores.values() for key in scores}
        return [key for key in COLUMNS if key in present]

    @property
    def featured(self) -> list[Featured]:
        """The best, the median and the worst scan; without scores, some that are spread evenly."""
        ranked = sorted(
            (COLUMNS[self.ranked_by].rank(score), number)
            for number, case in enumerate(self.cases)
            if math.isfinite(score := self.score(case, self.ranked_by))
        )
        if not ranked:
            return [Featured(number, "Example") for number in spread(range(len(self.cases)), 3)]
        heading, last = COLUMNS[self.ranked_by].heading, len(ranked) - 1
        places = {0: f"Best by {heading}", last: f"Worst by {heading}", last // 2: "Median"}
        if last < 2:
            places = dict(list(places.items())[: last + 1])
        return [Featured(ranked[place][1], places[place]) for place in sorted(places)]

    def score(self, case: Case, key: str) -> float:
        """A scan's score, NaN if it has none."""
        return self.scores.get(case.name, {}).get(key, math.nan)

    def told(self, case: Case) -> list[str]:
        """A scan's scores in words, such as "PSNR (dB) 30.12"."""
        known = {key: self.score(case, key) for key in self.score_keys}
        return [
            f"{COLUMNS[key].heading} {value:.{self._digits(key)}f}"
            for key, value in known.items()
            if math.isfinite(value)
        ]

    def _digits(self, key: str) -> int:
        values = (scores[key] for scores in self.scores.values() if key in scores)
        return COLUMNS[key].digits_for([value for value in values if math.isfinite(value)] or [0])

    def index(self) -> dict[str, Any]:
        """What viewer.js needs to know, for JSON."""
        scores = [
            {
                "key": key,
                "heading": COLUMNS[key].heading,
                "digits": self._digits(key),
                "lower": COLUMNS[key].lower_is_better,
                "size": COLUMNS[key].rank(-1) == COLUMNS[key].rank(1),
            }
            for key in self.score_keys
        ]
        return {
            "direction": self.direction,
            "kinds": self.kinds,
            "scores": scores,
            "sides": {kind: side for kind, side in SIDES.items() if side in self.windowed},
            "first": self.featured[len(self.featured) // 2].number,
            "cases": [
                {
                    "name": case.name,
                    "shape": case.shape,
                    "spacing": case.spacing,
                    "centre": case.centre,
                    "tables": {
                        side: [float(f"{value:.6g}") for value in table]
                        for side, table in case.tables.items()
                    },
                    "scores": {
                        key: value
                        for key in self.score_keys
                        if math.isfinite(value := self.score(case, key))
                    },
                }
                for case in self.cases
            ],
        }

    def fronts(self, number: int) -> list[Front]:
        """The pictures of a scan outside the viewer: of a volume, three planes side by side."""
        case = self.cases[number]
        fronts = []
        for kind in self.front_kinds:
            values = self._in_window(case, kind)
            if case.volume:
                three = Stack(values.float(), case.spacing).planes(case.centre)
                picture = mosaic(side_by_side(three, black=0)[:, None].round().byte())
                identity = ""
            else:
                picture = mosaic(values)
                identity = self.picture_id(number, kind) if self._is_shown(kind) else ""
            small = picture.width < SMALL_PICTURE
            fronts.append(Front(kind, identity, self._source(picture), small))
        return fronts

    def stored(self) -> dict[str, str]:
        """The pictures that only the viewer shows, in base64, by the ids of their elements."""
        featured = {number for number, _ in self.featured}
        return {
            self.picture_id(number, kind): self._base64(mosaic(self._values(case, kind)))
            for number, case in enumerate(self.cases)
            for kind in case.kinds
            if number not in featured or not self._is_shown(kind)
        }

    def _is_shown(self, kind: Kind) -> bool:
        """Whether the viewer can take a featured scan's picture from outside."""
        if self.volumes or kind not in self.front_kinds:
            return False
        return kind == "difference" or SIDES[kind] not in self.windowed

    def _in_window(self, case: Case, kind: Kind) -> Tensor:
        """A picture's slices in the window at first."""
        values = self._values(case, kind)
        if kind == "difference" or SIDES[kind] not in case.tables:
            return values
        _, centre, width = self.windows[SIDES[kind]][0]
        of_levels = windowed(torch.from_numpy(case.tables[SIDES[kind]]), centre, width)
        return of_levels.add(1).div(2).mul(255).round().byte()[values.long()]

    def picture_id(self, number: int, kind: Kind) -> str:
        """The id of the element that holds a picture."""
        return f"{self.direction}-{number}-{kind.replace(' ', '-')}"

    def _values(self, case: Case, kind: Kind) -> Tensor:
        """A picture's slices, (C, D, H, W) of 8 bits."""
        if kind != "difference":
            return case.stacks[kind]
        assert case.difference is not None
        colours = difference_map(case.difference, self.limit)
        return (colours.add(1).div(2) * 255).round().to(torch.uint8)

    def _source(self, picture: Image.Image) -> str:
        return f"data:image/webp;base64,{self._base64(picture)}"

    def _base64(self, picture: Image.Image) -> str:
        return base64.b64encode(encoded(picture, lossless=self.exact)).decode("ascii")


def nice_width(span: float, most: int) -> float:
    """The least of 1, 2, 2.5, 5, 10 and so on, of which at most `most` cover a span."""
    power = 10.0 ** math.floor(math.log10(span / most))
    # A quotient of powers of ten may be off by a rounding error.
    return next(
        step * power for step in (1, 2, 2.5, 5, 10, 20) if step * power * most >= span * (1 - 1e-9)
    )
