"""What the live service serves besides answers: the participants' page, the instructor's, pictures under opaque names.

All of it is read once and kept in memory, and nothing else can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..extras import extra
from .store import Store

with extra("classroom"):
    import segno

_HERE = Path(__file__).parent
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


@dataclass(frozen=True)
class File:
    """Bytes to serve, their media type, and how long browsers may keep them."""

    data: bytes
    kind: str
    cache: str = "no-cache"


def files(store: Store) -> dict[str, File]:
    """Everything that may be asked for, by path."""
    found = {"/instructor": _asset("instructor.html"), "/favicon.ico": File(b"", "image/x-icon")}
    found |= {f"/{name}": _asset(name) for name in ("instructor.js", "instructor.css")}
    for item in store.deck.items:
        found[f"/picture/{store.opaque(item.name)}.jpg"] = File(item.data, "image/jpeg", "private, max-age=86400, immutable")
    return found


def invitation(url: str, room: str) -> dict[str, Any]:
    """How participants come in: address, the room's code, and both as a QR code (a data URI of an SVG)."""
    link = join_link(url, room)
    return {"url": url, "room": room, "link": link, "qr": segno.make(link, error="m").svg_data_uri(border=2, scale=8)}


def join_link(url: str, room: str) -> str:
    """The address with the code behind "#", which browsers do not send.

    >>> join_link("http://192.168.1.5:8000/", "ABCDE")
    'http://192.168.1.5:8000/#code=ABCDE'
    """
    return f"{url}#code={room}"


def _asset(name: str) -> File:
    return File((_HERE / name).read_bytes(), _KINDS[Path(name).suffix])
