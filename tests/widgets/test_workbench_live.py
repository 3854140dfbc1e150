"""The workbench in a browser, tab by tab: strokes, keys, a cancelled run, a sheet finished, files, places in the queue.

Without an error on the console, without a request to another host, and without a finding of axe.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from diffinfinite_lite.models.autoencoder import MARGIN
from diffinfinite_lite.sampling.plans import mixture
from diffinfinite_lite.widgets.state import State
from tests.check_site import PHONE, WCAG, chrome, chromium, window_of
from tests.toys import tiny_model

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")
AIR = np.full((64, 96), 5, np.uint8)
LINK = State().draw(AIR).change("steps", "2").change("seed", "5").change("sweep", "conditioning").to_query()


@contextmanager
def served(weights, folder):
    """The address of a workbench that is served with a model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "diffinfinite_lite.cli", "workbench", "--no-browser", "--device", "cpu"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*command, "--port", str(port), "--weights", str(weights)],
                                  stdout=log, stderr=subprocess.STDOUT,
                                  env=os.environ | {"DIFFINFINITE_DATA": str(folder)})  # fmt: skip  # no training tiles
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield f"localhost:{port}"
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def address(tiny_weights, tmp_path_factory):
    with served(tiny_weights, tmp_path_factory.mktemp("workbench")) as address:
        yield address


@pytest.fixture(scope="module")
def started():
    with chrome() as started:
        yield started


@pytest.fixture
def watch(started):
    with window_of(started) as watch:
        watch.page.set_default_timeout(60_000)
        yield watch
        assert [error for error in watch.errors if "GL Driver" not in error] == []
        assert [url for url in watch.outside if "//localhost:" not in url] == []


def open_page(watch, address, link=LINK):
    watch.page.goto(f"http://{address}/?{link}")
    watch.page.get_by_text("evaluations of the network").first.wait_for()
    return watch.page


def shown(page):
    """The address of the picture under the mask."""
    return page.locator(".surface img").get_attribute("src")


def violations(watch):
    """What axe finds, colours included: the page is in a shadow, which `Watch.contrast` does not see."""
    only = {"runOnly": {"type": "tag", "values": list(WCAG)}, "resultTypes": ["violations"], "preload": False}
    found = Axe().run(watch.page, options=only)
    return [(rule["id"], rule["nodes"][0]["html"]) for rule in found.response["violations"]]


def saved(page, name):
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return download.value.path()


def until_painted(page, before):
    """The picture that comes after another one."""
    for _ in range(300):
        if (now := shown(page)) != before:
            return now
        page.wait_for_timeout(100)
    pytest.fail("expected another picture, got the one before")


def test_paint_by_pointer_and_keys_saved_and_loaded(watch, address, tmp_path):
    page = open_page(watch, address)
    page.get_by_role("tab", name="Paint").click()
    surface, before = page.locator(".surface"), shown(page)
    box = surface.bounding_box()
    page.get_by_role("button", name="stroma").click()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=8)
    page.mouse.up()
    painted = until_painted(page, before)
    mask = np.asarray(Image.open(saved(page, "Mask as PNG")))
    rows, columns = np.nonzero(mask == 3)
    # the brush is 14 px wide to either side
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == pytest.approx([18, 46, 15, 81], abs=2)
    annotations = saved(page, "Mask as GeoJSON")
    assert [f["properties"]["classification"]["name"] for f in json.loads(annotations.read_text())["features"]]
    page.get_by_role("button", name="Undo").click()
    assert until_painted(page, painted) == before
    surface.focus()
    for key in ("1", "f", "Enter"):
        page.keyboard.press(key)
    filled = until_painted(page, before)
    assert (np.asarray(Image.open(saved(page, "Mask as PNG"))) == 1).all()
    page.keyboard.press("Tab")
    file = tmp_path / "mask.geojson"
    file.write_bytes(annotations.read_bytes())
    page.locator(".paint input[type=file]").first.set_input_files(file)
    until_painted(page, filled)
    assert np.array_equal(np.asarray(Image.open(saved(page, "Mask as PNG"))), mask)
    assert violations(watch) == []


def test_explore_a_turned_control_a_fault_and_a_cancelled_run(watch, address):
    page = open_page(watch, address)
    page.get_by_label("seed").fill("")
    page.keyboard.press("Tab")
    page.get_by_text("expected seed to be a whole number, got ''").wait_for()
    frame = page.get_by_role("group", name="Picture; arrow keys")
    frame.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("Row 0, column 8: at level 2 window").wait_for()
    page.get_by_role("button", name="Level back").click()
    page.get_by_text("Level 1 of 2").wait_for()
    assert violations(watch) == []
    page.locator(".side [data-name=steps] input").evaluate(
        "slider => { slider.value = 50; slider.dispatchEvent(new Event('change')); }"
    )
    page.get_by_label("size, px").fill("1024x1024")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    assert "size=1024x1024" in page.url and "steps=50" in page.url


def test_windows_that_begin_in_the_margin(watch, tmp_path):
    """The picture is asked which windows wrote a place: those of the canvas, told from the picture's corner."""
    weights, row, column = tiny_model(tmp_path, borders="reflected"), MARGIN, MARGIN + 1  # of the canvas
    views = [at for at, _ in mixture((8 + 2 * MARGIN, 12 + 2 * MARGIN), 8, torch.Generator())]
    wrote = [
        str(number)
        for number, at in enumerate(views, start=1)
        if at.top <= row < at.top + at.height and at.left <= column < at.left + at.width
    ]
    with served(weights, tmp_path) as address:
        page = open_page(watch, address)
        page.get_by_role("group", name="Picture; arrow keys").focus()
        page.keyboard.press("ArrowRight")
        page.get_by_text(f"Row 0, column 8: at level 2 windows {', '.join(wrote)} of {len(views)} wrote it").wait_for()


def test_sheet_finished_two_compared_and_a_phone(watch, address):
    page = open_page(watch, address)
    page.get_by_role("tab", name="Contact sheet").click()
    page.get_by_role("button", name="Make the sheet").click()
    page.locator("button.done", has_text="conditioning per-label").click()
    page.get_by_text("conditioning per-label: ").wait_for()
    assert "steps=50" in page.url and "conditioning=per-label" in page.url
    page.get_by_role("tab", name="A / B").press("Enter")
    page.locator(".panel [data-name=steps] input").evaluate(
        "slider => { slider.value = 2; slider.dispatchEvent(new Event('change')); }"
    )
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("row", name="Label faithfulness").wait_for()
    assert violations(watch) == []
    page.get_by_role("tab", name="A / B").press("ArrowRight")
    page.get_by_role("tab", name="Paint").press("ArrowRight")
    page.get_by_role("button", name="Look").click()
    page.locator(".cards button").nth(2).wait_for()
    assert violations(watch) == []
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    for tab in ("Explore", "Contact sheet", "A / B", "Paint", "Neighbours"):
        page.get_by_role("tab", name=tab).click()
        assert watch.too_wide() <= 0, tab
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(watch) == [], (tab, scheme)


def test_every_tool_by_keys_and_strokes_by_touch_and_pen(watch, address):
    """Nothing is painted meanwhile, so that the mask alone tells what the tools did."""
    page = open_page(watch, address)
    page.get_by_role("tab", name="Paint").click()
    page.get_by_label("Paint tissue as I draw").uncheck()
    surface = page.locator(".surface")
    box = surface.bounding_box()

    def steps_until(count):
        page.locator(f".surface[data-undo='{count}']").wait_for()
        return np.asarray(Image.open(saved(page, "Mask as PNG"))).copy()

    def keys(*pressed):
        surface.focus()
        for key in pressed:
            page.keyboard.press(key)

    keys("b", "2", "Space", "ArrowRight", "ArrowRight", "Space")
    brushed = steps_until(1)
    assert set(np.unique(brushed)) == {2, 5}
    keys("e", "ArrowLeft", "Space", "Enter")
    assert 0 in steps_until(2)
    keys("p", "3", "Space", "ArrowUp", "ArrowUp", "Space", "ArrowRight", "ArrowRight", "Space", "Enter")
    assert 3 in steps_until(3)
    keys("Control+z", "Control+z")
    assert np.array_equal(steps_until(1), brushed)
    keys("Control+y", "f", "1", "Enter")
    assert 1 in steps_until(3)
    keys("b", "5", "Control+z", "Control+z", "Control+z")
    assert (steps_until(0) == 5).all()

    keys("1")
    session = page.context.new_cdp_session(page)
    at = [(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"]) for share in (0.2, 0.5, 0.8)]
    for kind, (x, y) in zip(("touchStart", "touchMove", "touchMove"), at, strict=True):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    touched = steps_until(1)
    assert (touched[32, 20:76] == 1).all() and (touched[:10] == 5).all()
    keys("Control+z")
    steps_until(0)
    pen = {"button": "left", "buttons": 1, "pointerType": "pen", "clickCount": 1}
    for kind, (x, y) in zip(("mousePressed", "mouseMoved", "mouseMoved"), at, strict=True):
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **pen})
    session.send("Input.dispatchMouseEvent", {"type": "mouseReleased", "x": at[-1][0], "y": at[-1][1], **pen})
    assert (steps_until(1)[32, 20:76] == 1).all()


def test_a_box_over_the_scatter_shows_the_pictures_in_it(watch, address):
    page = open_page(watch, address)
    page.get_by_role("tab", name="Contact sheet").click()
    page.get_by_label("Vary").select_option("seed")
    page.get_by_role("button", name="Make the sheet").click()
    page.locator("button.done").nth(11).wait_for()
    page.get_by_role("tab", name="Neighbours").click()
    page.get_by_role("button", name="Look").click()
    cards = page.locator(".cards button")
    cards.nth(12).wait_for()
    plot = page.locator(".plot canvas").first
    page.wait_for_timeout(1000)  # the plot measures itself, and there is no sign of its end
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.04 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"], steps=6)
    page.mouse.up()
    cards.nth(12).wait_for(state="detached")
    assert 0 < cards.count() < 13
    assert violations(watch) == []


def test_a_second_person_waits_for_a_place(watch, address):
    page = watch.page
    page.goto(f"http://{address}/?{State().change('size', '1024x1024').change('steps', '500').to_query()}")
    page.get_by_text(re.compile(r"sampling \d+ of")).first.wait_for()
    other = page.context.new_page()
    other.goto(f"http://{address}/?{LINK}")
    other.get_by_text("Waiting: 1 before you").wait_for(timeout=60_000)
    page.get_by_role("button", name="Cancel").click()
    other.get_by_text("evaluations of the network").first.wait_for(timeout=60_000)


def test_an_appearance_is_turned_imitated_and_morphed(watch, two_stage_weights, tmp_path):
    with served(two_stage_weights, tmp_path) as address:
        page = open_page(watch, address, LINK + "&draft_steps=2")
        page.locator("summary", has_text="Appearance").click()
        page.get_by_alt_text("Draft at the high end of axis 4").wait_for()
        page.get_by_role("button", name="Left end").click()
        page.get_by_label("Axis 1 of the appearance").focus()
        page.keyboard.press("Home")
        page.wait_for_function("location.search.includes('appearance=')")
        page.locator(".progress.busy").wait_for(state="detached")
        page.get_by_role("button", name="Right end").click()
        page.get_by_role("button", name="Morph").click()
        page.wait_for_function("location.search.includes('+to+')")
        assert violations(watch) == []
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        assert watch.too_wide() <= 0


def test_a_model_without_an_appearance_says_so(watch, address):
    page = open_page(watch, address)
    page.get_by_text("Light and stain cannot be chosen here").wait_for()
    assert page.get_by_label("noise on the draft").count() == 0
