"""The survey as a service on this machine: every answer is stored when it is given, the truth stays here until the end.

Participants open one page (the player of `page`) and join by the room's code; what they send goes through `Store`. The
player's side of this is ``transport.js``; `instructor` is the other half. All that is sent is JSON:

- ``POST begin`` makes a rater by the room's code, or finds one by their own, and returns their record;
- ``POST answer`` stores one answer; it is on the disk when the request is answered. Sent twice it counts once;
- ``POST truth`` tells a rater who has answered all that they were asked, and everybody after *reveal*;
- ``POST taps`` stores marks of the red pen, afterwards; ``POST forget`` deletes a rater.

A refusal is a status and ``{"message": one sentence}``. Files are served from memory by name, so no path of a request
reaches the disk.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ..extras import extra
from .answers import CONFIDENCE, REAL, SYNTHETIC, YEARS
from .guard import Guard, Rate, Refused, address, read_json, refuse
from .instructor import Door, Instructor
from .live_pages import files
from .store import KEY, NAME, ROOM, Answer, Closed, Rater, Store, Unavailable, plain
from .summary import summary

with extra("classroom"):
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

MAX_TAPS, MAX_MS, MAX_REVISION = 40, 86_400_000, 1_000_000
NONCE = re.compile(r"[A-Za-z0-9]{16,64}")
OVER = "This class is over: the truth has been shown."


@dataclass(frozen=True)
class Rates:
    """How often somebody may do what. Keys are addresses, for `answers` raters; a whole class may share one address."""

    requests: Rate = field(default_factory=lambda: Rate(600, 3000))
    begins: Rate = field(default_factory=lambda: Rate(5, 300))
    answers: Rate = field(default_factory=lambda: Rate(5, 60))
    wrong_rooms: Rate = field(default_factory=lambda: Rate(1, 60))
    wrong_codes: Rate = field(default_factory=lambda: Rate(0.1, 10))


class Writer:
    """Stores answers as they come, those that wait together in one transaction, with one write to the disk."""

    def __init__(self, store: Store):
        self.store = store
        self._waiting: list[tuple[Answer, asyncio.Future[bool]]] = []
        self._wake = asyncio.Event()

    async def put(self, answer: Answer) -> bool:
        """Store an answer; on return it is on the disk. False: its rater may not answer any more.

        Raises
        ------
        Unavailable
            If the database did not take it.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            try:
                results = await run_in_threadpool(self.store.save, [answer for answer, _ in batch])
            except Exception as error:  # whoever waits has to hear of it, and the next batch may be taken
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():  # the rater's browser has gone away
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)


class Service:
    """The live survey of one `Store`.

    Parameters
    ----------
    store : answers and pictures.
    url : of the participants' page, as others reach it, for the QR code.
    summarise : gives the figures of the instructor's page, such as `figures.Figures`; computed here by default.

    Attributes
    ----------
    app : what a server such as uvicorn runs.
    door : makes the token that the instructor enters with.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        rates: Rates | None = None,
        summarise: Callable[[], dict[str, Any]] | None = None,
    ):
        self.store, self.rates, self.door = store, rates or Rates(), Door()
        self._writer = Writer(store)
        self._files = files(store)
        self._versions = sorted({sum(item.short for item in store.deck.key.items), len(store.deck.items)})
        self._names = {store.opaque(item.name): item.name for item in store.deck.items}
        handlers = {"begin": self._begin, "answer": self._answer, "taps": self._taps, "truth": self._truth,
                    "forget": self._forget}  # fmt: skip
        app = Starlette(
            routes=[
                *(Route(path, self._file) for path in self._files),
                *(Route(f"/api/{name}", _json(handler), methods=["POST"]) for name, handler in handlers.items()),
                *Instructor(store, url, self.door, summarise or partial(summary, store)).routes(),
            ],
            exception_handlers=dict.fromkeys((Exception, Unavailable, Closed, Refused, 404, 405), refuse),
            lifespan=self._lifespan,
        )
        self.app = Guard(app, self.rates.requests)  # around Starlette's own handling of errors, too

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self._writer.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _file(self, request: Request) -> Response:
        file = self._files[request.url.path]
        return Response(file.data, media_type=file.kind, headers={"cache-control": file.cache})

    async def _begin(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        if not self.rates.begins.allows(address(request)):
            raise Refused(429, "Too many people begin from here at once; try again in a few seconds.")
        code = plain(_text(body, "rater"))
        if len(code) == NAME + KEY:
            rater = await self._rater(request, code)
        else:
            code = await self._join(request, body, code)
            rater = await self._rater(request, code)
        return await run_in_threadpool(self._record, rater, code)

    async def _join(self, request: Request, body: dict[str, Any], code: str) -> str:
        """The code of a new rater who knows the room's."""
        key, wrong = address(request), self.rates.wrong_rooms
        if wrong.left(key) < 1:
            raise Refused(429, "Too many wrong codes from here; wait a minute.")
        if not self.store.admits(code):
            wrong.spend(key)
            raise Refused(
                403, f"There is no class with this code; it has {ROOM} letters and stands beside the QR code."
            )
        years, nonce = body.get("experience"), _text(body, "nonce")
        if years is not None and not _between(years, *YEARS):
            raise Refused(400, f"Experience is a number of years from {YEARS[0]} to {YEARS[1]}, or none.")
        if (
            not _whole(body.get("asked"), 1, self._versions[-1])
            or body["asked"] not in self._versions
            or not NONCE.fullmatch(nonce)
        ):
            raise Refused(400, f"A survey of {' or '.join(map(str, self._versions))} pictures was expected.")
        return await run_in_threadpool(self.store.join, nonce, body["asked"], years)

    async def _answer(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        rater, item = await self._rater(request, _text(body, "code")), self._item(body)
        if not self.rates.answers.allows(rater.rater):
            raise Refused(429, "Answers come faster than anybody can look; wait a few seconds.")
        answer, low, high = body.get("answer"), *CONFIDENCE
        if answer not in (REAL, SYNTHETIC) or not _whole(body.get("confidence"), low, high):
            raise Refused(400, f"An answer is {REAL} or {SYNTHETIC}, with a confidence of {low} to {high}.")
        if not _between(body.get("ms"), 0, MAX_MS) or not _whole(body.get("revision"), 0, MAX_REVISION):
            raise Refused(400, "An answer has the time that it took, and how often it was changed.")
        if item not in self.store.order(rater):
            raise Refused(400, "This picture is not one of yours.")
        seconds = round(body["ms"] / 1000, 1)
        if not await self._writer.put(Answer(rater.rater, item, answer, body["confidence"], seconds, body["revision"])):
            over = await run_in_threadpool(lambda: self.store.closed)
            raise Closed(OVER if over else "Your survey is finished: you have seen the truth.")
        return {"stored": True}

    async def _taps(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        rater, item, points = await self._rater(request, _text(body, "code")), self._item(body), body.get("taps")
        good = isinstance(points, list) and len(points) <= MAX_TAPS
        if not good or not all(
            isinstance(p, list) and len(p) == 2 and all(_between(x, 0, 1) for x in p) for p in points
        ):
            raise Refused(400, f"At most {MAX_TAPS} marks a picture, each as two shares of its side.")
        if not self.rates.answers.allows(rater.rater):
            raise Refused(429, "Marks come faster than anybody can tap; wait a few seconds.")
        if not await self._may_know(rater):
            raise Refused(409, "The red pen is for afterwards, when every picture has its answer.")
        await run_in_threadpool(self.store.mark, rater.rater, item, points)
        return {"stored": True}

    async def _truth(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Of the pictures that this rater was asked about, in the order of the page; null of the others."""
        rater = await self._rater(request, _text(body, "code"))
        if not await self._may_know(rater):
            await run_in_threadpool(self.store.finish, rater)
        asked, items = set(self.store.order(rater)), self.store.deck.items
        origins = sorted({item.origin for item in items})
        known = [[int(item.real), origins.index(item.origin)] if item.name in asked else None for item in items]
        return {"origins": origins, "truth": known}

    async def _forget(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        rater = await self._rater(request, _text(body, "code"))
        await run_in_threadpool(self.store.forget, rater.rater)
        return {"forgotten": True}

    async def _rater(self, request: Request, code: str) -> Rater:
        """The rater with a code, or a refusal."""
        key, wrong = f"{address(request)} {plain(code)[:NAME]}", self.rates.wrong_codes
        if wrong.left(key) < 1:
            raise Refused(429, "Too many wrong codes; wait a minute.")
        rater = self.store.remembered(code) or await run_in_threadpool(self.store.rater, code)
        if rater is None:
            wrong.spend(key)
            raise Refused(403, "Nobody here has this code: it was mistyped, or all answers were deleted.")
        return rater

    async def _may_know(self, rater: Rater) -> bool:
        """Whether the truth may be told to a rater: nothing that they answer after it would be stored."""
        return rater.finished or await run_in_threadpool(lambda: self.store.closed)

    def _item(self, body: dict[str, Any]) -> str:
        name = self._names.get(_text(body, "item"))
        if name is None:
            raise Refused(400, "This picture is not one of this survey.")
        return name

    def _record(self, rater: Rater, code: str) -> dict[str, Any]:
        """All that is known of a rater, as the player keeps it."""
        order, given = self.store.order(rater), self.store.given(rater.rater)
        answers = {
            self.store.opaque(item): {"answer": each.answer, "confidence": each.confidence,
                                      "ms": round(1000 * each.seconds), "revision": each.revision}
            for item, each in given.items()
        }  # fmt: skip
        taps = {self.store.opaque(item): points for (_, item), points in self.store.taps(rater.rater).items()}
        at = next((place for place, item in enumerate(order) if item not in given), len(order) - 1)
        return {
            "survey": self.store.deck.key.survey, "rater": rater.rater, "code": f"{code[:NAME]}-{code[NAME:]}",
            "experience": rater.experience, "asked": rater.requested, "order": list(map(self.store.opaque, order)),
            "answers": answers, "taps": taps, "at": at, "saved": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }  # fmt: skip


def _json(handler: Callable[[Request, dict[str, Any]], Awaitable[dict[str, Any]]]) -> Callable:
    """A handler that takes the request's JSON and returns the reply's."""

    async def handle(request: Request) -> Response:
        return JSONResponse(await handler(request, await read_json(request)))

    return handle


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    return value[:100] if isinstance(value, str) else ""


def _between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high  # false for NaN


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and _between(value, low, high)
