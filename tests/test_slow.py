"""The list of slow tests names what exists."""

from pathlib import Path

import pytest

from tests.conftest import SLOW

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("line", SLOW)
def test_slow_tests_exist(line):
    path, _, function = line.partition("::")
    assert (ROOT / path).exists()
    assert not function or f"\ndef {function.partition('[')[0]}" in (ROOT / path).read_text()
