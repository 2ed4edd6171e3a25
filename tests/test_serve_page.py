"""The page of `revgan serve` in a real browser, from a real server."""

import asyncio
import gc
import json
import shutil
import socket
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from revgan.data.mappings import Intensity
from revgan.data.preparation import Preparation
from revgan.inference import Translator
from revgan.inference.planning import WindowOptions
from revgan.networks import RevGenerator

pytest.importorskip("gradio")
import httpx
import nibabel
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from revgan.serving import Address, Limits, opened

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no chromium to open the page with; apt-get install it"
    ),
    # Of gradio and what it brings, which we can't mend.
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore:::gradio.queueing"),
]

MOST = 200_000
PATIENCE = 120_000
"""Milliseconds after which something will never happen, on machines under any load."""


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Gradio leaves event loops open, which Python tells of in whatever test comes later."""
    yield
    asyncio.set_event_loop(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@contextmanager
def served(
    translator: Translator, name: str, kept: int = 2**30, ends: tuple[str, str] = ("A", "B")
) -> Iterator[str]:
    """The address of a page, while it is served."""
    limits = Limits(MOST, kept, WindowOptions("whole"))
    with opened(translator, name, Address(port=0), limits, ends) as (server, listening):
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def photos() -> Translator:
    torch.manual_seed(0)
    return Translator(RevGenerator(width=4, depth=1))


@pytest.fixture(scope="module")
def address(photos: Translator) -> Iterator[str]:
    with served(photos, "tiles <b>") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def visit(browser: Browser, address: str, width: int = 1280) -> Iterator[Page]:
    """The page in a window of its own; fails if it asks other servers for anything."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    elsewhere, faults = [], []
    page.on("request", lambda asked: elsewhere.append(asked.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.goto(address)
    page.wait_for_selector("#go")
    yield page
    assert [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))] == []
    assert faults == []
    context.close()


def drop(page: Page, *files: Path) -> None:
    page.set_input_files("#files input[type=file]", [str(file) for file in files])
    for file in files:
        expect(page.locator("#files .file-preview")).to_contain_text(file.suffix)


def translate(page: Page, *files: Path) -> None:
    drop(page, *files)
    page.click("#go")


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (20, 24)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def downloaded(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click(button)
    path = folder / f"downloaded-{download.value.suggested_filename}"
    download.value.save_as(path)
    return path


def by_hand(translator: Translator, path: Path, direction: str = "AtoB") -> bytes:
    target = path.with_name(f"by-hand-{path.name}")
    translator.translate_file(path, target, direction)
    return target.read_bytes()


def sources(page: Page) -> list[str]:
    return page.locator("#compare img").evaluate_all("(all) => all.map((one) => one.src)")


def test_an_image_is_dropped_translated_compared_and_downloaded(
    browser, address, photos, tmp_path
) -> None:
    path = photo(tmp_path / "x.png")
    with visit(browser, address) as page:
        assert page.inner_text("h1") == "tiles <b>"
        page.get_by_label("B to A", exact=True).click()
        translate(page, path)
        expect(page.locator(".done")).to_have_text("x.png: 24 x 20 pixels, uint8")
        expected = by_hand(photos, path, "BtoA")
        assert downloaded(page, "#output", tmp_path).read_bytes() == expected
        (tmp_path / "way").mkdir()
        back = downloaded(page, "#returned", tmp_path / "way")
        (tmp_path / "once.png").write_bytes(expected)
        assert back.read_bytes() == by_hand(photos, tmp_path / "once.png")
        expect(page.locator("#compare img")).to_have_count(2)
        handle = page.locator("#compare .inner, #compare [role=slider], #compare .handle").first
        box, before = handle.bounding_box(), page.locator("#compare").inner_html()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] - 100, box["y"] + box["height"] / 2, steps=3)
        page.mouse.up()
        assert handle.bounding_box()["x"] < box["x"] - 50
        assert page.locator("#compare").inner_html() != before
        shown = sources(page)
        page.get_by_label("Difference", exact=True).click()
        expect(page.locator("#words")).to_contain_text("Red is brighter than the input")
        assert sources(page)[1] != shown[1]
        rule = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
        assert Axe().run(page, options=rule).violations_count == 0


def test_what_can_not_be_translated_ends_in_a_sentence_and_runs_nothing(
    browser, address, tmp_path
) -> None:
    script = tmp_path / "<img src=x onerror=alert(1)>.png"
    script.write_bytes(b"not a picture")
    bomb, tricks = tmp_path / "bomb.zip", tmp_path / "tricks.zip"
    for path, name, content in ((bomb, "x.png", bytes(MOST + 1)), (tricks, "../../x.png", b"x")):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
    said = {
        script: "is not an image despite its name",
        bomb: "unpacks to 0.2 MiB in 1 file",
        tricks: "leads out of the archive",
    }
    with visit(browser, address, 390) as page:
        for bad, sentence in said.items():
            page.goto(address)
            translate(page, bad)
            problem = page.locator(".problem")
            expect(problem).to_contain_text(sentence)
            assert str(tmp_path) not in problem.inner_text()
            assert "revgan-serve" not in problem.inner_text()
        assert page.locator("#status img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_too_large_a_file_is_refused_with_a_sentence(browser, address, tmp_path) -> None:
    large = photo(tmp_path / "large.png", size=(300, 300))
    assert large.stat().st_size > MOST
    with visit(browser, address) as page:
        page.set_input_files("#files input[type=file]", str(large))
        expect(page.locator("body")).to_contain_text(
            'exceed the maximum allowed size of 195.3 Kb: "large.png"'
        )
        page.click("#go")
        expect(page.locator(".problem")).to_contain_text("There is no file yet")


def test_two_people_get_what_is_theirs(browser, address, photos, tmp_path) -> None:
    paths = [tmp_path / name / "x.png" for name in ("one", "two")]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        photo(path, seed)
    with visit(browser, address) as first, visit(browser, address) as second:
        for page, path in zip((first, second), paths, strict=True):
            translate(page, path)
        for page, path in zip((second, first), reversed(paths), strict=True):
            expect(page.locator(".done")).to_be_visible()
            assert downloaded(page, "#output", path.parent).read_bytes() == by_hand(photos, path)


def test_a_volume_is_looked_at_slice_by_slice(browser, tmp_path) -> None:
    network = RevGenerator(spatial_dims=3, in_channels=1, out_channels=1, width=4, depth=1)
    translator = Translator(network, Preparation(Intensity(0, 1), Intensity(0, 1)))
    values = np.random.default_rng(0).random((12, 16, 8), np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    ends = "T1 <b>", "grey matter"
    with served(translator, "x", ends=ends) as address, visit(browser, address) as page:
        expect(page.get_by_label("grey matter to T1 <b>", exact=True)).to_be_visible()
        expect(page.locator("#head")).to_contain_text("T1 <b> with 1 channel and grey matter")
        translate(page, tmp_path / "x.nii")
        expect(page.locator(".done")).to_contain_text("12 x 16 x 8 voxels")
        number = page.locator("#slice input[type=number]")
        expect(number).to_have_value("3")
        shown = sources(page)
        page.get_by_label("Sagittal", exact=True).click()
        expect(number).to_have_value("5")
        page.wait_for_function(
            "(before) => document.querySelector('#compare img').src != before", arg=shown[0]
        )
        shown = sources(page)
        number.fill("7")
        number.press("Enter")
        page.wait_for_function(
            "(before) => document.querySelector('#compare img').src != before", arg=shown[0]
        )
        assert downloaded(page, "#output", tmp_path).suffix == ".nii"


def test_files_that_were_not_uploaded_are_out_of_reach(address, tmp_path) -> None:
    secret = photo(tmp_path / "secret.png")
    config = httpx.get(f"{address}/config").json()
    button = next(
        number for number, each in enumerate(config["dependencies"]) if len(each["inputs"]) == 5
    )
    for path in (str(secret), f"{address}/x.png", "../../secret.png"):
        assert httpx.get(f"{address}/gradio_api/file={path}").status_code in (403, 404)
        named = {"path": path, "meta": {"_type": "gradio.FileData"}}
        asked = {
            "data": [[named], "AtoB", False, None, "Translation"],
            "fn_index": button,
            "session_hash": "s",
        }
        assert httpx.post(f"{address}/gradio_api/queue/join", json=asked).status_code == 200
        events = httpx.get(f"{address}/gradio_api/queue/data?session_hash=s", timeout=120).text
        last = json.loads(events.strip().splitlines()[-3].removeprefix("data: "))
        assert "secret" not in json.dumps(last.get("output", {}))
        assert not last.get("success") or "weren't uploaded" in json.dumps(last)


def test_other_sites_and_large_bodies_are_turned_away(address) -> None:
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 400
    answer = httpx.get(address)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    files = {"files": ("x.png", bytes(2**21))}
    refused = httpx.post(f"{address}/gradio_api/upload", files=files)
    assert refused.status_code == 413
    assert "this page takes" in refused.text
    from_elsewhere = {"files": ("x.png", b"x")}, {"Sec-Fetch-Site": "cross-site"}
    upload = f"{address}/gradio_api/upload"
    refused = httpx.post(upload, files=from_elsewhere[0], headers=from_elsewhere[1])
    assert (refused.status_code, refused.text) == (403, "this page takes nothing from other sites")
    # Gradio would read a body of any size, and one that says a size and comes in chunks.
    assert (
        httpx.post(f"{address}/gradio_api/queue/join", content=bytes(2**25 + 1)).status_code == 413
    )
    for size in ("", "Content-Length: 9\r\n"):  # httpx would not lie
        url = httpx.URL(upload)
        with socket.create_connection((url.host, url.port), timeout=60) as raw:
            head = f"POST {url.path} HTTP/1.1\r\nHost: localhost\r\n{size}"
            raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n".encode())
            assert raw.recv(12) in (b"HTTP/1.1 411", b"HTTP/1.1 400")


def test_functions_that_are_not_there_end_in_a_sentence_and_no_traceback(address, caplog) -> None:
    gradio, named = f"{address}/gradio_api", {"data": [], "session_hash": "s"}
    with caplog.at_level("WARNING"):
        answers = [
            *(
                httpx.post(f"{gradio}/{way}/x", json=named)
                for way in ("run", "api", "call", "call/v2")
            ),
            httpx.get(f"{gradio}/call/x/y"),
            httpx.post(f"{gradio}/queue/join", json=named | {"fn_index": 12345}),
            httpx.post(f"{gradio}/queue/join", json=named),
            httpx.post(f"{gradio}/queue/join", json=named | {"fn_index": 0, "data": "x"}),
        ]
    assert {answer.status_code for answer in answers} <= {400, 404, 422}
    assert all("\n" not in answer.text for answer in answers)
    assert [record.exc_info for record in caplog.records] == [None] * len(caplog.records)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.xml", "x.js"])
def test_uploaded_pages_and_scripts_are_never_shown_as_such(address, name) -> None:
    script = {"files": (name, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")}
    (path,) = httpx.post(f"{address}/gradio_api/upload", files=script).json()
    answer = httpx.get(f"{address}/gradio_api/file={path}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_kept_has_a_limit_and_the_oldest_goes_first(photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def there() -> set[str]:
        return {path.name for path in tmp_path.glob("revgan-serve-*/uploads/*/*")}

    with served(photos, "x", kept=3 * MOST) as address:
        upload = f"{address}/gradio_api/upload"
        for number in range(8):
            body = bytes([number]) * (MOST - 1000)
            assert httpx.post(upload, files={"files": (f"{number}.png", body)}).status_code == 200
            assert f"{number}.png" in there()
            assert len(there()) <= 2  # and what is coming
        url = httpx.URL(upload)
        with socket.create_connection((url.host, url.port), timeout=60) as raw:
            # Who never ends sending keeps what it declares from others, but no more.
            head = f"POST {url.path} HTTP/1.1\r\nHost: localhost\r\n"
            head += "Content-Type: multipart/form-data; boundary=x\r\n"
            raw.sendall(f"{head}Content-Length: {MOST}\r\n\r\n--x".encode())
            assert httpx.post(upload, files={"files": ("y.png", body)}).status_code == 200
    with served(photos, "x", kept=MOST // 2) as address:
        refused = httpx.post(f"{address}/gradio_api/upload", files={"files": ("x.png", body)})
        assert refused.status_code == 503
        assert refused.text.endswith("at the moment; try again later")


def test_nothing_is_left_of_a_server_that_was_stopped(photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with served(photos, "x") as address:
        files = {"files": ("x.png", photo(tmp_path / "x.png").read_bytes())}
        httpx.post(f"{address}/gradio_api/upload", files=files)
        assert len(list(tmp_path.glob("revgan-serve-*/uploads/*/x.png"))) == 1
    assert list(tmp_path.glob("revgan-*")) == []
