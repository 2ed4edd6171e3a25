"""The convolution layers that generator and discriminator are made of, in 2D and 3D."""

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

WEIGHT_STD = 0.02
"""Convolution weights start from N(0, 0.02) (paper, Table 1)."""


class ReflectConv(nn.Module):
    """A convolution behind reflection padding that keeps the size at stride 1 (Section 1.1).

    Autograd would keep the padded copy of the input for the backward pass, beside the input itself,
    which the layer before keeps anyway. This layer keeps only the input and pads it once more when
    the gradient is computed.

    Shapes: (B, in_channels, *spatial) to (B, out_channels, *spatial), divided by `stride` and
    rounded up. Every spatial size must exceed ``kernel_size // 2``.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv: nn.Module = Conv[Conv.CONV, spatial_dims](
            in_channels, out_channels, kernel_size, stride=stride
        )
        self.out_channels = out_channels
        self.padding = [kernel_size // 2] * (2 * spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        padded = self._pad(x)
        if not torch.is_grad_enabled():
            plain: Tensor = self.conv(padded)
            return plain
        # What is saved is another tensor object over the same storage.
        version, storage = x._version, padded.untyped_storage()._cdata

        def pack(saved: Tensor) -> Tensor | None:
            return None if saved.untyped_storage()._cdata == storage else saved

        def unpack(saved: Tensor | None) -> Tensor:
            if saved is not None:
                return saved
            if x._version != version:
                raise RuntimeError(
                    "the input of a convolution was changed in place between its forward and its "
                    "backward pass"
                )
            return self._pad(x)

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            y: Tensor = self.conv(padded)
        return y

    def _pad(self, x: Tensor) -> Tensor:
        return F.pad(x, self.padding, mode="reflect")


def upsampling_conv(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """A fractionally strided 3x3 convolution that doubles the size (Section 1.1)."""
    conv: nn.Module = Conv[Conv.CONVTRANS, spatial_dims](
        in_channels, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1
    )
    return conv


def conv(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, stride: int
) -> nn.Module:
    """A zero-padded convolution, as in PatchGAN."""
    padding = 0 if kernel_size == 1 else 1
    layer: nn.Module = Conv[Conv.CONV, spatial_dims](
        in_channels, out_channels, kernel_size, stride=stride, padding=padding
    )
    return layer


class InstanceNorm(nn.Module):
    """Instance normalisation by each sample's own statistics, without scale and shift.

    That is batch normalisation of one sample, and PyTorch's kernels for it take images with the
    channels last as they are, where `F.instance_norm` first copies them to channels first.
    """

    def forward(self, x: Tensor) -> Tensor:
        samples = [F.batch_norm(sample, None, None, training=True) for sample in x.split(1)]
        return samples[0] if len(samples) == 1 else torch.cat(samples)


def normalised(conv: nn.Module) -> nn.Sequential:
    """The convolution, then instance norm and ReLU."""
    return nn.Sequential(conv, InstanceNorm(), nn.ReLU(inplace=True))


def init_weights(module: nn.Module) -> None:
    """Sets every convolution of a network to weights from N(0, 0.02) and zero bias (Table 1).

    The weights are laid out with the channels last, and activations follow: convolutions, norms and
    padding are faster so (`benchmarks/results/layout-cpu.json`).
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.conv._ConvNd):
            nn.init.normal_(layer.weight, 0.0, WEIGHT_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            last = torch.channels_last if layer.weight.ndim == 4 else torch.channels_last_3d
            layer.weight = nn.Parameter(layer.weight.detach().contiguous(memory_format=last))
