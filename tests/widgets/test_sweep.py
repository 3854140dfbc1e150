"""The sweep: one picture for each combination, a page that is valid and self-contained, controls that work."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite.widgets.pictures import Picture
from diffinfinite_lite.widgets.sweep import sweep
from tests.check_site import chromium

CHROMIUM = chromium()
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
VOID = {"img", "input", "br", "hr"}


class Checked(HTMLParser):
    """Raises where elements are not nested, ids repeat or a label or attribute points nowhere."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.targets, self.images = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, f"left open: {self.open}"
        assert len(set(self.ids)) == len(self.ids), f"repeated ids: {self.ids}"
        assert set(self.targets) <= set(self.ids), f"labels of nothing: {self.targets}"

    def handle_starttag(self, tag, attrs):
        names = [key for key, _ in attrs]
        assert len(set(names)) == len(names), f"repeated attribute in {tag}: {names}"
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.targets += [values["for"]] if "for" in values else []
        self.images += [values] if tag == "img" else []
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"unexpected </{tag}>"


def grey(value, alt="grey", caption="A plain picture."):
    return Picture(np.full((16, 24, 3), value, np.uint8), alt, caption)


def grid():
    return {
        (omega, context): grey(60 * omega + 20 * k, f"{context} at {omega}", f"Grey {60 * omega + 20 * k}, {context}.")
        for omega in (0, 1, 3)
        for k, context in enumerate(("normal", "squamous"))
    }


AXES = {"ω": (0, 1, 3), "Context": ("normal", "squamous")}


def document(body):
    return f'<!doctype html><html lang="en"><head><title>t</title></head><body><main>{body}</main></body></html>'


@pytest.fixture
def browser_page():
    """A page of phone width that fails the test on console errors and on anything fetched from outside."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 640})
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: None if request.url.startswith("data:") else problems.append(request.url))
        yield page
        browser.close()
    assert not problems


def test_page_holds_each_picture_in_the_order_of_the_axes():
    page = sweep(grid(), AXES, name="a-1", title='ω of "all" <models>')
    images = Checked(page).images
    assert [image["alt"] for image in images] == [f"{c} at {w}" for w in (0, 1, 3) for c in ("normal", "squamous")]
    assert ["hidden" in image for image in images] == [False] + 5 * [True]
    for image, value in zip(images, (0, 20, 60, 80, 180, 200), strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1])))
        assert shown.size == (24, 16) and abs(np.asarray(shown.convert("RGB")).mean() - value) < 4
    assert "&quot;all&quot; &lt;models&gt;" in page and not re.search("http|%NAME%", page)


def test_texts_are_escaped():
    bad = '"><script>alert(1)</script>'
    states = {(bad,): grey(0, bad, bad), ("b",): grey(9)}
    page = sweep(states, {bad: (bad, "b")}, name="p", title=bad)
    image = Checked(page).images[0]
    assert image["alt"] == image["data-caption"] == bad
    assert page.count("<script>") == 1


def test_quality_falls_until_the_pictures_fit():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    states = {(0,): Picture(noise, "noise", "Noise.")}
    best = len(sweep(states, {"a": (0,)}, name="p", title="t"))
    less = len(sweep(states, {"a": (0,)}, name="p", title="t", budget=best - 2500))
    assert less < best
    with pytest.raises(ValueError, match="at most 100 bytes"):
        sweep(states, {"a": (0,)}, name="p", title="t", budget=100)


@pytest.mark.parametrize(
    ("states", "axes", "name", "message"),
    [
        ({(): grey(0)}, {}, "p", "one or two axes, got 0"),
        ({(0, 0, 0): grey(0)}, {"a": (0,), "b": (0,), "c": (0,)}, "p", "got 3"),
        ({}, {"a": ()}, "p", "different values on the axis a"),
        ({(0,): grey(0)}, {"a": (0, 0)}, "p", "different values"),
        ({(0,): grey(0)}, {"a": (0, 1)}, "p", "each of the 2 combinations"),
        ({(0,): grey(0), (1,): grey(0)}, {"a": (0,)}, "p", "each of the 1 combinations"),
        ({(0,): grey(0, alt=" ")}, {"a": (0,)}, "p", "alt text"),
        ({(0,): Picture(np.zeros((4, 4), np.uint8), "a", "c")}, {"a": (0,)}, "p", "of bytes and of one shape"),
        ({(0,): Picture(np.zeros((4, 4, 3)), "a", "c")}, {"a": (0,)}, "p", "of bytes and of one shape"),
        (
            {(0,): grey(0), (1,): Picture(np.zeros((4, 4, 3), np.uint8), "a", "c")},
            {"a": (0, 1)},
            "p",
            "of one shape",
        ),
        ({(0,): grey(0)}, {"a": (0,)}, "a b", "letters, digits"),
    ],
)
def test_bad_input_is_one_sentence(states, axes, name, message):
    with pytest.raises(ValueError, match=message):
        sweep(states, axes, name=name, title="t")


@needs_chromium
def test_keys_turn_the_sweep(browser_page):
    from axe_playwright_python.sync_playwright import Axe

    page = browser_page
    page.set_content(document("<h1>Sweep</h1>" + sweep(grid(), AXES, name="s", title="Guidance")))

    def shown():
        return page.locator("img:visible").evaluate_all("all => all.map(image => image.alt)")

    assert shown() == ["normal at 0"]
    slider = page.get_by_role("slider", name="ω")
    slider.press("ArrowRight")
    assert shown() == ["normal at 1"] and slider.get_attribute("aria-valuetext") == "1"
    slider.press("End")
    page.get_by_role("radio", name="normal").press("ArrowRight")
    assert shown() == ["squamous at 3"]
    assert page.locator("p").inner_text() == "Grey 200, squamous."
    assert slider.get_attribute("aria-valuetext") == "3"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert Axe().run(page).violations_count == 0
