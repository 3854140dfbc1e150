"""Cards for a class: pictures without titles to print or to project, the answers folded below; and codes on slips.

An instructor asks before anything is shown; the page has no title, file name or order that would tell. Cards are
lettered and shuffled by a hash of their pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from ..data.encoding import data_uri, encode
from ..files import write_text
from ..labels import LABEL_COLOURS, LABELS
from .page import document

MOST_CODES = 99
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STYLE = (
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1rem}"
    "main>*{max-width:60rem;margin:1rem auto}main{color:var(--ink)}.cards figure{margin:0;break-inside:avoid}"
    ".cards img{display:block;width:100%;background:#fff}"
    ".swatch{display:inline-block;width:1em;height:1em;border:1px solid;margin:0 .35em 0 1em;vertical-align:-.15em;"
    "print-color-adjust:exact}"  # or a browser prints no grounds, and with them no colours
    "@media print{header,details{display:none}}"
)
_SLIPS = (
    "main>*{max-width:60rem;margin:1rem auto}main{color:var(--ink)}"
    ".slips{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));padding:0;list-style:none}"
    ".slips li{padding:1rem;border:1px dashed;text-align:center;font-size:.85rem;break-inside:avoid}"
    ".slips strong{font-size:2rem}@media print{header,main>p{display:none}}"
)


@dataclass(frozen=True)
class Card:
    """A picture, uint8 (H, W, 3), and what it is."""

    rgb: np.ndarray
    answer: str


def colours(mask: np.ndarray) -> np.ndarray:
    """A mask (H, W) of labels in the colours of the book, uint8 (H, W, 3)."""
    return np.array(LABEL_COLOURS, np.uint8)[mask]


def write_cards(
    cards: Sequence[Card], file: str | Path, *, title: str, task: str, legend: bool = False, home: str = ""
) -> Path:
    """Write a page of lettered cards.

    Parameters
    ----------
    cards : 1 to 26 of them.
    file : the page.
    title, task : heading, and what the class is asked.
    legend : whether to say what the colours of masks mean.
    home : address that the page links back to, or "".

    Raises
    ------
    ValueError
        If there are more cards than letters, or none.
    """
    if not 1 <= len(cards) <= len(LETTERS):
        raise ValueError(f"expected 1 to {len(LETTERS)} cards, got {len(cards)}")
    shuffled = sorted(cards, key=lambda card: hashlib.sha256(card.rgb.tobytes()).digest())
    lettered = list(zip(LETTERS, shuffled, strict=False))
    figures = "".join(
        f'<figure><img src="{data_uri(encode(card.rgb, "png"), "png")}" alt="Card {letter}">'
        f"<figcaption><strong>{letter}</strong></figcaption></figure>"
        for letter, card in lettered
    )
    answers = "".join(f"<li>{letter}: {escape(card.answer)}</li>" for letter, card in lettered)
    swatches = "".join(
        f'<span class="swatch" style="background:rgb{tuple(int(v) for v in colour)}"></span>{escape(name)}'
        for name, colour in zip(LABELS, LABEL_COLOURS, strict=True)
    )
    body = (
        f'<style>{_STYLE}</style><p>{escape(task)}</p>{f"<p>{swatches}</p>" if legend else ""}<div class="cards">'
        f"{figures}</div><details><summary>Answers</summary><ul>{answers}</ul></details>"
    )
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, document(title, body, "", home, "Back to the instructor guide"))
    return path


def write_codes(file: str | Path, count: int = 30, *, home: str = "") -> Path:
    """Write a page of codes for participants, p01, p02, ..., to print and to cut.

    Parameters
    ----------
    file : the page.
    count : how many, 1 to 99.
    home : address that the page links back to, or "".

    Raises
    ------
    ValueError
        If there are none, or more than two digits name.
    """
    if not 1 <= count <= MOST_CODES:
        raise ValueError(f"expected 1 to {MOST_CODES} codes, got {count}")
    codes = [f"p{number:02d}" for number in range(1, count + 1)]
    slips = "".join(f"<li><strong>{code}</strong><br>Your code: no name, please.</li>" for code in codes)
    body = f'<style>{_SLIPS}</style><p>Cut, shuffle, and let everybody draw one.</p><ul class="slips">{slips}</ul>'
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, document("Codes", body, "", home, "Back to the instructor guide"))
    return path
