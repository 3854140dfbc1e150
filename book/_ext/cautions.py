"""Sphinx extension: a caution of the library is a note on the page, not a path and a line of code.

In a notebook Python shows a warning with the file and the line that it comes from. On a page that says nothing to a
reader, and the path is that of the machine that built it. Warnings of other packages stay as they are: they are faults
to be seen.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

OURS = "Caution|PictureWarning|AnswersWarning"
# a path, a line number, the category, its sentence; then the line of code that Python quotes, indented
WARNING = re.compile(rf"^\S.*?:\d+: (?:\w+\.)*(?:{OURS}): (.+)\n(?:  \S.*\n?)?", re.MULTILINE)


def sentences(text: str) -> tuple[list[str], str]:
    """The sentences of our warnings in what a cell wrote, each once, and what else it wrote.

    >>> sentences('/a.py:3: Caution: blots\\n  draw()\\n/a.py:4: Caution: blots\\n/b.py:1: UserWarning: x\\n')
    (['blots'], '/b.py:1: UserWarning: x\\n')
    """
    return list(dict.fromkeys(WARNING.findall(text))), WARNING.sub("", text)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _notes(app: Sphinx, doctree: nodes.document) -> None:
    for block in list(doctree.findall(nodes.literal_block)):
        if "stderr" not in block["classes"]:
            continue
        said, rest = sentences(block.astext() + "\n")
        if not said:
            continue
        note = nodes.note("", *(nodes.paragraph(text=_sentence(text)) for text in said))
        kept = [nodes.literal_block(rest.strip(), rest.strip(), **block.attributes)] if rest.strip() else []
        block.parent.replace(block, [*kept, note])  # `replace_self` would give the note the colour of errors


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("doctree-read", _notes)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
