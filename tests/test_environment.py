"""What revgan makes of the machine that it runs on."""

import os
import sys

import pytest

from revgan import Translator, environment
from revgan.cli import main
from revgan.networks import RevGenerator


@pytest.mark.parametrize(
    ("others", "variables", "policy"),
    [
        pytest.param(0.1, {}, None, id="idle"),
        pytest.param(1.0, {}, "PASSIVE", id="one core taken"),
        pytest.param(1.0, {"OMP_NUM_THREADS": "2"}, None, id="the user has chosen"),
        pytest.param(1.0, {"GOMP_SPINCOUNT": "5"}, None, id="the user has chosen otherwise"),
    ],
)
def test_waiting_threads_sleep_where_other_processes_take_a_core(
    monkeypatch, others, variables, policy
):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # so that it is undone whoever sets it
    for name in [name for name in os.environ if "OMP_" in name]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "torch")  # what it reads is read when it is imported
    monkeypatch.setattr(environment, "SAMPLE", 0)
    monkeypatch.setattr(environment, "_cores", lambda: [0, 1])
    clocks = [(0.0, 0.0, 0.0), (1.0, 1.0 - others, 1.0)]  # of two cores, one works for this process
    monkeypatch.setattr(environment, "_clocks", lambda: clocks.pop(0))

    environment.Load().yield_when_busy()

    assert os.environ.get("OMP_WAIT_POLICY") == policy


CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""What oneDNN and PyTorch read: how many kernels, of one shape each, stay in memory."""


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {CACHES[0]: "128", CACHES[2]: "128"}),
        ({CACHES[0]: "9"}, {CACHES[0]: "9", CACHES[2]: "128"}),
        ({CACHES[1]: "9", CACHES[2]: "0"}, {CACHES[1]: "9", CACHES[2]: "0"}),
    ],
)
@pytest.mark.parametrize("by", ["command", "Translator"])
def test_kernels_of_few_sizes_stay_in_memory_unless_the_user_wants_more(
    monkeypatch, given, found, by
):
    for name in CACHES:
        monkeypatch.setenv(name, "so that it is undone whoever sets it")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    if by == "command":
        assert main(["env"]) == 0
    else:
        Translator(RevGenerator(in_channels=1, out_channels=1, width=4, depth=1))

    assert {name: os.environ[name] for name in CACHES if name in os.environ} == found
