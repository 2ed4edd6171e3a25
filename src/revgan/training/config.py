"""A run's whole configuration, as in a run folder's config.yaml."""

import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

from revgan.data.config import LEARNT, DataConfig
from revgan.directions import DomainName
from revgan.errors import LARGEST, check_numbers, check_types
from revgan.memory.sizes import parse_bytes
from revgan.networks.axes import in_words
from revgan.networks.config import USE_OF_MEMORY, GeneratorConfig, Memory
from revgan.networks.discriminator_config import DiscriminatorConfig
from revgan.plain_yaml import whole_yaml

ObjectiveKind = Literal["unpaired", "paired"]
Schedule = Literal["linear", "cosine", "constant"]
AdversarialForm = Literal["least-squares", "least-squares-sigmoid", "cross-entropy"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bf16", "fp16"]
ScoreName = Literal["mae", "psnr", "ssim"]

MANY, MOST_STEPS = 2**16, 10**12
"""The largest crop, batch or pool, and the largest number of steps; larger values are typos."""


@dataclass(frozen=True)
class LossConfig:
    """The losses and their weights.

    Attributes:
        adversarial: the form of the GAN loss: scores are compared with 1 and 0 directly
            ("least-squares"), after a Sigmoid ("least-squares-sigmoid"), or as in the original GAN
            ("cross-entropy").
        cycle_weight: weight of the L1 cycle-consistency loss (unpaired).
        identity_weight: weight of the identity loss as a fraction of `cycle_weight` (unpaired; 0
            omits it; needs domains with equal channels).
        l1_weight: weight of the L1 distance to the true translation (paired).
        pool_size: generated images kept for the discriminators (unpaired).
        consensus_weight: gamma of consensus optimization (Mescheder et al., 2017; 0 omits it; needs
            generator.memory naive, or auto).
        r1_weight: gamma of the penalty R1 on the discriminators' gradients at real images
            (Mescheder et al., 2018; 0 omits it), such as 10; see `Objective.penalty`.
        feature_weight: weight of the L1 distance between features that another network finds in
            translations and in the truth (paired), or in round trips and in the images that they
            began with (unpaired); 0 omits it.
        feature_network: that network's weights, NAME.safetensors; NAME.yaml beside it has the
            arguments of MONAI's UNet, or of feature_class.
        feature_class: the network's class, such as package.module.Network, if it isn't MONAI's
            UNet. It is code that runs, so that it must be given on the command line, or trusted.
        feature_domain: whose images the network takes, in [-1, 1].
    """

    adversarial: AdversarialForm = "least-squares"
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    l1_weight: float = 100.0
    pool_size: int = 50
    consensus_weight: float = 0.0
    r1_weight: float = 0.0
    feature_weight: float = 0.0
    feature_network: str | None = None
    feature_class: str | None = None
    feature_domain: DomainName = "b"

    def __post_init__(self) -> None:
        check_types(self)
        if (self.feature_weight > 0) != (self.feature_network is not None):
            raise ValueError(
                "feature_weight above 0 and feature_network belong together; give both, or neither"
            )
        if self.feature_class is not None and self.feature_network is None:
            raise ValueError("feature_class does nothing without feature_network; leave it out")
        names = [field.name for field in fields(self) if field.type in (int, float)]
        most = {"pool_size": MANY}
        check_numbers(self, **{name: (0, most.get(name, LARGEST)) for name in names})


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam and its learning rate.

    Attributes:
        lr: learning rate, constant in the first half of training, then linear to 0 (Table 1),
            unless schedule or warmup say otherwise.
        schedule: "linear" is as said; "cosine" falls from lr to 0 along half a cosine (Loshchilov
            and Hutter, 2017, without restarts); "constant" stays.
        warmup: steps in which the learning rate grows linearly from 0 first.
        beta1: decay of the gradient's mean.
        beta2: decay of the squared gradient's mean.
    """

    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    schedule: Schedule = "linear"
    warmup: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_numbers(self, warmup=(0, MOST_STEPS))
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class TrainingConfig:
    """How long to train, and what to save along the way.

    Attributes:
        epochs: passes over the images of the larger domain.
        steps: training steps in all; null trains for `epochs` instead.
        max_hours: hours after which `revgan train` ends at the next step, with a checkpoint to
            resume from, such as before a job's time limit; null for no limit.
        batch_size: samples per step and device.
        accumulate: batches per step, one after the other, whose gradients are averaged: batches of
            accumulate * batch_size samples in the memory of batch_size.
        seed: for all random draws: weights, order, crops, flips, dropout, image pools.
        log_every: steps between lines of metrics.jsonl and TensorBoard scalars.
        sample_every: steps between pictures of translated validation or test images.
        validate_every: steps between scores of validation images, or of test images if there are no
            others; the last step is always scored too. null turns scores off, and keeps no best
            model.
        validation_images: how many to score in each direction, evenly spread over all.
        best_by: the score, averaged over both directions, that chooses the best model, which is
            kept in best/ if the truth is known. Lower is better for MAE, higher for PSNR and SSIM.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: how many of the latest checkpoints to keep on disk.
        on_nan: what to do if a step's losses or gradients are infinite or NaN: "stop" ends the run
            with the last checkpoint; "skip N", such as skip 10, skips and counts the step, up to N
            in a row. Such weights are never saved.
        ema: the decay, such as 0.999, of an exponential moving average of the generator's weights,
            which is then shown, scored and saved; null saves the weights themselves.
        pretrained: a model whose weights the generator starts from: a model folder, a run folder, a
            run's checkpoints/step-N, or user/name on the Hugging Face hub. Its networks
            are those of the model, however they are used; null draws fresh weights.
    """

    epochs: int = 200
    steps: int | None = None
    max_hours: float | None = None
    batch_size: int = 1
    accumulate: int = 1
    seed: int = 0
    log_every: int = 10
    sample_every: int = 500
    validate_every: int | None = 1000
    validation_images: int = 16
    best_by: ScoreName = "psnr"
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    on_nan: str = "stop"
    ema: float | None = None
    pretrained: str | None = None

    def __post_init__(self) -> None:
        check_types(self)
        most = {"batch_size": MANY, "accumulate": MANY, "seed": 2**64 - 1}  # PyTorch's end there
        check_numbers(
            self,
            **{
                field.name: (0 if field.name == "seed" else 1, most.get(field.name, MOST_STEPS))
                for field in fields(self)
                if field.name not in ("ema", "max_hours")
            },
        )
        if self.max_hours is not None and not 0 < self.max_hours < LARGEST:
            raise ValueError(f"max_hours must be null or above 0, not {self.max_hours}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be null, or above 0 and below 1, not {self.ema}")
        if self.on_nan != "stop" and not self.skips:
            raise ValueError(f"on_nan must be stop, or skip N such as skip 10, not {self.on_nan!r}")

    @property
    def samples(self) -> int:
        """Samples per step and device."""
        return self.batch_size * self.accumulate

    @property
    def skips(self) -> int:
        """How many diverging steps in a row may be skipped."""
        match = re.fullmatch(r"skip +([1-9]\d{0,8})", self.on_nan)
        return int(match[1]) if match else 0


@dataclass(frozen=True)
class RuntimeConfig:
    """Where training runs; nothing here changes its results beyond rounding.

    Attributes:
        device: "auto" takes a GPU if there is one.
        precision: of the networks' arithmetic; "auto" takes bf16 on GPUs that have it, else
            float32.
        workers: processes that load images; null takes 4 on a GPU, 0 on the CPU.
        memory_budget: how much of the device's memory generator.memory auto may use, such as 8GiB;
            processes on one machine's CPU share it. null takes what is free.
        wandb: also log to W&B, with WANDB_MODE=offline into the run's folder; needs the package
            wandb.
        mlflow: also log to MLflow, to the server MLFLOW_TRACKING_URI or else into the run's folder;
            needs the package mlflow.
    """

    device: Device = "auto"
    precision: Precision = "auto"
    workers: int | None = None
    memory_budget: str | None = None
    wandb: bool = False
    mlflow: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        check_numbers(self, workers=(0, 1024))
        if self.memory_budget is not None and parse_bytes(self.memory_budget) is None:
            raise ValueError(
                f"memory_budget must be a size such as 8GiB or 500MB, not {self.memory_budget!r}"
            )


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on.

    Attributes:
        objective: "unpaired" learns from two unrelated sets of images (CycleGAN's losses),
            "paired" from aligned pairs (pix2pix's losses); both directions are trained at once.
        data: the images, and how they are prepared.
        generator: the generator's architecture.
        discriminator: the discriminators' architecture.
        losses: the losses and their weights.
        optimizer: the optimizer, Adam.
        training: how long to train, and what to save along the way.
        runtime: where training runs; nothing here changes its results beyond rounding.
    """

    objective: ObjectiveKind = "unpaired"
    data: DataConfig = field(default_factory=DataConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        check_types(self)
        try:
            check_numbers(
                self.data, crop=(1, MANY), resize=(1, MANY), crops_per_volume=(1, MOST_STEPS)
            )
        except ValueError as error:
            raise ValueError(f"data.{error}") from error
        self._fit_networks()
        memory = self.generator.memory
        if self.losses.consensus_weight > 0 and memory not in ("auto", "naive"):
            raise ValueError(
                "losses.consensus_weight above 0 needs second derivatives, which generator.memory "
                f"{memory} doesn't support; set generator.memory to naive or auto"
            )
        if self.losses.consensus_weight > 0 and self.training.accumulate > 1:
            raise ValueError(
                "training.accumulate must be 1 with losses.consensus_weight above 0, whose "
                "gradient isn't that of a mean over samples"
            )
        if self.runtime.precision == "fp16":
            self._check_fp16()

    def _fit_networks(self) -> None:
        """Makes the networks halve thin axes of the crop less often, as far as options leave it.

        Raises:
            ValueError: the crop doesn't fit.
        """
        sizes = self.data.crop_sizes
        for name in ("generator", "discriminator"):
            network = getattr(self, name)
            try:
                network.require_dims(len(sizes))
                fitted = network.fitted(sizes)
            except ValueError as error:
                raise ValueError(f"{name}.{error}") from error
            object.__setattr__(self, name, fitted)  # the configuration is frozen for all others
        multiples, least = self.size_multiples, self.min_sizes
        limits = zip(sizes, multiples, least, strict=True)
        if any(size % multiple or size < low for size, multiple, low in limits):
            hint = _THIN if len(sizes) == 3 and self.data.crop in range(min(least)) else ""
            raise ValueError(
                f"data.crop must be a multiple of {in_words(multiples)} from {in_words(least)} up, "
                f"not {self.data.crop_text}{hint}"
            )

    def _check_fp16(self) -> None:
        """Refuses what fails with fp16's scaled gradients, which can be infinite."""
        if self.generator.core == "ode":
            raise ValueError(
                "runtime.precision fp16 makes an ODE's gradients infinite; use bf16 or float32 "
                "with generator.core ode"
            )
        for name in ("consensus_weight", "r1_weight"):
            if getattr(self.losses, name) > 0:
                raise ValueError(
                    "runtime.precision fp16 scales gradients, and gradients of gradients "
                    f"differently; use bf16 or float32 with losses.{name} above 0"
                )

    @property
    def paired(self) -> bool:
        """Whether the training images are aligned pairs."""
        return self.objective == "paired"

    @property
    def size_multiple(self) -> int:
        """A multiple of this fits any axis of training images."""
        return max(self.size_multiples)

    @property
    def min_size(self) -> int:
        """The smallest size that fits any axis of training images."""
        return max(self.min_sizes)

    @property
    def size_multiples(self) -> tuple[int, ...]:
        """By axis, the sides of training images are multiples of these."""
        return self.generator.size_multiples(self.data.spatial_dims)

    @property
    def min_sizes(self) -> tuple[int, ...]:
        """By axis, the smallest sides of training images."""
        dims = self.data.spatial_dims
        least = zip(self.generator.min_sizes(dims), self.discriminator.min_sizes(dims), strict=True)
        return tuple(
            -(-max(both) // multiple) * multiple
            for both, multiple in zip(least, self.size_multiples, strict=True)
        )

    @property
    def memory_modes(self) -> tuple[Memory, ...]:
        """The generator's memory modes that this training can use."""
        return ("naive",) if self.losses.consensus_weight > 0 else self.generator.memory_modes

    @property
    def model_name(self) -> str:
        """The model's name in the literature."""
        if self.generator.model == "revgan":
            return "RevGAN"
        return "pix2pix" if self.paired else "CycleGAN"

    def changed_networks(self, other: "RunConfig") -> list[str]:
        """The options that differ and change the networks, their game or what they see."""
        changed = ["objective"] if self.objective != other.objective else []
        for name in ("generator", "discriminator"):
            mine, others = asdict(getattr(self, name)), asdict(getattr(other, name))
            changed += [
                f"{name}.{field}"
                for field, value in mine.items()
                if value != others[field] and field not in USE_OF_MEMORY
            ]
        changed += [
            f"data.{field}"
            for field in LEARNT
            if getattr(self.data, field) != getattr(other.data, field)
        ]
        return changed

    def to_yaml(self) -> str:
        """The configuration as YAML, which ``--config`` reads back."""
        return whole_yaml(asdict(self))


_THIN = ", unless a thin axis has a side of its own, as in [64, 64, 12]"
"""Ends the message about a crop that is too small."""


def preset_path(name: str) -> Path:
    """The file of a preset in the package."""
    return Path(__file__).parent.parent / "presets" / f"{name}.yaml"


def preset_names() -> list[str]:
    """The names that `preset_path` knows."""
    return sorted(path.stem for path in preset_path("any").parent.glob("*.yaml"))
