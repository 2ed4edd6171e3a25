"""The report of a training run: one self-contained HTML page."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from revgan.evaluation.tables import Row, headings, table_cells
from revgan.figures.pictures import tensor_to_uint8
from revgan.figures.slices import VolumeSlices
from revgan.figures.svg import loss_curves, memory_chart, to_svg
from revgan.figures.volumes import volume_figure
from revgan.files import write_text
from revgan.memory import format_bytes

MAX_PICTURE = 512
"""The longer side, in pixels, above which a picture is reduced: the page has dozens."""

SMALL_PICTURE = 128
"""Pictures narrower than this are enlarged in the page, with square pixels."""


ClassTable = Mapping[str, Mapping[str, float | None]]
"""Intersection over union by method and class; None if no pixel has the class or was taken for
it."""


@dataclass(frozen=True)
class Example:
    """One test image and its translations; pictures as `tensor_to_uint8` takes them.

    Attributes:
        input: the image translated.
        translation: the model's translation.
        truth: the partner of `input` in the other domain, if known.
        round_trip: the translation translated back.
    """

    input: Tensor
    translation: Tensor
    truth: Tensor | None
    round_trip: Tensor


@dataclass(frozen=True)
class MemoryComparison:
    """Peak memory, in bytes, of one training step in two memory modes.

    Attributes:
        naive: with every activation stored; None if that may not fit.
        reversible: with the core's activations recomputed.
        step: a sentence that says which step was measured, and on which device.
    """

    naive: int | None
    reversible: int
    step: str


@dataclass(frozen=True)
class ReportContent:
    """What a report shows. Texts are plain text: the page escapes them.

    Attributes:
        title: the page's heading.
        summary: a paragraph under it.
        examples: by direction, "AtoB" and "BtoA": all of images, or all of volumes.
        tables: score rows by key: "test", empty if the test images aren't aligned,
            "test_inside_masks", "labels", "segmenter", "distribution" and "round_trip". A key may
            be missing.
        configuration: the run's configuration, as YAML.
        versions: the software and hardware that the run depended on, see `library_versions`.
        classes: by class, for the tables "labels" and "segmenter".
        items: what was tested, "images" or "volumes".
        history: lines of metrics.jsonl, see `loss_curves`.
        memory: peaks of a training step, if they were measured.
        domain_names: the names of A and B.
    """

    title: str
    summary: str
    examples: Mapping[str, Sequence[Example | VolumeSlices]]
    tables: Mapping[str, Sequence[Row]]
    configuration: str
    versions: Mapping[str, str]
    classes: Mapping[str, ClassTable] = field(default_factory=dict)
    items: str = "images"
    history: Sequence[Mapping[str, float]] = ()
    memory: MemoryComparison | None = None
    domain_names: tuple[str, str] = ("A", "B")

    def direction_name(self, direction: str) -> str:
        """A direction in words: "AtoB" is "photo → map" if A is named photo and B map."""
        names = dict(zip("AB", self.domain_names, strict=True))
        return " → ".join(names[domain] for domain in direction.split("to"))


def write_report(path: Path, content: ReportContent) -> None:
    """Writes or replaces the page in one step, so that readers never see half a page.

    Raises:
        OSError: the file can't be written.
        ValueError: an example can't be shown, or the history has no losses.
    """
    write_text(path, _render(content))


def _render(content: ReportContent) -> str:
    environment = Environment(
        loader=PackageLoader("revgan", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["picture"] = _picture
    environment.filters["planes"] = lambda slices: Markup(to_svg(volume_figure(slices)))
    environment.filters["size"] = format_bytes
    environment.tests["volume"] = lambda example: isinstance(example, VolumeSlices)
    environment.globals["headings"] = headings
    # A missing table counts as empty.
    environment.globals["tables"] = defaultdict(tuple, content.tables)
    environment.globals["cells"] = table_cells
    memory = content.memory
    return environment.get_template("report.html").render(
        content=content,
        curves=Markup(loss_curves(content.history)) if content.history else None,
        bars=Markup(memory_chart(memory.naive, memory.reversible)) if memory else None,
    )


def _picture(x: Tensor, description: str) -> Markup:
    """An `<img>` with the picture in it."""
    image = Image.fromarray(tensor_to_uint8(x))
    image.thumbnail((MAX_PICTURE, MAX_PICTURE))
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return Markup('<img src="data:image/png;base64,{}" alt="{}"{}>').format(
        base64.b64encode(buffer.getvalue()).decode("ascii"),
        description,
        Markup(' class="small"') if image.width < SMALL_PICTURE else "",
    )
