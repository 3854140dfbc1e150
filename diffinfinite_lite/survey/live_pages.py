"""What the live service serves besides answers: the participants' page, the instructor's, pictures under opaque names.

All of it is read once and kept in memory, and nothing else can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..extras import extra
from .page import FRAME, PLAYER, markup, script, settings, style
from .store import Store

with extra("classroom"):
    import segno

_HERE = Path(__file__).parent
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
KEEP = "private, max-age=86400, immutable"
TITLE = "Real or synthetic?"
_PAGE = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, '
    'initial-scale=1"><title>{title}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/survey.css">'
    '<script src="/survey.js" defer></script></head><body><header><h1>{title}</h1></header><main>{body}</main></body>'
    "</html>\n"
)


@dataclass(frozen=True)
class File:
    """Bytes to serve, their media type, and how long browsers may keep them."""

    data: bytes
    kind: str
    cache: str = "no-cache"


def files(store: Store) -> dict[str, File]:
    """Everything that may be asked for, by path."""
    shown = [replace(item, name=store.opaque(item.name)) for item in store.deck.items]
    pictures = {f"/picture/{item.name}.jpg": File(item.data, "image/jpeg", KEEP) for item in shown}
    values = settings(shown, list(pictures), server="/api/")
    page = _PAGE.format(title=TITLE, body=markup(values, store.deck.about, store.deck.lead, alone=True))
    return pictures | {
        "/": File(page.encode(), _KINDS[".html"]),
        "/survey.css": File((FRAME + style()).encode(), _KINDS[".css"]),
        "/survey.js": File(script(*PLAYER).encode(), _KINDS[".js"]),
        "/instructor": _asset("instructor.html"),
        "/instructor.css": _asset("instructor.css"),
        "/instructor.js": _asset("instructor.js"),
        "/favicon.ico": File(b"", "image/x-icon"),
    }


def invitation(url: str, code: str) -> dict[str, Any]:
    """How participants come in: address, the room's code, and both as a QR code (a data URI of an SVG)."""
    link = join_link(url, code)
    return {"url": url, "room": code, "link": link, "qr": segno.make(link, error="m").svg_data_uri(border=2, scale=8)}


def join_link(url: str, code: str) -> str:
    """The address with the code behind "#", which browsers do not send.

    >>> join_link("http://192.168.1.5:8000/", "ABCDE")
    'http://192.168.1.5:8000/#code=ABCDE'
    """
    return f"{url}#code={code}"


def _asset(name: str) -> File:
    return File((_HERE / name).read_bytes(), _KINDS[Path(name).suffix])
