"""Between the network and the live service: headers, sizes, rates, requests of other sites, errors as sentences.

Nothing here knows the survey. Who a request comes from is said by a code in the request itself, never by a cookie, so
that another site's page in the same browser can do nothing in somebody's name; requests that browsers mark as another
site's are refused besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..extras import extra
from .store import Closed, Unavailable

with extra("classroom"):
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 8_192  # bytes of a request's body
DRAINED, PATIENCE = 1_000_000, 2.0  # bytes of a refused body that are read after the answer, and seconds
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Refused(HTTPException):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None):
        super().__init__(status, sentence, dict(headers or {}))


@dataclass
class Rate:
    """So many events a second for each key, and `burst` at once (a token bucket each).

    >>> rate = Rate(1, 2, clock=lambda: 0.0)
    >>> [rate.allows("a"), rate.allows("a"), rate.allows("a"), rate.allows("b")]
    [True, True, False, True]
    """

    per_second: float
    burst: float
    clock: Any = time.monotonic
    most: int = 10_000  # keys that are remembered, the latest ones
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def left(self, key: str) -> float:
        """Events that a key has left now."""
        tokens, since = self._left.get(key, (self.burst, self.clock()))
        return min(self.burst, tokens + (self.clock() - since) * self.per_second)

    def allows(self, key: str) -> bool:
        """Count an event of a key, unless it has none left."""
        left = self.left(key)
        if left >= 1:
            self.spend(key)
        return left >= 1

    def spend(self, key: str) -> None:
        """Count an event of a key."""
        self._left[key] = max(0.0, self.left(key) - 1), self.clock()
        self._left.move_to_end(key)
        if len(self._left) > self.most:
            self._left.popitem(last=False)


class Guard:
    """Around the whole service; see the module.

    Parameters
    ----------
    app : the service.
    rate : of all requests of one address.
    """

    def __init__(self, app: ASGIApp, rate: Rate):
        self.app, self.rate = app, rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        seen, whole, refused = 0, False, False

        async def received() -> Message:
            nonlocal seen, whole
            message = await receive()
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            return message

        async def measured() -> Message:
            message = await received()
            if seen > LARGEST:
                raise Refused(413, f"A request of at most {LARGEST} bytes was expected.")
            return message

        async def guarded(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = message["status"] >= 400
                given = {name for name, _ in message["headers"]}
                more = HEADERS if b"cache-control" in given else HEADERS | {"cache-control": "no-store"}
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            elif refused and not whole and not message.get("more_body", False):
                # closed while it still sends, a connection is reset, and the answer is lost on the way (RFC 9112, 9.6)
                await send(message | {"more_body": True})
                await drain()
                message = {"type": "http.response.body"}
            await send(message)

        async def drain() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    until = seen + DRAINED
                    while not whole and seen < until:
                        await received()

        refusal = self._refusal(Request(scope))
        if refusal is not None:
            await refusal(scope, receive, guarded)
        else:
            await self.app(scope, measured, guarded)

    def _refusal(self, request: Request) -> Response | None:
        if not self.rate.allows(address(request)):
            return _sentence(429, "Too many requests from here; wait a few seconds.", {"retry-after": "5"})
        if request.method in ("GET", "HEAD"):
            return None
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _sentence(403, "Requests of other sites are not answered.")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _sentence(415, "A request in JSON was expected.")
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST:
            return _sentence(413, f"A request of at most {LARGEST} bytes was expected.")
        return None


def address(request: Request) -> str:
    """Where a request comes from; used for rates alone, and never stored."""
    return request.client.host if request.client else "unknown"


async def read_json(request: Request) -> dict[str, Any]:
    """The object in a request's body.

    Raises
    ------
    Refused
        If it holds anything else.
    """
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "A request in JSON was expected.")
    return found


def refuse(request: Request, error: Exception) -> Response:
    """An error as a sentence for whoever uses the service; the terminal gets the trace of one that nobody foresaw."""
    if isinstance(error, Unavailable):
        print(f"diffinfinite: {error}", file=sys.stderr)
        reason = str(error).partition(" (")[0]
        return _sentence(
            503, f"The server cannot store this now: {reason}. It stays in this browser and is sent again.",
            {"retry-after": "3"},
        )  # fmt: skip
    if isinstance(error, Closed):
        return _sentence(409, str(error))
    if isinstance(error, HTTPException):
        plain = {404: "There is nothing here.", 405: "This cannot be done here."}
        return _sentence(error.status_code, plain.get(error.status_code, error.detail), error.headers)
    traceback.print_exception(error, file=sys.stderr)
    return _sentence(500, "The server made a mistake that it has noted; try again.")


def _sentence(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"message": text}, status, dict(headers or {}))
