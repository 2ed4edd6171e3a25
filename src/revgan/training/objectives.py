"""The unpaired and the paired objective, as sequences of loss terms.

The unpaired objective is CycleGAN's (Zhu et al., 2017), the paired one pix2pix's (Isola et al.,
2017), as in the paper, whose code extends theirs (Section 1).

An objective yields its terms one at a time, and the training step backpropagates each before it
asks for the next, so that a term's activations are freed before the next one starts. If several
losses judge one translation, the graph is cut there (`_Cut`): each loss is backpropagated to the
cut, and their sum then goes through the generator once. The gradients equal those of the joint
loss, but at most two passes of the generator are alive instead of six. `Objective.joint_terms`
gives the same terms uncut, for code that needs the joint loss itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revgan.directions import DOMAINS, Direction, DomainName, back, ends, other
from revgan.networks import PatchDiscriminator, TwoWayGenerator
from revgan.training.batch import Batch, Gaps, distance_name
from revgan.training.config import LossConfig, ObjectiveKind
from revgan.training.features import FeatureDistance
from revgan.training.losses import Terms, adversarial_loss, patch_weights, translate
from revgan.training.pool import ImagePool


@dataclass
class Fakes:
    """The generator's translations of a batch, for the discriminators."""

    a: Tensor | None = None
    b: Tensor | None = None

    def of(self, domain: DomainName) -> Tensor:
        """The translations into a domain."""
        made = self.a if domain == "a" else self.b
        if made is None:
            raise RuntimeError("the generator's terms come before the discriminators'")
        return made


@dataclass(frozen=True)
class Players:
    """The networks of the game: one generator for both directions, and one judge per domain."""

    generator: TwoWayGenerator
    judge_a: PatchDiscriminator
    judge_b: PatchDiscriminator

    def judge(self, domain: DomainName) -> PatchDiscriminator:
        """The discriminator of a domain."""
        return self.judge_a if domain == "a" else self.judge_b


class _Uncut:
    """A translation with its graph, for losses that are backpropagated together."""

    def __init__(self, fake: Tensor) -> None:
        self.image = fake

    def finish(self) -> Tensor:
        """The translation, with its graph."""
        return self.image


class _Cut(_Uncut):
    """A translation where the graph is cut: losses reach `image`, `finish` passes them on."""

    def __init__(self, fake: Tensor) -> None:
        # Under autocast, networks return 16 bits.
        self._fake = fake.to(torch.promote_types(fake.dtype, torch.float32))
        super().__init__(self._fake.detach().requires_grad_())

    def finish(self) -> Tensor:
        """Backpropagates the image's gradients; returns the image without its graph."""
        with torch.autocast(self.image.device.type, enabled=False):
            self._fake.backward(self.image.grad)
        return self.image.detach()


class Objective(ABC):
    """Loss terms of generator and discriminators over one batch.

    Args:
        config: the losses' weights.
        features: compares images by another network, if `config.feature_weight` asks for it.

    Attributes:
        pools: image pools by domain, if the objective has any; part of a checkpoint.
    """

    def __init__(self, config: LossConfig, features: FeatureDistance | None = None) -> None:
        self.config = config
        self.features = features
        self.pools: dict[str, ImagePool] = {}

    @abstractmethod
    def judged_channels(self, own: int, other: int) -> int:
        """Channels of a discriminator's input, from those of its own and the other domain."""

    @abstractmethod
    def _shown(self, domain: DomainName, image: Tensor, batch: Batch) -> Tensor:
        """A discriminator's input: an image of its domain, and its condition if it has one."""

    def counted(self, players: Players, batch: Batch) -> dict[str, Tensor]:
        """Over how many values the means of a batch with gaps are, by their names in `Batch.over`.

        Where masks cover parts of a batch unevenly, `Batch.over` of each is the mean of these.
        """
        assert batch.gaps is not None
        counts: dict[str, Tensor] = {}
        for domain in DOMAINS:
            counts[distance_name(domain)] = self._compared(domain, batch.gaps).sum()
            patches = players.judge(domain).patches(batch.of(domain).shape[2:])
            for name, find in (("real", self._real_seen), ("made", self._made_seen)):
                seen = find(domain, batch.gaps)
                assert seen is not None
                counts[f"{name}_{domain}"] = patch_weights(seen, patches).sum()
        return counts

    def counted_shown(
        self, domain: DomainName, players: Players, shown: Tensor
    ) -> dict[str, Tensor]:
        """The same for what `judged_fakes` gave, part of which may come from other batches."""
        patches = players.judge(domain).patches(shown.shape[2:])
        return {f"shown_{domain}": patch_weights(shown[:, -1:], patches).sum()}

    def generator_terms(self, players: Players, batch: Batch, fakes: Fakes) -> Iterator[Terms]:
        """Yields the generator's terms; leaves its translations, without gradients, in `fakes`.

        Each term must be backpropagated before the next one is requested.
        """
        return self._generator_terms(players, batch, fakes, _Cut)

    def joint_terms(self, players: Players, batch: Batch) -> tuple[Terms, Fakes]:
        """The generator's terms in one graph, and its translations, which are part of it."""
        fakes = Fakes()
        terms: Terms = {}
        for term in self._generator_terms(players, batch, fakes, _Uncut):
            terms |= term
        return terms, fakes

    @abstractmethod
    def _generator_terms(
        self, players: Players, batch: Batch, fakes: Fakes, cut: type[_Uncut]
    ) -> Iterator[Terms]:
        """Yields the generator's terms and leaves its translations, cut, in `fakes`."""

    def judged_fakes(
        self, domain: DomainName, fakes: Sequence[Fakes], draws: torch.Generator
    ) -> list[Tensor]:
        """What a domain's discriminator sees of the translations of all parts of a batch.

        The generator's terms come first: they leave the translations in `fakes`. `draws` decides
        what the domain's pool exchanges.
        """
        shown = [of_part.of(domain) for of_part in fakes]
        if domain in self.pools:
            shown = [self.pools[domain].exchange(fake, draws) for fake in shown]
        return shown

    def discriminator_terms(
        self, domain: DomainName, players: Players, batch: Batch, fake: Tensor
    ) -> Iterator[Terms]:
        """Yields the terms of a domain's discriminator.

        Args:
            domain: whose.
            players: the networks.
            batch: the real images.
            fake: what `judged_fakes` gave for it.
        """
        yield self.tell_apart(domain, players, batch, fake)
        if self.config.r1_weight > 0:
            yield {
                f"d_{domain}_r1": self.config.r1_weight / 2 * self.penalty(domain, players, batch)
            }

    def penalty(self, domain: DomainName, players: Players, batch: Batch) -> Tensor:
        """R1: the squared norm of a judge's gradient at real images (Mescheder, 2018, Equation 9).

        The logits of an image's patches are added up before; the square is divided by the number of
        patches, so that it is that of one patch, whatever the size of crops.
        """
        real = batch.marked(domain, batch.of(domain), self._real_seen(domain, batch.gaps))
        image, _ = self._judged(domain, real, batch)
        image = image.detach().requires_grad_()
        logits = players.judge(domain)(image)
        (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
        gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        return gradient.square().flatten(1).sum(1).mean() / logits[0].numel()

    def tell_apart(
        self,
        domain: DomainName,
        players: Players,
        batch: Batch,
        fake: Tensor,
        together: bool = True,
    ) -> Terms:
        """The discriminator's losses, halved so that it learns slower relative to the generator.

        Args:
            domain: whose discriminator.
            players: the networks.
            batch: the real images, and what the fake ones were made from. If its `over` has a
                number for what `judged_fakes` gave, `fake` is of that.
            fake: generated images of the domain.
            together: whether to show real and fake images as one batch, so that the weights'
                gradients, most of the discriminator's memory, exist only once. Batch norm would mix
                the two, so with it they are always shown one after the other.
        """
        judge, form = players.judge(domain), self.config.adversarial
        real = batch.marked(domain, batch.of(domain), self._real_seen(domain, batch.gaps))
        real, real_seen = self._judged(domain, real, batch)
        fake, fake_seen = self._judged(domain, fake, batch)
        if together and judge.config.norm != "batch":
            real_logits, fake_logits = judge(torch.cat((real, fake))).chunk(2)
        else:
            real_logits, fake_logits = judge(real), judge(fake)
        over_real = batch.over.get(f"real_{domain}")
        over_fake = batch.over.get(f"shown_{domain}", batch.over.get(f"made_{domain}"))
        of_real = adversarial_loss(
            real_logits, real=True, form=form, seen=real_seen, over=over_real
        )
        of_fake = adversarial_loss(
            fake_logits, real=False, form=form, seen=fake_seen, over=over_fake
        )
        return {f"d_{domain}_real": 0.5 * of_real, f"d_{domain}_fake": 0.5 * of_fake}

    def _fool(self, domain: DomainName, players: Players, batch: Batch, fake: Tensor) -> Tensor:
        """The generator's side of the GAN loss: its translations should be called real."""
        image, seen = self._judged(domain, fake, batch)
        logits, form = players.judge(domain)(image), self.config.adversarial
        over = batch.over.get(f"made_{domain}")
        return adversarial_loss(logits, real=True, form=form, seen=seen, over=over)

    def _of_features(
        self, domain: DomainName, image: Tensor, batch: Batch, seen: Tensor | None
    ) -> Terms:
        """The feature loss of a domain's image against the batch's, where they are seen."""
        if self.features is None or domain != self.config.feature_domain:
            return {}
        truth = batch.of(domain)
        if seen is not None:  # alike elsewhere, so that no gradient gets there
            image = torch.where(seen, image, truth.to(image))
        return {f"feature_{domain}": self.config.feature_weight * self.features(image, truth)}

    def _judged(
        self, domain: DomainName, marked: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        """A discriminator's input, and where something was measured in it."""
        image, seen = batch.unmarked(marked)
        return self._shown(domain, image, batch), seen

    def _made(self, domain: DomainName, image: Tensor, batch: Batch) -> Tensor:
        """A translation into a domain, marked where it was made of nothing.

        So the discriminators see the same fill in real images and translations, and can't tell them
        apart by it.
        """
        return batch.marked(domain, image, self._made_seen(domain, batch.gaps))

    @abstractmethod
    def _real_seen(self, domain: DomainName, gaps: Gaps | None) -> Tensor | None:
        """(B, 1, *spatial): where a discriminator sees the real images; None for everywhere."""

    @abstractmethod
    def _made_seen(self, domain: DomainName, gaps: Gaps | None) -> Tensor | None:
        """The same for the translations into its domain."""

    @abstractmethod
    def _compared(self, domain: DomainName, gaps: Gaps) -> Tensor:
        """(B, C, *spatial) of bool: where distances from the domain's images count."""


class UnpairedObjective(Objective):
    """GAN, cycle-consistency and identity losses in both directions (Zhu et al., CycleGAN, 2017).

    The discriminators see only images of their domain, including older translations.
    """

    def __init__(self, config: LossConfig, features: FeatureDistance | None = None) -> None:
        super().__init__(config, features)
        self.pools = {domain: ImagePool(config.pool_size) for domain in DOMAINS}

    def judged_channels(self, own: int, other: int) -> int:
        return own

    def _shown(self, domain: DomainName, image: Tensor, batch: Batch) -> Tensor:
        return image

    def _real_seen(self, domain: DomainName, gaps: Gaps | None) -> Tensor | None:
        return None if gaps is None else gaps.seen(domain)

    def _made_seen(self, domain: DomainName, gaps: Gaps | None) -> Tensor | None:
        return self._real_seen(other(domain), gaps)

    def _compared(self, domain: DomainName, gaps: Gaps) -> Tensor:
        return gaps.measured[domain]

    def _generator_terms(
        self, players: Players, batch: Batch, fakes: Fakes, cut: type[_Uncut]
    ) -> Iterator[Terms]:
        if self.config.identity_weight > 0:
            yield {"identity_a": self._identity(players, batch, "BtoA")}
            yield {"identity_b": self._identity(players, batch, "AtoB")}
        fakes.b = yield from self._cycle(players, batch, "AtoB", cut)
        fakes.a = yield from self._cycle(players, batch, "BtoA", cut)

    def _identity(self, players: Players, batch: Batch, direction: Direction) -> Tensor:
        """An image of the target domain should stay as it is (Zhu, Section 5.2)."""
        weight = self.config.cycle_weight * self.config.identity_weight
        _, target = ends(direction)
        same = translate(players.generator, batch.of(target), direction)
        return weight * batch.distance(target, same)

    def _cycle(
        self, players: Players, batch: Batch, there: Direction, cut: type[_Uncut]
    ) -> Generator[Terms, None, Tensor]:
        """The translation should pass for real (Zhu, Equation 1) and lead back (Equation 2)."""
        source, target = ends(there)
        fake = cut(translate(players.generator, batch.of(source), there))
        # Made for each loss, as its backward pass frees its part of the graph.
        made = self._made(target, fake.image, batch)
        yield {f"gan_{there}": self._fool(target, players, batch, made)}
        made = self._made(target, fake.image, batch)
        cycled = translate(players.generator, batch.unmarked(made)[0], back(there))
        terms = {f"cycle_{source}": self.config.cycle_weight * batch.distance(source, cycled)}
        # With the cycle loss, as it is of the same translation, whose graph is used once.
        yield terms | self._of_features(source, cycled, batch, self._real_seen(source, batch.gaps))
        return self._made(target, fake.finish(), batch)


class PairedObjective(Objective):
    """Conditional GAN and L1 losses in both directions (Isola et al., pix2pix, 2017).

    The discriminators see a translation together with its input.
    """

    def judged_channels(self, own: int, other: int) -> int:
        return own + other

    def _shown(self, domain: DomainName, image: Tensor, batch: Batch) -> Tensor:
        return torch.cat((batch.of(other(domain)), image), dim=1)

    def _real_seen(self, domain: DomainName, gaps: Gaps | None) -> Tensor | None:
        return None if gaps is None else gaps.seen("a") & gaps.seen("b")

    def _made_seen(self, domain: DomainName, gaps: Gaps | None) -> Tensor | None:
        return self._real_seen(domain, gaps)

    def _compared(self, domain: DomainName, gaps: Gaps) -> Tensor:
        return gaps.measured[domain] & gaps.seen(other(domain))

    def _generator_terms(
        self, players: Players, batch: Batch, fakes: Fakes, cut: type[_Uncut]
    ) -> Iterator[Terms]:
        fakes.b = yield from self._translate(players, batch, "AtoB", cut)
        fakes.a = yield from self._translate(players, batch, "BtoA", cut)

    def _translate(
        self, players: Players, batch: Batch, direction: Direction, cut: type[_Uncut]
    ) -> Generator[Terms, None, Tensor]:
        """The translation should pass for real beside its input (Isola, Equation 1) and be close to
        the truth (Equation 3).
        """
        source, target = ends(direction)
        fake = cut(translate(players.generator, batch.of(source), direction))
        made = self._made(target, fake.image, batch)
        yield {f"gan_{direction}": self._fool(target, players, batch, made)}
        counts = None if batch.gaps is None else self._compared(target, batch.gaps)
        distance = batch.distance(target, fake.image, counts)
        yield {f"l1_{direction}": self.config.l1_weight * distance}
        terms = self._of_features(target, fake.image, batch, self._made_seen(target, batch.gaps))
        if terms:
            yield terms
        return self._made(target, fake.finish(), batch)


def build_objective(
    kind: ObjectiveKind, config: LossConfig, features: FeatureDistance | None = None
) -> Objective:
    """The objective, with empty image pools.

    Args:
        kind: "unpaired" learns from two unrelated sets of images, "paired" from aligned pairs.
        config: the losses' weights.
        features: see `Objective`.
    """
    return (UnpairedObjective if kind == "unpaired" else PairedObjective)(config, features)
