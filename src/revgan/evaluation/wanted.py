"""The options of an evaluation, in the words of the command line."""

from dataclasses import dataclass
from typing import Literal

ModelChoice = Literal["last", "best"]
"""Which model of a run: that of the last step, or the best by validation score."""

Distribution = Literal["random", "segmenter", "inception"]
"""The features by which sets of images are compared."""

UNET = "unet"
"""Given instead of a segmenter's file: a U-Net is trained on the data set's pairs."""


DataRange = Literal["auto", "type", "set"] | tuple[float, float]
"""The values that PSNR and SSIM take for the lowest and highest possible: the full range of the
files' type, those of the truth in all test scans, or two numbers. "auto" is the type for files of 8
bits, else those of the test scans."""


@dataclass(frozen=True)
class ScoreOptions:
    """What to score besides distance to the truth, round trips and nearest label colours.

    Attributes:
        segmenter: judges photos made from label maps: a file, or `UNET`; None for none.
        distributions: the features by which sets of images are compared.
        lpips: whether to compute LPIPS for each image.
        trust: whether the segmenter's file may run its maker's code.
        data_range: of PSNR and SSIM, in the files' units.
    """

    segmenter: str | None = None
    distributions: tuple[Distribution, ...] = ()
    lpips: bool = False
    trust: bool = False
    data_range: DataRange = "auto"
