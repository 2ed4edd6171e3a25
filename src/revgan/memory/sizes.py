"""Sizes of memory as people write them."""

import re

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", start=1)}

MOST = 2**60
"""Bytes that no machine has."""


def parse_bytes(text: str) -> int | None:
    """The number of bytes that a text such as 8GiB, 500 MB or 1.5g names; None if it names none.

    A number without a unit names none: 8 would be bytes to us, and gigabytes to who wrote it.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]i?)b?|b)", text.strip().lower())
    if match is None:
        return None
    count = float(match[1]) * _UNITS[match[2] or ""]
    return int(count) or None if count < MOST else None


def format_bytes(count: float) -> str:
    """Bytes as MiB, or GiB from 10,000 MiB up, to three digits at least."""
    mib = count / 2**20
    if mib >= 10_000:
        return f"{mib / 1024:.1f} GiB"
    return f"{mib:.1f} MiB" if mib < 100 else f"{mib:,.0f} MiB"
