"""Shared by all tests: quiet, reproducible, no network."""

import gc
import os

# Before torch is imported anywhere: two test processes share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from hypothesis import HealthCheck, settings

# Nor may a test fail because the machine is slow or busy.
settings.register_profile("revgan", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("revgan")


def pytest_collection_finish() -> None:
    """What is imported by now stays: looking through it took the collector 0.4 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_weights_in_every_run() -> None:
    torch.manual_seed(0)
