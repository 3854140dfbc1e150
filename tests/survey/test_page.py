"""The whole survey in a browser, from ``file://``: keys and mouse, a reload in the middle, the export scored again."""

import json
import re

import numpy as np
import pytest

from diffinfinite_lite.survey import statistics
from diffinfinite_lite.survey.page import write_page
from diffinfinite_lite.survey.pictures import make_items
from tests.check_site import chromium
from tests.survey.toys import make_fields

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
# of six pictures, in the order shown: answer and confidence
SAID = [("real", 7), ("synthetic", 1), ("real", 3), ("real", 4), ("synthetic", 2), ("synthetic", 6)]


@pytest.fixture(scope="module")
def items():
    fields = make_fields(2)
    return make_items([f for i, f in enumerate(fields) if i not in (4, 6)])  # 2 + 2 small, 1 + 1 large


@pytest.fixture(scope="module")
def address(items, tmp_path_factory):
    about = ["Coloured noise, made up for this test."]
    return write_page(
        items, about, tmp_path_factory.mktemp("survey"), title="Real or synthetic?", home="../x.html"
    ).as_uri()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Opens pages that fail the test on errors and on anything from outside the survey's folder."""
    problems, contexts = [], []

    def open_(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        folder = address.rsplit("/", 1)[0]
        page.on("request", lambda r: None if r.url.startswith((folder, "data:", "blob:")) else problems.append(r.url))
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not problems


def accessible(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}).response
    assert not [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]]


def fits(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def begin(page, code="", years=""):
    page.get_by_label("Your code").fill(code)
    page.get_by_label("Years of experience").fill(years)
    page.get_by_role("button", name="Start").click()


def answer(page, said, confidence):
    page.keyboard.press("r" if said == "real" else "s")
    page.keyboard.press(str(confidence))
    page.keyboard.press("Enter")


def test_whole_survey(open_page, items, tmp_path):
    page = open_page(viewport={"width": 1200, "height": 800})
    accessible(page)
    begin(page, code="a b")
    assert "letters, digits" in page.get_by_role("alert").inner_text()
    begin(page, code="p-1", years="95")
    assert "0 to 80" in page.get_by_role("alert").inner_text()
    begin(page, code="p-1", years="8.5")

    heading = page.locator("h2")
    assert heading.inner_text() == "Picture 1 of 6"
    accessible(page)
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Choose real or synthetic."
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    assert "1 to 7" in page.get_by_role("alert").inner_text()
    answer(page, *SAID[0])
    answer(page, *SAID[1])
    assert heading.inner_text() == "Picture 3 of 6"
    shown = page.locator(".frame img").get_attribute("src")
    page.keyboard.press("r")  # half an answer
    page.reload()

    assert heading.inner_text() == "Welcome back" and "2 of 6 pictures" in page.locator("main").inner_text()
    page.get_by_role("button", name="Go on with picture 3").click()
    assert page.locator(".frame img").get_attribute("src") == shown
    assert page.get_by_label("Real", exact=True).is_checked()
    assert "right" not in page.locator("[data-part=stage]").inner_text().lower()  # no feedback before the end
    for said, confidence in SAID[2:]:
        page.get_by_label(said.capitalize(), exact=True).check()
        page.get_by_label(str(confidence), exact=True).check()
        page.get_by_role("button", name=re.compile("Next|Finish")).click()

    assert heading.inner_text() == "Your result"
    accessible(page)
    page.reload()
    assert heading.inner_text() == "Your result"  # also after closing the page

    files = []
    for kind in ("CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save as {kind}").click()
        assert download.value.suggested_filename.endswith(f"-p-1.{kind.lower()}")
        files.append(tmp_path / download.value.suggested_filename)
        download.value.save_as(files[-1])
    answers, again = (statistics.read_answers(file) for file in files)
    assert answers.equals(again)
    answers = answers.sort_values("position")
    assert list(zip(answers["answer"], answers["confidence"], strict=True)) == SAID
    truth = {item.name: ("real" if item.real else "synthetic", item.size) for item in items}
    assert {row["item"]: (row["truth"], row["size"]) for _, row in answers.iterrows()} == truth
    assert set(answers["rater"]) == {"p-1"} and set(answers["experience"]) == {8.5}
    assert (
        f"{answers['item'].iloc[2]}.jpg" == shown and (answers["seconds"] >= 0).all() and answers["seconds"].sum() > 0
    )

    row, text = statistics.accuracy(answers).loc["all"], page.locator("[data-part=stage]").inner_text()
    assert f"{row['correct']:.0f} of 6 right, {round(100 * row['accuracy'])}%" in text
    assert f"95% interval {round(100 * row['low'])}% to {round(100 * row['high'])}%" in text
    assert f"{answers['confidence'].mean():.2f}" in text and "2.22" in text and "63%" in text
    counts = statistics.confusion(answers)
    for size, kind in counts.index:
        cells = page.get_by_role("row", name=f"{size}, {kind}").locator("td").all_inner_texts()
        assert [int(n) for n in cells[:2]] == counts.loc[(size, kind)].tolist()
    marks = page.locator(".all li span").all_inner_texts()
    assert [m.strip()[0] == "✓" for m in marks] == (answers["truth"] == answers["answer"]).tolist()

    page.get_by_label("Only those I got wrong").check()
    assert page.locator(".all li:visible").count() == 6 - row["correct"]
    page.get_by_label("Only those I got wrong").uncheck()  # by luck there may be none
    page.locator(".all button:visible").first.click()
    assert re.search("(camera|model)", page.get_by_role("dialog").inner_text())
    accessible(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Really").click()
    assert heading.inner_text() == "Before you start"
    page.reload()
    assert heading.inner_text() == "Before you start"


def test_zoom_by_keys_buttons_and_mouse(open_page):
    page = open_page(viewport={"width": 1200, "height": 800})
    begin(page)
    frame, level = page.locator(".frame"), page.locator("output")
    whole = page.locator(".frame img").bounding_box()["width"]
    page.keyboard.press("+")
    page.get_by_role("button", name="Zoom in").click()
    assert level.inner_text() == "2×"
    assert np.isclose(page.locator(".frame img").bounding_box()["width"], 2 * whole, atol=1)
    middle = frame.evaluate("f => (f.scrollLeft + f.clientWidth / 2) / f.scrollWidth")
    assert abs(middle - 0.5) < 0.02
    box = frame.bounding_box()
    before = frame.evaluate("f => f.scrollLeft")
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 200, steps=3)
    page.mouse.up()
    assert frame.evaluate("f => f.scrollLeft") > before + 30
    page.keyboard.press("0")
    assert level.inner_text() == "1×"
    assert page.get_by_role("button", name="Back").is_disabled()


def test_back_keeps_answers_and_orders_differ_between_raters(open_page):
    orders = set()
    for _ in range(4):
        page = open_page()
        begin(page)
        answer(page, "synthetic", 5)
        page.get_by_role("button", name="Back").click()
        assert (
            page.get_by_label("Synthetic", exact=True).is_checked() and page.get_by_label("5", exact=True).is_checked()
        )
        state = page.evaluate("Object.values(localStorage)[0]")
        orders.add(re.search(r'"order":(\[.*?\])', state)[1])
        assert not re.search("truth|origin|camera", state)
    assert len(orders) > 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("kept", "shown"),
    [({"mode": "dark", "theme": "dark"}, "dark"), ({"mode": "light", "theme": "light"}, "light"),
     ({"mode": "auto", "theme": "light"}, None), ({"mode": "auto", "theme": "dark"}, None),
     ({"theme": "auto"}, None), ({}, None)],
)  # fmt: skip
def test_the_switch_of_the_book_goes_before_the_system(open_page, scheme, kept, shown):
    """As pydata-sphinx-theme keeps it: beside "auto" stand the colours of the last visit, maybe not the system's."""
    page = open_page(color_scheme=scheme)
    page.add_init_script(f"Object.assign(localStorage, {json.dumps(kept)})")  # a reload may miss what is set now
    page.reload()
    colours = page.evaluate("""["body", ".dl-survey", "header"].map(e => getComputedStyle(document.querySelector(e)))
        .flatMap((style, i) => i ? style.color : style.backgroundColor)""")
    dark = ["rgb(22, 23, 26)", "rgb(236, 236, 238)", "rgb(236, 236, 238)"]
    light = ["rgb(255, 255, 255)", "rgb(29, 29, 31)", "rgb(29, 29, 31)"]
    assert colours == (dark if (shown or scheme) == "dark" else light)
    accessible(page)


def test_a_switch_on_another_page_is_followed(open_page, tmp_path):
    page = open_page(color_scheme="light")
    (tmp_path / "chapter.html").write_text("A page of the book.")
    other = page.context.new_page()
    other.goto((tmp_path / "chapter.html").as_uri())
    other.evaluate("Object.assign(localStorage, { mode: 'dark', theme: 'dark' })")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'", timeout=5000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(open_page, scheme):
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, is_mobile=True)
    fits(page)
    accessible(page)
    begin(page)
    fits(page)
    accessible(page)
    for said, confidence in SAID:
        answer(page, said, confidence)
    fits(page)
    accessible(page)
