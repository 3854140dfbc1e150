r"""The learning survey: the pictures of a survey with the truth after each block of five, made harder by a staircase.

A page like the survey's: static HTML, no kernel, nothing from outside, also from ``file://``. It shows the survey's
own files, blurred. The staircase (``staircase.js``) finds the blur at which this person is right in three of four, and
fits a psychometric curve.

Why blur, and not fewer steps of the sampler? Blur is done to real and synthetic pictures alike, so the level says
nothing about the truth; only synthetic ones have steps. Everybody who can tell the sharp pictures apart reaches 75%
somewhere, since without detail all guess; with a good sampler many would not. And a width in micrometres says by itself
what gave the pictures away: chromatin ends below 1.5, outlines of nuclei at about 5, nuclei at about 10.

The blur is a Gaussian whose full width at half maximum is the *finest detail* left, :math:`\sigma = w / 2.355`. The
browser does it, so that a picture is one file at all levels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.encoding import data_uri, encode
from .page import LEARNING, MPP, ROUNDS, as_json, document, script, seal_truth, sources, style, survey_name, write_files
from .pictures import PROCESSING, SIDES, Item, smooth

FORMAT = "diffinfinite-learning-1"
DETAILS = (None, 1, 1.4, 2, 2.8, 4, 5.7, 8, 11, 16)  # um, finest detail left at each level; None: as sharp as it is
BLOCK, MOST = 5, 40  # pictures before the truth is shown; pictures in all
CUES = ("nuclei", "texture", "colour", "architecture", "edges", "a guess")
PAGE = "learning.html"
FWHM = 2.3548  # of a Gaussian, over its sigma


def settings(items: Sequence[Item], addresses: Sequence[str]) -> dict:
    """What the page needs to know; ``mean`` is a picture's mean colour, into which its blurred border fades.

    Parameters
    ----------
    items : as of `pictures.make_items`.
    addresses : of their pictures, in the same order.

    Raises
    ------
    ValueError
        If not both real and synthetic pictures are among them, or not all have names of their own.
    """
    names = {item.name for item in items}
    if len(names) < len(items) or {item.real for item in items} != {True, False}:
        raise ValueError(f"expected real and synthetic pictures that differ, got {len(items)}, {len(names)} different")
    means = [np.asarray(Image.open(io.BytesIO(item.data)).convert("RGB")).mean(axis=(0, 1)) for item in items]
    return {
        "survey": survey_name(items),
        "format": FORMAT,
        "items": [{"name": item.name, "size": item.size, "src": src, "mean": [round(float(v)) for v in mean]}
                  for item, src, mean in zip(items, addresses, means, strict=True)],
        "sealed": seal_truth(items),
        "rounds": ROUNDS,
        "details": DETAILS,
        "mpp": MPP,
        "sides": SIDES,
        "widths": {size: f"about {side * MPP / 1000:.1f} mm wide" for size, side in SIDES.items()},
        "block": BLOCK,
        "most": MOST,
        "cues": CUES,
    }  # fmt: skip


def blur(items: Sequence[Item], width: float) -> list[Item]:
    """The same pictures as the page shows them at a level, as files: for a classifier to look at.

    Parameters
    ----------
    items : as of `pictures.make_items`.
    width : um, the finest detail left: full width at half maximum of a Gaussian.

    >>> sharp = Item("a", "small", True, "camera", encode(np.uint8(np.indices((208, 208, 3))[1] % 2 * 255), "jpeg"), 0)
    >>> [np.asarray(Image.open(io.BytesIO(item.data))).std() > 5 for item in (sharp, *blur([sharp], 4))]
    [np.True_, np.False_]
    """
    shown = []
    for item in items:
        picture = Image.open(io.BytesIO(item.data)).convert("RGB")
        data = encode(smooth(np.asarray(picture), width / MPP / FWHM), "jpeg", quality=PROCESSING.quality)
        shown.append(replace(item, data=data, length=len(data)))
    return shown


def markup(values: dict, about: Sequence[str], *, name: str = "learning", alone: bool = False) -> str:
    """The game as HTML that `page.script` (`page.LEARNING`) brings to life.

    Parameters
    ----------
    values : as of `settings`.
    about : sentences on the pictures.
    name : identifier that nothing else on the page has.
    alone : whether the game has a page of its own.
    """
    data = as_json(values | {"id": name, "alone": alone})
    return (
        f'<div class="dl-survey" data-game="learning" id="{escape(name)}"{" data-alone" if alone else ""}>'
        '<div data-part="intro"><p class="lead">These are the pictures of the survey, and here you learn the truth '
        "about them. If you want to know how well you do untrained, take the survey first.</p>"
        "<p>Real or synthetic? When you are right the next picture loses some of its detail, when you are wrong it "
        "gains more of it. So it settles where you are right in three of four. At the end stands how much detail your "
        f"eye needs, and what it goes by.</p>{sources(about)}</div>"
        '<div data-part="stage"><noscript><p>The game needs JavaScript.</p></noscript></div>'
        f'<script type="application/json" data-part="settings">{data}</script></div>\n'
    )


def widget(items: Sequence[Item], about: Sequence[str], *, name: str = "learning") -> str:
    """HTML of the game with its pictures, style and script in it, to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError
        As `settings`.
    """
    values = settings(items, [data_uri(item.data, "jpeg") for item in items])
    return f"<style>{style()}</style>\n{markup(values, about, name=name)}<script>{script(*LEARNING)}</script>\n"


def write_page(
    items: Sequence[Item], about: Sequence[str], folder: str | Path, *, title: str = "Train your eye", home: str = ""
) -> Path:
    """Write ``learning.html`` and the pictures into a folder, all or nothing; the survey's own folder has them already.

    Parameters
    ----------
    items, about : as in `markup` and `settings`.
    title : heading of the page.
    home : address that the page links back to, or "".

    Returns
    -------
    The page.
    """
    pictures = {f"{item.name}.jpg": item.data for item in items}
    text = document(title, markup(settings(items, list(pictures)), about, alone=True), script(*LEARNING), home)
    write_files(folder, {PAGE: text}, pictures, "a game")
    return Path(folder, PAGE)
