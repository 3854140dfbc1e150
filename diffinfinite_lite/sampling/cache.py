"""A cache of tensors by name: the latest in memory, many more in a file that never grows beyond a limit.

The file is an SQLite database. Whatever kills the process leaves it whole, with the values that were complete; two
processes may use it at once. What was not asked for for the longest time makes room for what is new.
"""

from __future__ import annotations

import io
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GIGABYTE = 10**9
_MAGIC = b"SQLite format 3\0"
_ROOM = 0.9  # of the limit is kept when there was too much, so that not every new value has to make room


class Cache:
    """Remembers tensors.

    Parameters
    ----------
    path : of the file, made if needed; None keeps tensors in memory only
    limit : bytes of values in the file
    memory : bytes of values in memory

    Raises
    ------
    ValueError : the file is no such cache.
    OSError : it cannot be opened.

    >>> cache = Cache()
    >>> cache.remember("a", lambda: torch.ones(1)), cache.remember("a", lambda: torch.zeros(1))
    (tensor([1.]), tensor([1.]))
    """

    def __init__(self, path: str | Path | None = None, *, limit: int = 2 * GIGABYTE, memory: int = GIGABYTE // 4):
        if limit < 1 or memory < 1:
            raise ValueError(f"expected limits of at least one byte, got {limit} and {memory}")
        self._limit, self._memory, self._held = limit, memory, 0
        self._latest: OrderedDict[str, Tensor] = OrderedDict()
        self._file = None if path is None else _open(Path(path))
        self._bytes, self._clock = 0, 0
        if self._file is not None:
            found = self._file.execute("SELECT total(length(value)), coalesce(max(used), 0) FROM entries").fetchone()
            self._bytes, self._clock = int(found[0]), int(found[1])

    @property
    def size(self) -> int:
        """Bytes of values in the file."""
        return self._bytes

    def remember(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """The value of a name: what was made for it before, or what is made now; on the CPU. Do not change it."""
        if name in self._latest:
            self._latest.move_to_end(name)
            return self._latest[name]
        value = self._read(name)
        if value is None:
            value = make().detach().cpu().contiguous()
            self._write(name, value)
        self._latest[name] = value
        self._held += value.nbytes
        while self._held > self._memory and len(self._latest) > 1:
            self._held -= self._latest.popitem(last=False)[1].nbytes
        return value

    def _read(self, name: str) -> Tensor | None:
        if self._file is None:
            return None
        row = self._file.execute("SELECT value FROM entries WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        self._clock += 1
        self._file.execute("UPDATE entries SET used = ? WHERE name = ?", (self._clock, name))
        return torch.from_numpy(np.load(io.BytesIO(row[0]), allow_pickle=False))

    def _write(self, name: str, value: Tensor) -> None:
        if self._file is None:
            return
        content = io.BytesIO()
        np.save(content, value.numpy(), allow_pickle=False)
        self._clock += 1
        with self._file:
            done = self._file.execute(
                "INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", (name, self._clock, content.getvalue())
            )
            self._bytes += done.rowcount * len(content.getvalue())
            while self._bytes > self._limit:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget what was not asked for for the longest time."""
        assert self._file is not None
        freed, oldest = 0, []
        for name, length in self._file.execute("SELECT name, length(value) FROM entries ORDER BY used"):
            if self._bytes - freed <= _ROOM * self._limit:
                break
            freed += length
            oldest.append((name,))
        self._file.executemany("DELETE FROM entries WHERE name = ?", oldest)
        self._bytes = self._bytes - freed if oldest else 0


def _check_own(path: Path) -> None:
    """Refuse a file of somebody else's before anything is written to it."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        ours = file.read(len(_MAGIC)) == _MAGIC
    if ours:
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file,
        ):
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = not tables or tables == {"entries"}
    if not ours:
        raise ValueError(f"expected a cache of this library or nothing at {path}, got something else")


def _open(path: Path) -> sqlite3.Connection:
    try:
        _check_own(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # one lock of the caller serves all threads; without isolation a read would never end its transaction
        file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=60)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        columns = "name TEXT PRIMARY KEY, used INTEGER, value BLOB"
        file.execute(f"CREATE TABLE IF NOT EXISTS entries ({columns}) WITHOUT ROWID")
        file.execute("CREATE INDEX IF NOT EXISTS by_use ON entries (used)")
    except sqlite3.OperationalError as error:
        raise OSError(f"expected a file that can be written to at {path}, got: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(f"expected a cache of this library or nothing at {path}, got: {error}") from error
    return file
