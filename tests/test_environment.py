"""What revgan makes of the machine that it runs on."""

import os
import sys

import pytest

from revgan import environment


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
