"""The report is one whole, safe, self-contained page."""

import base64
import platform
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from revgan.environment import library_versions
from revgan.evaluation.report import (
    MAX_PICTURE,
    Example,
    MemoryComparison,
    ReportContent,
    write_report,
)
from revgan.evaluation.tables import Row
from revgan.figures.pictures import tensor_to_uint8
from revgan.figures.slices import VolumeSlices, slice_volumes
from revgan.scores.intervals import Estimate


def picture(seed: int, channels: int = 3, size: int = 16) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(channels, size, size, generator=draws) - 1


def row(direction: str, method: str, **scores: float) -> Row:
    """Of four images, with an interval about the PSNR."""
    estimates = {key: Estimate(value) for key, value in scores.items()}
    if "psnr" in scores:
        estimates["psnr"] = Estimate(scores["psnr"], scores["psnr"] - 1, scores["psnr"] + 1)
    return Row(direction, method, estimates, 4)


def content(**changes: object) -> ReportContent:
    whole = ReportContent(
        title="Tiles",
        summary="Ten steps.",
        examples={
            "AtoB": [Example(picture(0), picture(1, 1), picture(2, 1), picture(3))],
            "BtoA": [Example(picture(4, 1), picture(5), picture(6), picture(7, 1))],
        },
        tables={
            "test": [
                row("AtoB", "RevGAN", mae=5.25, psnr=30.0, ssim=0.8),
                row("AtoB", "input unchanged", mae=9.0, psnr=31.0, ssim=0.7),
            ],
            "round_trip": [row("AtoBtoA", "RevGAN", mae=1.0, psnr=40.0, ssim=0.9)],
        },
        configuration="width: 8\n",
        versions={"torch": "2.0"},
        history=[{"step": i, "gan_AtoB": 1.0 / (i + 1), "d_a_real": 0.1} for i in range(5)],
        memory=MemoryComparison(300 * 2**20, 100 * 2**20, "Measured on a 64 px pair."),
        domain_names=("photo", "map"),
    )
    return replace(whole, **changes)


def written(tmp_path: Path, **changes: object) -> str:
    write_report(tmp_path / "report.html", content(**changes))
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def pictures(page: str) -> list[np.ndarray]:
    encoded = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(BytesIO(base64.b64decode(text)))) for text in encoded]


class Outline(HTMLParser):
    """Checks that elements nest, and collects attributes."""

    void = {"meta", "img", "link", "br"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = written(tmp_path)
    outline = Outline(page)
    assert outline.open == []
    assert not outline.tags & {"script", "link", "iframe", "object"}
    references = [value for name, value in outline.attributes if name in ("src", "href")]
    assert references
    assert all(value and value.startswith("data:") for value in references)
    assert all(
        value and value.startswith("#")
        for name, value in outline.attributes
        if name == "xlink:href"
    )
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page


def test_every_picture_is_in_the_page_pixel_by_pixel(tmp_path: Path) -> None:
    whole = content()
    expected = [
        tensor_to_uint8(image)
        for examples in whole.examples.values()
        for example in examples
        for image in (example.input, example.translation, example.truth, example.round_trip)
        if image is not None
    ]
    found = pictures(written(tmp_path))
    assert len(found) == len(expected)
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    large = picture(0, size=MAX_PICTURE + 8)
    page = written(tmp_path, examples={"AtoB": [Example(large, large, None, large)]})
    assert {image.shape for image in pictures(page)} == {(MAX_PICTURE, MAX_PICTURE, 3)}


def test_without_truths_there_is_no_column_for_them(tmp_path: Path) -> None:
    heading = '<th scope="col">truth</th>'
    assert heading in written(tmp_path)
    examples = {"AtoB": [Example(picture(0), picture(1), None, picture(2))]}
    page = written(tmp_path, examples=examples)
    assert heading not in page
    assert len(pictures(page)) == 3


def sliced(seed: int, with_truth: bool) -> VolumeSlices:
    draws = torch.Generator().manual_seed(seed)
    volumes = [2 * torch.rand(1, 8, 9, 10, generator=draws) - 1 for _ in range(4)]
    truth = volumes[2] if with_truth else None
    return slice_volumes(volumes[0], volumes[1], truth, volumes[3], np.eye(4))


@pytest.mark.parametrize("with_truth", [True, False])
def test_volumes_are_shown_as_slices(tmp_path: Path, with_truth: bool) -> None:
    page = written(tmp_path, examples={"AtoB": [sliced(0, with_truth), sliced(1, with_truth)]})
    outline = Outline(page)
    assert outline.open == []
    ids = [value for name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for name, value in outline.attributes:
        if name == "xlink:href":
            assert value
            assert value.startswith(("#", "data:image/png;base64,"))
    assert page.count(">input<") == page.count(">round trip<") == 2
    assert page.count(">truth<") == page.count(">difference<") == 2 * with_truth
    assert ("translation minus truth" in page) == with_truth
    assert '<table class="pictures">' not in page
    assert "right and left, A and P" in page


def test_scores_are_shown_with_the_best_in_bold(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert re.findall(r"<strong>([^<]*)</strong>", page) == ["5.2", "0.800", "31.00"]
    assert "<td>30.00<small>[29.00, 31.00]</small></td>" in page
    assert "photo → map → photo" in page
    assert "There is no score table" not in page


def test_labels_and_sets_have_tables_of_their_own(tmp_path: Path) -> None:
    page = written(
        tmp_path,
        tables={
            "labels": [row("AtoB", "RevGAN", pixel_accuracy=0.75)],
            "segmenter": [row("BtoA", "RevGAN", class_iou=0.25)],
            "distribution": [row("BtoA", "RevGAN", kid_random=0.0123)],
        },
        classes={
            "labels": {"RevGAN": {"road": 0.5, "<sky>": None}},
            "segmenter": {"RevGAN": {"road": 0.125, "<sky>": 1.0}},
        },
    )
    assert Outline(page).open == []
    for text in ("<td>0.750</td>", "<td>0.250</td>", "<td>0.0123</td>", "<td>0.125</td>"):
        assert text in page
    assert "<td>&lt;sky&gt;</td>\n" in page
    assert "<td>none</td>" in page


def test_unaligned_test_images_are_given_as_the_reason_for_no_scores(tmp_path: Path) -> None:
    page = written(tmp_path, tables={})
    assert "the test images of the two domains are not aligned" in page


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    evil = "<script>alert('1')</script> & \"more\""
    page = written(
        tmp_path,
        title=evil,
        summary=evil,
        configuration=evil,
        versions={evil: evil},
        domain_names=(evil, evil),
        memory=MemoryComparison(2, 1, evil),
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &#34;more&#34;") > 6
    assert Outline(page).open == []


def test_configuration_keeps_its_lines(tmp_path: Path) -> None:
    page = written(tmp_path, configuration="a:\n  b: 1\n  c: 2\n")
    assert "<pre>a:\n  b: 1\n  c: 2\n</pre>" in page


def test_what_was_not_measured_has_no_section(tmp_path: Path) -> None:
    def headings(page: str) -> list[str]:
        return re.findall("<h2>(.*)</h2>", page)

    optional = ["Translations", "Round trips", "Losses", "Memory"]
    assert set(optional) < set(headings(written(tmp_path)))
    bare = written(tmp_path, examples={}, tables={}, history=(), memory=None)
    assert headings(bare) == ["Scores", "How it was made"]


def test_a_report_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    before = written(tmp_path)
    broken = {"AtoB": [Example(picture(0), torch.zeros(4), None, picture(1))]}
    with pytest.raises(ValueError, match="a picture has shape"):
        written(tmp_path, examples=broken)
    path = tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == before
    with pytest.raises(UnicodeEncodeError):  # found only while the page is being written
        written(tmp_path, summary="\ud800")
    assert path.read_text(encoding="utf-8") == before
    assert list(tmp_path.iterdir()) == [path]


def test_versions_name_what_matters_and_nobody() -> None:
    versions = library_versions()
    names = ["python", "torch", "monai", "accelerate", "revgan", "platform", "device", "threads"]
    assert list(versions) == names
    assert all(versions.values())
    words = " ".join(versions.values()).split()
    assert platform.node() not in words
    assert Path.home().name not in words
