"""How a command shares the cores with other processes."""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from revgan import load
from revgan.load import Clocks, Load, cores_to_keep, heed

START = Clocks(0.0, dict.fromkeys(range(16), 0.0), 0.0)


def after(used, own):
    """One second later, of cores that were used for such parts of it."""
    idle = {core: 1.0 - part for core, part in enumerate(used)}
    return Clocks(1.0, START.idle | idle if len(used) == 16 else idle, own)


@pytest.mark.parametrize(
    ("used", "own", "kept", "here", "expected"),
    [
        pytest.param((1.0, 1.0), 2.0, {0, 1}, 0, {0, 1}, id="alone"),
        pytest.param((1.0, 0.3), 1.0, {0, 1}, 0, {0, 1}, id="beside a little"),
        pytest.param((1.0, 1.0), 1.0, {0, 1}, 1, {1}, id="at the start, beside one"),
        pytest.param((1.0, 1.0), 1.5, {0, 1}, 0, {0}, id="spinning beside one"),
        pytest.param((1.0, 1.0), 1.0, {0}, 0, {0}, id="aside already"),
        pytest.param((1.0, 0.0), 0.5, {0}, 0, {1}, id="aside, where the other one went"),
        pytest.param((1.0, 0.1), 1.0, {0}, 0, {0, 1}, id="alone again"),
        pytest.param((1.0, 1.0), 0.2, {0, 1}, 0, {0}, id="beside many"),
        pytest.param((0.9,) * 15 + (1.0,), 13.5, set(range(16)), 3, {0, 1, 2, 3, 4, 5, 6, 7},
                     id="one of sixteen is taken"),
    ],
)  # fmt: skip
def test_threads_keep_to_the_cores_that_others_leave(used, own, kept, here, expected):
    start = Clocks(0.0, dict.fromkeys(range(len(used)), 0.0), 0.0)
    found = cores_to_keep(start, after(used, own), kept, here, threads=len(used))
    assert found == expected


def test_where_there_are_fewer_threads_than_cores_left_they_stay():
    start = Clocks(0.0, dict.fromkeys(range(4), 0.0), 0.0)
    busy = after((1.0, 1.0, 1.0, 0.0), 2.0)
    assert cores_to_keep(start, busy, set(range(4)), 0, threads=2) == {0, 1, 2, 3}
    assert len(cores_to_keep(start, busy, set(range(4)), 0, threads=4)) == 2


@dataclass
class Machine:
    """Two cores of which others take a part, and what is done about it."""

    others: float = 0.0
    now: float = 0.0
    spent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    moves: list[set[int]] = field(default_factory=list)
    asleep: list[threading.Event] = field(default_factory=list)
    here: list[set[int]] = field(default_factory=list)
    spin: bool = False

    def read(self, cores):
        first, second, own = self.spent
        return Clocks(self.now, {0: first, 1: second}, own)

    def run(self, seconds):
        """Lets time pass, in which this process takes all of the first core, and heeds the load."""
        first, second, own = self.spent
        self.now += seconds
        self.spent = first, second + seconds * (1 - self.others), own + seconds
        heed()

    def sleep(self, threads, cores):
        self.asleep.append(threading.Event())
        return self.asleep[-1]


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    for name in [name for name in os.environ if "OMP_" in name]:
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(Clocks, "read", made.read)
    monkeypatch.setattr(load, "usable_cores", lambda: {0, 1})
    monkeypatch.setattr(load, "_move", lambda cores: made.moves.append(cores))
    monkeypatch.setattr(load, "let_threads_sleep", made.sleep)
    monkeypatch.setattr(load, "threads_spin", lambda threads: made.spin)
    monkeypatch.setattr(load.time, "monotonic", lambda: made.now)
    monkeypatch.setattr(load.psutil.Process, "cpu_num", lambda self: 0, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return made


@pytest.fixture
def followed(machine, monkeypatch):
    if not Path("/proc/self/task").exists():
        pytest.skip("threads can't be moved here")
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: machine.here.append(cores))
    begun = Load()
    monkeypatch.setitem(sys.modules, "torch", torch)
    with begun.followed():
        yield machine


def test_threads_move_and_sleep_while_others_work_and_spin_again_after_it(followed):
    followed.run(1.0)
    assert followed.moves == followed.asleep == []
    followed.others = 1.0
    followed.run(1.0)  # too early for another look
    assert followed.moves == []
    followed.run(5.0)
    assert followed.moves == [{0}]
    (sleep,) = followed.asleep
    assert not sleep.is_set()
    followed.run(5.0)
    assert followed.moves == [{0}]
    followed.others = 0.0
    followed.run(5.0)
    assert followed.moves == [{0}, {0, 1}]
    assert sleep.is_set()


def test_loaders_are_started_on_all_cores(followed):
    with load.on_all_cores():
        assert followed.here == [{0, 1}]
    followed.others = 1.0
    followed.run(5.0)
    followed.here.clear()
    with load.on_all_cores():
        assert followed.here == [{0, 1}]
    assert followed.here == [{0, 1}, {0}]


def test_threads_that_would_spin_on_one_core_go_back_for_good(followed):
    followed.others, followed.spin = 1.0, True
    followed.run(5.0)
    assert followed.moves == [{0}, {0, 1}]
    assert followed.asleep[0].is_set()
    followed.run(50.0)
    assert len(followed.moves) == 2


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "GOMP_SPINCOUNT"])
def test_a_user_who_has_chosen_is_left_alone(machine, monkeypatch, name):
    monkeypatch.setenv(name, "5")
    machine.others = 1.0
    begun = Load()
    monkeypatch.setitem(sys.modules, "torch", torch)
    with begun.followed():
        machine.run(5.0)
        begun.before_torch()
    assert machine.moves == []
    assert "OMP_WAIT_POLICY" not in os.environ


def test_where_threads_can_not_be_moved_they_sleep_from_the_start(machine, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "so that it is undone")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.delattr(os, "sched_setaffinity")
    begun = Load()
    machine.now, machine.spent = 1.0, (0.0, 0.9, 1.0)
    begun.before_torch()
    assert "OMP_WAIT_POLICY" not in os.environ
    machine.now, machine.spent = 2.0, (0.0, 0.9, 1.5)
    begun.before_torch()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


PROGRAM = """
import os, torch
from revgan import load

def step():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(8, 8, 3)
    (conv(torch.rand(4, 8, 64, 64)) ** 2).mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in conv.parameters()])

cores = os.sched_getaffinity(0)
apart = step()
load._move({min(cores)})
before = load.threads_spin(2)
end = load.let_threads_sleep(2, len(cores))
print(before, load.threads_spin(2), torch.equal(step(), apart))
end.set()
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads can't be moved here")
def test_waiting_threads_really_sleep_on_one_core_and_results_keep_their_bits():
    """In a process whose OpenMP has two threads; by what they compute, not by how long it takes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    spun, spin, equal = done.stdout.split()
    assert spun == str(len(os.sched_getaffinity(0)) > 1)
    assert (spin, equal) == ("False", "True")
