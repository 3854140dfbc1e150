"""The live controls in JupyterLab, driven by a browser: a turned slider gives a new patch, without a console error."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (apt-get install chromium)")
SOURCE = """from diffinfinite_lite.workbench import explore
explore((64, 64), steps=2, device="cpu")"""


@pytest.fixture
def lab(tmp_path):
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": SOURCE}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
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


def test_a_turned_slider_gives_a_new_patch_in_jupyterlab(lab):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{lab}/lab/tree/live.ipynb")
        page.locator(".jp-Notebook .cm-content").first.click(timeout=60_000)
        page.keyboard.press("Shift+Enter")
        picture = page.get_by_alt_text("Generated adenocarcinoma tissue")
        picture.wait_for(timeout=90_000)
        before = picture.get_attribute("src")
        page.get_by_label("seed").fill("7")
        page.keyboard.press("Tab")
        page.wait_for_function(
            "before => document.querySelector('img[alt^=\"Generated\"]').src !== before", arg=before, timeout=60_000
        )
        browser.close()
