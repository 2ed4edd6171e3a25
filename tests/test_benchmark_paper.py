"""The paper's Tables 2, 3 and 4, and their rows measured here."""

import io
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from rich.console import Console
from torch.optim.optimizer import register_optimizer_step_pre_hook

from revgan.benchmark import paper_measuring as paper_measure
from revgan.benchmark import paper_tables
from revgan.benchmark import sessions as command
from revgan.benchmark.paper_measuring import (
    MEMORY_STEPS,
    Measurement,
    MemoryUse,
    Spread,
    TrainingCost,
    measure_paper_case,
)
from revgan.benchmark.paper_results import HEADINGS, NOTES, PaperResults, row_lines
from revgan.benchmark.paper_tables import (
    Mode,
    PaperCase,
    PaperRow,
    TableNumber,
    is_joint,
    paper_rows,
)
from revgan.benchmark.recording import Conditions
from revgan.benchmark.variants import random_batch
from revgan.cli import main
from revgan.memory import StepMemory, measure_step
from revgan.networks import DiscriminatorConfig, build_generator
from revgan.training.config import RunConfig, RuntimeConfig, preset_path
from revgan.training.setup import make_accelerator

CPU = RuntimeConfig("cpu", "float32")
TINY = PaperCase("Unpaired RevGAN", size=32, width=2, depth=2)
MODES = get_args(Mode)
MIB = 2**20
RECORDED = Path(__file__).parent.parent / "benchmarks" / "results" / "paper-cpu"


# The paper's rows


def test_every_row_of_the_tables_is_there():
    models = {
        table: [(row.case.model, row.case.width, row.case.depth) for row in paper_rows(table)]
        for table in get_args(TableNumber)
    }
    unpaired, paired = "Unpaired RevGAN", "Paired RevGAN"
    assert models[2] == [
        ("CycleGAN", 32, 6),
        (unpaired, 32, 6),
        (unpaired, 56, 6),
        ("Pix2pix", 32, 6),
        (paired, 32, 6),
        (paired, 56, 6),
    ]
    assert models[3] == [
        ("CycleGAN", 32, 9),
        *((unpaired, width, 9) for width in (32, 58, 64)),
        ("Pix2pix", 32, 9),
        *((paired, width, 9) for width in (32, 58, 64)),
    ]
    assert models[4] == [
        *(("CycleGAN", 32, depth) for depth in (6, 9, 12, 18, 30)),
        *((unpaired, 58, depth) for depth in (6, 9, 12, 18, 30)),
    ]
    sizes = [{row.case.size for row in paper_rows(table)} for table in get_args(TableNumber)]
    assert sizes == [{128}, {256}, {256}]


def test_every_row_has_the_numbers_that_its_model_can_have():
    for table in get_args(TableNumber):
        for row in paper_rows(table):
            printed = [row.model_memory, row.naive_memory, row.naive_seconds]
            saving = [row.saving_memory, row.saving_seconds]
            assert (saving == [None, None]) != row.case.reversible
            for text in printed + (saving if row.case.reversible else []):
                mean, sign, sd = text.split()
                assert sign == "±"
                assert float(mean) > float(sd) >= 0


def test_rows_that_two_tables_share_were_measured_alike_in_the_paper():
    # The same training twice: memory to 0.1 MB, time to 0.01 s.
    third, fourth = ({row.case: row for row in paper_rows(table)} for table in (3, 4))
    shared = third.keys() & fourth.keys()
    assert {(case.model, case.width) for case in shared} == {
        ("CycleGAN", 32),
        ("Unpaired RevGAN", 58),
    }
    for case in shared:
        for name, tolerance in (("model_memory", 0.1), ("naive_memory", 0.2)):
            left, right = (float(getattr(rows[case], name).split()[0]) for rows in (third, fourth))
            assert abs(left - right) < tolerance


def parameters(case):
    with torch.device("meta"):
        generator = build_generator(case.config("naive").generator, 2, 3, 3)
    return sum(weight.numel() for weight in generator.parameters())


@pytest.mark.parametrize("table", get_args(TableNumber))
def test_our_parameters_are_those_printed(table):
    for row in paper_rows(table):
        if table == 4 and row.case.reversible:
            continue
        assert f"{parameters(row.case) / 1e6:.1f}" == row.parameters


def test_table_4_prints_the_parameters_of_width_32_for_revgan():
    rows = [row for row in paper_rows(4) if row.case.reversible]
    for row in rows:
        printed = float(row.parameters)
        narrow = parameters(replace(row.case, width=32)) / 1e6
        # Rounded down in three of five rows, and 3.05 up: by less than one in the digit printed.
        assert abs(narrow - printed) < 0.1
        assert parameters(row.case) / 1e6 > 3 * printed
    assert "width 32" in NOTES[4]


# What is trained


def test_losses_discriminators_and_optimizer_are_as_in_the_default_preset(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(paper_tables, "RunConfig", RunConfig)
        config = TINY.config("naive")
    assert replace(config, generator=RunConfig().generator) == RunConfig()
    preset = yaml.safe_load(preset_path("default").read_text())
    del preset["generator"], preset["training"]  # networks are the paper's, without an average
    for section, values in preset.items():
        for name, value in values.items():
            assert getattr(getattr(config, section), name) == value


@pytest.mark.parametrize(
    ("model", "objective", "network"),
    [
        ("CycleGAN", "unpaired", "resnet"),
        ("Pix2pix", "paired", "resnet"),
        ("Unpaired RevGAN", "unpaired", "revgan"),
        ("Paired RevGAN", "paired", "revgan"),
    ],
)
def test_a_model_is_a_generator_and_an_objective(model, objective, network):
    case = replace(TINY, model=model)
    config = case.config("naive")
    assert (config.objective, config.generator.model) == (objective, network)
    assert case.modes(MODES) == (list(MODES) if network == "revgan" else ["naive", "joint"])
    assert case.modes([]) == ["naive"]


def test_only_our_own_modes_keep_the_stream_on_the_grid():
    for mode in MODES:
        assert TINY.config(mode).generator.exact != is_joint(mode)


# Measuring


@pytest.fixture(scope="module", autouse=True)
def _small_judges():
    """Judges of width 4: those of width 64 take most of a tiny step's time."""
    small = partial(RunConfig, discriminator=DiscriminatorConfig(width=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper_tables, "RunConfig", small)
        yield


def started(case, mode, dtype=torch.float32):
    """The players and a step of a training as it is measured."""
    accelerator = make_accelerator(CPU)
    batch = random_batch((1, 3, case.size, case.size), accelerator.device, dtype)
    trainer, step = paper_measure._start(case, mode, accelerator, batch)
    for network in (trainer.players.generator, trainer.players.judge_a, trainer.players.judge_b):
        network.to(dtype)
    return trainer.players, step


@pytest.fixture(scope="module")
def measured():
    return [
        measure_paper_case(replace(TINY, model=model), mode, CPU, warmup=1, samples=2)
        for model, mode in (
            ("CycleGAN", "joint"),
            ("Pix2pix", "naive"),
            ("Unpaired RevGAN", "reversible"),
            ("Unpaired RevGAN", "joint-reversible"),
            ("Paired RevGAN", "lean"),
        )
    ]


def test_each_model_is_measured_in_its_modes(measured):
    for found in measured:
        assert found.failure is None
        figures = found.figures
        assert figures.parameters == parameters(found.case)
        assert figures.seconds.mean > 0
        assert figures.allocator.activation_bytes.mean > 0
        assert figures.driver is None


def test_model_memory_is_that_of_weights_and_optimizer_states(measured):
    for found in measured:
        players, _ = started(found.case, found.mode)
        weights = [
            weight
            for network in (players.generator, players.judge_a, players.judge_b)
            for weight in network.parameters()
        ]
        # Adam keeps two moments of each weight, and a counter of four bytes; six numbers tell a
        # trainer whether the last translations varied.
        expected = 3 * sum(weight.nbytes for weight in weights) + 4 * len(weights)
        expected += 0 if is_joint(found.mode) else 6 * 4
        assert found.figures.allocator.model_bytes == expected


def test_the_peak_is_measured_in_a_few_steps_beside_the_timed_ones(monkeypatch):
    steps = []

    def counting(*arguments):
        trainer, step = start(*arguments)
        return trainer, lambda: steps.append(step())

    start = paper_measure._start
    monkeypatch.setattr(paper_measure, "_start", counting)
    measure_paper_case(TINY, "naive", CPU, warmup=3, samples=2)
    assert len(steps) == 3 + 2 + MEMORY_STEPS


def gradients(case, mode):
    """Those of the generator in the first step, in float64, as one vector."""
    players, step = started(case, mode, torch.float64)
    found = []

    def keep(*arguments):
        if not found:
            weights = players.generator.parameters()
            found.append(torch.cat([weight.grad.flatten() for weight in weights]))

    hook = register_optimizer_step_pre_hook(keep)
    step()
    hook.remove()
    return found[0]


@pytest.mark.parametrize("model", ["Unpaired RevGAN", "Paired RevGAN"])
def test_recomputation_does_not_change_the_gradients_of_all_losses_at_once(model):
    case = replace(TINY, model=model)
    stored, recomputed = (gradients(case, mode) for mode in ("joint", "joint-reversible"))
    # Recomputed inputs differ by float64's rounding, 1e-16, enlarged by two blocks.
    assert (stored - recomputed).norm() / stored.norm() < 1e-12


def test_recomputation_saves_memory_with_all_losses_at_once():
    # So deep that the core's activations are most of the memory.
    case = PaperCase("Unpaired RevGAN", size=64, width=8, depth=16)
    peaks = []
    for mode in ("joint", "joint-reversible"):
        _, step = started(case, mode)
        step()
        peaks.append(measure_step(step).peak)
    assert peaks[1] < 0.4 * peaks[0]


def test_out_of_memory_is_a_result(monkeypatch):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(paper_measure, "_start", fail)
    found = measure_paper_case(TINY, "naive", CPU, warmup=1, samples=2)
    assert found.figures is None
    assert found.failure == "out of memory"


def test_an_error_of_our_own_is_not_hidden(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(paper_measure, "_start", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        measure_paper_case(TINY, "naive", CPU, warmup=1, samples=2)


def test_on_a_gpu_each_timed_step_tells_its_memory_and_the_drivers(monkeypatch):
    def measure(step, device):
        step()
        return StepMemory(peak=100, retained=0)

    frees = iter((70, 60))
    monkeypatch.setattr(paper_measure, "measure_step", measure)
    monkeypatch.setattr(paper_measure, "step_seconds", lambda step, device: step())
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (next(frees), 90))
    seconds = iter((0.25, 0.5))
    taken = paper_measure._sample(lambda: next(seconds), torch.device("cuda"), samples=2)
    assert taken == ([0.25, 0.5], [100, 100], [20, 30])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpus_driver_is_asked_too():
    runtime = RuntimeConfig("cuda", "float32")
    figures = measure_paper_case(TINY, "naive", runtime, warmup=2, samples=3).figures
    assert figures.driver.model_bytes > figures.allocator.model_bytes > 0
    assert figures.allocator.activation_bytes.mean > 0
    assert figures.driver.activation_bytes.mean > 0


# From the command line to the files


@pytest.fixture
def pretended(monkeypatch):
    """Cases and modes measured by the command, in place of really measuring them."""
    done = []

    def measure(case, mode, runtime, warmup, samples):
        done.append((case, mode))
        return measurement(case, mode)

    monkeypatch.setattr(command, "measure_paper_case", measure)
    return done


def measurement(case, mode, driver=None, activations=64 * MIB):
    """A measurement without measuring; the modes that save memory save half."""
    share = 0.5 if mode not in ("naive", "joint") else 1
    memory = MemoryUse(32 * MIB, Spread(share * activations, 0.25 * MIB))
    figures = TrainingCost(1_274_374, Spread(0.25 / share, 0.0125), memory, driver)
    return Measurement(case, mode, figures, None, "2026-11-22")


def run(folder, *more, tables=(2,), warmup=1, samples=2):
    """Runs the command; returns the exit status."""
    given = ["--warmup", warmup, "--samples", samples, "--output", folder, "--device", "cpu"]
    arguments = ["--table", *tables, *given, *more]
    return main(["benchmark", "paper", *map(str, arguments)])


def rows(folder):
    return json.loads((folder / "results.json").read_text())["rows"]


def test_a_row_goes_from_the_command_line_to_the_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "paper_rows", lambda table: paper_rows(2)[1:2])
    small = replace(TINY, model="Unpaired RevGAN")

    def measure(case, *others):
        return replace(measure_paper_case(small, *others), case=case)

    monkeypatch.setattr(command, "measure_paper_case", measure)
    assert run(tmp_path) == 0
    assert [(row["case"]["width"], row["mode"]) for row in rows(tmp_path)] == [
        (32, "naive"),
        (32, "reversible"),
    ]
    table = (tmp_path / "table.md").read_text()
    assert "| Unpaired RevGAN | 32 | 6 | paper | 1.3 | 334.8 ± 0.43 | 682.3 ± 0.43 |" in table
    assert "here: of 2 samples after 1." in table
    out = capsys.readouterr().out
    assert "1 of 2: Unpaired RevGAN, 128 x 128, width 32, depth 6, naive" in out
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "table.md"}


def test_the_recorded_results_can_be_gone_on_with(tmp_path):
    before = json.loads((RECORDED / "results.json").read_text())
    shutil.copy(RECORDED / "results.json", tmp_path)
    settings = {name: before[name] for name in ("precision", "warmup", "samples")}
    conditions = Conditions(before["machine"], before["versions"], settings)
    results = PaperResults(tmp_path, conditions, "cpu", before["last_command"])
    results.add(measurement(TINY, "lean"))
    *rows, _ = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert rows == before["rows"]
    assert results.has(PaperCase("CycleGAN", 128, 32, 6), "naive")


def test_results_say_what_they_were_measured_with(tmp_path, pretended):
    run(tmp_path)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["last_command"].startswith("revgan benchmark paper --table 2")
    assert content["versions"]["torch"] == torch.__version__
    assert content["machine"].keys() == {"device", "cores", "threads", "platform"}
    settings = [content[name] for name in ("precision", "warmup", "samples")]
    assert settings == ["float32", 1, 2]


def test_naive_and_the_modes_asked_for_are_measured_where_they_can_be(tmp_path, pretended):
    run(tmp_path, "--modes", "lean", "joint")
    modes = {}
    for case, mode in pretended:
        modes.setdefault(case.model, set()).add(mode)
    assert modes["CycleGAN"] == modes["Pix2pix"] == {"naive", "joint"}
    assert modes["Unpaired RevGAN"] == modes["Paired RevGAN"] == {"naive", "lean", "joint"}


def test_a_row_in_two_tables_is_measured_once(tmp_path, pretended):
    run(tmp_path, tables=(3, 4))
    assert len(pretended) == len(set(pretended)) == 14 + 12
    table = (tmp_path / "table.md").read_text()
    assert table.count("| Unpaired RevGAN | 58 | 9 | paper |") == 2


def test_what_is_there_is_not_measured_again(tmp_path, pretended):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    pretended.clear()
    assert run(tmp_path) == 0
    assert pretended == []
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    run(tmp_path, "--modes", "lean")
    assert {mode for _, mode in pretended} == {"lean"}


def test_what_was_interrupted_goes_on_with_what_is_missing(tmp_path, monkeypatch, pretended):
    pretend = command.measure_paper_case

    def stop(case, *others):
        if case.width == 56:
            raise KeyboardInterrupt
        return pretend(case, *others)

    with monkeypatch.context() as patch:
        patch.setattr(command, "measure_paper_case", stop)
        assert run(tmp_path) == 130
    done = list(pretended)
    assert len(rows(tmp_path)) == len(done) == 3
    assert run(tmp_path) == 0
    assert pretended[: len(done)] == done
    assert len(pretended) == len(set(pretended)) == len(rows(tmp_path)) == 10


def test_what_does_not_fit_is_told_and_not_tried_again(tmp_path, monkeypatch, capsys):
    tried = []

    def fail(case, mode, *others):
        tried.append((case, mode))
        return Measurement(case, mode, None, "out of memory", "2026-11-22")

    monkeypatch.setattr(command, "measure_paper_case", fail)
    assert run(tmp_path) == run(tmp_path) == 0
    assert len(tried) == 10
    table = (tmp_path / "table.md").read_text()
    assert "|  |  |  | here | - | - | failed | failed | n/a | n/a | n/a | n/a |" in table
    assert "|  |  |  | here | - | - | failed | failed | failed | failed | - | - |" in table
    assert "- CycleGAN, 128 x 128, width 32, depth 6, naive: out of memory" in table
    assert "naive: out of memory" in capsys.readouterr().out


# Tables


ROW = PaperRow(
    PaperCase("Unpaired RevGAN", 128, 32, 6),
    *("1.3", "334.8 ± 0.43", "682.3 ± 0.43", "0.67 ± 0.03", "366.53 ± 0.50", "0.63 ± 0.02"),
)


def lines(row, *measurements):
    cells = row_lines(row, {found.mode: found for found in measurements})
    assert all(len(line) == len(HEADINGS) for line in cells)
    return [" | ".join(line) for line in cells]


def test_ours_stands_below_the_papers_with_the_ratios_of_both():
    assert lines(ROW, measurement(ROW.case, "naive"), measurement(ROW.case, "reversible")) == [
        "Unpaired RevGAN | 32 | 6 | paper | 1.3 | 334.8 ± 0.43 | 682.3 ± 0.43 | 0.67 ± 0.03"
        " | 366.53 ± 0.50 | 0.63 ± 0.02 | 0.54 | 0.94",
        " |  |  | here | 1.27 | 32.0 | 64.0 ± 0.2 | 0.250 ± 0.013"
        " | 32.0 ± 0.2 | 0.500 ± 0.013 | 0.50 | 2.00",
    ]


def test_other_modes_have_lines_of_their_own():
    measured = [measurement(ROW.case, mode) for mode in MODES]
    assert [line.split(" | ")[3] for line in lines(ROW, *measured)] == [
        "paper",
        "here",
        "lean",
        "joint",
    ]
    _, here, joint = lines(ROW, measurement(ROW.case, "naive"), measurement(ROW.case, "joint"))
    for line in (here, joint):
        assert line.endswith("| 64.0 ± 0.2 | 0.250 ± 0.013 | - | - | - | -")


def test_a_baseline_has_nothing_to_save():
    row = PaperRow(
        PaperCase("CycleGAN", 128, 32, 6), "3.9", "367.0 ± 0.00", "650.0 ± 0.00", "0.63 ± 0.02"
    )
    for line in lines(row, measurement(row.case, "naive")):
        assert line.endswith("| n/a | n/a | n/a | n/a")


def test_the_drivers_memory_stands_below_the_allocators():
    naive, saving = (
        measurement(ROW.case, mode, MemoryUse(500 * MIB, Spread(use * MIB, MIB)))
        for mode, use in (("naive", 2000), ("reversible", 900))
    )
    assert lines(ROW, naive, saving)[-1] == (
        " |  |  | driver |  | 500.0 | 2000 ± 1 |  | 900.0 ± 1.0 |  | 0.45 | "
    )


def test_tables_fit_a_terminal(tmp_path, monkeypatch):
    settings = {"precision": "float32", "warmup": 100, "samples": 100}
    results = PaperResults(tmp_path, Conditions({}, {}, settings), "cuda", "")
    monkeypatch.setattr(results, "_write", lambda: None)
    driver = MemoryUse(1500 * MIB, Spread(78_000 * MIB, MIB))
    for table in get_args(TableNumber):
        for row in paper_rows(table):
            for mode in row.case.modes(MODES):
                results.add(measurement(row.case, mode, driver, activations=12_345 * MIB))
    for width in (100, 160):
        console = Console(width=width, record=True, file=io.StringIO())
        for table in results.tables(get_args(TableNumber), width):
            console.print(table)
        text = console.export_text()
        assert "…" not in text
        assert ("367.0 ± 0.00" in text) == (width == 160)
        assert "78000" in text
        assert all(note.split()[-1] in text for note in NOTES.values())


# Refusals


def refusal(capsys, *arguments, status, **how):
    capsys.readouterr()
    assert run(*arguments, **how) == status
    error = capsys.readouterr().err
    assert error.startswith("revgan: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("--table", "5", "must be one of 2, 3, 4, not 5"),
        ("--modes", "fast", "must be one of reversible, lean, joint, joint-reversible, not fast"),
        ("--warmup", "0", "must be 1 or more"),
        ("--samples", "1", "must be 2 or more"),
        ("--samples", "many", "must be a whole number"),
        ("--precision", "fp16", "must be one of float32, bf16, not fp16"),
    ],
)
def test_a_wrong_option_is_told_what_would_be_right(capsys, tmp_path, option, value, right):
    message = refusal(capsys, tmp_path, option, value, status=2)
    assert option.strip("-") in message
    assert right in message
    assert value in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["warmup", "samples"])  # more in test_benchmark.py
def test_results_of_other_samples_are_not_mixed(capsys, tmp_path, pretended, other):
    run(tmp_path)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {other: "another"}))
    message = refusal(capsys, tmp_path, tables=(3,), status=1)
    assert f"was measured with {other} another" in message


def test_another_commands_results_are_refused(capsys, tmp_path, pretended):
    path, text = tmp_path / "results.json", '{"rows": [{}]}'
    path.write_text(text)
    assert "no results of revgan benchmark paper" in refusal(capsys, tmp_path, status=1)
    assert path.read_text() == text


def test_help_tells_the_options(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "paper", "--help"])
    out = capsys.readouterr().out
    assert "revgan benchmark paper" in out
    assert "--table" in out
