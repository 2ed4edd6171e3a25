"""The size that a JPEG XL file declares, which imagecodecs tells only when it has decoded it."""

SIGNATURE = b"\xff\x0a"
"""Of a codestream, which is a file by itself, or lies in boxes."""

NEEDED = 16
"""Bytes of the codestream, more than signature and size take."""

_SIDE = (9, 13, 18, 30)
"""Bits of a side that isn't a small multiple of 8, by the selector before it."""

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, for codes from 1."""


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height; None if the file isn't understood, so that no decoder reads it either.

    Source: ISO/IEC 18181-1 (SizeHeader) and 18181-2 (boxes jxlc and jxlp).
    """
    stream = data if data.startswith(SIGNATURE) else _codestream(data)
    if not stream.startswith(SIGNATURE) or len(stream) < len(SIGNATURE) + 2:
        return None
    bits = _Bits(stream[len(SIGNATURE) : NEEDED])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if not ratio:
        return _side(bits, small), height
    x, y = _RATIOS[ratio - 1]
    return height * x // y, height


class _Bits:
    """Takes numbers from the lowest bits upwards."""

    def __init__(self, content: bytes) -> None:
        self._left = int.from_bytes(content, "little")

    def take(self, count: int) -> int:
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value


def _side(bits: _Bits, small: int) -> int:
    return 8 * (1 + bits.take(5)) if small else 1 + bits.take(_SIDE[bits.take(2)])


def _codestream(data: bytes) -> bytes:
    """The first bytes of the codestream in boxes."""
    stream, place = b"", 0
    while place + 8 <= len(data) and len(stream) < NEEDED:
        size, kind, start = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8], 8
        if size == 1:  # a longer number follows
            size, start = int.from_bytes(data[place + 8 : place + 16]), 16
        end = place + size if size else len(data)
        if end < place + start:
            break
        if kind == b"jxlp":
            start += 4  # the part's number
        if kind in (b"jxlc", b"jxlp"):
            stream += data[place + start : min(end, place + start + NEEDED)]
        place = end
    return stream
