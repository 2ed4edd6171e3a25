"""Which arrays of a Zarr are read: real numbers, in chunks that need no code from the file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from revgan.errors import UserError

CODECS = {
    *("bytes", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32"),
    *("gzip", "zlib", "bz2", "lzma", "lz4", "zstd", "blosc"),
    *("delta", "shuffle", "bitround", "quantize", "fixedscaleoffset", "astype", "packbits"),
}
"""The codecs that chunks may use. Others are refused, above all pickle, which would run code from
the file."""


def readable_array(path: Path, group: Any, name: str, axes: str) -> Any:
    """The array of a level, if it holds real numbers and can be decoded without running code.

    Raises:
        UserError: it doesn't.
    """
    array = group[name]
    if unknown := set(codecs_of(array.metadata.to_dict())) - CODECS:
        raise UserError(
            f"{path} uses the codecs {', '.join(sorted(unknown))}, which revgan doesn't decode; "
            "write it again with zstd or blosc"
        )
    if array.dtype.kind not in "buif" or len(array.shape) != len(axes) or 0 in array.shape:
        size = " x ".join(map(str, array.shape))
        raise UserError(
            f"{path} holds an array of {array.dtype} and size {size} as {axes}; give an image of "
            "real numbers with these axes"
        )
    return array


def codecs_of(metadata: Mapping[str, Any]) -> Iterator[str]:
    """The names of an array's codecs, those within shards as well."""
    steps = [metadata.get("compressor"), *(metadata.get("filters") or ())]
    steps += [*(metadata.get("codecs") or ()), *(metadata.get("index_codecs") or ())]
    for step in steps:
        if step is None:
            continue
        content = step if isinstance(step, Mapping) else step.get_config()
        yield str(content.get("name") or content["id"]).removeprefix("numcodecs.")
        inner = content.get("configuration")
        if isinstance(inner, Mapping):
            yield from codecs_of(inner)
