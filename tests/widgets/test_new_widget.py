"""A new widget in at most 30 lines and one module: the example of ``docs/extending.md`` in a page and in a browser."""

import inspect
import re
from html import escape

import numpy as np
import pytest

from diffinfinite_lite.widgets.pictures import Picture, check_name, data_uris, fill, image_tag
from tests.widgets.test_sweep import Checked, browser_page, document, grey, needs_chromium  # noqa: F401


def blink(first: Picture, second: Picture, *, name: str, title: str, budget: int = 500_000) -> str:
    """HTML of two pictures of one shape, of which a button shows one at a time; both take at most `budget` bytes."""
    check_name(name)
    one, two = data_uris([first, second], budget)
    images = image_tag(one, first) + image_tag(two, second, attributes="hidden")
    return fill(_PAGE, NAME=name, TITLE=escape(title), IMAGES=images)


_PAGE = """
<div id="%NAME%" role="group" aria-label="%TITLE%">%IMAGES%<button type="button">Change</button></div>
<script>
(() => {
  const root = document.getElementById("%NAME%");
  root.querySelector("button").onclick = () => {
    for (const image of root.querySelectorAll("img")) image.hidden = !image.hidden;
  };
})();
</script>
"""


def test_the_example_is_short():
    assert len(inspect.getsource(blink).splitlines()) + len(_PAGE.splitlines()) <= 30


def test_the_page_holds_both_pictures_and_fetches_nothing():
    page = blink(grey(10, "dark"), grey(200, "light"), name="b", title='Before & "after"')
    assert [image["alt"] for image in Checked(page).images] == ["dark", "light"]
    assert "http" not in page and not re.search(r"%[A-Z]+%", page)
    assert 'aria-label="Before &amp; &quot;after&quot;"' in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a b"}, "letters, digits"),
        ({"second": grey(0, alt="")}, "alt text"),
        ({"second": Picture(np.zeros((4, 4, 3), np.uint8), "a", "c")}, "of one shape"),
        ({"budget": 50}, "at most 50 bytes"),
    ],
)
def test_what_the_shared_parts_refuse(change, message):
    arguments = {"first": grey(0), "second": grey(9), "name": "b", "title": "t"}
    with pytest.raises(ValueError, match=message):
        blink(**arguments | change)


@needs_chromium
def test_the_button_changes_the_picture(browser_page):  # noqa: F811
    browser_page.set_content(document(blink(grey(10, "dark"), grey(200, "light"), name="b", title="t")))
    shown = browser_page.locator("img:visible")
    assert shown.get_attribute("alt") == "dark"
    browser_page.get_by_role("button", name="Change").press("Enter")
    assert shown.get_attribute("alt") == "light"
