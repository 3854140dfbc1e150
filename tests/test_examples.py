"""Examples and the worked cases of docs/extending.md: they run, they are short, and each touches what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
CASES = re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", (ROOT / "docs/extending.md").read_text("utf8"), re.S | re.M)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    assert len(path.read_text("utf8").splitlines()) <= 40
    done = subprocess.run([sys.executable, path, tmp_path / "out"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and list((tmp_path / "out").iterdir())


def test_there_are_five_examples():
    assert {path.stem for path in EXAMPLES} == {"sample", "own_plan", "own_data", "edit", "evaluate"}


@pytest.mark.parametrize(("title", "code"), CASES, ids=[title for title, _ in CASES])
def test_a_worked_case_runs(title, code, tmp_path):
    assert len(code.splitlines()) <= 30
    (tmp_path / "case.py").write_text(code, encoding="utf8")
    done = subprocess.run([sys.executable, "case.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_there_are_four_cases():
    assert [title for title, _ in CASES] == ["A new plan", "A new metric", "A new data set", "A new widget"]
