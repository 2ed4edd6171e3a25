"""The layers that generators and discriminators are made of, in 2D and 3D."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revgan.networks.axes import PerAxis, per_axis
from revgan.networks.config import Init, Norm, Padding
from revgan.reversible.tracing import exporting

# The layers that differ between 2D and 3D, by `spatial_dims`; all else is written once.
CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVOLUTIONS: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORMS: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}

Convolution = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d
BatchNorm = nn.BatchNorm2d | nn.BatchNorm3d

WEIGHT_STD = 0.02
"""Convolution weights start from N(0, 0.02) (paper, Table 1)."""

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The layout of (B, C, *spatial) that the networks' layers are fastest in, by number of axes."""

Keep = Literal["input", "padded"]

Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool, tuple[int, ...], int]
"""A convolution's stride, padding, dilation, whether transposed, output padding, and groups."""


class PaddedConv(nn.Module):
    """A convolution behind padding that keeps the size at stride 1 (Section 1.1).

    Args:
        spatial_dims, in_channels, out_channels, kernel_size, stride: as for any convolution; the
            kernel's sides are odd.
        padding: "reflect" mirrors the border, as in the paper; or "zeros".
        keep: what is kept for the backward pass. Autograd would keep the "padded" copy of the
            input: that is quick, and fine where activations are short-lived. "input" keeps the
            input instead, which the layer before keeps anyway, and pads it again. It makes no
            difference with "zeros", which the convolution itself pads with.

    Shapes: (B, in_channels, *spatial) to (B, out_channels, *spatial), divided by `stride` and
    rounded up. For reflection, every spatial size must exceed ``kernel_size // 2``.
    """

    plain_layer = True
    """To a reversible core: it computes the same bits without gradients."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = "reflect",
        keep: Keep = "input",
    ) -> None:
        super().__init__()
        sides, steps = (per_axis(value, spatial_dims) for value in (kernel_size, stride))
        self.amounts = tuple(side // 2 for side in sides)
        self.reflects = padding == "reflect" and any(self.amounts)
        # mypy can't see that the tuples have the length that the layer takes.
        make: Any = CONVOLUTIONS[spatial_dims]
        self.conv: nn.Conv2d | nn.Conv3d = make(
            in_channels, out_channels, sides, steps, 0 if self.reflects else self.amounts
        )
        # As F.pad takes them: before and behind each axis, from the last one.
        self.padding = [amount for amount in reversed(self.amounts) for _ in range(2)]
        self.geometry = _geometry(steps)
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        if not self.reflects:
            return self.conv(x)
        assert self.conv.bias is not None
        inputs = x, self.conv.weight, self.conv.bias
        dtype = autocast_dtype(x)
        if dtype is None:
            return self._convolve(*inputs)
        with torch.autocast(x.device.type, enabled=False):  # it would pad in float32
            return self._convolve(*(t.to(dtype) for t in inputs))

    def extra_repr(self) -> str:
        return f"reflects={self.reflects}"

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.keep == "padded" or not torch.is_grad_enabled() or exporting():
            return torch.convolution(reflected(x, self.padding), weight, bias, *self.geometry)
        # Function.apply has no types in PyTorch.
        return _ReflectConv.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, self.padding, self.geometry
        )


class _ReflectConv(torch.autograd.Function):
    """Padding and convolution as one node that keeps the input before padding."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: list[int], geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.geometry = padding, geometry
        return torch.convolution(reflected(x, padding), weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # Autograd can differentiate these operators again.
        x, weight = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):  # it would pad in float32
            padded = reflected(x, ctx.padding)
            grad_padded, *grad_weights = torch.ops.aten.convolution_backward(
                grad, padded, weight, [len(weight)], *ctx.geometry, ctx.needs_input_grad[:3]
            )
            del padded
            grad_x = None if grad_padded is None else unreflected(grad_padded, x, ctx.padding)
        return grad_x, *grad_weights, None, None


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """What autocast computes convolutions of x in; None if it leaves them as they are."""
    device = x.device.type
    if not torch.is_autocast_enabled(device) or x.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(device)


def _geometry(stride: tuple[int, ...]) -> Geometry:
    zeros, ones = (0,) * len(stride), (1,) * len(stride)
    return stride, zeros, ones, False, zeros, 1


def reflected(x: Tensor, padding: list[int]) -> Tensor:
    """Padded by mirroring, by amounts as `F.pad` takes them."""
    return F.pad(x, padding, mode="reflect")


def unreflected(grad: Tensor, x: Tensor, padding: list[int]) -> Tensor:
    """The gradient of x, from the gradient of `reflected(x)`."""
    aten = torch.ops.aten
    backward = aten.reflection_pad2d_backward if x.ndim == 4 else aten.reflection_pad3d_backward
    return backward(grad, x, padding)


def conv(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: PerAxis, stride: PerAxis
) -> nn.Module:
    """A zero-padded convolution, as in PatchGAN."""
    sides, steps = (per_axis(value, spatial_dims) for value in (kernel_size, stride))
    make: Any = CONVOLUTIONS[spatial_dims]
    layer: nn.Module = make(in_channels, out_channels, sides, steps, [min(s - 1, 1) for s in sides])
    return layer


ADDED_UP = 2**14
"""Positions up to which sums in a row are good enough: to 0.0004 standard deviations."""

SLAB = 2**20
"""Numbers whose deviations are squared at a time."""


def _mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel of (1, C, *spatial)."""
    spatial = tuple(range(2, x.ndim))
    mean = x.mean(spatial, keepdim=True)
    thickness = max(1, SLAB * x.shape[2] // x.numel())
    slabs = (slab - mean for slab in x.split(thickness, dim=2))
    squares = torch.stack([slab.square_().sum(spatial) for slab in slabs]).sum(0)
    return mean.flatten(), squares.flatten() / x[0, 0].numel()


class InstanceNorm(nn.Module):
    """Normalises by each sample's own statistics, without scale and shift.

    It is batch normalisation of one sample at a time: PyTorch's kernels for that take images whose
    channels are last as they are, while `F.instance_norm` first copies them to channels first.

    For such images, PyTorch's kernel for the CPU adds up a channel in a row in float32, with errors
    that grow with the image: of 0.001 standard deviations for 256 x 256 pixels, and 0.02 for
    1024 x 1024. In training these are crops, and the kernel is twice as quick; in inference mode,
    larger images get statistics that are as good as those of channels first.
    """

    plain_layer = True

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # as one operator, for any size of batch
            return F.instance_norm(x)
        if len(x) == 1:
            if torch.is_inference_mode_enabled() and x[0, 0].numel() > ADDED_UP:
                return F.batch_norm(x, *_mean_and_variance(x), training=False)
            return F.batch_norm(x, None, None, training=True)
        return torch.cat([self(sample) for sample in x.split(1)])


def norm_layers(norm: Norm, spatial_dims: int, channels: int) -> list[nn.Module]:
    """The layer that normalises these channels, if any."""
    if norm == "none":
        return []
    if norm == "instance":
        return [InstanceNorm()]
    return [BATCH_NORMS[spatial_dims](channels)]


def init_weights(module: nn.Module, init: Init = "normal") -> None:
    """Gives every convolution of a network fresh weights and a bias of zero.

    The weights' channels are last in memory, and those of activations follow: convolutions, norms
    and padding are faster that way (`benchmarks/layout.py`).

    Args:
        module: the network.
        init: the weights' distribution, see `GeneratorConfig`.
    """
    for layer in module.modules():
        if isinstance(layer, Convolution):
            _draw(layer.weight, init)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            # Sets every stride: a single channel's says nothing about the layout otherwise.
            last = layer.weight.detach().movedim(1, -1).clone(memory_format=torch.contiguous_format)
            layer.weight = nn.Parameter(last.movedim(-1, 1))


def _draw(weight: Tensor, init: Init) -> None:
    if weight.is_meta:
        return  # it has no values, yet PyTorch would import its whole compiler to draw them
    match init:
        case "normal":
            nn.init.normal_(weight, 0.0, WEIGHT_STD)
        case "xavier":
            nn.init.xavier_normal_(weight, gain=WEIGHT_STD)
        case "kaiming":
            nn.init.kaiming_normal_(weight)
        case "orthogonal":
            nn.init.orthogonal_(weight, gain=WEIGHT_STD)
