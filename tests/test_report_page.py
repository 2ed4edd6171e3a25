"""The report in a real browser, at the widths of a desktop and a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from reports import CT_WINDOWS, case, ct_volumes, picture, scores, tables, volumes, written

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium to open the page with; apt-get install chromium"
)

WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to start for root, who runs the tests in containers.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports on images, on volumes, and on images of unknown truth with a long name."""
    alone = [case("x" * 200, (picture(0), picture(1), None, picture(2)))]
    scans = volumes()
    changes = {
        "images": {},
        "volumes": {
            "cases": {"AtoB": scans},
            "scan_scores": {"AtoB": scores(scans)},
            "scan_tables": {"AtoB": tables(scores(scans))},
        },
        "windows": {
            "cases": {"AtoB": ct_volumes()},
            "scan_scores": {},
            "scan_tables": {},
            "windows": {"AtoB": CT_WINDOWS},
        },
        "unaligned": {
            "cases": {"AtoB": alone},
            "scan_scores": {},
            "scan_tables": {},
            "agreements": {},
            "tables": {},
        },
    }
    made = {}
    for name, changed in changes.items():
        folder = tmp_path_factory.mktemp(name)
        written(folder, **changed)
        made[name] = folder / "report.html"
    return made


class Opened:
    """A page that was opened, and what went wrong in it."""

    def __init__(self, browser: Browser, path: Path, width: int, scheme: str = "light") -> None:
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(
            "[...document.querySelectorAll('.viewer')].every((one) => one.dataset.shown)"
        )


@pytest.fixture
def open_page(browser: Browser, pages: dict[str, Path]) -> Iterator:
    opened: list[Opened] = []

    def open_one(name: str, width: int = 1280, scheme: str = "light") -> Page:
        opened.append(Opened(browser, pages[name], width, scheme))
        return opened[-1].page

    yield open_one
    for one in opened:
        one.page.close()
        assert one.faults == []


def colour(page: Page, share: float, canvas: str = ".stage canvas") -> list[int]:
    """The colour in the middle of a canvas' height, at a share of its width."""
    script = """([canvas, share]) => {
        const { width, height } = canvas;
        const at = [Math.min(width - 1, Math.floor(share * width)), Math.floor(height / 2) + 40];
        return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
    }"""
    return page.evaluate(f"share => ({script})([document.querySelector('{canvas}'), share])", share)


@pytest.mark.parametrize("name", ["images", "volumes", "windows", "unaligned"])
def test_pages_are_accessible_and_fit_desktops_and_phones(open_page, name: str) -> None:
    for width, scheme in zip(WIDTHS, ("light", "dark"), strict=True):
        page = open_page(name, width, scheme)
        for details in page.locator("details").all():
            details.evaluate("(one) => { one.open = true }")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_contrast_holds_and_nothing_overflows_in_the_other_colours(
    open_page, width: int, scheme: str
) -> None:
    page = open_page("images", width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    found = Axe().run(page, options={"runOnly": {"type": "rule", "values": ["color-contrast"]}})
    assert found.violations_count == 0, found.generate_report()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two images whose pictures are of one colour each, and on a rising volume."""
    red, blue, grey = (
        torch.tensor(channels).view(3, 1, 1).expand(3, 16, 16)
        for channels in ([1.0, -1, -1], [-1.0, -1, 1], [0.0, 0, 0])
    )
    folder = tmp_path_factory.mktemp("plain")
    cases = [case(name, (grey, red, blue, grey)) for name in ("first", "second")]
    written(folder, cases={"AtoB": cases}, scan_scores={"AtoB": scores(cases)})
    return folder / "report.html"


RED, BLUE = [255, 0, 0], [0, 0, 255]


def test_the_line_between_translation_and_truth_is_moved_by_mouse_and_keys(
    browser: Browser, plain: Path
) -> None:
    page = Opened(browser, plain, 1280).page
    assert [colour(page, share) for share in (0.45, 0.55)] == [RED, BLUE]
    page.locator("[name=divider]").focus()
    page.keyboard.press("Home")
    assert [colour(page, share) for share in (0.45, 0.55)] == [BLUE, BLUE]
    page.keyboard.press("End")
    assert [colour(page, share) for share in (0.45, 0.55)] == [RED, RED]
    stage = page.locator(".stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 300)
    page.mouse.up()
    assert [colour(page, share) for share in (0.45, 0.55)] == [RED, BLUE]
    page.locator("[name=right]").select_option("translation")
    assert colour(page, 0.55) == RED
    page.close()


def test_pictures_are_zoomed_and_moved_by_mouse_and_keys(open_page) -> None:
    page = open_page("images")
    viewer, stage = page.locator(".viewer").first, page.locator(".stage").first
    zoom = viewer.locator(".zoom output")

    def panel() -> str:
        return viewer.locator(".panels canvas").first.evaluate("(one) => one.toDataURL()")

    whole = panel()
    stage.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert zoom.text_content() == "400 %"
    near = panel()
    page.keyboard.press("ArrowLeft")
    assert len({whole, near, panel()}) == 3
    page.keyboard.press("0")
    assert (zoom.text_content(), panel()) == ("100 %", whole)
    viewer.locator("[name=nearer]").click()
    assert zoom.text_content() == "200 %"
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 150)
    page.mouse.up()
    assert panel() != near
    viewer.locator("[name=fit]").click()
    stage.dblclick(position={"x": 400, "y": 300})
    assert zoom.text_content() == "200 %"
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function(
        "document.querySelector('.zoom output').textContent === '400 %'", timeout=10_000
    )


def test_all_scans_are_browsed_in_the_order_of_a_score_or_by_name(open_page) -> None:
    page = open_page("images")
    viewer = page.locator(".viewer").first

    def shown(number: int) -> bool:
        page.wait_for_function(
            f"document.querySelector('.viewer').dataset.shown === '{number}'", timeout=10_000
        )
        return f"PSNR (dB) {20 + number}.00" in viewer.locator("output.scores").text_content()

    assert shown(2)  # the median
    options = viewer.locator("[name=scan] option").all_text_contents()
    assert options == [f"photo {i} ({20 + i}.00)" for i in range(4)]
    viewer.locator("[name=next]").click()
    assert shown(3)
    viewer.locator("[name=next]").click()
    assert shown(0)
    viewer.locator("[name=previous]").click()
    assert shown(3)
    viewer.locator("[name=order]").select_option("mae")
    assert viewer.locator("[name=scan] option").first.text_content() == "photo 0 (9.0)"
    viewer.locator("[name=order]").select_option("")
    assert viewer.locator("[name=scan]").input_value() == "3"
    page.locator("details.all summary").first.click()
    page.locator("details.all").first.get_by_role("button", name="photo 1").click()
    assert shown(1)
    page.locator("article.case").first.get_by_role("button").click()
    assert shown(3)


def test_tables_of_scans_are_sorted_by_any_heading(open_page) -> None:
    page = open_page("images")
    page.locator("details.all summary").first.click()
    table = page.locator("table.sortable").first

    def names() -> str:
        return " ".join(table.locator("tbody td:first-child").all_text_contents())

    assert names() == "photo 3 photo 2 photo 1 photo 0"  # the best first
    psnr = table.locator("th", has_text="PSNR")
    assert psnr.get_attribute("aria-sort") == "descending"
    psnr.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert (names(), psnr.get_attribute("aria-sort")) == (
        "photo 0 photo 1 photo 2 photo 3",
        "ascending",
    )
    table.locator("th", has_text="MAE").get_by_role("button").click()
    assert names() == "photo 3 photo 2 photo 1 photo 0"
    assert psnr.get_attribute("aria-sort") is None
    table.get_by_role("button", name="scan").click()
    assert names() == "photo 0 photo 1 photo 2 photo 3"


def test_slices_of_volumes_are_chosen_in_three_planes(open_page) -> None:
    page = open_page("volumes")
    page.wait_for_function("document.querySelector('.viewer').dataset.shown === '1'")
    scan = volumes()[1].stacks["input"][0]
    slider, count = page.locator("[name=slice]"), page.locator("output.slice")

    def drawn() -> list[list[int]]:
        """The slice of the input as it is, one value a pixel."""
        return page.evaluate(
            """() => {
                const { slices } = viewers.AtoB;
                const { width, height } = slices.input;
                const { data } = slices.input.getContext("2d").getImageData(0, 0, width, height);
                const [rows, columns] = [height, width].map((size) => [...Array(size).keys()]);
                return rows.map((y) => columns.map((x) => data[4 * (y * width + x)]));
            }"""
        )

    slider.focus()
    page.keyboard.press("Home")
    assert count.text_content() == "1 of 10"
    assert drawn() == scan[0].tolist()
    page.keyboard.press("ArrowRight")
    assert drawn() == scan[1].tolist()
    assert page.locator(".side").all_text_contents() == ["R", "L"]
    page.locator("[name=plane]").select_option("coronal")
    slider.focus()
    page.keyboard.press("End")
    assert count.text_content() == "9 of 9"
    assert drawn() == scan[:, -1].flip(0).tolist()
    page.locator("[name=plane]").select_option("sagittal")
    slider.focus()
    page.keyboard.press("Home")
    assert drawn() == scan[..., 0].flip(0).tolist()
    assert page.locator(".side").all_text_contents() == ["A", "P"]


def test_the_window_of_volumes_is_chosen_by_keys_and_by_name(open_page) -> None:
    page = open_page("windows")
    page.wait_for_function("document.querySelector('.viewer').dataset.shown === '1'")
    truth = ct_volumes()[1]
    values = truth.tables["truth"][truth.stacks["truth"][0, 5].numpy()]

    def shown(kind: str = "truth") -> np.ndarray:
        """A slice as it is on the page, 0 to 255."""
        return np.array(
            page.evaluate(
                """(kind) => {
                    const slice = viewers.AtoB.slices[kind];
                    const { width, height } = slice;
                    const { data } = slice.getContext("2d").getImageData(0, 0, width, height);
                    const [rows, columns] = [height, width].map((size) => [...Array(size).keys()]);
                    return rows.map((y) => columns.map((x) => data[4 * (y * width + x)]));
                }""",
                kind,
            )
        )

    def expected(centre: float, width: float) -> np.ndarray:
        return np.round(255 * np.clip((values - centre) / width + 0.5, 0, 1))

    # Tables are in the page with six digits, so a grey level may tip.
    group = page.locator(".window[data-side=truth]")
    assert np.abs(shown() - expected(500, 3000)).max() <= 1
    group.locator("[name=window]").select_option("soft tissue")
    assert np.abs(shown() - expected(40, 400)).max() <= 1
    assert group.locator("[name=width]").input_value() == "400"
    before = shown("input")
    group.locator("[name=centre]").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("-600")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("1500")
    assert np.abs(shown() - expected(-600, 1500)).max() <= 1
    assert group.locator("[name=window]").evaluate("(one) => one.value") == "other"
    page.keyboard.press("ArrowUp")
    assert group.locator("[name=width]").input_value() == "1550"
    assert np.array_equal(shown("input"), before)
    page.keyboard.press("Control+a")
    page.keyboard.type("0")  # no window: the one before stays
    assert np.abs(shown() - expected(-600, 1550)).max() <= 1


def test_everything_that_can_be_used_is_reached_by_tab_and_seen_to_be(open_page) -> None:
    page = open_page("volumes", 390)
    reached: list[str] = []
    for _ in range(80):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => [
                document.activeElement.name || document.activeElement.className
                    || document.activeElement.tagName,
                getComputedStyle(document.activeElement).outlineStyle,
            ]"""
        )
        if name == "BODY":
            break
        assert outline != "none"
        reached.append(name)
    wanted = ["scan", "next", "order", "left", "right", "farther", "nearer", "plane", "slice"]
    assert [name for name in reached if name in (*wanted, "stage", "divider")] == [
        *wanted,
        "stage",
        "divider",
    ]
    assert {"link", "scroll", "SUMMARY"} <= set(reached)


def test_without_scripts_the_scores_and_the_featured_pictures_are_there(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(pages["images"].as_uri())
    assert page.locator("article.case img").count() == (3 + 2) * 4
    assert page.locator("h3", has_text="Best by PSNR").first.is_visible()
    assert not page.locator(".viewer").first.is_visible()
    page.close()


def test_printed_pages_show_pictures_and_no_controls(open_page) -> None:
    page = open_page("images")
    page.emulate_media(media="print")
    assert page.locator("article.case img").first.is_visible()
    assert not page.locator(".viewer").first.is_visible()
