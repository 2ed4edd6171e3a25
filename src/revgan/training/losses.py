"""Losses as functions of logits and images."""

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

AdversarialForm = Literal["least-squares", "least-squares-sigmoid", "cross-entropy"]


def adversarial_loss(logits: Tensor, *, real: bool, form: AdversarialForm) -> Tensor:
    """How far the discriminator's logits are from calling every patch real (or fake).

    Args:
        logits: (B, 1, *patches), before any Sigmoid.
        real: the label: real patches have target 1, fake ones 0.
        form: "least-squares" compares the unbounded scores with the target (Mao et al., LSGAN,
            2017; the released code). "least-squares-sigmoid" does so behind the Sigmoid that the
            paper's Section 1.2 puts at the discriminator's end. "cross-entropy" is the original
            GAN loss, Sigmoid and logarithm fused into one numerically stable function.

    Returns:
        The mean over patches, 0 at best.
    """
    target = logits.new_full((), float(real)).expand_as(logits)
    match form:
        case "least-squares":
            return F.mse_loss(logits, target)
        case "least-squares-sigmoid":
            return F.mse_loss(logits.sigmoid(), target)
        case "cross-entropy":
            return F.binary_cross_entropy_with_logits(logits, target)
    raise ValueError(f"form must be one of {', '.join(get_args(AdversarialForm))}, not {form!r}")
