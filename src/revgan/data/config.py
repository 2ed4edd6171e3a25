"""Which images or volumes a run uses, and what is cut from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from revgan.data.intensity import Choice, IntensityConfig, Limit
from revgan.data.views import View
from revgan.directions import DOMAINS, DomainName
from revgan.networks.axes import PerAxis, per_axis, require_axes, shown

if TYPE_CHECKING:
    from revgan.data.formats import Selection
    from revgan.data.preparation import Grid

Cache = Literal["none", "memory", "disk"]

Patterns = tuple[str, ...] | str

INTENSITY_CHANGES = "contrast", "brightness", "noise"
"""Options of augmentation that end in _a or _b."""

SplitName = Literal["train", "test", "val"]


def scaled_sizes(sizes: Sequence[int], shorter: int) -> tuple[int, ...]:
    """Sizes in the same proportions, with a given shortest one."""
    return tuple(round(size * shorter / min(sizes)) for size in sizes)


@dataclass(frozen=True)
class DataConfig:
    """Which images or volumes a run uses, and how they are scaled and cropped.

    Attributes:
        path: a folder of images or volumes, or the name of a built-in set (earth,
            earth-small, earth-map, earth-labels; of volumes: brain, brain-super-resolution).
        spatial_dims: 2 for images, 3 for volumes.
        a: patterns of the paths of A's scans in `path`, such as sub-*/anat/*_T1w.nii.gz, for
            folders without trainA and trainB. Scans whose wildcards stand for the same text belong
            together; the first wildcard is the subject. With several patterns, scans that belong
            together become the channels of one.
        b: the same for B.
        test_a: the same for A's test scans.
        test_b: the same for B.
        val_a: the same for A's validation scans.
        val_b: the same for B.
        test_share: the share of subjects to hold out from training if there is no test set; chosen
            by their names.
        val_share: the same for validation.
        folds: for cross-validation: into how many parts the subjects of the training scans are
            divided; a test set of the folder's own is left alone.
        fold: which of these parts is the test, from 1.
        blocks: the side in pixels or voxels of blocks that scans are cut into, for sets of one huge
            scan, or of few. Each block counts as a scan, read by itself, and `test_share` and
            `val_share` hold out blocks of each scan, at a distance of `crop` from all others. null
            leaves scans whole.
        recursive: search the subfolders of `path`'s folders too.
        series: which of several scans in a file or folder to take: for DICOM, the series' number,
            description or UID; for OME-TIFF and OME-Zarr, the image's number or name. null takes
            all series in a folder, or a file's only image.
        aligned: whether test and validation scans of A and B with the same name show the same
            thing, so that translations are scored against them. "auto" assumes it where all names
            and sizes match, and says so for unpaired training, whose best model isn't chosen by
            such a guess. true requires it, false never assumes it. Paired training needs pairs
            anyway.
        level_a: the pyramid level at which A is read, such as a whole slide's; 0, the default, is
            the finest.
        level_b: the same for B.
        pixel_size_a: pixel size in micrometres that images of A are resampled to when read, from
            the next finer pyramid level; null keeps their resolution.
        pixel_size_b: the same for B.
        select_a: channels to take from A's files, by number from 0 or by name, such as [DAPI, 2];
            null takes all.
        select_b: the same for B.
        z_a: which plane of a stack to take as the image in A, from 0.
        z_b: the same for B.
        t_a: which point in time of A's time series to take, from 0.
        t_b: the same for B.
        slices: train on volumes as axial, coronal or sagittal slices, oriented as radiologists see
            them. Such a model translates volumes slice by slice. `flip` then mirrors along the
            rows, which is front to back in sagittal slices.
        align: bring B of each pair onto A's grid, by the places in the two files, on the ground
            (GeoTIFF) or in the patient. What B doesn't cover counts as missing. With `spacing`, it
            is done for pairs that aren't on one grid.
        resize: the shorter side in pixels after scaling; null keeps the size. For images.
        crop: side of the random squares or cubes that training cuts out, in pixels or voxels, or
            one per axis, such as [64, 64, 12] for thin volumes, or [32, 48] for images (height,
            width). Axes are those of the prepared scan.
        flip: mirror half of the training samples left to right; in volumes, along the axis that
            runs left to right according to the file.
        flip_axes: further axes, from 0, along which half of the training samples are mirrored.
        rotate: turn training samples by 0, 90, 180 or 270 degrees, in a plane in which the crop has
            equal sides.
        elastic: the share of training samples that are deformed elastically, both partners of a
            pair and their masks alike.
        elastic_shift: how far that moves pixels or voxels, about.
        contrast_a: how much the contrast of A's samples varies: their values in [-1, 1] are
            multiplied by 1 - this to 1 + this.
        brightness_a: how much their brightness varies: by up to this, of 2 from low_a to high_a.
        noise_a: standard deviation, at most, of Gaussian noise that is added to them.
        contrast_b: the same for B.
        brightness_b: the same for B.
        noise_b: the same for B.
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
        crops_per_volume: squares or cubes cut from each image or volume of the larger domain in an
            epoch.
        foreground: the share of them centred on the foreground; for pairs, that of A. The others
            come from anywhere.
        foreground_from: what is foreground: "otsu" is brighter than Otsu's threshold or, in colour
            images such as stained slides, more colourful; a number is a threshold in the files'
            units, such as -500 for CT; "mask" is inside the scan's training mask.
        train_mask: losses count only inside the masks in the folder trainMask, under the scans'
            names; unpaired domains may have trainMaskA and trainMaskB instead. A mask is above 0
            inside, and lies where its header says.
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
    a: Patterns | None = None
    b: Patterns | None = None
    test_a: Patterns | None = None
    test_b: Patterns | None = None
    val_a: Patterns | None = None
    val_b: Patterns | None = None
    test_share: float = 0.0
    val_share: float = 0.0
    folds: int | None = None
    fold: int | None = None
    blocks: int | None = None
    recursive: bool = False
    series: str | None = None
    align: bool = False
    aligned: bool | Literal["auto"] = "auto"
    level_a: int | None = None
    level_b: int | None = None
    pixel_size_a: float | None = None
    pixel_size_b: float | None = None
    select_a: tuple[str | int, ...] | None = None
    select_b: tuple[str | int, ...] | None = None
    z_a: int | None = None
    z_b: int | None = None
    t_a: int | None = None
    t_b: int | None = None
    slices: View | None = None
    resize: int | None = None
    crop: PerAxis = 256
    flip: bool = True
    flip_axes: tuple[int, ...] = ()
    rotate: bool = False
    elastic: float = 0.0
    elastic_shift: float = 4.0
    contrast_a: float = 0.0
    brightness_a: float = 0.0
    noise_a: float = 0.0
    contrast_b: float = 0.0
    brightness_b: float = 0.0
    noise_b: float = 0.0
    channels_a: int | None = None
    channels_b: int | None = None
    cache: Cache = "none"
    orientation: str | None = None
    spacing: tuple[float, float, float] | None = None
    crops_per_volume: int = 1
    foreground: float = 0.0
    foreground_from: Literal["otsu", "mask"] | float = "otsu"
    train_mask: bool = False
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
        require_axes("crop", self.crop, self.spatial_dims)
        if min(self.crop_sizes) < 1:
            raise ValueError(f"crop must be 1 or more, not {min(self.crop_sizes)}")
        self._check_patterns()
        self._check_folds()
        self._refuse_idle_options()
        if self.spatial_dims == 2:
            self._check_images()
        else:
            _ = self.grid  # checks its own values
        self._check_crops()
        self._check_augmentation()
        self._check_intensities()
        self._check_parts()

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """An image's height and width after `resize`."""
        if self.resize is None:
            return height, width
        height, width = scaled_sizes((height, width), self.resize)
        return height, width

    @property
    def crop_sizes(self) -> tuple[int, ...]:
        """The sides of a crop, along each axis."""
        return per_axis(self.crop, self.spatial_dims)

    @property
    def augmented(self) -> bool:
        """Whether training samples are changed by more than crops and one mirror."""
        amounts = (getattr(self, f"{name}_{d}") for name in INTENSITY_CHANGES for d in DOMAINS)
        return bool(self.flip_axes or self.rotate or self.elastic or any(amounts))

    @property
    def masked(self) -> bool:
        """Whether training scans need masks."""
        return self.train_mask or self.foreground_from == "mask"

    @property
    def crop_text(self) -> str:
        """`crop` as options are written."""
        return str(shown(self.crop))

    @property
    def grid(self) -> "Grid":
        """The orientation and spacing that volumes are brought to."""
        from revgan.data.preparation import Grid  # imports PyTorch, which `--help` must not

        return Grid(self.orientation, self.spacing)

    @property
    def patterns(self) -> dict[SplitName, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The patterns of A and B by split; empty if folders are used."""
        given: dict[SplitName, tuple[Patterns | None, Patterns | None]] = {
            "train": (self.a, self.b),
            "test": (self.test_a, self.test_b),
            "val": (self.val_a, self.val_b),
        }
        return {
            name: (_several(a), _several(b))
            for name, (a, b) in given.items()
            if a is not None and b is not None
        }

    @property
    def selection(self) -> "Selection":
        """Which of several scans in files and folders to take."""
        from revgan.data.formats import Selection  # imports libraries, which `--help` must not

        return Selection(series=self.series)

    def part(self, domain: DomainName) -> "Selection":
        """Which part of a domain's scans to read."""
        from revgan.data.formats import Selection

        selected = getattr(self, f"select_{domain}")
        return Selection(
            level=getattr(self, f"level_{domain}"),
            pixel_size=getattr(self, f"pixel_size_{domain}"),
            channels=None if selected is None else tuple(map(str, selected)),
            z=getattr(self, f"z_{domain}"),
            t=getattr(self, f"t_{domain}"),
        )

    @property
    def file_dims(self) -> int:
        """Spatial axes of the scans in files; images may be slices of them."""
        return self.spatial_dims if self.slices is None else 3

    @property
    def kept(self) -> Cache:
        """Where prepared scans are kept."""
        if self.file_dims == 2:
            return self.cache
        return "disk" if self.cache == "none" else self.cache

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

    def _check_patterns(self) -> None:
        for prefix in ("", "test_", "val_"):
            a, b = getattr(self, f"{prefix}a"), getattr(self, f"{prefix}b")
            if (a is None) != (b is None):
                missing = f"{prefix}{'a' if a is None else 'b'}"
                raise ValueError(f"{missing} must be given with its counterpart, or neither")
            if prefix and a is not None and self.a is None:
                raise ValueError(f"{prefix}a and {prefix}b do nothing without a and b")
            if () in (a, b) or "" in (a, b):
                raise ValueError(f"{prefix}a and {prefix}b must not be empty")
        for name in ("test_share", "val_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {getattr(self, name)}")

    def _check_folds(self) -> None:
        if self.folds is None:
            if self.fold is not None:
                raise ValueError(f"fold {self.fold} does nothing without folds; give both")
            return
        if self.folds < 2:
            raise ValueError(f"folds must be null or at least 2, not {self.folds}")
        if self.fold is None or not 1 <= self.fold <= self.folds:
            raise ValueError(
                f"fold must be from 1 to folds ({self.folds}), not {self.fold}; revgan train "
                f"--folds {self.folds} trains them all"
            )
        if self.test_share:
            raise ValueError("folds says what is held out for the test; leave out test_share")

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
        if self.resize is not None and self.resize < min(self.crop_sizes):
            raise ValueError(
                f"resize must be null or at least crop ({self.crop_text}), not {self.resize}"
            )
        for name in ("channels_a", "channels_b"):
            if getattr(self, name) not in (None, 1, 2, 3, 4):
                raise ValueError(f"{name} must be null or 1 to 4, not {getattr(self, name)}")
        if self.slices not in (None, *get_args(View)):
            known = ", ".join(get_args(View))
            raise ValueError(f"slices must be null or one of {known}, not {self.slices!r}")
        if self.cache not in get_args(Cache):
            known = ", ".join(get_args(Cache))
            raise ValueError(f"cache must be one of {known}, not {self.cache!r}")

    def _check_crops(self) -> None:
        if self.crops_per_volume < 1:
            raise ValueError(f"crops_per_volume must be 1 or more, not {self.crops_per_volume}")
        if self.blocks is not None:
            self._check_blocks(self.blocks)
        if not 0 <= self.foreground <= 1:
            raise ValueError(f"foreground must be from 0 to 1, not {self.foreground}")
        given = self.foreground_from
        if given not in ("otsu", "mask") and (isinstance(given, str) or not math.isfinite(given)):
            raise ValueError(f"foreground_from must be otsu, mask or a number, not {given!r}")
        if given != "otsu" and not self.foreground:
            raise ValueError("foreground_from does nothing with foreground 0; leave it out")

    def _check_augmentation(self) -> None:
        sizes = self.crop_sizes
        if any(axis not in range(len(sizes)) for axis in self.flip_axes):
            raise ValueError(
                f"flip_axes must be from 0 to {len(sizes) - 1}, not {list(self.flip_axes)}"
            )
        if self.rotate and len(set(sizes)) == len(sizes):
            raise ValueError(
                f"rotate turns crops in planes with equal sides, but crop is {self.crop_text}"
            )
        if not 0 <= self.elastic <= 1:
            raise ValueError(f"elastic must be from 0 to 1, not {self.elastic}")
        for name in ("elastic_shift", *(f"{n}_{d}" for n in INTENSITY_CHANGES for d in DOMAINS)):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")

    def _check_blocks(self, side: int) -> None:
        times = 3 if self.test_share or self.val_share else 1
        if side < times * max(self.crop_sizes):
            raise ValueError(
                f"blocks must be null or at least {times} times crop ({self.crop_text}), not {side}"
            )
        for name in ("resize", "spacing", "slices"):
            if getattr(self, name) is not None:
                raise ValueError(f"blocks and {name} don't go together; leave out one of them")

    def _check_parts(self) -> None:
        for domain in DOMAINS:
            for name in (f"level_{domain}", f"z_{domain}", f"t_{domain}"):
                if (getattr(self, name) or 0) < 0:
                    raise ValueError(
                        f"{name} must be null or at least 0, not {getattr(self, name)}"
                    )
            size = getattr(self, f"pixel_size_{domain}")
            if size is not None and not 0 < size < math.inf:
                raise ValueError(f"pixel_size_{domain} must be null or above 0, not {size:g}")
            if size is not None and getattr(self, f"level_{domain}") is not None:
                raise ValueError(
                    f"pixel_size_{domain} finds the level itself; leave out level_{domain}"
                )
            if getattr(self, f"select_{domain}") == ():
                raise ValueError(f"select_{domain} must be null or name a channel, not []")

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


def _several(patterns: Patterns) -> tuple[str, ...]:
    return (patterns,) if isinstance(patterns, str) else patterns


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


FOR_IMAGES = (
    *("slices", "resize", "channels_a", "channels_b", "cache"),
    *("pixel_size_a", "pixel_size_b", "z_a", "z_b"),
)

LEARNT = (
    "spatial_dims",
    "slices",
    "level_a",
    "level_b",
    "pixel_size_a",
    "pixel_size_b",
    "select_a",
    "select_b",
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

FOR_VOLUMES = ("orientation", "spacing")
