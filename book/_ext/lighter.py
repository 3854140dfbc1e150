"""Sphinx extension: pages that load fast. Large figures become WebP, a quarter of the size at the same look.

Tissue is what PNG is worst at. Figures drawn by chapters stay PNG while a chapter runs, so that notebooks look as
usual; only the built pages show the lighter copies.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from sphinx.application import Sphinx

HEAVY = 100_000  # bytes
QUALITY = 90


def lighten(out: Path) -> dict[str, str]:
    """Replace heavy PNG figures of built pages by WebP where that is smaller.

    Parameters
    ----------
    out : folder of the pages, figures in ``_images``

    Returns
    -------
    dict of old to new address
    """
    renamed = {}
    for figure in sorted((out / "_images").glob("*.png")):
        if figure.stat().st_size < HEAVY:
            continue
        lighter = figure.with_suffix(".webp")
        with Image.open(figure) as picture:
            picture.save(lighter, quality=QUALITY, method=4)
        if lighter.stat().st_size < figure.stat().st_size:
            renamed[f"_images/{figure.name}"] = f"_images/{lighter.name}"
            figure.unlink()
        else:
            lighter.unlink()
    for page in out.glob("*.html"):
        text = lit = page.read_text("utf8")
        for old, new in renamed.items():
            lit = lit.replace(old, new)
        if lit != text:
            page.write_text(lit, "utf8")
    return renamed


def _finish(app: Sphinx, error: Exception | None) -> None:
    if not error and app.builder.format == "html":
        lighten(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("build-finished", _finish, priority=100)  # before the pages are checked
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}
