"""What the objectives' terms are made of."""

from collections.abc import Sequence
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.directions import Direction
from revgan.networks import TwoWayGenerator
from revgan.training.batch import mean_of_part
from revgan.training.config import AdversarialForm

CONTRAST = 1e-5
"""The least meaningful difference between an image's values, where black and white are 2 apart:
with a thousandth of a grey level, gradients have their usual size."""

Terms = dict[str, Tensor]
"""Weighted losses by name; their sum is minimised."""


def adversarial_loss(
    logits: Tensor,
    *,
    real: bool,
    form: AdversarialForm,
    seen: Tensor | None = None,
    over: Tensor | None = None,
) -> Tensor:
    """The GAN loss: how far logits are from calling every patch real or every patch fake.

    Args:
        logits: (B, 1, *patches), before any Sigmoid.
        real: the label: real patches have target 1, fake ones 0.
        form: "least-squares" compares the unbounded scores with the target (Mao et al., LSGAN,
            2017; the released code). "least-squares-sigmoid" does so after the Sigmoid that the
            paper's Section 1.2 puts at the end of the discriminator. "cross-entropy" is the
            original GAN loss (Goodfellow et al., 2014), with Sigmoid and logarithm fused into one
            numerically stable function.
        seen: (B, 1, *spatial), true or above 0 where something was measured in what was judged: a
            patch counts by the share of its place that was. None counts all alike.
        over: of a part of a batch, by what to divide the patches' sum, see `Batch.over`.

    Returns:
        The mean over patches, 0 at best.

    Raises:
        ValueError: there is no such form.
    """
    if form not in get_args(AdversarialForm):
        known = ", ".join(get_args(AdversarialForm))
        raise ValueError(f"form must be one of {known}, not {form!r}")
    target = logits.new_full((), float(real)).expand_as(logits)
    each = "mean" if seen is None else "none"
    match form:
        case "least-squares":
            loss = F.mse_loss(logits, target, reduction=each)
        case "least-squares-sigmoid":
            loss = F.mse_loss(logits.sigmoid(), target, reduction=each)
        case "cross-entropy":
            loss = F.binary_cross_entropy_with_logits(logits, target, reduction=each)
    if seen is None:
        return loss
    weights = patch_weights(seen, logits.shape[2:])
    return mean_of_part(loss * weights, weights, over)


def patch_weights(seen: Tensor, patches: Sequence[int]) -> Tensor:
    """(B, 1, *patches): the share of each patch's place where something was measured.

    Args:
        seen: (B, 1, *spatial), true or above 0 there.
        patches: how many there are along each axis.
    """
    return F.interpolate(seen.float(), list(patches), mode="area")


def translate(generator: TwoWayGenerator, x: Tensor, direction: Direction) -> Tensor:
    """Translates so that blank images, such as crops of air, give no gradients.

    In every layer, all channels of a constant image are constant, so instance normalisation divides
    only by the root of its epsilon. Each layer then multiplies gradients by 316, until they
    overflow or make Adam's moments too large for thousands of steps.

    Args:
        generator: the generator.
        x: (B, C, *spatial) in [-1, 1].
        direction: "AtoB" or "BtoA".

    Returns:
        (B, C', *spatial); samples with less than `CONTRAST` get no gradients.
    """
    translated: Tensor = generator(x, direction)
    if translated.requires_grad:
        values = x.detach().flatten(2)
        blank = ((values.amax(2) - values.amin(2)).amax(1) < CONTRAST).view(-1, *[1] * (x.ndim - 1))
        translated.register_hook(lambda grad: grad.masked_fill(blank, 0))
    return translated


def total(terms: Terms) -> Tensor:
    """The sum of the losses."""
    return torch.stack(list(terms.values())).sum()
