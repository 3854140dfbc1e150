"""The live service over HTTP, in this process: what it stores, what it tells whom and when, and what it refuses."""

import csv
import io
import json
import re
import sqlite3

import pytest
from starlette.testclient import TestClient

from diffinfinite_lite.survey.answers import read_answers
from diffinfinite_lite.survey.guard import LARGEST, Rate
from diffinfinite_lite.survey.service import Rates, Service
from diffinfinite_lite.survey.store import Store, Unavailable
from tests.survey.decks import small_deck, truths

NONCE = "0123456789abcdef0123456789abcdef"


class Class:
    """A service with a client, and what participants and the instructor do."""

    def __init__(self, folder, rates=None):
        self.store = Store(f"sqlite:///{folder / 'class.sqlite'}", small_deck())
        self.service = Service(self.store, "http://10.0.0.1:8000/", rates)
        self.client = TestClient(self.service.app, raise_server_exceptions=False)

    def post(self, path, body=None, status=200, **headers):
        kind = {"content-type": "application/json"}
        reply = self.client.post(f"/api/{path}", content=json.dumps(body or {}), headers=kind | headers)
        assert reply.status_code == status, reply.text
        return reply.json() if "json" in reply.headers["content-type"] else reply.text

    def begin(self, nonce=NONCE, **more):
        return self.post("begin", {"rater": self.store.room, "nonce": nonce, "asked": 12, "experience": None} | more)

    def answer(self, record, item, said="real", status=200, **more):
        body = {"code": record["code"], "item": item, "answer": said, "confidence": 4, "ms": 1234.5, "revision": 0}
        return self.post("answer", body | more, status)

    def finish(self, nonce=NONCE, said="real"):
        record = self.begin(nonce)
        for item in record["order"]:
            self.answer(record, item, said)
        return record, self.post("truth", {"code": record["code"]})

    def enter(self):
        key = self.post("instructor/login", {"token": self.service.door.token()})["key"]
        return {"authorization": f"Bearer {key}"}


@pytest.fixture
def room(tmp_path):
    room = Class(tmp_path)
    with room.client:
        yield room
    room.store.engine.dispose()


def test_a_whole_survey_and_the_truth_only_at_its_end(room):
    record = room.begin(experience=8.5)
    assert re.fullmatch(r"[2-9A-Z]{5}-[2-9A-Z]{6}", record["code"]) and record["code"].startswith(record["rater"])
    assert set(record["order"]) == set(truths(room.store)) and record["at"] == 0 and record["experience"] == 8.5
    for place, item in enumerate(record["order"]):
        refused = room.post("truth", {"code": record["code"]}, 409)
        assert refused == {"message": f"The truth is told after the last answer: {place} of 12 are here."}
        room.answer(record, item, said="synthetic")
        assert len(room.store.given(record["rater"])) == place + 1  # stored before the reply
    told = room.post("truth", {"code": record["code"]})
    names = [room.store.opaque(item.name) for item in room.store.deck.items]
    kinds = {name: ("synthetic", "real")[real] for name, (real, _) in zip(names, told["truth"], strict=True)}
    assert kinds == truths(room.store) and told["origins"] == ["our-camera", "our-network"]
    assert room.answer(record, record["order"][0], status=409)["message"].startswith("Your survey is finished")


def test_nothing_that_participants_get_tells_the_truth(room):
    record = room.begin()
    page = room.client.get("/").text
    settings = json.loads(re.search(r'data-part="settings">(.*?)</script>', page)[1])
    assert "sealed" not in settings and settings["server"] == "/api/"
    assert [item["name"] for item in settings["items"]] == [room.store.opaque(i.name) for i in room.store.deck.items]
    seen = page + json.dumps(record)
    for item in room.store.deck.items:
        assert item.name not in seen and item.origin not in seen
        reply = room.client.get(f"/picture/{room.store.opaque(item.name)}.jpg")
        assert reply.content == item.data and set(reply.headers) & {"etag", "last-modified"} == set()
        assert room.client.get(f"/picture/{item.name}.jpg").status_code == 404


def test_a_retry_counts_once_and_a_late_copy_changes_nothing(room):
    record = room.begin()
    item = record["order"][0]
    for _ in range(3):
        assert room.answer(record, item) == {"stored": True}
    room.answer(record, item, "synthetic", revision=1)
    room.answer(record, item, "real", revision=0)
    assert [(row["answer"], row["seconds"]) for row in room.store.rows()] == [("synthetic", 1.2)]


def test_going_on_with_the_code_on_another_device(room):
    record = room.begin()
    for item in record["order"][:5]:
        room.answer(record, item, "synthetic")
    again = room.post("begin", {"rater": record["code"].lower(), "asked": 12, "nonce": "another" * 5})
    assert again["order"] == record["order"] and again["at"] == 5 and again["rater"] == record["rater"]
    given = again["answers"][record["order"][0]]
    assert given == {"answer": "synthetic", "confidence": 4, "ms": 1200, "revision": 0}
    assert room.begin() | {"saved": ""} == again | {"saved": ""} and len(room.store.raters()) == 1  # the same nonce


def test_the_red_pen_is_for_afterwards(room):
    record = room.begin()
    mark = {"code": record["code"], "item": record["order"][0], "taps": [[0.25, 0.5]]}
    assert "afterwards" in room.post("taps", mark, 409)["message"]
    record, _ = room.finish()
    room.post("taps", mark)
    room.post("taps", mark | {"taps": [[0.25, 0.5], [1, 0]]})
    assert list(room.store.taps().values()) == [[(0.25, 0.5), (1, 0)]]
    for taps in ([[0.5]], [[0.5, 1.5]], [[0.5, "1"]], "x", None, [[0, 0]] * 41, [[True, 0]], [[float("nan"), 0]]):
        body = json.dumps(mark | {"taps": taps})
        reply = room.client.post("/api/taps", content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 400, taps


def test_a_rater_can_be_forgotten(room):
    record = room.begin()
    room.answer(record, record["order"][0])
    room.post("forget", {"code": record["code"]})
    assert not room.store.rows() and not room.store.raters()
    assert "all answers were deleted" in room.answer(record, record["order"][0], status=403)["message"]


@pytest.mark.parametrize(
    "wrong",
    [{"answer": "maybe"}, {"answer": None}, {"confidence": 0}, {"confidence": 8}, {"confidence": 2.5},
     {"confidence": True}, {"confidence": "4"}, {"ms": -1}, {"ms": 1e12}, {"ms": "1"}, {"revision": -1},
     {"revision": 1.5}, {"revision": None}, {"item": "../../etc/passwd"}, {"item": ["a"]}, {"item": None}],
)  # fmt: skip
def test_answers_that_are_none(room, wrong):
    record = room.begin()
    said = room.answer(record, **{"item": record["order"][0], "status": 400} | wrong)
    assert list(said) == ["message"] and said["message"].endswith(".") and not room.store.rows()


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"rater": "WRONG"}, 403), ({"rater": ""}, 403), ({"rater": 5}, 403), ({"rater": "ABCDE-FGHJKM"}, 403),
     ({"asked": 3}, 400), ({"asked": "12"}, 400),
     ({"asked": 12.0}, 400), ({"asked": [12]}, 400), ({"rater": "\ud800\0"}, 403),
     ({"nonce": "short"}, 400), ({"nonce": None}, 400),
     ({"experience": 95}, 400), ({"experience": "3"}, 400)],
)  # fmt: skip
def test_beginnings_that_are_none(room, wrong, status):
    body = {"rater": room.store.room, "nonce": NONCE, "asked": 12, "experience": None} | wrong
    assert list(room.post("begin", body, status)) == ["message"] and not room.store.raters()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000, b'"x"'])
def test_bodies_that_are_no_object(room, body):
    reply = room.client.post("/api/answer", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400 and reply.json() == {"message": "A request in JSON was expected."}


def test_large_bodies_are_refused_with_and_without_a_length(room):
    large = b'{"code": "' + b"x" * LARGEST + b'"}'
    for content in (large, iter([large[:100], large[100:]])):
        reply = room.client.post("/api/answer", content=content, headers={"content-type": "application/json"})
        assert reply.status_code == 413, reply.text


def test_other_sites_can_do_nothing(room):
    body = json.dumps({"rater": room.store.room, "nonce": NONCE, "asked": 12})
    for headers, status in (
        ({"content-type": "text/plain"}, 415),  # what a page may send elsewhere without asking
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json", "sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "application/json", "sec-fetch-site": "same-site"}, 403),
    ):
        assert room.client.post("/api/begin", content=body, headers=headers).status_code == status
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    allowed = room.client.options("/api/begin", headers=asked)
    assert allowed.status_code >= 400 and not [name for name in allowed.headers if name.startswith("access-control")]
    assert not room.store.raters() and "set-cookie" not in room.client.get("/").headers


def test_every_reply_has_a_strict_policy(room):
    record = room.begin()
    picture = f"/picture/{record['order'][0]}.jpg"
    for path in ("/", "/survey.js", "/survey.css", "/instructor", "/instructor.js", picture, "/nothing", "/api/answer"):
        headers = room.client.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
        assert "http" not in headers["content-security-policy"] and "unsafe" not in headers["content-security-policy"]
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    for path in ("/", "/instructor"):
        text = room.client.get(path).text
        assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*(src=|application/json))|https?://", text)


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/picture/../../survey.json", "/picture/%2e%2e/%2e%2e/survey.json", "/survey.json",
     "/class.sqlite", "/picture/..%2f..%2fclass.sqlite", "//etc/passwd", "/%00", "/picture/", "/api/", "/docs"],
)  # fmt: skip
def test_there_is_nothing_else(room, path):
    reply = room.client.get(path)
    assert reply.status_code in (404, 405) and list(reply.json()) == ["message"]


def test_a_mistake_of_ours_is_one_sentence_without_a_trace(room, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("secret detail")

    record = room.begin()
    monkeypatch.setattr(room.store, "finish", broken)
    reply = room.client.post("/api/truth", json={"code": record["code"]})
    assert reply.status_code == 500 and reply.json() == {
        "message": "The server made a mistake that it has noted; try again."
    }
    assert "content-security-policy" in reply.headers
    assert "secret detail" in capsys.readouterr().err


def test_a_database_that_takes_nothing_is_one_sentence_and_a_retry_succeeds(room, tmp_path):
    record = room.begin()
    item = record["order"][0]
    with room.store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=100")
    other = sqlite3.connect(tmp_path / "class.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    said = room.answer(record, item, status=503)["message"]
    assert said == "The server cannot store this now: its database is busy. It stays in this browser and is sent again."
    other.execute("COMMIT")
    other.close()
    assert room.answer(record, item) == {"stored": True} and len(room.store.rows()) == 1


def test_one_failed_batch_does_not_stop_the_writer(room, monkeypatch):
    record = room.begin()
    save, fail = room.store.save, [RuntimeError("?"), Unavailable("its disk is full (x)")]
    monkeypatch.setattr(room.store, "save", lambda batch: (_ for _ in ()).throw(fail.pop()) if fail else save(batch))
    assert "its disk is full. It" in room.answer(record, record["order"][0], status=503)["message"]
    room.answer(record, record["order"][0], status=500)
    room.answer(record, record["order"][0])
    assert len(room.store.rows()) == 1


# rates


def test_rates_are_kept(tmp_path):
    slow = Rates(Rate(100, 200), Rate(0, 3), Rate(0, 2), Rate(0, 2), Rate(0, 1))
    room = Class(tmp_path, slow)
    with room.client:
        record = room.begin()
        for item in record["order"][:2]:
            room.answer(record, item)
        assert "faster" in room.answer(record, record["order"][2], status=429)["message"]
        wrong = {"code": f"{record['rater']}-AAAAAA"}
        room.post("truth", wrong, 403)
        assert "Too many wrong codes" in room.post("truth", wrong, 429)["message"]
        assert (
            "Too many wrong codes" in room.post("truth", {"code": record["code"]}, 429)["message"]
        )  # or one could guess on
        for status in (403, 403):
            room.post("begin", {"rater": "WRONG", "nonce": NONCE, "asked": 12}, status)
        room.post("begin", {"rater": room.store.room, "nonce": NONCE, "asked": 12}, 429)
    room.store.engine.dispose()


def test_many_requests_of_one_address_are_slowed(tmp_path):
    room = Class(tmp_path, Rates(requests=Rate(0, 5)))
    with room.client:
        replies = [room.client.get("/") for _ in range(7)]
    assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 2
    assert replies[-1].headers["retry-after"] and "content-security-policy" in replies[-1].headers
    room.store.engine.dispose()


def test_a_rate_refills_and_forgets_the_oldest():
    now = [0.0]
    rate = Rate(2, 2, clock=lambda: now[0], most=3)
    assert [rate.allows("a") for _ in range(3)] == [True, True, False]
    now[0] = 0.5
    assert [rate.allows("a") for _ in range(2)] == [True, False]
    now[0] = 100
    assert rate.left("a") == 2
    for key in "bcde":
        rate.spend(key)
    assert len(rate._left) == 3


# the instructor


def test_the_instructors_door(room):
    for path in ("summary", "csv", "json", "invitation", "token", "reveal", "erase"):
        assert "terminal" in room.post(f"instructor/{path}", status=401)["message"]
        room.post(f"instructor/{path}", status=401, authorization="Bearer wrong")
    token = room.service.door.token()
    key = room.post("instructor/login", {"token": token})["key"]
    room.post("instructor/login", {"token": token}, 401)  # once
    room.post("instructor/summary", status=401, authorization=f"Bearer {token}")
    assert room.post("instructor/summary", authorization=f"Bearer {key}")["progress"] == []
    second = room.post("instructor/token", authorization=f"Bearer {key}")["token"]
    assert room.post("instructor/login", {"token": second})["key"] != key
    for guess in ("guess", "\ud800", None, *range(9)):
        kind = {"content-type": "application/json"}
        reply = room.client.post("/api/instructor/login", content=json.dumps({"token": guess}), headers=kind)
        assert reply.status_code in (401, 429)
    assert reply.status_code == 429


def test_the_summary_is_that_of_the_statistics(room):
    head = room.enter()
    assert room.post("instructor/summary", **head)["figures"] is None
    for i, said in enumerate(("real", "synthetic", "real")):
        record, _ = room.finish(f"{i:032d}", said)
    half = room.begin(NONCE)
    right = truths(room.store)
    for item in half["order"][:6]:
        room.answer(half, item, right[item], confidence=7)
    room.post("taps", {"code": record["code"], "item": record["order"][0], "taps": [[0.5, 0.5]]})
    found = room.post("instructor/reveal", **head)  # a summary that is new, while the one before is shown for a second
    assert {row["rater"]: (row["answered"], row["finished"]) for row in found["progress"]}[half["rater"]] == (6, False)
    figures = found["figures"]
    assert figures["accuracy"]["n"] == 42 and figures["accuracy"]["correct"] == 24  # half of 36, and 6
    assert sum(row["real"] + row["synthetic"] for row in figures["confusion"]) == 42
    synthetic = sum(said != "real" for said in right.values())
    (model,) = figures["models"]  # two models would be counted apart
    said = [right[item] for item in half["order"][:6]].count("synthetic")
    assert model["origin"] == "our-network" and model["n"] == 3 * synthetic + said
    assert model["correct"] == synthetic + said  # of the three who said one thing throughout, one said synthetic
    assert {row["confidence"]: row["accuracy"] for row in figures["calibration"]} == {4: 0.5, 7: 1.0}
    assert len(figures["raters"]) == 4 and -1 <= figures["agreement"]["kappa"] <= 1
    marked = [row for row in figures["pictures"] if row["taps"]]
    assert [(row["picture"], row["taps"]) for row in marked] == [(record["order"][0], [[0.5, 0.5]])]
    assert found["paper"]["accuracy"] == 0.63 and found["paper"]["low"] < 0.63 < found["paper"]["high"]


def test_export_can_be_read_by_the_course(room, tmp_path):
    head = room.enter()
    record, _ = room.finish()
    room.post("taps", {"code": record["code"], "item": record["order"][1], "taps": [[0.25, 0.75]]})
    half = room.begin(NONCE[::-1], experience=4)
    for item in half["order"][:3]:
        room.answer(half, item)
    (tmp_path / "class.csv").write_text(room.post("instructor/csv", **head))
    (tmp_path / "class.json").write_text(json.dumps(room.post("instructor/json", **head)))
    tables = [
        read_answers(tmp_path / f"class.{ending}")
        .sort_values(["rater", "position"], ignore_index=True)
        .drop(columns="saved")
        for ending in ("csv", "json")
    ]
    assert tables[0].equals(tables[1]) and len(tables[0]) == 15
    assert set(tables[0]["item"]) <= {item.name for item in room.store.deck.items}  # the deck's own names
    assert tables[0]["taps"].map(len).sum() == 1
    rows = list(csv.DictReader(io.StringIO((tmp_path / "class.csv").read_text())))
    assert record["code"] not in (tmp_path / "class.csv").read_text() and len(rows) == 15
    assert not [cell for row in rows for cell in row.values() if cell[:1] in "=+-@\t" and cell]


def test_reveal_ends_the_class_and_delete_begins_a_new_one(room):
    head, record = room.enter(), room.begin()
    room.answer(record, record["order"][0])
    assert room.post("instructor/reveal", **head)["closed"]
    assert (
        room.answer(record, record["order"][1], status=409)["message"]
        == "This class is over: the truth has been shown."
    )
    known = room.post("truth", {"code": record["code"]})["truth"]  # also of those who had not finished
    assert [bool(real) for real, _ in known] == [item.real for item in room.store.deck.items]
    mark = {"code": record["code"], "item": record["order"][0], "taps": [[0.25, 0.5]]}
    assert room.post("taps", mark) == {"stored": True}
    assert [len(row["taps"]) for row in room.store.rows()] == [1]
    before = room.post("instructor/invitation", **head)
    assert before["url"] == "http://10.0.0.1:8000/" and before["qr"].startswith("data:image/svg+xml")
    assert before["link"] == f"http://10.0.0.1:8000/#code={before['room']}"
    erased = room.post("instructor/erase", **head)
    assert erased["progress"] == [] and erased["figures"] is None and not erased["closed"]
    assert room.post("instructor/invitation", **head)["room"] != before["room"]
    room.answer(record, record["order"][0], status=403)
    room.begin()
