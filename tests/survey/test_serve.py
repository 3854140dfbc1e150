"""The command `diffinfinite survey serve` in a process of its own: what it prints, a kill, a full disk, refusals."""

import json
import re
import resource
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest
from survey_load import Load, Server, compare, run

from diffinfinite_lite.survey.deck import write_deck
from diffinfinite_lite.survey.serve import DATABASE, reachable
from tests.survey.decks import small_deck

NONCE = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    deck, folder = small_deck(), tmp_path_factory.mktemp("deck")
    write_deck(deck.items, deck.about, deck.lead, folder)
    return folder


def post(server, path, body):
    """Status and reply of a request."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/api/{path}", json.dumps(body).encode(),
                                     {"content-type": "application/json"})  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def command(*options):
    call = [sys.executable, "-m", "diffinfinite_lite.cli", "survey", "serve", *map(str, options)]
    return subprocess.run(call, text=True, capture_output=True, timeout=120)


def test_a_kill_loses_no_answer_and_counts_none_twice(folder):
    import asyncio

    (folder / DATABASE).unlink(missing_ok=True)
    server = Server(folder)
    server.start()
    load = Load(server, think=0.02)
    room, token = server.room, server.token
    try:
        asyncio.run(run(load, raters=8, items=12))
    finally:
        server.kill()
    assert compare(load, folder) == {"acknowledged": 96, "rows": 96, "lost": 0, "twice": 0}
    assert load.resent > 0 and server.room == room and server.token != token


def test_a_full_disk_is_one_sentence_and_the_next_try_succeeds(folder, tmp_path):
    server = Server(folder)
    server.start()
    try:
        _, record = post(server, "begin", {"rater": server.room, "nonce": NONCE, "asked": 12, "experience": None})
        answer = {"code": record["code"], "answer": "real", "confidence": 4, "ms": 900, "revision": 0}
        process, stored = psutil.Process(server.process.pid), 0
        log = (folder / f"{DATABASE}-wal").stat().st_size
        process.rlimit(resource.RLIMIT_FSIZE, (log + 8192, resource.RLIM_INFINITY))  # no file of it may grow much more
        for item in record["order"]:
            status, said = post(server, "answer", answer | {"item": item})
            if status != 200:
                break
            stored += 1
        assert status == 503
        sentence = r"The server cannot store this now: [\w ]+\. It stays in this browser and is sent again\."
        assert re.fullmatch(sentence, said["message"])
        record = post(server, "begin", {"rater": record["code"], "nonce": NONCE, "asked": 12})[1]  # reading goes on
        assert len(record["answers"]) == stored
        process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert post(server, "answer", answer | {"item": item}) == (200, {"stored": True})
    finally:
        server.kill()


def test_only_this_machine_unless_asked(folder):
    server = Server(folder)
    server.start()
    try:
        mine = [c for c in psutil.Process(server.process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert [c.laddr.ip for c in mine] == ["127.0.0.1"]
        taken = command("--pictures", folder, "--port", server.port)
    finally:
        server.kill()
    assert taken.returncode == 1
    expected = rf"diffinfinite: expected a free port of this machine, got 127.0.0.1 port {server.port}: .* in use\n"
    assert re.fullmatch(expected, taken.stderr)
    assert reachable("0.0.0.0") != "0.0.0.0" and reachable("10.1.2.3") == "10.1.2.3"


def test_endless_headers_are_cut_off_and_long_bodies_refused(folder):
    server = Server(folder)
    server.start()
    memory = psutil.Process(server.process.pid).memory_info
    try:
        before = memory().rss
        for piece in (b"a" * 1_000_000, b"a: b\r\n" * 200_000):
            with (
                socket.create_connection(("127.0.0.1", server.port), timeout=30) as client,
                pytest.raises((ConnectionResetError, BrokenPipeError)),
            ):
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\na: ")
                for _ in range(100):
                    client.sendall(piece)
        assert memory().rss - before < 30_000_000
        for sent in (0, 500_000, 1_000_000):  # who waits for the answer gets it, and who still sends does not lose it
            for length in (b"content-length: 1000000", b"transfer-encoding: chunked"):
                chunked = length.startswith(b"t")
                body = b"%x\r\n" % sent + b"x" * sent + b"\r\n" if chunked and sent else b"x" * sent
                with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
                    client.sendall(b"POST /api/answer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
                    client.sendall(length + b"\r\n\r\n")
                    client.sendall(body)
                    if sent or not chunked:
                        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:  # in many small packets
            for byte in b"GET /favicon.ico HTTP/1.1\r\nhost: x\r\n\r\n":
                client.sendall(bytes([byte]))
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--pictures", "nowhere"],
            r"expected the pictures of a survey in nowhere, found no survey.json: .* makes them",
        ),
        (["--database", "nothing"], r"expected a database such as sqlite:///class.sqlite, got 'nothing': .*"),
        (["--address", "example.org"], r"expected an address such as https://survey.example.org/, got 'example.org'"),
        (["--host", "203.0.113.9"], r"expected a free port of this machine, got 203.0.113.9 port 8000: .*"),
        (["--port", "99999"], r"expected a free port of this machine, got 127.0.0.1 port 99999: .*"),
    ],
)
def test_refusals(folder, options, message):
    from diffinfinite_lite.cli import explain
    from diffinfinite_lite.survey.serve import serve

    settings = {"folder": folder} | {
        ("folder" if name == "--pictures" else name[2:]): int(value) if name == "--port" else value
        for name, value in zip(options[::2], options[1::2], strict=True)
    }
    with pytest.raises((ValueError, OSError)) as error:
        serve(**settings, say=lambda line: None)
    assert re.fullmatch(message, explain(error.value))
