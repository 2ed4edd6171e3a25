"""The unpaired and the paired objective, as sequences of loss terms.

An objective yields its terms one at a time, and the training step backpropagates each before it
asks for the next, so that what a term computed is freed before the next one starts. Where several
losses judge one translation, the graph is cut there (`_Cut`): each loss is backpropagated down to
the cut, and what they sum up to is then pulled through the generator once. The gradients are those
of the joint loss; at most two passes of the generator are alive instead of six.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revgan.networks import Direction, RevGenerator
from revgan.training.losses import AdversarialForm, adversarial_loss
from revgan.training.pool import ImagePool

Terms = dict[str, Tensor]
"""Weighted losses by name; their sum is what gets minimised."""

Domain = Literal["a", "b"]
ObjectiveKind = Literal["unpaired", "paired"]


@dataclass(frozen=True)
class LossConfig:
    """The losses and their weights.

    Attributes:
        adversarial: the form of the GAN loss, see `revgan.training.losses`.
        cycle_weight: weight of the L1 cycle-consistency loss (unpaired).
        identity_weight: weight of the identity loss as a fraction of `cycle_weight` (unpaired; 0
            leaves it out; needs domains of equal channels).
        l1_weight: weight of the L1 distance to the true translation (paired).
        pool_size: generated images kept for the discriminators (unpaired).
    """

    adversarial: AdversarialForm = "least-squares"
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    l1_weight: float = 100.0
    pool_size: int = 50

    def __post_init__(self) -> None:
        if self.adversarial not in get_args(AdversarialForm):
            known = ", ".join(get_args(AdversarialForm))
            raise ValueError(f"adversarial must be one of {known}, not {self.adversarial!r}")
        for name in ("cycle_weight", "identity_weight", "l1_weight", "pool_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")


@dataclass
class Batch:
    """Images of both domains, (B, C, *spatial) in [-1, 1]; aligned when the data is paired."""

    a: Tensor
    b: Tensor

    def of(self, domain: Domain) -> Tensor:
        """The images of a domain."""
        return self.a if domain == "a" else self.b


@dataclass
class Fakes:
    """What the generator made of a batch, without gradients, for the discriminators."""

    a: Tensor | None = None
    b: Tensor | None = None

    def of(self, domain: Domain) -> Tensor:
        """The translations into a domain."""
        made = self.a if domain == "a" else self.b
        if made is None:
            raise RuntimeError("the generator's terms come before the discriminators'")
        return made


@dataclass(frozen=True)
class Players:
    """The networks of the game: one generator for both directions, a judge per domain."""

    generator: RevGenerator
    judge_a: nn.Module
    judge_b: nn.Module

    def judge(self, domain: Domain) -> nn.Module:
        """The discriminator of a domain."""
        return self.judge_a if domain == "a" else self.judge_b


class _Cut:
    """A translation at which the graph is cut: losses reach `leaf`, `backward` takes them on."""

    def __init__(self, fake: Tensor) -> None:
        # Under autocast, networks return 16 bits.
        self._fake = fake.to(torch.promote_types(fake.dtype, torch.float32))
        self.leaf = self._fake.detach().requires_grad_()

    def backward(self) -> Tensor:
        """Backpropagates what has reached the leaf; returns the translation without its graph."""
        with torch.autocast(self.leaf.device.type, enabled=False):
            self._fake.backward(self.leaf.grad)
        return self.leaf.detach()


class Objective(ABC):
    """Loss terms of generator and discriminators over one batch.

    Attributes:
        pools: image pools by domain, where the objective has any; part of a checkpoint.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config
        self.pools: dict[str, ImagePool] = {}

    @abstractmethod
    def judged_channels(self, own: int, other: int) -> int:
        """Channels of a discriminator's input, from those of its own and the other domain."""

    @abstractmethod
    def generator_terms(self, players: Players, batch: Batch, fakes: Fakes) -> Iterator[Terms]:
        """Yields the generator's terms and leaves its translations in `fakes`."""

    @abstractmethod
    def discriminator_terms(
        self, domain: Domain, players: Players, batch: Batch, fakes: Fakes, draws: torch.Generator
    ) -> Iterator[Terms]:
        """Yields the terms of a domain's discriminator; `draws` decides what its pool exchanges."""

    def _fool(self, judge: nn.Module, judged: Tensor) -> Tensor:
        return adversarial_loss(judge(judged), real=True, form=self.config.adversarial)

    def _tell_apart(
        self, domain: Domain, judge: nn.Module, real: Tensor, fake: Tensor
    ) -> Iterator[Terms]:
        """The discriminator's losses, halved so that it learns slower relative to the generator.

        Real and fake images go through it as one batch: instance norm keeps them apart, and the
        weights and their gradients, most of its memory, are there once.
        """
        logits = judge(torch.cat((real, fake))).chunk(2)
        form = self.config.adversarial
        yield {
            f"d_{domain}_real": 0.5 * adversarial_loss(logits[0], real=True, form=form),
            f"d_{domain}_fake": 0.5 * adversarial_loss(logits[1], real=False, form=form),
        }


class UnpairedObjective(Objective):
    """GAN, cycle-consistency and identity losses, both directions (Zhu et al., CycleGAN, 2017)."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__(config)
        self.pools = {"a": ImagePool(config.pool_size), "b": ImagePool(config.pool_size)}

    def judged_channels(self, own: int, other: int) -> int:
        return own

    def generator_terms(self, players: Players, batch: Batch, fakes: Fakes) -> Iterator[Terms]:
        if self.config.identity_weight > 0:
            yield {"identity_a": self._identity(players, batch.a, "BtoA")}
            yield {"identity_b": self._identity(players, batch.b, "AtoB")}
        fakes.b = yield from self._cycle(players, batch.a, "AtoB")
        fakes.a = yield from self._cycle(players, batch.b, "BtoA")

    def _identity(self, players: Players, x: Tensor, direction: Direction) -> Tensor:
        """An image that already belongs to the target domain should stay as it is."""
        weight = self.config.cycle_weight * self.config.identity_weight
        return weight * F.l1_loss(players.generator(x, direction), x)

    def _cycle(
        self, players: Players, x: Tensor, there: Direction
    ) -> Generator[Terms, None, Tensor]:
        """The translation should pass for real, and lead back to where it came from."""
        back: Direction = "BtoA" if there == "AtoB" else "AtoB"
        judge = players.judge_b if there == "AtoB" else players.judge_a
        fake = _Cut(players.generator(x, there))
        yield {f"gan_{there}": self._fool(judge, fake.leaf)}
        yield {f"cycle_{there[0].lower()}": self._cycle_loss(players, fake.leaf, back, x)}
        return fake.backward()

    def _cycle_loss(
        self, players: Players, fake: Tensor, back: Direction, origin: Tensor
    ) -> Tensor:
        cycled = players.generator(fake, back)
        return self.config.cycle_weight * F.l1_loss(cycled, origin)

    def discriminator_terms(
        self, domain: Domain, players: Players, batch: Batch, fakes: Fakes, draws: torch.Generator
    ) -> Iterator[Terms]:
        fake = self.pools[domain].exchange(fakes.of(domain), draws)
        yield from self._tell_apart(domain, players.judge(domain), batch.of(domain), fake)


class PairedObjective(Objective):
    """Conditional GAN and L1 losses (Isola et al., pix2pix, 2017) in both directions at once.

    The discriminators see a translation together with the image that it was made from.
    """

    def judged_channels(self, own: int, other: int) -> int:
        return own + other

    def generator_terms(self, players: Players, batch: Batch, fakes: Fakes) -> Iterator[Terms]:
        fakes.b = yield from self._translate(players, batch.a, batch.b, "AtoB")
        fakes.a = yield from self._translate(players, batch.b, batch.a, "BtoA")

    def _translate(
        self, players: Players, x: Tensor, truth: Tensor, direction: Direction
    ) -> Generator[Terms, None, Tensor]:
        """The translation should pass for real beside its input, and be close to the truth."""
        judge = players.judge_b if direction == "AtoB" else players.judge_a
        fake = _Cut(players.generator(x, direction))
        yield {f"gan_{direction}": self._fool(judge, torch.cat((x, fake.leaf), dim=1))}
        yield {f"l1_{direction}": self.config.l1_weight * F.l1_loss(fake.leaf, truth)}
        return fake.backward()

    def discriminator_terms(
        self, domain: Domain, players: Players, batch: Batch, fakes: Fakes, draws: torch.Generator
    ) -> Iterator[Terms]:
        x, real = batch.of("b" if domain == "a" else "a"), batch.of(domain)
        shown_real = torch.cat((x, real), dim=1)
        shown_fake = torch.cat((x, fakes.of(domain)), dim=1)
        yield from self._tell_apart(domain, players.judge(domain), shown_real, shown_fake)


def build_objective(kind: ObjectiveKind, config: LossConfig) -> Objective:
    """The objective, with empty image pools.

    Args:
        kind: "unpaired" learns from two unrelated sets of images, "paired" from aligned pairs.
        config: the weights.
    """
    return UnpairedObjective(config) if kind == "unpaired" else PairedObjective(config)
