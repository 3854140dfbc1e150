"""The list of slow tests names what exists, and tests are shared out well."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import CHAPTERS, PAGES, SLOW, dealt

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("line", SLOW)
def test_slow_tests_exist(line):
    path, _, function = line.partition("::")
    assert (ROOT / path).exists()
    assert not function or f"\ndef {function.partition('[')[0]}" in (ROOT / path).read_text()


def test_processes_begin_with_chapters_and_one_goes_on_with_pages():
    names = [f"tests/a.py::{n}" for n in range(11)]
    names += [f"{CHAPTERS}{n}" for n in range(4)] + [f"{PAGES}{n}" for n in range(3)] + ["tests/z.py::0"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    found = [item.nodeid for item in dealt(items, 3)]
    assert sorted(found) == sorted(names)
    a, b, c = found[:6], found[6:12], found[12:]  # as `worksteal` shares 19 tests
    assert a[:2] == [f"{CHAPTERS}0", f"{CHAPTERS}3"] and b[0] == f"{CHAPTERS}1"
    assert c[:4] == [f"{CHAPTERS}2", *(f"{PAGES}{n}" for n in range(3))]
    assert a[2:] + b[1:] + c[4:] == [name for name in names if not name.startswith((CHAPTERS, PAGES))]
    assert dealt(items, 1) == items
