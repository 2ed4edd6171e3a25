"""The generators' configuration: the paper's choices, and the alternatives that it tried."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from revgan.errors import check_numbers, check_types
from revgan.networks.axes import (
    FACTOR,
    PerAxis,
    fitted,
    halvable,
    in_words,
    largest,
    numbers,
    per_axis,
    require_axes,
    shown,
)
from revgan.networks.meaning import (
    FIXED_STEP,
    WITH_BLOCKS,
    AdaptiveSolver,
    FixedStepSolver,
    without_meaning,
)

Memory = Literal["naive", "reversible", "lean"]
MemoryChoice = Literal["auto", Memory]
Model = Literal["revgan", "resnet", "unet"]
Core = Literal["reversible", "ode"]
CouplingKind = Literal["additive", "affine"]
Downsampling = Literal["strided", "subpixel"]
Upsampling = Literal["transposed", "subpixel", "nearest", "bilinear"]
Padding = Literal["reflect", "zeros"]
Norm = Literal["instance", "batch", "none"]
Init = Literal["normal", "xavier", "kaiming", "orthogonal"]
Solver = Literal[AdaptiveSolver, FixedStepSolver]

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
"""More leave too few positions of any crop, but for a U-Net, which may end with a single one."""

UNET_DOWNSAMPLINGS = 2, 10
"""The fewest of a U-Net, which has no norm between the outermost layers, and the most."""

USUAL_DOWNSAMPLINGS: dict[Model, int] = {"revgan": 2, "resnet": 2, "unet": 8}
"""The paper's in 2D, and pix2pix's for crops of 256."""

DROPPED_FROM = 4
"""A U-Net's upsampling layers with dropout begin at this level, as pix2pix's do."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator's architecture.

    Attributes:
        model: "revgan" is one generator for both directions, with a reversible core. "resnet" is a
            ResNet generator for each: CycleGAN if trained unpaired, pix2pix if trained paired.
            "unet" is pix2pix's U-Net for each (Isola et al., 2017); docs/paper.md says which of
            the options below it has.
        width: K, channels after the first convolution.
        depth: R, blocks in the core; with core "ode", the time over which it is integrated. A
            U-Net has none.
        core: "reversible" is a chain of couplings. "ode" is a continuous-depth residual network
            (Chen et al., 2018; the paper's Section 3), inverted by integrating backwards.
        coupling: "additive" is the paper's choice; "affine" also scales, which made the
            paper's results worse.
        exact: whether additive couplings keep the residual stream on a grid of numbers that add
            without rounding; if not, they are plain sums, as in the paper's code.
        downsamplings: how many times the encoder halves the resolution and doubles the channels;
            the core has K * 2**downsamplings channels. The paper has 2 in 2D and 0 in 3D. One
            number per axis, such as [2, 2, 1], halves thin axes less often, and only by the last
            layers; a `data.crop` with a thin axis chooses them. null: 2, or in a U-Net as many as
            halve the crop, up to 8.
        first_kernel: side of the first convolution's kernel, odd: 7, or 3 in the paper's 3D model;
            also one per axis.
        last_kernel: side of the last convolution's kernel, odd: 7, or 1 in the paper's 3D model;
            also one per axis.
        identity_start: whether the last convolution of every residual function starts at zero, with
            no normalisation after it, so that the core starts as the identity (Section 1.1, 3D);
            with `skip`, the decoders' last one too, so that translations start as their input.
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
            paper. In a U-Net, of those behind the upsampling layers from 8 * width channels to as
            many, but for the innermost; pix2pix has 0.5.
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
    downsamplings: PerAxis | None = None
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
        for _, message in without_meaning(vars(self), self.usual()):
            raise ValueError(message)
        if self.core == "ode":
            self._check_ode()
        self._check_memory()

    @classmethod
    def usual(cls) -> dict[str, Any]:
        """The defaults of all fields."""
        return {field.name: field.default for field in fields(cls)}

    def _check_ranges(self) -> None:
        check_types(self)
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
        self._check_downsamplings()
        if self.levels == 0 and self.width % 2:
            raise ValueError(
                f"width must be even with downsamplings 0, not {self.width}; a reversible core "
                "splits its channels into halves"
            )
        for name in ("first_kernel", "last_kernel"):
            kernel = getattr(self, name)
            if not all(side >= 1 and side % 2 for side in numbers(kernel)):
                raise ValueError(f"{name} must be odd, 1 or more, not {shown(kernel)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout}")

    def _check_downsamplings(self) -> None:
        counts = numbers(self.halvings)
        fewest, most = UNET_DOWNSAMPLINGS if self.model == "unet" else (0, LARGEST_DOWNSAMPLINGS)
        if not (all(0 <= count <= most for count in counts) and self.levels >= fewest):
            which = f"{fewest} to {most} with model {self.model}"
            raise ValueError(f"downsamplings must be from {which}, not {shown(self.halvings)}")
        if self.model == "unet" and self.dropout and self.levels <= DROPPED_FROM + 1:
            raise ValueError(
                f"dropout must be 0 in a U-Net of {self.levels} downsamplings, not {self.dropout}; "
                f"it has its place in those with {DROPPED_FROM + 2} or more"
            )

    def _check_ode(self) -> None:
        """Refuses what would make the field differ from one evaluation to the next."""
        if self.ode_solver in FIXED_STEP and self.depth / self.ode_step > LARGEST_STEPS:
            raise ValueError(
                f"ode_step must be depth / {LARGEST_STEPS} or more, not {self.ode_step} with depth "
                f"{self.depth}"
            )
        if self.dropout:
            raise ValueError(f"dropout must be 0 with core ode, not {self.dropout}")
        if self.norm == "batch":
            raise ValueError("norm must be instance or none with core ode, not batch")

    def _check_memory(self) -> None:
        if self.model != "revgan" and self.memory not in ("auto", "naive"):
            raise ValueError(
                f"memory must be auto or naive with model {self.model}, not {self.memory}; only a "
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
        always = ("width", "depth", "memory") if self.has_blocks else ("width", "memory")
        values = (
            (f.name, getattr(self, f.name), f.default)
            for f in fields(self)
            if f.name != "downsamplings" or self.halvings != USUAL_DOWNSAMPLINGS[self.model]
        )
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
    def has_blocks(self) -> bool:
        """Whether there is a chain of blocks, whose length is the depth."""
        return self.model in WITH_BLOCKS

    @property
    def size(self) -> str:
        """Width and depth, or what a U-Net has for it, in words."""
        if not self.has_blocks:
            return f"width {self.width}, {in_words(numbers(self.halvings))} downsamplings"
        return f"width {self.width}, depth {self.depth}"

    @property
    def levels(self) -> int:
        """How many layers of the encoder halve an axis; each doubles the channels."""
        return largest(self.halvings)

    @property
    def halvings(self) -> PerAxis:
        """How often each axis is halved; in a U-Net that no crop was given for, 8 times."""
        usual = USUAL_DOWNSAMPLINGS[self.model]
        return usual if self.downsamplings is None else self.downsamplings

    @property
    def architecture(self) -> dict[str, Any]:
        """What the networks are made of, by field; not how training uses memory."""
        values = {**asdict(self), "downsamplings": self.halvings}
        return {name: value for name, value in values.items() if name not in USE_OF_MEMORY}

    @property
    def core_channels(self) -> int:
        """Channels between encoder and decoder of a model with blocks."""
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
        return tuple(FACTOR**count for count in per_axis(self.halvings, spatial_dims))

    def min_sizes(self, spatial_dims: int) -> tuple[int, ...]:
        """By axis, the smallest size: reflection needs more positions than it mirrors.

        A U-Net mirrors nothing, and its innermost layer, without a norm, may have one position.
        """
        if self.model == "unet":
            return self.size_multiples(spatial_dims)
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
            value = self.halvings if name == "downsamplings" else getattr(self, name)
            require_axes(name, value, spatial_dims)

    @property
    def _axes(self) -> tuple[int, ...]:
        """One number per axis, if any option gives so many, else just one."""
        given = (self.halvings, self.first_kernel, self.last_kernel)
        return next((value for value in given if isinstance(value, tuple)), (0,))

    def fitted(self, sizes: Sequence[int]) -> Self:
        """The same generator with fewer downsamplings and smaller kernels along thin axes.

        Args:
            sizes: of training crops; an axis is thin if it has at most half of the longest size.
        """
        sizes = tuple(sizes)
        if self.model == "unet":
            return replace(self, downsamplings=self._unet_halvings(sizes))
        counts = tuple(
            halvable(size, 2) if 2 * size <= max(sizes) else LARGEST_DOWNSAMPLINGS for size in sizes
        )
        sides = tuple(2 * size - 1 for size in sizes)  # which mirror less than there is
        return replace(
            self,
            downsamplings=fitted(self.halvings, sizes, counts),
            first_kernel=fitted(self.first_kernel, sizes, sides),
            last_kernel=fitted(self.last_kernel, sizes, sides),
        )

    def _unet_halvings(self, sizes: tuple[int, ...]) -> PerAxis:
        """As often as each axis can be halved, at most 8 times, or as often as was asked for."""
        counts = tuple(min(halvable(size, 1), USUAL_DOWNSAMPLINGS["unet"]) for size in sizes)
        if self.downsamplings is not None:
            return fitted(self.downsamplings, sizes, counts)
        if max(counts) < UNET_DOWNSAMPLINGS[0]:  # then the crop doesn't fit
            return UNET_DOWNSAMPLINGS[0]
        return counts[0] if len(set(counts)) == 1 else counts

    @property
    def memory_modes(self) -> tuple[Memory, ...]:
        """The modes that this generator can be trained in."""
        return get_args(Memory) if self.model == "revgan" else ("naive",)
