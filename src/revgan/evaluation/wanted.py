"""The options of an evaluation, in the words of the command line."""

from dataclasses import dataclass
from typing import Literal

from revgan.directions import DomainName

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

TISSUES = (-200.0, 200.0)
"""HU between air and soft tissue, and between soft tissue and bone."""


@dataclass(frozen=True)
class ScoreOptions:
    """What to score besides distance to the truth, round trips and nearest label colours.

    Attributes:
        segmenter: judges photos made from label maps: a file, or `UNET`; None for none.
        distributions: the features by which sets of images are compared.
        lpips: whether to compute LPIPS for each image.
        trust: whether the segmenter's file may run its maker's code.
        data_range: of PSNR and SSIM, in the files' units.
        synthetic_ct: the domain whose values are HU, to score translations into it as SynthRAD2025
            does and by tissue; None for neither.
        tissues: thresholds of the truth between air, soft tissue and bone, in HU.
        structures: a network's file that finds structures in `synthetic_ct`; None for none.
    """

    segmenter: str | None = None
    distributions: tuple[Distribution, ...] = ()
    lpips: bool = False
    trust: bool = False
    data_range: DataRange = "auto"
    synthetic_ct: DomainName | None = None
    tissues: tuple[float, float] = TISSUES
    structures: str | None = None
