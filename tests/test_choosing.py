"""The planner: it picks the fastest setting that fits, and finds the largest of everything."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from rich.console import Console

from revgan.errors import UserError
from revgan.inference.planning import Translation, predict_translation
from revgan.memory import fit, format_bytes
from revgan.training import choosing, prediction
from revgan.training.choosing import choose_memory, decide_memory
from revgan.training.config import LossConfig
from revgan.training.largest import largest_batch, largest_depth, largest_size
from revgan.training.plan import make_plan
from revgan.training.prediction import predict_training
from trainings import workload as any_workload


def workload(objective="paired", **options):
    """What is predicted takes its time with the networks' passes; paired steps have few."""
    return any_workload(objective, **options)


@pytest.mark.parametrize(
    ("slabs", "size", "variant"),
    [
        (5, 100, {"norm": "batch", "upsampling": "transposed"}),
        (8, 64, {"norm": "none", "upsampling": "bilinear"}),
        (16, 64, {}),
    ],
)
def test_slabs_like_others_are_left_out_of_predictions_without_a_difference(
    slabs, size, variant, monkeypatch
):
    kind = {"memory": "lean", "variant": variant | {"slabs": slabs}, "precision": "bf16"}
    work = workload(width=4, depth=1, size=size, judge=4, **kind)
    predicted = predict_training(work)
    monkeypatch.setattr(prediction, "unlike_slabs", nullcontext)
    assert predict_training.__wrapped__(work) == predicted


def test_image_pools_count_as_full():
    work = workload("unpaired", depth=1)
    small, large = (
        replace(work, config=replace(work.config, losses=LossConfig(pool_size=size)))
        for size in (10, 60)
    )
    image = 4 * 3 * 64**2
    assert predict_training(large).total - predict_training(small).total == 2 * 50 * image


def test_a_gpus_prediction_leaves_out_the_cpus_kernels():
    work = workload(depth=1, judge=64)
    assert predict_training(replace(work, device_type="cuda")).total < predict_training(work).total


@pytest.fixture(scope="module")
def needs():
    """What each memory mode needs of a configuration where they differ; and lean, by slabs."""
    modes = ("naive", "reversible", "lean")
    named = {mode: predict_training(workload(memory=mode)).total for mode in modes}
    return named | {slabs: predict_training(lean(slabs)).total for slabs in (2, 4)}


def lean(slabs, **options):
    return workload(memory="lean", variant={"slabs": slabs}, **options)


def test_the_fastest_setting_that_fits_is_chosen(needs):
    work = workload(memory="auto")

    def chosen(budget):
        choice = choose_memory(work, budget)
        assert choice.prediction.total <= budget
        assert predict_training(work.with_generator(**vars(choice.generator))) == choice.prediction
        return str(choice)

    assert needs["lean"] < needs["reversible"] < needs["naive"]
    assert chosen(needs["naive"]) == "naive"

    def most(memory, budget, slabs=0):
        kind = {"memory": memory, "variant": {"slabs": slabs}}
        stored = [predict_training(workload(stored_blocks=n, **kind)) for n in range(5)]
        return max(n for n in range(5) if stored[n].total <= budget)

    budget = needs["naive"] - 1
    assert chosen(budget) == f"reversible with {most('reversible', budget)} of 4 blocks stored"
    assert chosen(needs["reversible"] + 1) == "reversible"
    budget = needs["reversible"] - 1
    assert most("lean", budget) > 0
    assert chosen(budget) == f"lean with {most('lean', budget)} of 4 blocks stored"
    assert chosen(needs["lean"]) == "lean"
    assert needs[4] < needs[2] < needs["lean"]
    budget = needs["lean"] - 1
    stored = most("lean", budget, slabs=2)
    assert chosen(budget) == f"lean with {stored} of 4 blocks stored, 2 slabs"
    assert chosen(needs[2]) == "lean with 2 slabs"
    assert "4 slabs" in chosen(needs[2] - 1)


def test_blocks_are_stored_beside_slabs():
    options = {"width": 8, "depth": 1, "size": 64, "judge": 2}
    stored = predict_training(lean(2, stored_blocks=1, **options)).total
    assert predict_training(lean(2, **options)).total < stored
    assert stored < predict_training(lean(0, **options)).total
    choice = choose_memory(workload(memory="auto", **options), stored)
    assert str(choice) == "lean with 1 of 1 blocks stored, 2 slabs"


def test_where_nothing_fits_the_error_says_what_would(needs):
    budget = needs["lean"] - 1
    size = largest_size(workload(memory="lean"), budget)
    with pytest.raises(UserError) as error:
        choose_memory(workload(memory="auto", variant={"slabs": 0}), budget)
    assert str(error.value) == (
        f"training at size 64 needs {format_bytes(needs['lean'])} even with generator.memory lean, "
        f"but only {format_bytes(budget)} are available; lower data.crop to {size}"
    )
    assert size < 64


def test_of_what_does_not_fit_the_error_names_the_slabs_that_need_least():
    options = {"width": 2, "depth": 1, "size": 32, "judge": 2}
    least = predict_training(lean(8, **options)).total
    assert predict_training(lean(16, **options)).total >= least
    with pytest.raises(UserError, match=r"even with generator\.memory lean with 8 slabs, but only"):
        choose_memory(workload(memory="auto", **options), least - 1)


def test_where_not_even_the_smallest_size_fits_smaller_networks_are_advised():
    with pytest.raises(UserError, match="no size fits: lower the networks' widths"):
        choose_memory(workload(memory="auto", variant={"slabs": 0}), 2**20)


def test_the_largest_size_depth_and_batch_fit_and_the_next_do_not():
    work = workload(memory="lean", width=8, depth=1)  # what is predicted takes its time with depth
    budget = 2 * predict_training(work).total

    def fits(work):
        return predict_training(work).total <= budget

    size = largest_size(work, budget)
    assert fits(replace(work, size=size))
    assert not fits(replace(work, size=size + 4))
    batch = largest_batch(work, budget)
    assert fits(work.with_batch(batch))
    assert not fits(work.with_batch(batch + 1))
    naive = work.with_generator(memory="naive")
    depth = largest_depth(naive, budget)
    assert fits(naive.with_generator(depth=depth))
    assert not fits(naive.with_generator(depth=depth + 1))
    assert largest_depth(work, 2**18) is None


@pytest.fixture
def accelerator():
    AcceleratorState._reset_state()
    return Accelerator(cpu=True)


def test_auto_is_decided_by_the_free_memory_less_a_margin(accelerator, needs, monkeypatch):
    config = workload(memory="auto").config
    config = replace(config, data=replace(config.data, crop=64))
    monkeypatch.setattr(fit, "free_memory", lambda device: int(needs["lean"] / 0.899))
    console = Console(record=True, width=80)
    decided = decide_memory(config, (3, 3), accelerator, console)
    assert decided == replace(config, generator=replace(config.generator, memory="lean", slabs=0))
    have, free = format_bytes(needs["lean"]), format_bytes(0.9 * needs["lean"] / 0.899)
    assert console.export_text() == f"memory auto: lean, {have} of {free}\n"


def test_processes_on_one_machine_share_a_given_budget(accelerator, needs, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "10")
    config = workload(memory="auto").config
    runtime = replace(config.runtime, memory_budget=f"{10 * needs['naive'] / 2**20 + 0.01}MiB")
    config = replace(config, data=replace(config.data, crop=64), runtime=runtime)
    assert decide_memory(config, (3, 3), accelerator, Console()).generator.memory == "naive"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "11")
    assert decide_memory(config, (3, 3), accelerator, Console()).generator.memory != "naive"


def test_a_named_mode_needs_no_planner(accelerator, monkeypatch):
    monkeypatch.setattr(choosing, "choose_memory", None)
    config = workload(memory="lean").config
    assert decide_memory(config, (3, 3), accelerator, Console()) is config


@pytest.mark.parametrize(
    "work", [workload(depth=1, variant={"model": "resnet"}), workload(depth=1, consensus=0.1)]
)
def test_what_has_one_memory_mode_is_not_offered_others(work):
    needed = predict_training(work).total
    assert str(choose_memory(work, needed)) == "naive"
    with pytest.raises(
        UserError,
        match=r"even with generator.memory naive.*; (set losses.* 0, or )?lower data.crop to",
    ):
        choose_memory(work, needed - 1)


def test_the_memory_of_an_ode_is_not_predicted():
    work = workload(variant={"core": "ode"})
    translation = Translation(work.config.generator)
    for predict in (lambda: predict_training(work), lambda: predict_translation(translation, 64)):
        with pytest.raises(UserError, match="core ode can't be predicted"):
            predict()


@pytest.mark.parametrize(("consensus", "memory"), [(0.0, "reversible"), (0.1, "naive")])
def test_auto_takes_the_adjoint_method_for_an_ode_unless_second_derivatives_are_needed(
    consensus, memory
):
    work = workload(memory="auto", consensus=consensus, variant={"core": "ode"})
    planned = decide_memory(work.config, (3, 3), Accelerator(cpu=True), Console(quiet=True))
    assert planned.generator.memory == memory


def test_a_plan_tells_what_it_is_doing_and_how_far_it_is():
    work = workload(memory="auto", width=2, depth=1, judge=4, size=32)
    runtime = replace(work.config.runtime, memory_budget="1GiB")
    told = []
    make_plan(replace(work, config=replace(work.config, runtime=runtime)), told.append)
    assert told[0] == "predicting a step in naive (1 of 10)"
    assert told[3] == "predicting a step in lean with 8 slabs (4 of 10)"
    assert told[-1] == "searching the largest size to translate (10 of 10)"
