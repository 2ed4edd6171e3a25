"""The whole training step as one CUDA graph, or compiled, beside ordinary steps.

At batch 1 and the paper's sizes, a GPU waits for the CPU to launch kernels: a graph launches all of
a step's at once. What a step decides on the CPU stays outside: random seeds, the pools' exchange
and the check for divergence; the learning rate is a tensor.
"""

import statistics

import torch

from revgan.benchmark.measuring import step_seconds
from revgan.benchmark.variants import random_batch
from revgan.directions import DOMAINS
from revgan.networks import GeneratorConfig
from revgan.training import LossConfig, RunConfig, make_accelerator, make_trainer
from revgan.training.objectives import Fakes
from revgan.training.skips import Skips
from revgan.training.step import frozen

WARMUP = 3
TIMED = 30


class Learner:
    """Networks whose steps depend on tensors alone, which can so be captured.

    Attributes:
        batch: the images of the next step; written into.
        losses: of the latest one.
    """

    def __init__(self, size, width, depth, memory, runtime):
        accelerator = make_accelerator(runtime)
        config = RunConfig(
            generator=GeneratorConfig(width=width, depth=depth, memory=memory),
            losses=LossConfig(pool_size=0),
        )
        self.device = accelerator.device
        self.trainer = make_trainer(config, 2, (3, 3), accelerator, total=10**9)
        self.trainer.skips = Skips()
        self._lr = torch.tensor(config.optimizer.lr, device=self.device)
        for optimizer in self.trainer._optimizers.values():
            for group in optimizer.param_groups:
                group["capturable"] = self.device.type == "cuda"
        self.batch = random_batch((1, 3, size, size), self.device)
        self.losses = {}

    def step(self):
        """`Trainer.step` without seeds and pools, at a constant learning rate."""
        trainer, players, losses = self.trainer, self.trainer.players, {}
        objective, fakes = trainer.objective, Fakes()
        with frozen([*players.judge_a.parameters(), *players.judge_b.parameters()]):
            terms = objective.generator_terms(players, self.batch, fakes)
            trainer._minimise([terms], "generator", self._lr, losses)
        for domain in DOMAINS:
            terms = objective.discriminator_terms(domain, players, self.batch, fakes.of(domain))
            trainer._minimise([terms], domain, self._lr, losses)
        self.losses = losses

    def compile(self, backend):
        """Compiles the networks, each as a whole."""
        players = self.trainer.players
        for network in (players.generator, players.judge_a, players.judge_b):
            network.compile(backend=backend)

    def capture(self):
        """The step as a graph's replay, from the same weights and moments as before."""
        if self.device.type != "cuda":
            return self.step
        before = {name: value.clone() for name, value in self.trainer.state().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # kernels are chosen and moments made before the capture
            for _ in range(WARMUP):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self.step()
        with torch.no_grad():
            for name, value in self.trainer.state().items():
                if name in before:
                    value.copy_(before[name])
                else:  # moments, which begin as zeros
                    value.zero_()
        return graph.replay

    def run(self, step, count):
        """Losses of so many steps, each on other images: (steps, losses) on the CPU."""
        found = []
        for number in range(count):
            draws = torch.Generator().manual_seed(number)
            for image in (self.batch.a, self.batch.b):
                image.copy_(torch.rand(image.shape, generator=draws) * 2 - 1)
            step()
            found.append(torch.stack([loss.float() for loss in self.losses.values()]).cpu())
        return torch.stack(found)


def graph_row(how, size, width, depth, memory, runtime, steps, small):
    """Times a step as it is and `how`; compares losses, also of ordinary steps with each other."""
    sizes = size, width, depth, memory, runtime
    plain, again, other = (Learner(*sizes) for _ in range(3))
    expected, repeated = plain.run(plain.step, steps), again.run(again.step, steps)
    del again
    if how == "compiled":
        other.compile("eager" if small else "inductor")
        step = other.step
    else:
        step = other.capture()
    losses = other.run(step, steps)
    seconds = {"ordinary": [], how: []}
    for _ in range(1 if small else TIMED):
        seconds["ordinary"].append(step_seconds(plain.step, plain.device))
        seconds[how].append(step_seconds(step, other.device))
    return {
        "steps": steps,
        "losses": list(other.losses),
        "losses_equal": torch.equal(losses, expected),
        "largest_difference": _largest(losses, expected),
        "ordinary_twice_equal": torch.equal(repeated, expected),
        "ordinary_twice_largest_difference": _largest(repeated, expected),
        "median_s": {name: statistics.median(times) for name, times in seconds.items()},
    }


def _largest(losses, expected):
    """The largest difference relative to the loss."""
    return float(((losses - expected).abs() / expected.abs().clamp_min(1e-12)).max())
