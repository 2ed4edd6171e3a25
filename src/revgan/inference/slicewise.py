"""Volumes through a model of images that was trained on their slices."""

from typing import TYPE_CHECKING, Any

import numpy as np

from revgan.data.formats import Scan
from revgan.data.slices import Turn
from revgan.data.sources import scan_of
from revgan.errors import UserError
from revgan.inference.jobs import FileJob, Say
from revgan.inference.windows import Progress

if TYPE_CHECKING:
    from revgan.inference.translator import Translator


class SlicesJob(FileJob):
    """A volume to translate slice by slice; as `FileJob`.

    All of it is in memory. Where a model looks at each scan's intensities for itself, it looks at
    each slice's, as in training.
    """

    def read(self) -> None:
        """Reads the volume, and checks that its slices suit the model."""
        if self._resize is not None:
            raise UserError("--resize is for images, and the model translates volumes; omit it")
        with self.source.open(3) as source:
            self._check(source)
            self._scan = scan_of(source)

    def translate(self, progress: Progress | None = None, say: Say = lambda sentence: None) -> None:
        """Translates what was read.

        Args:
            progress: called after each slice.
            say: as of `FileJob`; nothing is said.
        """
        translator, scan = self._translator, self._scan
        assert scan is not None
        assert translator.preparation is not None
        assert translator.preparation.slices is not None
        turn = Turn.of(scan.place, translator.preparation.slices)
        slices = turn.slices(scan.values)
        count = slices.shape[1]
        translated = []
        for number in range(count):
            flat = Scan(slices[:, number], None, None, scan.dtype, nodata=scan.nodata)
            translated.append(translator.translate_scan(flat, self._direction, None, self._stored))
            if progress is not None:
                progress(number + 1, count)
        self._values = turn.volume(np.stack(translated, axis=1))


def file_job(translator: "Translator", *what: Any, **more: Any) -> FileJob:
    """The job for a file that suits a model; arguments as of `FileJob`."""
    sliced = translator.file_dims != translator.generator.spatial_dims
    return (SlicesJob if sliced else FileJob)(translator, *what, **more)
