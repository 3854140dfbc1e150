"""Pictures under their masks: outlines lie where labels end, the switch needs no script."""

import numpy as np
import pytest
from skimage.draw import polygon

from diffinfinite_lite.widgets.masked import Masked, masked
from diffinfinite_lite.widgets.pictures import Picture
from diffinfinite_lite.widgets.regions import TOLERANCE, deepest, region_paths
from tests.check_site import PHONE, browser, chromium

needs_chromium = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")


def disc(side=120, radius=40):
    rows, columns = np.mgrid[:side, :side] + 0.5
    return np.where(np.hypot(rows - side / 2, columns - side / 2) < radius, 1, 3).astype(np.uint8)


def filled(path, shape):
    """The pixels within a path, even-odd."""
    inside = np.zeros(shape, bool)
    for ring in path.strip("MZ").split("ZM"):
        corners = np.array([[float(n) for n in corner.split()] for corner in ring.split("L")])
        inside[polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, shape)] ^= True
    return inside


def test_paths_follow_the_regions_with_few_corners():
    mask = disc()
    paths = region_paths(mask)
    assert sorted(paths) == [1, 3]
    for label, path in paths.items():
        wrong = (filled(path, mask.shape) != (mask == label)).sum()
        assert wrong < TOLERANCE * 2 * np.pi * 40  # a line leaves the edges by no more than the tolerance
    assert paths[1].count("L") < 40 < region_paths(mask, 0)[1].count("L")


def test_small_regions_stay():
    mask = np.zeros((9, 9), int)
    mask[4, 4] = 2
    assert region_paths(mask) == {2: "M4 4L5 4L5 5L4 5Z"}


def test_the_deepest_place_lies_in_the_middle_of_the_largest_region():
    mask = disc()
    mask[2:6, 2:6] = 1
    assert np.abs(np.subtract(deepest(mask, 1), 60)).max() <= 1
    assert deepest(mask, 2) is None


def fields(count=3):
    grey = [np.full((120, 120, 3), 100 + 40 * n, np.uint8) for n in range(count)]
    return [Masked(Picture(pixels, f"grey {n}", f"Grey {n}."), disc(), [(60, 60, "the <middle>")])
            for n, pixels in enumerate(grey)]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": []}, "expected pictures"),
        ({"way": "dotted"}, "outlines, filled, none"),
        ({"name": "a b"}, "letters, digits"),
        ({"fields": [Masked(fields(1)[0].picture, disc(100))]}, "a mask of 120 x 120 px"),
        ({"fields": [Masked(fields(1)[0].picture, disc(), [(120, 5, "below")])]}, "marks within 120 x 120 px"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        masked(**{"fields": fields(1), "name": "m", "title": "t", **change})


@needs_chromium
def test_the_switch_by_keyboard_and_on_a_phone(tmp_path):
    html = masked(fields(), name="m", title="Three greys")
    head = '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Greys</title>'
    (tmp_path / "page.html").write_text(f"{head}<main><h1>Greys</h1>{html}</main></html>", "utf8")
    with browser() as window:
        window.open(tmp_path / "page.html")
        line, filling = window.page.locator(".region-line").first, window.page.locator(".region-fill").first
        seen = []
        window.page.get_by_role("radio", name="outlines").focus()
        for _ in range(3):
            seen.append((line.is_visible(), filling.is_visible()))
            window.page.keyboard.press("ArrowRight")
        assert seen == [(True, False), (False, True), (False, False)]
        lefts = [box.bounding_box()["x"] for box in window.page.locator("figure").all()]
        assert lefts == sorted(set(lefts))  # side by side
        assert window.page.get_by_text("the <middle>").count() == 3
        assert window.axe() == [] and window.errors == [] and window.outside == []
        read = "e => e.map((i) => getComputedStyle(i).printColorAdjust)"
        printed = window.page.locator(".masked-legend i").evaluate_all(read)
        assert set(printed) == {"exact"}  # or the legend has no colours on paper
        window.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        assert len({box.bounding_box()["x"] for box in window.page.locator("figure").all()}) == 1  # below each other
        assert window.too_wide() <= 0
