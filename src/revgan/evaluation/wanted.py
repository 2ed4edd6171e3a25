"""The options of an evaluation, in the words of the command line."""

from dataclasses import dataclass
from typing import Literal

ModelChoice = Literal["last", "best"]
"""Which model of a run: that of the last step, or the best by validation score."""

Distribution = Literal["random", "segmenter", "inception"]
"""The features by which sets of images are compared."""

UNET = "unet"
"""Given instead of a segmenter's file: a U-Net is trained on the data set's pairs."""


@dataclass(frozen=True)
class ScoreOptions:
    """What to score besides distance to the truth, round trips and nearest label colours.

    Attributes:
        segmenter: judges photos made from label maps: a file, or `UNET`; None for none.
        distributions: the features by which sets of images are compared.
        lpips: whether to compute LPIPS for each image.
        trust: whether the segmenter's file may run its maker's code.
    """

    segmenter: str | None = None
    distributions: tuple[Distribution, ...] = ()
    lpips: bool = False
    trust: bool = False
