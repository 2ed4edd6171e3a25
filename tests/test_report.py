"""The report is one whole, safe, self-contained page. `test_report_page` opens it in a browser."""

import base64
import json
import platform
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports import agreement, case, content, picture, row, volumes, written
from revgan.environment import library_versions
from revgan.evaluation import viewer
from revgan.evaluation.report import MemoryComparison
from revgan.evaluation.viewer import Viewer
from revgan.figures.stacks import mosaic


def pictures(page: str) -> dict[str, np.ndarray]:
    """The pictures of a page by the ids of their elements, (H, W, 3)."""
    images = re.findall(r'<img id="([^"]+)"[^>]*src="data:image/webp;base64,([^"]+)"', page)
    stored = re.findall(r'<script type="text/plain" id="([^"]+)">([^<]+)</script>', page)
    return {
        name: np.asarray(Image.open(BytesIO(base64.b64decode(text))).convert("RGB"))
        for name, text in images + stored
    }


class Outline(HTMLParser):
    """Checks that elements nest, and collects attributes."""

    void = {"meta", "img", "link", "br", "input"}

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
    assert not outline.tags & {"link", "iframe", "object"}
    references = [value for name, value in outline.attributes if name in ("src", "href")]
    assert references
    assert all(value and value.startswith(("data:", "#")) for value in references)
    ids = [value for name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value for value in references if value and value[0] == "#"} <= {f"#{i}" for i in ids}
    assert all(
        value and value.startswith(("#", "data:image/png;base64,"))
        for name, value in outline.attributes
        if name == "xlink:href"
    )
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert "@import" not in page
    assert "fetch(" not in page


def test_every_picture_of_every_scan_is_in_the_page_once_pixel_by_pixel(tmp_path: Path) -> None:
    whole = content()
    found = pictures(written(tmp_path))
    expected = {
        f"{direction}-{number}-{kind.replace(' ', '-')}": np.asarray(
            mosaic(case.stacks[kind]).convert("RGB")
        )
        for direction, cases in whole.cases.items()
        for number, case in enumerate(cases)
        for kind in case.stacks
    }
    assert {name for name in found if not name.endswith("difference")} == set(expected)
    assert len(found) == (4 + 2) * 5
    assert all(np.array_equal(found[name], pixels) for name, pixels in expected.items())


def test_pictures_have_as_many_pixels_as_there_is_room_for() -> None:
    large = picture(0, size=64)
    made = case("large", (large, large, large, large), most=32**2)
    assert made.shape == (1, 32, 32)
    assert made.difference is not None
    assert made.difference.shape == (1, 32, 32)


def test_pages_with_many_pixels_compress_them(tmp_path: Path, monkeypatch) -> None:
    exact = len(written(tmp_path))
    monkeypatch.setattr(viewer, "EXACT", 0)
    assert len(written(tmp_path)) < exact


def test_without_truths_there_is_neither_truth_nor_difference(tmp_path: Path) -> None:
    cases = {"AtoB": [case("x", (picture(0), picture(1), None, picture(2)))]}
    assert cases["AtoB"][0].kinds == ["input", "translation", "round trip"]
    page = written(tmp_path, cases=cases, scan_scores={}, agreements={})
    assert "Example: " in page
    assert ">truth<" not in page
    assert "Translation minus truth" not in page


def index(page: str, direction: str = "AtoB") -> dict[str, object]:
    (text,) = re.findall(rf'id="set-{direction}">(.*?)</script>', page)
    return json.loads(text)


def test_volumes_are_in_the_page_slice_by_slice(tmp_path: Path) -> None:
    cases = volumes(2)
    page = written(tmp_path, cases={"AtoB": cases}, scan_scores={})
    assert [entry["shape"] for entry in index(page)["cases"]] == [[10, 9, 8]] * 2
    assert [entry["spacing"] for entry in index(page)["cases"]] == [[2, 1, 1]] * 2
    found = pictures(page)
    assert set(found) == {
        f"AtoB-{number}-{kind}"
        for number in range(2)
        for kind in ("input", "translation", "truth", "difference", "round-trip")
    }
    tile = found["AtoB-1-truth"][9:18, 8:16, 0]  # of 4 in a row, the sixth
    assert np.array_equal(tile, cases[1].stacks["truth"][0, 5])
    assert 'name="slice"' in page
    assert "The patient’s right is at the left" in page  # noqa: RUF001


def test_volumes_of_unknown_orientation_have_no_sides(tmp_path: Path) -> None:
    cases = [replace(case, sides_known=False) for case in volumes(1)]
    page = written(tmp_path, cases={"AtoB": cases}, scan_scores={})
    assert "The patient’s right" not in page  # noqa: RUF001
    assert 'class="side left"' not in page


def featured(values: list[float]) -> list[tuple[int, str]]:
    cases = [case(f"{i}", (picture(0),) * 4) for i in range(len(values))]
    scores = {f"{i}": {"mae": value} for i, value in enumerate(values)}
    return [tuple(one) for one in Viewer("AtoB", cases, scores, "mae").featured]


def test_best_median_and_worst_scans_are_chosen_by_score() -> None:
    assert featured([3, 1, 2, 9, 8]) == [
        (1, "Best by MAE"),
        (0, "Median"),
        (3, "Worst by MAE"),
    ]
    assert [number for number, _ in featured([2, 1])] == [1, 0]
    assert [number for number, _ in featured([2])] == [0]
    assert [number for number, _ in featured([2, float("nan"), 1])] == [2, 0]
    assert [label for _, label in featured([float("nan")] * 4)] == ["Example"] * 3


def test_featured_scans_have_their_names_and_scores(tmp_path: Path) -> None:
    page = written(tmp_path)
    for label, number, mae, psnr in (("Best by PSNR (dB)", 3, 6, 23), ("Median", 2, 7, 22)):
        assert f'<span>{label}: <span data-look="AtoB {number}">photo {number}</span>' in page
        assert f"MAE {mae}.0  ·  PSNR (dB) {psnr}.00" in page


def test_headlines_are_the_scores_inside_masks_where_there_are_any(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert '<dd class="value">5.2</dd>' in page
    assert '<dd class="reference">input unchanged: 31.00</dd>' in page
    masked = {"test_inside_masks": [row("AtoB", "RevGAN", mae=77.0)], "test": []}
    page = written(tmp_path, tables=masked)
    assert re.findall('<dd class="value">(.*)</dd>', page) == ["77.0"]
    assert "inside the masks" in page


def test_scores_are_shown_with_their_intervals_and_marks(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert "<td>30.00<small>[29.00, 31.00]</small></td>" in page
    assert "<strong>" not in page  # of unknown resamples
    assert "photo → map → photo" in page
    assert "There is no score table" not in page


def test_scales_and_what_lies_beyond_them_are_told(tmp_path: Path) -> None:
    page = written(tmp_path, said_of_scores="MAE is in counts.")
    cells = ["B", "-1024 to 3000", "the option --data-range", "-1000 to 2000", "1.2%", "1071"]
    assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    cells = [
        "A",
        "0 to 255",
        "the type uint8",
        "all that files of this type can hold",
        *["none"] * 2,
    ]
    assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    assert "MAE is in counts." in page
    assert "MAE is in counts." in written(tmp_path, said_of_scores="MAE is in counts.", tables={})


def test_agreement_is_drawn_where_the_truth_is_known(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert page.count("<h3>Agreement with the truth") == 1
    assert "Over 4 images, their mean differences average" in page
    assert "inside the masks" not in page
    masked = replace(agreement(), masked=True)
    assert "values inside the masks," in written(tmp_path, agreements={"AtoB": masked})
    assert "Agreement with" not in written(tmp_path, agreements={})


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
        cases={"AtoB": [case(evil, (picture(0),) * 4)]},
        scan_scores={"AtoB": {evil: {"mae": 1.0}}},
        memory=MemoryComparison({"naive": 2}, {"naive": [(1, 2)]}, 1, evil),
    )
    assert "<script>alert" not in page
    assert index(page)["cases"][0]["name"] == evil
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &#34;more&#34;") > 6
    assert Outline(page).open == []


def test_configuration_keeps_its_lines(tmp_path: Path) -> None:
    page = written(tmp_path, configuration="a:\n  b: 1\n  c: 2\n")
    assert '<pre tabindex="0">a:\n  b: 1\n  c: 2\n</pre>' in page


def test_what_was_not_measured_has_no_section(tmp_path: Path) -> None:
    def headings(page: str) -> list[str]:
        return re.findall("<h2>(.*)</h2>", page)

    optional = ["photo → map", "Round trips", "Training", "Memory"]
    assert set(optional) < set(headings(written(tmp_path)))
    bare = written(tmp_path, cases={}, tables={}, history=(), memory=None, scales={})
    assert headings(bare) == ["Scores", "How it was made"]


def test_a_report_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    before = written(tmp_path)
    with pytest.raises(ValueError, match="no losses"):
        written(tmp_path, history=[{"step": 1}])
    path = tmp_path / "report.html"
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
