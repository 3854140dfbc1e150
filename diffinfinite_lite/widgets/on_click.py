"""A widget of one page on another one: a still picture there, and the widget itself after a click.

While the book is built (`deepzoom.VARIABLE`), the widget's HTML is written beside the pages as a script, since a page
that was opened from a file may load nothing else, and the still picture beside it. The other page names both:

    <figure class="on-click"><img src="_assets/NAME.webp" alt="..." loading="lazy">
    <button type="button" data-widget="NAME" data-loads="_assets/NAME.js">Open it</button></figure>

``book/_static/site.js`` puts the widget in the figure's place. ``data-loads`` names all files of the first click, for
those who check the site.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.encoding import encode
from .deepzoom import VARIABLE
from .pictures import check_name

WIDEST, QUALITY = 960, 80  # px of the still picture, and of its WebP


def for_other_pages(html: str, *, name: str, still: np.ndarray) -> str:
    """Let other pages show a widget; returns its HTML as it came.

    Parameters
    ----------
    html : of the widget, as it stands on its own page
    name : that of the widget: letters, digits, hyphens
    still : uint8 (H, W, 3), what is seen before the click

    Raises
    ------
    ValueError
        If the name is no identifier or the still picture is none.
    """
    check_name(name)
    if still.ndim != 3 or still.shape[2] != 3 or still.dtype != np.uint8:
        raise ValueError(f"expected a still picture uint8 (H, W, 3), got {still.dtype} of shape {still.shape}")
    if folder := os.environ.get(VARIABLE):
        picture = Image.fromarray(still)
        picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.webp").write_bytes(encode(np.asarray(picture), "webp", quality=QUALITY))
        script = f"(window.widgetsOnClick ??= {{}})[{json.dumps(name)}] = {json.dumps(html)};\n"
        (place / f"{name}.js").write_text(script, "utf8")
    return html
