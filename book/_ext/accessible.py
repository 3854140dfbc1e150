"""Sphinx extension: pages that can be read without seeing them.

A picture without a description is a warning, and so an error of the build: every ``<img>`` needs an ``alt`` text.
Sphinx fills a missing one with the file's name, which says nothing; that counts as missing. A figure made by a
code cell gets its text from the cell:

    ---
    mystnb:
      image:
        alt: "What the picture shows, in a sentence."
    ---

A picture that says nothing (an icon beside its own name) has ``alt=""`` and ``role="presentation"``.

Entries of the bibliography carry a role that ARIA has given up; they become items of their list.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

FILE = re.compile(r"^\S*\.(png|jpe?g|svg|gif|webp)$", re.IGNORECASE)


class _Pictures(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "img":
            return
        values = {key: value or "" for key, value in attrs}
        text = values.get("alt", "").strip()
        decorative = "alt" in values and not text and values.get("role") in ("presentation", "none")
        if not decorative and (not text or FILE.match(text)):
            self.found.append(values.get("src", "")[:80])


def undescribed(html: str) -> list[str]:
    """Addresses of the pictures of a page that have no description.

    >>> undescribed('<img src="a.png" alt="a gland"><img src="b.png"><img src="c.png" alt="_images/c.png">')
    ['b.png', 'c.png']
    """
    parser = _Pictures()
    parser.feed(html)
    return parser.found


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in sorted(out.rglob("*.html")):
        for address in undescribed(page.read_text("utf8")):
            logger.warning("%s shows %s without an alt text", page.relative_to(out), address, type="accessible")


def _roles(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    if context.get("body"):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("html-page-context", _roles)
    app.connect("build-finished", _finish)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
