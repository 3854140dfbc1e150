"""The folder of a run that goes on after a kill: who holds it, what run it belongs to, how far that came.

``progress.json`` holds the settings of the run, their hash, and how far it is. It is written under another name and
renamed, which the file system does as a whole: whoever opens the folder finds the old progress or the new one. A
checksum of all that it holds is written with it, so that a file that was damaged or edited since is refused.

Whatever is wrong with a store is one sentence, see `damaged`. A folder that is refused is left as it was found.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout
from torch import Tensor

SHORT, UNSAID = 40, "another "  # characters of a value that is said; what is said of one that is a longer list


class Store:
    """A folder and its ``progress.json``.

    Parameters
    ----------
    path : folder, new or empty, or the one of an earlier run with the same settings
    settings : all that the result depends on, JSON-able

    Attributes
    ----------
    path : the folder.
    progress : what was saved last, {} at first.

    Raises
    ------
    ValueError : the folder holds the store of another run, one whose ``progress.json`` is damaged, or something else.
    OSError : another process holds it, or it cannot be read or written to.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> Store(folder.name, {"seed": 1}).save({"level": 3})
    >>> Store(folder.name, {"seed": 1}).progress
    {'level': 3}
    >>> Store(folder.name, {"seed": 2})
    Traceback (most recent call last):
    ValueError: expected the store of this run, got that of another one at ...: seed is 1 there and 2 here; ...
    """

    def __init__(self, path: str | Path, settings: dict) -> None:
        self.path = Path(path)
        self._settings = json.loads(json.dumps(settings))  # as it will be read again
        self.progress: dict = {}
        if self.path.exists():
            if not self.path.is_dir():
                raise NotADirectoryError(f"expected a folder for the store, got a file at {self.path}")
            self._read()  # a folder of something else is refused before anything is written to it
        with explain_full_disk(self.path, "nothing was done yet"):
            self.path.mkdir(parents=True, exist_ok=True)
            # Held until the store is forgotten or the process ends, however it ends. A singleton, because this process
            # may open its own store again: a notebook keeps the frames, and so the store, of a cell that failed.
            self._lock = FileLock(self.path.resolve() / "lock", thread_local=False, is_singleton=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise OSError(
                    f"expected a store that is not in use, but another process works on {self.path}"
                ) from error
        self._read()

    @property
    def identity(self) -> str:
        """SHA-256 of the settings."""
        return digest(self._settings)

    def save(self, progress: dict) -> None:
        """Replace what is known about the progress, as a whole."""
        partial = self.path / "progress.partial"
        text = {"hash": digest(self._settings), "settings": self._settings, "progress": progress}
        partial.write_text(json.dumps(text | {"checksum": digest(text)}, indent=1) + "\n")
        os.replace(partial, self.path / "progress.json")
        self.progress = progress

    def _read(self) -> None:
        file = self.path / "progress.json"
        check_store(self.path)
        if not file.exists():
            return
        try:
            found = json.loads(file.read_text())
            body = {key: found[key] for key in ("hash", "settings", "progress")}
            theirs, self.progress = body["settings"], body["progress"]
            readable = isinstance(theirs, dict) and isinstance(self.progress, dict)
        except OSError as error:
            raise OSError(str(damaged(file, error.strerror or str(error)))) from error
        except (ValueError, KeyError, TypeError, RecursionError):
            readable = False
        if not readable:
            raise ValueError(f"expected a store at {self.path}, got a progress.json that cannot be read: {ways(file)}")
        # Stores of earlier versions have these three keys and no checksum.
        if found.keys() != body.keys() and found.get("checksum") != digest(body):
            raise damaged(file, "one that was damaged or edited since")
        if body["hash"] != digest(self._settings):
            keys = [key for key in sorted({*theirs, *self._settings}) if theirs.get(key) != self._settings.get(key)]
            differ = [_difference(key, theirs.get(key), self._settings.get(key)) for key in keys or ["hash"]]
            said = ", ".join(sorted(differ, key=lambda sentence: sentence.startswith(UNSAID)))
            raise ValueError(
                f"expected the store of this run, got that of another one at {self.path}: {said}; "
                "repeat its settings, or take a new folder"
            )


def check_store(path: Path) -> None:
    """Refuse a folder that holds something else than a store, without looking at the store.

    >>> check_store(Path("a", "new", "folder"))
    """
    file = path / "progress.json"
    if file.exists() or not path.is_dir():
        return
    others = sorted(each.name for each in path.iterdir() if not _is_left_by_a_start(each))
    if others:
        raise ValueError(
            f"expected an empty folder or a store at {path}, found {others[0]} but no {file}: "
            "put a copy of that file back if this was a store, or take a new folder"
        )


def _is_left_by_a_start(path: Path) -> bool:
    """Whether a file is what a store leaves that was killed before it saved anything."""
    return path.name == "progress.partial" or (path.name == "lock" and path.stat().st_size == 0)


def damaged(file: Path, found: str, place: str = "") -> ValueError:
    """The error for a file of a store that is not what was written: what was found, and the two ways on.

    >>> print(damaged(Path("store/progress.json"), "no such file"))  # doctest: +NORMALIZE_WHITESPACE
    expected store/progress.json as it was written, got no such file: put a copy of store/progress.json back and run
    the same command again, or start again with a new folder for the store
    """
    where = f" ({place})" if place else ""
    return ValueError(f"expected {file}{where} as it was written, got {found}: {ways(file)}")


def ways(file: Path) -> str:
    """How to go on when a file of a store is damaged."""
    return f"put a copy of {file} back and run the same command again, or start again with a new folder for the store"


@contextmanager
def explain_full_disk(path: Path, safe: str) -> Iterator[None]:
    """Where the disk is full, say what is safe and how to go on.

    Raises
    ------
    OSError : the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # the last is a user's limit
            raise
        go_on = "free some and run the same command again to go on from there"
        full = OSError(f"no space left for {path}: {safe}; {go_on}")
        full.errno = error.errno
        raise full from error


def describe(settings: dict) -> dict:
    """Settings as JSON: tensors as their shape and SHA-256, functions by name, and this library's version.

    >>> describe({"seed": 1, "plan": len})["plan"]
    'len'
    """

    def text(value: object) -> object:
        if isinstance(value, Tensor):
            hashed = hashlib.sha256()
            for rows in value.split(256, dim=-2):  # whole copies of large ones are not needed
                hashed.update(rows.cpu().double().numpy().tobytes())
            return f"{'x'.join(map(str, value.shape))} {hashed.hexdigest()}"
        if isinstance(value, partial):
            return f"{text(value.func)} {value.args} {value.keywords}"
        return getattr(value, "__qualname__", type(value).__qualname__) if callable(value) else value

    return {"version": version("diffinfinite_lite")} | {key: text(value) for key, value in settings.items()}


def digest(settings: dict) -> str:
    """SHA-256 of JSON-able settings, whatever their order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _difference(name: str, there: object, here: object) -> str:
    """How a setting differs: by its values, or long lists of numbers by name alone."""
    values = [str(value) for value in (there, here)]
    if max(map(len, values)) > SHORT and isinstance(there, list | dict):
        return f"{UNSAID}{name}"
    return f"{name} is {values[0][:SHORT]} there and {values[1][:SHORT]} here"
