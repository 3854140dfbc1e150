"""The games in a browser, from ``file://``: phone and desktop, keyboard, in words; axe, dark mode, one screen."""

import json
import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from diffinfinite_lite.survey import learning, spot
from diffinfinite_lite.survey.differences import Difference
from diffinfinite_lite.survey.page import LEARNING, SPOT, script
from diffinfinite_lite.survey.pictures import make_items
from tests.check_site import PHONE as PHONE_SIZE
from tests.check_site import chromium
from tests.survey.toys import make_fields

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
PHONE = {"viewport": dict(zip(("width", "height"), PHONE_SIZE, strict=True)), "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
SIZE = (128, 192)


def difference(seed, top, left):
    """Coloured noise; a square of 32 px from (top, left) is another noise, and its label is necrosis."""
    rng = np.random.default_rng(seed)
    before = rng.integers(100, 256, (*SIZE, 3), np.uint8)
    after, mask, edited = before.copy(), np.full(SIZE, 1, np.uint8), np.full(SIZE, 1, np.uint8)
    place = np.s_[top : top + 32, left : left + 32]
    after[place], edited[place] = rng.integers(0, 156, (32, 32, 3), np.uint8), 2
    return Difference(before, after, mask, edited, 2, 0.05)


PLACES = [(32, 64), (0, 0), (96, 160), (64, 32)]


@pytest.fixture(scope="module")
def differences():
    return [difference(i, *place) for i, place in enumerate(PLACES)]


@pytest.fixture(scope="module")
def items():
    return make_items(make_fields(12))  # 28 pictures


@pytest.fixture(scope="module")
def addresses(items, differences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("games")
    return {
        "learning": learning.write_page(items, ["Noise, made up."], folder, home="../x.html").as_uri(),
        "spot": spot.write_page(differences, folder, home="../x.html").as_uri(),
    }


@pytest.fixture
def open_page(browser, addresses):
    """Opens a game in a browser of its own; errors and anything from outside its folder fail the test."""
    problems, contexts = [], []

    def open_(game, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        folder = addresses[game].rsplit("/", 1)[0]
        page.on("request", lambda r: None if r.url.startswith((folder, "data:", "blob:")) else problems.append(r.url))
        page.goto(addresses[game])
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not problems


def accessible(page):
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response
    assert not [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]]


def inside(page, *parts):
    """All of them lie in the window, nothing scrolls, and what is to be pressed is as large as a finger."""
    size = page.viewport_size
    for part in parts:
        for element in page.locator(part).all():
            box = element.bounding_box()
            assert box["x"] >= 0 and box["y"] >= 0
            assert box["x"] + box["width"] <= size["width"] and box["y"] + box["height"] <= size["height"], part
    assert page.evaluate("document.querySelector('.dl-survey').scrollHeight <= innerHeight && scrollY === 0")
    for button in page.locator(".ask button, .ask .choice label").all():
        assert min(button.bounding_box()["width"], button.bounding_box()["height"]) >= 40


def fits(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def heading(page):
    return page.locator("h2").inner_text()


def saved(page, tmp_path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as JSON").click()
    download.value.save_as(tmp_path / "saved.json")
    return json.loads((tmp_path / "saved.json").read_text("utf8"))


# --- the learning survey


def shown(page):
    image = page.locator(".ask .frame img")
    return image.get_attribute("data-name"), int(image.get_attribute("data-level"))


def play(page, truth, said, count):
    """Answer by keys: `said` is called with the truth and the level; the cue is texture where it is right."""
    levels = []
    for _ in range(count):
        if page.get_by_role("button", name="Go on").count():
            page.get_by_role("button", name="Go on").click()
        name, level = shown(page)
        answer = said(truth[name], level)
        page.keyboard.press(answer[0])
        page.keyboard.press("2" if answer == truth[name] else "6")
        page.keyboard.press("Enter")
        levels.append(level)
    return levels


@pytest.fixture(scope="module")
def truth(items):
    return {item.name: "real" if item.real else "synthetic" for item in items}


def test_a_learning_survey_on_a_desktop_by_keys(open_page, truth, tmp_path):
    """Somebody who tells all to level 4, and none beyond: the staircase goes there, and the curve says so."""
    other = {"real": "synthetic", "synthetic": "real"}
    page = open_page("learning", **DESKTOP, color_scheme="dark")
    accessible(page)
    assert "take the survey first" in page.locator("main").inner_text()
    page.get_by_role("button", name="Start").click()
    accessible(page)
    inside(page, ".frame", ".choice", ".steps .main")
    assert heading(page) == "Picture 1 of 28" and shown(page)[1] == 0
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Choose real or synthetic."
    levels = play(page, truth, lambda t, level: t if level <= 4 else other[t], 5)
    assert levels == [0, 1, 2, 3, 4]
    assert heading(page) == "5 of 5 right"
    assert page.locator(".all .right").count() == 5
    assert not page.get_by_role("button", name="Stop here").count()  # five answers are no curve
    accessible(page)
    page.locator(".all button").nth(3).click()
    dialog = page.get_by_role("dialog")
    assert "details from 2" in dialog.inner_text()
    assert dialog.locator("img").evaluate("e => e.style.filter") == ""
    dialog.get_by_label("As you saw it").check()
    assert "blur" in dialog.locator("img").evaluate("e => e.style.filter")
    accessible(page)
    dialog.get_by_role("button", name="Close").click()
    levels += play(page, truth, lambda t, level: t if level <= 4 else other[t], 23)
    assert levels[5:9] == [5, 2, 3, 4]  # wrong at 5: three levels easier
    assert heading(page) == "Your curve"
    accessible(page)
    result = saved(page, tmp_path)
    assert [trial["level"] for trial in result["trials"]] == levels
    assert all(trial["right"] == (trial["truth"] == trial["answer"] == truth[trial["name"]])
               or not trial["right"] for trial in result["trials"])  # fmt: skip
    assert 4 < result["fit"]["threshold"] < 5.5
    assert result["fit"]["low"] <= result["fit"]["threshold"] <= result["fit"]["high"]
    text = page.locator("main").inner_text()
    um = float(re.search(r"details of ([\d.]+) µm are left", text)[1])
    assert 2.8 < um < 4.9  # levels 4 to 5.5
    assert "outlines of nuclei" in text
    right = sum(level <= 4 for level in levels)
    assert f"{right} of 28 right" in text
    assert f"{right}\xa0of\xa0{right}" in page.get_by_role("row", name="texture").inner_text()
    assert f"0\xa0of\xa0{28 - right}" in page.get_by_role("row", name="a guess").inner_text()
    label = page.locator("svg[role=img]").get_attribute("aria-label")
    assert "crosses 75% at level" in label and "sharp: 1 of 1" in label
    page.reload()
    assert heading(page) == "Your curve"
    page.get_by_role("button", name="Begin again").click()
    assert heading(page) == "Picture 1 of 28"


def test_a_learning_survey_on_a_phone(open_page, truth):
    """By taps: everything on one screen; a pause, a reload, and an early end."""
    page = open_page("learning", **PHONE)
    fits(page)
    accessible(page)
    page.get_by_role("button", name="Start").tap()
    for i in range(10):
        if i == 5:
            fits(page)
            page.get_by_role("button", name="Go on").tap()
        inside(page, ".frame", ".choice", ".steps .main")
        accessible(page)
        assert heading(page) == f"Picture {i + 1} of 28"
        page.get_by_text(truth[shown(page)[0]].capitalize(), exact=True).tap()
        page.get_by_label("nuclei", exact=True).tap()
        if i == 6:
            before = shown(page)
            page.get_by_role("button", name="Pause").tap()
            page.reload()
            page.get_by_role("button", name="Go on with picture 7").tap()
            assert shown(page) == before
            page.get_by_text(truth[shown(page)[0]].capitalize(), exact=True).tap()
        page.locator(".steps .main").tap()
    page.get_by_role("button", name="Stop here").tap()
    assert heading(page) == "Your curve"
    fits(page)
    accessible(page)
    assert "10 of 10 right" in page.locator("main").inner_text()


@pytest.mark.parametrize("options", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_blur_is_the_stated_width_whatever_the_size_of_the_screen(open_page, truth, options):
    """Finest detail = full width at half maximum of the Gaussian; 0.5 um a pixel of the picture."""
    page = open_page("learning", **options)
    page.get_by_role("button", name="Start").click()
    play(page, truth, lambda t, level: t, 3)
    css, side, natural, level = page.locator(".ask .frame img").evaluate(
        "(i) => i.decode().then(() => [i.style.filter, i.parentElement.clientWidth, i.naturalWidth, +i.dataset.level])"
    )
    assert level == 3
    sigma = float(re.search(r"blur\(([\d.]+)px\)", css)[1]) * natural / side  # px of the picture
    assert abs(sigma * 2.3548 * 0.5 - learning.DETAILS[3]) < 0.02 * learning.DETAILS[3]
    page.set_viewport_size({"width": 600, "height": 700})
    page.wait_for_function("css => document.querySelector('.ask .frame img').style.filter !== css", arg=css)


# --- spot the difference


def tap(page, picture, y, x, touch=False):
    box = page.locator(".half").nth(picture).bounding_box()
    where = box["x"] + x * box["width"] / SIZE[1], box["y"] + y * box["height"] / SIZE[0]
    (page.touchscreen.tap if touch else page.mouse.click)(*where)


def test_spot_the_difference_on_a_phone(open_page, differences, tmp_path):
    page = open_page("spot", **PHONE)
    fits(page)
    accessible(page)
    page.get_by_role("button", name="Start").tap()
    for i, (top, left) in enumerate(PLACES):
        assert heading(page) == f"Round {i + 1} of 4"
        inside(page, ".half", ".below button")
        boxes = [page.locator(".half").nth(n).bounding_box() for n in (0, 1)]
        assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["width"] > 280  # one above the other
        assert abs(boxes[0]["width"] / boxes[0]["height"] - SIZE[1] / SIZE[0]) < 0.02
        accessible(page)
        assert "necrosis" not in page.locator("[data-part=stage]").inner_text()
        right = i != 2
        tap(page, i % 2, *((top + 16, left + 16) if right else (16, 16)), touch=True)
        page.get_by_text("Found" if right else "Missed").wait_for()
        told = page.locator(".below").inner_text()
        assert "necrosis, where carcinoma was" in told
        assert f"{round(100 * (1 - differences[i].changed.mean()))}% of the" in told
        inside(page, ".half", ".below button")
        accessible(page)
        page.locator(".below .main").tap()
    assert heading(page) == "Your result"
    fits(page)
    accessible(page)
    result = saved(page, tmp_path)
    assert [r["found"] for r in result["rounds"]] == [True, True, False, True]
    assert "3 of 4 found" in page.locator("main").inner_text()
    for i, ((top, left), round_) in enumerate(zip(PLACES, result["rounds"], strict=True)):
        assert round_["way"] == "tap" and round_["seconds"] >= 0
        assert (np.abs(np.subtract(round_["at"], (left + 16, top + 16))) <= 2).all() == (i != 2)
    page.reload()
    assert heading(page) == "Your result"
    page.locator(".all button").nth(2).tap()
    assert "Missed" in page.locator(".below").inner_text()
    page.get_by_role("button", name="Back to the result").tap()
    assert heading(page) == "Your result"


def test_spot_the_difference_on_a_desktop_by_keys_and_in_words(open_page, differences, tmp_path):
    page = open_page("spot", **DESKTOP, color_scheme="dark")
    accessible(page)
    page.get_by_role("button", name="Start").click()
    inside(page, ".half", ".below button")
    boxes = [page.locator(".half").nth(n).bounding_box() for n in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[1]["x"] > boxes[0]["x"] + boxes[0]["width"]
    page.locator(".half").nth(0).focus()
    page.keyboard.press("Enter")  # no cross yet: nothing is marked
    assert heading(page) == "Round 1 of 4" and "Missed" not in page.locator(".below").inner_text()
    page.keyboard.press("ArrowRight")  # the cross comes to the middle, (64, 96): one px right of the square
    for key in ["ArrowLeft"] * 2 + ["ArrowUp"] * 2:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.get_by_text("Found").wait_for()
    sources = page.locator(".half img").evaluate_all("e => e.map(i => i.src)")
    page.get_by_role("button", name="Swap").click()
    assert page.locator(".half img").evaluate_all("e => e.map(i => i.src)") == sources[::-1]
    accessible(page)
    page.locator(".below .main").click()

    page.get_by_role("button", name="In words").click()
    accessible(page)
    fields = page.locator("dialog td button").all_inner_texts()
    assert len(fields) == spot.GRID[0] * spot.GRID[1]
    differ = [i for i, text in enumerate(fields) if len({part.split(": ")[1] for part in text.split("; ")}) > 1]
    assert differ == [0]  # the square of 32 px fills the first field of 32 x 32 px
    page.locator("dialog td button").nth(differ[0]).click()
    page.get_by_text("Found").wait_for()
    page.locator(".below .main").click()
    page.get_by_role("button", name="I do not see it").click()
    page.get_by_text("Not seen").wait_for()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Pause").click()
    page.reload()
    page.get_by_role("button", name="Go on with round 4").click()
    tap(page, 1, 64 + 32 + spot.NEAR + 3, 40)  # just beyond what still counts
    page.get_by_text("Missed").wait_for()
    page.get_by_role("button", name="See the result").click()
    accessible(page)
    rounds = saved(page, tmp_path)["rounds"]
    assert [r["found"] for r in rounds] == [True, True, False, False]
    assert [r["way"] for r in rounds] == ["keys", "words", "none", "tap"]
    area = (32 + 2 * spot.NEAR) ** 2 - (4 - np.pi) * spot.NEAR**2  # of the square and what is near it
    assert abs(rounds[0]["chance"] - area / (SIZE[0] * SIZE[1])) < 0.02
    assert rounds[1]["chance"] == round(1 / 24, 3)
    assert "2 of 4 found" in page.locator("main").inner_text() and "in words" in page.locator("main").inner_text()


def test_games_are_the_same_from_a_web_server(browser, addresses):
    """On http, as on GitHub Pages: the pictures come, and the seal opens."""
    folder = Path(unquote(urlsplit(addresses["spot"]).path)).parent
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for game, address in addresses.items():
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/{address.rsplit('/', 1)[1]}")
            page.get_by_role("button", name="Start").click()
            assert page.locator(".ask img").first.evaluate("e => e.decode().then(() => e.naturalWidth)") > 100
            if game == "spot":
                page.get_by_role("button", name="I do not see it").click()
                page.get_by_text("necrosis, where carcinoma was").wait_for()
            else:
                page.keyboard.press("r")
                page.keyboard.press("Enter")
                page.get_by_text("Picture 2 of 28").wait_for()
            page.close()
        server.shutdown()


@pytest.mark.parametrize("game", ["learning", "spot"])
def test_pages_weigh_little_and_tell_no_truth(addresses, items, game):
    page = Path(unquote(urlsplit(addresses[game]).path))
    text = page.read_text("utf8")
    assert len(text) < 100_000
    assert not re.search("camera|necrosis", text.split('data-part="settings">')[1].split("</script>")[0])
    code = script(*(LEARNING if game == "learning" else SPOT))
    assert not re.search(r"""\sstyle=["']|\son\w+=["']|\beval\(|new Function""", code)
    assert not re.search(r"https?://(?!www\.w3\.org)", code)


@pytest.mark.parametrize("game", ["learning", "spot"])
def test_a_notebook_shows_the_game_in_its_output(browser, items, differences, game, tmp_path):
    """Both widgets and the survey on one page: each starts its own."""
    from diffinfinite_lite.survey.page import widget

    parts = [learning.widget(items, []), spot.widget(differences), widget(items, [], "")]
    file = tmp_path / "cell.html"
    file.write_text("<!doctype html><html lang=en><title>t</title><body>" + "\n".join(parts), "utf8")
    page = browser.new_page()
    page.goto(file.as_uri())
    page.locator(f"[data-game={game}]").get_by_role("button", name="Start").click()
    picture = page.locator(f"[data-game={game}] .ask img").first
    assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") > 100
    assert page.locator("#survey h2").inner_text() == "Before you start"
    page.close()


def test_refusals(items):
    with pytest.raises(ValueError, match="expected real and synthetic pictures that differ, got 14, 14 different"):
        learning.settings([item for item in items if item.real], ["a"] * 14)
    with pytest.raises(ValueError, match="expected rounds in which something differs, got 0"):
        spot.settings([], {})


def test_commands_make_the_pages(items, tmp_path):
    from typer.testing import CliRunner

    from diffinfinite_lite.cli import app
    from diffinfinite_lite.survey.deck import write_deck

    write_deck(items, ["Noise, made up."], "", tmp_path / "class")
    learn, where = ["survey", "learn", "--pictures"], [str(tmp_path / name) for name in ("class", "a", "b", "c")]
    done = CliRunner().invoke(app, [*learn, where[0], "--out", where[1]])
    assert done.exit_code == 0 and "28 pictures" in done.output
    assert {path.stem for path in (tmp_path / "a").glob("*.jpg")} == {item.name for item in items}
    small = ["--rounds", "1", "--size", "128x128", "--steps", "2", "--device", "cpu"]
    done = CliRunner().invoke(app, ["survey", "spot", "--out", where[2], *small])
    assert done.exit_code == 0 and "rounds: 1" in done.output
    assert len(list((tmp_path / "b").glob("*.jpg"))) == 2
    again = CliRunner().invoke(app, ["survey", "spot", "--out", where[2], *small, "--seed", "1"])
    assert again.exit_code == 0 and len(list((tmp_path / "b").glob("*.jpg"))) == 2  # those of the earlier game are gone
    refused = CliRunner().invoke(app, [*learn, str(tmp_path), "--out", where[3]])
    assert refused.exit_code == 1 and "survey make" in str(refused.exception) and not (tmp_path / "c").exists()
