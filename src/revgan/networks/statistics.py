"""Normalisation of tensors that exist one slab at a time only.

Statistics are gathered slab by slab and merged in float64, and so are the two sums that the
gradient of a normalised tensor needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from revgan.networks.layers import BatchNorm, InstanceNorm

_INSTANCE_EPS = 1e-5
"""What `InstanceNorm` adds to variances: PyTorch's default."""


@dataclass(frozen=True)
class Statistics:
    """What a tensor is normalised by.

    Attributes:
        mean: of each channel, or of each sample's channels, with all other axes of size 1.
        inverse: of the standard deviation, of the same shape.
        count: how many numbers of the tensor itself they come from; None for running statistics.
    """

    mean: Tensor
    inverse: Tensor
    count: int | None


def _zero() -> Tensor:
    return torch.zeros((), dtype=torch.float64)


@dataclass
class Moments:
    """Mean and squared deviations of all slabs so far, in float64.

    Attributes:
        axes: those that are summed over.
        count: numbers behind each mean.
        dtype: of the slabs, or 32 bits.
        mean: with summed axes of size 1.
        deviations: the sum of squared deviations from the mean, of the same shape.
    """

    axes: tuple[int, ...]
    count: int = 0
    dtype: torch.dtype = torch.float32
    mean: Tensor = field(default_factory=_zero)
    deviations: Tensor = field(default_factory=_zero)

    def add(self, x: Tensor, *, may_change: bool = False) -> None:
        """Merges a slab's moments, by the formula of Chan, Golub and LeVeque (1979, eq. 2.1).

        With counts n = n_a + n_b and d the difference between the means, the mean moves by
        ``d * n_b / n``; the sums of squares add up, plus ``d**2 * n_a * n_b / n``.

        Args:
            x: the slab.
            may_change: whether to write into it.
        """
        self.dtype = _at_least_single(x.dtype)
        may_change = may_change or x.dtype != self.dtype
        x = x.to(self.dtype)
        # Two passes over the slab, as exact as var_mean and eight times as quick.
        mean = x.mean(self.axes, keepdim=True)
        deviations = x.sub_(mean) if may_change else x - mean
        deviations = deviations.square_().sum(self.axes, keepdim=True).double()
        count = x.numel() // mean.numel()
        total = self.count + count
        difference = mean.double() - self.mean
        spread = difference.square() * (self.count * count / total)
        self.deviations = self.deviations + deviations + spread
        self.mean = self.mean + difference * (count / total)
        self.count = total


class SlabNorm:
    """Instance or batch norm of a tensor u (B, C, *spatial) that comes slab by slab.

    With mean m and inverse deviation r, the tensor becomes ``h = (u - m) * r`` and then ``y``: h,
    or ``gamma * h + beta``. From y's gradient g follow those of beta, sum(g), of gamma, sum(g * h),
    and, if the statistics are u's own, that of u (Ioffe and Szegedy, 2015, Section 3)::

        gamma * r * (g - mean(g) - h * mean(g * h))

    Running statistics are constants; with them it is ``gamma * r * g``.

    Args:
        layer: the layer to stand for.
        ndim: of u.
        weights: yields gamma and beta, if the layer has them, and whether gradients are asked for.
        statistics: of u, if known. Else they are the layer's running ones, or yet to be given to
            `take`.
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
        self._statistics = statistics
        self._weight: Tensor | None = None
        if isinstance(layer, InstanceNorm):
            self._axes, self._eps = spatial, _INSTANCE_EPS
        else:
            shape = (1, -1, *[1] * len(spatial))
            self._axes, self._eps = (0, *spatial), layer.eps
            (weight, of_weight), (bias, of_bias) = next(weights), next(weights)
            self._weight, self._bias = weight.view(shape), bias.view(shape)
            self.wanted = of_weight or of_bias
            if statistics is None and not layer.training:
                mean, variance = (x.view(shape) for x in _running(layer))
                inverse = (variance + layer.eps).rsqrt()
                self._statistics = Statistics(mean.clone(), inverse, None)  # training changes it
        self._sum, self._sum_with_h = _zero(), _zero()

    def moments(self) -> Moments:
        """Empty, to gather those of u."""
        return Moments(self._axes)

    def take(self, moments: Moments) -> None:
        """Takes the moments of all of u for its statistics, and updates running ones."""
        inverse = (moments.deviations / moments.count + self._eps).rsqrt()
        self._statistics = Statistics(
            moments.mean.to(moments.dtype), inverse.to(moments.dtype), moments.count
        )
        if isinstance(self._layer, BatchNorm):
            _update_running(self._layer, moments)

    @property
    def known(self) -> bool:
        """Whether there are statistics yet."""
        return self._statistics is not None

    @property
    def statistics(self) -> Statistics:
        """What u is normalised by."""
        assert self._statistics is not None
        return self._statistics

    @property
    def needs_sums(self) -> bool:
        """Whether any gradient depends on sums over all of g."""
        return self.wanted or self.statistics.count is not None

    def normalised(self, u: Tensor, *, may_change: bool = False) -> Tensor:
        """The rows of h from those of u; `may_change` allows to write them there."""
        if may_change and u.dtype == self.statistics.mean.dtype:
            return u.sub_(self.statistics.mean).mul_(self.statistics.inverse)
        return (u - self.statistics.mean).mul_(self.statistics.inverse).to(u.dtype)

    def scaled(self, h: Tensor) -> Tensor:
        """The rows of y from those of h."""
        if self._weight is None:
            return h
        return torch.addcmul(self._bias, h, self._weight).to(h.dtype)

    def add_gradient(self, grad: Tensor, h: Tensor) -> None:
        """Adds rows to the sums over g and g * h; parts of g that add up to it will do."""
        # Summing in float64 would first copy all of the slab to it.
        dtype = _at_least_single(grad.dtype)
        of_slab = (x.sum(self._axes, keepdim=True, dtype=dtype).double() for x in (grad, grad * h))
        self._sum = self._sum + next(of_slab)
        self._sum_with_h = self._sum_with_h + next(of_slab)

    def gradient(self, grad: Tensor, h: Tensor) -> Tensor:
        """The gradient of rows of u, from that of the rows of y, which is written into, and h."""
        inverse, count = self.statistics.inverse, self.statistics.count
        grad = grad.to(inverse.dtype)
        if count is not None:
            mean, mean_with_h = ((s / count).to(grad.dtype) for s in (self._sum, self._sum_with_h))
            grad.sub_(mean).addcmul_(h, mean_with_h, value=-1)
        return grad.mul_(inverse if self._weight is None else inverse * self._weight)

    @property
    def gradients(self) -> list[Tensor]:
        """Those of gamma and beta, if the layer has them."""
        return [] if self._weight is None else [self._sum_with_h.flatten(), self._sum.flatten()]


def _update_running(layer: BatchNorm, moments: Moments) -> None:
    """As PyTorch does it: with the unbiased variance."""
    assert layer.num_batches_tracked is not None
    assert layer.momentum is not None
    layer.num_batches_tracked.add_(1)
    unbiased = moments.deviations / (moments.count - 1)
    for running, new in zip(_running(layer), (moments.mean, unbiased), strict=True):
        running.lerp_(new.flatten().to(running.dtype), layer.momentum)


def _running(layer: BatchNorm) -> tuple[Tensor, Tensor]:
    """Running mean and variance."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
