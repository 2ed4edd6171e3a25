"""How much the parts of a step's batch count, within a process and over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor

from revgan.directions import DomainName
from revgan.training.batch import Batch
from revgan.training.objectives import Objective, Players
from revgan.training.processes import together


class Counting:
    """Cuts batches into parts whose losses average to those of one batch, however masks cover them.

    Gradients are averaged over parts and processes, each alike. A part with few values in its mask
    would count as much as one with many if its losses were means over its own values; so they are
    means over as many values as all parts of all processes have on average (`Batch.over`).

    Sums travel between processes before the passes that need them, when no gradients do: processes
    must send in one order, and when a gradient leaves depends on its process's images.

    Args:
        objective: says what each loss counts.
        players: the networks.
        accelerator: the processes.
        accumulate: into how many parts a process cuts its batch.
    """

    def __init__(
        self, objective: Objective, players: Players, accelerator: Accelerator, accumulate: int
    ) -> None:
        self._objective, self._players = objective, players
        self._accelerator, self._accumulate = accelerator, accumulate
        self._alone = accumulate * accelerator.num_processes == 1

    def parts(self, batch: Batch) -> list[Batch]:
        """The parts of a batch. All processes must call this together.

        Raises:
            LostProcessError: another process of the training has ended.
        """
        parts = batch.parts(self._accumulate)
        if batch.gaps is None or self._alone:
            return parts
        over = self._means([self._objective.counted(self._players, part) for part in parts])
        return [replace(part, over=over) for part in parts]

    def for_judge(
        self, domain: DomainName, parts: Sequence[Batch], shown: Sequence[Tensor]
    ) -> list[Batch]:
        """The parts for a judge, who sees translations that may come from other batches.

        All processes must call this together.

        Args:
            domain: whose judge.
            parts: what `parts` gave.
            shown: what `Objective.judged_fakes` gave for each.

        Raises:
            LostProcessError: another process of the training has ended.
        """
        if parts[0].gaps is None or self._alone:
            return list(parts)
        find = self._objective.counted_shown
        over = self._means([find(domain, self._players, each) for each in shown])
        return [replace(part, over={**part.over, **over}) for part in parts]

    def _means(self, counts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The sums of each part, by name, averaged over all parts of all processes."""
        processes = self._accelerator.num_processes
        totals = {name: torch.stack([part[name] for part in counts]).sum() for name in counts[0]}
        if processes > 1:
            own = torch.stack([total.double() for total in totals.values()])
            with together():
                summed = self._accelerator.reduce(own)
            totals = dict(zip(totals, summed.unbind(), strict=True))
        # The least that a batch counts is 1, as without parts.
        return {
            name: total.clamp(min=1) / (len(counts) * processes) for name, total in totals.items()
        }
