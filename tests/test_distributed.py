"""Two processes train as one with the joined batch."""

import errno
import os
import signal
import socket
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from revgan.data.sampling import TrainingSamples
from revgan.errors import UserError
from revgan.networks import PatchDiscriminator, RevGenerator
from revgan.training import averaging
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, OptimizerConfig
from revgan.training.objectives import Players, build_objective
from revgan.training.step import Trainer
from small_runs import configuration, run, write_images


def batch() -> Batch:
    draws = torch.Generator().manual_seed(3)
    images = (torch.rand(2, 3, 32, 32, generator=draws) * 2 - 1 for _ in range(2))
    return Batch(*(image.double() for image in images))


def masked_batch() -> Batch:
    """Four images whose losses count in all of the first, and in less and less of the others."""
    draws = torch.Generator().manual_seed(4)
    a, b = ((torch.rand(4, 3, 32, 32, generator=draws) * 2 - 1).double() for _ in "ab")
    inside = torch.zeros(2, 4, 1, 32, 32, dtype=torch.bool)
    inside[:, 0] = True
    inside[0, 1, :, 3:20, 5:] = True
    inside[1, 1, :, :, 9:31] = True
    inside[:, 2, :, 12:15, 20:24] = True  # and nothing of the last
    a[0, :, :5] = b[1, 0, :, 11:14] = torch.nan
    fill = torch.full((1, 1, 1), -1.0)
    return Batch.with_gaps(a, b, fill, fill, (inside[0], inside[1]))


def gradients_of_a_step(kind: str, *batches: Batch, accumulate: int = 1) -> dict[str, torch.Tensor]:
    """What reaches the optimizers in the last of some steps, taken where they would use it.

    With the losses of that step, and those with the weights after it.
    """
    torch.manual_seed(1)
    objective = build_objective(kind, LossConfig())
    judges = [PatchDiscriminator(2, objective.judged_channels(3, 3), width=4) for _ in range(2)]
    players = Players(*(net.double() for net in (RevGenerator(width=4, depth=2), *judges)))
    trainer = Trainer(
        players,
        objective,
        OptimizerConfig(),
        10,
        0,
        Accelerator(cpu=True),
        accumulate=accumulate,
    )
    found = {}
    for name, optimizer in trainer._optimizers.items():
        # The weights stay, so that the discriminators judge the same generator's work.
        def take(name=name, optimizer=optimizer):
            for group in optimizer.param_groups:
                for i, weight in enumerate(group["params"]):
                    found[f"{name}.{i}"] = weight.grad.clone()

        optimizer.step = take
    losses = {}
    for each in batches:  # the pools aren't full, so the judges see the batch's own fakes
        losses = trainer.step(each, 0)
    after = trainer.losses(batches[-1])
    assert losses.keys() == after.keys()
    found |= {f"loss {name}": loss for name, loss in losses.items()}
    return found | {f"loss {name} after": loss for name, loss in after.items()}


KINDS = "unpaired", "paired"


def become(rank: int, port: str) -> None:
    """Makes this process one of two that train."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)


def process(rank: int, ports: Sequence[str], folder: Path) -> None:
    """All that two processes do together, one after the other, as starting them takes seconds."""
    become(rank, ports[0])
    whole = batch()
    share = Batch(whole.a[rank : rank + 1], whole.b[rank : rank + 1])
    averaging.BUCKET = 4096  # so that there are many
    # Of blank images, the generator gets no gradient: what it gets later comes late.
    blank = Batch(*(torch.full_like(images, -rank) for images in (share.a, share.b)))
    first = {"first step": [], "second step": [share], "second after blanks": [blank]}
    found = {
        f"{kind}, {when}": gradients_of_a_step(kind, *before, share)
        for kind in KINDS
        for when, before in first.items()
    }
    masked = masked_batch().parts(2)[rank]
    for kind in KINDS:
        for accumulate in (1, 2):
            name = f"{kind}, masked in {accumulate}"
            found[name] = gradients_of_a_step(kind, masked, masked, accumulate=accumulate)
    torch.save(found, folder / f"{rank}.pt")
    train(rank, folder, gone)
    AcceleratorState._reset_state(reset_partial_state=True)  # the end of a training parts them
    become(rank, ports[1])
    train(rank, folder, killed)
    # Leave without the interpreter's teardown: a gloo thread that drops its last tensor there finds
    # no interpreter, and aborts the process.
    os._exit(0)


def train(rank: int, folder: Path, fail) -> None:
    """Trains in its share; process 1 fails after three steps of two samples."""
    get = TrainingSamples.__getitem__
    if rank == 1:
        TrainingSamples.__getitem__ = lambda self, n: (fail if n >= 6 else get)(self, n)
    config = configuration(folder / "images", checkpoint_every=100, validate_every=None)
    try:
        run(config, folder / fail.__name__)
    except UserError as error:
        (folder / f"{fail.__name__}-{rank}.txt").write_text(str(error))
    TrainingSamples.__getitem__ = get


def killed(self, number):
    os.kill(os.getpid(), signal.SIGKILL)


def gone(self, number):
    raise FileNotFoundError(errno.ENOENT, "Gone", "x.png")


def free_ports() -> list[str]:
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("127.0.0.1", 0))
        return [str(listener.getsockname()[1]) for listener in (one, other)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the two processes leave; at last, process 1 kills itself in a training."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "images").mkdir()
    write_images(folder / "images")
    context, ports = mp.get_context("spawn"), free_ports()
    processes = [context.Process(target=process, args=(rank, ports, folder)) for rank in range(2)]
    for each in processes:
        each.start()
    try:
        processes[1].join()
        if processes[1].exitcode == -signal.SIGKILL:  # else the other one may wait for it for long
            processes[0].join()
    finally:
        for each in processes:
            each.terminate()
            each.join()
    assert [each.exitcode for each in processes] == [0, -signal.SIGKILL]
    return folder


@pytest.fixture(scope="module")
def shares(folder):
    """The gradients of each process, by kind."""
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@cache
def joined_gradients(kind: str, *, masked: bool = False) -> dict[str, torch.Tensor]:
    """Those of one process with the joined batch."""
    return gradients_of_a_step(kind, *([masked_batch()] * 2 if masked else [batch()]))


@pytest.mark.parametrize("when", ["first step", "second step", "second after blanks"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_two_processes_are_those_of_the_joined_batch(kind, when, shares):
    ours, other = (share[f"{kind}, {when}"] for share in shares)
    joined = joined_gradients(kind)
    assert joined.keys() == ours.keys()
    for name, grad in joined.items():
        if name.startswith("loss"):  # each has its own
            assert torch.allclose((ours[name] + other[name]) / 2, grad, rtol=1e-6), name
            continue
        assert torch.equal(ours[name], other[name])
        # In float64, so that nothing but the order of sums differs. In float32 a convolution over
        # two images differs from two over one in its last bits, which fresh networks amplify.
        assert torch.allclose(ours[name], grad, rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_processes_whose_masks_differ_count_as_parts_of_one_batch(kind, accumulate, shares):
    """By value: process 0 has most of what counts, process 1 a few pixels of one image."""
    ours, other = (share[f"{kind}, masked in {accumulate}"] for share in shares)
    joined = joined_gradients(kind, masked=True)
    assert joined.keys() == ours.keys()
    for name, value in joined.items():
        if name.startswith("loss"):
            assert torch.allclose((ours[name] + other[name]) / 2, value, rtol=1e-6), name
        else:
            assert torch.equal(ours[name], other[name])
            assert torch.allclose(ours[name], value, rtol=1e-6, atol=1e-8), name


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (killed, {0: "has lost another process; see that one's message"}),
        (gone, dict.fromkeys((0, 1), "x.png can't be read or written: Gone")),
    ],
)
def test_a_process_that_fails_ends_all_with_a_checkpoint(folder, fail, told):
    name = fail.__name__
    assert sorted(folder.glob(f"{name}-*.txt")) == [folder / f"{name}-{rank}.txt" for rank in told]
    for rank, expected in told.items():
        message = (folder / f"{name}-{rank}.txt").read_text()
        assert expected in message
        assert "continue from step 3 with revgan train --resume" in message
    assert [path.name for path in (folder / name / "checkpoints").iterdir()] == ["step-3"]
