"""The reversible core: a chain of couplings that trains without storing activations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from revgan.reversible.couplings import Coupling, coupling_steps
from revgan.reversible.modules import has_hooks
from revgan.reversible.recomputation import run_saving_memory
from revgan.reversible.steps import Conditions, Walk, inverted, run, split
from revgan.reversible.tracing import exporting

Halves = tuple[Tensor, Tensor]


class ReversibleSequential(nn.Module):
    """Couplings in a row, one set of weights for both directions (the paper's core C).

    With `memory_saving`, training keeps only the chain's output and recomputes each block's
    activations from it in the backward pass: the memory for activations does not grow with depth,
    at the price of evaluating each f and g once more. Values and gradients are those of the naive
    run; where every coupling is exact, bit for bit.

    Where every coupling is exact, the input is rounded to the grid of `revgan.reversible.grid`
    (to multiples of 2**-16 in float32), so ``core.inverse(core(x))`` returns the rounded x, and x
    itself if it lies on the grid, as every output of a core does.

    f and g may use more than their half of the channels: what else `forward` and `inverse` are
    given, they hand to all of them, such as the embedding of a time or of a class. Its gradients
    are right in both modes. Gradients never go missing in silence: a tensor that requires one and
    reaches f or g by another way is an error. A block that has hooks is called as a module, and so
    fires them once; when memory is saved, its output is kept. Hooks inside f and g also fire in the
    recomputation. Losses on activations inside them work if one ``backward()`` has them and a loss
    on the output. The first run of lazy modules stores activations.

    Args:
        *blocks: the couplings, in forward order.
        memory_saving: recompute activations (True) or store them (False).
        stored_blocks: how many blocks of a memory-saving run store their activations anyway, the
            last ones of each direction: more memory for less recomputation, same results.

    Shapes: (B, C, *spatial) to the same, C even, in both directions; conditions may have any.

    Raises:
        TypeError: a coupling has weights besides those of f and g.
        ValueError: the number of channels is odd, or `stored_blocks` is out of range.
        RuntimeError: a memory-saving run is differentiated twice (``create_graph=True``), in
            forward mode or by `torch.func`; was switched between train() and eval() before its
            backward pass; or can't get its activations back, as f or g compute something else the
            second time.

    Examples:
        >>> import torch
        >>> from revgan.reversible import AdditiveCoupling, ReversibleSequential
        >>> def net():
        ...     return torch.nn.Conv2d(4, 4, 3, padding=1)
        >>> core = ReversibleSequential(*(AdditiveCoupling(net(), net()) for _ in range(3)))
        >>> y = core(torch.randn(1, 8, 5, 5))
        >>> y.sum().backward()  # stored y, and nothing else
        >>> x = core.inverse(y)
        >>> torch.equal(core(x), y)
        True

        With a condition, here of three numbers:

        >>> class Scaled(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.conv, self.scale = net(), torch.nn.Linear(3, 4)
        ...     def forward(self, x, condition):
        ...         return self.conv(x) * self.scale(condition)[:, :, None, None]
        >>> core = ReversibleSequential(AdditiveCoupling(Scaled(), Scaled()))
        >>> condition = torch.ones(1, 3, requires_grad=True)
        >>> y = core(torch.randn(1, 8, 5, 5), condition)
        >>> y.sum().backward()
        >>> condition.grad.shape
        torch.Size([1, 3])
        >>> torch.equal(core(core.inverse(y, condition), condition), y)
        True
    """

    def __init__(
        self, *blocks: Coupling, memory_saving: bool = True, stored_blocks: int = 0
    ) -> None:
        super().__init__()
        if any(_has_weights_of_its_own(block) for block in blocks):
            raise TypeError(
                "a coupling keeps its weights in f and g; it can't have any of its own, since they "
                "would get no gradient"
            )
        if not 0 <= stored_blocks <= len(blocks):
            raise ValueError(
                f"stored_blocks must be from 0 to the number of blocks, {len(blocks)}, not "
                f"{stored_blocks}"
            )
        self.blocks = nn.ModuleList(blocks)
        self.memory_saving = memory_saving
        self.stored_blocks = stored_blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Coupling]:
        return iter(self.blocks)  # type: ignore[arg-type]  # ModuleList forgets its element type

    @property
    def exact(self) -> bool:
        """Whether the inverse is bit-exact: all couplings are."""
        return all(block.exact for block in self)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Maps x (B, C, *spatial) to y of the same shape.

        Args:
            x: the input.
            *conditions: handed on to f and g, which are called as ``f(half, *conditions)``.
        """
        return torch.cat(self._forward(self._split(x, conditions), conditions), dim=1)

    def inverse(self, y: Tensor, *conditions: Tensor) -> Tensor:
        """Maps y (B, C, *spatial) back to x, under the conditions that it was made with."""
        return torch.cat(self._inverse(self._split(y, conditions), conditions), dim=1)

    def halves(self, h: Tensor, *conditions: Tensor, inverse: bool = False) -> Halves:
        """The halves of what `forward` (or `inverse`) returns, which need not be joined then."""
        if has_hooks(self):
            first, second = (self.inverse if inverse else self)(h, *conditions).chunk(2, dim=1)
            return first, second
        halves = self._split(h, conditions)
        del h  # the caller may have kept none
        return (self._inverse if inverse else self._forward)(halves, conditions)

    def _split(self, x: Tensor, conditions: Conditions) -> list[Tensor]:
        return list(split(x, conditions, exact=self.exact))

    def _forward(self, halves: list[Tensor], conditions: Conditions) -> Halves:
        for blocks, walk in self._sections(list(self)):
            if isinstance(blocks, Coupling):
                y: Tensor = blocks(torch.cat(halves, dim=1), *conditions, walk=walk)
                halves = self._split(y, ())
            else:
                halves = list(walk(coupling_steps(blocks), halves, conditions))
        first, second = halves
        return first, second

    def _inverse(self, halves: list[Tensor], conditions: Conditions) -> Halves:
        for blocks, walk in self._sections(list(self)[::-1]):
            if isinstance(blocks, Coupling):
                x = blocks.inverse(torch.cat(halves, dim=1), *conditions, walk=walk)
                halves = self._split(x, ())
            else:
                halves.reverse()  # inverted steps take and return them in the other order
                halves = list(walk(inverted(coupling_steps(blocks[::-1])), halves, conditions))
                halves.reverse()
        first, second = halves
        return first, second

    def _sections(self, blocks: list[Coupling]) -> Iterator[tuple[Coupling | list[Coupling], Walk]]:
        """Cuts blocks, in their order, at those that have hooks; with how to walk each section."""
        start = 0
        for i, block in enumerate(blocks):
            if has_hooks(block):
                if i > start:
                    yield blocks[start:i], self._walk(len(blocks) - i, i - start)
                yield block, self._walk(len(blocks) - i - 1, 1)
                start = i + 1
        yield blocks[start:], self._walk(0, len(blocks) - start)

    def _walk(self, behind: int, blocks: int) -> Walk:
        """How to run a section of some blocks, with so many blocks behind it."""
        if not (self.memory_saving and torch.is_grad_enabled()) or exporting():
            return run
        stored = min(blocks, max(0, self.stored_blocks - behind))
        return partial(run_saving_memory, stored=2 * stored)

    def extra_repr(self) -> str:
        stored = f", stored_blocks={self.stored_blocks}" if self.stored_blocks else ""
        return f"memory_saving={self.memory_saving}{stored}"


def _has_weights_of_its_own(block: Coupling) -> bool:
    of_nets = {id(weight) for net in (block.f, block.g) for weight in net.parameters()}
    return any(id(weight) not in of_nets for weight in block.parameters())
