"""The before-after slider: valid and self-contained, and its line follows keys, buttons and the mouse."""

import numpy as np
import pytest

from diffinfinite_lite.widgets.compare import compare
from diffinfinite_lite.widgets.pictures import Picture
from tests.widgets.test_sweep import Checked, browser_page, document, grey, needs_chromium  # noqa: F401


def test_page_holds_both_pictures_and_asks_for_nothing():
    page = compare(grey(40, "dark", "as scanned"), grey(200, "light", "normalised"), name="c", title="Stain")
    assert [image["alt"] for image in Checked(page).images] == ["light", "dark"]
    assert "http" not in page and "%NAME%" not in page
    assert "Left of the line: as scanned. Right of it: normalised." in page


def test_texts_are_escaped_once_and_never_filled_in():
    bad = '"><script>alert(1)</script> & %IMAGES%'
    page = compare(grey(0, bad, bad), grey(9, "b", "b"), name="p", title=bad)
    assert Checked(page).images[1]["alt"] == bad
    assert page.count("<script>") == 1 and page.count("<img") == 2


@pytest.mark.parametrize(
    ("before", "after", "name", "message"),
    [
        (grey(0, alt=""), grey(0), "p", "alt text"),
        (grey(0, caption=" "), grey(0), "p", "caption for both"),
        (grey(0), Picture(np.zeros((4, 4, 3), np.uint8), "a", "c"), "p", "of one shape"),
        (grey(0), grey(0), "", "letters, digits"),
    ],
)
def test_bad_input_is_one_sentence(before, after, name, message):
    with pytest.raises(ValueError, match=message):
        compare(before, after, name=name, title="t")


def test_budget_is_kept():
    noise = Picture(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8), "noise", "noise")
    with pytest.raises(ValueError, match="at most 500 bytes"):
        compare(noise, noise, name="p", title="t", budget=500)


@needs_chromium
def test_line_follows_keys_buttons_and_mouse(browser_page):  # noqa: F811
    from axe_playwright_python.sync_playwright import Axe

    page = browser_page
    html = compare(grey(40, "dark", "before"), grey(200, "light", "after"), name="c", title="Stain")
    page.set_content(document("<h1>Compare</h1>" + html))
    slider, words = page.get_by_role("slider", name="Line of: Stain"), page.locator("p")

    def clipped():
        return page.locator("[data-over]").evaluate("image => image.style.clipPath")

    assert "50%" in clipped()
    slider.press("ArrowRight")
    assert "49%" in clipped() and slider.get_attribute("aria-valuetext").startswith("51%")
    page.get_by_role("button", name="before").press("Enter")
    assert words.inner_text() == "Whole picture: before."
    page.get_by_role("button", name="after").click()
    assert words.inner_text() == "Whole picture: after." and "100%" in clipped()
    box = page.locator("[data-frame]").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], middle, steps=3)
    page.mouse.up()
    assert "75%" in clipped() and slider.input_value() == "25"
    page.mouse.move(box["x"] + 0.9 * box["width"], middle)
    assert slider.input_value() == "25", "the line follows a pressed button only"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert Axe().run(page).violations_count == 0
