"""Measures variants of a training step side by side: time, memory, arithmetic, gradients."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from revgan.benchmark.cases import PACKAGES, Case, VariantName
from revgan.benchmark.variants import OFF_GRID, Variant, build_variant
from revgan.errors import out_of_memory
from revgan.memory import measure_step
from revgan.networks import RevGenerator
from revgan.training import RuntimeConfig, make_accelerator

TURN = 3
"""Timed steps of a variant before the next one's turn: few, so that noise meets all alike."""

Gradients = dict[str, Tensor]


@dataclass
class MeasuredStep:
    """What was measured of one variant; None where it failed.

    Attributes:
        case: what was trained.
        variant: how.
        median_s: seconds per step, median over the timed steps.
        q1_s: their first quartile.
        q3_s: their third quartile.
        peak_bytes: the most that a step allocates, above what is held between steps.
        core_bytes: what one forward pass of the core leaves for the backward pass, output included;
            None without a core.
        gmac: 10**9 multiply-accumulates of convolutions per step, recomputation included.
        gradient_error: distance of the generator's gradient in the first step, all weights in one
            vector, from that in float64 with every activation stored; relative, in the L2 norm.
            None for another model, which has nothing to be compared with.
        naive_error: the same distance from our naive variant in the same precision, which has no
            grid where this variant has none: what recomputation and order of summation add.
        failure: why the variant can't run the case, in a few words.
        date: when it was measured, as YYYY-MM-DD.
    """

    case: Case
    variant: VariantName
    median_s: float | None = None
    q1_s: float | None = None
    q3_s: float | None = None
    peak_bytes: int | None = None
    core_bytes: int | None = None
    gmac: float | None = None
    gradient_error: float | None = None
    naive_error: float | None = None
    failure: str | None = None
    date: str | None = None


def measure_case(
    case: Case,
    variants: Sequence[VariantName],
    runtime: RuntimeConfig,
    repeats: int,
    *,
    compare: bool = True,
) -> list[MeasuredStep]:
    """Measures variants of a step in one sitting, on the same weights and images.

    Args:
        case: what is trained.
        variants: which ways to train are compared.
        runtime: device and precision.
        repeats: timed steps per variant, at least 2.
        compare: whether to compare gradients, for which steps are run in float64 as well.

    Returns:
        What was measured of each variant. Where one runs out of memory, or a package's fails for
        any reason, its `failure` says so.
    """
    # In this order: a process can have one precision at a time.
    exactly = make_accelerator(RuntimeConfig(runtime.device, "float32"))
    truth = on_grid = off_grid = None
    if compare:
        truth = _naive_gradients(case, exactly, dtype=torch.float64)
    accelerator = make_accelerator(runtime)
    if compare:
        on_grid = _naive_gradients(case, accelerator)
    if compare and not set(variants).isdisjoint(OFF_GRID):
        off_grid = _naive_gradients(case, accelerator, exact=False)

    rows = {name: MeasuredStep(case, name) for name in variants}
    running: dict[VariantName, Variant] = {}
    for name, row in rows.items():
        with _noting_failure(row):
            variant = build_variant(name, case, accelerator)
            gradients = first_gradients(variant)
            if name != "cyclegan":
                row.gradient_error = distance(gradients, truth)
                row.naive_error = distance(gradients, off_grid if name in OFF_GRID else on_grid)
            row.peak_bytes = measure_step(variant.step, accelerator.device).peak
            row.core_bytes = _core_bytes(variant, case, accelerator)
            row.gmac = _macs(variant.step) / 1e9
            running[name] = variant
    seconds = _timed(running, rows, repeats, accelerator.device)
    for name, row in rows.items():
        if row.failure is None:
            row.q1_s, row.median_s, row.q3_s = statistics.quantiles(
                seconds[name], n=4, method="inclusive"
            )
    return list(rows.values())


def _naive_gradients(case: Case, accelerator: Accelerator, **how: Any) -> Gradients | None:
    """The gradients that others are compared with; None if they don't fit into memory."""
    try:
        return first_gradients(build_variant("naive", case, accelerator, **how))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return None


@contextmanager
def _noting_failure(row: MeasuredStep) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            row.failure = "out of memory"
        elif row.variant in PACKAGES:
            row.failure = shorten(f"{type(error).__name__}: {error}", 150, placeholder=" ...")
        else:
            raise


def first_gradients(variant: Variant) -> Gradients:
    """The generator's gradients as the first optimizer step of a training step finds them."""
    gradients: Gradients = {}

    def keep(optimizer: Optimizer, args: object, kwargs: object) -> None:
        if not gradients:
            for name, weight in variant.players.generator.named_parameters():
                if weight.grad is None:
                    raise RuntimeError(f"no gradient reached {name}")
                gradients[name] = weight.grad.detach().to("cpu", torch.float64, copy=True)

    hook = register_optimizer_step_pre_hook(keep)
    try:
        variant.step()
    finally:
        hook.remove()
    return gradients


def distance(gradients: Gradients, reference: Gradients | None) -> float | None:
    """The relative L2 distance over all weights."""
    if reference is None:
        return None
    error = sum((gradients[name] - right).square().sum() for name, right in reference.items())
    norm = sum(right.square().sum() for right in reference.values())
    return float((error / norm) ** 0.5)


def _core_bytes(variant: Variant, case: Case, accelerator: Accelerator) -> int | None:
    generator = variant.players.generator
    if not isinstance(generator, RevGenerator):
        return None
    shape = (1, case.channels, *[case.size] * case.spatial_dims)
    with torch.no_grad(), accelerator.autocast():
        x = generator.encoder_a(torch.zeros(shape, device=accelerator.device))
    x.requires_grad_()
    graph = []

    def forward() -> None:
        with accelerator.autocast():
            # A clone, which nobody but the core uses.
            graph.append(generator.core(x.clone()))

    return measure_step(forward, accelerator.device).retained


class _MacCounter(TorchDispatchMode):
    """Counts by PyTorch's formulas for its operators, in forward and backward passes alike.

    PyTorch's own `FlopCounterMode` also tracks modules, by hooks that fail where a module runs
    within a backward pass.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operations = flop_registry.get(func.overloadpacket)
        if operations is not None:
            self.count += operations(*args, **kwargs, out_val=out) // 2
        return out


def _macs(step: Callable[[], object]) -> int:
    """Multiply-accumulates of a step."""
    counter = _MacCounter()
    with counter:
        step()
    return counter.count


def _timed(
    running: dict[VariantName, Variant],
    rows: dict[VariantName, MeasuredStep],
    repeats: int,
    device: torch.device,
) -> dict[VariantName, list[float]]:
    """Seconds of each variant's timed steps; the variants take turns."""
    seconds: dict[VariantName, list[float]] = defaultdict(list)
    for done in range(0, repeats, TURN):
        for name, variant in running.items():
            if rows[name].failure is not None:
                continue
            with _noting_failure(rows[name]):
                variant.step()  # the caches hold another variant's data
                for _ in range(min(TURN, repeats - done)):
                    seconds[name].append(step_seconds(variant.step, device))
    return seconds


def step_seconds(step: Callable[[], object], device: torch.device) -> float:
    """Runs `step` once; the seconds until the device has done all of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
