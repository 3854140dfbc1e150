r"""The survey as a page: one picture at a time, real or synthetic, confidence 1 to 7, no feedback until the end.

Static HTML with the style and the scripts beside this module, no kernel, nothing from outside, also from ``file://``.
`widget` is a part of a page that carries its pictures; `write_page` a folder with a page of its own, picture files
beside it, and ``class.html``, on which an instructor drops the files of a class. The names of files, their lengths and
their order come from `pictures.make_items` and do not depend on the truth.

A page is three things, which a server can also hand out one by one: `style`, `script` of some `PARTS`, and `markup`
with its `settings`, from which all the rest follows. Neither style nor script stands inside the markup, so a strict
Content-Security-Policy can forbid both. With ``settings["server"]`` the player keeps its answers there
(``transport.js`` says how), and the settings need no truth.

The truth of a page without a server is *sealed*: with :math:`k_0` the SHA-256 of all names,
:math:`k_{i+1} = \mathrm{SHA256}(k_i)` and :math:`K = k_{n}` after `ROUNDS` of them, byte block i is XORed with
:math:`\mathrm{SHA256}(K \| i)`. The page does that work once, after the last answer. All that is needed to open the
seal stands in the page. So it keeps a rater who looks at the page's source from reading the truth by accident, and does
not stop anybody who wants to find it out.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from ..browser_scripts import LEAN_QR
from ..data.encoding import data_uri
from ..extras import extra
from ..files import check_folder, move, staged
from .answers import FORMAT, Key, KeyItem
from .pictures import SIDES, Item
from .statistics import PAPER

with extra("course"):
    from statsmodels.stats.proportion import proportion_confint


ROUNDS = 20_000  # a fifth of a second in a browser
SHORT = 20  # pictures of the short version
PLAYER = ("common", "transport", "result", "magnifier", "player")  # what a survey needs of `PARTS`
CLASSROOM = ("common", "classroom")
LEARNING = ("common", "magnifier", "games", "staircase", "learning")
SPOT = ("common", "games", "spot")
PARTS = tuple(dict.fromkeys([*PLAYER, *CLASSROOM, *LEARNING, *SPOT]))
MPP = 0.5  # micrometres per pixel of every source used, about
PAGE = "index.html"
_HERE = Path(__file__).parent
# The page around the survey in the colours of the book: its theme switch keeps "light" or "dark" in the browser, and
# "auto" as the mode where the system decides.
_DARK = "--page:#16171a;--ink:#ececee;--link:#7cc4f2;color-scheme:dark"
FRAME = (
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
    return "s" + hashlib.sha256(",".join(item.name for item in items).encode()).hexdigest()[:10]


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


def style() -> str:
    """The style sheet of all pages of a survey."""
    return (_HERE / "page.css").read_text("utf8")


def script(*parts: str) -> str:
    """Parts of the pages' code as one script, in a scope of its own.

    Parameters
    ----------
    parts : names of .js files beside this module, in the order they need each other, such as those of `PLAYER`. The
        encoder of QR codes comes before those that draw one, where this environment has it (`browser_scripts`).
    """
    encoder = ""
    if LEAN_QR.available() and {"result", "classroom"} & set(parts):
        code = LEAN_QR.find()[0].read_text("utf8")
        encoder = f"const leanQR = ((exports) => {{ {code}\nreturn exports; }})({{}});"
    code = "\n".join((_HERE / f"{part}.js").read_text("utf8") for part in parts)
    return f"(() => {{\n{encoder}\n{code}}})();\n"


def settings(items: Sequence[Item], addresses: Sequence[str], *, server: str = "") -> dict:
    """What the player and the class page need to know about a survey.

    Parameters
    ----------
    items : as of `pictures.make_items`.
    addresses : of their pictures, in the same order.
    server : address of the service that keeps the answers, ending with "/"; "" keeps them in the browser, with the
        truth sealed in the settings.

    Raises
    ------
    ValueError
        If there are no pictures, or not all have names of their own.
    """
    names = [item.name for item in items]
    if not items or len(set(names)) < len(names):
        raise ValueError(f"expected pictures that differ, got {len(names)}, {len(set(names))} of them different")
    short = short_version(items)
    right = round(PAPER.accuracy * PAPER.raters * PAPER.items)
    low, high = proportion_confint(right, PAPER.raters * PAPER.items, method="wilson")
    versions = sorted({len(short), len(items)})
    shown = {
        "survey": survey_name(items),
        "format": FORMAT,
        "items": [{"name": item.name, "size": item.size, "src": src} | ({"short": 1} if item.name in short else {})
                  for item, src in zip(items, addresses, strict=True)],
        "versions": versions,
        "widths": {size: f"about {side * MPP / 1000:.1f} mm wide" for size, side in SIDES.items()},
        "paper": {k: v for k, v in asdict(PAPER).items() if k != "correlations"} | {"low": low, "high": high},
        "qr": LEAN_QR.available(),
    }  # fmt: skip
    return shown | ({"server": server} if server else {"sealed": seal_truth(items), "rounds": ROUNDS})


def short_version(items: Sequence[Item]) -> set[str]:
    """Names of the pictures of the short version: `SHORT` of them, with the shares of size, truth and origin kept.

    The same for all raters, so that their agreement can be measured. All pictures where there are not more.
    """
    if len(items) <= SHORT:
        return {item.name for item in items}
    groups: dict[tuple, list[str]] = {}
    for item in items:  # sorted by hash, so the first ones of a group are random ones
        groups.setdefault((not item.real, item.size, item.origin if not item.real else ""), []).append(item.name)
    chosen: set[str] = set()
    for kind in (False, True):  # half of them real
        some = {key: names for key, names in groups.items() if key[0] is kind}
        total, place = sum(map(len, some.values())), 0
        for names in some.values():  # rounding the running sum, so that the counts add up
            before, place = place, place + len(names)
            share = round(SHORT / 2 * place / total) - round(SHORT / 2 * before / total)
            chosen |= set(names[:share])
    return chosen


def markup(values: dict, about: Sequence[str], lead: str, *, name: str = "survey", alone: bool = False) -> str:
    """The survey as HTML that `script` (`PLAYER`) brings to life, without style and script.

    Parameters
    ----------
    values : as of `settings`.
    about : sentences on how the pictures were prepared and where they come from.
    lead : one sentence that stands before all, such as `leaks.sentence`.
    name : identifier that nothing else on the page has.
    alone : whether the survey has a page of its own, which it then fills.
    """
    kept = (
        "Answers are kept on the server of this class."
        if "server" in values
        else "Nothing you enter leaves this browser."
    )
    data = as_json(values | {"id": name, "alone": alone})
    return (
        f'<div class="dl-survey" id="{escape(name)}"{" data-alone" if alone else ""}><div data-part="intro">'
        f"<p>You see {' or '.join(map(str, values['versions']))} pictures of tissue, one at a time, in an order of "
        "your own. Half of them are real, the others were made by a model. Say which you think each is, and how sure "
        f"you are. There is no time limit and no feedback until the end. You can stop and come back. {kept}</p>"
        f'<p class="lead">{escape(lead)}</p>'
        f"{sources(about)}</div>"
        '<div data-part="stage"><noscript><p>The survey needs JavaScript.</p></noscript></div>'
        f'<script type="application/json" data-part="settings">{data}</script></div>\n'
    )


def sources(about: Sequence[str]) -> str:
    """Sentences on where pictures come from, folded."""
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in about)
    return f"<details><summary>Where the pictures come from, and what was done to them</summary>{text}</details>"


def widget(items: Sequence[Item], about: Sequence[str], lead: str, *, name: str = "survey") -> str:
    """HTML of the survey with its pictures, style and script in it, to show with `IPython.display.HTML`.

    Parameters
    ----------
    items : as of `pictures.make_items`.
    about, lead, name : as in `markup`.

    Raises
    ------
    ValueError
        If there are no pictures, or not all have names of their own.
    """
    values = settings(items, [data_uri(item.data, "jpeg") for item in items])
    return f"<style>{style()}</style>\n{markup(values, about, lead, name=name)}<script>{script(*PLAYER)}</script>\n"


def write_page(
    items: Sequence[Item], about: Sequence[str], lead: str, folder: str | Path, *, title: str, home: str = ""
) -> Path:
    """Write ``index.html``, ``class.html`` and the pictures into a folder of its own, all or nothing.

    Pictures of an earlier survey there are removed when the new one is complete.

    Parameters
    ----------
    items, about, lead : as in `widget`.
    title : heading of the page.
    home : address that the page links back to, or "".

    Returns
    -------
    The page of the survey.
    """
    pictures = [f"{item.name}.jpg" for item in items]
    values = settings(items, pictures)
    data = as_json(values | {"id": "classroom"})
    board = (
        '<div class="dl-survey dl-classroom" id="classroom"><div data-part="stage"><noscript><p>This page needs '
        f'JavaScript.</p></noscript></div><script type="application/json" data-part="settings">{data}</script></div>\n'
    )
    texts = {
        PAGE: document(title, markup(values, about, lead, alone=True), script(*PLAYER), home),
        "class.html": document(f"{title} The class", board, script(*CLASSROOM), PAGE, "Back to the survey"),
    }
    write_files(folder, texts, {name: item.data for name, item in zip(pictures, items, strict=True)}, "a survey")
    return Path(folder, PAGE)


def write_files(folder: str | Path, texts: dict[str, str], pictures: dict[str, bytes], what: str) -> None:
    """Write pages and their pictures into a folder, all or nothing; pictures of the first page's earlier version go.

    Parameters
    ----------
    texts : pages by file name.
    pictures : JPEG files by name, which is a hash of what they show.
    what : they are, for messages.
    """
    check_folder(folder, list(texts))
    folder, first = Path(folder), next(iter(texts))
    earlier = (folder / first).read_text(encoding="utf-8") if (folder / first).exists() else ""
    with staged(folder, what) as place:
        for name, data in pictures.items():
            (place / name).write_bytes(data)
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8")
        move(place, folder, [*pictures, *texts])
    for old in folder.glob("*.jpg"):
        if old.name not in pictures and f'"{old.stem}' in earlier:
            old.unlink()


def document(title: str, body: str, code: str, home: str = "", back: str = "Back to the chapter") -> str:
    """A page of its own, in light and dark as the book is, with a link back where there is a `home`."""
    link = f'<p><a href="{escape(home)}">{escape(back)}</a></p>' if home else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(title)}</title><link rel="icon" href="data:,">'
        f"<style>{FRAME}{style()}</style>\n<script>{_THEME}</script></head><body><header>{link}<h1>{escape(title)}</h1>"
        f"</header><main>{body}</main><script>{code}</script></body></html>\n"
    )


def read_key(page: str | Path) -> Key:
    """The key of a survey out of its ``index.html``: names, sizes, truth and origins of its pictures, in page order.

    Raises
    ------
    ValueError
        If the file is no page of a survey.
    """
    text = Path(page).read_text(encoding="utf-8")
    found = re.search(r'data-part="settings">(.*?)</script>', text, re.DOTALL)
    try:
        values = json.loads(found[1])  # type: ignore[index]
        names = [item["name"] for item in values["items"]]
        opened = json.loads(seal(b64decode(values["sealed"]).decode("latin1"), names))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"expected the page of a survey, got {Path(page).name} without its settings") from error
    rows = zip(values["items"], opened["truth"], strict=True)
    return Key(values["survey"], tuple(
        KeyItem(item["name"], item["size"], bool(real), opened["origins"][origin], "short" in item)
        for item, (real, origin) in rows
    ))  # fmt: skip


def make_key(items: Sequence[Item]) -> Key:
    """The key of a survey out of its pictures."""
    short = short_version(items)
    return Key(survey_name(items), tuple(KeyItem(i.name, i.size, i.real, i.origin, i.name in short) for i in items))


def seal_truth(items: Sequence[Item]) -> str:
    """What the pictures are, sealed: {"origins": [...], "truth": [[real 0 or 1, place of origin], ...]}, base64."""
    origins = sorted({item.origin for item in items})
    truth = {"origins": origins, "truth": [[int(item.real), origins.index(item.origin)] for item in items]}
    return seal_json(truth, [item.name for item in items])


def seal_json(value: object, names: Sequence[str]) -> str:
    """A value sealed with names, as base64: what ``unseal`` of common.js opens."""
    return b64encode(seal(json.dumps(value), names)).decode()


def as_json(value: object) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(value).replace("<", "\\u003c")
