"""Gradients averaged over the processes of a training, while the backward pass still goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from revgan.training.processes import together

BUCKET = 25 * 2**20
"""Bytes of gradients that travel together, as in PyTorch's DDP."""

Completion = tuple[int, int]
"""When a weight's gradient was complete: the pass of its step, and the place within the pass."""


@dataclass(frozen=True)
class Bucket:
    """Gradients that travel together.

    Attributes:
        weights: their numbers.
        completed: in which pass of a step each is complete.
    """

    weights: tuple[int, ...]
    completed: tuple[int, ...]


class GradientAverage:
    """Averages a network's gradients over all processes.

    A step backpropagates several losses, so a weight's gradient is complete after the last pass
    that adds to it. The first step sees when that is, and averages at its end. From then on,
    weights share buckets in this order, and a bucket leaves when it is complete. The order is that
    of the first process, so all send the same. If a process adds to a gradient that has left, as
    its first step had no need of it, the rest is averaged by itself: averages of sums are sums of
    averages. (PyTorch's DDP would average after every loss, and miss weights that the last one
    doesn't touch.)

    Args:
        weights: the network's, which need gradients.
        processes: how many there are.
    """

    def __init__(self, weights: Sequence[nn.Parameter], processes: int) -> None:
        self._weights, self._processes = list(weights), processes
        self._buckets: list[Bucket] = []
        self._start()
        if processes > 1:
            for number, weight in enumerate(self._weights):
                weight.register_post_accumulate_grad_hook(lambda _, n=number: self._added(n))

    def _start(self) -> None:
        self._pass = 0
        self._seen: dict[int, Completion] = {}
        self._under_way: list[tuple[Bucket, Tensor, dist.Work]] = []

    def next_pass(self) -> None:
        """Says that the next of a step's losses is backpropagated."""
        self._pass += 1

    def finish(self) -> None:
        """Ends a step's passes: all gradients are averages now, of zeros where there were none.

        Raises:
            LostProcessError: another process of the training has ended.
        """
        if self._processes == 1:
            return
        with together():
            if not self._buckets:
                self._buckets = self._planned()
            while len(self._under_way) < len(self._buckets):
                self._send()
            arrived = self._arrived()
            if self._any_late():
                late = [
                    w.grad if w.grad is not None else torch.zeros_like(w) for w in self._weights
                ]
                for gradient, rest in zip(arrived, late, strict=True):
                    dist.all_reduce(rest)
                    gradient += rest / self._processes
        for weight, gradient in zip(self._weights, arrived, strict=True):
            weight.grad = gradient
        self._start()

    def _added(self, number: int) -> None:
        """A pass has added to a weight's gradient."""
        self._seen[number] = self._pass, len(self._seen)
        while len(self._under_way) < len(self._buckets):
            bucket = self._buckets[len(self._under_way)]
            seen = (self._seen.get(number, (-1, 0))[0] for number in bucket.weights)
            if any(last < due for last, due in zip(seen, bucket.completed, strict=True)):
                return
            with together():
                self._send()

    def _send(self) -> None:
        """Sends the next bucket; its gradients move into one tensor, and so take no more memory."""
        bucket = self._buckets[len(self._under_way)]
        weights = [self._weights[number] for number in bucket.weights]
        flat = weights[0].new_zeros(sum(weight.numel() for weight in weights))
        for weight, place in zip(weights, _places(flat, weights), strict=True):
            if weight.grad is not None:
                place.copy_(weight.grad)
                weight.grad = None
        work = dist.all_reduce(flat, async_op=True)
        assert work is not None
        self._under_way.append((bucket, flat, work))

    def _arrived(self) -> list[Tensor]:
        """The averages, in the order of the weights."""
        found: dict[int, Tensor] = {}
        for bucket, flat, work in self._under_way:
            work.wait()
            flat /= self._processes
            weights = [self._weights[number] for number in bucket.weights]
            found |= dict(zip(bucket.weights, _places(flat, weights), strict=True))
        return [found[number] for number in range(len(self._weights))]

    def _any_late(self) -> bool:
        """Whether something was added, in any process, to a gradient that had left."""
        late = any(weight.grad is not None for weight in self._weights)
        flag = torch.tensor(float(late), device=self._weights[0].device)
        dist.all_reduce(flag)
        return bool(flag > 0)

    def _planned(self) -> list[Bucket]:
        """Buckets in the order in which the first process's gradients were complete."""
        numbers = range(len(self._weights))
        plan = [[self._seen.get(number, (0, 0)) for number in numbers]]
        dist.broadcast_object_list(plan)
        [completion] = plan
        order = sorted(numbers, key=lambda number: completion[number])
        return [
            Bucket(tuple(group), tuple(completion[number][0] for number in group))
            for group in _groups(order, self._weights)
        ]


def _groups(order: Sequence[int], weights: Sequence[Tensor]) -> Iterator[list[int]]:
    """Neighbours of one type that fit into a bucket."""
    group: list[int] = []
    size = 0
    for number in order:
        weight = weights[number]
        if group and (size + weight.nbytes > BUCKET or weight.dtype != weights[group[0]].dtype):
            yield group
            group, size = [], 0
        group.append(number)
        size += weight.nbytes
    yield group


def _places(flat: Tensor, weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """The parts of one tensor for each weight, in the weights' memory layout."""
    for weight, part in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
        yield part.as_strided(weight.shape, weight.stride(), part.storage_offset())
