"""How much an exported file differs from the model that it was made of."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import ge
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from revgan.data.formats import Scan
from revgan.data.intensity import PerScan
from revgan.data.missing import missing_in, with_nan
from revgan.errors import UserError
from revgan.inference import Translator, translate_padded
from revgan.inference.exported import INPUT, Label
from revgan.networks import GeneratorConfig
from revgan.networks.graphs import open_session

Run = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Runs a file on (B, C, *spatial)."""

CELLS = 3, 5, 8
"""How many positions of the core random inputs have along an axis, beyond the fewest possible."""

LONGEST = {2: 256, 3: 64}
"""The longest side of what is cut out of real images and volumes, if networks take such."""


@dataclass(frozen=True)
class Difference:
    """The largest differences between a file's outputs and the model's.

    Attributes:
        random: on random inputs, as a share of the output's range.
        real: on real inputs; None if there were none.
        count: how many real ones there were.
    """

    random: float
    real: float | None
    count: int

    @property
    def largest(self) -> float:
        """The larger of both; NaN if one is."""
        return float(np.max([self.random, self.random if self.real is None else self.real]))


def run_onnx(path: Path) -> Run:
    """Runs an ONNX file on the CPU."""
    session = open_session(path)
    return lambda x: session.run(None, {INPUT: x})[0]


def run_pt2(path: Path) -> Run:
    """Runs a file of `torch.export.save`, which must be one's own."""
    module = torch.export.load(path).module()

    def run(x: NDArray[np.float32]) -> NDArray[Any]:
        with torch.inference_mode():
            y: NDArray[Any] = module(torch.from_numpy(x)).numpy()
        return y

    return run


def compare(
    run: Run, translator: Translator, label: Label, samples: Sequence[Scan], *, any_size: bool
) -> Difference:
    """Compares a file with the model on random and on real inputs.

    Args:
        run: runs the file.
        translator: has the model, in float32.
        label: of the file.
        samples: real images or volumes.
        any_size: whether the file takes all sizes, or only multiples of the generator's.
    """
    generator = translator.generator
    channels = generator.channels(label.direction)[0]
    draws = np.random.default_rng(0)

    def difference(unit: NDArray[np.float32]) -> float:
        translated = translate_padded(generator, torch.from_numpy(unit)[None], label.direction)
        expected = translated[0].numpy()
        given = unit if label.ranges is None else label.ranges[0].from_unit(unit)
        found = run(np.asarray(given, np.float32)[None])[0]
        if label.ranges is not None:
            found = replace(label.ranges[1], clip=False).to_unit(found)
        # From -1 to 1, or wider without tanh.
        return float(np.abs(found - expected).max() / max(2.0, np.ptp(expected)))

    sizes = _sizes(generator.config, generator.spatial_dims, odd=any_size)
    random = [
        difference(draws.uniform(-1, 1, (channels, *size)).astype(np.float32)) for size in sizes
    ]
    units = (_unit(translator, label, sample) for sample in samples)
    real = [
        difference(
            _cut(generator.config, unit, LONGEST[generator.spatial_dims], exact=not any_size)
        )
        for unit in units
        if all(map(ge, unit.shape[1:], generator.config.min_sizes(generator.spatial_dims)))
    ]
    return Difference(float(np.max(random)), float(np.max(real)) if real else None, len(real))


def _sizes(config: GeneratorConfig, spatial_dims: int, *, odd: bool) -> Iterator[tuple[int, ...]]:
    """Three sizes, whose axes differ; smaller ones for U-Nets, whose sizes are large multiples."""
    limits = config.min_sizes(spatial_dims), config.size_multiples(spatial_dims)
    most = max(1, LONGEST[spatial_dims] // config.size_multiple)
    for number, usual in enumerate(CELLS):
        cells = min(usual, most - 1 + (number > 0))
        yield tuple(
            least + (cells + axis) * multiple + (number + axis if odd else 0)
            for axis, (least, multiple) in enumerate(zip(*limits, strict=True))
        )


def _unit(translator: Translator, label: Label, sample: Scan) -> NDArray[np.float32]:
    """What the networks see of a scan, or of its middle slice if it has an axis too many."""
    generator, values = translator.generator, sample.values
    mapping = translator.input_mapping(label.direction, sample.dtype)
    if isinstance(mapping, PerScan):
        mapping = mapping.of_scan([with_nan(values, missing_in(values, sample.nodata))])
    if values.ndim - 1 > generator.spatial_dims:
        values = values[..., values.shape[-1] // 2]
    wanted = generator.channels(label.direction)[0]
    other = UserError(
        f"the sample has {len(values)} channels, but for {label.direction} the model takes "
        f"{wanted}; give another --sample"
    )
    try:
        unit = translator.to_unit(values, sample.nodata, mapping, label.direction)
    except ValueError as error:
        raise other from error
    if len(unit) != wanted:
        raise other
    return unit


def _cut(
    config: GeneratorConfig, unit: NDArray[np.float32], longest: int, *, exact: bool
) -> NDArray[np.float32]:
    """The middle of a scan; of sizes that the generator takes, if `exact`."""
    window = []
    sizes = unit.shape[1:]
    limits = config.size_multiples(len(sizes)), config.min_sizes(len(sizes))
    for size, multiple, least in zip(sizes, *limits, strict=True):
        side = min(size, max(longest, least))
        if exact:
            side -= side % multiple
        window.append(slice((size - side) // 2, (size - side) // 2 + side))
    return np.ascontiguousarray(unit[:, *window])
