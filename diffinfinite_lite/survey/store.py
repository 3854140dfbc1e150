"""Where the live service keeps a class: raters, answers, red-pen taps. A kill loses nothing that was acknowledged.

Any database that SQLAlchemy speaks to will do. The default is one SQLite file in WAL mode with ``synchronous=FULL``:
what has been committed is on the disk, not only with the system. An answer has the key (rater, picture) and a
*revision*, which the rater's browser counts: sent twice it is one row, and a late copy of an older answer does not
undo a newer one.

A rater is a random code such as ``K7QMX-3X9PRT``. Its first part is the rater's name, which everybody may see; the
second is the key to go on with, of which only a hash is kept. No names, no addresses, no times of single answers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from ..extras import extra
from .answers import REAL, SYNTHETIC
from .deck import Deck

with extra("classroom"):
    import sqlalchemy as sql

LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # none that look like another
NAME, KEY, ROOM = 5, 6, 5  # letters of a rater's name, of a rater's key, of the room's code
BUSY = 2.0  # s to wait for a database that somebody else has locked
MAX_RATERS = 2000

_tables = sql.MetaData()
_survey = sql.Table(
    "survey", _tables,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("name", sql.String(16), nullable=False),
    sql.Column("secret", sql.String(64), nullable=False),
    sql.Column("room", sql.String(ROOM), nullable=False),
    sql.Column("closed", sql.Boolean, nullable=False),
)  # fmt: skip
_raters = sql.Table(
    "raters", _tables,
    sql.Column("rater", sql.String(NAME), primary_key=True),
    sql.Column("key_hash", sql.String(64), nullable=False),
    sql.Column("experience", sql.Float),
    sql.Column("asked", sql.Integer, nullable=False),
    sql.Column("finished", sql.Boolean, nullable=False),
)  # fmt: skip
_answers = sql.Table(
    "answers", _tables,
    sql.Column("rater", sql.String(NAME), sql.ForeignKey("raters.rater"), primary_key=True),
    sql.Column("item", sql.String(16), primary_key=True),
    sql.Column("answer", sql.String(9), nullable=False),
    sql.Column("confidence", sql.Integer, nullable=False),
    sql.Column("seconds", sql.Float, nullable=False),
    sql.Column("revision", sql.Integer, nullable=False),
)  # fmt: skip
_taps = sql.Table(
    "taps", _tables,
    sql.Column("rater", sql.String(NAME), sql.ForeignKey("raters.rater"), primary_key=True),
    sql.Column("item", sql.String(16), primary_key=True),
    sql.Column("points", sql.Text, nullable=False),
)  # fmt: skip


class Unavailable(OSError):
    """The database did not take it: full, locked or gone. Nothing of it has been kept; it may be sent again."""


class Closed(ValueError):
    """The rater has finished, or the class is over: the truth has been shown."""


@dataclass(frozen=True)
class Answer:
    """What a rater said about a picture, `revision` times before."""

    rater: str
    item: str
    answer: str
    confidence: int
    seconds: float
    revision: int = 0


@dataclass(frozen=True)
class Rater:
    """A rater as stored; `experience` in years, or None; `requested` is how many pictures their survey has."""

    rater: str
    key_hash: str
    experience: float | None
    requested: int
    finished: bool


class Store:
    """Answers of one class to one deck.

    Parameters
    ----------
    url : a database as SQLAlchemy writes it, such as ``sqlite:///class.sqlite``; tables are made if needed.
    deck : the pictures. A database belongs to one deck.

    Raises
    ------
    ValueError
        If the address is none, or the database holds answers to other pictures.
    Unavailable
        If the database cannot be reached or written.
    """

    def __init__(self, url: str, deck: Deck):
        self.deck = deck
        self.engine, self._turn = _connect(url), Lock()
        with _explained():
            row = self._found() or self._create()
        if row.name != deck.key.survey:
            raise ValueError(f"expected a database of survey {deck.key.survey}, got one of survey {row.name}")
        self.room: str = row.room
        self._secret = bytes.fromhex(row.secret)
        self._raters: dict[str, Rater] = {}  # those seen since the start, or every answer would have to look
        self._orders: dict[str, list[str]] = {}

    def opaque(self, item: str) -> str:
        """The name under which this class sees a picture: it tells nothing to somebody who knows the deck's names."""
        return hmac.new(self._secret, f"picture {item}".encode(), hashlib.sha256).hexdigest()[:24]

    def order(self, rater: Rater) -> list[str]:
        """The pictures that a rater is asked about, in an order of their own, the same after a restart."""

        def place(item: str) -> bytes:
            return hmac.digest(self._secret, f"order {rater.rater} {item}".encode(), "sha256")

        if rater.rater not in self._orders:
            version = self.deck.key.version(rater.requested)
            self._orders[rater.rater] = sorted((item.name for item in version), key=place)
        return self._orders[rater.rater]

    def admits(self, code: str) -> bool:
        """Whether this is the room's code, as `plain` letters; compared in constant time."""
        return hmac.compare_digest(code.encode(), self.room.encode())

    def join(self, nonce: str, requested: int, experience: float | None = None) -> str:
        """A new rater's code, `NAME` + `KEY` letters.

        Parameters
        ----------
        nonce : letters that the browser drew. The same give the same code, so that a request may be repeated.
        requested : how many pictures the rater's version of the survey has.
        experience : in years.

        Raises
        ------
        Closed
            If the class is over or full.
        """
        for attempt in range(9):
            digest = hmac.digest(self._secret, f"rater {attempt} {nonce}".encode(), "sha256")
            name, key = _letters(NAME, digest[:16]), _letters(KEY, digest[16:])
            values = {"rater": name, "key_hash": _hash(name, key), "experience": experience, "asked": requested}
            with self._write() as connection:
                known = connection.execute(sql.select(_raters.c.key_hash).where(_raters.c.rater == name)).scalar()
                if known is None:
                    self._check_open(connection)
                    count = connection.execute(sql.select(sql.func.count()).select_from(_raters)).scalar_one()
                    if count >= MAX_RATERS:
                        raise Closed(f"This class is full ({MAX_RATERS} participants).")
                    connection.execute(_raters.insert().values(values | {"finished": False}))
            if known is None or hmac.compare_digest(known, values["key_hash"]):
                return name + key
        raise Unavailable("no free code was found")

    def rater(self, code: str) -> Rater | None:
        """The rater with this code, or None. What a code must be is compared in constant time."""
        name = plain(code)[:NAME]
        with _explained(), self._read() as connection:
            row = connection.execute(sql.select(_raters).where(_raters.c.rater == name)).one_or_none()
        if row is not None:
            self._raters[name] = Rater(*row)
        return self.remembered(code)

    def remembered(self, code: str) -> Rater | None:
        """The same without a look into the database: a rater who has been here since the start of this process."""
        letters = plain(code)
        rater = self._raters.get(letters[:NAME])
        known = rater.key_hash if rater else "0" * 64
        return rater if hmac.compare_digest(known, _hash(letters[:NAME], letters[NAME:])) else None

    def given(self, rater: str) -> dict[str, Answer]:
        """A rater's answers by picture."""
        with _explained(), self._read() as connection:
            rows = connection.execute(sql.select(_answers).where(_answers.c.rater == rater)).all()
        return {row.item: Answer(*row) for row in rows}

    def save(self, answers: Iterable[Answer]) -> list[bool]:
        """Store answers in one transaction; on return they are on the disk.

        Returns
        -------
        For each answer, whether its rater may still answer. The others are not stored.
        """
        answers = list(answers)
        newest: dict[tuple[str, str], Answer] = {}
        for answer in answers:
            key = answer.rater, answer.item
            if key not in newest or answer.revision > newest[key].revision:
                newest[key] = answer
        for attempt in range(2):  # another process on the same database may store the same answer in between
            try:
                with self._write() as connection:
                    open_ = self._may_answer(connection, {answer.rater for answer in answers})
                    self._upsert(connection, [answer for answer in newest.values() if answer.rater in open_])
                return [answer.rater in open_ for answer in answers]
            except sql.exc.IntegrityError:
                if attempt:
                    raise Unavailable("two servers wrote the same answer at once") from None
        raise AssertionError

    def _upsert(self, connection: sql.Connection, answers: list[Answer]) -> None:
        """Insert what is new, replace what is older: two statements that every database knows."""
        if not answers:
            return
        key = sql.tuple_(_answers.c.rater, _answers.c.item)
        wanted = [(answer.rater, answer.item) for answer in answers]
        columns = _answers.c.rater, _answers.c.item, _answers.c.revision
        known = {(row.rater, row.item): row.revision
                 for row in connection.execute(sql.select(*columns).where(key.in_(wanted)))}  # fmt: skip
        new = [vars(a) for a in answers if (a.rater, a.item) not in known]
        if new:
            connection.execute(_answers.insert(), new)
        for answer in answers:
            if answer.revision > known.get((answer.rater, answer.item), answer.revision):
                here = (_answers.c.rater == answer.rater) & (_answers.c.item == answer.item)
                connection.execute(_answers.update().where(here).values(vars(answer)))

    def _may_answer(self, connection: sql.Connection, raters: set[str]) -> set[str]:
        if connection.execute(sql.select(_survey.c.closed)).scalar():
            return set()
        rows = connection.execute(sql.select(_raters.c.rater).where(_raters.c.rater.in_(raters), ~_raters.c.finished))
        return set(rows.scalars())

    def finish(self, rater: Rater) -> None:
        """Close a rater's answers, so that the truth may be shown to them.

        Raises
        ------
        Closed
            If a picture that they were asked about has no answer.
        """
        with self._write() as connection:
            count = sql.select(sql.func.count()).select_from(_answers).where(_answers.c.rater == rater.rater)
            found = connection.execute(count).scalar_one()
            if found < rater.requested:
                raise Closed(f"The truth is told after the last answer: {found} of {rater.requested} are here.")
            connection.execute(_raters.update().where(_raters.c.rater == rater.rater).values(finished=True))
        self._raters[rater.rater] = replace(rater, finished=True)

    def mark(self, rater: str, item: str, points: Sequence[tuple[float, float]]) -> None:
        """Store where a rater's red pen touched a picture, (x, y) as shares of its sides, in place of earlier ones."""
        here = (_taps.c.rater == rater) & (_taps.c.item == item)
        values = {"rater": rater, "item": item, "points": json.dumps([list(point) for point in points])}
        with self._write() as connection:
            if not connection.execute(_taps.update().where(here).values(values)).rowcount:
                connection.execute(_taps.insert().values(values))

    def taps(self, rater: str | None = None) -> dict[tuple[str, str], list[tuple[float, float]]]:
        """Red-pen taps by (rater, picture), of all raters or one."""
        wanted = sql.select(_taps) if rater is None else sql.select(_taps).where(_taps.c.rater == rater)
        with _explained(), self._read() as connection:
            rows = connection.execute(wanted).all()
        return {(row.rater, row.item): [tuple(point) for point in json.loads(row.points)] for row in rows}

    def close(self) -> None:
        """End the class: nobody may answer any more, and everybody may see the truth."""
        with self._write() as connection:
            connection.execute(_survey.update().values(closed=True))

    @property
    def closed(self) -> bool:
        """Whether the class is over."""
        with _explained(), self._read() as connection:
            return bool(connection.execute(sql.select(_survey.c.closed)).scalar_one())

    def raters(self) -> list[Rater]:
        """All raters, by name."""
        with _explained(), self._read() as connection:
            return [Rater(*row) for row in connection.execute(sql.select(_raters).order_by(_raters.c.rater))]

    def rows(self) -> list[dict[str, Any]]:
        """All answers with their truth, as `answers.as_table` takes them, by rater and position."""
        items, taps = {item.name: item for item in self.deck.items}, self.taps()
        raters = {rater.rater: rater for rater in self.raters()}
        orders = {name: {item: i for i, item in enumerate(self.order(rater), 1)} for name, rater in raters.items()}
        with _explained(), self._read() as connection:
            found = connection.execute(sql.select(_answers)).all()
        rows = []
        for rater, item, answer, confidence, seconds, _ in found:
            if rater not in raters:  # joined while we were reading
                continue
            who, about = raters[rater], items[item]
            rows.append({
                "survey": self.deck.key.survey, "rater": rater, "experience": who.experience, "asked": who.requested,
                "item": item, "size": about.size, "truth": REAL if about.real else SYNTHETIC, "origin": about.origin,
                "answer": answer, "confidence": confidence, "seconds": seconds, "position": orders[rater][item],
                "taps": taps.get((rater, item), ()),
            })  # fmt: skip
        return sorted(rows, key=lambda row: (row["rater"], row["position"]))

    def forget(self, rater: str) -> None:
        """Delete one rater with answers and taps."""
        with self._write() as connection:
            for table in (_taps, _answers, _raters):
                connection.execute(table.delete().where(table.c.rater == rater))
        self._raters.pop(rater, None)
        self._purge()

    def erase(self) -> None:
        """Delete raters, answers and taps for good, and begin a new class with a new room code."""
        with self._write() as connection:
            for table in (_taps, _answers, _raters):
                connection.execute(table.delete())
            self.room = _letters(ROOM)
            connection.execute(_survey.update().values(closed=False, room=self.room))
        self._raters.clear()
        self._orders.clear()
        self._purge()

    def _purge(self) -> None:
        """What was deleted also leaves SQLite's log; its pages are overwritten already (``secure_delete``)."""
        if self.engine.dialect.name == "sqlite":
            with _explained(), closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _found(self) -> sql.Row | None:
        """The class in this database, found without a lock: a process that looks must not hold up one that writes."""
        with self._read() as connection:
            there = sql.inspect(connection).has_table(_survey.name)
            return connection.execute(sql.select(_survey)).one_or_none() if there else None

    def _create(self) -> sql.Row:
        """A new class."""
        with self._write() as connection:
            _tables.create_all(connection)
            row = connection.execute(sql.select(_survey)).one_or_none()
            if row is None:  # or another process was faster
                values = {
                    "id": 1,
                    "name": self.deck.key.survey,
                    "secret": secrets.token_hex(32),
                    "room": _letters(ROOM),
                }
                connection.execute(_survey.insert().values(values | {"closed": False}))
                row = connection.execute(sql.select(_survey)).one()
        return row

    def _check_open(self, connection: sql.Connection) -> None:
        if connection.execute(sql.select(_survey.c.closed)).scalar():
            raise Closed("This class is over: the truth has been shown.")

    @contextmanager
    def _write(self) -> Iterator[sql.Connection]:
        """A transaction. Threads of this process take turns, which is fairer than waiting for each other's locks."""
        with _explained(), self._turn, self.engine.begin() as connection:
            yield connection

    def _read(self) -> sql.Connection:
        """A connection that looks and does not lock."""
        return self.engine.connect().execution_options(reads=True)


def _connect(url: str) -> sql.Engine:
    """An engine; SQLite gets write-ahead logging, and a lock from the beginning of what writes."""
    try:
        address = sql.make_url(url)
        options = {"connect_args": {"timeout": BUSY}} if address.get_backend_name() == "sqlite" else {}
        engine = sql.create_engine(address, pool_pre_ping=not options, **options)
    except (sql.exc.ArgumentError, sql.exc.NoSuchModuleError, ImportError) as error:
        raise ValueError(f"expected a database such as sqlite:///class.sqlite, got {url!r}: {error}") from error
    if not options:
        return engine
    file = file_of(url)
    if file and file.name != ":memory:":
        _own(file)

    @sql.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says so, see below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql(
            "BEGIN" if reads else "BEGIN IMMEDIATE"
        )  # of two that read first, one could not write

    return engine


def _own(file: Path) -> None:
    """Make the file, readable by its owner alone, or say why not."""
    try:
        file.touch(mode=0o600)
    except OSError as error:
        raise OSError(f"expected a database that can be written at {file}, got: {error.strerror}") from error


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of the database as `Unavailable`, whose text is the reason in a few words."""
    try:
        yield
    except sql.exc.IntegrityError:
        raise
    except sql.exc.DBAPIError as error:
        text = str(error.orig).lower()
        if any(word in text for word in ("full", "no space", "disk i/o", "readonly", "read-only")):
            reason = "its disk is full or takes no files"
        elif "locked" in text or "busy" in text or "timeout" in text:
            reason = "its database is busy"
        else:
            reason = "its database does not answer"
        raise Unavailable(f"{reason} ({' '.join(str(error.orig).split())})") from error


def file_of(url: str) -> Path | None:
    """The file of a SQLite address, or None.

    >>> file_of("sqlite:///class/answers.sqlite"), file_of("postgresql+psycopg://localhost/class")
    (PosixPath('class/answers.sqlite'), None)
    """
    address = sql.make_url(url)
    return Path(address.database) if address.get_backend_name() == "sqlite" and address.database else None


def plain(code: str) -> str:
    """A code as somebody typed it, without case, hyphens and blanks.

    >>> plain("k7qmx-3x9 prt")
    'K7QMX3X9PRT'
    """
    return "".join(letter for letter in code.upper() if letter.isalnum())


def _letters(count: int, data: bytes | None = None) -> str:
    """Letters from bytes (at least 10), or random ones."""
    number = int.from_bytes(data or secrets.token_bytes(16), "big")
    return "".join(LETTERS[number // len(LETTERS) ** place % len(LETTERS)] for place in range(count))


def _hash(name: str, key: str) -> str:
    return hashlib.sha256(f"{name}-{key}".encode()).hexdigest()
