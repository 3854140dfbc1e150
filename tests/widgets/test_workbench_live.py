"""The workbench in a browser: its link is obeyed, a picture comes, and a turned control gives another one.

Without an error on the console, and without a request to another host: a machine without network must do.
"""

import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.check_site import PHONE, browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture
def address(tiny_weights, tmp_path):
    """Of a workbench that is served with the tiny model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "diffinfinite_lite.cli", "workbench", "--no-browser", "--device", "cpu"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([*command, "--port", str(port), "--weights", str(tiny_weights)],
                                  stdout=log, stderr=subprocess.STDOUT)  # fmt: skip
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        yield f"127.0.0.1:{port}"
        server.terminate()
        server.wait(20)


def test_a_link_a_picture_and_another_one(address):
    with browser() as watch:
        page = watch.page
        page.goto(f"http://{address}/?size=64x64&steps=2")
        picture = page.get_by_alt_text("Generated tissue")
        picture.wait_for(timeout=120_000)
        before = picture.get_attribute("src")
        page.get_by_label("seed").fill("7")
        page.keyboard.press("Tab")
        for _ in range(600):
            if picture.get_attribute("src") != before:
                break
            page.wait_for_timeout(200)
        assert picture.get_attribute("src") != before
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        assert watch.too_wide() <= 0
        assert watch.errors == []
        assert [url for url in watch.outside if f"//{address}/" not in url] == []
