"""Sphinx extension: exercises have one number, on the page and in the notebook: chapter, then place in it.

Without this Sphinx counts them through the whole book. `exercise_numbers` reads the numbers off the chapters, so that
`notebooks.py` has the same ones.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

CHAPTER = re.compile(r"^(\d+)_")
EXERCISE = re.compile(r"^`{3,}\{exercise\}[^\n]*\n(?::[\w-]+:[^\n]*\n)*?:label:[ \t]*(\S+)", re.MULTILINE)


def exercise_numbers(book: Path) -> dict[str, tuple[int, int]]:
    """Chapter and place of every exercise of a book's numbered chapters, by its label."""
    numbers = {}
    for path in sorted(book.glob("*.md")):
        if chapter := CHAPTER.match(path.name):
            labels = EXERCISE.findall(path.read_text("utf8"))
            numbers |= {label: (int(chapter[1]), place) for place, label in enumerate(labels, 1)}
    return numbers


def _number(app: Sphinx, env) -> list[str]:
    registry, numbers = getattr(env, "sphinx_exercise_registry", {}), exercise_numbers(Path(app.srcdir))
    for label, entry in registry.items():
        if label in numbers:
            figures = env.toc_fignumbers.setdefault(entry["docname"], {}).setdefault("exercise", {})
            for name in entry["node"]["ids"]:
                figures[name] = numbers[label]
    return []  # no page has to be written that would not be anyway


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("env-get-updated", _number, priority=900)  # after Sphinx has given its own
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
