"""An encoder or decoder as stages, each of which computes rows from rows of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revgan.networks.layers import CHANNELS_LAST
from revgan.networks.rows import Arrangement, Convolution, Cut
from revgan.networks.statistics import SlabNorm


@dataclass(eq=False)
class Input:
    """What the first stage reads.

    Attributes:
        parts: (B, C, *spatial), which stand for their concatenation along the channels.
        axis: the one that is cut.
        dtype: what autocast computes in, if it is on.
        needs_gradient: whether a part's gradient is asked for.
        gradients: of the parts, so far.
    """

    parts: Sequence[Tensor]
    axis: int
    dtype: torch.dtype | None
    needs_gradient: bool = False
    gradients: list[Tensor] = field(default_factory=list)

    @property
    def ndim(self) -> int:
        """How many axes the parts have."""
        return self.parts[0].ndim

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.parts[0].shape[self.axis]

    def read(self, rows: range) -> Tensor:
        """Some rows."""
        parts = [narrow(part, self.axis, rows) for part in self.parts]
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return x if self.dtype is None else x.to(self.dtype)

    def add_gradient(self, grad: Tensor, rows: range) -> None:
        """Adds to the gradients of some rows."""
        if not self.gradients:
            self.gradients = [torch.zeros_like(part) for part in self.parts]
        channels = [part.shape[1] for part in self.parts]
        for total, part in zip(self.gradients, grad.split(channels, dim=1), strict=True):
            narrow(total, self.axis, rows).add_(part)


@dataclass(eq=False)
class Stage:
    """A convolution with all that belongs to it: u, h and z of `revgan.networks.slabs`.

    Attributes:
        source: what it reads.
        before: what rearranges the convolution's input.
        conv: the convolution.
        after: what rearranges its output.
        norm: normalises that, if anything does.
        activation: ends the stage, if there is one.
        slabs: rows of the output, by which to compute them.
        contiguous: whether the output's channels come first in memory; else they are last.
        wide: whether the output is one of the largest: then it never exists whole.
        h: whole, while it exists.
        output: z, whole, in the backward pass of a tanh, which no norm comes before.
        gradient: of z, whole, while it exists.
        of_u: the gradient of u, whole, while it exists; it lies where h was.
    """

    source: Input | Stage
    before: list[Arrangement]
    conv: Convolution
    after: list[Arrangement] = field(default_factory=list)
    norm: SlabNorm | None = None
    activation: nn.ReLU | nn.LeakyReLU | nn.Tanh | None = None
    slabs: list[range] = field(default_factory=list)
    contiguous: bool = False
    wide: bool = False
    h: Tensor | None = None
    output: Tensor | None = None
    gradient: Tensor | None = None
    of_u: Tensor | None = None
    _cuts: dict[range, list[Cut]] = field(default_factory=dict)

    @cached_property
    def axis(self) -> int:
        """The axis that is cut."""
        return self.source.axis

    @cached_property
    def size(self) -> int:
        """How many rows the output has."""
        size = self.source.size
        for layer in self._layers:
            size = layer.size(size)
        return size

    @cached_property
    def needs_gradient(self) -> bool:
        """Whether a weight's gradient is asked for, here or in a stage before, or the input's."""
        of_norm = self.norm is not None and self.norm.wanted
        return any(self.conv.wanted) or of_norm or self.source.needs_gradient

    @cached_property
    def _layers(self) -> list[Arrangement | Convolution]:
        return [*self.before, self.conv, *self.after]

    def cuts(self, rows: range) -> list[Cut]:
        """Where each layer runs to compute some rows."""
        if rows in self._cuts:
            return self._cuts[rows]
        sizes = [self.source.size]
        for layer in self._layers[:-1]:
            sizes.append(layer.size(sizes[-1]))
        cuts: list[Cut] = []
        self._cuts[rows] = cuts
        for layer, size in zip(reversed(self._layers), reversed(sizes), strict=True):
            cuts.insert(0, Cut(self.axis, size, layer.reach(rows, size), rows))
            rows = cuts[0].source
        return cuts

    def reach(self, rows: range) -> range:
        """The rows of the source that some rows depend on."""
        return self.cuts(rows)[0].source

    def convolved(
        self, rows: range, x: Tensor | None = None, *, conv: Convolution | None = None
    ) -> Tensor:
        """Some rows of u.

        Args:
            rows: which.
            x: the rows of the source that `reach(rows)` names, if they are there.
            conv: another convolution to compute with, of the same shape.
        """
        cuts = self.cuts(rows)
        x = self.source.read(cuts[0].source) if x is None else x
        for layer, cut in zip(self._layers, cuts, strict=True):
            x = (conv or layer if layer is self.conv else layer).run(x, cut)
        return x

    @cached_property
    def _normalising(self) -> Convolution | None:
        """A convolution that computes h rather than u: wide rows are so passed over less often.

        None where that can't be: samples have statistics of their own, something comes between
        convolution and norm, or 16 bits would round the weights once more.
        """
        if self.norm is None or not self.wide or self.after or self.conv.weight.itemsize < 4:
            return None
        statistics = self.norm.statistics
        if len(statistics.mean) > 1:
            return None
        return self.conv.followed_by(-statistics.mean.flatten(), statistics.inverse.flatten())

    def normalised(self, rows: range, x: Tensor | None = None) -> Tensor:
        """Some rows of h; x as in `convolved`."""
        if self.h is not None:
            return narrow(self.h, self.axis, rows)
        u = self.convolved(rows, x, conv=self._normalising)
        if self.norm is not None and self._normalising is None:
            return self.norm.normalised(u)
        # Of a crop, only itself is kept; kernels would copy it, too.
        return u.clone() if u.untyped_storage().nbytes() > u.nbytes else u

    def activated(self, h: Tensor, *, may_change: bool = False) -> Tensor:
        """The rows of z from those of h.

        Args:
            h: the rows.
            may_change: whether to write z into h.
        """
        y = h if self.norm is None else self.norm.scaled(h)
        own = y is not h or may_change
        match self.activation:
            case nn.ReLU():
                return y.relu_() if own else y.relu()
            case nn.LeakyReLU(negative_slope=slope):
                return F.leaky_relu(y, slope, inplace=own)
            case nn.Tanh():
                return y.tanh_() if own else y.tanh()
            case None:
                return y

    def read(self, rows: range) -> Tensor:
        """Some rows of z."""
        return self.activated(self.normalised(rows), may_change=self.h is None)

    def windows(self) -> Iterator[tuple[range, Tensor]]:
        """The slabs, and of each the rows of the source's h that it reads; the source is wide.

        Rows that the next slab reads as well are kept for it where there are many.
        """
        assert isinstance(self.source, Stage)
        source, axis = self.source, self.axis
        kept: Tensor | None = None
        for rows in self.slabs:
            read = self.reach(rows)
            known = self._stop_before(rows) - read.start
            if kept is None:
                h = source.normalised(read)
            else:
                if kept.shape[axis] != known:  # slabs between were left out, for a prediction
                    kept = kept.new_empty([*kept.shape[:axis], known, *kept.shape[axis + 1 :]])
                new = range(read.start + known, read.stop)
                h = torch.cat([kept, source.normalised(new)], axis) if new else kept
                kept = None
            if self._keeps and rows.stop < self.size:
                start = self.start_behind(rows) - read.start
                kept = h.narrow(axis, start, len(read) - start).clone()
            found = [(rows, h)]
            del h  # it may be freed while this waits
            yield found.pop()

    @cached_property
    def _keeps(self) -> bool:
        """Whether slabs share a sixteenth or more of what they read: copies cost something, too."""
        first = self.slabs[0]
        read = self.reach(first)
        return 16 * (read.stop - self.start_behind(first)) >= len(read)

    def start_behind(self, rows: range) -> int:
        """Where the rows of the source begin that rows behind these depend on, or its end."""
        if rows.stop == self.size:
            return self.source.size
        return self.reach(range(rows.stop, rows.stop + 1)).start

    def _stop_before(self, rows: range) -> int:
        """Where the rows of the source end that the rows before these depend on."""
        return self.reach(range(rows.start - 1, rows.start)).stop if rows.start else 0

    def _sources(self) -> Iterator[tuple[range, Tensor]]:
        """The slabs, and of each the rows of the source that it reads."""
        if isinstance(self.source, Stage) and self.source.wide:
            for rows, h in self.windows():
                found = [(rows, self.source.activated(h, may_change=True))]
                del h
                yield found.pop()
        else:
            for rows in self.slabs:
                yield rows, self.source.read(self.reach(rows))

    def fill(self) -> None:
        """Computes h whole, from the source; until it is normalised in place, it is u."""
        norm = self.norm
        moments = None if norm is None or norm.known else norm.moments()
        for rows, x in self._sources():
            u = self.convolved(rows, x)
            del x
            if moments is not None:
                moments.add(u)
            if self.h is None:
                self.h = self._empty_like(u)
            narrow(self.h, self.axis, rows).copy_(u)
        if norm is not None:
            if moments is not None:
                norm.take(moments)
            self._changed(partial(norm.normalised, may_change=True))

    def finish(self) -> Tensor:
        """Turns h into z, whole and in place."""
        return self._changed(partial(self.activated, may_change=True))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Tensor:
        assert self.h is not None
        for rows in self.slabs:
            part = narrow(self.h, self.axis, rows)
            new = change(part)
            if new is not part:
                part.copy_(new)
        return self.h

    def _empty_like(self, u: Tensor) -> Tensor:
        """Room for all rows of what u has some of."""
        shape = list(u.shape)
        shape[self.axis] = self.size
        layout = torch.contiguous_format if self.contiguous else CHANNELS_LAST[u.ndim]
        return torch.empty(shape, dtype=u.dtype, device=u.device, memory_format=layout)

    @property
    def needs_sums(self) -> bool:
        """Whether gradients here depend on sums over all of that of y."""
        return self.norm is not None and self.norm.needs_sums

    def add_to_sums(self, of_y: Tensor, h: Tensor) -> None:
        """Adds rows of the gradient of y, or parts of them, to those sums."""
        assert self.norm is not None
        self.norm.add_gradient(of_y, h)

    def add_up_gradient(self) -> None:
        """Adds all of it to those sums, from that of z, which is whole."""
        assert self.gradient is not None
        for rows in self.slabs:
            h = self.normalised(rows)
            of_y = self.gradient_of_y(narrow(self.gradient, self.axis, rows), h)
            self.add_to_sums(of_y, h)

    def gradient_of_y(self, of_z: Tensor, h: Tensor) -> Tensor:
        """The gradient of rows of y, from that of rows of z, where no tanh makes these."""
        if self.activation is None:
            return of_z
        y = h if self.norm is None else self.norm.scaled(h)
        if isinstance(self.activation, nn.LeakyReLU):
            slope = self.activation.negative_slope
            return torch.ops.aten.leaky_relu_backward(of_z, y, slope, False)
        return torch.ops.aten.threshold_backward(of_z, y, 0)

    def gradient_of_u(self, of_y: Tensor, h: Tensor) -> Tensor:
        """The gradient of rows of u; that of y may be written into."""
        return of_y if self.norm is None else self.norm.gradient(of_y, h)

    def go_back_to_u(self) -> None:
        """Puts the gradient of u, whole, in the place of h, and drops that of z."""
        assert self.h is not None
        for rows in self.slabs:
            narrow(self.h, self.axis, rows).copy_(self.gradient_from_whole(rows))
        self.of_u, self.h, self.gradient = self.h, None, None

    def gradient_from_whole(self, rows: range, x: Tensor | None = None) -> Tensor:
        """The gradient of rows of u from a whole one, of u itself or of z; x as in `convolved`.

        It is not to be written into.
        """
        if self.of_u is not None:
            return narrow(self.of_u, self.axis, rows)
        assert self.gradient is not None
        of_z = narrow(self.gradient, self.axis, rows)
        if self.output is not None:
            return torch.ops.aten.tanh_backward(of_z, narrow(self.output, self.axis, rows))
        if self.activation is None and self.norm is None:
            return of_z
        h = self.normalised(rows, x)
        of_y = self.gradient_of_y(of_z, h)
        return self.gradient_of_u(of_y.clone() if of_y is of_z else of_y, h)

    def gradient_of_source(
        self, of_u: Tensor, x: Tensor, rows: range, *, of_weights: bool
    ) -> Tensor | None:
        """What rows of u contribute to the gradient of the rows that they are computed from.

        The gradients of the convolution's weights are added up there.

        Args:
            of_u: the gradient of the rows.
            x: the rows that are read, `reach(rows)`; without `of_weights`, any values will do.
            rows: which they are.
            of_weights: whether to add to the weights' gradients.

        Returns:
            None where no gradient is asked for further down.
        """
        cuts, n = self.cuts(rows), len(self.before)
        for arrangement, cut in zip(self.before, cuts[:n], strict=True):
            x = (arrangement.run if of_weights else arrangement.room)(x, cut)
        for arrangement, cut in zip(reversed(self.after), cuts[:n:-1], strict=True):
            of_u = arrangement.adjoint(of_u, cut)
        of_x = self.conv.backward(
            of_u, x, cuts[n], of_input=self.source.needs_gradient, of_weights=of_weights
        )
        del x, of_u
        if of_x is None:
            return None
        for arrangement, cut in zip(reversed(self.before), reversed(cuts[:n]), strict=True):
            of_x = arrangement.adjoint(of_x, cut)
        return of_x

    def pass_on(self, of_u: Tensor, rows: range) -> None:
        """Adds the contribution of rows of u to the source's gradient, and to the weights'."""
        read = self.reach(rows)
        of_source = self.gradient_of_source(of_u, self.source.read(read), rows, of_weights=True)
        if of_source is not None:
            self.source.add_gradient(of_source, read)

    def add_gradient(self, grad: Tensor, rows: range) -> None:
        """Adds to the gradient of some rows of z, where h is whole."""
        assert self.h is not None
        if self.gradient is None:
            self.gradient = torch.zeros_like(self.h)
        narrow(self.gradient, self.axis, rows).add_(grad)

    @property
    def gradients(self) -> list[Tensor | None]:
        """Of the weights, in their order."""
        return [*self.conv.gradients, *([] if self.norm is None else self.norm.gradients)]


def narrow(x: Tensor, axis: int, rows: range) -> Tensor:
    """Some rows of x, as a view."""
    return x.narrow(axis, rows.start, len(rows))
