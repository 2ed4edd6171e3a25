"""Distances between translations and the truth, with two references that need no network.

A score alone says little: in aligned domains, an unchanged input or a uniform colour may already be
close to the truth. So `candidates` returns all three.

Scores can be restricted to masks, such as that of the brain in a volume: the uniform background,
which every translation gets right, would flatter all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from revgan.scores.similarity import ssim_map

_T = TypeVar("_T")

Kind = Literal["model", "reference", "ceiling"]
"""What made a scored image: a model; a reference that needs no model, which models should beat; or
a ceiling, which they can hardly reach."""

PSNR_CAP = 100.0
"""The PSNR, in dB, of an image that equals the truth, for which it would be infinite."""


@dataclass(frozen=True)
class Scores:
    """Mean distances to the truth over images, everywhere or inside masks.

    Attributes:
        mae: mean absolute error in grey levels, of which -1 to 1 are 0 to 255.
        psnr: peak signal-to-noise ratio in dB, at most `PSNR_CAP` per image.
        ssim: structural similarity in [-1, 1] (Wang et al., 2004), with a Gaussian window of sigma
            1.5 and 11 positions along each spatial axis, over the image with reflected borders.
            Inside a mask: the mean of the similarities at the mask's positions, whose windows also
            see the surroundings.
        count: the number of images.
    """

    mae: float
    psnr: float
    ssim: float
    count: int


class Candidate(NamedTuple):
    """A candidate for the truth, (C, *spatial), and what made it."""

    method: str
    image: Tensor
    kind: Kind


def score_pairs(
    pairs: Iterable[tuple[Tensor, Tensor]], masks: Iterable[Tensor | None] | None = None
) -> Scores:
    """Scores predictions against the truth, image by image, so sizes may differ.

    Args:
        pairs: (prediction, truth), each (C, *spatial) in [-1, 1], with two or three spatial sizes.
        masks: (*spatial), bool, one per pair: the positions that count; None counts all.

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
    """(MAE, PSNR, SSIM) of one image, float64; see `score_pairs`."""
    _require_pair(prediction, truth)
    # On the CPU: a GPU may convolve float32 in TF32, which would lose SSIM's variances, small
    # differences of large numbers.
    x, y = (image.detach().cpu().float().add(1).div(2) for image in (prediction, truth))
    return _scores(x, y, 255, mask)


def score_values(
    prediction: Tensor, truth: Tensor, limits: tuple[float, float], mask: Tensor | None = None
) -> Tensor:
    """(MAE, PSNR, SSIM) of one image in its file's units, in float64; nothing is clipped.

    Args:
        prediction: (C, *spatial), with two or three spatial sizes.
        truth: of the same shape. Where either is NaN counts for nothing, if the mask excludes it.
        limits: the data range of PSNR and SSIM, which are those of (value - low) / (high - low).
        mask: (*spatial), bool: the positions that count; None counts all.

    Returns:
        MAE in the file's units, PSNR in dB and at most `PSNR_CAP`, SSIM as in `Scores`.

    Raises:
        ValueError: as `score_pairs`.
    """
    _require_pair(prediction, truth)
    low, high = limits
    x, y = ((image.double() - low) / (high - low) for image in (prediction, truth))
    if mask is not None:  # a window that sees a gap has its neighbours, and the gap counts nothing
        x, y = x.nan_to_num(), y.nan_to_num()
    return _scores(x, y, high - low, mask)


def _require_pair(prediction: Tensor, truth: Tensor) -> None:
    spatial = truth.shape[1:]
    if prediction.shape != truth.shape or len(spatial) not in (2, 3):
        raise ValueError(
            f"a prediction and its truth must have the same shape (C, *spatial), with two or three "
            f"spatial sizes, not {tuple(prediction.shape)} and {tuple(truth.shape)}"
        )


def _scores(x: Tensor, y: Tensor, span: float, mask: Tensor | None) -> Tensor:
    """(MAE, PSNR, SSIM), float64, of images whose data range is 0 to 1, which stands for `span`."""
    x, y, similarity = (_inside(mask, image) for image in (x, y, ssim_map(x, y)))
    error = x - y
    # torchmetrics' PSNR takes a logarithm in float32, whatever the images, and is 1e-6 dB off.
    psnr = (-10 * error.square().mean().log10()).clamp(max=PSNR_CAP)
    return torch.stack((span * error.abs().mean(), psnr, similarity.mean())).double()


def _with_masks(
    items: Iterable[_T], masks: Iterable[Tensor | None] | None
) -> Iterable[tuple[_T, Tensor | None]]:
    """Each item with its mask; without masks, with None."""
    if masks is None:
        return ((item, None) for item in items)
    return zip(items, masks, strict=True)


def _inside(mask: Tensor | None, image: Tensor) -> Tensor:
    """(C, N): an image's values (C, *spatial) at the N positions of its mask, or everywhere."""
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
    """Converts an image (C, *spatial) to another number of channels, if that has a clear meaning.

    Grey is repeated to become colour, and colour becomes grey by its mean; None for other changes.
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
        masks: (*spatial), bool, one per image: the pixels that count; None counts all. An image
            with an empty mask counts nothing.

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
        raise ValueError(
            "there are no images, or no pixels in their masks, to take the mean colour of"
        )
    return (total / pixels).float()


def candidates(
    image: Tensor, translation: Tensor, truth: Tensor, mean_colour: Tensor, method: str
) -> list[Candidate]:
    """A translation, and two reference images that no network made.

    Args:
        image: the input, (C, *spatial) in [-1, 1].
        translation: the model's translation.
        truth: its partner in the other domain.
        mean_colour: (C,), the mean colour of the other domain's training images.
        method: the model's name.

    Returns:
        The translation; "input unchanged", left out if `match_channels` can't convert between the
        domains' channels; "mean training colour", called "mean training intensity" for volumes.
    """
    found = [Candidate(method, translation, "model")]
    matched = match_channels(image, truth.shape[0])
    if matched is not None:
        found.append(Candidate("input unchanged", matched, "reference"))
    even = mean_colour.view(-1, *[1] * (truth.ndim - 1)).expand(truth.shape)
    what = "colour" if truth.ndim == 3 else "intensity"
    return [*found, Candidate(f"mean training {what}", even, "reference")]
