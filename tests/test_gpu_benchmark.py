"""benchmarks/gpu.py: every part runs, tiny, on the CPU; what is there stays, what fails is told.

The parts are those that a GPU runs in its 25 minutes, so that an error in them shows before. They
take longer than other tests: each of them trains several networks, and compiles some.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from revgan.benchmark import paper_tables, variants
from revgan.networks import DiscriminatorConfig
from revgan.training import RunConfig

pytestmark = [  # PyTorch's own, while it compiles
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """The scripts can be imported, as they import each other; small judges and few slabs."""
    small = partial(RunConfig, discriminator=DiscriminatorConfig(width=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import gpu_graphs
        import gpu_parts

        for module in (variants, paper_tables, gpu_graphs):
            patch.setattr(module, "RunConfig", small)
        patch.setattr(gpu_parts, "installed_variants", lambda: ["cyclegan", "naive", "slabs"])
        patch.setattr(variants, "SLABS", 2)
        yield gpu_parts


@pytest.fixture(scope="module")
def records(scripts):
    import gpu_record

    return gpu_record


@pytest.fixture(scope="module")
def results(scripts, records, tmp_path_factory):
    """All parts that need no process of their own, once."""
    folder = tmp_path_factory.mktemp("gpu")
    names = "exactness", "peers-2d-float32", "peers-3d-bf16", "fits", "paper", "graphs"
    for name in names:
        scripts.run(name, records.Setting("cpu", True, folder, time.monotonic() + 600))
    return folder


def part(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_every_part_measures_all_its_rows_without_an_error(results):
    for path in results.glob("*.json"):
        content = part(results, path.stem)
        assert content["complete"]
        assert content["rows"]
        assert content["errors"] == {}
    assert len(part(results, "exactness")["rows"]) == 3  # 2D and 3D, float32; 2D, bf16


def test_recomputation_without_slabs_has_naives_bits_and_the_core_returns_its_input(results):
    for key, row in part(results, "exactness")["rows"].items():
        for mode in ("naive again", "reversible", "lean"):
            assert row[mode]["equal_to_naive"]
        # Slabs round in another order, and so are another, but not a worse neighbour of float64.
        # In bf16, of so small a network, chance alone moves a distance by a fifth: at 64 and 96
        # pixels, width 8 and 16, slabs had 0.88 to 0.98 of naive's.
        of_slabs, of_naive = (row[mode]["distance_to_float64"] for mode in ("slabs", "naive"))
        assert 0 < of_slabs < (1.25 if "bf16" in key else 1.1) * of_naive
        assert row["core"]["returns_its_input"]


def test_a_step_that_tensors_alone_decide_has_the_losses_of_the_trainers_step(scripts):
    from gpu_graphs import Learner

    ours, plain = (
        Learner(32, 4, 1, "naive", scripts.RuntimeConfig("cpu", "float32")) for _ in range(2)
    )
    step = lambda: setattr(plain, "losses", plain.trainer.step(plain.batch, 0))  # noqa: E731
    assert torch.equal(ours.run(ours.capture(), 2), plain.run(step, 2))


def test_compiled_steps_have_the_losses_of_ordinary_ones(results):
    for key, row in part(results, "graphs")["rows"].items():
        assert row["ordinary_twice_equal"]
        assert row["losses_equal"] or "compiled" in key
        assert row["largest_difference"] < (0.1 if "bf16" in key else 1e-4)


def test_tables_tell_what_was_predicted_what_was_measured_and_what_failed(results, scripts):
    import gpu_tables

    assert "| fits | complete |" in gpu_tables.tables(results, {})
    case = scripts.peer_cases(2, small=True)[0]
    row = next(
        row
        for row in json.loads((results / "peers-2d-float32" / "results.json").read_text())["rows"]
        if row["variant"] == "slabs"
    )
    key = scripts.predicted_key(case, "slabs", "float32")
    assert key in scripts.predicted_workloads(small=True)
    table = gpu_tables.tables(results, {key: {"peak": row["peak_bytes"]}})
    assert "| 1.000 |" in table
    assert "Exactness" in table
    assert "as graphs" in table


def test_a_row_that_fails_is_recorded_and_not_tried_again(records, tmp_path):
    setting = records.Setting("cpu", True, tmp_path, time.monotonic() + 60)
    path = tmp_path / "some.json"
    record = records.PartRecord(path)

    def fail():
        raise ValueError("no such kernel")

    assert record.measure("bad", fail, setting)
    assert record.measure("good", lambda: {"x": 1}, setting)
    again = records.PartRecord(path)
    assert "no such kernel" in again.errors["bad"]
    assert again.rows["good"]["x"] == 1
    assert again.measure("bad", None, setting)  # nothing is called
    assert again.measure("good", None, setting)
    late = records.Setting("cpu", True, tmp_path, time.monotonic())
    assert not again.measure("new", None, late)
    assert not again.complete


def test_an_error_of_the_gpu_ends_the_process_which_leaves_word(records, tmp_path):
    setting = records.Setting("cpu", True, tmp_path, time.monotonic() + 60)
    record = records.PartRecord(tmp_path / "some.json")

    def fail():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="CUDA error"):
        record.measure("bad", fail, setting)
    assert "illegal memory access" in records.PartRecord(tmp_path / "some.json").errors["bad"]


def test_what_the_time_was_too_short_for_is_tried_again(records, tmp_path):
    record = records.PartRecord(tmp_path / "some.json")
    record.fail("killed", records.UNFINISHED)
    record.fail("bad", "out of memory")
    record.forget_unfinished()
    assert records.PartRecord(tmp_path / "some.json").errors == {"bad": "out of memory"}


def test_the_command_runs_parts_in_processes_and_skips_what_is_there(tmp_path, capsys, monkeypatch):
    import gpu

    def here(command, timeout, check):
        """A process fewer; the part itself starts another one, pytest's."""
        assert command[:2] == [sys.executable, gpu.__file__]
        gpu.main(command[2:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(gpu, "subprocess", SimpleNamespace(run=here, TimeoutExpired=OSError))
    command = ["--device", "cpu", "--small", "--parts", "tests", "--output", str(tmp_path)]
    command += ["--seconds", "300"]
    gpu.main(command)
    assert "tests: 120 s" in capsys.readouterr().out
    rows = part(tmp_path, "tests")["rows"]
    assert all(row["failed"] == {} for row in rows.values())
    assert "| tests | complete |" in (tmp_path / "table.md").read_text()
    gpu.main(command)
    assert "tests: 120 s" not in capsys.readouterr().out
