"""What revgan makes of the machine that it runs on."""

import os

import pytest

from revgan import Translator
from revgan.cli import main
from revgan.networks import RevGenerator

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
