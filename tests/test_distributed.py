"""Two processes train as one with the joined batch."""

import os
import socket
import tempfile
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from accelerate import Accelerator

from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.training.config import OptimizerConfig
from revgan.training.objectives import Batch, LossConfig, Players, build_objective
from revgan.training.step import Trainer


def batch() -> Batch:
    draws = torch.Generator().manual_seed(3)
    images = (torch.rand(2, 3, 32, 32, generator=draws) * 2 - 1 for _ in range(2))
    return Batch(*(image.double() for image in images))


def gradients_of_a_step(kind: str, batch: Batch) -> dict[str, torch.Tensor]:
    """What reaches the optimizers, taken where they would use it."""
    torch.manual_seed(1)
    objective = build_objective(kind, LossConfig())
    judges = [PatchDiscriminator(2, objective.judged_channels(3, 3), width=4) for _ in range(2)]
    players = Players(*(net.double() for net in (RevGenerator(width=4, depth=2), *judges)))
    trainer = Trainer(players, objective, OptimizerConfig(), 10, 0, Accelerator(cpu=True))
    found = {}
    for name, optimizer in trainer._optimizers.items():
        # The weights stay, so that the discriminators judge the same generator's work.
        def take(name=name, optimizer=optimizer):
            for group in optimizer.param_groups:
                for i, weight in enumerate(group["params"]):
                    found[f"{name}.{i}"] = weight.grad.clone()

        optimizer.step = take
    trainer.step(batch, 0)
    return found


KINDS = "unpaired", "paired"


def process(rank: int, port: str, folder: str) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)
    whole = batch()
    share = Batch(whole.a[rank : rank + 1], whole.b[rank : rank + 1])
    gradients = {kind: gradients_of_a_step(kind, share) for kind in KINDS}
    torch.save(gradients, Path(folder) / f"{rank}.pt")
    # Everyone is done, and the result is on disk. Leave without the interpreter's teardown: a gloo
    # thread that drops its last tensor there finds no interpreter, and aborts the process.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@pytest.fixture(scope="module")
def shares():
    """The gradients of each process, by kind; both kinds in one, as starting takes seconds."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(process, (free_port(), folder), nprocs=2)
        return [torch.load(Path(folder) / f"{r}.pt", weights_only=True) for r in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_two_processes_are_those_of_the_joined_batch(kind, shares):
    ours, other = (share[kind] for share in shares)
    joined = gradients_of_a_step(kind, batch())
    assert joined.keys() == ours.keys()
    for name, grad in joined.items():
        assert torch.equal(ours[name], other[name])
        # In float64, so that nothing but the order of sums differs. In float32 a convolution over
        # two images differs from two over one in its last bits, which fresh networks amplify.
        assert torch.allclose(ours[name], grad, rtol=1e-6, atol=1e-8), name
