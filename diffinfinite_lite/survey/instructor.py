"""The instructor's half of the live service: a page behind a token that works once, figures, export, reveal, delete.

The token stands in the terminal where the service was started. The page changes it for the key of a session, which is
kept by the browser's tab and sent in the ``Authorization`` header; the service keeps hashes of both, in
memory alone, so that a restart asks for a new token. *Reveal* ends the class: it shows the truth, so nobody may answer
afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..extras import extra
from .answers import as_csv, as_json, as_table
from .guard import Rate, Refused, address, read_json
from .live_pages import invitation
from .store import Store

with extra("classroom"):
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

if TYPE_CHECKING:
    import pandas as pd

FRESH = 1.5  # s for which figures are shown again before they are computed anew


class Door:
    """Tokens that open the page once, and the keys of sessions that they were changed for.

    >>> door = Door()
    >>> token = door.token()
    >>> key = door.login(token)
    >>> door.login(token), door.knows(key), door.knows(token)
    (None, True, False)
    """

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._keys: set[str] = set()

    def token(self) -> str:
        """A new token for one login."""
        token = secrets.token_urlsafe(24)
        self._tokens.add(_digest(token))
        return token

    def login(self, token: str) -> str | None:
        """The key of a new session, or None if the token is wrong or was used."""
        found = _among(token, self._tokens)
        if found is None:
            return None
        self._tokens.discard(found)
        key = secrets.token_urlsafe(24)
        self._keys.add(_digest(key))
        return key

    def knows(self, key: str) -> bool:
        """Whether a session has this key."""
        return _among(key, self._keys) is not None


class Instructor:
    """Requests of the instructor's page.

    Parameters
    ----------
    url : of the participants' page, as others reach it.
    summarise : gives `summary.summary` of the store.
    """

    def __init__(self, store: Store, url: str, door: Door, summarise: Callable[[], dict[str, Any]]):
        self.store, self.url, self.door, self._summarise = store, url, door, summarise
        self._wrong = Rate(0.1, 10)  # tokens of an address
        self._figures: tuple[float, dict[str, Any]] = (-math.inf, {})
        self._computing = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Under ``/api/instructor/``; all but login need the key of a session."""
        handlers = {"summary": self._summary, "invitation": self._invitation, "token": self._token, "csv": self._csv,
                    "json": self._json, "reveal": self._reveal, "erase": self._erase}  # fmt: skip
        inside = [
            Route(f"/api/instructor/{name}", self._locked(each), methods=["POST"]) for name, each in handlers.items()
        ]
        return [Route("/api/instructor/login", self._login, methods=["POST"]), *inside]

    def _locked(self, handler: Callable[[], Awaitable[Response]]) -> Callable:
        async def handle(request: Request) -> Response:
            scheme, _, key = request.headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or not self.door.knows(key):
                raise Refused(401, "This page needs the token that the terminal shows, or a new one after a restart.")
            return await handler()

        return handle

    async def _login(self, request: Request) -> Response:
        said = await read_json(request)
        if self._wrong.left(address(request)) < 1:
            raise Refused(429, "Too many wrong tokens from here; wait a minute.")
        key = self.door.login(str(said.get("token", "")))
        if key is None:
            self._wrong.spend(address(request))
            raise Refused(401, "This token is wrong or was used; the terminal shows one, and so does an open page.")
        return JSONResponse({"key": key})

    async def _summary(self) -> Response:
        async with self._computing:  # several pages share what one of them asked for
            since, figures = self._figures
            if time.monotonic() - since > FRESH:
                figures = await run_in_threadpool(self._summarise)
                self._figures = time.monotonic(), figures
        return JSONResponse(figures)

    async def _invitation(self) -> Response:
        return JSONResponse({"survey": self.store.deck.key.survey, **invitation(self.url, self.store.room)})

    async def _token(self) -> Response:
        return JSONResponse({"token": self.door.token()})

    async def _csv(self) -> Response:
        return Response(await self._export(as_csv), media_type="text/csv")

    async def _json(self) -> Response:
        return Response(await self._export(as_json), media_type="application/json")

    async def _export(self, form: Callable[[pd.DataFrame], str]) -> str:
        saved = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return await run_in_threadpool(lambda: form(as_table(row | {"saved": saved} for row in self.store.rows())))

    async def _reveal(self) -> Response:
        await run_in_threadpool(self.store.close)
        return await self._changed()

    async def _erase(self) -> Response:
        await run_in_threadpool(self.store.erase)
        return await self._changed()

    async def _changed(self) -> Response:
        self._figures = (-math.inf, {})
        return await self._summary()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _among(secret: str, digests: Iterable[str]) -> str | None:
    """The digest that belongs to a secret; every one of them is compared, each in constant time."""
    wanted = _digest(secret)
    same = [each for each in digests if hmac.compare_digest(each, wanted)]
    return same[0] if same else None
