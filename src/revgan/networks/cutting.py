"""Which rows of a stack of stages run together."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from revgan.networks.stages import Stage

_only_unlike = False


@contextmanager
def unlike_slabs() -> Iterator[None]:
    """While active, slabs that take what earlier ones took are left out, for predicting memory.

    Of slabs with the same shapes all the way through their stage, the first two run, and the very
    last one: the first makes room for what the others add to, and each starts while results of the
    one before are alive. All values are then wrong.
    """
    global _only_unlike
    before, _only_unlike = _only_unlike, True
    try:
        yield
    finally:
        _only_unlike = before


def cut(stages: list[Stage], slabs: int) -> None:
    """Cuts all stages into slabs of about as many rows as those of the largest one have."""
    largest = max(stage.size for stage in stages)
    thickness = -(-largest // slabs)
    behind: Stage | None = None
    for stage in reversed(stages):
        stage.wide = behind is not None and not behind.wide and stage.size == largest
        count = min(stage.size, -(-max(stage.size, stage.source.size) // thickness))
        bounds = [stage.size * i // count for i in range(count + 1)]
        stage.slabs = [range(*ends) for ends in pairwise(bounds)]
        behind = stage
    if _only_unlike:
        for stage in stages:
            stage.slabs = _unlike(stage)


def _unlike(stage: Stage) -> list[range]:
    seen: Counter[tuple[int, ...]] = Counter()
    chosen = []
    for rows in stage.slabs:
        cuts = stage.cuts(rows)
        if isinstance(stage.source, Stage):
            cuts = [*stage.source.cuts(cuts[0].source), *cuts]
        shape = (*(len(cut.source) for cut in cuts), len(rows))
        seen[shape] += 1
        if seen[shape] <= 2 or rows is stage.slabs[-1]:
            chosen.append(rows)
    return chosen
