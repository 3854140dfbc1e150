"""The cache on disk: bounded, whole after a kill, and nobody else's file."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest
import torch

from diffinfinite_lite.sampling.cache import Cache


def never():
    raise AssertionError("was computed again")


def test_the_file_stays_below_its_limit_and_keeps_what_is_used(tmp_path):
    limit = 1_000_000
    cache = Cache(tmp_path / "c", limit=limit, memory=1)
    for number in range(100):
        cache.remember(str(number), lambda number=number: torch.full((50_000,), float(number)))  # 20 MB in all
        cache.remember("0", never)  # used all the time
        assert cache.size <= limit
    again = Cache(tmp_path / "c", limit=limit)
    assert again.size == cache.size > limit / 2
    assert again.remember("99", never)[0] == 99 and again.remember("0", never)[0] == 0
    with pytest.raises(AssertionError):
        again.remember("1", never)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 9_000_000  # its journal holds 4 MB


def test_a_value_over_the_limit_is_given_and_not_kept(tmp_path):
    cache = Cache(tmp_path / "c", limit=1000)
    assert cache.remember("a", lambda: torch.ones(1000)).sum() == 1000 and cache.size == 0


def test_values_come_back_as_they_were(tmp_path):
    values = {"a": torch.randn(3, 4, 5), "b": torch.arange(6, dtype=torch.uint8).reshape(2, 3)}
    for name, value in values.items():
        Cache(tmp_path / "c").remember(name, lambda value=value: value)
    for name, value in values.items():
        found = Cache(tmp_path / "c").remember(name, never)
        assert torch.equal(found, value) and found.dtype == value.dtype


def test_killed_at_any_moment_it_keeps_what_was_complete(tmp_path):
    code = (
        "import sys, torch; from diffinfinite_lite.sampling.cache import Cache\n"
        "cache = Cache(sys.argv[1], limit=200_000, memory=1)\n"
        "for n in range(10**6):\n"
        "    cache.remember(str(n), lambda: torch.full((1000,), float(n)))\n"
        "    print(n, flush=True)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True)
    for line in worker.stdout:
        if int(line) == 80:
            break
    os.kill(worker.pid, signal.SIGKILL)
    last = max([80, *map(int, worker.stdout.read().split())])
    worker.wait()
    cache = Cache(tmp_path / "c", limit=200_000)
    assert cache.remember(str(last), never)[0] == last and 0 < cache.size <= 200_000


def test_a_file_of_somebody_else_is_refused_and_kept(tmp_path):
    (tmp_path / "c").write_text("no database " * 100)
    with pytest.raises(ValueError, match="expected a cache of this library or nothing at"):
        Cache(tmp_path / "c")
    assert (tmp_path / "c").read_text().startswith("no database")
    with pytest.raises(OSError, match="expected a file that can be written to at"):
        Cache(tmp_path)
    with pytest.raises(ValueError, match="at least one byte"):
        Cache(limit=0)


@pytest.mark.parametrize("content", [b"x", b"my notes\n", b"SQLite format 3"])
def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path, content):
    """A file of one byte had been taken for an empty database, and written over."""
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected a cache of this library or nothing at"):
        Cache(path)
    assert path.read_bytes() == content and len(list(tmp_path.iterdir())) == 1


def test_a_database_of_somebody_else_is_left_as_it_is(tmp_path):
    path = tmp_path / "answers.db"
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE answers (id INTEGER)")
    file.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="expected a cache of this library or nothing at"):
        Cache(path)
    assert path.read_bytes() == before
    path.unlink()
    path.touch()
    assert torch.equal(Cache(path).remember("a", lambda: torch.ones(2)), torch.ones(2))  # an empty file is nobody's
