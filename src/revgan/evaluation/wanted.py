"""What is asked of an evaluation, in the words of the command line."""

from dataclasses import dataclass
from typing import Literal

ModelChoice = Literal["last", "best"]
"""Of a run: the model of the last step, or the best one by a validation score."""

Distribution = Literal["random", "segmenter", "inception"]
"""Features by which sets of images are compared."""

UNET = "unet"
"""Stands in for a segmenter's file: a U-Net is trained on the data set's pairs."""


@dataclass(frozen=True)
class ScoreOptions:
    """What is scored beside distance to the truth, round trips and nearest label colours.

    Attributes:
        segmenter: judges photos made from label maps: a file, or `UNET`; None for none.
        distributions: the features by which sets of images are compared.
        lpips: LPIPS is taken of each image.
    """

    segmenter: str | None = None
    distributions: tuple[Distribution, ...] = ()
    lpips: bool = False
