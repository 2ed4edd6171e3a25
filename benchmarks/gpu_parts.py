"""The parts of gpu.py; each leaves what it finds in a file, row by row."""

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import torch
from gpu_graphs import graph_row
from gpu_record import PartRecord, release, told
from whole_volumes import bring_moments_to_life, preset

from revgan.benchmark import measure_case, measure_paper_case, paper_rows
from revgan.benchmark.cases import PACKAGES, Case, installed_variants
from revgan.benchmark.measuring import distance, first_gradients, step_seconds
from revgan.benchmark.paper_results import PaperResults
from revgan.benchmark.paper_tables import PaperCase
from revgan.benchmark.recording import current_conditions
from revgan.benchmark.results import StepResults
from revgan.benchmark.variants import build_variant, random_batch, variant_config
from revgan.errors import out_of_memory
from revgan.memory import measure_step
from revgan.networks import RevGenerator
from revgan.training import (
    RuntimeConfig,
    Workload,
    make_accelerator,
    make_trainer,
)

PRECISIONS = "float32", "bf16"
OURS = "cyclegan", "naive", "reversible", "lean", "slabs"
"""Variants whose peak the planner predicts."""

CARD, CONTEXT = 24 * 2**30, 0.6 * 2**30
"""A card's memory, and what of it a CUDA context takes, which PyTorch's allocator doesn't see."""

CUDNN = {
    "as PyTorch sets it": {},
    "without TF32": {"allow_tf32": False},
    "algorithms by benchmark": {"benchmark": True},
    "deterministic": {"deterministic": True},
    "deterministic without TF32": {"deterministic": True, "allow_tf32": False},
}
"""Settings of torch.backends.cudnn."""

REPEATS = 5


def run(name, setting):
    """Runs a part as far as its time allows."""
    record = PartRecord(setting.folder / f"{name}.json")
    if name.startswith("peers"):
        _, dims, precision = name.split("-")
        find = partial(peers, int(dims[0]), precision, setting.folder / name)
    else:
        find = {
            "tests": tests,
            "exactness": exactness,
            "fits": fits,
            "paper": paper,
            "graphs": graphs,
        }[name]
    rows = find(setting)
    if all(record.measure(key, row, setting) for key, row in rows):
        record.finish()


# Each part below yields its rows: a name, and a function that measures it.


def tests(setting):
    """The tests marked cuda."""
    root = Path(__file__).parent.parent / "tests"
    files = sorted(
        path
        for path in root.glob("test_*.py")
        if "mark.cuda" in (text := path.read_text()) or "from cores import" in text
    )
    for path in files[:1] if setting.small else files:
        yield path.stem, partial(_tested, path, setting)


def _tested(path, setting):
    report = setting.folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", f"--junitxml={report}"]
    command += ["-p", "no:cacheprovider", str(path)]
    left = max(10.0, setting.deadline - time.monotonic())
    done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
    if done.returncode not in (0, 1, 5):  # passed, failed, nothing marked
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-1500:]}")
    cases = list(ElementTree.parse(report).iter("testcase"))
    report.unlink()
    failed = {
        case.get("name"): problem.get("message", "")[:500]
        for case in cases
        for problem in case
        if problem.tag in ("failure", "error")
    }
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - skipped - len(failed)
    return {"passed": passed, "skipped": skipped, "failed": failed}


def exactness(setting):
    """Gradients of recomputation beside those of naive, and the way back through the core."""
    sizes = (32, 4, 1), (24, 4, 1)
    if not setting.small:
        sizes = (128, 32, 6), (64, 32, 9)
    cases = Case("unpaired", 2, *sizes[0]), Case("unpaired", 3, *sizes[1], preset="volumes")
    truths = {}
    settings = list(CUDNN.items())[: 1 if setting.small else None]
    for case, precision, (words, flags) in product(cases, PRECISIONS, settings):
        if precision == "bf16" and "allow_tf32" in flags:  # 32-bit arithmetic is all it changes
            continue
        if setting.small and (case.spatial_dims, precision) == (3, "bf16"):
            continue
        key = f"{case.spatial_dims}D, {precision}, {words}"
        yield key, partial(_exact, case, precision, flags, truths, setting)


def _exact(case, precision, flags, truths, setting):
    with _cudnn(flags):
        if case not in truths:
            exactly = make_accelerator(setting.runtime("float32"))
            truth = build_variant("naive", case, exactly, dtype=torch.float64)
            truths[case] = first_gradients(truth)
        accelerator = make_accelerator(setting.runtime(precision))
        naive = first_gradients(build_variant("naive", case, accelerator))
        row = {"naive": {"distance_to_float64": distance(naive, truths[case])}}
        modes = {"naive again": "naive", **{mode: mode for mode in OURS[2:]}}
        for mode, variant in modes.items():
            try:
                ours = first_gradients(build_variant(variant, case, accelerator))
            except RuntimeError as error:
                row[mode] = {"failure": told(error)}
                continue
            row[mode] = {
                "equal_to_naive": all(torch.equal(ours[name], naive[name]) for name in naive),
                "distance_to_naive": distance(ours, naive),
                "distance_to_float64": distance(ours, truths[case]),
            }
        row["core"] = {"returns_its_input": _returns(case, accelerator)}
    return row


@contextmanager
def _cudnn(flags):
    """Within, PyTorch's settings of cuDNN have these values."""
    before = {name: getattr(torch.backends.cudnn, name) for name in flags}
    try:
        for name, value in flags.items():
            setattr(torch.backends.cudnn, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(torch.backends.cudnn, name, value)


def _returns(case, accelerator):
    """Whether core.inverse(core(x)) is x, bit for bit, for x on the grid."""
    generator = build_variant("naive", case, accelerator).players.generator
    assert isinstance(generator, RevGenerator)
    size = case.size // generator.config.size_multiple
    draws = torch.Generator().manual_seed(0)
    shape = (1, generator.config.core_channels, *[size] * case.spatial_dims)
    x = (torch.randn(shape, generator=draws) * 2**12).round().div(2**12).to(accelerator.device)
    with torch.no_grad(), accelerator.autocast():
        return torch.equal(generator.core.inverse(generator.core(x)), x)


def peer_cases(dims, small):
    """The sizes at which variants are compared."""
    sizes = {2: (128, 256, 512), 3: (64, 128, 192, 256)}[dims]
    width, depth = (4, 1) if small else (32, 9)
    if small:
        sizes = (32,) if dims == 2 else (24,)
    networks = "volumes" if dims == 3 else "default"
    return [Case("unpaired", dims, size, width, depth, networks) for size in sizes]


def peers(dims, precision, folder, setting):
    """`revgan benchmark`, whose files are in a folder of their own."""
    runtime, repeats = setting.runtime(precision), 2 if setting.small else REPEATS
    packages = [name for name in installed_variants() if name in PACKAGES]
    conditions = current_conditions(runtime, packages, repeats=repeats)
    command = f"python benchmarks/gpu.py --device {setting.device}"
    results = StepResults(folder, conditions, command)
    for case in peer_cases(dims, setting.small):

        def find(case=case):
            # In float64, the largest volumes would take most of the time.
            compare = case.size**dims <= 128**3
            names = installed_variants()
            rows = measure_case(case, names, runtime, repeats, compare=compare)
            results.replace(case, rows)
            return {"failures": {row.variant: row.failure for row in rows if row.failure}}

        yield case.title, find


def fit_size(small):
    """The side of the cube that is to fit a card, and its generator."""
    generator = {"memory": "lean", "slabs": 2, "width": 4, "depth": 1}
    return (24, generator) if small else (512, {"memory": "lean", "slabs": 16})


def fits(setting):
    """One step on as much memory as a card has."""
    for precision in reversed(PRECISIONS):
        yield precision, partial(_fitted, precision, setting)


def _fitted(precision, setting):
    size, generator = fit_size(setting.small)
    config = preset("unpaired", **generator)
    accelerator = make_accelerator(setting.runtime(precision))
    limit = CARD - CONTEXT
    row = {"size": size, "slabs": generator["slabs"], "allocator_limit": limit, "fits": True}
    try:
        with _limited(limit, setting.device):
            return row | _one_step(config, size, accelerator)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    release(setting.device)
    return row | {"fits": False} | _one_step(config, size, accelerator)


@contextmanager
def _limited(limit, device):
    """Within, PyTorch's allocator has so many bytes of the GPU."""
    if device != "cuda":
        yield
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _one_step(config, size, accelerator):
    """What a step takes once moments exist."""
    device = accelerator.device
    trainer = make_trainer(config, 3, (1, 1), accelerator, total=1)
    bring_moments_to_life(trainer)
    batch = random_batch((1, 1, size, size, size), device)
    held = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    seconds = []
    taken = measure_step(
        lambda: seconds.append(step_seconds(lambda: trainer.step(batch, 0), device)), device
    )
    row = {"peak": taken.peak, "seconds": seconds[0], "bytes_a_voxel": taken.peak / size**3}
    if device.type == "cuda":  # reserved: with what blocks lose to rounding and gaps
        row |= {"total": held + taken.peak, "reserved": torch.cuda.max_memory_reserved()}
    return row


def paper(setting):
    """The paper's Tables 2 to 4, as `revgan benchmark paper` measures and prints them."""
    runtime = setting.runtime("float32")
    warmup, samples = (1, 2) if setting.small else (100, 100)
    conditions = current_conditions(runtime, warmup=warmup, samples=samples)
    command = f"python benchmarks/gpu.py --device {setting.device}"
    results = PaperResults(setting.folder / "paper", conditions, setting.device, command)
    cases = list(dict.fromkeys(row.case for table in (2, 3, 4) for row in paper_rows(table)))
    if setting.small:
        cases = [PaperCase("Paired RevGAN", 32, 4, 1)]
    # What the paper compares comes first.
    for chosen in (["reversible"], ["joint", "joint-reversible"], ["lean"]):
        for case in cases:
            for mode in case.modes(chosen):

                def find(case=case, mode=mode):
                    found = measure_paper_case(case, mode, runtime, warmup, samples)
                    results.add(found)
                    return {"failure": found.failure}

                if not results.has(case, mode):
                    yield f"{case.title}, {mode}", find


def graphs(setting):
    """The whole step as one CUDA graph, and compiled."""
    sizes = ((32, 4, 1),) if setting.small else ((128, 32, 6), (256, 32, 9))
    steps = 2 if setting.small else 20
    modes = ("naive", "lean") if setting.small else ("naive", "reversible", "lean")
    for how, size in product(("graph", "compiled"), sizes):
        for mode, precision in product(modes, PRECISIONS):
            if how == "compiled" and (mode != "naive" or (setting.small and precision == "bf16")):
                continue  # in other modes, most of a step isn't compiled
            key = f"{how}, {size[0]} pixels, width {size[1]}, depth {size[2]}, {mode}, {precision}"
            yield (
                key,
                partial(
                    graph_row, how, *size, mode, setting.runtime(precision), steps, setting.small
                ),
            )


# What the planner has to say


def predicted_key(case, variant, precision):
    """Names a peak in the file of predictions."""
    return f"{case.title}, depth {case.depth}, {variant}, {precision}"


def predicted_workloads(small):
    """The steps whose peaks are predicted, by `predicted_key`."""
    found = {}
    for dims in (2, 3):
        for case, variant, precision in product(peer_cases(dims, small), OURS, PRECISIONS):
            config = variant_config(variant, case)
            config = replace(config, runtime=RuntimeConfig("cuda", precision))
            channels = case.channels, case.channels
            workload = Workload(config, case.size, dims, channels, "cuda")
            found[predicted_key(case, variant, precision)] = workload
    size, generator = fit_size(small)
    for precision in PRECISIONS:
        config = preset("unpaired", **generator)
        config = replace(config, runtime=RuntimeConfig("cuda", precision))
        found[f"fits, {size}, {precision}"] = Workload(config, size, 3, (1, 1), "cuda")
    return found
