"""Start the live service: open the port, say where participants and the instructor come in, run until Ctrl-C.

Only this machine can reach the service unless a host is asked for. Started again with the same folder it goes on with
the same class, under the same codes; the instructor's token is a new one each time.
"""

from __future__ import annotations

import asyncio
import io
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ..extras import extra
from .deck import read_deck
from .figures import Figures
from .live_pages import join_link
from .service import Service
from .store import Store, file_of

with extra("classroom"):
    import segno
    import uvicorn

HERE = "127.0.0.1"
ALL = ("0.0.0.0", "::")  # hosts that stand for every network of this machine
DATABASE = "answers.sqlite"
SWITCH = 0.0005  # s until a thread lets another on: that which writes has many short steps
LARGEST_HEAD = 65_536  # bytes of a request line and its headers, from its second packet on
MOST = 1_000  # requests and connections at once; the next one is told to come back


def serve(
    folder: str | Path,
    *,
    database: str | None = None,
    host: str = HERE,
    port: int = 8000,
    address: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the survey of a deck until Ctrl-C.

    Parameters
    ----------
    folder : deck, as `deck.write_deck` makes it.
    database : address as SQLAlchemy writes it; a SQLite file in the folder by default.
    host : of the network to listen on, ``0.0.0.0`` for all.
    port : to listen on; 0 takes a free one.
    address : under which others reach the service, where that is not host and port, such as behind a proxy with HTTPS.
    say : gets the lines for the terminal.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        If there is no deck, the database is another survey's or cannot be written, or the port is taken.
    """
    deck = read_deck(folder)
    if address is not None and not address.startswith(("http://", "https://")):
        raise ValueError(f"expected an address such as https://survey.example.org/, got {address!r}")
    url = database or f"sqlite:///{Path(folder) / DATABASE}"
    store = Store(url, deck)
    with listen(host, port) as listening, closing(Figures(folder, url)) as figures:
        port = listening.getsockname()[1]
        public = f"{address.rstrip('/')}/" if address else f"http://{_bracket(reachable(host))}:{port}/"
        service = Service(store, public, summarise=figures)
        own = f"http://{_bracket(HERE if host in ALL else host)}:{port}/"
        for line in welcome(service, public, own, url, local=host in (HERE, "localhost") and not address):
            say(line)
        sys.setswitchinterval(SWITCH)
        config = uvicorn.Config(
            service.app,
            http=protocol(),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # or anybody could write the address that rates are counted by
            ws="none",
            limit_concurrency=MOST,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listening])


def welcome(service: Service, public: str, own: str, database: str, *, local: bool) -> list[str]:
    """What the terminal shows: the way in for participants, with a QR code, and for the instructor."""
    picture = io.StringIO()
    segno.make(join_link(public, service.store.room), error="m").terminal(picture, border=2, compact=True)
    kept = file_of(database) or "the database"  # whose address may hold a password
    return [
        f"Participants: {public}  code of the room: {service.store.room}",
        picture.getvalue().rstrip("\n"),
        f"Instructor:   {own}instructor#{service.door.token()}  (opens once)",
        f"{len(service.store.deck.items)} pictures; answers are in {kept}. Ctrl-C stops, the same command goes on.",
        *(["Only this machine can reach it; --host 0.0.0.0 opens it to the network."] if local else []),
    ]


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises
    ------
    OSError
        If the host is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio leaves delays on
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"expected a free port of this machine, got {host} port {port}: {reason}") from error
    return listening


def protocol() -> type[asyncio.Protocol] | str:
    """What reads requests for uvicorn: its fast parser, with the bound on the head of a request that it lacks."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "h11"  # slower, and knows a bound of its own

    class Bounded(HttpToolsProtocol):
        head = -1  # bytes of the head that is being read; below 0 between heads

        def on_message_begin(self) -> None:
            self.head = 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self.head = -1
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            if self.head >= 0:
                self.head += len(data)
            if self.head > LARGEST_HEAD:
                self.transport.close()
            else:
                super().data_received(data)

    return Bounded


def reachable(host: str) -> str:
    """The address by which others on the network reach this machine; nothing is sent to find it."""
    if host not in ALL:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address kept for documentation; the system only looks up the way
        except OSError:
            return socket.gethostname()
        return probe.getsockname()[0]


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
