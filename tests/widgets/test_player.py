"""The timestep player: its code survives the round trip, its page is self-contained and accessible."""

import base64
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffinfinite_lite.widgets.pictures import Picture
from diffinfinite_lite.widgets.player import player, run_lengths
from tests.check_site import browser, chromium


@given(arrays(np.int32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 3)))
def test_run_lengths_decode_to_the_frame(frame):
    code = run_lengths(frame)
    decoded = [value for value, count in zip(code[::2], code[1::2], strict=True) for _ in range(count)]
    assert decoded == frame.ravel().tolist()


def test_page_holds_every_frame_and_asks_for_nothing():
    frames = [np.full((4, 6), 2), np.full((4, 6), 1)]
    page = player(frames, name="a-1", title='Map of "all" <pixels>')
    held = re.findall(r'"([A-Za-z0-9+/=]+)"[,\]]', re.search(r"frames = (\[.*?\])", page)[1])
    assert [base64.b64decode(code) for code in held] == [run_lengths(frame) for frame in frames]
    assert "http" not in page
    assert "%NAME%" not in page and not re.search(r"%[A-Z]+%", page)
    assert "Map of &quot;all&quot; &lt;pixels&gt;" in page


def test_controls_have_names():
    page = player([np.zeros((2, 2), int)], name="p", title="t")
    for button in re.findall(r"<button.*?</button>", page, re.S):
        assert re.search(r">\w+</button>", button)
    assert all("aria-label" in control for control in re.findall(r"<(?:input|canvas)[^>]*>", page))


@pytest.mark.parametrize(("first", "done"), [([[2, 1]], 0), ([[1, 1]], 1)])
def test_a_picture_for_each_step_stands_beside_the_map(first, done):
    """The first frame may have a step behind it already: where one window covers the canvas."""
    frames = [np.array(first), np.array([[1, 0]]), np.array([[0, 0]])]
    pictures = [Picture(np.full((8, 8, 3), n, np.uint8), f"step {n}", "") for n in range(3)]
    page = player(frames, pictures, name="p", title="t")
    assert re.findall(r'<img [^>]*alt="(step \d)"', page) == ["step 0", "step 1", "step 2"]
    assert f"step !== {done} + top_ - most" in page
    with pytest.raises(ValueError, match=r"expected \d pictures for \d steps, got 5"):
        player(frames, pictures[:1] * 5, name="p", title="t")


@pytest.mark.parametrize(
    ("frames", "name", "message"),
    [
        ([], "p", "at least one frame"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], "p", "one shape"),
        ([np.full((2, 2), -1)], "p", "between 0 and 255"),
        ([np.full((2, 2), 256)], "p", "between 0 and 255"),
        ([np.zeros((2, 2))], "a b", "letters, digits"),
    ],
)
def test_bad_input_is_one_sentence(frames, name, message):
    with pytest.raises(ValueError, match=message):
        player(frames, name=name, title="t")


def greys(count):
    return [Picture(np.full((8, 8, 3), 20 * n, np.uint8), f"after {n}", "") for n in range(count)]


def test_one_picture_more_than_steps():
    frames = [np.full((2, 2), left) for left in (2, 1, 0)]
    with pytest.raises(ValueError, match="expected 3 pictures for 2 steps, got 2"):
        player(frames, greys(2), name="p", title="t")


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")
def test_the_picture_beside_a_frame_is_what_its_windows_read(tmp_path):
    """While some pixels have 2 steps to go and others 1, no step is complete."""
    frames = [np.full((2, 2), 2), np.array([[1, 2], [2, 2]]), np.full((2, 2), 1), np.zeros((2, 2), int)]
    (tmp_path / "page.html").write_text(player(frames, greys(3), name="p", title="t"), "utf8")
    with browser() as window:
        window.open(tmp_path / "page.html")
        seen = []
        for _ in frames:
            seen.append(window.page.locator("img:visible").get_attribute("alt"))
            window.page.get_by_role("button", name="Next frame").click()
        assert seen == ["after 0", "after 0", "after 1", "after 2"]
        assert window.errors == []
