"""Chapters run side by side: on pages that wait for each other."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
CORES = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count()
CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book/_ext")!r})
extensions = ["myst_nb", "side_by_side"]
nb_execution_mode, nb_execution_timeout = "cache", 60
"""
CHAPTER = """---
file_format: mystnb
kernelspec:
  name: python3
---
# {name}

```{{code-cell}}
import os, time
from pathlib import Path

{code}
```
"""
MEET = """
Path({folder!r}, "{name}").touch()
end = time.monotonic() + 40
while not Path({folder!r}, "{other}").exists():
    assert time.monotonic() < end, "nobody came"
    time.sleep(0.05)
print("met with", os.environ["OMP_NUM_THREADS"], "threads")
"""


def build(folder, **chapters):
    (folder / "conf.py").write_text(CONF)
    (folder / "index.md").write_text("# Start\n\n```{toctree}\n" + "\n".join(chapters) + "\n```\n")
    for name, code in chapters.items():
        (folder / f"{name}.md").write_text(CHAPTER.format(name=name, code=code))
    command = [sys.executable, "-m", "sphinx", "-W", "-E", "-b", "html", folder, html(folder)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def html(folder):
    return folder.parent / "built/html"  # the cache lies beside it, out of the pages


@pytest.mark.skipif(CORES < 2, reason="expected two cores, found one")
def test_two_chapters_run_at_the_same_time_and_share_the_cores(tmp_path):
    (tmp_path / "pages").mkdir()
    codes = {name: MEET.format(folder=str(tmp_path), name=name, other=other)
             for name, other in (("one", "two"), ("two", "one"))}  # fmt: skip
    done = build(tmp_path / "pages", **codes)
    assert done.returncode == 0, done.stderr
    for name in codes:
        assert f"met with {CORES // 2} threads" in (html(tmp_path / "pages") / f"{name}.html").read_text("utf8")


def test_what_a_chapter_uses_may_change_while_its_text_does_not(tmp_path):
    """The cache of Jupyter Book would show the old number."""
    (tmp_path / "pages").mkdir()
    library = tmp_path / "library.txt"
    for text in ("forty", "forty-two"):
        library.write_text(text)
        done = build(tmp_path / "pages", one=f"print('It is', Path({str(library)!r}).read_text())")
        assert done.returncode == 0, done.stderr
        assert f"It is {text}\n" in (html(tmp_path / "pages") / "one.html").read_text("utf8")


def test_a_chapter_that_fails_ends_the_build_with_its_name_and_error(tmp_path):
    (tmp_path / "pages").mkdir()
    done = build(tmp_path / "pages", good="print('fine')", bad="raise LookupError('nothing there')")
    assert done.returncode != 0
    assert f"{tmp_path / 'pages/bad.md'} failed:" in done.stderr and "LookupError: nothing there" in done.stderr
