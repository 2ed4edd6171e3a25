"""The generator's architecture as a configuration: the paper's choices, and what it also tried."""

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from revgan.networks.generator import TwoWayGenerator

Memory = Literal["naive", "reversible", "lean"]
MemoryChoice = Literal["auto", "naive", "reversible", "lean"]
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
Solver = Literal[
    "dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun", "euler", "midpoint", "rk4"
]


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator's architecture.

    Attributes:
        model: "revgan" is one generator with a reversible core for both directions. "resnet" is one
            ResNet generator a direction: trained unpaired that is CycleGAN, paired pix2pix.
        width: K, channels after the first convolution; the core has 4K.
        depth: R, blocks in the core; with core "ode" the time over which it is integrated.
        core: "reversible" is a chain of couplings. "ode" is a continuous-depth residual network
            (Chen et al., 2018; the paper's Section 3), inverted by integrating backwards.
        coupling: "additive" is the paper's choice; "affine" also scales, and degraded the paper's
            results.
        exact: additive couplings keep the residual stream on a grid of numbers that add without
            rounding; off, they are plain sums, as in the paper's code.
        downsampling: convolutions of stride 2 ("strided"), or pixel unshuffling and a convolution
            at the lower resolution ("subpixel").
        downsampling_padding: "reflect" as everywhere (Section 1.1), or "zeros" as in the paper's
            released code.
        upsampling: fractionally strided convolutions ("transposed"), a convolution and pixel
            shuffling ("subpixel"), or resizing and a convolution ("nearest", "bilinear"; the
            latter is trilinear in 3D).
        norm: each sample's own statistics ("instance", Table 1), those of a batch ("batch"), or no
            normalisation ("none").
        dropout: probability that a feature inside a residual function is zeroed; the paper has 0.
        init: distribution of fresh weights: N(0, 0.02) ("normal", Table 1), or by the names of
            Glorot ("xavier"), He ("kaiming") and Saxe ("orthogonal").
        ode_solver: of torchdiffeq: euler, midpoint and rk4 take steps of `ode_step`; dopri5,
            dopri8, bosh3, fehlberg2 and adaptive_heun choose their steps by the tolerances.
        ode_rtol: relative error that an adaptive solver allows in a step.
        ode_atol: absolute error, added to the relative one.
        ode_step: length of a fixed step; the time of one block is 1.
        memory: "naive" stores every activation; "reversible" recomputes the core's in the backward
            pass; "lean" recomputes those of encoders and decoders as well. "auto" takes the fastest
            that fits into the device's free memory. Results are the same; with core "ode" they
            differ by the solver's error, as "reversible" is the adjoint method there.
        stored_blocks: how many blocks of the core store their activations all the same, in
            "reversible" and "lean"; "auto" decides this too.
    """

    model: Model = "revgan"
    width: int = 32
    depth: int = 6
    core: Core = "reversible"
    coupling: CouplingKind = "additive"
    exact: bool = True
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

    def __post_init__(self) -> None:
        self._check_ranges()
        for name, conditions in _ONLY_WITH.items():
            value, default = getattr(self, name), _DEFAULTS[name]
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
        for field in fields(self):
            value = getattr(self, field.name)
            if get_origin(field.type) is Literal and value not in get_args(field.type):
                known = ", ".join(get_args(field.type))
                raise ValueError(f"{field.name} must be one of {known}, not {value!r}")
        if self.width < 1:
            raise ValueError(f"width must be 1 or more, not {self.width}")
        if self.depth < 0:
            raise ValueError(f"depth must be 0 or more, not {self.depth}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout}")
        for name in ("ode_rtol", "ode_atol", "ode_step"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")

    def _check_ode(self) -> None:
        """What would make the field differ from one evaluation to the next is refused."""
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

    def build(
        self, spatial_dims: Literal[2, 3], in_channels: int, out_channels: int
    ) -> "TwoWayGenerator":
        """A generator with fresh weights between domains of these channels.

        Raises:
            ValueError: `memory` is still "auto"; the planner (`revgan.training.planning`) decides.
        """
        from revgan.networks.generator import RevGenerator
        from revgan.networks.resnet import ResnetPair

        kind = RevGenerator if self.model == "revgan" else ResnetPair
        return kind(spatial_dims, in_channels, out_channels, **self.variant())

    def variant(self) -> dict[str, Any]:
        """The fields other than `model`, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}

    @property
    def memory_modes(self) -> tuple[Memory, ...]:
        """The modes that this generator can be trained in."""
        return ("naive",) if self.model == "resnet" else get_args(Memory)


_DEFAULTS = {f.name: f.default for f in fields(GeneratorConfig) if f.default is not MISSING}

_ADAPTIVE, _FIXED_STEP = get_args(AdaptiveSolver), get_args(FixedStepSolver)

_ONLY_WITH: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "core": [("model", ("revgan",))],
    "coupling": [("model", ("revgan",)), ("core", ("reversible",))],
    "exact": [("model", ("revgan",)), ("core", ("reversible",)), ("coupling", ("additive",))],
    "ode_solver": [("core", ("ode",))],
    "ode_rtol": [("core", ("ode",)), ("ode_solver", _ADAPTIVE)],
    "ode_atol": [("core", ("ode",)), ("ode_solver", _ADAPTIVE)],
    "ode_step": [("core", ("ode",)), ("ode_solver", _FIXED_STEP)],
    "stored_blocks": [("core", ("reversible",))],
}
"""Fields that mean something only where other fields have one of these values."""
