"""The networks' configurations: the paper's choices, and the alternatives that it tried."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from revgan.errors import check_choices, check_numbers
from revgan.networks.axes import FACTOR, PerAxis, fitted, largest, per_axis, require_axes, shown

Memory = Literal["naive", "reversible", "lean"]
MemoryChoice = Literal["auto", Memory]
Model = Literal["revgan", "resnet"]
Core = Literal["reversible", "ode"]
CouplingKind = Literal["additive", "affine"]
Downsampling = Literal["strided", "subpixel"]
Upsampling = Literal["transposed", "subpixel", "nearest", "bilinear"]
Padding = Literal["reflect", "zeros"]
Norm = Literal["instance", "batch", "none"]
Init = Literal["normal", "xavier", "kaiming", "orthogonal"]
AdaptiveSolver = Literal["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
FixedStepSolver = Literal["euler", "midpoint", "rk4"]
Solver = Literal[AdaptiveSolver, FixedStepSolver]
DiscriminatorForm = Literal["paper", "patch70"]

USE_OF_MEMORY = "memory", "stored_blocks", "slabs"
"""The fields that say how training uses memory; networks are the same with any."""

LARGEST_WIDTH, LARGEST_DEPTH, LARGEST_KERNEL, LARGEST_STEPS = 16384, 1024, 255, 100_000
"""Beyond, no machine has the memory, and planning would take minutes."""

PER_AXIS = {
    "generator": ("downsamplings", "first_kernel", "last_kernel"),
    "discriminator": ("downsamplings",),
}
"""Options that may differ by axis, and do for thin crops."""

LARGEST_DOWNSAMPLINGS = 4
"""More leave too few positions of any crop."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator's architecture.

    Attributes:
        model: "revgan" is one generator for both directions, with a reversible core. "resnet" is a
            ResNet generator for each: CycleGAN if trained unpaired, pix2pix if trained paired.
        width: K, channels after the first convolution.
        depth: R, blocks in the core; with core "ode", the time over which it is integrated.
        core: "reversible" is a chain of couplings. "ode" is a continuous-depth residual network
            (Chen et al., 2018; the paper's Section 3), inverted by integrating backwards.
        coupling: "additive" is the paper's choice; "affine" also scales, which made the
            paper's results worse.
        exact: whether additive couplings keep the residual stream on a grid of numbers that add
            without rounding; if not, they are plain sums, as in the paper's code.
        downsamplings: how many times the encoder halves the resolution and doubles the channels;
            the core has K * 2**downsamplings channels. The paper has 2 in 2D and 0 in 3D. One
            number per axis, such as [2, 2, 1], halves thin axes less often, and only by the last
            layers; a `data.crop` with a thin axis chooses them.
        first_kernel: side of the first convolution's kernel, odd: 7, or 3 in the paper's 3D model;
            also one per axis.
        last_kernel: side of the last convolution's kernel, odd: 7, or 1 in the paper's 3D model;
            also one per axis.
        identity_start: whether the last convolution of every residual function starts at zero, with
            no normalisation after it, so that the core starts as the identity (Section 1.1, 3D).
        tanh: whether translations end with tanh, which keeps their values in [-1, 1].
        skip: whether the image itself is added to what the networks make of it, before tanh, so
            that they learn only the difference; for domains with the same channels that resemble
            each other, as in super-resolution, denoising and harmonisation.
        downsampling: convolutions of stride 2 ("strided"), or pixel unshuffling and a convolution
            at the lower resolution ("subpixel").
        downsampling_padding: "reflect", as everywhere else (Section 1.1), or "zeros", as in the
            paper's released code.
        upsampling: fractionally strided convolutions ("transposed"), a convolution and pixel
            shuffling ("subpixel"), or resizing and a convolution ("nearest", or "bilinear",
            which is trilinear in 3D).
        norm: normalise by each sample's own statistics ("instance", Table 1), by the batch's
            ("batch"), or not at all ("none").
        dropout: probability that a feature inside a residual function is set to zero; 0 in the
            paper.
        init: distribution of fresh weights: N(0, 0.02) ("normal", Table 1); that of Glorot
            ("xavier") or Saxe ("orthogonal"), with a gain of 0.02 as in CycleGAN's code; or that
            of He ("kaiming").
        ode_solver: one of torchdiffeq's: euler, midpoint and rk4 take steps of `ode_step`; dopri5,
            dopri8, bosh3, fehlberg2 and adaptive_heun choose their steps by the tolerances.
        ode_rtol: relative error that an adaptive solver allows in a step.
        ode_atol: absolute error, added to the relative one.
        ode_step: length of a fixed step; one block corresponds to a time of 1.
        memory: "naive" stores every activation; "reversible" recomputes the core's in the backward
            pass; "lean" recomputes those of encoders and decoders as well. "auto" takes the fastest
            mode that fits into the device's free memory; the run keeps it when it is resumed. All
            give the same results, but with slabs, or where the core isn't exact, gradients differ
            by rounding. With core "ode", "reversible" is the adjoint method, whose gradients differ
            by the solver's error; "auto" takes it.
        stored_blocks: how many blocks of the core store their activations anyway, in "reversible"
            and "lean"; "auto" decides this too.
        slabs: in "lean", into how many slabs encoders, decoders and discriminators cut their images
            along the longest axis; tensors of full resolution and K channels then exist a slab at a
            time; 8 save nearly all that can be saved. 0 or 1: none; null: none, but "auto" takes
            slabs where nothing else fits. Results differ from those without slabs by rounding. With
            `losses.r1_weight`, discriminators stay whole.
    """

    model: Model = "revgan"
    width: int = 32
    depth: int = 6
    core: Core = "reversible"
    coupling: CouplingKind = "additive"
    exact: bool = True
    downsamplings: PerAxis = 2
    first_kernel: PerAxis = 7
    last_kernel: PerAxis = 7
    identity_start: bool = False
    tanh: bool = True
    skip: bool = False
    downsampling: Downsampling = "strided"
    downsampling_padding: Padding = "reflect"
    upsampling: Upsampling = "transposed"
    norm: Norm = "instance"
    dropout: float = 0.0
    init: Init = "normal"
    ode_solver: Solver = "rk4"
    ode_rtol: float = 1e-4
    ode_atol: float = 1e-4
    ode_step: float = 0.25
    memory: MemoryChoice = "auto"
    stored_blocks: int = 0
    slabs: int | None = None

    def __post_init__(self) -> None:
        self._check_ranges()
        for name, conditions in _ONLY_WITH.items():
            value, default = getattr(self, name), getattr(type(self), name)
            for other, values in conditions:
                if value != default and getattr(self, other) not in values:
                    raise ValueError(
                        f"{name} can't be {value} with {other} {getattr(self, other)}, only with "
                        f"{' or '.join(values)}"
                    )
        if self.core == "ode":
            self._check_ode()
        self._check_memory()

    def _check_ranges(self) -> None:
        check_choices(self)
        for name in ("ode_rtol", "ode_atol", "ode_step"):
            if not getattr(self, name) > 0:  # which refuses NaN too
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        check_numbers(
            self,
            width=(1, LARGEST_WIDTH),
            depth=(0, LARGEST_DEPTH),
            first_kernel=(1, LARGEST_KERNEL),
            last_kernel=(1, LARGEST_KERNEL),
            slabs=(0, LARGEST_WIDTH),
        )
        if not all(0 <= count <= LARGEST_DOWNSAMPLINGS for count in _numbers(self.downsamplings)):
            raise ValueError(
                f"downsamplings must be from 0 to {LARGEST_DOWNSAMPLINGS}, "
                f"not {shown(self.downsamplings)}"
            )
        if self.levels == 0 and self.width % 2:
            raise ValueError(
                f"width must be even with downsamplings 0, not {self.width}; a reversible core "
                "splits its channels into halves"
            )
        for name in ("first_kernel", "last_kernel"):
            kernel = getattr(self, name)
            if not all(side >= 1 and side % 2 for side in _numbers(kernel)):
                raise ValueError(f"{name} must be odd, 1 or more, not {shown(kernel)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout}")

    def _check_ode(self) -> None:
        """Refuses what would make the field differ from one evaluation to the next."""
        if self.ode_solver in _FIXED_STEP and self.depth / self.ode_step > LARGEST_STEPS:
            raise ValueError(
                f"ode_step must be depth / {LARGEST_STEPS} or more, not {self.ode_step} with depth "
                f"{self.depth}"
            )
        if self.dropout:
            raise ValueError(f"dropout must be 0 with core ode, not {self.dropout}")
        if self.norm == "batch":
            raise ValueError("norm must be instance or none with core ode, not batch")

    def _check_memory(self) -> None:
        if self.model == "resnet" and self.memory not in ("auto", "naive"):
            raise ValueError(
                f"memory must be auto or naive with model resnet, not {self.memory}; only a "
                "reversible core can do without its activations"
            )
        if not 0 <= self.stored_blocks <= self.depth:
            raise ValueError(
                f"stored_blocks must be from 0 to depth, {self.depth}, not {self.stored_blocks}"
            )
        if self.stored_blocks and self.memory in ("auto", "naive"):
            raise ValueError(
                f"stored_blocks must be 0 with memory {self.memory}, not {self.stored_blocks}; "
                "only reversible and lean take such a number"
            )
        if self.slabs and self.memory != "lean":
            raise ValueError(
                f"slabs must be null or 0 with memory {self.memory}, not {self.slabs}; only lean "
                "cuts encoders and decoders into slabs"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary})"

    @property
    def summary(self) -> str:
        """Width, depth, memory, and whatever differs from its default, as keyword arguments."""
        always = ("width", "depth", "memory")
        values = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        shown = (f"{n}={value!r}" for n, value, usual in values if n in always or value != usual)
        return ", ".join(shown)

    @property
    def use_of_memory(self) -> str:
        """The mode and its numbers, such as "lean with 3 of 9 blocks stored, 8 slabs"."""
        stored = f"{self.stored_blocks} of {self.depth} blocks stored" if self.stored_blocks else ""
        slabs = f"{self.slabs} slabs" if self.slabs and self.slabs > 1 else ""
        details = ", ".join(filter(None, (stored, slabs)))
        return f"{self.memory} with {details}" if details else self.memory

    @property
    def levels(self) -> int:
        """How many layers of the encoder halve an axis; each doubles the channels."""
        return largest(self.downsamplings)

    @property
    def architecture(self) -> dict[str, Any]:
        """What the networks are made of, by field; not how training uses memory."""
        return {name: value for name, value in asdict(self).items() if name not in USE_OF_MEMORY}

    @property
    def core_channels(self) -> int:
        """Channels between encoder and decoder."""
        return self.width * FACTOR**self.levels

    @property
    def size_multiple(self) -> int:
        """A multiple of this fits any axis."""
        return int(FACTOR**self.levels)

    @property
    def min_size(self) -> int:
        """The smallest size that fits any axis, see `min_sizes`."""
        return max(self.min_sizes(len(self._axes)))

    def size_multiples(self, spatial_dims: int) -> tuple[int, ...]:
        """By axis, what every size must be a multiple of."""
        return tuple(FACTOR**count for count in per_axis(self.downsamplings, spatial_dims))

    def min_sizes(self, spatial_dims: int) -> tuple[int, ...]:
        """By axis, the smallest size: reflection needs more positions than it mirrors."""
        kernels = (per_axis(side, spatial_dims) for side in (self.first_kernel, self.last_kernel))
        return tuple(
            -(-max(FACTOR * multiple, max(sides) // 2 + 1) // multiple) * multiple
            for multiple, *sides in zip(self.size_multiples(spatial_dims), *kernels, strict=True)
        )

    def require_dims(self, spatial_dims: int) -> None:
        """Refuses options that give more or fewer numbers than there are axes.

        Raises:
            ValueError: names the option.
        """
        for name in PER_AXIS["generator"]:
            require_axes(name, getattr(self, name), spatial_dims)

    @property
    def _axes(self) -> tuple[int, ...]:
        """One number per axis, if any option gives so many, else just one."""
        given = (self.downsamplings, self.first_kernel, self.last_kernel)
        return next((value for value in given if isinstance(value, tuple)), (0,))

    def fitted(self, sizes: Sequence[int]) -> Self:
        """The same generator with fewer downsamplings and smaller kernels along thin axes.

        Args:
            sizes: of training crops; an axis is thin if it has at most half of the longest size.
        """
        sizes = tuple(sizes)
        counts = tuple(
            _halvings(size) if 2 * size <= max(sizes) else LARGEST_DOWNSAMPLINGS for size in sizes
        )
        sides = tuple(2 * size - 1 for size in sizes)  # which mirror less than there is
        return replace(
            self,
            downsamplings=fitted(self.downsamplings, sizes, counts),
            first_kernel=fitted(self.first_kernel, sizes, sides),
            last_kernel=fitted(self.last_kernel, sizes, sides),
        )

    @property
    def memory_modes(self) -> tuple[Memory, ...]:
        """The modes that this generator can be trained in."""
        return ("naive",) if self.model == "resnet" else get_args(Memory)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminators' architecture.

    Attributes:
        form: "paper" is what Section 1.2 says: four 4x4 convolutions of stride 2, then a 1x1
            convolution. "patch70" is the 70x70 PatchGAN of the CycleGAN and RevGAN code: three 4x4
            convolutions of stride 2, two of stride 1; its grid of judgements is twice as fine.
        width: channels of the first layer; each further one doubles them, up to 8 * width.
        norm: see the generator's.
        init: see the generator's.
        downsamplings: how many of its convolutions of stride 2 halve an axis, the last ones; the
            others have stride 1 and kernels of 3 along it. One number, or one per axis, such as
            [3, 3, 1]; null: all of them, but no more than fit the shorter axes of `data.crop`.
        spectral_norm: divide the convolutions' weights by their largest singular value, so that no
            layer amplifies more than once (Miyato et al., 2018).
    """

    form: DiscriminatorForm = "patch70"
    width: int = 64
    norm: Norm = "instance"
    init: Init = "normal"
    downsamplings: PerAxis | None = None
    spectral_norm: bool = False

    @property
    def levels(self) -> int:
        """How many convolutions of stride 2 the form has."""
        return 4 if self.form == "paper" else 3

    @property
    def halvings(self) -> PerAxis:
        """How often each axis is halved."""
        return self.levels if self.downsamplings is None else self.downsamplings

    @property
    def min_size(self) -> int:
        """The smallest size that fits any axis, see `min_sizes`."""
        return self._least << largest(self.halvings)

    def min_sizes(self, spatial_dims: int) -> tuple[int, ...]:
        """By axis, the smallest size to judge: below it, the last normalised layer has one
        position.
        """
        return tuple(self._least << count for count in per_axis(self.halvings, spatial_dims))

    def require_dims(self, spatial_dims: int) -> None:
        """As `GeneratorConfig.require_dims`."""
        require_axes("downsamplings", self.halvings, spatial_dims)

    @property
    def _least(self) -> int:
        """The smallest size that isn't halved; patch70's last kernels of 4 each take off one."""
        return 2 if self.form == "paper" else 3

    def fitted(self, sizes: Sequence[int]) -> Self:
        """The same discriminator, which halves axes that are shorter than others less often."""
        if self.downsamplings is not None:
            return self
        counts = tuple(max(0, (size // self._least).bit_length() - 1) for size in sizes)
        chosen = fitted(self.levels, tuple(sizes), counts)
        return self if chosen == self.levels else replace(self, downsamplings=chosen)

    def __post_init__(self) -> None:
        check_choices(self)
        check_numbers(self, width=(1, LARGEST_WIDTH))
        if not all(0 <= count <= self.levels for count in _numbers(self.halvings)):
            raise ValueError(
                f"downsamplings must be null, or from 0 to {self.levels} with form {self.form}, "
                f"not {shown(self.halvings)}"
            )


def _numbers(value: PerAxis) -> tuple[int, ...]:
    """The number, or those of all axes."""
    return (value,) if isinstance(value, int) else value


def _halvings(size: int) -> int:
    """How often a size can be halved, with two positions left."""
    return 0 if size % 2 or size < 2 * FACTOR else 1 + _halvings(size // FACTOR)


_ADAPTIVE, _FIXED_STEP = get_args(AdaptiveSolver), get_args(FixedStepSolver)

_ONLY_WITH: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "core": [("model", ("revgan",))],
    "coupling": [("model", ("revgan",)), ("core", ("reversible",))],
    "identity_start": [("coupling", ("additive",))],
    "exact": [("model", ("revgan",)), ("core", ("reversible",)), ("coupling", ("additive",))],
    "ode_solver": [("core", ("ode",))],
    "ode_rtol": [("core", ("ode",)), ("ode_solver", _ADAPTIVE)],
    "ode_atol": [("core", ("ode",)), ("ode_solver", _ADAPTIVE)],
    "ode_step": [("core", ("ode",)), ("ode_solver", _FIXED_STEP)],
    "stored_blocks": [("core", ("reversible",))],
}
"""Fields that only mean something where other fields have one of these values."""
