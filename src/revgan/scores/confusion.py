"""Scores of label maps: how many pixels have their true class.

These are the Cityscapes benchmark's (Cordts et al., 2016), which image translation adopted (Isola
et al., 2017, Section 4.3). All follow from how often each class was taken for each other.
"""

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from revgan.data.labels import IGNORED

SCORES = ("pixel_accuracy", "class_accuracy", "class_iou")
"""The scores that `segmentation_scores` returns, in order."""


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Counts how many pixels of each true class were taken for each class.

    Args:
        predicted: (H, W), int64, classes from 0.
        truth: (H, W), int64; pixels that are `IGNORED` don't count.
        classes: the number of classes.

    Returns:
        (classes, classes), int64: true class by predicted class.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"a class map of shape {tuple(predicted.shape)} can't be scored against one of shape "
            f"{tuple(truth.shape)}"
        )
    return multiclass_confusion_matrix(
        predicted, truth, classes, ignore_index=IGNORED, validate_args=False
    )


def segmentation_scores(confusion: Tensor) -> Tensor:
    """Scores of summed confusions.

    Args:
        confusion: (..., K, K), true class by predicted class.

    Returns:
        (..., 3), float64: the share of correct pixels; the mean over classes of that share within
        the class; the mean over classes of intersection over union. A class without pixels is left
        out of the second, and out of the third if no pixel was taken for it either. NaN if no pixel
        counts.
    """
    counts = confusion.double()
    right = counts.diagonal(dim1=-2, dim2=-1)
    true = counts.sum(-1)
    pixel_accuracy = right.sum(-1) / true.sum(-1)
    class_accuracy = (right / true).nanmean(-1)
    return torch.stack((pixel_accuracy, class_accuracy, class_iou(confusion).nanmean(-1)), -1)


def class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each class, (..., K) for (..., K, K).

    A class's union is all pixels that have it or were taken for it; NaN if there are none.
    """
    counts = confusion.double()
    right = counts.diagonal(dim1=-2, dim2=-1)
    return right / (counts.sum(-1) + counts.sum(-2) - right)
