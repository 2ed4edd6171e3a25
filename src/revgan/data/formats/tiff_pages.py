"""Opens TIFFs, and reads parts of a page, decoding only the strips or tiles that they touch."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from revgan.data.formats.contract import Values, Window
from revgan.data.formats.detached import require_beside

SMALL = 2**24
"""Pixels of a strip or tile that may be decoded for each window that it is in."""


def open_tiff(path: Path) -> tifffile.TiffFile:
    """A TIFF whose pages may be in other files of its folder (OME), but nowhere else.

    An index that would name further files, Micro-Manager's, isn't read.

    Raises:
        UserError: it names a file outside its folder, as a stranger's may name any of the user's.
        Exception: whatever tifffile raises for a damaged file.
    """
    file = tifffile.TiffFile(path, is_ndtiff=False)
    try:
        if file.is_ome:
            # As tifffile looks for them, whatever their namespace.
            for element in ElementTree.fromstring(file.ome_metadata or "").iter():
                if element.tag.endswith("UUID") and "FileName" in element.attrib:
                    require_beside(path, element.attrib["FileName"], "pages")
    except BaseException:
        file.close()
        raise
    return file


def is_inverted(page: tifffile.TiffPage) -> bool:
    """Whether 0 is white in a page of integers, so that values are to be turned round.

    tifffile, and so scikit-image, marks each array of bool like that, whatever it means: True is 1.
    """
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE or page.dtype is None:
        return False
    software = page.parent.pages.first.software  # later pages don't say
    masks = page.dtype.kind == "b" and software == "tifffile.py"
    return page.dtype.kind in "bu" and not masks


def absent_pages(path: Path, file: tifffile.TiffFile) -> str | None:
    """The name of another file that has some of an OME-TIFF's pages, but isn't there."""
    root = ElementTree.fromstring(file.ome_metadata or "")
    for element in root.iter():
        name = element.get("FileName")
        # By its number, a file that was called otherwise knows itself.
        if name and element.text != root.get("UUID") and not (path.parent / name).is_file():
            return name
    return None


def in_small_pieces(page: tifffile.TiffPage) -> bool:
    """Whether windows of a page cost little more than what they show."""
    if page.is_tiled:
        return page.tilelength * page.tilewidth <= SMALL
    return page.is_memmappable or page.rowsperstrip * page.imagewidth <= SMALL


def cut_page(page: tifffile.TiffPage | tifffile.TiffFrame, window: Window) -> Values:
    """The values (samples, *window) of a part of a page, as stored.

    Args:
        page: with two axes and perhaps samples, contiguous or in planes.
        window: rows and columns.
    """
    known = page.keyframe
    assert known is not None  # all that is read has one
    shape = (known.imagelength, known.imagewidth)
    ranges = [range(*part.indices(size)) for part, size in zip(window, shape, strict=True)]
    cut = np.zeros((known.samplesperpixel, *map(len, ranges)), known.dtype)
    for index, plane, *starts in _segments(page, known, ranges):
        data = _stored(page, index)
        decoded, _, _ = known.decode(data, index, jpegtables=page.jpegtables)
        if decoded is None:  # a sparse file leaves out what is 0
            continue
        segment = np.moveaxis(decoded[0], -1, 0)  # of (depth, height, width, samples)
        here, there = [], []
        for part, start, size in zip(ranges, starts, segment.shape[1:], strict=True):
            first, end = max(part.start, start), min(part.stop, start + size)
            here.append(slice(first - start, end - start))
            there.append(slice(first - part.start, end - part.start))
        cut[plane : plane + len(segment), *there] = segment[:, *here]
    return cut


def _stored(page: tifffile.TiffPage | tifffile.TiffFrame, index: int) -> bytes:
    """A strip or tile as it is in its file, which tifffile closes if it isn't the first of OME."""
    file = page.parent.filehandle
    closed = file.closed
    if closed:
        file.open()
    try:
        file.seek(page.dataoffsets[index])
        return file.read(page.databytecounts[index])
    finally:
        if closed:
            file.close()


def _segments(
    page: tifffile.TiffPage | tifffile.TiffFrame, known: tifffile.TiffPage, ranges: list[range]
) -> Iterator[tuple[int, int, int, int]]:
    """The strips or tiles that rows and columns touch: number, plane, first row and column.

    Planes come one after the other, each in rows of segments.
    """
    if known.is_tiled:
        height, width = known.tilelength, known.tilewidth
    else:
        height, width = min(known.rowsperstrip, known.imagelength), known.imagewidth
    rows, columns = (
        range(part.start // size, -(-part.stop // size))
        for part, size in zip(ranges, (height, width), strict=True)
    )
    across, down = -(-known.imagewidth // width), -(-known.imagelength // height)
    for plane in range(len(page.dataoffsets) // (across * down)):
        for row, column in product(rows, columns):
            index = (plane * down + row) * across + column
            yield index, plane, row * height, column * width
