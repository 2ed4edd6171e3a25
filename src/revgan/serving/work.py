"""One upload's translation: from file to file, and what the page shows of it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch

from revgan.data.formats import KINDS, Header
from revgan.data.intensity import PerScan
from revgan.data.missing import missing_in, with_nan
from revgan.data.refs import ScanRef, given_scans
from revgan.directions import Direction, back
from revgan.errors import UserError, io_sentence, out_of_memory
from revgan.figures import Stack, stack
from revgan.inference import Translator
from revgan.inference.outputs import fitting_path, least_header
from revgan.inference.planning import WindowOptions
from revgan.inference.slicewise import file_job
from revgan.memory import format_bytes, free_budget
from revgan.serving.uploads import SERIES, unpacked, uploaded_scan

MOST_SHOWN = {2: 2**22, 3: 2**24}
"""The most pixels or voxels of what is shown; larger scans are averaged to fewer."""

COPIES = 3
"""Of a scan's values in float32 that are in memory at once, while it is read to be shown."""

Report = Callable[[str, int, int], None]
"""Takes what is being done, how many parts of it are done, and how many there are."""


@dataclass
class Result:
    """A translation.

    Attributes:
        folder: holds all files of it.
        words: what it is of, in a few words.
        output: the translation, as a file to download.
        returned: the round trip as such a file; None without one.
        views: what to look at, by name, each of the same shape: "input", "translation" and, if
            there is one, "round trip".
    """

    folder: Path
    words: str
    output: Path
    returned: Path | None = None
    views: dict[str, Stack] = field(default_factory=dict)

    @property
    def memory(self) -> int:
        """Bytes that its views take."""
        return sum(view.values.nbytes for view in self.views.values())

    def remove(self) -> None:
        """Removes its files and views."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.views.clear()


def _any_room(size: int, folder: Path) -> AbstractContextManager[None]:
    """Takes it that there is room."""
    return nullcontext()


@dataclass
class Workshop:
    """A model, and how much it takes on; one translation runs at a time.

    Attributes:
        translator: the model.
        windows: how files are cut that are too large for one pass.
        most: bytes of an upload.
    """

    translator: Translator
    windows: WindowOptions
    most: int

    def translate(
        self,
        uploads: Sequence[Path],
        folder: Path,
        direction: Direction,
        report: Report,
        *,
        round_trip: bool,
        room: Callable[[int, Path], AbstractContextManager[None]] = _any_room,
    ) -> Result:
        """Translates uploaded files.

        Args:
            uploads: see `uploaded_scan`.
            folder: an empty folder for the files of the result.
            direction: "AtoB" or "BtoA".
            report: is told of the progress.
            round_trip: whether to translate the translation back.
            room: makes room, within a context, for so many bytes in a folder.

        Raises:
            UserError: the files can't be read or translated. Its sentence names files without the
                folder that they are in here.
        """
        with _told_without(folder), ExitStack() as rooms:
            dims = self.translator.file_dims
            given, there, again = (folder / name for name in ("given", "translation", "back"))
            for each in (given, there, again):
                each.mkdir()
            rooms.enter_context(room(unpacked(uploads), folder))
            ref = uploaded_scan(uploads, given, dims, self.most)
            seen = self.translator.as_trained(ref, direction)
            header = seen.header(dims)
            self._require_room(ref, header)
            rooms.enter_context(room(self._written(header, round_trip=round_trip), folder))
            way_back = back(direction)
            output = self._one(ref, there, direction, "Translating", report)
            views = {
                "input": self._view(seen, direction),
                "translation": self._view(output, way_back),
            }
            returned = None
            if round_trip:
                ended = self._one(output, again, way_back, "Translating back", report)
                views["round trip"] = self._view(ended, direction)
                returned = _packed(ended)
            shown = views["input"].values.shape[1:]
            words = f"{ref.file_name}: {KINDS[dims].size(header.shape)}, {header.dtype}"
            if prod(shown) < prod(header.shape):
                words = f"{words} (shown smaller)"
            return Result(folder, words, _packed(output), returned, views)

    def _require_room(self, ref: ScanRef, header: Header) -> None:
        """Refuses what wouldn't fit into the memory to be shown.

        Raises:
            UserError: it doesn't.
        """
        values = prod(header.shape) * max(header.channels, *self.translator.channels("AtoB"))
        needed, free = 4 * COPIES * values, free_budget(torch.device("cpu"))
        if needed > free:
            raise UserError(
                f"{ref} has {KINDS[len(header.shape)].size(header.shape)}, which takes "
                f"{format_bytes(needed)} of memory here, and {format_bytes(free)} are free; "
                "translate it by revgan translate, which works in parts"
            )

    def _written(self, header: Header, *, round_trip: bool) -> int:
        """The most bytes that files of results may have: float32, and again where packed."""
        values = prod(header.shape) * max(header.channels, *self.translator.channels("AtoB"))
        return 4 * values * 2 * (1 + round_trip)

    def _one(
        self, ref: ScanRef, folder: Path, direction: Direction, what: str, report: Report
    ) -> ScanRef:
        """Translates a scan into a file in a folder."""
        translator = self.translator
        report(what, 0, 0)
        translator.windows = self.windows.decide(translator)  # by what is free now
        target = fitting_path(folder / ref.file_name, least_header(translator, direction))
        job = file_job(translator, ref, target, direction)
        try:
            job.read()
            job.translate(lambda done, total: report(what, done, total))
            job.write()
        finally:
            job.close()
        return given_scans(target, translator.file_dims).refs[0]

    def _view(self, ref: ScanRef, direction: Direction) -> Stack:
        """A scan as the networks see it that translate in a direction, from -1 to 1."""
        translator = self.translator
        scan = ref.read(translator.file_dims)
        mapping = translator.input_mapping(direction, scan.dtype)
        if isinstance(mapping, PerScan):
            mapping = mapping.of_scan([with_nan(scan.values, missing_in(scan.values, scan.nodata))])
        unit = translator.to_unit(scan.values, scan.nodata, mapping, direction)
        return stack(torch.from_numpy(unit), scan.affine).reduced(MOST_SHOWN[len(scan.shape)])


def _packed(ref: ScanRef) -> Path:
    """A file to download: of a scan that is a folder, a ZIP archive with the folder."""
    path = ref.path
    if not path.is_dir():
        return path
    return Path(shutil.make_archive(str(path), "zip", path.parent, path.name))


@contextmanager
def _told_without(folder: Path) -> Iterator[None]:
    """Turns what fails into sentences that don't name the folder."""
    try:
        yield
    except UserError as error:
        raise UserError(_without(folder, str(error))) from error
    except OSError as error:
        raise UserError(_without(folder, io_sentence(error))) from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise UserError("this machine hasn't enough memory for that; try a smaller") from error


def _without(folder: Path, sentence: str) -> str:
    """A sentence that tells nothing of where this machine keeps uploads."""
    for inside in (f"given/{SERIES}/", "given/", "translation/", "back/", ""):
        sentence = sentence.replace(f"{folder}/{inside}", "")
    return sentence
