"""A class of 200 phones against the live survey on this machine, whose service is killed in the middle.

    python benchmarks/survey_load.py --out reports/survey_load.json

Every rater joins, looks at 60 pictures (fetches each, waits a random time, one second on average, where a person takes
five to ten) and answers; one answer in twenty is sent twice, as a phone with a bad connection does. An instructor's
page asks for figures every two seconds. When half of the answers are in, the service gets ``kill -9`` and is started
again a second later; raters send again whatever was not acknowledged. In the end the database is compared with what
was acknowledged: an answer is lost if it is missing or another one, and counted twice if there are more rows than
answers.

The time of an answer is that from sending it to its acknowledgement, without the attempts that met no server. Clients
and service share the cores of this machine; the load average before and after says who else did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from diffinfinite_lite.data.encoding import encode
from diffinfinite_lite.survey.deck import read_deck, write_deck
from diffinfinite_lite.survey.pictures import SIDES, Item
from diffinfinite_lite.survey.serve import DATABASE
from diffinfinite_lite.survey.store import Store

RETRY = 0.5  # s until something is sent again
TWICE = 20  # one answer in so many is sent twice
POLL = 2.0  # s between an instructor's questions


@dataclass
class Client:
    """One keep-alive connection to a server on loopback: as little work as possible beside what is measured."""

    port: int
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: dict | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of a reply.

        Raises
        ------
        OSError
            If there is no server, or it goes away before the reply is complete.
        """
        try:
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            data = b"" if body is None else json.dumps(body).encode()
            more = {
                "Host": "127.0.0.1",
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **headers,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin1").lower()
            length = int(re.search(r"content-length: (\d+)", lines)[1])
            return int(lines.split()[1]), await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise OSError("no server") from error

    def close(self) -> None:
        """Drop the connection."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@dataclass
class Server:
    """The command `diffinfinite survey serve` in a process of its own."""

    folder: Path
    port: int = 0
    process: subprocess.Popen | None = None
    room: str = ""
    token: str = ""
    _log: Any = None

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        command = [sys.executable, "-m", "diffinfinite_lite.cli", "survey", "serve", "--pictures", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.PIPE, text=True, start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        text = ""
        while "Ctrl-C" not in text:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"expected a service, got: {text}")
            text += line
        self.port = int(re.search(r"Participants: http://[^:]+:(\d+)/", text)[1])
        self.room = re.search(r"code of the room: (\w+)", text)[1]
        self.token = re.search(r"instructor#(\S+)", text)[1]

    def kill(self) -> float:
        """``kill -9``; returns the seconds of processor time that it had used."""
        times = psutil.Process(self.process.pid).cpu_times()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        return times.user + times.system


@dataclass
class Load:
    """What a run has seen so far; `acknowledged` is the last answer by (rater, picture)."""

    server: Server
    think: float
    seed: int = 0
    seconds: list[float] = field(default_factory=list)  # of acknowledged answers
    delays: list[float] = field(default_factory=list)  # from the first attempt on, with the restart
    pictures: list[float] = field(default_factory=list)
    figures: list[float] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    resent: int = 0
    acknowledged: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    async def until(self, client: Client, ask: Callable[[], Awaitable[tuple[int, bytes]]], into: list[float]) -> bytes:
        """Ask until there is a good reply; its time goes into a list."""
        while True:
            before = time.perf_counter()
            try:
                status, body = await ask()
            except OSError:
                self.resent += 1
            else:
                if status == 200:
                    into.append(time.perf_counter() - before)
                    return body
                self.refused[status] = self.refused.get(status, 0) + 1
            await asyncio.sleep(RETRY)

    async def rater(self, number: int, items: int) -> None:
        """One rater from the first to the last picture."""
        rng, client = np.random.default_rng([self.seed, number]), Client(self.server.port)
        await asyncio.sleep(rng.uniform(0, 5 * self.think))  # nobody scans the code at the very same moment
        who = {"rater": self.server.room, "nonce": f"{number:032d}", "asked": items, "experience": 3}
        record = json.loads(await self.until(client, lambda: client.ask("POST", "/api/begin", who), []))
        for name in record["order"]:
            await self.until(client, lambda name=name: client.ask("GET", f"/picture/{name}.jpg"), self.pictures)
            await asyncio.sleep(rng.exponential(self.think))
            said, confidence = str(rng.choice(["real", "synthetic"])), int(rng.integers(1, 8))
            answer = {
                "code": record["code"],
                "item": name,
                "answer": said,
                "confidence": confidence,
                "ms": 900,
                "revision": 0,
            }
            start = time.perf_counter()
            for _ in range(2 if rng.integers(TWICE) == 0 else 1):
                await self.until(client, lambda answer=answer: client.ask("POST", "/api/answer", answer), self.seconds)
                self.acknowledged[record["rater"], name] = (said, confidence)
            self.delays.append(time.perf_counter() - start)
        await self.until(client, lambda: client.ask("POST", "/api/truth", {"code": record["code"]}), [])
        client.close()

    async def instructor(self) -> None:
        """An open page; after a restart it needs the new token, as a person would copy it."""
        client, token, head = Client(self.server.port), "", {}
        while True:
            await asyncio.sleep(POLL)
            try:
                if token != self.server.token:
                    token = self.server.token
                    _, body = await client.ask("POST", "/api/instructor/login", {"token": token})
                    head = {"Authorization": f"Bearer {json.loads(body)['key']}"}
                before = time.perf_counter()
                await client.ask("POST", "/api/instructor/summary", {}, **head)
                self.figures.append(time.perf_counter() - before)
            except (OSError, KeyError):
                token = ""

    async def killer(self, half: int) -> float:
        """Kill the service when so many answers are in, and start it again; returns the seconds until it answers."""
        while len(self.acknowledged) < half:
            await asyncio.sleep(0.05)
        before = time.perf_counter()
        self.server.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(self.server.start)
        return time.perf_counter() - before


def make_deck(folder: Path, count: int) -> None:
    """So many pictures of noise, in both sizes."""
    items = []
    for i in range(count):
        side = SIDES["large" if i % 3 == 0 else "small"]
        data = encode(np.random.default_rng(i).normal(180, 40, (side, side, 3)).clip(0, 255).astype(np.uint8), "jpeg")
        name = sha256(data).hexdigest()[:12]
        items.append(
            Item(name, "large" if i % 3 == 0 else "small", bool(i % 2), "camera" if i % 2 else "model", data, len(data))
        )
    write_deck(sorted(items, key=lambda item: item.name), ["Noise."], "Noise.", folder)


async def run(load: Load, raters: int, items: int) -> float:
    """All raters at once, the instructor, and the kill; returns how long the service was away."""
    watching = asyncio.create_task(load.instructor())
    away = asyncio.create_task(load.killer(raters * items // 2))
    await asyncio.gather(*(load.rater(number, items) for number in range(raters)))
    watching.cancel()
    return await away


def compare(load: Load, folder: Path) -> dict[str, int]:
    """Acknowledged answers beside those in the database."""
    store = Store(f"sqlite:///{folder / DATABASE}", read_deck(folder))
    rows = [(row["rater"], store.opaque(row["item"]), row["answer"], row["confidence"]) for row in store.rows()]
    stored = {(rater, item): (answer, confidence) for rater, item, answer, confidence in rows}
    store.engine.dispose()
    lost = sum(stored.get(key) != said for key, said in load.acknowledged.items())
    return {"acknowledged": len(load.acknowledged), "rows": len(rows), "lost": lost, "twice": len(rows) - len(stored)}


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Percentiles of times, in milliseconds."""
    values = 1000 * np.array(seconds)
    return {
        name: round(float(np.percentile(values, q)), 1)
        for name, q in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100))
    }


def measure(raters: int, items: int, think: float) -> dict[str, Any]:
    """The whole run, as numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), os.getloadavg()[0]
        make_deck(folder, items)
        server = Server(folder)
        server.start()
        load, start = Load(server, think), time.perf_counter()
        try:
            away = asyncio.run(run(load, raters, items))
            took = time.perf_counter() - start
        finally:
            processor = server.kill()
        found = compare(load, folder)
    return found | {
        "raters": raters, "items": items, "think_s": think, "cores": os.cpu_count(), "seconds": round(took, 1),
        "answers_per_second": round(len(load.seconds) / took), "away_s": round(away, 1), "sent_again": load.resent,
        "refused": load.refused, "answer_ms": milliseconds(load.seconds), "picture_ms": milliseconds(load.pictures),
        "figures_ms": milliseconds(load.figures), "longest_until_accepted_s": round(max(load.delays), 1),
        "service_processor_s_after_restart": round(processor, 1),
        "load_before": round(before, 1), "load_after": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--think", type=float, default=1.0, help="mean seconds between a picture and its answer")
    parser.add_argument("--out", type=Path, help="file for the numbers")
    options = parser.parse_args()
    result = measure(options.raters, options.items, options.think)
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    if result["lost"] or result["twice"] or result["rows"] != options.raters * options.items:
        sys.exit("expected every acknowledged answer once")


if __name__ == "__main__":
    main()
