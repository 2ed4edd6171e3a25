"""`revgan plan` and memory budgets on the command line."""

import json
from dataclasses import asdict, replace
from io import StringIO

import pytest
import yaml
from rich.console import Console

from revgan.cli import main
from revgan.memory import fit, format_bytes
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.options import stored_config
from revgan.training import prediction
from revgan.training.config import RunConfig, RuntimeConfig
from revgan.training.plan import (
    Domains,
    make_plan,
    plan_budget,
    planned_workload,
    print_plan,
)
from revgan.training.prediction import Workload, predict_training
from test_cli import make_images, refusal, sentence, train

TINY = [
    "--runtime.device=cpu",
    "--size=32",
    "--generator.width=4",
    "--generator.depth=1",
    "--discriminator.width=4",
]


def plan(capsys, *arguments):
    capsys.readouterr()
    assert main(["plan", *TINY, *arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def planned():
    """A plan within what lean needs with its block stored; paired, as that has fewer passes."""
    config = RunConfig(
        "paired",
        generator=GeneratorConfig(width=4, depth=1, memory="lean", slabs=4),
        discriminator=DiscriminatorConfig(width=4),
        runtime=RuntimeConfig("cpu"),
    )
    work = planned_workload(config, Domains(2, (3, 3)), 128)
    budget = predict_training(work.with_generator(slabs=0, stored_blocks=1)).total
    runtime = replace(config.runtime, memory_budget=f"{budget}B")
    return make_plan(replace(work, config=replace(config, runtime=runtime)))


def test_the_plan_shows_needs_and_what_fits(planned):
    console = Console(file=StringIO(), width=80)
    print_plan(planned, console)
    output = console.file.getvalue()
    assert output.startswith("paired RevGAN, width 4, depth 1, 1 x 128 x 128, float32 on cpu\n")
    for mode in ("naive", "reversible", "lean", "lean, 4 slabs", "translation"):
        assert f"│ {mode} " in output
    assert "…" not in output
    assert f"Within {format_bytes(planned.budget)}:" in output
    assert "│ lean with 1 of 1 blocks stored │" in output
    assert "largest size, training in lean with 4 slabs" in output


def test_json_has_every_number_in_bytes(planned):
    content = json.loads(planned.to_json())
    assert content["spatial_dims"] == 2
    assert content["budget"] == planned.budget
    assert list(content["training"]) == ["naive", "reversible", "lean", "lean with 4 slabs"]
    for needed in (*content["training"].values(), content["translation"]):
        total = needed.pop("total")
        assert list(needed) == ["parameters", "gradients", "optimizer_states", "activations"]
        assert sum(needed.values()) == total
    assert content["auto"] == "lean with 1 of 1 blocks stored"
    largest = content["largest"]
    assert largest["memory"] == "lean with 4 slabs"
    assert min(largest["size"], largest["translated_size"]) >= 128
    assert min(largest["depth"], largest["batch_size"]) >= 1


def test_without_a_budget_the_free_memory_is_taken_less_a_margin(monkeypatch):
    monkeypatch.setattr(fit, "free_memory", lambda device: 2.5 * 2**20)
    assert plan_budget(Workload(RunConfig(), 128)) == int(2.25 * 2**20)


def test_a_gpu_that_is_not_there_can_be_planned_for(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    output = plan(capsys, "--runtime.device=cuda", "--objective=paired")
    assert "bf16 on cuda" in output
    assert "give --memory-budget" in output
    assert "Within" not in output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--size", "30"], "--size must be a multiple of 4 from 24 up, not 30"),
        (["--channels", "0", "3"], "--channels must be 1 or more, not 0"),
        (["--spatial-dims", "4"], "--spatial-dims must be one of 2, 3, not 4"),
        (["--run", "x"], "unrecognized arguments: --run;"),
        (["--memory-budget", "much"], "must be a size such as 8GiB or 500MB, not 'much'"),
        (["--channels", "1", "3"], "set --losses.identity_weight 0"),
        (["nowhere"], "nowhere is not a run folder"),
    ],
)
def test_a_wrong_question_is_told_what_would_be_right(capsys, arguments, expected):
    assert expected in refusal(capsys, "plan", *TINY, *arguments)


@pytest.fixture
def images(tmp_path):
    return make_images(tmp_path / "images")


def test_a_run_folder_is_planned_with_its_own_options(capsys, images, tmp_path):
    assert train(images, tmp_path / "run", generator__memory="lean", objective="paired") == 0
    capsys.readouterr()
    ask = ["plan", str(tmp_path / "run"), "--json", "--memory-budget=0.25MiB"]
    assert main([*ask, "--generator.slabs=0"]) == 0
    content = json.loads(capsys.readouterr().out)
    trained = stored_config(tmp_path / "run" / "config.yaml").generator
    assert (trained.width, trained.memory) == (2, "lean")
    assert content["generator"] == asdict(replace(trained, slabs=0))
    assert (content["size"], content["budget"]) == (32, 2**18)
    message = refusal(capsys, "plan", tmp_path / "run", "--preset", "paper")
    assert message == "a run folder has its own options; omit --preset"


def use_of_memory(run):
    """What a run's config.yaml says."""
    content = yaml.safe_load((run / "config.yaml").read_text())
    generator = content["generator"]
    assert content["runtime"]["memory_budget"] is None
    return generator["memory"], generator["stored_blocks"], generator["slabs"]


def test_a_resumed_run_takes_what_auto_chose_until_an_option_changes_it(
    capsys, images, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    assert train(images, run, "--training.batch_size=1", objective="paired") == 0

    def resumed(steps, *options):
        capsys.readouterr()
        assert main(["train", "--resume", str(run), f"--training.steps={steps}", *options]) == 0
        return capsys.readouterr().out

    work = Workload(stored_config(run / "config.yaml"), 32)
    needed = predict_training(work.with_generator(memory="lean", slabs=2)).total
    told = resumed(3, "--generator.memory=auto", f"--memory-budget={needed}B")
    assert "memory auto from here on, not naive; results may differ by rounding\n" in told
    assert "\nmemory auto: lean with 2 slabs, " in told
    assert use_of_memory(run) == ("lean", 0, 2)

    monkeypatch.setattr(fit, "free_memory", lambda device: 2**40)  # as on another machine
    told = resumed(4)
    assert "from here on" not in told
    assert "memory auto" not in told
    assert "memory lean with 2 slabs, as before, whatever the budget" in resumed(
        5, "--memory-budget=1GiB"
    )
    assert use_of_memory(run) == ("lean", 0, 2)
    told = resumed(6, "--generator.slabs=4")
    assert "memory lean with 4 slabs from here on, not lean with 2 slabs; results may" in told
    assert use_of_memory(run) == ("lean", 0, 4)
    told = resumed(7, "--generator.memory=reversible")
    assert "memory reversible from here on, not lean with 4 slabs" in told
    assert use_of_memory(run) == ("reversible", 0, None)


def test_the_choice_is_written_into_a_new_run(capsys, images, tmp_path):
    run = tmp_path / "run"
    assert train(images, run, "--memory-budget", "1GiB", generator__memory="auto") == 0
    assert "\nmemory auto: naive, " in capsys.readouterr().out
    assert use_of_memory(run) == ("naive", 0, 0)


def test_a_budget_that_fits_nothing_ends_before_the_run_begins(capsys, images, tmp_path):
    capsys.readouterr()
    auto = {"generator__memory": "auto", "generator__slabs": 0}
    code = train(images, tmp_path / "run", "--memory-budget=1MiB", **auto)
    assert "but only 1.0 MiB are available" in sentence(capsys, code, status=1)
    assert not (tmp_path / "run").exists()


def test_a_budget_for_a_named_mode_is_refused(capsys, images):
    message = refusal(
        capsys, "train", images, "--memory-budget=1GiB", "--generator.memory=lean", status=2
    )
    assert message == (
        "--memory-budget needs generator.memory auto, not lean; give "
        "--generator.memory auto, or --memory-budget null"
    )


def test_an_earlier_run_that_kept_auto_and_its_budget_goes_on(capsys, images, tmp_path):
    run = tmp_path / "run"
    assert train(images, run) == 0
    config = run / "config.yaml"
    kept = config.read_text().replace("memory: naive", "memory: auto")
    config.write_text(kept.replace("memory_budget: null", "memory_budget: 1GiB"))
    go_on = ["train", "--resume", str(run)]
    lean = [*go_on, "--generator.memory=lean", "--training.steps=3"]
    assert refusal(capsys, *lean, status=2).endswith("or --memory-budget null")
    assert main([*go_on, "--training.steps=3"]) == 0
    assert use_of_memory(run) == ("naive", 0, 0)


@pytest.mark.parametrize("memory", ["auto", "naive"])
def test_stored_blocks_are_refused_where_they_would_do_nothing(capsys, memory):
    message = refusal(
        capsys,
        "plan",
        *TINY,
        f"--generator.memory={memory}",
        "--generator.stored_blocks=1",
        status=2,
    )
    assert message == (
        f"--generator.stored_blocks must be 0 with memory {memory}, not 1; only reversible and "
        "lean take such a number"
    )


def test_a_run_is_planned_with_the_channels_of_its_model(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # without a budget, no searches
    images = make_images(tmp_path / "images", channels=(1, 3))
    run = tmp_path / "run"
    assert train(images, run, objective="paired", generator__memory="naive") == 0
    ask = ["plan", str(run), "--json", "--runtime.device=cuda", "--generator.slabs=0"]

    def planned(*more):
        capsys.readouterr()
        assert main([*ask, *more]) == 0
        content = json.loads(capsys.readouterr().out)
        return content["spatial_dims"], content["channels"]

    assert planned() == (2, [1, 3])
    assert planned("--channels", "2", "2") == (2, [2, 2])
    model = run / "model" / "config.yaml"
    model.write_text(model.read_text().replace("spatial_dims: 2", "spatial_dims: 3"))
    assert planned() == (3, [1, 3])
    model.write_text("model: other")
    assert "config.yaml can't be read" in refusal(capsys, *ask, status=1)
    model.unlink()
    assert planned() == (2, [3, 3])


def test_a_named_mode_is_trained_without_the_planner(images, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(prediction, "predict_step", refuse)
    assert train(images, tmp_path / "run", generator__memory="reversible") == 0


def test_auto_is_the_default():
    assert RunConfig().generator.memory == "auto"
