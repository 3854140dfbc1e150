"""The report card as one HTML page: inline style, pictures as data, no script and no outside request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image
from torch import Tensor

from ..data.encoding import data_uri, encode
from ..data.tiles import to_rgb, to_tensor
from ..labels import LABEL_COLOURS, LABELS, colour_mask
from ..metrics.fidelity import radii
from ..metrics.registry import BETTER, METRICS
from ..pipelines.pair import Pair
from .rows import SPACE

REAL, SYNTHETIC = "#009e73", "#cc79a7"  # Okabe and Ito, two that no label has
_STYLE = f"""
:root{{--ink:#1d1f23;--soft:#5a5f69;--line:#d9dce1;--paper:#fff;--panel:#f5f6f8;--real:{REAL};--fake:{SYNTHETIC};
color-scheme:light dark}}
@media(prefers-color-scheme:dark){{:root{{--ink:#e8e9eb;--soft:#a7adb8;--line:#3a3f48;--paper:#16181c;--panel:#1f2228;
--real:#56b4e9;--fake:#e69f00}}}}
*{{box-sizing:border-box}}
body{{font:16px/1.55 system-ui,sans-serif;max-width:64rem;margin:0 auto;padding:1.5rem 1rem 3rem;color:var(--ink);
background:var(--paper)}}
h1{{font-size:1.7rem;line-height:1.2;margin:.2rem 0}}h2{{font-size:1.2rem;margin:2.2rem 0 .5rem}}
h3{{font-size:1rem;margin:1rem 0 .3rem}}
.small,figcaption{{font-size:.86rem;color:var(--soft)}}figure{{margin:0}}
.short{{background:var(--panel);border-left:4px solid var(--real);padding:.6rem 1rem;margin:1rem 0}}
.short p{{margin:.3rem 0}}
.tiles{{display:grid;grid-template-columns:repeat(8,1fr);gap:4px}}
.tiles img,.pair img{{width:100%;aspect-ratio:1;object-fit:cover;display:block}}
.pairs{{display:grid;grid-template-columns:repeat(3,1fr);gap:1rem}}
.pair div{{display:grid;grid-template-columns:1fr 1fr;gap:2px}}
.two{{display:grid;grid-template-columns:1fr 1fr;gap:1.2rem}}
.two svg,.two img{{width:100%;height:auto;display:block;background:var(--panel)}}
.scroll{{overflow-x:auto}}table{{border-collapse:collapse;width:100%;font-size:.92rem}}
th,td{{padding:.4rem .5rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--line)}}
thead th{{border-bottom:2px solid var(--ink)}}th:first-child{{text-align:left;font-weight:600}}
td small,th small{{display:block;color:var(--soft);font-weight:400;font-size:.82rem}}td{{white-space:nowrap}}
.key{{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 .8em;border:1px solid var(--line)}}
@media(max-width:40rem){{.tiles{{grid-template-columns:repeat(4,1fr)}}.pairs,.two{{grid-template-columns:1fr}}
th,td{{padding:.35rem .3rem}}}}
@media print{{body{{padding:0}}}}
"""
_READ = (
    "All tiles: the number on everything given, with a 95% interval by resampling. Matched and Real: at one "
    "smaller count, synthetic against real and real against real; compare these two. None of it is an FID: "
    "other networks, sizes and counts give other numbers. For A, Real is what fresh real tiles score."
)
_READ_SPACE = (
    "Synthetic: the mean or median over tiles and masks, or the canvas's own value. Real: the same for real tiles and "
    "masks where they were given. Masks of real tiles are often sparse: unknown pixels are counted as such."
)


def picture(image: Tensor, alt: str, extent: int = 224) -> str:
    """Image (3, H, W) in [-1, 1] as an ``<img>`` that carries its own JPEG, at most `extent` px.

    >>> import torch
    >>> picture(torch.zeros(3, 8, 8), "grey")[:40]
    '<img alt="grey" src="data:image/jpeg;bas'
    """
    rgb = Image.fromarray(to_rgb(image))
    rgb.thumbnail((extent, extent), Image.Resampling.LANCZOS)
    return f'<img alt="{escape(alt)}" src="{data_uri(encode(np.asarray(rgb), "jpeg", quality=88), "jpeg")}">'


def headline(result: Mapping) -> list[str]:
    """A few sentences for readers without statistics: those of the metrics that have one."""
    known = ((METRICS[row["name"]].sentence, row) for row in result["rows"] if row["name"] in METRICS)
    return [text for sentence, row in known if sentence is not None and (text := sentence(row))]


def page(
    result: Mapping,
    real: Sequence[Tensor] | None,
    synthetic: Sequence[Tensor],
    train: Sequence[Tensor] | None,
    title: str,
    pair: Pair | None = None,
) -> str:
    """The whole page as HTML text; `result` is that of `report.evaluate` or `report.evaluate_run` on these images."""
    counts, size = result["counts"], result["size"]
    parts = [f"<h1>{escape(title)}</h1>"]
    if pair is not None:
        run = ", ".join(f"{key} {_plain(value)}" for key, value in result["run"].items() if value is not None)
        parts.append(f"<p>One generated canvas: {escape(run)}.</p>")
    if counts["synthetic"]:
        parts.append(
            f"<p>{counts['synthetic']} synthetic tiles against {counts['real']} real ones, {size[0]} x {size[1]} px; "
            f"{counts['train'] or 'no'} training tiles.</p>"
        )
    short = "".join(f"<p>{escape(sentence)}</p>" for sentence in headline(result))
    parts += [f'<section class="short" aria-label="In short">{short}</section>'] if short else []
    parts += [_canvas(pair)] if pair is not None else []
    if counts["synthetic"]:
        parts += ["<h2>Samples, not chosen</h2>", _row_of("Real", real), _row_of("Synthetic", synthetic)]
    if result["nearest"] and train is not None:
        parts.append(_pairs(result["nearest"], synthetic, train))
    if result.get("sketch"):
        parts.append(_manifolds(result["sketch"]))
    parts += [_table(result["rows"], name) for name in dict.fromkeys(row["features"] for row in result["rows"])]
    if result["notes"]:
        parts.append("<h2>What to bear in mind</h2><ul>")
        parts += [f"<li>{escape(note)}</li>" for note in result["notes"]]
        parts.append("</ul>")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
    body = f"<main>{''.join(parts)}</main>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _plain(value) -> str:
    return " x ".join(map(str, value)) + " px" if isinstance(value, (list, tuple)) else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _table(rows: Sequence[Mapping], features: str) -> str:
    rows, space = [r for r in rows if r["features"] == features], features == SPACE
    shown = (0, 1, 2) if not space else (0, 2) if any(r["real"] is not None for r in rows) else (0,)
    body = []
    for row in rows:
        interval = ""
        if row["low"] is not None:
            interval = f"<small>{_number(row['low'])} to {_number(row['high'])}</small>"
        cells = [_number(row["value"]) + interval, _number(row["matched"]), _number(row["real"])]
        about = escape(f"{row['about']}; {BETTER[row['better']]}")
        cells = "".join(f"<td>{cells[column]}</td>" for column in shown)
        body.append(f'<tr><th scope="row">{escape(row["name"])}<small>{about}</small></th>{cells}</tr>')
    columns = ("Synthetic" if space else "All tiles", "Matched", "Real")
    title = "Space: seams, masks, long range" if space else f"Features: {features}"
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Number", *(columns[i] for i in shown)))
    return (
        f'<h2>{escape(title)}</h2><div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        f'<p class="small">{escape(_READ_SPACE if space else _READ)}</p>'
    )


def _row_of(name: str, images: Sequence[Tensor], count: int = 8) -> str:
    chosen = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
    pictures = "".join(picture(images[int(i)], f"{name} tile {i}") for i in chosen)
    return f'<h3>{name}</h3><div class="tiles">{pictures}</div>'


def _pairs(pairs: Sequence[Mapping], synthetic: Sequence[Tensor], train: Sequence[Tensor]) -> str:
    figures = []
    for pair in pairs:
        s, t = pair["synthetic"], pair["train"]
        images = picture(synthetic[s], f"synthetic tile {s}") + picture(train[t], f"training tile {t}")
        caption = f"synthetic {s}, training {t}; distance {pair['distance']:.2f}"
        figures.append(f'<figure class="pair"><div>{images}</div><figcaption>{caption}</figcaption></figure>')
    return (
        '<h2>Closest pairs</h2><p class="small">Synthetic on the left, its nearest training tile on the right, the '
        f'closest of all first. A copy would show here.</p><div class="pairs">{"".join(figures)}</div>'
    )


def _canvas(pair: Pair) -> str:
    keys = "".join(
        f'<span class="key" style="background:rgb{LABEL_COLOURS[n]}"></span>{LABELS[n]}' for n in np.unique(pair.mask)
    )
    images = picture(to_tensor(pair.image), "the generated canvas", 720)
    labels = picture(to_tensor(colour_mask(pair.mask)), "its mask, one colour a label", 720)
    return (
        f'<h2>The canvas and its mask</h2><div class="two"><figure>{images}</figure><figure>{labels}'
        f"<figcaption>{keys}</figcaption></figure></div>"
    )


def _manifolds(sketch: Mapping[str, Sequence]) -> str:
    """Precision and recall, flattened: the balls of eq. 10 around one set, the points of the other."""
    real, synthetic = (np.array(sketch[name], dtype=float) for name in ("real", "synthetic"))
    real, synthetic = (np.pad(x, ((0, 0), (0, 2 - x.shape[1]))) for x in (real, synthetic))
    points, k = np.concatenate([real, synthetic]), sketch["k"]
    panels = [
        _panel("Precision", real, synthetic, sketch["on_real"], ("real", "synthetic"), points, k),
        _panel("Recall", synthetic, real, sketch["on_synthetic"], ("synthetic", "real"), points, k),
    ]
    return (
        '<h2>Both sets in feature space</h2><p class="small">The first two principal components of the real features. '
        "Dots lie on the manifold of the other set (within a ball of eq. 10, which reaches to the neighbour number "
        f"{k} of its centre) in all {sketch['dimensions']} dimensions, crosses do not. The discs are such balls in "
        "these two dimensions alone: a cross among discs differs in a direction that the flat picture hides.</p>"
        f'<div class="two">{"".join(panels)}</div>'
    )


def _panel(
    name: str,
    centres: np.ndarray,
    others: np.ndarray,
    inside: Sequence[bool],
    names: tuple[str, str],
    points: np.ndarray,
    k: int,
) -> str:
    low, span = points.min(0), max(np.ptp(points, axis=0).max(), 1e-9)
    scale, width, height = 480 / span, 520, 40 + 480 * np.ptp(points[:, 1]) / span

    def place(x: np.ndarray) -> np.ndarray:
        return np.column_stack([20 + (x[:, 0] - low[0]) * scale, height - 20 - (x[:, 1] - low[1]) * scale])

    ball, dot = ("var(--real)", "var(--fake)") if names[0] == "real" else ("var(--fake)", "var(--real)")
    discs = [
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{min(max(r * scale, 1), 999):.1f}"/>'
        for (x, y), r in zip(place(centres), radii(centres, k), strict=True)
    ]
    dots, crosses = [], []
    for (x, y), hit in zip(place(others), inside, strict=True):
        if hit:
            dots.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4"/>')
        else:  # a shape of its own, so that colour is not needed
            crosses.append(f"M{x - 4:.0f},{y - 4:.0f}l8,8m0,-8l-8,8")
    label = f"{name}: {np.mean(inside):.0%} of the {names[1]} points shown lie on the {names[0]} manifold."
    return (
        f'<figure><svg role="img" aria-label="{label}" viewBox="0 0 {width} {height:.0f}">'
        f'<g fill="{ball}" fill-opacity=".13">{"".join(discs)}</g>'
        f'<g fill="{dot}">{"".join(dots)}</g><path d="{"".join(crosses)}" fill="none" stroke="{dot}" stroke-width="2"/>'
        f"</svg><figcaption>{label}</figcaption></figure>"
    )
