"""Which images or volumes a run uses, and what is cut from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from revgan.data.intensity import Choice, IntensityConfig, Limit
from revgan.directions import DOMAINS, DomainName

if TYPE_CHECKING:
    from revgan.data.formats import Selection
    from revgan.data.preparation import Grid

Cache = Literal["none", "memory", "disk"]


@dataclass(frozen=True)
class DataConfig:
    """Which images or volumes a run uses, and how they are scaled and cropped.

    Attributes:
        path: a folder of images or volumes, or the name of a built-in set (earth; of volumes:
            brain, brain-super-resolution).
        spatial_dims: 2 for images, 3 for volumes.
        recursive: search the subfolders of `path`'s folders too.
        series: which of several scans in a file or folder to take; for DICOM, the series' number,
            description or UID; null takes all series in a folder.
        resize: the shorter side in pixels after scaling; null keeps the size. For images.
        crop: side of the random squares or cubes that training cuts out, in pixels or voxels.
        flip: mirror half of the training samples left to right; in volumes, along the axis that
            runs left to right according to the file.
        channels_a: channels that images of A are converted to; null takes them as they are.
            Volumes are always taken as they are.
        channels_b: the same for B.
        cache: where decoded images are kept, so that later epochs needn't decode them again:
            "memory" (for this run only), "disk" (for later runs too) or "none". For images; volumes
            are always kept on disk.
        orientation: the directions that volumes' axes are made to point to, such as RAS (right,
            anterior, superior), without resampling; null leaves them.
        spacing: the voxel spacing that volumes are resampled to, in millimetres along these axes,
            such as [1, 1, 1]; null keeps their resolution.
        crops_per_volume: cubes cut from each volume of the larger domain in an epoch.
        foreground: the share of cubes centred on the foreground (voxels brighter than Otsu's
            threshold; for pairs, that of A). The others come from anywhere.
        intensity_a: what becomes -1 and 1 in A: "range" takes low_a and high_a in the file's units,
            such as Hounsfield units; "percentiles" takes them as percentiles of all training scans,
            "zscore" in standard deviations from their mean; "percentiles-per-scan" and
            "zscore-per-scan" do so within each scan, for example for MR scans whose scales differ;
            "type" is the full range of the files' integer type. "auto" is "type" for 8-bit images,
            and "percentiles" for volumes or if low_a or high_a is given; for other images it is
            chosen from their values and reported.
        low_a: the intensity that becomes -1; null takes percentile 0.5, or -4 standard deviations.
            A range may have one per channel.
        high_a: the intensity that becomes 1; null takes percentile 99.5, or 4 standard deviations.
            A range may have one per channel.
        per_channel_a: compute percentiles, or mean and deviation, for each channel of A separately.
        intensity_b: the same for B.
        low_b: the same for B.
        high_b: the same for B.
        per_channel_b: the same for B.
        clip: whether intensities beyond low and high become -1 and 1.
        fill: what the networks see where data is missing (NaN, or the value that a file names):
            "low" is the intensity that becomes -1; a number is in the files' units. Missing pixels
            and voxels don't count in statistics or losses.
    """

    path: str = ""
    spatial_dims: Literal[2, 3] = 2
    recursive: bool = False
    series: str | None = None
    resize: int | None = None
    crop: int = 256
    flip: bool = True
    channels_a: int | None = None
    channels_b: int | None = None
    cache: Cache = "none"
    orientation: str | None = None
    spacing: tuple[float, float, float] | None = None
    crops_per_volume: int = 1
    foreground: float = 0.0
    intensity_a: Choice = "auto"
    low_a: Limit | None = None
    high_a: Limit | None = None
    per_channel_a: bool = False
    intensity_b: Choice = "auto"
    low_b: Limit | None = None
    high_b: Limit | None = None
    per_channel_b: bool = False
    clip: bool = True
    fill: float | Literal["low"] = "low"

    def __post_init__(self) -> None:
        if self.spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, not {self.spatial_dims}")
        if self.crop < 1:
            raise ValueError(f"crop must be 1 or more, not {self.crop}")
        self._refuse_idle_options()
        if self.spatial_dims == 2:
            self._check_images()
        else:
            self._check_volumes()
        self._check_intensities()

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """An image's height and width after `resize`."""
        if self.resize is None:
            return height, width
        shorter = min(height, width)
        return round(height * self.resize / shorter), round(width * self.resize / shorter)

    @property
    def grid(self) -> "Grid":
        """The orientation and spacing that volumes are brought to."""
        from revgan.data.preparation import Grid  # imports PyTorch, which `--help` must not

        return Grid(self.orientation, self.spacing)

    @property
    def selection(self) -> "Selection":
        """Which part of each file to read."""
        from revgan.data.formats import Selection  # imports libraries, which `--help` must not

        return Selection(series=self.series)

    @property
    def kept(self) -> Cache:
        """Where prepared scans are kept."""
        return self.cache if self.spatial_dims == 2 else "disk"

    def choice(self, domain: DomainName) -> Choice:
        """A domain's option."""
        return self.intensity_a if domain == "a" else self.intensity_b

    def per_channel(self, domain: DomainName) -> bool:
        """Whether each channel of a domain has its own limits."""
        return self.per_channel_a if domain == "a" else self.per_channel_b

    def intensity(self, domain: DomainName) -> IntensityConfig | None:
        """Which of a domain's intensities become -1 and 1; None for "type" and "auto"."""
        low, high = (self.low_a, self.high_a) if domain == "a" else (self.low_b, self.high_b)
        choice, per_channel = self.choice(domain), self.per_channel(domain)
        if choice == "auto" and (low is not None or high is not None):
            choice = "percentiles"
        if choice == "auto" or choice == "type":
            return None
        return IntensityConfig(choice, low, high, self.clip, per_channel)

    def _refuse_idle_options(self) -> None:
        idle, kind = (FOR_VOLUMES, "images") if self.spatial_dims == 2 else (FOR_IMAGES, "volumes")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in idle and value != field.default:
                raise ValueError(
                    f"{field.name} does nothing for {kind}; leave it out, or set data.spatial_dims "
                    f"{5 - self.spatial_dims}"
                )

    def _refuse_idle_limits(self, domain: DomainName) -> None:
        if self.choice(domain) != "type":
            return
        given = {"low": None, "high": None, "per_channel": False}
        for name, default in given.items():
            if getattr(self, f"{name}_{domain}") != default:
                raise ValueError(
                    f"{name}_{domain} does nothing with intensity_{domain} type; leave it out"
                )

    def _check_images(self) -> None:
        if self.resize is not None and self.resize < self.crop:
            raise ValueError(
                f"resize must be null or at least crop ({self.crop}), not {self.resize}"
            )
        for name in ("channels_a", "channels_b"):
            if getattr(self, name) not in (None, 1, 2, 3, 4):
                raise ValueError(f"{name} must be null or 1 to 4, not {getattr(self, name)}")
        if self.cache not in get_args(Cache):
            known = ", ".join(get_args(Cache))
            raise ValueError(f"cache must be one of {known}, not {self.cache!r}")

    def _check_volumes(self) -> None:
        if self.crops_per_volume < 1:
            raise ValueError(f"crops_per_volume must be 1 or more, not {self.crops_per_volume}")
        if not 0 <= self.foreground <= 1:
            raise ValueError(f"foreground must be from 0 to 1, not {self.foreground}")
        _ = self.grid  # checks its own values

    def _check_intensities(self) -> None:
        if self.fill != "low" and not (
            isinstance(self.fill, int | float) and math.isfinite(self.fill)
        ):
            raise ValueError(f"fill must be low or a number, not {self.fill!r}")
        for domain in DOMAINS:
            if self.choice(domain) not in get_args(Choice):
                known = ", ".join(get_args(Choice))
                raise ValueError(
                    f"intensity_{domain} must be one of {known}, not {self.choice(domain)!r}"
                )
            self._refuse_idle_limits(domain)
            try:
                self.intensity(domain)
            except ValueError as error:
                raise ValueError(
                    f"intensity_{domain}, low_{domain} and high_{domain} don't go together: {error}"
                ) from error


def upgraded(section: Mapping[str, Any]) -> dict[str, Any]:
    """Brings the section `data` of an older config.yaml up to date.

    Until `fill` was added, all images were mapped by their type, although every configuration held
    the defaults for volumes.
    """
    content = dict(section)
    if "fill" in content or "clip" not in content or content.get("spatial_dims") != 2:
        return content
    for domain in DOMAINS:
        content |= {f"intensity_{domain}": "type", f"low_{domain}": None, f"high_{domain}": None}
    return content


FOR_IMAGES = ("resize", "channels_a", "channels_b", "cache")

LEARNT = (
    "spatial_dims",
    "orientation",
    "spacing",
    "intensity_a",
    "low_a",
    "high_a",
    "per_channel_a",
    "intensity_b",
    "low_b",
    "high_b",
    "per_channel_b",
    "clip",
    "fill",
)
"""Options that trained networks depend on: other values would need other networks."""

FOR_VOLUMES = ("orientation", "spacing", "crops_per_volume", "foreground")
