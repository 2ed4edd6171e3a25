"""The page: what is on it, and what happens when something is dropped, pressed or moved."""

import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from revgan.data.formats import KINDS, suffixes
from revgan.directions import Direction
from revgan.errors import UserError, visible
from revgan.memory import format_bytes
from revgan.serving.keeping import Keeping
from revgan.serving.looking import PLANES, TRANSLATION, compared, slices, views_of
from revgan.serving.work import Result, Workshop

WAITING = 32
"""How many translations may wait; others are asked to try later."""

KEPT, CLEANED = 3600, 300
"""Seconds after which files are removed, and how often gradio looks for its own."""

GONE = "The server removes files after an hour, and the oldest sooner when it needs their room"

STYLE = """
.gradio-container {max-width: 1180px !important; width: 100%; margin: 0 auto !important}
.gradio-container > main {width: 100%}
#head h1 {font-size: 1.5rem; margin: 0.4rem 0 0.1rem}
#head p {margin: 0; color: var(--body-text-color); opacity: 0.8}
.problem {border-left: 4px solid #c0392b; padding: 0.5rem 0.8rem; background: #c0392b18}
.done {border-left: 4px solid #2e7d5b; padding: 0.5rem 0.8rem; background: #2e7d5b18}
.problem, .done {margin: 0; overflow-wrap: anywhere}
footer {display: none !important}
"""

ENDS = "A", "B"
"""What the two domains are called, unless somebody knows better."""


class Page:
    """The page of a model.

    Args:
        gradio: the package.
        workshop: translates.
        name: of the model.
        cache: the folder that gradio keeps uploads in.
        rooms: a folder, in which each result gets a folder.
        keeping: makes room in both.
        ends: what A and B are, in a few words.

    Attributes:
        blocks: what gradio serves.
    """

    def __init__(
        self,
        gradio: Any,
        workshop: Workshop,
        name: str,
        cache: Path,
        rooms: Path,
        keeping: Keeping,
        ends: tuple[str, str] = ENDS,
    ) -> None:
        self._ends = ends
        self._gradio, self._workshop, self._keeping = gradio, workshop, keeping
        self._cache, self._rooms = cache.resolve(), rooms
        translator = workshop.translator
        self._directions = translator.generator.directions
        self._kind = KINDS[translator.file_dims]
        with gradio.Blocks(
            title=f"{name} · revgan", analytics_enabled=False, delete_cache=(CLEANED, KEPT)
        ) as self.blocks:
            self._result = gradio.State(None, time_to_live=KEPT, delete_callback=self._drop)
            gradio.HTML(self._heading(name), elem_id="head")
            with gradio.Row():
                with gradio.Column(scale=2, min_width=300):
                    self._add_controls()
                with gradio.Column(scale=5, min_width=320):
                    self._add_views()
            self._add_events()
        self.blocks.queue(max_size=WAITING, default_concurrency_limit=None)

    def _heading(self, name: str) -> str:
        counts = self._workshop.translator.channels("AtoB")
        takes = " and ".join(
            f"{end} with {count} {'channel' if count == 1 else 'channels'}"
            for end, count in zip(self._ends, counts, strict=True)
        )
        return (
            f"<h1>{escape(visible(name))}</h1>"
            f"<p>Translates {self._kind.many}: {escape(takes)}. {GONE}.</p>"
        )

    def _add_controls(self) -> None:
        gradio, kind = self._gradio, self._kind
        ends = dict(zip(ENDS, self._ends, strict=True))
        self._files = gradio.File(
            label=f"{kind.one.capitalize()}, up to {format_bytes(self._workshop.most)}",
            file_count="multiple",
            elem_id="files",
            height=190,
        )
        several = ", a DICOM series as all its files" if kind.thin else ""
        with gradio.Accordion("What can be dropped here", open=False):
            gradio.Markdown(
                f"One {kind.one}{several}, or a ZIP archive of a folder such as OME-Zarr. Files "
                f"end in {', '.join(suffixes(self._workshop.translator.file_dims))}. The "
                "translation comes in the same format, if that can hold it."
            )
        self._direction = gradio.Radio(
            [(f"{ends[each[0]]} to {ends[each[-1]]}", each) for each in self._directions],
            value=self._directions[0],
            label="Direction",
            elem_id="direction",
        )
        both = len(self._directions) > 1
        self._round_trip = gradio.Checkbox(
            value=both, label="And back again (takes twice as long)", visible=both
        )
        self._go = gradio.Button("Translate", variant="primary", elem_id="go")
        self._status = gradio.HTML(elem_id="status")
        self._output = gradio.DownloadButton(
            "Download translation", visible=False, elem_id="output"
        )
        self._returned = gradio.DownloadButton(
            "Download round trip", visible=False, elem_id="returned"
        )

    def _add_views(self) -> None:
        gradio = self._gradio
        self._view = gradio.Radio(
            [TRANSLATION],
            value=TRANSLATION,
            label="Input beside",
            elem_id="view",
            visible=False,
        )
        self._compare = gradio.ImageSlider(
            label="Drag the line",
            show_label=False,
            format="png",
            interactive=False,
            max_height=640,
            elem_id="compare",
            buttons=["fullscreen"],
        )
        with gradio.Row(visible=False) as self._planes:
            self._plane = gradio.Radio(
                list(PLANES), value=PLANES[0], label="Plane", elem_id="plane", min_width=240
            )
            self._number = gradio.Slider(
                0, 1, step=1, label="Slice", elem_id="slice", min_width=240
            )
        self._words = gradio.HTML(
            f"Drop {self._kind.article}, choose a direction, and press Translate.", elem_id="words"
        )

    def _add_events(self) -> None:
        shown = [self._compare, self._words]
        looked = [self._result, self._view, self._plane, self._number]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        self._go.click(
            self._translator(),
            [self._files, self._direction, self._round_trip, self._result, self._view],
            [
                self._result,
                self._status,
                self._output,
                self._returned,
                self._view,
                self._planes,
                self._number,
                self._plane,
                *shown,
            ],
            concurrency_limit=1,
            api_visibility="private",
            show_progress="full",
            show_progress_on=self._compare,
        )
        self._plane.input(self._turn, [self._result, self._plane], self._number, **private).then(
            self._look, looked, shown, **private
        )
        for event in (self._view.input, self._number.input):
            event(self._look, looked, shown, trigger_mode="always_last", **private)

    def _translator(self) -> Any:
        """The handler of the button; gradio finds its progress bar by the default."""

        def translate(
            files: Sequence[str] | None,
            direction: Direction,
            round_trip: bool,
            before: Result | None,
            view: str,
            progress: Any = self._gradio.Progress(),  # noqa: B008
        ) -> list[Any]:
            def report(what: str, done: int, total: int) -> None:
                progress(done / total if total else None, desc=what)

            self._drop(before)
            folder = Path(mkdtemp(dir=self._rooms))
            try:
                with self._keeping.writing(0, folder):
                    result = self._workshop.translate(
                        self._uploaded(files or ()),
                        folder,
                        direction,
                        report,
                        round_trip=round_trip,
                        room=self._keeping.writing,
                    )
                self._keeping.add(result)
            except Exception as error:
                shutil.rmtree(folder, ignore_errors=True)
                if isinstance(error, UserError):
                    return self._nothing(str(error))
                raise  # gradio says that something failed, and what in the terminal
            return self._everything(result, view)

        return translate

    def _drop(self, result: Result | None) -> None:
        if result is not None:
            self._keeping.drop(result)

    def _uploaded(self, files: Sequence[str]) -> list[Path]:
        """The paths of files that the browser names, which may be made up.

        Raises:
            UserError: they aren't uploads.
        """
        paths = [Path(file) for file in files]
        if not all(path.resolve().is_relative_to(self._cache) for path in paths):
            raise UserError("these files weren't uploaded here; drop them again")
        if not all(path.is_file() for path in paths):
            raise UserError(
                "the files are gone, as the server removes them after an hour, and the oldest "
                "sooner when it needs their room; drop them again"
            )
        return paths

    def _nothing(self, sentence: str) -> list[Any]:
        """The page with a sentence in place of a result."""
        gradio = self._gradio
        hidden = gradio.update(visible=False)
        said = f'<p class="problem" role="alert">{escape(_capital(visible(sentence)))}.</p>'
        return [
            None,
            said,
            *[gradio.update(value=None, visible=False)] * 2,
            *[hidden] * 2,
            *[gradio.update()] * 2,
            None,
            "",
        ]

    def _everything(self, result: Result, view: str) -> list[Any]:
        """The page with a result."""
        gradio, seen = self._gradio, result.views["input"]
        names = views_of(result.views)
        view = view if view in names else TRANSLATION
        last = slices(seen, PLANES[0]) - 1
        pictures = compared(result.views, view, PLANES[0], last // 2)
        back = result.returned
        return [
            result,
            f'<p class="done" role="status">{escape(visible(result.words))}</p>',
            gradio.update(
                value=str(result.output), label=_button(result.output.name), visible=True
            ),
            gradio.update(
                value=back and str(back), label="Download round trip", visible=back is not None
            ),
            gradio.update(choices=names, value=view, visible=True),
            gradio.update(visible=seen.volume),
            gradio.update(maximum=max(1, last), value=last // 2),
            PLANES[0],
            (pictures.left, pictures.right),
            escape(pictures.words),
        ]

    def _turn(self, result: Result | None, plane: str) -> Any:
        """The slices of another plane, from the middle one."""
        if result is None or not result.views:
            return self._gradio.update()
        last = slices(result.views["input"], plane) - 1
        return self._gradio.update(maximum=max(1, last), value=last // 2)

    def _look(self, result: Result | None, view: str, plane: str, number: int) -> list[Any]:
        """The pictures that were asked for."""
        if result is None or not result.views:
            return [None, f"The result is gone; translate the file again. {GONE}."]
        pictures = compared(result.views, view, plane, int(number))
        return [(pictures.left, pictures.right), escape(pictures.words)]


def _button(name: str) -> str:
    shown = visible(name)
    return f"Download translation ({shown})" if len(shown) < 30 else "Download translation"


def _capital(sentence: str) -> str:
    """A sentence as one begins on a page; names of files keep their letters."""
    first = sentence.split(" ", 1)[0]
    return sentence if "." in first else sentence[:1].upper() + sentence[1:]
