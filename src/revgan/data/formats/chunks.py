"""A stranger's folder of chunks: no link leads out, and chunks unpack to what they declare."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Self

import imagecodecs

from revgan.data.formats.entries import unreadable
from revgan.errors import UserError, optional
from revgan.memory import format_bytes

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")

MOST = 2**24
"""Bytes of a file of metadata."""

SLACK = 2**16
"""Bytes that a codec's own headers may add to a chunk."""

NARROWED = 8
"""How many times smaller than its values a chunk may be packed by filters such as astype."""


def _stream(decoder: Any, data: bytes, most: int) -> bool:
    """Whether a stream unpacks to more; it is unpacked only until that is known."""
    return len(decoder.decompress(data, most + 1)) > most


def _zstd(data: bytes, most: int) -> bool:
    """Whether a frame unpacks to more; it says to how much, as a rule, and zarr believes it."""
    if len(data) < 18 or data[:4] != b"\x28\xb5\x2f\xfd":
        return False
    about = data[4]
    single, length = about >> 5 & 1, (0, 2, 4, 8)[about >> 6]
    length = length or single
    if length:
        start = 6 - single + (0, 1, 2, 4)[about & 3]
        size = int.from_bytes(data[start : start + length], "little")
        return size + 256 * (length == 2) > most
    try:
        imagecodecs.zstd_decode(data, out=most + 1)
    except (imagecodecs.ZstdError, ValueError):
        return True
    return False


def _declared(offset: int) -> Callable[[bytes, int], bool]:
    """Of codecs that unpack to exactly the size that four bytes say."""

    def larger(data: bytes, most: int) -> bool:
        return len(data) >= offset + 4 and struct.unpack_from("<I", data, offset)[0] > most

    return larger


COMPRESSORS: dict[str, Callable[[bytes, int], bool]] = {
    "gzip": lambda data, most: _stream(zlib.decompressobj(31), data, most),
    "zlib": lambda data, most: _stream(zlib.decompressobj(), data, most),
    "bz2": lambda data, most: _stream(bz2.BZ2Decompressor(), data, most),
    "lzma": lambda data, most: _stream(lzma.LZMADecompressor(), data, most),
    "zstd": _zstd,
    "blosc": _declared(4),
    "lz4": _declared(0),
}
"""For each codec that packs, whether what it packed has more bytes than expected."""


def packed_by(path: Path, codecs: Iterable[str]) -> str | None:
    """The codec that packs an array's chunks.

    Raises:
        UserError: there are several, one within the other.
    """
    packing = [codec for codec in codecs if codec in COMPRESSORS]
    if len(packing) > 1:
        raise UserError(
            f"{path} packs its chunks several times, by {' and '.join(packing)}; write it again "
            "with zstd or blosc alone"
        )
    return packing[0] if packing else None


@dataclass(frozen=True)
class Packing:
    """What an array's metadata say of its chunks.

    Attributes:
        codec: packs them; None if nothing does.
        most: bytes that a chunk may unpack to.
        in_shard: how many there are in a file; 0 if a file is one chunk.
    """

    codec: str | None
    most: int
    in_shard: int = 0

    @classmethod
    def of(cls, path: Path, array: Any, codecs: Iterable[str]) -> Self:
        """That of an array of zarr.

        Args:
            path: of the image, for errors.
            array: the array.
            codecs: the names of its codecs.

        Raises:
            UserError: chunks are packed in ways that aren't understood.
        """
        most = prod(array.chunks) * array.dtype.itemsize * NARROWED + SLACK
        if array.shards is None:
            return cls(packed_by(path, codecs), most)
        (sharding,) = array.metadata.to_dict()["codecs"]
        how = sharding["configuration"]
        index = [codec["name"] for codec in how["index_codecs"]]
        if index != ["bytes", "crc32c"] or str(how.get("index_location", "end")) != "end":
            raise UserError(
                f"{path} has shards whose index isn't at their end, with a checksum; write it again"
            )
        in_shard = prod(array.shards) // prod(array.chunks)
        return cls(packed_by(path, codecs), most, in_shard)

    def chunks(self, data: bytes) -> Iterator[bytes]:
        """The packed chunks in a whole file."""
        if not self.in_shard:
            yield data
            return
        place = len(data) - 16 * self.in_shard - 4
        for number in range(self.in_shard if place >= 0 else 0):
            start, size = struct.unpack_from("<QQ", data, place + 16 * number)
            if start + size <= len(data):  # else there is none
                yield data[start : start + size]


@cache
def _store_class(zarr: Any) -> Any:
    from zarr.abc.store import SuffixByteRequest

    # zarr, an extra, is without types here.
    class ChunkStore(zarr.storage.LocalStore):  # type: ignore[misc]
        """Files of one folder."""

        packing: Packing | None = None

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            """See zarr; refuses what `_require_harmless` and `_require_small` do."""
            _require_harmless(self.root, key)
            found = await super().get(key, prototype, byte_range)
            packing = self.packing
            if found is None or packing is None or packing.codec is None or key.endswith(METADATA):
                return found
            if isinstance(byte_range, SuffixByteRequest):  # the index of a shard
                return found
            data = found.to_bytes()
            for chunk in packing.chunks(data) if byte_range is None else [data]:
                _require_small(self.root / key, chunk, packing)
            return found

    return ChunkStore


def chunk_store(path: Path) -> Any:
    """A store of zarr for reading a folder; its `packing` is to be set."""
    return _store_class(optional("zarr", "zarr", str(path)))(path, read_only=True)


def _require_harmless(root: Path, key: str) -> None:
    """Refuses links out of the folder, pipes and devices, and metadata without end.

    Raises:
        UserError: it is one of them.
    """
    path = root / key
    if path.is_symlink() or any((root / part).is_symlink() for part in Path(key).parents):
        inside = path.resolve().is_relative_to(root.resolve())
        if not inside:
            raise UserError(
                f"{root} holds {key}, a link that leads out of it; put the files themselves there"
            )
    if why := unreadable(path):
        raise UserError(f"{root} holds {key}, {why}; write it again")
    if path.name in METADATA and path.is_file() and path.stat().st_size > MOST:
        raise UserError(f"{path} is larger than {format_bytes(MOST)}; write the image again")


def _require_small(path: Path, data: bytes, packing: Packing) -> None:
    """Refuses a chunk that unpacks to more than the array's metadata say.

    Raises:
        UserError: it does.
    """
    try:
        large = COMPRESSORS[packing.codec or ""](data, packing.most)
    except (zlib.error, lzma.LZMAError, OSError, EOFError):
        return  # it is damaged, which zarr tells
    if large:
        raise UserError(
            f"the chunk {path} is damaged, or unpacks to more than the image's metadata say; write "
            "the image again"
        )
