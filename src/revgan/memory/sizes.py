"""Parses and formats memory sizes as people write them."""

import re

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", start=1)}

MOST = 2**60
"""More bytes than any machine has."""


def parse_bytes(text: str) -> int | None:
    """The number of bytes in a text such as 8GiB, 500 MB or 1.5g; None if it can't be parsed.

    A number needs a unit: 8 would mean bytes to us, but gigabytes to the person who wrote it.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]i?)b?|b)", text.strip().lower())
    if match is None:
        return None
    count = float(match[1]) * _UNITS[match[2] or ""]
    return int(count) or None if count < MOST else None


def format_bytes(count: float) -> str:
    """Bytes as MiB, or GiB from 10,000 MiB, with at least three digits."""
    mib = count / 2**20
    if mib >= 10_000:
        return f"{mib / 1024:.1f} GiB"
    return f"{mib:.1f} MiB" if mib < 100 else f"{mib:,.0f} MiB"
