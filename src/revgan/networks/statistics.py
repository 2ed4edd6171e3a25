"""Normalisation of tensors that exist one slab at a time only.

Statistics are gathered slab by slab and merged in float64, and so are the two sums that the
gradient of a normalised tensor needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from revgan.networks.layers import BatchNorm, InstanceNorm

_INSTANCE_EPS = 1e-5
"""What `InstanceNorm` adds to variances: PyTorch's default."""


class Statistics(NamedTuple):
    """What a tensor is normalised by.

    Attributes:
        mean: of each channel, or of each sample's channels, with all other axes of size 1.
        inverse: of the standard deviation, likewise.
        count: how many numbers of the tensor itself they come from; None for running statistics.
    """

    mean: Tensor
    inverse: Tensor
    count: int | None


@dataclass
class Moments:
    """Mean and squared deviations of all slabs so far.

    Attributes:
        axes: those that are summed over.
        count: numbers behind each mean.
        mean: float64, with summed axes of size 1.
        deviations: the sum of squared deviations from the mean, likewise.
    """

    axes: tuple[int, ...]
    count: int = 0
    mean: Tensor | float = 0.0
    deviations: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        """Merges a slab's moments, by the formula of Chan, Golub and LeVeque (1979, eq. 2.1).

        With counts n = n_a + n_b and d the difference between the means, the mean moves by
        ``d * n_b / n``; the sums of squares add up, plus ``d**2 * n_a * n_b / n``.
        """
        x = x.to(_at_least_single(x.dtype))
        # Two passes over the slab, as exact as var_mean and eight times as quick.
        mean = x.mean(self.axes, keepdim=True)
        deviations = (x - mean).square_().sum(self.axes, keepdim=True).double()
        count = x.numel() // mean.numel()
        total = self.count + count
        difference = mean.double() - self.mean
        self.deviations += deviations + difference.square() * (self.count * count / total)
        self.mean += difference * (count / total)
        self.count = total


class SlabNorm:
    """Instance or batch norm of a tensor u (B, C, *spatial) that comes slab by slab.

    With mean m and inverse deviation r, the tensor becomes ``h = (u - m) * r`` and then ``y``: h,
    or ``gamma * h + beta``. From y's gradient g follow those of beta, sum(g), and gamma,
    sum(g * h), and if the statistics are u's own, that of u (Ioffe and Szegedy, 2015, Section 3)::

        gamma * r * (g - mean(g) - h * mean(g * h))

    Running statistics are constants; then it is ``gamma * r * g``.

    Args:
        layer: the layer to stand for.
        ndim: of u.
        weights: yields gamma and beta, if the layer has them, and whether gradients are asked for.
        statistics: of u; by default they are gathered from `moments` by `take`, or are the layer's
            running ones.
    """

    def __init__(
        self,
        layer: InstanceNorm | BatchNorm,
        ndim: int,
        weights: Iterator[tuple[Tensor, bool]],
        statistics: Statistics | None = None,
    ) -> None:
        self._layer = layer
        spatial = tuple(range(2, ndim))
        self.wanted = False
        self._shape = (1, -1, *(1 for _ in spatial))
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None
        if isinstance(layer, InstanceNorm):
            self._axes, self._eps = spatial, _INSTANCE_EPS
        else:
            self._axes, self._eps = (0, *spatial), layer.eps
            (weight, of_weight), (bias, of_bias) = next(weights), next(weights)
            self._weight, self._bias = weight.view(self._shape), bias.view(self._shape)
            self.wanted = of_weight or of_bias
            if statistics is None and not layer.training:
                statistics = self._running_statistics(layer)
        self.statistics = statistics
        self._sum: Tensor | float = 0.0
        self._sum_with_h: Tensor | float = 0.0

    def _running_statistics(self, layer: BatchNorm) -> Statistics:
        assert layer.running_mean is not None and layer.running_var is not None
        mean = layer.running_mean.clone().view(self._shape)  # before training changes it
        return Statistics(mean, (layer.running_var + self._eps).rsqrt().view(self._shape), None)

    def moments(self) -> Moments:
        """Empty, to gather those of u."""
        return Moments(self._axes)

    def take(self, moments: Moments, dtype: torch.dtype) -> None:
        """Takes u's statistics, in the type that u is in, or 32 bits; updates running ones."""
        assert isinstance(moments.mean, Tensor) and isinstance(moments.deviations, Tensor)
        dtype = _at_least_single(dtype)
        inverse = (moments.deviations / moments.count + self._eps).rsqrt()
        self.statistics = Statistics(moments.mean.to(dtype), inverse.to(dtype), moments.count)
        if isinstance(self._layer, BatchNorm):
            _update_running_statistics(self._layer, moments)

    @property
    def needs_sums(self) -> bool:
        """Whether any gradient depends on sums over all of g."""
        assert self.statistics is not None
        return self.wanted or self.statistics.count is not None

    def normalised(self, u: Tensor) -> Tensor:
        """The rows of h from those of u."""
        assert self.statistics is not None
        mean, inverse, _ = self.statistics
        return (u - mean).mul_(inverse).to(u.dtype)

    def scaled(self, h: Tensor) -> Tensor:
        """The rows of y from those of h."""
        if self._weight is None or self._bias is None:
            return h
        return torch.addcmul(self._bias, h, self._weight).to(h.dtype)

    def add_gradient(self, grad: Tensor, h: Tensor) -> None:
        """Adds rows to the sums over g and g * h; g may come in parts, which add up to it."""
        # Summing in float64 would first copy the slab to it.
        dtype = _at_least_single(grad.dtype)
        self._sum += grad.sum(self._axes, keepdim=True, dtype=dtype).double()
        self._sum_with_h += (grad * h).sum(self._axes, keepdim=True, dtype=dtype).double()

    def gradient(self, grad: Tensor, h: Tensor, axis: int, own: int) -> Tensor:
        """The gradient of rows of u.

        Args:
            grad: of the rows of y. It may be a part, another slab holding the rest of some rows:
                the formula is linear in g but for its means.
            h: the same rows.
            axis: the one that is cut.
            own: how many of them, from the first on, subtract the means: each row of u does so
                in one slab.
        """
        assert self.statistics is not None
        _, inverse, count = self.statistics
        if count is not None:
            dtype = inverse.dtype
            assert isinstance(self._sum, Tensor) and isinstance(self._sum_with_h, Tensor)
            mean, mean_with_h = ((s / count).to(dtype) for s in (self._sum, self._sum_with_h))
            means = torch.addcmul(mean, h.narrow(axis, 0, own), mean_with_h)
            grad = grad.to(dtype, copy=True)
            grad.narrow(axis, 0, own).sub_(means)
        factor = inverse if self._weight is None else inverse * self._weight
        return grad * factor

    @property
    def gradients(self) -> list[Tensor | None]:
        """Those of gamma and beta, if the layer has them."""
        if self._weight is None:
            return []
        return [
            total.flatten() if isinstance(total, Tensor) else None
            for total in (self._sum_with_h, self._sum)
        ]


def _update_running_statistics(layer: BatchNorm, moments: Moments) -> None:
    """As PyTorch does: by the unbiased variance."""
    assert isinstance(moments.mean, Tensor) and isinstance(moments.deviations, Tensor)
    assert layer.running_mean is not None and layer.running_var is not None
    assert layer.num_batches_tracked is not None and layer.momentum is not None
    layer.num_batches_tracked.add_(1)
    variance = moments.deviations / (moments.count - 1)
    for running, new in ((layer.running_mean, moments.mean), (layer.running_var, variance)):
        running.lerp_(new.flatten().to(running.dtype), layer.momentum)


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
