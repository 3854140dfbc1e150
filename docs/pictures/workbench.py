"""Pictures of the workbench for the README and the book: `python docs/pictures/workbench.py`, some minutes on a CPU.

Starts the workbench with the shipped model, uses it in headless Chromium, and writes a JPEG of each tab beside this
file. Whoever changes the page runs this again.
"""

import io
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.check_site import chromium

PORT, SIZE = 5117, {"width": 1280, "height": 760}
HERE = Path(__file__).parent
START = "context=adenocarcinoma&seed=11"


def keep(page: Page, name: str) -> None:
    """The window as a JPEG."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.save(HERE / f"workbench-{name}.jpg", quality=80, optimize=True)


def idle(page: Page) -> None:
    page.wait_for_timeout(500)
    page.locator(".progress.busy").wait_for(state="detached")


def use(page: Page) -> None:
    page.goto(f"http://localhost:{PORT}/?{START}&size=336x336")
    page.get_by_text("evaluations of the network").first.wait_for()
    for _ in range(4):
        page.get_by_role("button", name="Level back").click()
    frame = page.get_by_role("group", name="Picture; arrow keys").bounding_box()
    page.wait_for_timeout(3000)
    page.mouse.move(frame["x"] + 0.6 * frame["width"], frame["y"] + 0.4 * frame["height"])
    keep(page, "explore")
    page.goto(f"http://localhost:{PORT}/?{START}&tab=paint")
    page.get_by_text("Brush, carcinoma").wait_for()
    idle(page)
    page.get_by_role("button", name="stroma").click()
    box = page.locator(".surface").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 260, steps=12)
    page.mouse.move(box["x"] + 300, box["y"] + 200, steps=12)
    page.mouse.up()
    page.get_by_text("Painted again").wait_for()
    keep(page, "paint")
    page.goto(f"http://localhost:{PORT}/?{START}&tab=sheet")
    page.get_by_role("button", name="Make the sheet").click()
    page.locator("button.done").nth(11).wait_for()
    page.locator("button.done").nth(4).click()
    page.get_by_text("seed 15: ").wait_for()
    keep(page, "sheet")
    page.goto(f"http://localhost:{PORT}/?{START}&tab=compare")
    page.get_by_text("Settings of B").click()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("row", name="Label faithfulness").wait_for()
    keep(page, "compare")


def main() -> None:
    command = [sys.executable, "-m", "diffinfinite_lite.cli", "workbench", "--no-browser", "--port", str(PORT)]
    server = subprocess.Popen(command)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://localhost:{PORT}/", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        with sync_playwright() as playwright:
            chrome = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = chrome.new_page(viewport=SIZE)
            page.set_default_timeout(240_000)
            use(page)
            chrome.close()
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
