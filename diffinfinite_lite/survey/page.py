r"""The survey as a page: one picture at a time, real or synthetic, confidence 1 to 7, no feedback until the end.

Static HTML with the style and the script beside this module, no kernel, nothing from outside, also from ``file://``.
`widget` is a part of a page that carries its pictures; `write_page` a folder with a page of its own and picture files
beside it. The names of files, their lengths and their order come from `pictures.make_items` and do not depend on the
truth.

The truth is *sealed*: with :math:`k_0` the SHA-256 of all names, :math:`k_{i+1} = \mathrm{SHA256}(k_i)` and
:math:`K = k_{n}` after `ROUNDS` of them, byte block i is XORed with :math:`\mathrm{SHA256}(K \| i)`.
The page does that work once, after the last answer. All that is needed to open the seal stands in the page. So it
keeps a rater who looks at the page's source from reading the truth by accident, and does not stop anybody who wants to
find it out.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from scipy.stats import binom

from ..data.encoding import data_uri
from ..extras import extra
from ..files import check_folder, move, staged
from .pictures import SIDES, Item
from .statistics import FORMAT, PAPER

with extra("course"):
    from statsmodels.stats.proportion import proportion_confint


ROUNDS = 20_000  # a fifth of a second in a browser
MPP = 0.5  # micrometres per pixel of every source used, about
_HERE = Path(__file__).parent
# The page around the survey in the colours of the book: its theme switch keeps "light" or "dark" in the browser, and
# "auto" as the mode where the system decides.
_DARK = "--page:#16171a;--ink:#ececee;--link:#7cc4f2;color-scheme:dark"
_STYLE = (
    ":root{--page:#fff;--ink:#1d1d1f;--link:#00548a;color-scheme:light}"
    f'@media(prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{_DARK}}}}}[data-theme="dark"]{{{_DARK}}}'
    "body{margin:0;padding:1rem;background:var(--page);font:1rem/1.5 system-ui,sans-serif}a{color:var(--link)}"
    "h1{font-size:1.6rem;margin:.2rem 0 1rem}header{max-width:60rem;margin:0 auto;color:var(--ink)}"
)
_THEME = """(() => {
  const follow = () => {
    let theme = "auto";
    try { if (localStorage.mode !== "auto") theme = localStorage.theme; } catch { /* a browser that keeps nothing */ }
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  follow();
  addEventListener("storage", follow); // switched in another tab
})();"""


def survey_name(items: Sequence[Item]) -> str:
    """Name of a survey: it changes with any picture, so that answers to other pictures are never taken for its own."""
    return hashlib.sha256(",".join(item.name for item in items).encode()).hexdigest()[:10]


def seal(text: str, names: Sequence[str]) -> bytes:
    """Text as bytes that can be read only after `ROUNDS` hashes of all names; sealing twice gives the text back.

    >>> seal(seal("truth", ["a"]).decode("latin1"), ["a"])
    b'truth'
    """
    key = hashlib.sha256(",".join(names).encode()).digest()
    for _ in range(ROUNDS):
        key = hashlib.sha256(key).digest()
    data = text.encode("latin1")
    stream = (hashlib.sha256(key + i.to_bytes(4, "big")).digest() for i in range(len(data) // 32 + 1))
    return bytes(a ^ b for a, b in zip(data, b"".join(stream), strict=False))


def widget(items: Sequence[Item], about: Sequence[str], *, name: str = "survey") -> str:
    """HTML of the survey with its pictures in it, to show with `IPython.display.HTML`.

    Parameters
    ----------
    items : as of `pictures.make_items`.
    about : sentences on how the pictures were prepared and where they come from.
    name : identifier that nothing else on the page has.

    Raises
    ------
    ValueError
        If there are no pictures, or not all have names of their own.
    """
    return _body(items, about, name, [data_uri(item.data, "jpeg") for item in items])


def write_page(items: Sequence[Item], about: Sequence[str], folder: str | Path, *, title: str, home: str = "") -> Path:
    """Write ``index.html`` and the pictures into a folder of its own, all or nothing.

    Pictures of an earlier survey there are removed when the new one is complete.

    Parameters
    ----------
    items, about : as in `widget`.
    title : heading of the page.
    home : address that the page links back to, or "".

    Returns
    -------
    The page.
    """
    body = _body(items, about, "survey", [f"{item.name}.jpg" for item in items])
    check_folder(folder, ["index.html"])
    folder = Path(folder)
    page = folder / "index.html"
    earlier = page.read_text(encoding="utf-8") if page.exists() else ""
    back = f'<p><a href="{escape(home)}">Back to the chapter</a></p>' if home else ""
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(title)}</title><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style>\n<script>{_THEME}</script></head><body><header>{back}<h1>{escape(title)}</h1></header>"
        f"<main>{body}</main></body></html>\n"
    )
    pictures = [f"{item.name}.jpg" for item in items]
    with staged(folder, "a survey") as place:
        for name, item in zip(pictures, items, strict=True):
            (place / name).write_bytes(item.data)
        (place / "index.html").write_text(text, encoding="utf-8")
        move(place, folder, [*pictures, "index.html"])
    for old in folder.glob("*.jpg"):
        if old.name not in pictures and f'"{old.stem}"' in earlier:
            old.unlink()
    return page


def _body(items: Sequence[Item], about: Sequence[str], name: str, addresses: list[str]) -> str:
    names = [item.name for item in items]
    if not items or len(set(names)) < len(names):
        raise ValueError(f"expected pictures that differ, got {len(names)}, {len(set(names))} of them different")
    origins = sorted({item.origin for item in items})
    truth = {"origins": origins, "truth": [[int(item.real), origins.index(item.origin)] for item in items]}
    right = round(PAPER.accuracy * PAPER.raters * PAPER.items)
    low, high = proportion_confint(right, PAPER.raters * PAPER.items, method="wilson")
    settings = {
        "id": name,
        "survey": survey_name(items),
        "format": FORMAT,
        "items": [
            {"name": item.name, "size": item.size, "src": src} for item, src in zip(items, addresses, strict=True)
        ],
        "widths": {size: f"about {side * MPP / 1000:.1f} mm wide" for size, side in SIDES.items()},
        "sealed": b64encode(seal(json.dumps(truth), names)).decode(),
        "rounds": ROUNDS,
        "paper": {k: v for k, v in asdict(PAPER).items() if k != "correlations"} | {"low": low, "high": high},
        "chance": [int(n) for n in binom.interval(0.95, len(items), 0.5)],
    }
    share = "Half" if 2 * sum(item.real for item in items) == len(items) else "Some"
    sources = "".join(f"<p>{escape(sentence)}</p>" for sentence in about)
    return (
        f"<style>{(_HERE / 'page.css').read_text('utf8')}</style>\n"
        f'<div class="dl-survey" id="{escape(name)}"><div data-part="intro">'
        f"<p>You see {len(items)} pictures of tissue, one at a time, in an order of your own. {share} of them are "
        "real, the others were made by a model. Say which you think each is, and how sure you are. There is no time "
        "limit and no feedback until the end. You can stop and come back. Nothing you enter leaves this browser.</p>"
        f"<details><summary>Where the pictures come from, and what was done to them</summary>{sources}</details></div>"
        '<div data-part="stage"><noscript><p>The survey needs JavaScript.</p></noscript></div></div>\n'
        f"<script>({(_HERE / 'page.js').read_text('utf8').strip()})({_json(settings)});</script>\n"
    )


def _json(value: object) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(value).replace("<", "\\u003c")
