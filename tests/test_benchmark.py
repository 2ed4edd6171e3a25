"""Ways to train, measured side by side."""

import json
import shutil
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from revgan.benchmark import cases, measuring, peers, variants
from revgan.benchmark import results as results_module
from revgan.benchmark import sessions as command
from revgan.benchmark.measuring import MeasuredStep, measure_case
from revgan.benchmark.recording import Conditions
from revgan.benchmark.results import StepResults
from revgan.benchmark.variants import Case, build_variant
from revgan.cli import main
from revgan.networks import DiscriminatorConfig, RevGenerator
from revgan.training.config import RunConfig, RuntimeConfig
from revgan.training.setup import make_accelerator

CPU = RuntimeConfig("cpu", "float32")
CASE = Case("unpaired", 2, size=32, width=4, depth=2)
PASSES = 6  # of the generator in an unpaired step: two identities, two cycles of two
OURS = ("naive", "checkpoint", "reversible", "lean")
MEASUREMENTS = ("median_s", "peak_bytes", "core_bytes", "gmac", "gradient_error", "naive_error")
RECORDED = Path(__file__).parent.parent / "benchmarks" / "results"
TINY = ["--sizes", "32", "--widths", "4", "--repeats", "2", "--device", "cpu"]

packages = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(not find_spec(name), reason=f"{name} is an extra: compare"),
    )
    for name in ("memcnn", "revtorch")
]


def run(folder, *more, variants=("naive", "lean"), depths=(1,)):
    """Runs a tiny benchmark; returns the exit status."""
    given = ["--variants", *variants, "--depths", *map(str, depths), "--output", str(folder)]
    return main(["benchmark", *TINY, *given, *map(str, more)])


def rows(folder):
    return json.loads((folder / "results.json").read_text())["rows"]


def gradients(name, case=CASE, **how):
    accelerator = make_accelerator(CPU)
    return measuring.first_gradients(build_variant(name, case, accelerator, **how))


@pytest.fixture(scope="module", autouse=True)
def _small_judges():
    """Judges of width 4: those of width 64 take most of a tiny step's time."""
    small = partial(RunConfig, discriminator=DiscriminatorConfig(width=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "RunConfig", small)
        yield


@pytest.fixture
def measured(monkeypatch):
    """Cases measured by the command, in place of really measuring them."""
    done = []

    def measure(case, names, runtime, repeats):
        done.append((case.depth, tuple(names)))
        return [
            MeasuredStep(case, name, 1.0, 0.9, 1.1, 2**20, 2**10, 1.0, 1e-3, 0.0) for name in names
        ]

    monkeypatch.setattr(command, "measure_case", measure)
    monkeypatch.setattr(results_module, "save_figure", lambda figure, path: path.touch())
    return done


# From the command line to the files


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "cpu"
    assert run(folder, variants=("joint", *OURS), depths=(1, 2)) == 0
    return folder


def test_each_variant_is_measured_in_each_case(results):
    found = rows(results)
    assert {(row["depth"], row["variant"]) for row in found} == {
        (depth, name) for depth in (1, 2) for name in ("joint", *OURS)
    }
    for row in found:
        assert row["failure"] is None
        assert all(row[name] >= 0 for name in MEASUREMENTS)
        assert 0 < row["q1_s"] <= row["median_s"] <= row["q3_s"]


def test_results_say_what_they_were_measured_with(results):
    content = json.loads((results / "results.json").read_text())
    assert content["last_command"].startswith("revgan benchmark --sizes 32")
    assert content["versions"]["torch"] == torch.__version__
    assert content["machine"].keys() == {"device", "cores", "threads", "platform"}
    assert content["precision"] == "float32"
    assert content["repeats"] == 2


def test_tables_and_plots_stand_beside_the_results(results):
    table = (results / "table.md").read_text()
    assert "### unpaired, 32 x 32, width 4" in table
    assert sum(line.startswith("| 2 | lean |") for line in table.splitlines()) == 1
    names = {path.name for path in results.iterdir()}
    assert names == {"results.json", "table.md", "plot.png", "plot.svg"}


@pytest.mark.parametrize("name", ["unpaired-cpu", "unpaired-cpu-256"])
def test_recorded_results_can_be_gone_on_with(tmp_path, name):
    before = json.loads((RECORDED / name / "results.json").read_text())
    shutil.copy(RECORDED / name / "results.json", tmp_path)
    settings = {key: before[key] for key in ("precision", "repeats")}
    conditions = Conditions(before["machine"], before["versions"], settings)
    results = StepResults(tmp_path, conditions, before["last_command"])
    results.replace(CASE, [MeasuredStep(CASE, "naive", 1.0, 0.9, 1.1)])
    assert [row for row in rows(tmp_path) if row["width"] != CASE.width] == before["rows"]


def test_what_is_there_is_not_measured_again(results, measured):
    before = {path: path.read_bytes() for path in results.iterdir()}
    assert run(results, variants=OURS, depths=(2, 1)) == 0
    assert measured == []
    assert {path: path.read_bytes() for path in results.iterdir()} == before


def test_an_interrupted_benchmark_goes_on_with_what_is_missing(tmp_path, monkeypatch, measured):
    pretend = command.measure_case

    def stop(case, *others):
        if case.depth == 2:
            raise KeyboardInterrupt
        return pretend(case, *others)

    with monkeypatch.context() as patch:
        patch.setattr(command, "measure_case", stop)
        assert run(tmp_path, depths=(1, 2, 3)) == 130
    assert {row["depth"] for row in rows(tmp_path)} == {1}
    assert run(tmp_path, depths=(1, 2, 3)) == 0
    assert [depth for depth, _ in measured] == [1, 2, 3]
    assert [row["depth"] for row in rows(tmp_path)] == [1, 1, 2, 2, 3, 3]


def test_a_new_variant_is_measured_in_one_sitting_with_the_old_ones(tmp_path, measured):
    run(tmp_path, variants=("naive",))
    run(tmp_path, variants=("lean",))
    assert measured == [(1, ("naive",)), (1, ("naive", "lean"))]
    assert [row["variant"] for row in rows(tmp_path)] == ["naive", "lean"]


def test_a_failure_is_told_in_the_table(tmp_path, monkeypatch):
    def fail(case, names, runtime, repeats):
        return [MeasuredStep(case, name, failure="out of memory") for name in names]

    monkeypatch.setattr(command, "measure_case", fail)
    assert run(tmp_path) == 0
    table = (tmp_path / "table.md").read_text()
    assert "| 1 | naive | failed | - | - | - | - | - |" in table
    assert "- naive, depth 1: out of memory" in table
    assert rows(tmp_path)[0]["failure"] == "out of memory"


# Refusals


def refusal(capsys, folder, *more, status=1, **how):
    capsys.readouterr()
    assert run(folder, *more, **how) == status
    error = capsys.readouterr().err
    assert error.startswith("revgan: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("--sizes", "30", "must be multiples of 4 from 24 up"),
        ("--sizes", "large", "must be a whole number, not large"),
        ("--widths", "0", "must be 1 or more"),
        ("--depths", "0", "must be 1 or more"),
        ("--repeats", "1", "must be 2 or more"),
        ("--spatial-dims", "4", "must be one of 2, 3, not 4"),
        ("--variants", "fast", "must be one of joint, cyclegan, naive, "),
        ("--precision", "fp16", "must be one of float32, bf16, not fp16"),
    ],
)
def test_a_wrong_option_is_told_what_would_be_right(capsys, tmp_path, option, value, right):
    message = refusal(capsys, tmp_path, option, value, status=2)
    assert option.strip("-").replace("-", "_") in message.replace("-", "_")
    assert right in message
    assert value in message


def test_a_package_that_is_not_installed_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "find_spec", lambda name: None)
    assert "pip install --no-deps memcnn" in refusal(capsys, tmp_path, variants=("memcnn",))


@pytest.mark.parametrize("other", ["device", "torch", "precision", "repeats"])
def test_results_under_other_conditions_are_not_mixed(capsys, tmp_path, measured, other):
    run(tmp_path)
    path = tmp_path / "results.json"
    content = json.loads(path.read_text())
    place = {"device": "machine", "torch": "versions"}.get(other)
    (content[place] if place else content)[other] = "another"
    path.write_text(json.dumps(content))
    message = refusal(capsys, tmp_path, depths=(2,))
    assert f"was measured with {other} another" in message
    assert "--output" in message


def test_a_package_that_was_not_installed_then_may_be_added(tmp_path, measured):
    run(tmp_path)
    path = tmp_path / "results.json"
    content = json.loads(path.read_text())
    del content["versions"]["monai"]
    path.write_text(json.dumps(content))
    assert run(tmp_path, depths=(2,)) == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}]}'])
def test_another_file_under_the_results_name_is_refused(capsys, tmp_path, measured, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    assert "holds no results" in refusal(capsys, tmp_path)
    assert path.read_text() == text


# Gradients


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
@pytest.mark.parametrize("name", ["checkpoint", "reversible", "lean"])
def test_variants_on_the_grid_have_the_naive_gradients_bit_for_bit(name, objective):
    case = replace(CASE, objective=objective)
    naive, ours = gradients("naive", case), gradients(name, case)
    assert naive.keys() == ours.keys()
    assert all(torch.equal(naive[weight], ours[weight]) for weight in naive)


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
@pytest.mark.parametrize("name", ["joint", "slabs", *packages])
def test_other_variants_have_the_naive_gradients_in_float64(name, objective):
    case = replace(CASE, objective=objective)
    naive, other = (gradients(n, case, dtype=torch.float64) for n in ("naive", name))
    # The naive one's grid of 2**-45 adds roundings of 3e-14; wrong gradients differ by far more.
    assert measuring.distance(other, naive) < 1e-9


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_plain_layers_are_the_same_function_under_the_same_names(spatial_dims):
    net = RevGenerator(spatial_dims, 1, 1, width=4, depth=1, memory="naive").double()
    x = torch.rand(1, 1, *[16] * spatial_dims, dtype=torch.float64) * 2 - 1
    ours, names = net(x), [name for name, _ in net.named_parameters()]
    peers._use_plain_layers(net)
    # Only the order of sums and the grid of 2**-45 differ.
    torch.testing.assert_close(net(x), ours, rtol=0, atol=1e-10)
    assert [name for name, _ in net.named_parameters()] == names


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
def test_the_joint_step_moves_every_network_as_ours_does(objective):
    case = replace(CASE, objective=objective)
    names = "naive", "joint"
    ours, joint = (
        build_variant(n, case, make_accelerator(CPU), dtype=torch.float64) for n in names
    )
    for variant in (ours, joint):
        variant.step()
    for player in ("generator", "judge_a", "judge_b"):
        one, other = (
            torch.cat([weight.flatten() for weight in getattr(v.players, player).parameters()])
            for v in (ours, joint)
        )
        # In a first Adam step, each weight moves by the learning rate, 2e-4, in the direction of
        # its gradient: biases before a normalisation, a few of all, by that of rounding noise.
        assert ((one - other).abs() < 1e-7).float().mean() > 0.98


def test_another_model_is_measured_without_gradients_to_compare():
    rows = measure_case(CASE, ("cyclegan", "naive"), CPU, repeats=2)
    assert [row.failure for row in rows] == [None, None]
    assert [row.gradient_error is None for row in rows] == [True, False]
    assert [row.core_bytes is None for row in rows] == [True, False]
    (row,) = measure_case(CASE, ("lean",), CPU, repeats=2, compare=False)
    assert row.gradient_error is None is row.naive_error


@pytest.mark.parametrize("name", get_args(cases.VariantName))
def test_a_preset_decides_on_the_networks_but_for_what_makes_the_variant(name):
    case = Case("unpaired", 3, size=32, width=4, depth=1, preset="volumes")
    networks = variants.variant_config(name, case).generator
    assert (networks.norm, networks.downsamplings, networks.width) == ("none", 1, 4)
    slabs = {"lean": 0, "slabs": 8}.get(name)
    assert networks.slabs == slabs
    assert networks.model == ("resnet" if name == "cyclegan" else "revgan")


# What is counted


def counted(name, depth=CASE.depth):
    variant = build_variant(name, replace(CASE, depth=depth), make_accelerator(CPU))
    return measuring._macs(variant.step)


def test_recomputation_is_counted_once_per_pass():
    channels, positions, kernel = 2 * CASE.width, (CASE.size // 4) ** 2, 3**2
    convolutions = 4 * CASE.depth  # two in each f and g
    core = convolutions * channels**2 * kernel * positions
    naive = counted("naive")
    assert counted("joint") == naive
    assert counted("reversible") == naive + PASSES * core
    # A block's last convolution has no norm behind it, so that no gradient needs its output.
    assert counted("checkpoint") == naive + PASSES * core * 3 // 4
    assert counted("lean") > counted("reversible")


def test_arithmetic_is_counted_as_pytorch_counts_it():
    variant = build_variant("naive", CASE, make_accelerator(CPU))
    with FlopCounterMode(display=False) as flops:
        variant.step()
    assert 2 * counted("naive") == flops.get_total_flops()


def test_only_a_core_that_stores_activations_grows_with_depth():
    def bytes_kept(name, depth):
        case = replace(CASE, depth=depth)
        accelerator = make_accelerator(CPU)
        return measuring._core_bytes(build_variant(name, case, accelerator), case, accelerator)

    assert bytes_kept("reversible", 1) == bytes_kept("reversible", 6)
    assert bytes_kept("checkpoint", 6) > bytes_kept("checkpoint", 1)
    per_block = (bytes_kept("naive", 6) - bytes_kept("naive", 1)) / 5
    assert per_block > bytes_kept("naive", 1) / 2


# Failures


@pytest.fixture
def failing(monkeypatch):
    """Makes one variant fail with an error."""

    def fail(broken, error):
        def build(name, *arguments, **how):
            if name == broken:
                raise error
            return build_variant(name, *arguments, **how)

        monkeypatch.setattr(measuring, "build_variant", build)

    return fail


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_variant_that_does_not_fit_leaves_the_others_measured(failing):
    failing("lean", OUT_OF_MEMORY)
    lean, reversible = measure_case(CASE, ("lean", "reversible"), CPU, repeats=2)
    assert lean.failure == "out of memory"
    assert lean.median_s is None
    assert reversible.failure is None
    assert reversible.naive_error == 0


def test_without_a_reference_that_fits_errors_are_unknown(failing):
    failing("naive", OUT_OF_MEMORY)
    (lean,) = measure_case(CASE, ("lean",), CPU, repeats=2)
    assert lean.failure is None
    assert lean.gradient_error is lean.naive_error is None
    assert lean.median_s > 0


def test_a_packages_error_is_told_in_its_row(failing):
    failing("memcnn", ValueError("no such\nblock"))
    memcnn, _ = measure_case(CASE, ("memcnn", "naive"), CPU, repeats=2)
    assert memcnn.failure == "ValueError: no such block"


def test_an_error_of_our_own_is_not_hidden(failing):
    failing("lean", ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        measure_case(CASE, ("lean",), CPU, repeats=2)


@pytest.mark.parametrize("name", packages)
def test_a_package_is_measured_like_any_other(name):
    (row,) = measure_case(CASE, (name,), CPU, repeats=2)
    assert row.failure is None
    assert row.core_bytes < 3 * 4 * 4 * CASE.width * (CASE.size // 4) ** 2  # three outputs' worth
    # Recomputation from rounded sums: float32's 6e-8, enlarged by two blocks.
    assert row.naive_error < 1e-4
