"""Chooses which intensities become -1 and 1 from the data, if the user doesn't."""

from typing import Any, NamedTuple

import numpy as np

from revgan.data.formats import Kind
from revgan.data.intensity import IntensityConfig, IntensityMapping, fit_survey
from revgan.data.mappings import Intensity, TypeRange
from revgan.data.survey import Channel, Survey

LIT = 1 / 4
"""The share of their type that 99% of the values of 16-bit photos span at least; 12 bits in 16 span
1/16."""

FILLED = 1 / 2
"""The share of the way from the lowest value to the highest that 99% of the values span at least,
if nothing far out is to decide what is dark and what is bright. Of a million normally distributed
values it is just more than this."""

UNLIKE = 1 / 8
"""The share of the span of all channels together that a channel's own span is less than, where
channels are in units of their own."""


class Chosen(NamedTuple):
    """What was chosen.

    Attributes:
        mapping: of the intensities.
        why: in words.
        plain: whether it is also the choice without looking at values.
    """

    mapping: IntensityMapping
    why: str
    plain: bool = False


def is_photo(dtype: np.dtype[Any], kind: Kind) -> bool:
    """Whether scans of a type use its full range, without looking at their values.

    Those are 8-bit and black-and-white images.
    """
    return kind.photos and dtype.kind in "biu" and dtype.itemsize == 1


def choose_intensity(
    survey: Survey, dtype: np.dtype[Any], kind: Kind, *, clip: bool, per_channel: bool
) -> Chosen:
    """The mapping for a domain.

    - Unsigned 16-bit images whose values use a good part of the type: the type's range. - Images
    whose values fill the span from the lowest to the highest: these two. - Others, and all volumes:
    percentiles 0.5 and 99.5.

    Channels whose scales differ get their own limits.

    Args:
        survey: the training scans'.
        dtype: their files'.
        kind: images or volumes.
        clip: see `Intensity`.
        per_channel: whether each channel gets its own limits in any case.

    Raises:
        UserError: all values are equal.
    """
    everything = Channel.joined(survey.channels)
    span = _span(everything)
    wide = dtype == np.uint16 and span >= LIT * np.iinfo(dtype).max
    if kind.photos and wide and not per_channel:
        return Chosen(TypeRange(dtype.name), f"the full range of {dtype.name}")
    each = per_channel or any(
        part.count and _span(part) < UNLIKE * span for part in survey.channels
    )
    apart = ", of each channel separately" if each and len(survey.channels) > 1 else ""
    parts = [part for part in survey.parts(each) if part.count]
    filled = all(_span(part) >= FILLED * (part.highest - part.lowest) for part in parts)
    if kind.photos and filled and all(part.lowest < part.highest for part in parts):
        config = IntensityConfig("percentiles", 0.0, 100.0, clip, each)
        return Chosen(_extremes(survey, config), f"the lowest and the highest value{apart}")
    config = IntensityConfig(clip=clip, per_channel=each)
    plain = not kind.photos and each == per_channel
    return Chosen(fit_survey(config, survey), f"percentiles 0.5 and 99.5{apart}", plain)


def _span(part: Channel) -> float:
    """The span of 99% of the values."""
    if not part.count:
        return 0.0
    low, high = part.percentiles(0.5, 99.5)
    return high - low


def _extremes(survey: Survey, config: IntensityConfig) -> Intensity:
    everything = Channel.joined(survey.channels)
    parts = [part if part.count else everything for part in survey.parts(config.per_channel)]
    if len(parts) == 1:
        return Intensity(parts[0].lowest, parts[0].highest, config.clip)
    lows, highs = tuple(part.lowest for part in parts), tuple(part.highest for part in parts)
    return Intensity(lows, highs, config.clip)


def said(chosen: Chosen) -> str:
    """What becomes -1 and 1, in words."""
    mapping = chosen.mapping
    if not isinstance(mapping, Intensity):
        return chosen.why
    low, high = (
        f"{limit:.6g}" if not isinstance(limit, tuple) else _listed(limit)
        for limit in (mapping.low, mapping.high)
    )
    return f"{chosen.why}: {low} to {high}"


def _listed(limits: tuple[float, ...]) -> str:
    shown = ", ".join(f"{limit:.4g}" for limit in limits[:4])
    return f"({shown}{', ...' if len(limits) > 4 else ''})"
