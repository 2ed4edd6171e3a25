"""How much memory there is, and the search for the largest number of something that fits."""

import random
from types import SimpleNamespace

import pytest
import torch

from revgan.memory import fit, free_budget, free_memory, largest_fitting
from revgan.memory.fit import container_memory_left


def test_the_search_finds_what_trying_all_would_in_few_steps():
    draw = random.Random(0)
    for _ in range(500):
        power, step = draw.choice([1, 2, 3]), draw.choice([1, 4])
        fixed, slope, floor = draw.randrange(10**6), draw.uniform(1, 5000), draw.randrange(10**6)
        tried = []

        def need(n, *, fixed=fixed, slope=slope, floor=floor, power=power, tried=tried):
            tried.append(n)
            return int(max(floor, fixed + slope * n**power + slope * n))

        numbers = range(step * draw.randint(1, 8), step * draw.randint(9, 200), step)
        start, budget = draw.choice(numbers), need(draw.choice(numbers)) - draw.randint(0, 1)
        known = {start: need(start)}
        tried.clear()
        found = largest_fitting(
            need, budget, known, power=power, step=step, least=numbers[0], limit=numbers[-1]
        )
        assert len(tried) <= 13
        assert found == max((n for n in numbers if need(n) <= budget), default=None)


@pytest.mark.parametrize(("kind", "share"), [("cpu", 0.9), ("xpu", 0.9), ("cuda", 0.85)])
def test_every_kind_of_device_has_a_margin(monkeypatch, kind, share):
    monkeypatch.setattr(fit, "free_memory", lambda device: 1000)
    assert free_budget(torch.device(kind)) == 1000 * share


def test_a_containers_limit_counts_without_its_cached_files(tmp_path):
    assert container_memory_left(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert container_memory_left(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert container_memory_left(tmp_path) == 1000 - 700 + 200
    (tmp_path / "memory.max").write_text("400\n")
    assert container_memory_left(tmp_path) == 0


@pytest.mark.parametrize("left", [None, 2**10, 2**60])
def test_free_memory_is_the_machines_within_the_containers(monkeypatch, left):
    monkeypatch.setattr(fit, "container_memory_left", lambda: left)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**30))
    assert free_memory(torch.device("cpu")) == min(2**30, left or 2**30)


def test_a_limit_that_surely_fits_is_not_asked_for():
    def need(n):
        raise AssertionError("large needs take long to find")

    assert largest_fitting(need, 1000, {1: 5}, limit=64) == 64
