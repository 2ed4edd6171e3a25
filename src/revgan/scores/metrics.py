"""Distances between translations and the truth, beside two references that need no network.

A score means little alone: on aligned domains an untouched input, or one even colour, may already
be close to the truth. `candidates` therefore has all three.

Scores may be taken inside masks alone, such as that of the brain in a volume: the even background
around it, right in any translation, would flatter all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio
from torchmetrics.functional.regression import mean_absolute_error

from revgan.scores.similarity import ssim_map

_T = TypeVar("_T")

Kind = Literal["model", "reference", "ceiling"]
"""What made a scored image: a model; a reference that needs none, which models should beat; or a
ceiling, which they can hardly reach."""

PSNR_CAP = 100.0
"""The PSNR, in dB, of an image equal to the truth, where the ratio itself is infinite."""


@dataclass(frozen=True)
class Scores:
    """Means over images of each image's distance to the truth, in all of it or inside its mask.

    Attributes:
        mae: mean absolute error in grey levels of 0..255.
        psnr: peak signal-to-noise ratio in dB; an image's counts `PSNR_CAP` at most.
        ssim: structural similarity in [-1, 1] (Wang et al., 2004), by a Gaussian window of sigma
            1.5 and 11 positions along each spatial axis, over the image with reflected borders.
            Inside a mask: the mean of the similarities at the mask's positions, whose windows also
            see what is around it.
        count: the number of images.
    """

    mae: float
    psnr: float
    ssim: float
    count: int


class Candidate(NamedTuple):
    """An image (C, *spatial) that may stand for the truth, and what made it."""

    method: str
    image: Tensor
    kind: Kind


def score_pairs(
    pairs: Iterable[tuple[Tensor, Tensor]], masks: Iterable[Tensor | None] | None = None
) -> Scores:
    """Scores predictions against the truth, image by image, so that sizes may differ.

    Args:
        pairs: (prediction, truth), each (C, *spatial) in [-1, 1], with two or three spatial sizes.
        masks: (*spatial) each, bool, one for each pair: the positions that count. None counts all.

    Raises:
        ValueError: there is no pair, a pair's shapes differ or can't be scored, or a mask is empty
            or doesn't fit its pair.
    """
    values = [score_pair(*pair, mask) for pair, mask in _with_masks(pairs, masks)]
    if not values:
        raise ValueError("there are no images to score")
    mae, psnr, ssim = torch.stack(values).mean(0).tolist()
    return Scores(mae, psnr, ssim, len(values))


def score_pair(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """(MAE, PSNR, SSIM) of one image, float64, see `score_pairs`."""
    spatial = truth.shape[1:]
    if prediction.shape != truth.shape or len(spatial) not in (2, 3):
        raise ValueError(
            f"a prediction and its truth must have the same shape (C, *spatial), with two or three "
            f"spatial sizes, not {tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    # On the CPU: a GPU may convolve float32 with the precision of TF32, and SSIM's variances, small
    # differences of large numbers, would be lost.
    x, y = (image.detach().cpu().float().add(1).div(2) for image in (prediction, truth))
    x, y, similarity = (_inside(mask, image) for image in (x, y, ssim_map(x, y)))
    return torch.stack(
        (
            255 * mean_absolute_error(x, y),
            peak_signal_noise_ratio(x, y, data_range=1.0).clamp(max=PSNR_CAP),
            similarity.mean(),
        )
    ).double()


def _with_masks(
    items: Iterable[_T], masks: Iterable[Tensor | None] | None
) -> Iterable[tuple[_T, Tensor | None]]:
    """Each item with its mask; without masks, with None."""
    if masks is None:
        return ((item, None) for item in items)
    return zip(items, masks, strict=True)


def _inside(mask: Tensor | None, image: Tensor) -> Tensor:
    """(C, N): what an image (C, *spatial) holds at the N positions of its mask, or everywhere."""
    if mask is None:
        return image.flatten(1)
    if mask.dtype != torch.bool or mask.shape != image.shape[1:] or not mask.any():
        raise ValueError(
            f"the mask of an image {tuple(image.shape)} must be of bool, of shape "
            f"{tuple(image.shape[1:])} and true somewhere; this one is of {mask.dtype}, of shape "
            f"{tuple(mask.shape)} and true at {int(mask.count_nonzero())} positions"
        )
    return image[:, mask.to(image.device)]


def match_channels(x: Tensor, channels: int) -> Tensor | None:
    """The image (C, *spatial) with another number of channels, where that has a plain meaning.

    Grey becomes colour by repetition and colour grey by its mean; None for any other change.
    """
    if x.shape[0] == channels:
        return x
    if (x.shape[0], channels) == (1, 3):
        return x.expand(3, *x.shape[1:])
    if (x.shape[0], channels) == (3, 1):
        return x.mean(0, keepdim=True)
    return None


def mean_colour(images: Iterable[Tensor], masks: Iterable[Tensor | None] | None = None) -> Tensor:
    """The mean of each channel over all pixels of all images.

    Args:
        images: (C, *spatial) each, of any sizes.
        masks: (*spatial) each, bool, one for each image: the pixels that count. None counts all;
            an image whose mask is empty counts nothing.

    Returns:
        (C,), float32, on the CPU.

    Raises:
        ValueError: there is no image, no pixel counts, or a mask doesn't fit its image.
    """
    total, pixels = torch.zeros((), dtype=torch.float64), 0
    for image, mask in _with_masks(images, masks):
        if mask is not None and not mask.any():
            continue
        flat = _inside(mask, image.detach())
        total = total + flat.sum(1, dtype=torch.float64).cpu()
        pixels += flat.shape[1]
    if pixels == 0:
        raise ValueError("there is no image, or no mask with a pixel, to take the mean colour of")
    return (total / pixels).float()


def candidates(
    image: Tensor, translation: Tensor, truth: Tensor, mean_colour: Tensor, method: str
) -> list[Candidate]:
    """A translation, and two images beside it that no network made.

    Args:
        image: what was translated, (C, *spatial) in [-1, 1].
        translation: what the model made of it.
        truth: the image of the other domain that belongs to it.
        mean_colour: (C,), the mean colour of the other domain's training images.
        method: the model's name.

    Returns:
        The translation; "input unchanged", left out where `match_channels` knows no way between the
        domains' channels; "mean training colour", called "mean training intensity" for volumes.
    """
    found = [Candidate(method, translation, "model")]
    matched = match_channels(image, truth.shape[0])
    if matched is not None:
        found.append(Candidate("input unchanged", matched, "reference"))
    even = mean_colour.view(-1, *[1] * (truth.ndim - 1)).expand(truth.shape)
    what = "colour" if truth.ndim == 3 else "intensity"
    return [*found, Candidate(f"mean training {what}", even, "reference")]
