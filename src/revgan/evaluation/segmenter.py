"""Networks that recognise classes in photos, to judge photos made from label maps.

The FCN score (Isola et al., 2017, Section 3.2): if a translated photo looks real, a segmentation
network trained on real photos finds the classes of its label map in it.
"""

import json
import logging
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn import functional as F

from revgan.data.labels import Palette
from revgan.errors import UserError, one_line

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

    def __init__(self, network: UNet, device: torch.device) -> None:
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


def build_unet(channels: int, classes: int) -> UNet:
    """A new U-Net with batch norm, as instance norm forgets an image's colours."""
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
) -> Segmenter:
    """Loads a user's network.

    Args:
        path: a file from TorchScript or `torch.export.save` with a network that takes (1, channels,
            H, W) in [-1, 1] and returns a score for each of the palette's classes.
        palette: the data set's.
        channels: the photos'.
        sizes: heights and widths of the photos, to test the network with.
        device: where to run it.

    Raises:
        UserError: the file is neither, holds Python objects, which could run foreign code, or the
            network has other classes or inputs.
    """
    if not path.is_file():
        raise UserError(
            f"--segmenter {path} is not a file; give a TorchScript or torch.export file"
        )
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a TorchScript or torch.export file; give one of these")
    try:
        network = _load(path, device)
    except UserError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise UserError(f"{path} can't be loaded as a segmenter: {one_line(error, 200)}") from error
    segmenter = Segmenter(network, device)
    for height, width in sizes:
        try:
            scores = segmenter.scores(torch.zeros(channels, height, width))
        except (RuntimeError, ValueError, AttributeError, AssertionError, IndexError) as error:
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


def _load(path: Path, device: torch.device) -> Callable[[Tensor], Any]:
    with zipfile.ZipFile(path) as archive:
        exported = any(name.endswith("models/model.json") for name in archive.namelist())
        if exported:
            _refuse_pickles(path, archive)
    with warnings.catch_warnings():  # about TorchScript's future, which users can't change
        warnings.simplefilter("ignore")
        if not exported:
            return torch.jit.load(path, map_location=device).eval()
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        return torch.export.load(path).module().to(device)


_TENSOR = re.compile(r"(weight|tensor)_\d+")
"""The names of plain tensors' records."""

_KNOWN = re.compile(
    r"models/model\.json|data/(weights|constants)/(model_\1_config\.json|(weight|tensor)_\d+)"
    r"|data/sample_inputs/model\.pt|archive_(format|version)|byteorder|(\.data|extra)/.+"
)
"""The records that `torch.export.save` writes for a network of plain tensors, below the archive's
folder."""


def _refuse_pickles(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuses pickles, which `torch.export.load` would load, running code that a stranger wrote.

    Plain tensors are stored as bytes; only other objects are pickled, or the whole network in older
    formats. Compiled code would be run too.
    """
    names = archive.namelist()
    unsafe = not all(_KNOWN.fullmatch(name.partition("/")[2]) for name in names)
    for name in names:
        if name.endswith(("weights_config.json", "constants_config.json")):
            entries = json.loads(archive.read(name))["config"].values()
            unsafe |= any(entry.get("use_pickle", True) for entry in entries)
            unsafe |= not all(_TENSOR.fullmatch(entry["path_name"]) for entry in entries)
        if "/data/sample_inputs/" in name:
            try:
                torch.load(BytesIO(archive.read(name)), weights_only=True)
            except Exception:  # unpicklers raise nearly anything
                unsafe = True
    if unsafe:
        raise UserError(
            f"{path} holds pickled Python objects or compiled code, which aren't loaded because "
            "they can run foreign code; save the network with tensors only, or as TorchScript"
        )
