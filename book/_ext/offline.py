"""Sphinx extension for Jupyter Book 1: pages that load nothing from outside, also from ``file://``.

- MathJax 3 comes from the wheel ``django-static-mathjax`` and is copied to ``_static/mathjax``.
- The sphinx-thebe scripts, which point to a CDN, are dropped.
- Chapters find in ``DIFFINFINITE_PAGES`` where files go that their pages load, such as the tiles of a deep zoom:
  ``_assets`` inside the folder of the pages. An address that is set already is kept.
- At the end every page is read: anything a browser would fetch from another host is a warning, and the book
  is built with warnings as errors.
"""

from __future__ import annotations

import os
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

MATHJAX = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2")
FETCHED = {"script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
           "video": ("src", "poster"), "audio": ("src",), "object": ("data",), "embed": ("src",)}  # fmt: skip
FETCHED_LINKS = {"stylesheet", "icon", "shortcut", "preload", "prefetch", "modulepreload", "preconnect",
                 "dns-prefetch", "manifest"}  # fmt: skip
OUTSIDE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
IN_CSS = re.compile(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


def is_thebe(asset: object) -> bool:
    """Whether a script or style sheet of a page belongs to sphinx-thebe.

    >>> is_thebe("_static/sphinx-thebe.js"), is_thebe("_static/course.css")
    (True, False)
    """
    return "thebe" in f"{getattr(asset, 'filename', asset)} {getattr(asset, 'attributes', '')}".lower()


class _Fetches(HTMLParser):
    """Collects what a browser fetches from another host while it shows a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        addresses = [values.get(name, "") for name in FETCHED.get(tag, ())]
        if tag == "link" and FETCHED_LINKS & set(values.get("rel", "").lower().split()):
            addresses.append(values.get("href", ""))
        self.found += [address for address in addresses if OUTSIDE.match(address)]
        self.found += IN_CSS.findall(values.get("style", ""))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += IN_CSS.findall(data)


def outside_requests(html: str) -> list[str]:
    """Addresses on other hosts that a page fetches by itself; links to click on are not among them.

    >>> outside_requests('<script src="https://cdn.example/a.js"></script><a href="https://example.org">read</a>')
    ['https://cdn.example/a.js']
    """
    parser = _Fetches()
    parser.feed(html)
    return parser.found


def copy_mathjax(outdir: Path) -> None:
    """Copy the one MathJax bundle the pages use, and its fonts, to ``_static/mathjax``.

    Raises
    ------
    FileNotFoundError : the installed wheel is laid out differently.
    """
    source = Path(str(files("mathjax"))) / "static/mathjax/es5"
    for name in MATHJAX:
        target = outdir / "_static/mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, dirs_exist_ok=True)
        else:
            shutil.copy(source / name, target)


def _drop_thebe(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object) -> None:
    for key in ("script_files", "css_files"):
        context[key] = [asset for asset in context.get(key, []) if not is_thebe(asset)]


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    copy_mathjax(out)
    for page in sorted(out.rglob("*.html")):
        for address in outside_requests(page.read_text("utf8")):
            logger.warning("%s fetches %s from outside", page.relative_to(out), address, type="offline")


def setup(app: Sphinx) -> dict[str, object]:
    os.environ.setdefault("DIFFINFINITE_PAGES", str(Path(app.outdir) / "_assets"))
    app.connect("html-page-context", _drop_thebe, priority=900)
    app.connect("build-finished", _finish)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
