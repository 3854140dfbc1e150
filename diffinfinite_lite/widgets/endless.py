"""A page that shows an endless slide, and the small server on this machine that paints what comes into view.

The viewer is OpenSeadragon (`browser_scripts`), which asks for tiles by zoom, column and row; the plane it is given is
`SIDE_PX` px wide, with the origin of the slide in its middle. The server answers from `pipelines.endless`; it listens
on this machine alone and has four addresses: the page, the viewer's script, tiles, and how busy it is.
"""

from __future__ import annotations

import json
import re
from functools import partial
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from ..browser_scripts import OPENSEADRAGON
from ..data.encoding import encode_for_web
from ..labels import LABEL_COLOURS, LABELS
from ..pipelines.endless import FARTHEST, TILE_PX, Endless
from ..pipelines.passport import NOTICE
from .pictures import fill

SIDE_PX = 2**24  # 8 m at half a micrometre; a browser places a tile to a fraction of a px on it
QUALITY = 90  # of JPEG
_TILE = re.compile(r"/(image|mask)/(\d)/(-?\d{1,8})_(-?\d{1,8})")


def serve(slide: Endless, *, port: int, mpp: float) -> ThreadingHTTPServer:
    """The server, listening already; ``serve_forever`` answers, and closing it (or leaving ``with``) ends it.

    Parameters
    ----------
    port : on this machine; 0 takes a free one
    mpp : micrometres per pixel, for the scale bar

    Raises
    ------
    FileNotFoundError
        If OpenSeadragon has not been fetched.
    OSError
        If the port is taken.
    """
    script, page = OPENSEADRAGON.find()[0].read_bytes(), endless_page(slide, mpp)
    handler = partial(_Handler, _Site(slide, page, script))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise OSError(f"expected a free port of this machine, got {port}: {error}") from error
    server.daemon_threads = True
    return server


def endless_page(slide: Endless, mpp: float) -> str:
    """The HTML of the viewer."""
    settings = {"side": SIDE_PX, "tile": TILE_PX, "farthest": FARTHEST, "mpp": mpp}
    legend = "".join(
        f'<span><i style="background: rgb{colour}"></i>{escape(name)}</span>'
        for name, colour in zip(LABELS, LABEL_COLOURS, strict=True)
    )
    return fill(
        Path(__file__).with_suffix(".html").read_text(encoding="utf-8"),
        TITLE=escape(f"A slide without edges: {slide.context}, seed {slide.config.seed}"),
        NOTICE=escape(NOTICE),
        LEGEND=legend,
        SETTINGS=json.dumps(settings),
        SCRIPT=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
    )


class _Site:
    """What the threads of a server share."""

    def __init__(self, slide: Endless, page: str, script: bytes) -> None:
        self.slide, self.page, self.script = slide, page.encode(), script
        self._waiting, self._lock = 0, Lock()

    def tile(self, kind: str, zoom: int, row: int, column: int) -> tuple[str, bytes]:
        """Type and bytes of a tile."""
        with self._lock:
            self._waiting += 1
        try:
            kind, content = encode_for_web(self.slide.tile(kind, zoom, row, column), QUALITY, NOTICE)
        finally:
            with self._lock:
                self._waiting -= 1
        return f"image/{kind}", content

    def state(self) -> bytes:
        """How busy it is, as JSON."""
        return json.dumps({"waiting": self._waiting, "evaluations": self.slide.ledger.evaluations}).encode()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, site: _Site, *request: object) -> None:
        self._site = site
        super().__init__(*request)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            return self._send("text/html; charset=utf-8", self._site.page)
        if path == "/openseadragon.js":
            return self._send("text/javascript", self._site.script)
        if path == "/state":
            return self._send("application/json", self._site.state(), cache="no-store")
        wanted = _TILE.fullmatch(path)
        if wanted and int(wanted[2]) <= FARTHEST:
            kind, zoom, column, row = wanted[1], *map(int, wanted.groups()[1:])
            return self._send(*self._site.tile(kind, zoom, row, column))
        self.send_error(404, "no such tile or page")

    def _send(self, kind: str, content: bytes, cache: str = "no-cache") -> None:
        try:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", cache)
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            pass  # the view has moved on; what was painted is remembered

    def log_message(self, *_: object) -> None:
        """The terminal is for people."""
