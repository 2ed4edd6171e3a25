"""Networks that recognise classes in photos, to judge photos made from label maps.

The FCN score (Isola et al., 2017, Section 3.2): if a translated photo looks real, a segmentation
network trained on real photos finds the classes of its label map in it.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from revgan.data.labels import Palette
from revgan.errors import UserError, one_line
from revgan.networks.foreign import load_network

if TYPE_CHECKING:
    from monai.networks.nets import UNet

CHANNELS = (16, 32, 64, 128)
"""The channels of the U-Net's levels; each level is half as large as the one before along each
axis."""

MULTIPLE = 2 ** (len(CHANNELS) - 1)
"""The sides of the U-Net's input are multiples of this."""


class Segmenter:
    """Labels photos of any size.

    Args:
        network: takes (1, C, H, W) in [-1, 1]; returns (1, K, h, w), a score per class.
        device: where it runs.
        multiple: what H and W must be multiples of; borders are mirrored to get there.
    """

    def __init__(
        self, network: Callable[[Tensor], Any], device: torch.device, multiple: int = 1
    ) -> None:
        self.network = network
        self.device = device
        self.multiple = multiple

    def __call__(self, image: Tensor) -> Tensor:
        """The class of each pixel, (H, W), int64, on the CPU.

        Args:
            image: (C, H, W) in [-1, 1].
        """
        return self.scores(image).argmax(0)

    @torch.inference_mode()
    def scores(self, image: Tensor) -> Tensor:
        """A score per class and pixel, (K, H, W), on the CPU; enlarged if necessary."""
        height, width = image.shape[1:]
        scores: Tensor = self.network(self._padded(image)).float()
        if self.multiple == 1 and scores.shape[2:] != (height, width):
            scores = F.interpolate(scores, (height, width), mode="bilinear")
        return scores[0, :, :height, :width].cpu()

    def _padded(self, image: Tensor) -> Tensor:
        amounts = [-size % self.multiple for size in image.shape[1:]]
        mode = "reflect" if min(image.shape[1:]) > max(amounts) else "replicate"
        batch = image[None].to(self.device)
        return F.pad(batch, (0, amounts[1], 0, amounts[0]), mode=mode) if any(amounts) else batch


class UNetSegmenter(Segmenter):
    """A small U-Net (Ronneberger et al., 2015); its deepest level also gives features of images.

    Args:
        network: from `build_unet`.
        device: where it runs.
    """

    def __init__(self, network: "UNet", device: torch.device) -> None:
        super().__init__(network.eval().to(device), device, MULTIPLE)
        self.deepest = _deepest(network.model)

    @torch.inference_mode()
    def features(self, image: Tensor) -> Tensor:
        """The deepest level's mean features, (D,), on the CPU, scaled to a mean square of 1.

        They are scaled because inputs unlike any photo can make them arbitrarily large.

        Args:
            image: (C, H, W) in [-1, 1].
        """
        seen: list[Tensor] = []
        hook = self.deepest.register_forward_hook(lambda _, __, output: seen.append(output))
        try:
            self.network(self._padded(image))
        finally:
            hook.remove()
        mean = seen[0][0].flatten(1).mean(1)
        return F.rms_norm(mean, mean.shape).cpu()


def build_unet(channels: int, classes: int) -> "UNet":
    """A new U-Net with batch norm, as instance norm forgets an image's colours."""
    from monai.networks.nets import UNet

    strides = (2,) * (len(CHANNELS) - 1)
    return UNet(2, channels, classes, CHANNELS, strides, num_res_units=1, norm="batch")


def _deepest(module: nn.Module) -> nn.Module:
    """Follows a MONAI U-Net's skip connections to the deepest level."""
    while isinstance(module, nn.Sequential) and hasattr(module[1], "submodule"):
        module = cast(nn.Module, module[1].submodule)
    return module


def load_segmenter(
    path: Path,
    palette: Palette,
    channels: int,
    sizes: Iterable[tuple[int, int]],
    device: torch.device,
    *,
    trust: bool = False,
) -> Segmenter:
    """Loads a user's network.

    Args:
        path: see `networks.foreign.load_network`; a network that takes (1, channels, H, W) in
            [-1, 1] and returns a score for each of the palette's classes.
        palette: the data set's.
        channels: the photos'.
        sizes: heights and widths of the photos, to test the network with.
        device: where to run it.
        trust: whether to load files that can run their maker's code.

    Raises:
        UserError: the file can't be loaded or needs trust, or the network has other classes or
            inputs.
    """
    loaded = load_network(path, device, trust=trust)
    segmenter = Segmenter(loaded.network, device, loaded.multiple)
    for height, width in sizes:
        try:
            scores = segmenter.scores(torch.zeros(channels, height, width))
        except Exception as error:  # anything, from the network and what runs it
            raise UserError(
                f"the network in {path} does not take images (1, {channels}, {height}, {width}), "
                f"or doesn't return a tensor with four dimensions: {one_line(error, -200)}"
            ) from error
        if len(scores) != len(palette.names):
            raise UserError(
                f"the network in {path} has {len(scores)} classes, but the data set has "
                f"{len(palette.names)}: {', '.join(palette.names)}"
            )
    return segmenter
