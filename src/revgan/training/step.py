"""One training step: the generator learns from its losses, then each judge learns.

The order is that of CycleGAN's and pix2pix's code, which the paper extends (Section 1). Each loss
is backpropagated before the next is computed, and one network's weights change at a time.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer

from revgan.directions import DOMAINS
from revgan.errors import short
from revgan.networks import TwoWayGenerator
from revgan.training.average import WeightAverage
from revgan.training.averaging import GradientAverage
from revgan.training.batch import Batch
from revgan.training.config import OptimizerConfig, Schedule
from revgan.training.consensus import consensus_term
from revgan.training.constancy import Constancy
from revgan.training.counting import Counting
from revgan.training.losses import Terms, total
from revgan.training.objectives import Fakes, Objective, Players
from revgan.training.processes import together
from revgan.training.skips import Skips

_NETWORKS, _POOLS = 0, 1
"""The streams of a step's random draws: in the networks (dropout) and in the image pools."""

MOMENTS = "step", "exp_avg", "exp_avg_sq"
"""What Adam remembers of each weight."""


class Trainer:
    """The players, their optimizers, and how they learn from a batch.

    Args:
        players: networks on the accelerator's device.
        objective: yields the loss terms.
        config: Adam and its learning rate.
        total_steps: after which the learning rate is 0.
        seed: for all random draws; a step's draws depend only on (seed, step, rank).
        accelerator: precision and processes.
        average: follows the generator, starting from its current weights; None for no average.
        skips: whether to skip steps that diverge.
        accumulate: into how many parts of equal size to cut a batch, whose gradients are averaged
            one after the other.

    Attributes:
        constancy: follows whether translations still vary.
        between_steps: whether all weights are from the end of a step, even after an error.
    """

    def __init__(
        self,
        players: Players,
        objective: Objective,
        config: OptimizerConfig,
        total_steps: int,
        seed: int,
        accelerator: Accelerator,
        average: WeightAverage | None = None,
        skips: Skips | None = None,
        accumulate: int = 1,
    ) -> None:
        self.players = players
        self.objective = objective
        self.config = config
        self.total_steps = total_steps
        self.seed = seed
        self.accelerator = accelerator
        self.average = average
        self.skips = skips or Skips()
        self.accumulate = accumulate
        self.constancy = Constancy()
        self._counting = Counting(objective, players, accelerator, accumulate)
        self.between_steps = True
        if average is not None:
            average.start(players.generator.state_dict())
        self._optimizers = {
            name: self._adam(network.parameters()) for name, network in self._networks().items()
        }
        self._averages = {
            name: GradientAverage(list(network.parameters()), accelerator.num_processes)
            for name, network in self._networks().items()
        }

    def _adam(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        betas = (self.config.beta1, self.config.beta2)
        # Fused: one pass over the weights, without temporaries of their size.
        fused = self.accelerator.device.type in ("cpu", "cuda")
        return self.accelerator.prepare_optimizer(
            Adam(parameters, self.config.lr, betas, fused=fused)
        )

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Trains on one batch; returns the losses, detached, by name.

        Args:
            batch: images of both domains on the device.
            step: number of the step, from 0.

        Raises:
            LostProcessError: another process of the training has ended.
        """
        torch.manual_seed(self._seed_of(step, _NETWORKS))
        pool_draws = torch.Generator().manual_seed(self._seed_of(step, _POOLS))
        learning_rate = self.learning_rate(step)
        parts = [(part, Fakes()) for part in self._counting.parts(batch)]
        losses: dict[str, Tensor] = {}

        with self._traceless():
            if self.objective.config.consensus_weight > 0:
                # Mescheder et al., 2017. Its gradients reach all networks; the judges' are kept
                # until they learn.
                term = consensus_term(self.objective, self.players, parts[0][0])
                losses |= self._backpropagate(term)

            # Identity, GAN and cycle losses (Zhu et al., 2017), or GAN and L1 (Isola et al., 2017).
            with frozen([*self.players.judge_a.parameters(), *self.players.judge_b.parameters()]):
                terms = (
                    self.objective.generator_terms(self.players, part, fakes)
                    for part, fakes in parts
                )
                self._minimise(terms, "generator", learning_rate, losses)
            if self.skips.now:  # it made nothing that the judges may see
                return losses
            self.constancy.look(parts)
            if self.average is not None:
                self.average.update(self.players.generator, step)

            # The other side of the GAN loss, one judge after the other, so that the gradients of
            # only one network are alive at a time.
            for domain in DOMAINS:
                shown = self.objective.judged_fakes(domain, [made for _, made in parts], pool_draws)
                judged = self._counting.for_judge(domain, [part for part, _ in parts], shown)
                terms = (
                    self.objective.discriminator_terms(domain, self.players, part, fake)
                    for part, fake in zip(judged, shown, strict=True)
                )
                self._minimise(terms, domain, learning_rate, losses)
        return losses

    def learning_rate(self, step: int) -> float:
        """Adam's learning rate in a given step."""
        warm = min(1.0, (step + 1) / self.config.warmup) if self.config.warmup else 1.0
        return self.config.lr * decay(step, self.total_steps, self.config.schedule) * warm

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses with the current weights, without images from the pools; changes nothing."""
        means: dict[str, Tensor] = {}
        with torch.no_grad(), self._kept_statistics(), self.accelerator.autocast():
            for part in self._counting.parts(batch):
                losses, fakes = self.objective.joint_terms(self.players, part)
                for domain in DOMAINS:
                    fake = fakes.of(domain)
                    losses |= self.objective.tell_apart(domain, self.players, part, fake)
                self._add(losses, means)
        return means

    def norm(self) -> Tensor:
        """The norm of everything in `state`: finite if every number and its square are."""
        return get_total_norm(x for x in self.state().values() if x.is_floating_point())

    @contextmanager
    def _traceless(self) -> Iterator[None]:
        """Surrounds a step that leaves no trace if it fails or is skipped.

        Apart from gradients, the trace would be batch norms' running statistics.
        """
        self.skips.now = False
        with self._kept_statistics(lambda: self.between_steps or self.skips.now):
            yield
        self.between_steps = True
        self.skips.count()

    @contextmanager
    def _kept_statistics(self, keep: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Surrounds what leaves buffers, such as batch norms' statistics, as they are if `keep`."""
        statistics = [buffer for net in self._networks().values() for buffer in net.buffers()]
        before = [buffer.clone() for buffer in statistics]
        try:
            yield
        finally:
            if keep():
                for buffer, value in zip(statistics, before, strict=True):
                    buffer.copy_(value)

    def _minimise(
        self,
        terms: Iterable[Iterator[Terms]],
        network: str,
        learning_rate: float,
        losses: dict[str, Tensor],
    ) -> None:
        """Backpropagates each term before the next is computed, then updates the weights once.

        Args:
            terms: the network's, to be minimised, for each part of the batch.
            network: its name.
            learning_rate: this step's.
            losses: the step's so far; the terms' losses are added.
        """
        optimizer, average = self._optimizers[network], self._averages[network]
        own: dict[str, Tensor] = {}
        for of_part in terms:
            for term in self._in_precision(of_part):
                average.next_pass()
                self._add(self._backpropagate(term), own)
        losses |= own
        average.finish()
        if self.skips.limit and self._diverges(optimizer, own):
            self.skips.now = True
            everyone = self._optimizers.values() if network == "generator" else [optimizer]
            for each in everyone:
                each.zero_grad()
            return
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        self.between_steps = False
        optimizer.step()
        optimizer.zero_grad()

    def _diverges(self, optimizer: Optimizer, losses: dict[str, Tensor]) -> bool:
        """Whether a loss or gradient is infinite or NaN in any process."""
        values = list(losses.values())
        if self.accelerator.scaler is None:  # the scaler checks its scaled gradients itself
            weights = (weight for group in optimizer.param_groups for weight in group["params"])
            values.append(get_total_norm(w.grad for w in weights if w.grad is not None))
        with together():
            # Infinite and NaN values stay so in the sum.
            return not self.accelerator.reduce(torch.stack(values)).isfinite().all()

    def _backpropagate(self, term: Terms) -> dict[str, Tensor]:
        loss = total(term)
        self.accelerator.backward(loss if self.accumulate == 1 else loss / self.accumulate)
        return {name: loss.detach() for name, loss in term.items()}

    def _add(self, losses: Terms, means: dict[str, Tensor]) -> None:
        """Adds the losses of a part of the batch to the means over all parts."""
        for name, loss in losses.items():
            share = loss if self.accumulate == 1 else loss / self.accumulate
            means[name] = means[name] + share if name in means else share

    def _in_precision(self, terms: Iterator[Terms]) -> Iterator[Terms]:
        """Computes each term under autocast, which ends before the term is backpropagated."""
        while True:
            with self.accelerator.autocast():
                term = next(terms, None)
            if term is None:
                return
            yield term

    def _seed_of(self, step: int, stream: int) -> int:
        """The seed of one of a step's streams; seeds are unrelated."""
        key = (self.seed, step, self.accelerator.process_index)
        # The networks' key has no number, as before the streams were split, so dropout stays the
        # same.
        sequence = np.random.SeedSequence(key, spawn_key=(stream,) if stream else ())
        return int(sequence.generate_state(1, np.uint64)[0] >> 1)

    @property
    def model(self) -> TwoWayGenerator:
        """The generator to save and show: the average, if there is one."""
        return self.players.generator if self.average is None else self.average.network

    def state(self) -> dict[str, Any]:
        """Every tensor that a resumed run needs, by name."""
        tensors: dict[str, Tensor] = {}
        for name, network in self._networks().items():
            tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        if self.average is not None:
            weights = self.average.network.state_dict()
            tensors |= {f"average.{key}": value for key, value in weights.items()}
        for name, optimizer in self._optimizers.items():
            for index, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"adam_{name}.{index}.{key}": value for key, value in moments.items()}
        for name, pool in self.objective.pools.items():
            tensors |= {f"pool_{name}.{i}": image for i, image in enumerate(pool.images)}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state` returned.

        If it had no average, one starts from the generator.

        Raises:
            RuntimeError, KeyError: the tensors belong to other networks.
            ValueError: one is missing, or none of those that `state` has.
        """
        kinds = "generator", "a", "b", "average", *(f"adam_{name}" for name in self._optimizers)
        kinds += tuple(f"pool_{domain}" for domain in DOMAINS)
        if odd := [name for name in tensors if name.partition(".")[0] not in kinds]:
            raise ValueError(f"nothing of a training is called {short(odd[0])}")
        for name, network in self._networks().items():
            network.load_state_dict(_below(name, tensors))
        if self.average is not None:
            self.average.start(_below("average", tensors) or _below("generator", tensors))
        for name, optimizer in self._optimizers.items():
            weights = optimizer.param_groups[0]["params"]
            state: dict[int, dict[str, Tensor]] = {}
            moments = _below(f"adam_{name}", tensors)
            wanted = {f"{index}.{key}" for index in range(len(weights)) for key in MOMENTS}
            if moments and moments.keys() != wanted:  # none, if all steps so far were left out
                wrong = sorted(moments.keys() ^ wanted)[0]
                raise ValueError(f"Adam's {short(wrong)} of {name} is missing or unknown")
            for key, value in moments.items():
                index, moment = key.split(".")
                if value.ndim:  # the fused step needs the moments in the weights' memory layout
                    value = torch.empty_like(weights[int(index)]).copy_(value)
                state.setdefault(int(index), {})[moment] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        for name, pool in self.objective.pools.items():
            images = _below(f"pool_{name}", tensors)
            pool.images = [images[str(i)] for i in range(len(images))]

    def counts(self) -> dict[str, dict[str, float]]:
        """The other numbers that a resumed run needs: the fp16 scaler's, and skipped steps."""
        scaler = self.accelerator.scaler
        return {
            "scaler": {} if scaler is None else scaler.state_dict(),
            "skipped": {"total": self.skips.total, "row": self.skips.row},
        }

    def load_counts(self, counts: dict[str, dict[str, float]]) -> None:
        """Restores what `counts` returned; what is missing stays as it is."""
        if counts.get("scaler") and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(counts["scaler"])
        skipped = counts.get("skipped", {})
        self.skips.total, self.skips.row = (int(skipped.get(name, 0)) for name in ("total", "row"))

    def _networks(self) -> dict[str, nn.Module]:
        players = self.players
        return {"generator": players.generator, "a": players.judge_a, "b": players.judge_b}


def decay(step: int, total_steps: int, schedule: Schedule = "linear") -> float:
    """The learning rate's factor.

    Args:
        step: from 0.
        total_steps: after which it is 0, unless it is constant.
        schedule: "linear" is 1 in the first half, then linear to 0 (Table 1).
    """
    match schedule:
        case "linear":
            second_half = total_steps - total_steps // 2
            return min(1.0, (total_steps - step) / second_half)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / total_steps))
        case "constant":
            return 1.0


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """While active, no gradients are computed for these weights."""
    parameters = list(parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
