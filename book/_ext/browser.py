"""Sphinx extension: the directive ``{paint-in-browser}`` puts the page part of `widgets.browser_page` into a page.

The files that it loads on a click go beside the pages, where `offline.py` says. Built without onnxruntime-web or the
packages of the extra ``browser``, the directive is an error that names the command which brings them.
"""

from __future__ import annotations

import os
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = "paint"


class PaintInBrowser(SphinxDirective):
    """The page part, once a page."""

    def run(self) -> list[nodes.Node]:
        """Writes what the page loads, too."""
        from diffinfinite_lite.widgets import browser_graphs, browser_page  # torch takes seconds
        from diffinfinite_lite.widgets.deepzoom import ADDRESS, VARIABLE

        try:
            graphs, facts = browser_graphs.shipped_graphs()
        except (ImportError, OSError) as error:
            raise self.error(str(error)) from error
        folder = Path(os.environ[VARIABLE], FOLDER)
        html = browser_page.write_page(graphs, facts, folder, f"{ADDRESS}/{FOLDER}")
        return [nodes.raw("", html, format="html")]


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("paint-in-browser", PaintInBrowser)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
