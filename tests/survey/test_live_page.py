"""The live survey in a browser: phones, another device, a server that is away, the instructor."""

import json
import socket
import threading
import time

import pytest
import uvicorn

from diffinfinite_lite.survey import summary
from diffinfinite_lite.survey.answers import read_answers
from diffinfinite_lite.survey.service import Service
from diffinfinite_lite.survey.store import Answer, Store, Unavailable
from tests.check_site import chromium
from tests.survey.decks import small_deck, truths

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


class Room:
    """A service in a thread, and its pages."""

    def __init__(self, folder, browser):
        self.store = Store(f"sqlite:///{folder / 'class.sqlite'}", small_deck())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.service = Service(self.store, self.url)
        self.server = uvicorn.Server(uvicorn.Config(self.service.app, port=self.port, log_level="error", ws="none"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        self.browser, self.contexts, self.problems = browser, [], []

    def open(self, path="", *, quiet=True, **options):
        self.contexts.append(self.browser.new_context(**options))
        page = self.contexts[-1].new_page()
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        if quiet:
            page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        page.on(
            "request", lambda r: None if r.url.startswith((self.url, "data:", "blob:")) else self.problems.append(r.url)
        )
        page.goto(self.url + path)
        return page

    def close(self):
        for context in self.contexts:
            context.close()
        self.server.should_exit = True
        self.thread.join()
        self.store.engine.dispose()
        assert not self.problems


@pytest.fixture
def room(tmp_path, browser):
    room = Room(tmp_path, browser)
    yield room
    room.close()


def accessible(page):
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response
    assert not [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def on_one_screen(page):
    assert page.locator(".steps .main").evaluate("b => b.getBoundingClientRect().bottom") <= 844


def answer(page, said="Synthetic", confidence="4"):
    page.locator(f"label:has(input[value={said.lower()}])").click()
    page.locator(f"label:has(input[name=confidence][value='{confidence}'])").click()
    page.locator(".steps .main").click()


def text(page, what, said):
    """Wait until an element has a text, or one that contains it; the policy forbids to evaluate strings in the page."""
    from playwright.sync_api import expect

    expect(page.locator(what).first).to_contain_text(said)


def at(page, place):
    text(page, "h2:visible", f"Picture {place} of 12")


def fill(room, nonce="0" * 32, said="real"):
    """A rater who has answered everything."""
    rater = room.store.rater(room.store.join(nonce, 12))
    room.store.save([Answer(rater.rater, item, said, 4, 2.5) for item in room.store.order(rater)])
    room.store.finish(rater)
    return rater


def marks(room, counts):
    """Wait until the store has as many marks of the red pen, by picture: the page goes on before they are stored."""
    until = time.monotonic() + 5
    while (stored := [len(points) for points in room.store.taps().values() if points]) != counts:
        assert time.monotonic() < until, stored
        time.sleep(0.05)


def test_a_phone_and_then_another_device(room):
    phone = room.open(f"#code={room.store.room}", **PHONE)
    accessible(phone)
    phone.get_by_role("button", name="Start").click()
    at(phone, 1)
    accessible(phone)
    on_one_screen(phone)
    for place in range(1, 6):
        answer(phone)
        at(phone, place + 1)
        assert len(room.store.rows()) == place  # stored before the next picture came
    state = json.loads(phone.evaluate("Object.values(localStorage)[0]"))
    assert not any(word in json.dumps(state) for word in ("truth", "our-camera", "our-network"))

    other = room.open(f"#code={state['code']}", **DESKTOP)
    other.get_by_role("button", name="Start").click()
    for place in range(6, 13):
        at(other, place)
        answer(other, "Real", "7")
    text(other, "h2:visible", "Your result")
    right = sum(row["truth"] == row["answer"] for row in room.store.rows())
    assert f"{right} of 12 right" in other.locator(".big").inner_text()
    accessible(other)
    other.locator(".all button").first.click()
    other.locator(".marked img").click(position={"x": 60, "y": 60})
    text(other, "dialog .about", "1 mark")
    other.get_by_role("button", name="Close").click()
    marks(room, [1])


def test_marks_arrive_in_order_and_where_a_server_was_away_later(room, monkeypatch):
    fill(room, nonce := "0" * 32)
    code = room.store.join(nonce, 12)  # of the same rater
    page = room.open(f"#code={code}", quiet=False, **DESKTOP)  # the browser logs requests that fail
    page.get_by_role("button", name="Start").click()
    text(page, "h2:visible", "Your result")
    mark = room.store.mark

    def the_first_is_late(rater, item, points):
        time.sleep(len(points) == 1)
        mark(rater, item, points)

    monkeypatch.setattr(room.store, "mark", the_first_is_late)
    page.locator(".all button").first.click()
    for place, count in ((60, 1), (120, 2)):
        page.locator(".marked img").click(position={"x": place, "y": 60})
        text(page, "dialog .about", f"{count} mark")
    page.wait_for_timeout(1500)
    marks(room, [2])
    page.context.set_offline(True)
    page.locator(".marked img").click(position={"x": 60, "y": 120})
    text(page, "dialog .alert", "The server cannot be reached")
    page.context.set_offline(False)
    marks(room, [2])
    page.reload()
    text(page, "h2:visible", "Your result")
    marks(room, [3])


def test_what_was_erased_does_not_come_back_with_a_late_reply(room, monkeypatch):
    fill(room, nonce := "0" * 32)
    page = room.open(f"#code={room.store.join(nonce, 12)}", quiet=False, **DESKTOP)  # the browser logs a 403
    page.get_by_role("button", name="Start").click()
    text(page, "h2:visible", "Your result")
    mark, stored, late = room.store.mark, threading.Event(), threading.Event()

    def a_late_reply(rater, item, points):
        mark(rater, item, points)
        stored.set()
        late.wait(30)

    monkeypatch.setattr(room.store, "mark", a_late_reply)
    page.locator(".all button").first.click()
    page.locator(".marked img").click(position={"x": 60, "y": 60})
    page.get_by_role("button", name="Close").click()
    assert stored.wait(10)
    page.get_by_role("button", name="Erase").click()
    page.get_by_role("button", name="Really").click()
    page.get_by_role("button", name="Start").wait_for()
    with page.expect_response("**/api/taps"):
        late.set()
    page.wait_for_timeout(300)
    assert page.evaluate("Object.keys(localStorage)") == [] and not room.store.raters()


def test_the_instructor_sees_them_come_and_reveals(room):
    board = room.open(f"instructor#{room.service.door.token()}", **DESKTOP)
    text(board, ".code", room.store.room)
    assert "#" not in board.url
    accessible(board)
    half = room.store.rater(room.store.join("1" * 32, 12))
    room.store.save([Answer(half.rater, item, "real", 4, 2.5) for item in room.store.order(half)[:5]])
    text(board, ".progress li", "5 of 12")
    rater = fill(room)
    room.store.mark(rater.rater, room.store.order(rater)[0], [(0.5, 0.5)])
    board.get_by_role("button", name="Figures").click()
    text(board, ".figures", "of 17 answers of 2 participants")
    right = sum(row["truth"] == row["answer"] for row in room.store.rows())
    text(board, ".figures", f"{right} of 17")
    assert board.locator("canvas[data-taps]").count() == 1
    accessible(board)
    board.get_by_role("button", name="Reveal").click()
    assert not room.store.closed  # asked once more
    board.get_by_role("button", name="End the class").click()
    board.wait_for_selector("body.projector")
    accessible(board)
    assert room.store.closed and not board.get_by_role("button", name="Room").is_visible()
    board.keyboard.press("Escape")
    assert board.get_by_role("button", name="Room").is_visible()


def test_reveal_shows_the_truth_to_those_who_were_not_done(room):
    phone, nobody = (room.open(f"#code={room.store.room}", quiet=False, **PHONE) for _ in range(2))  # they log a 409
    for each in (phone, nobody):
        each.get_by_role("button", name="Start").click()
        at(each, 1)
    for place in range(1, 4):
        answer(phone)
        at(phone, place + 1)
    room.store.close()
    for each in (phone, nobody):
        answer(each)
        text(each, ".alert", "This class is over: the truth has been shown.")
        on_one_screen(each)
        each.get_by_role("button", name="See the truth").click()
    text(phone, "h2:visible", "Your result")
    right = sum(row["truth"] == row["answer"] for row in room.store.rows())
    text(phone, ".big", f"{right} of 3 right")
    text(phone, "[data-part=stage]", "Of 12 pictures; the others have no answer.")
    text(phone, "[data-part=stage]", "Your marks are kept with your answers.")  # there is no file to hand in
    accessible(phone)
    phone.locator(".all button").first.click()
    phone.locator(".marked img").click(position={"x": 60, "y": 60})
    phone.get_by_role("button", name="Close").click()
    phone.reload()
    text(phone, "h2:visible", "Your result")
    marks(room, [1])
    text(nobody, "h2:visible", "The class is over")
    accessible(nobody)


def test_the_instructor_exports_and_deletes(room, tmp_path):
    fill(room)
    board = room.open(f"instructor#{room.service.door.token()}", accept_downloads=True, **DESKTOP)
    board.get_by_role("button", name="Data").click()
    for ending in ("csv", "json"):
        with board.expect_download() as download:
            board.get_by_role("button", name=f"Save as {ending.upper()}").click()
        download.value.save_as(tmp_path / f"class.{ending}")
        assert len(read_answers(tmp_path / f"class.{ending}")) == 12
    accessible(board)
    board.get_by_role("button", name="Delete everything").click()
    assert room.store.raters()  # asked once more
    board.get_by_role("button", name="Really").click()
    text(board, ".counts", "Nobody yet.")
    assert not room.store.raters()


def test_answers_are_saved_before_the_first_figures_come(room, monkeypatch, tmp_path):
    fill(room)
    paper, saved = summary.paper, threading.Event()
    monkeypatch.setattr(summary, "paper", lambda: saved.wait(30) and paper())
    board = room.open(f"instructor#{room.service.door.token()}", accept_downloads=True, **DESKTOP)
    board.get_by_role("button", name="Data").click()
    try:
        with board.expect_download(timeout=10_000) as download:
            board.get_by_role("button", name="Save as CSV").click()
    finally:
        saved.set()
    assert download.value.suggested_filename == f"class-{room.store.deck.key.survey}.csv"
    download.value.save_as(tmp_path / "class.csv")
    assert len(read_answers(tmp_path / "class.csv")) == 12
    text(board, ".counts", "1 participant, 1 finished")


def test_what_a_server_does_not_take_waits_in_the_browser(room, monkeypatch):
    phone = room.open(f"#code={room.store.room}", quiet=False, **PHONE)  # the browser logs each status of 503
    phone.get_by_role("button", name="Start").click()
    at(phone, 1)
    save, full = room.store.save, [True]

    def sometimes(batch):
        if full:
            raise Unavailable("its disk is full (database or disk is full)")
        return save(batch)

    monkeypatch.setattr(room.store, "save", sometimes)
    answer(phone)
    said = "The server cannot store this now: its disk is full. It stays in this browser and is sent again."
    text(phone, ".alert", said)
    assert phone.locator("h2").inner_text() == "Picture 1 of 12" and not room.store.rows()
    accessible(phone)
    on_one_screen(phone)
    phone.reload()  # kept, and sent with the next one
    phone.get_by_role("button", name="Go on").click()
    full.clear()
    answer(phone, "Real", "2")
    at(phone, 2)
    assert [(row["answer"], row["confidence"]) for row in room.store.rows()] == [("real", 2)]

    phone.context.set_offline(True)
    answer(phone)
    text(phone, ".alert", "The server cannot be reached")
    phone.context.set_offline(False)
    at(phone, 3)  # by itself, after a few seconds
    assert len(room.store.rows()) == 2


def test_wrong_codes_and_a_class_that_was_deleted(room):
    phone = room.open("#code=WRONG", quiet=False, **PHONE)
    phone.get_by_role("button", name="Start").click()
    phone.wait_for_selector("text=There is no class with this code")
    phone.get_by_label("Code of the room").fill(room.store.room)
    phone.get_by_role("button", name="Start").click()
    at(phone, 1)
    room.store.erase()
    answer(phone)
    phone.wait_for_selector("text=all answers were deleted")
    phone.get_by_role("button", name="Pause").click()
    phone.get_by_role("button", name="Erase").click()
    phone.get_by_role("button", name="Really").click()
    phone.wait_for_selector("text=Before you start")
    assert set(truths(room.store).values()) == {"real", "synthetic"} and not room.store.raters()


def test_the_door(room):
    board = room.open("instructor", quiet=False, **PHONE)
    accessible(board)
    board.get_by_label("Token").fill("wrong")
    board.get_by_role("button", name="Open").click()
    board.wait_for_selector("text=This token is wrong or was used")
    board.get_by_label("Token").fill(room.service.door.token())
    board.get_by_role("button", name="Open").click()
    board.wait_for_selector("text=Join with your phone")
    accessible(board)
    board.get_by_role("button", name="Data").click()
    board.get_by_role("button", name="Make a link").click()
    board.wait_for_selector(".link:not(:empty)")
    second = room.open(board.locator(".link").inner_text().removeprefix(room.url), **DESKTOP)
    second.wait_for_selector("text=Join with your phone")
    board.reload()  # the tab keeps its key
    board.wait_for_selector("text=Join with your phone")
