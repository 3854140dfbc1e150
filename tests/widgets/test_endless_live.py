"""The endless slide in a browser: two ways of panning fetch the same bytes, and nothing goes wrong on the page."""

import hashlib
import threading

import pytest
from axe_playwright_python.sync_playwright import Axe

from diffinfinite_lite.browser_scripts import OPENSEADRAGON
from diffinfinite_lite.pipelines import endless as pipeline
from diffinfinite_lite.pipelines.endless import Endless
from diffinfinite_lite.widgets.endless import serve
from tests.check_site import browser, chromium

pytestmark = [
    pytest.mark.skipif(not OPENSEADRAGON.available(), reason="needs `python -m diffinfinite_lite.browser_scripts`"),
    pytest.mark.skipif(chromium() is None, reason="needs Chromium"),
]
SETTINGS = {"steps": 1, "device": "cpu", "stride": 64}


@pytest.fixture
def site(tiny_weights, monkeypatch):
    """Starts servers of new slides, with empty caches, and ends them."""
    monkeypatch.setattr(pipeline, "STEPS", 1)
    servers = []

    def start():
        server = serve(Endless("squamous", weights=tiny_weights, **SETTINGS), port=0, mpp=0.5)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def walk(address, places):
    """Hashes of all tiles that a browser got on a walk, by address; ends where it began."""
    seen = {}
    with browser((600, 500)) as watch:
        page, errors = watch.page, []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("response", lambda answer: answers.append(answer))
        answers = []
        page.goto(f"{address}#x={places[0][0]},y={places[0][1]},zoom=1")
        for x, y in places:
            page.wait_for_function("window.viewer")
            page.evaluate(f"location.hash = 'x={x},y={y},zoom=1'")
            page.wait_for_function(
                "viewer.world.getItemCount() === 3 && [0, 1].every((n) => viewer.world.getItemAt(n).getFullyLoaded())",
                timeout=120_000,
            )
        page.wait_for_function("document.getElementById('state').textContent.startsWith('All that')", timeout=120_000)
        assert not errors
        for answer in answers:
            path = answer.url.removeprefix(address)
            if path.startswith(("image/", "mask/")):
                assert answer.status == 200
                seen[path] = hashlib.sha256(answer.body()).hexdigest()
    return seen


def test_two_ways_of_panning_show_the_same_bytes(site):
    corners = [(-400, -300), (400, -300), (400, 300), (-400, 300)]
    first, second = walk(site(), corners), walk(site(), [corners[2], corners[0], corners[3], corners[1]])
    both = first.keys() & second.keys()
    assert len([path for path in both if path.startswith("image/0/")]) >= 8
    assert {path: first[path] for path in both} == {path: second[path] for path in both}


@pytest.mark.parametrize("size", [(1280, 800), (390, 760)])
def test_axe_finds_nothing_and_keys_move_the_view(site, size):
    with browser(size) as watch:
        watch.page.goto(f"{site()}#x=0,y=0,zoom=1")
        watch.page.wait_for_function("window.viewer?.world.getItemCount() === 3")
        found = Axe().run(watch.page).response["violations"]
        assert not [(each["id"], each["nodes"][0]["html"]) for each in found]
        assert watch.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        watch.page.focus(".openseadragon-canvas")
        watch.page.keyboard.press("ArrowRight")
        watch.page.wait_for_function("/#x=[1-9][0-9]*,y=0/.test(location.hash)", timeout=30_000)


def test_what_is_no_tile_is_not_found(site):
    import urllib.error
    import urllib.request

    address = site()
    for path in ("image/4/0_0", "image/0/0", "other", "image/0/0_999999999", "../secret"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + path)
