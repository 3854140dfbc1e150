"""Deep zoom: the viewer in a browser, from ``file://``."""

import io
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import sync_playwright

from diffinfinite_lite.labels import LABELS
from diffinfinite_lite.widgets import deepzoom
from diffinfinite_lite.widgets.deepzoom import deep_zoom
from tests.check_site import chromium

CHROMIUM = chromium()
SHAPE = (300, 523)


@pytest.fixture(scope="module")
def picture():
    """Smooth, so that JPEG keeps it; different everywhere, so that a misplaced tile is seen."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([rows * 255 // SHAPE[0], columns * 255 // SHAPE[1], np.full(SHAPE, 128)], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def mask():
    return (np.add.outer(np.arange(SHAPE[0]) // 40, np.arange(SHAPE[1]) // 40) % 6).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"uint8 \(H, W, 3\)"),
        ({"image": np.zeros((4, 4, 3))}, "got float64"),
        ({"mask": np.zeros((4, 5), np.uint8)}, "labels 0 to 5 of shape"),
        ({"mask": np.full((4, 4), 6, np.uint8)}, "got 6 to 6"),
        ({"name": "a b"}, "letters, digits"),
        ({"mpp": 0}, "mpp above 0"),
        ({"opacity": 2}, "opacity from 0 to 1"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    arguments = {"image": np.zeros((4, 4, 3), np.uint8), "name": "p", "title": "t", "mpp": 0.5}
    with pytest.raises(ValueError, match=message):
        deep_zoom(**{**arguments, **change})


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that remembers its errors and what it requested."""
    page = browser.new_page(viewport={"width": 900, "height": 800})
    page.faults, page.requested = [], []
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda request: page.requested.append(request.url))
    yield page
    page.close()


def show(page, html, folder, items):
    head = '<!doctype html><html lang="en"><title>Deep zoom</title><main><h1>Deep zoom</h1>'
    (folder / "page.html").write_text(f"{head}{html}</main></html>", encoding="utf-8")
    page.goto((folder / "page.html").as_uri())
    page.wait_for_function(f"""() => {{
        const world = document.getElementById("z").viewer?.world;
        return world?.getItemCount() === {items} && world.getItemAt({items - 1}).getFullyLoaded()
            && world.getItemAt(0).getFullyLoaded();
    }}""")


def state(page, what):
    return page.evaluate(f"() => document.getElementById('z').viewer.{what}")


def colours(page):
    """The middle of the view, (H, W, 3)."""
    shot = Image.open(io.BytesIO(page.locator(".deep-zoom-frame").screenshot())).convert("RGB")
    return np.asarray(shot).astype(int)[150:-150, 250:-250]


def test_viewer_from_file(picture, mask, page, tmp_path, monkeypatch):
    monkeypatch.setenv(deepzoom.VARIABLE, str(tmp_path / "_assets"))
    html = deep_zoom(picture, mask, name="z", title="A <toy> & more", mpp=0.5, opacity=0.3, outlined=False)
    assert len(html) < 25_000 and not re.search(r"%[A-Z]+%", html)
    show(page, html, tmp_path, items=2)
    assert "µm" in page.locator("[data-part=length]").inner_text()
    assert page.locator(".deep-zoom-legend").inner_text().split() == list(LABELS)

    home = state(page, "viewport.getZoom()")
    page.get_by_role("button", name="Zoom in").click()
    assert state(page, "viewport.getZoom()") == pytest.approx(1.5 * home)
    page.get_by_role("button", name="Whole picture").click()
    assert state(page, "viewport.getZoom()") == pytest.approx(home)
    page.mouse.move(450, 300)
    page.mouse.wheel(0, -400)  # without the focus the wheel belongs to the page
    page.wait_for_timeout(200)
    assert state(page, "viewport.getZoom()") == pytest.approx(home)
    page.mouse.click(450, 300)
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"() => document.getElementById('z').viewer.viewport.getZoom() > {1.05 * home}")
    page.keyboard.press("Home")
    page.keyboard.press("+")
    page.wait_for_function(f"() => document.getElementById('z').viewer.viewport.getZoom() > {1.01 * home}")
    before = state(page, "viewport.getCenter().x")
    page.mouse.move(450, 300)
    page.mouse.down()
    page.mouse.move(350, 300, steps=4)
    page.mouse.up()
    assert state(page, "viewport.getCenter().x") > before

    page.get_by_role("slider").fill("100")
    page.wait_for_timeout(300)
    covered = colours(page)
    page.get_by_role("slider").fill("0")
    page.wait_for_timeout(300)
    assert state(page, "world.getItemAt(1).getOpacity()") == 0
    assert np.abs(colours(page) - covered).mean() > 40
    assert np.abs(colours(page)[..., 2] - 128).mean() < 3  # blue is the same all over the picture, and nothing veils it
    assert not page.faults
    assert page.requested and all(address.startswith("file:") for address in page.requested)
    assert Axe().run(page).violations_count == 0


def test_outlines_lie_on_the_picture_at_any_zoom(page, tmp_path, monkeypatch):
    monkeypatch.setenv(deepzoom.VARIABLE, str(tmp_path / "_assets"))
    white, square = np.full((*SHAPE, 3), 255, np.uint8), np.zeros(SHAPE, np.uint8)
    square[100:200, 200:300] = 1
    html = deep_zoom(white, square, name="z", title="t", mpp=0.5)
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function("() => document.getElementById('z').viewer?.world.getItemAt(0)?.getFullyLoaded()")
    for button in ("Whole picture", "Zoom in", "Zoom in"):
        page.get_by_role("button", name=button).click()
        page.wait_for_timeout(1200)
        box = page.locator(".region-line").bounding_box()
        expected = page.evaluate("""() => {
            const { viewer } = document.getElementById("z"), picture = viewer.world.getItemAt(0);
            const [a, b] = [[200, 100], [300, 200]].map(([x, y]) => viewer.viewport.pixelFromPoint(
                picture.imageToViewportCoordinates(x, y), true));
            const frame = viewer.element.getBoundingClientRect();
            return [a.x + frame.x, a.y + frame.y, b.x - a.x, b.y - a.y];
        }""")
        assert [box["x"], box["y"], box["width"], box["height"]] == pytest.approx(expected, abs=3)
    page.get_by_role("checkbox", name="Outlines of the mask").uncheck()
    assert not page.locator(".region-line").is_visible()
    assert not page.faults


def test_scale_bar_measures_the_picture(picture, page, tmp_path, monkeypatch):
    monkeypatch.setenv(deepzoom.VARIABLE, str(tmp_path / "_assets"))
    show(page, deep_zoom(picture, name="z", title="t", mpp=0.5), tmp_path, items=1)
    number, unit = page.locator("[data-part=length]").inner_text().split()
    bar = page.locator("[data-part=bar]").bounding_box()["width"]
    scale = state(page, f"world.getItemAt(0).viewportToImageZoom({state(page, 'viewport.getZoom()')})")
    assert unit == "µm" and float(number) / 0.5 * scale == pytest.approx(bar, rel=0.02)
    assert page.get_by_role("slider").count() == 0


def test_picture_in_the_output_of_a_notebook(picture, mask, page, tmp_path, monkeypatch):
    monkeypatch.delenv(deepzoom.VARIABLE, raising=False)
    monkeypatch.setattr(deepzoom, "INLINE", 300)
    html = deep_zoom(picture, mask, name="z", title="t", mpp=0.5, opacity=0.3)
    assert "Reduced here to 262 of 523 px" in html
    show(page, html, tmp_path, items=2)
    assert state(page, "world.getItemAt(0).getContentSize().x") == 262
    assert not page.faults
    assert not [address for address in page.requested if not address.startswith(("file:", "data:", "blob:"))]


def test_missing_assets_are_said(picture, page, tmp_path, monkeypatch):
    monkeypatch.setenv(deepzoom.VARIABLE, str(tmp_path / "elsewhere"))
    html = deep_zoom(picture, name="z", title="t", mpp=0.5)
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    page.get_by_text("keep the folder _assets").wait_for(timeout=5000)
