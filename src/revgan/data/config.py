"""Which images or volumes a run uses, and what is cut from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from revgan.data.intensity import Choice, IntensityConfig
from revgan.data.mappings import Limit
from revgan.data.option_checks import INTENSITY_CHANGES, Cache, check_options
from revgan.data.views import View
from revgan.directions import DOMAINS, DomainName
from revgan.networks.axes import PerAxis, per_axis, shown

if TYPE_CHECKING:
    from revgan.data.formats import Selection
    from revgan.data.preparation import Grid


Patterns = tuple[str, ...] | str


SplitName = Literal["train", "test", "val"]


def scaled_sizes(sizes: Sequence[int], shorter: int) -> tuple[int, ...]:
    """Sizes in the same proportions, with a given shortest one."""
    return tuple(round(size * shorter / min(sizes)) for size in sizes)


@dataclass(frozen=True)
class DataConfig:
    """Which images or volumes a run uses, and how they are scaled and cropped.

    Attributes:
        path: a folder of images or volumes, or the name of a built-in set (earth,
            earth-small, earth-map, earth-labels, earth-labels-small; of volumes: brain,
            brain-super-resolution).
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
        check_options(self)

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
