"""A network with a reversible core under PyTorch's own data parallelism, sharded or not."""

import os
import socket
import tempfile
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from cores import additive_core, run


class BothWays(nn.Module):
    """Uses its core in both directions, as a cycle does."""

    def __init__(self, stored_blocks: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.before, self.after = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1)
        self.core = additive_core(3, stored_blocks=stored_blocks)

    def forward(self, x):
        there = run(self.core, torch.tanh(self.before(x)), "forward")
        return self.after(run(self.core, torch.relu(there), "inverse"))


def images() -> torch.Tensor:
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def gradients(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    network(x).square().mean().backward()
    return [weight.grad for weight in network.parameters()]


def shard_blocks(network: BothWays) -> None:
    for block in network.core:
        fully_shard(block)
        register_fsdp_forward_method(block, "inverse")
    fully_shard(network)


def shard_core(network: BothWays) -> None:
    fully_shard(network.core)
    register_fsdp_forward_method(network.core, "inverse")
    fully_shard(network)


def shard_nets(network: BothWays) -> None:
    for block in network.core:
        fully_shard(block.f)


STORED_BLOCKS = 0, 1
SHARDED = fully_shard, shard_core, shard_blocks


def process(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    found = []
    for stored_blocks in STORED_BLOCKS:
        network = DistributedDataParallel(BothWays(stored_blocks).double())
        found.append(gradients(network, images()[rank : rank + 1]))
    for shard in SHARDED:
        network = BothWays(1).double()
        shard(network)
        shares = gradients(network, images()[rank : rank + 1])
        found.append([share.full_tensor() for share in shares])
    network = BothWays(0).double()
    shard_nets(network)
    with pytest.raises(RuntimeError, match="not f and g alone"):
        gradients(network, images())
    network = BothWays(0).double()
    loss = network(images()).sum()
    shard_nets(network)
    with pytest.raises(RuntimeError, match="sharded since the forward pass"):
        loss.backward()
    torch.save(found, Path(folder) / f"{rank}.pt")
    # See test_distributed.py: without the interpreter's teardown, which a gloo thread may abort.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_gradients_of_two_processes_are_those_of_the_joined_batch():
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(process, (free_port(), folder), nprocs=2)
        shares = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]
    joined = gradients(BothWays(0).double(), images())
    for number in range(len(STORED_BLOCKS) + len(SHARDED)):
        for ours, other, expected in zip(*(s[number] for s in shares), joined, strict=True):
            assert torch.equal(ours, other)
            # In float64, so that nothing but the order of sums differs.
            assert torch.allclose(ours, expected, rtol=1e-10, atol=1e-12)
