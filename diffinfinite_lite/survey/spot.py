"""Spot the difference: two pictures, one hidden change; tap it. Ten rounds, time and accuracy.

A page like the survey's: static HTML, no kernel, nothing from outside, also from ``file://``. Pictures are JPEG files
whose blocks are coded one by one, so that pixels which are equal before coding are equal after it, up to the block.
Where the change lies is sealed in the page, as the truth of the survey is (`page`).

Who cannot see the pictures plays with words: for each field of a grid the labels that lie in it, left and right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.encoding import data_uri, encode
from ..labels import CELL_PX, LABELS
from .differences import Difference, cells
from .page import ROUNDS, SPOT, as_json, document, script, seal_json, style, write_files

FORMAT = "diffinfinite-spot-1"
QUALITY = 88
NEAR = 12  # px beside the blob that still count as a hit
GRID = (4, 6)  # fields of the picture in words
PAGE = "spot.html"


def make_pictures(differences: Sequence[Difference]) -> dict[str, bytes]:
    """The JPEG files of all rounds, before and after, by name."""
    return {name: data for d in differences for name, data in map(_file, (d.before, d.after))}


def settings(differences: Sequence[Difference], addresses: dict[str, str]) -> dict:
    """What the page needs to know.

    Parameters
    ----------
    differences : as of `differences.make_differences`.
    addresses : of the pictures, by their name in `make_pictures`.

    Raises
    ------
    ValueError
        If there are no rounds, or one in which nothing differs.
    """
    if not differences or not all(d.blob.any() and d.changed.any() for d in differences):
        raise ValueError(f"expected rounds in which something differs, got {len(differences)}")
    names = [tuple(_file(picture)[0] for picture in (d.before, d.after)) for d in differences]
    items = [{"name": after, "before": addresses[before], "after": addresses[after], "size": d.mask.shape}
             for (before, after), d in zip(names, differences, strict=True)]  # fmt: skip
    known = [item["name"] for item in items]
    return {
        "game": "g" + hashlib.sha256(",".join(known).encode()).hexdigest()[:10],
        "format": FORMAT,
        "items": items,
        "sealed": seal_json([_truth(d) for d in differences], known),
        "rounds": ROUNDS,
        "cell": CELL_PX,
        "near": NEAR,
    }


def in_words(mask: np.ndarray) -> list[list[str]]:
    """A mask (H, W) as rows of fields: the labels in each, by share, as tenths.

    >>> in_words(np.repeat(np.uint8([1, 3]), 60)[None].repeat(8, 0))[0]
    ['carcinoma', 'carcinoma', 'carcinoma', 'stroma', 'stroma', 'stroma']
    """
    said = []
    for band in np.array_split(mask, GRID[0]):
        row = []
        for part in np.array_split(band, GRID[1], axis=1):
            share = np.bincount(part.ravel(), minlength=len(LABELS)) / max(part.size, 1)
            tenths = np.rint(10 * share).astype(int)
            order = [n for n in np.argsort(-share, kind="stable") if tenths[n]]
            row.append(", ".join(LABELS[n] if tenths[n] == 10 else f"{LABELS[n]} {10 * tenths[n]}%" for n in order))
        said.append(row)
    return said


def markup(values: dict, *, name: str = "spot", alone: bool = False) -> str:
    """The game as HTML that `page.script` (`page.SPOT`) brings to life.

    Parameters
    ----------
    values : as of `settings`.
    name : identifier that nothing else on the page has.
    alone : whether the game has a page of its own.
    """
    data = as_json(values | {"id": name, "alone": alone})
    return (
        f'<div class="dl-survey" data-game="spot" id="{name}"{" data-alone" if alone else ""}>'
        f'<div data-part="intro"><p>Two pictures of synthetic tissue, equal but for one place: a label of the mask was '
        f"changed there, and that place was painted again. Everything else is equal to the last bit. Tap the place, in "
        f"either picture. {len(values['items'])} rounds; one tap each; the clock runs.</p></div>"
        '<div data-part="stage"><noscript><p>The game needs JavaScript.</p></noscript></div>'
        f'<script type="application/json" data-part="settings">{data}</script></div>\n'
    )


def widget(differences: Sequence[Difference], *, name: str = "spot") -> str:
    """HTML of the game with its pictures, style and script in it, to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError
        As `settings`.
    """
    values = settings(differences, {n: data_uri(data, "jpeg") for n, data in make_pictures(differences).items()})
    return f"<style>{style()}</style>\n{markup(values, name=name)}<script>{script(*SPOT)}</script>\n"


def write_page(
    differences: Sequence[Difference], folder: str | Path, *, title: str = "Spot the difference", home: str = ""
) -> Path:
    """Write ``spot.html`` and its pictures into a folder, all or nothing.

    Parameters
    ----------
    differences : as in `settings`.
    title : heading of the page.
    home : address that the page links back to, or "".

    Returns
    -------
    The page.
    """
    pictures = {f"{name}.jpg": data for name, data in make_pictures(differences).items()}
    values = settings(differences, {Path(name).stem: name for name in pictures})
    write_files(folder, {PAGE: document(title, markup(values, alone=True), script(*SPOT), home)}, pictures, "a game")
    return Path(folder, PAGE)


def _file(picture: np.ndarray) -> tuple[str, bytes]:
    """A picture's name, which tells nothing, and its file; without chroma subsampling a block is 8 px."""
    data = encode(picture, "jpeg", quality=QUALITY, subsampling=0, optimize=True)
    return "d" + hashlib.sha256(data).hexdigest()[:11], data


def _truth(difference: Difference) -> dict:
    """What the page may say after the tap."""
    return {
        "what": difference.describe(),
        "blob": np.flatnonzero(cells(difference.blob)).tolist(),
        "equal": round(1 - float(difference.changed.mean()), 3),
        "recomputed": round(difference.recomputed, 3),
        "words": [in_words(difference.mask), in_words(difference.edited)],
    }
