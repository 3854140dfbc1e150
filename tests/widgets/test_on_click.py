"""A widget that another page shows after a click."""

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite.widgets.deepzoom import VARIABLE
from diffinfinite_lite.widgets.on_click import WIDEST, for_other_pages
from tests.check_site import browser, chromium

SITE = "book/_static/site.js"
STILL = np.full((1000, 2000, 3), 200, np.uint8)
WIDGET = """<div id="w" role="group" aria-label="Widget"><p>before</p></div>
<script>document.querySelector("#w p").textContent = "it ran";</script>"""
FIGURE = """<figure class="on-click"><img src="_assets/w.webp" alt="Still">
<button type="button" data-widget="w" data-loads="_assets/w.js">Open it</button></figure>"""


@pytest.mark.parametrize(
    ("change", "message"),
    [({"name": "a b"}, "letters, digits"), ({"still": STILL[..., 0]}, r"uint8 \(H, W, 3\), got uint8 of shape")],
)
def test_bad_input_is_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        for_other_pages(**{"html": "", "name": "w", "still": STILL, **change})


def test_without_pages_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert for_other_pages(WIDGET, name="w", still=STILL) == WIDGET and not list(tmp_path.iterdir())


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")
def test_the_widget_takes_the_place_of_its_picture(tmp_path, monkeypatch, pytestconfig):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "_assets"))
    assert for_other_pages(WIDGET, name="w", still=STILL) == WIDGET
    with Image.open(tmp_path / "_assets/w.webp") as still:
        assert still.size == (WIDEST, WIDEST // 2)
    script = (pytestconfig.rootpath / SITE).read_text("utf8")
    (tmp_path / "page.html").write_text(
        f"""<!doctype html><html lang="en"><title>t</title><main><h1>t</h1>{FIGURE}
        </main><script>{script}</script></html>""",
        "utf8",
    )
    with browser() as window:
        requested = []
        window.page.on("request", lambda request: requested.append(request.url))
        window.open(tmp_path / "page.html")
        assert not any(address.endswith("w.js") for address in requested)
        window.page.get_by_role("button", name="Open it").press("Enter")
        window.page.get_by_text("it ran").wait_for()
        assert window.page.evaluate("document.activeElement.id") == "w"
        assert window.page.get_by_role("button").count() == 0
        assert window.errors == [] and window.outside == []
        (tmp_path / "_assets/w.js").unlink()
        window.open(tmp_path / "page.html")
        window.page.get_by_role("button", name="Open it").click()
        window.page.get_by_role("button", name="keep the folder _assets").wait_for()
