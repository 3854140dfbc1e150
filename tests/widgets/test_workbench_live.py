"""The live controls in JupyterLab, driven by a browser: a turned control gives a new patch, a drag of the mouse paints.

Without an error on the console, and without a request to another host: a machine without network must do.
"""

import io
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from PIL import Image

from diffinfinite_lite.labels import LABEL_COLOURS, LABELS
from tests.check_site import chromium

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
HEIGHT, WIDTH = 96, 160
CELLS = [
    """from diffinfinite_lite.widgets.workbench import explore
explore((64, 64), steps=2, device="cpu")""",
    f"""from diffinfinite_lite.widgets.workbench import paint
page = paint(({HEIGHT}, {WIDTH}), device="cpu")
page""",
    """rows, columns = (page.mask() == 1).nonzero()
print("painted:", *(int(n) for n in (rows.min(), rows.max(), columns.min(), columns.max())))""",
]


@pytest.fixture
def lab(tmp_path):
    cells = [
        {"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {}, "outputs": [], "source": source}
        for n, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "live.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"--port={port}", f"--notebook-dir={tmp_path}"], stdout=log, stderr=subprocess.STDOUT
        )
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield address
        server.terminate()
        server.wait(20)


def turn(page):
    """A new seed in `explore`: another picture."""
    picture = page.get_by_alt_text("Generated adenocarcinoma tissue")
    picture.wait_for(timeout=90_000)
    before = picture.get_attribute("src")
    page.get_by_label("seed").fill("7")
    page.keyboard.press("Tab")
    page.wait_for_function(
        "before => document.querySelector('img[alt^=\"Generated\"]').src !== before", arg=before, timeout=60_000
    )


def colour_at(page, x, y):
    shot = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    return Image.open(io.BytesIO(shot)).convert("RGB").getpixel((0, 0))


def drag(page):
    """A stroke over the middle half of `paint`'s mask, until the canvas shows it beside the pointer's own line."""
    page.get_by_title("Freehand Draw Tool").click(timeout=60_000)
    box = page.locator(".bk-Canvas > .bk-events").bounding_box()
    left, top, right, below = 10, 30, 10, 10  # of the plot's frame, px
    width, height = box["width"] - left - right, box["height"] - top - below
    y = box["y"] + top + height / 2
    xs = [box["x"] + left + share * width for share in (0.25, 0.75)]
    beside = (sum(xs) / 2, y - 0.1 * height)
    others, carcinoma = (LABEL_COLOURS[LABELS.index(label)] for label in ("others", "carcinoma"))
    assert colour_at(page, *beside) == others
    page.mouse.move(xs[0], y)
    page.mouse.down()
    page.mouse.move(xs[1], y, steps=20)
    page.mouse.up()
    for _ in range(100):
        if colour_at(page, *beside) == carcinoma:
            return
        page.wait_for_timeout(200)
    pytest.fail(f"expected {carcinoma} beside the stroke, got {colour_at(page, *beside)}")


def test_a_turned_control_and_a_stroke_of_the_mouse_in_jupyterlab(lab):
    from playwright.sync_api import sync_playwright

    errors, outside = [], []

    def asked(request):
        if not request.url.startswith((lab, "data:", "blob:")):
            outside.append(request.url)

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1400})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", asked)
        page.goto(f"{lab}/lab/tree/live.ipynb")
        cells = page.locator(".jp-Notebook .cm-content")
        cells.nth(0).click(timeout=60_000)
        page.keyboard.press("Shift+Enter")
        turn(page)
        cells.nth(1).click()
        page.keyboard.press("Shift+Enter")
        drag(page)
        cells.nth(2).click()
        page.keyboard.press("Shift+Enter")
        said = page.get_by_text(re.compile(r"^painted: \d+")).inner_text(timeout=30_000)
        browser.close()
    radius = 20  # of the brush at first, px
    expected = (HEIGHT / 2 - radius, HEIGHT / 2 + radius, WIDTH / 4 - radius, 3 * WIDTH / 4 + radius)
    assert [int(n) for n in said.split()[1:]] == pytest.approx(expected, abs=3)
    assert errors == []
    assert outside == []
