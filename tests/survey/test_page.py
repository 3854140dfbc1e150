"""The whole survey in a browser, from ``file://``: phone, desktop, partial hand-in, second browser, red pen, class."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from diffinfinite_lite.browser_scripts import LEAN_QR
from diffinfinite_lite.survey import statistics
from diffinfinite_lite.survey.answers import decode_answers, order_of, read_answers
from diffinfinite_lite.survey.deck import find_key, write_deck
from diffinfinite_lite.survey.page import (
    CLASSROOM,
    PLAYER,
    make_key,
    read_key,
    script,
    short_version,
    write_page,
)
from diffinfinite_lite.survey.pictures import make_items
from tests.check_site import chromium
from tests.survey.toys import make_fields, table

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# of six pictures, in the order shown: answer and confidence
SAID = [("real", 7), ("synthetic", 1), ("real", 3), ("real", 4), ("synthetic", 2), ("synthetic", 6)]


@pytest.fixture(scope="module")
def items():
    fields = make_fields(2)
    return make_items([f for i, f in enumerate(fields) if i not in (4, 6)])  # 2 + 2 small, 1 + 1 large


@pytest.fixture(scope="module")
def many():
    return make_items(make_fields(12))  # 28 pictures: there is a short version


@pytest.fixture(scope="module")
def address(items, tmp_path_factory):
    about = ["Coloured noise, made up for this test."]
    folder = tmp_path_factory.mktemp("survey")
    return write_page(
        items, about, "Noise <b>cannot</b> be told apart.", folder, title="Real?", home="../x.html"
    ).as_uri()


@pytest.fixture(scope="module")
def long_address(many, tmp_path_factory):
    return write_page(many, [], "", tmp_path_factory.mktemp("long"), title="Real?").as_uri()


@pytest.fixture
def open_page(browser, address):
    """Opens pages in a browser of their own each; errors and anything from outside the pages' folder fail the test."""
    problems, contexts = [], []

    def open_(where=address, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        folder = where.rsplit("/", 1)[0]
        page.on("request", lambda r: None if r.url.startswith((folder, "data:", "blob:")) else problems.append(r.url))
        page.goto(where)
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


def fits(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def one_screen(page):
    """Picture, answers, confidence and Next all lie inside the window, without scrolling, and the picture is square."""
    boxes = [page.locator(part).bounding_box() for part in (".frame", ".choice >> nth=0", ".scale", ".steps .main")]
    size = page.viewport_size
    for box in boxes:
        assert box["x"] >= 0 and box["y"] >= 0
        assert box["x"] + box["width"] <= size["width"] and box["y"] + box["height"] <= size["height"]
    assert page.evaluate("document.querySelector('.dl-survey').scrollHeight <= innerHeight && scrollY === 0")
    assert abs(boxes[0]["width"] - boxes[0]["height"]) < 1 and boxes[0]["width"] >= 240
    for button in page.locator("form.ask button, form.ask .choice label").all():
        assert min(button.bounding_box()["width"], button.bounding_box()["height"]) >= 40  # a finger's width


def begin(page, code="", years=""):
    page.get_by_label("Your code").fill(code)
    page.get_by_label("Years of experience").fill(years)
    page.get_by_role("button", name="Start").click()


def heading(page, text):
    page.wait_for_function("text => document.querySelector('h2')?.textContent === text", arg=text, timeout=5000)


def answer(page, said, confidence):
    """By keys, and waits until the answer is kept and the next page is there."""
    before = page.locator("h2").inner_text()
    page.keyboard.press("r" if said == "real" else "s")
    page.keyboard.press(str(confidence))
    page.keyboard.press("Enter")
    page.wait_for_function("text => document.querySelector('h2').textContent !== text", arg=before, timeout=5000)


def save(page, kind, tmp_path):
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Save as {kind}").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    return file


def test_whole_survey_on_a_desktop(open_page, items, tmp_path):
    page = open_page(viewport={"width": 1200, "height": 800})
    accessible(page)
    assert "Noise <b>cannot</b> be told apart." in page.locator(".lead").inner_text()
    for code in ("a b", "-1"):
        begin(page, code=code)
        assert "letters, digits" in page.get_by_role("alert").inner_text()
    begin(page, code="p-1", years="95")
    assert "0 to 80" in page.get_by_role("alert").inner_text()
    begin(page, code="p-1", years="8.5")

    heading(page, "Picture 1 of 6")
    accessible(page)
    one_screen(page)
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "Choose real or synthetic."
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    assert "1 to 7" in page.get_by_role("alert").inner_text()
    answer(page, *SAID[0])
    answer(page, *SAID[1])
    heading(page, "Picture 3 of 6")
    shown = page.locator(".frame img").get_attribute("src")
    page.keyboard.press("r")  # half an answer
    page.reload()

    heading(page, "Welcome back")
    assert "2 of 6 pictures" in page.locator("main").inner_text()
    page.get_by_role("button", name="Go on with picture 3").click()
    assert page.locator(".frame img").get_attribute("src") == shown
    assert page.get_by_label("Real", exact=True).is_checked()
    assert "right" not in page.locator("[data-part=stage]").inner_text().lower()  # no feedback before the end
    for i, (said, confidence) in enumerate(SAID[2:], start=3):
        heading(page, f"Picture {i} of 6")
        page.get_by_label(said.capitalize(), exact=True).check()
        page.get_by_label(str(confidence), exact=True).check()
        page.get_by_role("button", name=re.compile("Next|Finish")).click()

    heading(page, "Your result")
    accessible(page)
    page.reload()
    heading(page, "Your result")  # also after closing the page

    files = [save(page, kind, tmp_path) for kind in ("CSV", "JSON")]
    assert all("-p-1-20" in file.name for file in files)
    answers, again = (read_answers(file) for file in files)
    assert answers.equals(again)
    answers = answers.sort_values("position")
    assert list(zip(answers["answer"], answers["confidence"], strict=True)) == SAID
    truth = {item.name: ("real" if item.real else "synthetic", item.size, item.origin) for item in items}
    assert {row["item"]: (row["truth"], row["size"], row["origin"]) for _, row in answers.iterrows()} == truth
    assert set(answers["rater"]) == {"p-1"} and set(answers["experience"]) == {8.5} and set(answers["asked"]) == {6}
    assert f"{answers['item'].iloc[2]}.jpg" == shown
    assert (answers["seconds"] >= 0).all() and answers["seconds"].sum() > 0

    row, text = statistics.accuracy(answers).loc["all"], page.locator("[data-part=stage]").inner_text()
    assert f"{row['correct']:.0f} of 6 right, {round(100 * row['accuracy'])}%" in text
    assert f"95% interval {round(100 * row['low'])}% to {round(100 * row['high'])}%" in text
    assert f"{answers['confidence'].mean():.2f}" in text and "2.22" in text and "63%" in text
    counts = statistics.confusion(answers)
    for size, kind in counts.index:
        cells = page.get_by_role("row", name=f"{size}, {kind}").locator("td").all_inner_texts()
        assert [int(n) for n in cells[:2]] == counts.loc[(size, kind)].tolist()
    marks = page.locator(".all li span:first-of-type").all_inner_texts()
    assert [m.strip()[0] == "✓" for m in marks] == (answers["truth"] == answers["answer"]).tolist()
    page.get_by_label("Only those I got wrong").check()
    assert page.locator(".all li:visible").count() == 6 - row["correct"]

    page.get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Really").click()
    heading(page, "Before you start")
    page.reload()
    heading(page, "Before you start")


def test_whole_survey_on_a_phone_with_the_red_pen(open_page, items, tmp_path):
    page = open_page(**PHONE)
    fits(page)
    accessible(page)
    begin(page, code="tel")
    heading(page, "Picture 1 of 6")
    accessible(page)
    for i, (said, confidence) in enumerate(SAID, start=1):
        heading(page, f"Picture {i} of 6")
        one_screen(page)
        page.get_by_text(said.capitalize(), exact=True).tap()
        page.get_by_label(str(confidence), exact=True).tap()
        page.get_by_role("button", name=re.compile("Next|Finish")).tap()
    heading(page, "Your result")
    fits(page)
    accessible(page)

    page.locator(".all button").nth(1).tap()
    picture = page.locator(".marked img")
    box = picture.bounding_box()
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
    assert re.search("(camera|model)", page.get_by_role("dialog").inner_text())
    assert "1 mark." in page.get_by_role("dialog").inner_text()
    page.locator(".marked").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert "2 marks." in page.get_by_role("dialog").inner_text()
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + 0.1 * box["height"])
    page.get_by_role("button", name="Undo").tap()
    accessible(page)
    fits(page)
    page.get_by_role("button", name="Close").tap()
    assert "2 marks" in page.locator(".all button").nth(1).inner_text()
    page.reload()
    heading(page, "Your result")
    answers = read_answers(save(page, "JSON", tmp_path)).set_index("position")
    assert np.allclose(answers.loc[2, "taps"], [(0.25, 0.75), (0.7, 0.5)], atol=0.01)
    assert answers["taps"].map(len).sum() == 2
    assert read_answers(save(page, "CSV", tmp_path)).set_index("position")["taps"].equals(answers["taps"])


def test_a_phone_held_sideways_needs_no_scrolling_either(open_page):
    page = open_page(**PHONE | {"viewport": {"width": 844, "height": 390}})
    begin(page)
    heading(page, "Picture 1 of 6")
    one_screen(page)
    page.get_by_role("button", name="Next").tap()
    one_screen(page)  # with the sentence that something is missing


def test_a_part_is_handed_in_and_gone_on_with_in_a_second_browser(open_page, many, long_address, tmp_path):
    """Twenty pictures on a phone: three answers, a file and a code; the code goes on elsewhere with the next."""
    first, key = open_page(long_address, **PHONE), make_key(many)
    first.get_by_label("20", exact=True).check()
    begin(first, code="half-way", years="12,5".replace(",", "."))
    for said, confidence in SAID[:3]:
        answer(first, said, confidence)
    first.get_by_role("button", name="Pause").tap()
    heading(first, "Pause")
    accessible(first)
    fits(first)
    assert "3 of 20" in first.locator("main").inner_text()
    file, code = save(first, "CSV", tmp_path), first.get_by_role("textbox", name="Answer code").input_value()
    assert not re.search("camera|model", file.read_text())  # a rater can still go on, so the file has no truth
    with pytest.raises(ValueError, match="known only with the survey's page"), pytest.warns(UserWarning):
        read_answers(file)
    answers = read_answers(file, key)
    assert list(zip(answers["answer"], answers["confidence"], strict=True)) == SAID[:3]
    assert list(answers["item"]) == order_of(key, "half-way", 20)[:3] and set(answers["asked"]) == {20}
    rows = {row["item"]: row for row in decode_answers(code, key)}
    assert [(rows[i]["answer"], rows[i]["confidence"], rows[i]["position"]) for i in answers["item"]] == [
        (said, confidence, i + 1) for i, (said, confidence) in enumerate(SAID[:3])
    ]
    assert {row["experience"] for row in rows.values()} == {12.5}

    second = open_page(long_address, viewport={"width": 1280, "height": 800})
    second.get_by_text("another device").click()
    second.get_by_role("textbox", name="Answer code").fill(code[:-3] + "ZZZ")
    second.get_by_role("button", name="Start").click()
    assert "letter wrong" in second.get_by_role("alert").inner_text()
    second.get_by_role("textbox", name="Answer code").fill(code.lower().replace("-", " "))
    second.get_by_role("button", name="Start").click()
    heading(second, "Picture 4 of 20")
    assert second.locator(".frame img").get_attribute("src") == f"{order_of(key, 'half-way', 20)[3]}.jpg"
    for i in range(17):
        answer(second, "real", 1 + i % 7)
    heading(second, "Your result")
    whole = read_answers(save(second, "JSON", tmp_path))
    assert len(whole) == 20 and set(whole["item"]) == short_version(many)
    both = read_answers(tmp_path, key, notes := [])
    assert len(both) == 20 and "a part of rater half-way's answers" in notes[0].text  # it was handed in, too


def test_the_time_is_up_and_the_red_pen_comes_for_what_was_answered(open_page, many, long_address, tmp_path):
    """As the lesson of 90 minutes needs it: whoever is not done stops, and sees the truth about their part."""
    page, key = open_page(long_address, **PHONE), make_key(many)
    page.get_by_label("20", exact=True).check()
    begin(page, code="slow")
    page.get_by_role("button", name="Pause").tap()
    assert not page.get_by_role("button", name="Stop here").count()  # nothing to look at yet
    page.get_by_role("button", name="Go on").tap()
    for said, confidence in SAID[:4]:
        answer(page, said, confidence)
    page.get_by_role("button", name="Pause").tap()
    page.get_by_role("button", name="Stop here and see the truth").tap()
    heading(page, "Pause")  # asked once more
    accessible(page)
    fits(page)
    page.get_by_role("button", name="End the survey here?").tap()
    heading(page, "Your result")
    truths = {item.name: "real" if item.real else "synthetic" for item in key.items}
    right = sum(truths[name] == said for name, (said, _) in zip(order_of(key, "slow", 20), SAID, strict=False))
    text = page.locator("main").inner_text()
    assert f"{right} of 4 right" in text and "Of 20 pictures; the others have no answer." in text
    accessible(page)
    fits(page)
    page.locator(".all button").first.tap()
    page.locator(".marked img").tap(position={"x": 40, "y": 40})
    page.get_by_role("button", name="Close").tap()
    page.reload()
    heading(page, "Your result")
    answers = read_answers(save(page, "CSV", tmp_path), key)
    assert list(answers["item"]) == order_of(key, "slow", 20)[:4] and set(answers["asked"]) == {20}
    assert [truths[item] for item in answers["item"]] == list(answers["truth"]) and len(answers["taps"][0]) == 1


def test_what_guessing_gives_is_the_binomial_interval(open_page):
    """The page counts it for any number of answers, since a rater may stop anywhere."""
    page = open_page()
    code = script("common").removeprefix("(() => {").removesuffix("})();\n")
    counted = page.evaluate(f"(() => {{ {code} return [1, 2, 5, 20, 47, 60, 112].map(byGuessing); }})()")
    assert counted == [[int(k) for k in stats.binom.interval(0.95, n, 0.5)] for n in (1, 2, 5, 20, 47, 60, 112)]


def test_the_short_version_is_balanced_and_the_same_for_all(many):
    short = [item for item in many if item.name in short_version(many)]
    assert len(short) == 20 and sum(item.real for item in short) == 10
    assert short_version(many[:8]) == {item.name for item in many[:8]}
    assert {item.size for item in short} == {"small", "large"}


def test_two_tabs_share_their_answers(open_page, address):
    one = open_page()
    begin(one, code="tabs")
    two = one.context.new_page()
    two.goto(address)
    two.get_by_role("button", name="Go on").click()
    answer(one, "real", 5)
    answer(one, "synthetic", 6)
    answer(two, "synthetic", 2)
    kept = json.loads(one.evaluate("Object.values(localStorage)[0]"))
    given = [kept["answers"].get(name, {}).get("confidence") for name in kept["order"][:3]]
    assert given == [2, 6, None]  # the later answer to the first, and the other tab's to the second


def test_zoom_by_keys_buttons_mouse_and_pinch(open_page):
    page = open_page(viewport={"width": 1200, "height": 800}, has_touch=True)
    begin(page)
    level, whole = page.locator("output"), page.locator(".frame img").bounding_box()
    page.keyboard.press("+")
    page.get_by_role("button", name="Zoom in").click()
    assert level.inner_text() == "2.3×"
    box = page.locator(".frame img").bounding_box()
    assert np.isclose(box["width"], 2.25 * whole["width"], atol=1)
    centres = [b["x"] + b["width"] / 2 for b in (whole, box)]
    assert abs(centres[0] - centres[1]) < 1
    page.mouse.move(whole["x"] + 200, whole["y"] + 200)
    page.mouse.down()
    page.mouse.move(whole["x"] + 140, whole["y"] + 200, steps=3)
    page.mouse.up()
    assert abs(page.locator(".frame img").bounding_box()["x"] - (box["x"] - 60)) < 1
    page.keyboard.press("0")
    assert level.inner_text() == "1×"

    x, y = whole["x"] + 200, whole["y"] + 150
    touch = page.context.new_cdp_session(page)

    def fingers(kind, *points):
        points = [{"x": a, "y": b, "id": i} for i, (a, b) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", (x - 20, y), (x + 20, y))
    fingers("touchMove", (x - 30, y), (x + 30, y))
    fingers("touchMove", (x - 60, y), (x + 60, y))
    fingers("touchEnd")
    assert level.inner_text() == "3×"
    box = page.locator(".frame img").bounding_box()
    assert (
        abs((x - box["x"]) / 3 - 200) < 2 and abs((y - box["y"]) / 3 - 150) < 2
    )  # what was between the fingers stays there
    assert page.get_by_role("button", name="Back").is_disabled()


def test_back_keeps_answers_and_orders_differ_between_raters(open_page):
    orders = set()
    for code in ("a", "b", "c", ""):
        page = open_page()
        begin(page, code=code)
        answer(page, "synthetic", 5)
        page.get_by_role("button", name="Back").click()
        assert page.get_by_label("Synthetic", exact=True).is_checked()
        assert page.get_by_label("5", exact=True).is_checked()
        state = page.evaluate("Object.values(localStorage)[0]")
        orders.add(re.search(r'"order":(\[.*?\])', state)[1])
        assert not re.search("truth|origin|camera", state)
    assert len(orders) > 1


def test_the_class_page_and_python_read_the_same_files_alike(open_page, items, address, tmp_path):
    """Spreadsheets' files, a duplicate, a part, markup in a code, formulas, another survey: both say the same."""
    key, rng = make_key(items), np.random.default_rng(0)
    page = open_page(address.replace("index.html", "class.html"), viewport={"width": 1280, "height": 900})
    accessible(page)

    def rater(code, years=3.0, saved="2026-11-29T03:00:00Z"):
        rows = table(raters=1).iloc[: len(key.items)].copy()
        rows = rows.assign(survey=key.survey, rater=code, experience=years, asked=6.0, saved=saved)
        rows["item"], rows["truth"] = (
            [i.name for i in key.items],
            ["real" if i.real else "synthetic" for i in key.items],
        )
        rows["size"], rows["origin"] = [i.size for i in key.items], [i.origin for i in key.items]
        return rows.assign(
            answer=rng.choice(["real", "synthetic"], len(rows)), confidence=rng.integers(1, 8, len(rows))
        )

    def as_text(rows, separator=",", decimal="."):
        flat = rows.assign(taps=[" ".join(f"{x}:{y}" for x, y in taps) for taps in rows["taps"]])
        return flat.to_csv(index=False, sep=separator, decimal=decimal)

    a, b, c, evil = rater("a"), rater("b", 8.5), rater("c", None), rater("<img src=x onerror=alert(1)>", 4.0)
    (tmp_path / "a.csv").write_text(as_text(a))
    (tmp_path / "a (1).csv").write_text(as_text(a))
    (tmp_path / "b.CSV").write_bytes(b"\xef\xbb\xbf" + as_text(b, ";", ",").encode())
    (tmp_path / "c.csv").write_text(as_text(c.assign(truth="").iloc[:3]))
    (tmp_path / "c-later.csv").write_text(as_text(c.assign(saved="2026-11-29T04:00:00Z")))
    (tmp_path / "evil.csv").write_text(as_text(evil))
    (tmp_path / "other.csv").write_text(as_text(rater("o").assign(survey="s9999999999")))
    (tmp_path / "torn.csv").write_text("rater,item\nx,y\n")
    years = rater("years").assign(experience="many")
    (tmp_path / "years.csv").write_text(
        as_text(pd.concat([years, years.iloc[:1].assign(answer="real"), years.iloc[:1].assign(answer="synthetic")]))
    )
    (tmp_path / "other truth.csv").write_text(as_text(rater("t").assign(truth="real")))
    (tmp_path / "sizes.csv").write_text(as_text(rater("sizes").assign(size=["huge", *["small"] * 5])))
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    first, later = rater("d", saved="29.11.2026 03:00"), rater("d", saved="2026-11-30 02:00:00")
    (tmp_path / "d.csv").write_text(as_text(later))  # a spreadsheet has turned the older one's date around
    (tmp_path / "d (older).csv").write_text(as_text(first, ";", ","))
    (tmp_path / "f.csv").write_text(as_text(rater("f").iloc[:2]))
    (tmp_path / "f later.csv").write_text(as_text(rater("f", saved="11/30/2026 3 PM")))
    (tmp_path / "odd.csv").write_text(
        as_text(rater("odd").astype({"confidence": object}).assign(confidence=["9", *"345", "x", "2"]))
    )
    ours = read_answers(tmp_path, key, notes := [])
    files = sorted(tmp_path.iterdir())
    assert ours[ours["rater"] == "d"]["answer"].tolist() == later["answer"].tolist()
    assert (ours["rater"] == "f").sum() == 6  # of a time that nobody can read the file with more answers counts
    page.set_input_files("input[type=file]", files)
    page.wait_for_selector("ul.all")
    accessible(page)
    text = page.locator("[data-part=notes]").inner_text()
    assert f"17 files, 10 raters, {len(ours)} answers" in text
    assert ours["rater"].nunique() == 10
    for note in notes:
        assert note.file in text, note
    # word for word, but for what is wrong with a file that cannot be read at all, and for how many answers are
    for note in notes:
        if "expected a file" not in note.text and "answers left out" not in note.text:
            assert f"{note.file}: {note.text}." in text, note
    assert {line.split(":")[0] for line in text.splitlines() if ": " in line} == {note.file for note in notes}
    row = statistics.accuracy(ours).loc["all"]
    result = page.locator("[data-part=result]").inner_text()
    assert f"{row['correct']:.0f} of {row['n']:.0f} answers right, {round(100 * row['accuracy'])}%" in result
    assert f"{statistics.fleiss(ours):.2f}" in page.get_by_role("row", name="Fleiss").inner_text()
    assert (
        f"{statistics.correlations(ours).loc['confidence', 'r']:.2f} ("
        in page.get_by_role("row", name="accuracy and confidence").inner_text()
    )
    assert "<img src=x" in result and not page.locator("[data-part=result] img[src=x]").count()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save all as CSV").click()
    download.value.save_as(tmp_path / "all.csv")
    back = read_answers(tmp_path / "all.csv")
    order = ["rater", "item"]
    assert back.sort_values(order, ignore_index=True).equals(ours.sort_values(order, ignore_index=True))
    assert page.evaluate(
        "[...document.querySelectorAll('.marks canvas')]"
        ".some(c => c.getContext('2d').getImageData(0, 0, 96, 96).data.some(v => v))"
    )
    page.get_by_role("button", name="Take all away").click()
    assert not page.locator("ul.all").count()


def test_answer_codes_of_a_room_are_read_on_the_class_page(open_page, address, items):
    codes = []
    for code in ("a", "b"):
        page = open_page(**PHONE)
        begin(page, code=code)
        answer(page, "real", 3)
        page.get_by_role("button", name="Pause").tap()
        codes.append(page.get_by_role("textbox", name="Answer code").input_value())
    page = open_page(address.replace("index.html", "class.html"), **PHONE)
    page.get_by_role("textbox", name="Answer codes").fill("first " + "\n".join(codes) + "\nDS2-AAAA")
    page.get_by_role("button", name="Add the codes").tap()
    assert "2 raters, 2 answers" in page.locator("[data-part=notes]").inner_text()
    assert "DS2-AAAA... left out" in page.locator("[data-part=notes]").inner_text()
    fits(page)
    accessible(page)


def test_the_key_is_read_out_of_the_page(address, items):
    from urllib.parse import urlsplit

    page = urlsplit(address).path
    assert read_key(page) == make_key(items)
    with pytest.raises(ValueError, match=r"the page of a survey, got test_page\.py"):
        read_key(__file__)


def test_the_key_of_a_class_lies_beside_what_it_saw(address, items, tmp_path):
    """Chapter 11 reads files of a class that saw other pictures than the chapter has painted this time."""
    from urllib.parse import urlsplit

    assert find_key(Path(urlsplit(address).path).parent) == make_key(items)
    with pytest.raises(FileNotFoundError, match=r"found no survey\.json and no index\.html"):
        find_key(tmp_path)
    write_deck(items, [], "", tmp_path)
    assert find_key(tmp_path) == make_key(items)


@pytest.mark.skipif(not LEAN_QR.available(), reason="needs the QR encoder: python -m diffinfinite_lite.browser_scripts")
def test_the_code_is_shown_as_a_qr_code(open_page):
    """Three finders, light on dark, in the corners that the standard names; the quiet zone is light."""
    page = open_page()
    begin(page, code="q")
    page.get_by_role("button", name="Pause").click()
    rows = page.evaluate("""() => { const c = document.querySelector("canvas.qr"), p = c.getContext("2d");
        const data = p.getImageData(0, 0, c.width, c.height).data;
        const row = (y) => Array.from({length: c.width}, (_, x) => data[4 * (y * c.width + x)] ? 0 : 1);
        return Array.from({length: c.height}, (_, y) => row(y)); }""")
    dark = np.array(rows)
    inside = np.flatnonzero(dark.any(axis=0))
    scale = inside[0] // 4
    cells = dark[scale // 2 :: scale, scale // 2 :: scale]
    assert not cells[:4].any() and not cells[:, -4:].any() and (cells.shape[0] - 8 - 17) % 4 == 0
    finder = np.ones((7, 7), int)
    finder[1:6, 1:6], finder[2:5, 2:5] = 0, 1
    code = cells[4:-4, 4:-4]
    assert all(np.array_equal(corner, finder) for corner in (code[:7, :7], code[:7, -7:], code[-7:, :7]))
    assert not np.array_equal(code[-7:, -7:], finder)


def test_scripts_keep_to_themselves_and_need_no_inline_style():
    """A strict Content-Security-Policy forbids style attributes, handlers in attributes and eval."""
    for parts in (PLAYER, CLASSROOM):
        code = script(*parts)
        assert not re.search(r"""\sstyle=["']|\son\w+=["']|\beval\(|new Function""", code)
        assert not re.search(r"https?://(?!www\.w3\.org)", code)


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
    begin(page)
    accessible(page)
    page.get_by_role("button", name="Pause").click()
    accessible(page)


def test_a_switch_on_another_page_is_followed(open_page, tmp_path):
    page = open_page(color_scheme="light")
    (tmp_path / "chapter.html").write_text("A page of the book.")
    other = page.context.new_page()
    other.goto((tmp_path / "chapter.html").as_uri())
    other.evaluate("Object.assign(localStorage, { mode: 'dark', theme: 'dark' })")
    # Not by animation frames, the default: the page is behind the other one.
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'", polling=100)
