"""Results on disk: written beside the place where they belong, and moved there when all of them are complete.

A full disk or a kill at any moment leaves what was there before. What waits to be moved lies in a folder whose name
begins with `WAITING` and which is locked as long as its process lives, so that the next call can tell the folder of a
killed one from that of another that is at work, and removes it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

WAITING = ".diffinfinite-waiting-"
_LOCK = "lock"
_CANNOT_LOCK = (OSError, NotImplementedError)  # raised on a file system that knows no locks


@contextmanager
def staged(folder: str | Path, what: str = "a result") -> Iterator[Path]:
    """A folder inside another, in which results wait for each other; it is removed at the end, whatever happens.

    Parameters
    ----------
    folder : where the results belong; made if needed. Folders of killed runs in it are removed.
    what : for the message.

    Raises
    ------
    OSError : the disk is full, or the folder takes no files; what is in it already stays.

    >>> target = Path(tempfile.mkdtemp())
    >>> with staged(target) as place:
    ...     _ = (place / "a.txt").write_text("whole")
    ...     move(place, target, ["a.txt"])
    >>> [path.name for path in target.iterdir()]
    ['a.txt']
    """
    folder = Path(folder)
    try:
        with ExitStack() as stack:
            stack.enter_context(_new_folder(folder))
            remove_left(folder)
            place = stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=WAITING))
            with suppress(*_CANNOT_LOCK):
                stack.enter_context(FileLock(Path(place, _LOCK), timeout=0))
            yield Path(place)
    except OSError as error:
        if str(error).startswith("expected "):  # a sentence already
            raise
        reason = error.strerror or error
        full = OSError(f"expected room for {what} in {folder}, got: {reason}; nothing half-written was left")
        full.errno = error.errno
        raise full from error


@contextmanager
def held(folder: str | Path) -> Iterator[Path]:
    """A folder that no other process writes to as long as the context lasts; made if needed.

    Its file ``lock`` is locked by the system, which lets go of it when the process ends, however that happens. The file
    stays, and means nothing by itself; where nothing else was written, it goes again, with the folders made for it.

    Raises
    ------
    OSError : another process holds the folder, or it cannot be locked or written to.

    >>> with held(tempfile.mkdtemp()) as folder, held(folder):
    ...     pass
    Traceback (most recent call last):
    OSError: expected a folder that nobody else writes to, but another run is at work in ...: wait, or take another one
    """
    folder = Path(folder)
    check_folder(folder)
    lock, existed = FileLock(folder / _LOCK, timeout=0), folder.exists()
    with _new_folder(folder):
        try:
            lock.acquire()
        except Timeout:
            raise OSError(
                f"expected a folder that nobody else writes to, but another run is at work in {folder}: "
                "wait, or take another one"
            ) from None
        except NotImplementedError as error:
            raise OSError(f"expected a file system that can lock files at {folder}, got one that cannot") from error
        try:
            yield folder
        finally:
            if not existed and [path.name for path in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
            lock.release()


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; in the end, those that were made and are empty are removed again."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for place in new:
            with suppress(OSError):  # it is not empty
                place.rmdir()


def read_json(path: str | Path) -> Any:
    """What a JSON file holds, in any encoding of Unicode and with or without a byte order mark.

    Raises
    ------
    ValueError : it holds something else, or is nested more deeply than Python can read.
    OSError : it cannot be read.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_space(folder: str | Path, needed: int, what: str) -> None:
    """Refuse a folder on a disk with less than so many bytes free, before any work.

    Raises
    ------
    OSError : there is less.

    >>> check_space("new/folder", 0, "nothing")
    """
    free = shutil.disk_usage(_nearest(Path(folder))).free
    if free < needed:
        found = f"got {free / 1e9:.1f} GB that are free"
        raise OSError(f"expected about {needed / 1e9:.1f} GB of disk in {folder} for {what}, {found}")


def same_disk(one: Path, other: Path) -> bool:
    """Whether two folders, or what will hold them, lie on one file system."""
    return _nearest(one).stat().st_dev == _nearest(other).stat().st_dev


def _nearest(folder: Path) -> Path:
    """The folder, or the one nearest above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))


def move(place: Path, folder: Path, names: Sequence[str]) -> None:
    """Give results their names; of an earlier result, what this one does not have is removed."""
    for name in names:
        if (place / name).exists():
            os.replace(place / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all.

    >>> path = Path(tempfile.mkdtemp(), "new", "a.txt")
    >>> write_text(path, "ω")
    >>> path.read_text(encoding="utf-8"), len(list(path.parent.iterdir()))
    ('ω', 1)
    """
    path = Path(path)
    with staged(path.parent, path.name) as place:
        (place / path.name).write_text(text, encoding="utf-8")
        os.replace(place / path.name, path)


def remove_left(folder: Path) -> None:
    """Remove what killed runs left in a folder: our waiting folders that no living process has locked."""
    for place in folder.glob(f"{WAITING}*"):
        if place.is_symlink() or not place.is_dir():
            continue
        with suppress(Timeout, *_CANNOT_LOCK), FileLock(place / _LOCK, timeout=0):
            for inside in place.iterdir():
                if inside.name != _LOCK:
                    shutil.rmtree(inside) if inside.is_dir() else inside.unlink()
            shutil.rmtree(place, ignore_errors=True)


def check_folder(folder: str | Path, results: Sequence[str] = (), *, force: bool = True) -> None:
    """Refuse a folder that cannot take results, before any work and without making it.

    Parameters
    ----------
    results : names of the results, those of folders ending in ``_files``.
    force : an earlier result may be replaced.

    Raises
    ------
    FileExistsError
        If it holds an earlier result and ``force`` is not set.
    ValueError
        If its name is empty, or a result has the name of a folder.
    OSError
        If it cannot be written to.
    """
    if not str(folder).strip():
        raise ValueError("expected the name of a folder, got an empty one ('.' is the current folder)")
    folder = Path(folder)
    existing = [name for name in results if os.path.lexists(folder / name)]
    if existing and not force:
        raise FileExistsError(f"expected no earlier result in {folder}, found {existing[0]} (--force overwrites)")
    for name in existing:
        if (folder / name).is_dir() != name.endswith("_files"):
            kinds = ("a folder", "a file") if name.endswith("_files") else ("a file", "a folder")
            raise ValueError(f"expected {kinds[0]} or nothing at {folder / name}, got {kinds[1]}")
    try:
        with suppress(FileNotFoundError):
            folder.lstat()  # refuses a name that is too long, which no other question asks of a new folder
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            pass
    except OSError as error:
        raise OSError(f"expected a folder that can be written to at {folder}, got: {error.strerror}") from error
