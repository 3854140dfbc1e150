"""The report card as one HTML page: inline style, pictures as data, no script and no outside request."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image
from torch import Tensor

from .tiles import to_rgb

REAL, SYNTHETIC = "#0072b2", "#d55e00"  # Okabe and Ito
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;color:#222;
padding:0 1rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{padding:.25rem .6rem;text-align:right}
th{border-bottom:2px solid #222}td{border-bottom:1px solid #ddd}.l{text-align:left}
.tiles{display:flex;flex-wrap:wrap;gap:4px;margin:.5rem 0 1rem}
.tiles img{width:7rem;height:7rem;object-fit:cover}
figure{margin:0}figcaption,.small{font-size:.85rem;color:#555}@media print{body{margin:0}}"""
_READ = (
    "All tiles: the number on everything given, with a 95% interval by resampling. Matched and Real: at one "
    "smaller count, synthetic against real and real against real; compare these two. None of it is an FID: "
    "other networks, sizes and counts give other numbers. For A, Real is what fresh real tiles score."
)
_BETTER = {
    "low": "lower is better",
    "high": "higher is better",
    "zero": "0 is best, below -3 copies",
    "half": "0.5 is best",
    "real": "as Real is best, far below copies",
}


def picture(image: Tensor, alt: str, extent: int = 224) -> str:
    """Image (3, H, W) in [-1, 1] as an ``<img>`` that carries its own JPEG, at most `extent` px.

    >>> import torch
    >>> picture(torch.zeros(3, 8, 8), "grey")[:40]
    '<img alt="grey" src="data:image/jpeg;bas'
    """
    file, rgb = io.BytesIO(), Image.fromarray(to_rgb(image))
    rgb.thumbnail((extent, extent), Image.Resampling.LANCZOS)
    rgb.save(file, "JPEG", quality=88)
    return (
        f'<img alt="{escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'
    )


def headline(result: Mapping) -> list[str]:
    """Two or three sentences that a reader without statistics can use."""
    said = []
    for row in result["rows"]:
        name, features, value, real = row["name"], row["features"], row["value"], row["real"]
        if name == "FD" and row["matched"] is not None and real:
            said.append(
                f"The Fréchet distance on {features} is {row['matched'] / real:.1f} times "
                "that of real tiles among themselves."
            )
        elif name == "C_T":
            verdict = "as near to the training tiles as held-out real ones: no sign of copying"
            if value < -3:
                verdict = "nearer to the training tiles than held-out real ones: copies"
            elif value > 3:
                verdict = (
                    "farther from the training tiles than held-out real ones: no copies, but unlike real"
                )
            said.append(f"On {features} the synthetic tiles are {verdict} (C_T = {value:.1f}).")
    return said


def page(
    result: Mapping,
    real: Sequence[Tensor],
    synthetic: Sequence[Tensor],
    train: Sequence[Tensor] | None,
    title: str,
) -> str:
    """The whole page as HTML text; `result` is that of `report.evaluate` on these images."""
    counts, size = result["counts"], result["size"]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{counts['synthetic']} synthetic tiles against {counts['real']} real ones, "
        f"{size[0]} x {size[1]} px; "
        f"{counts['train'] or 'no'} training tiles.</p>",
        *(f"<p><strong>{escape(sentence)}</strong></p>" for sentence in headline(result)),
        *(_table(result["rows"], name) for name in dict.fromkeys(row["features"] for row in result["rows"])),
        f'<p class="small">{escape(_READ)}</p>',
        *(f'<p class="small">{escape(note)}</p>' for note in result["notes"]),
        "<h2>Samples</h2>",
        _row_of("Real", real),
        _row_of("Synthetic", synthetic),
    ]
    if result["nearest"] and train is not None:
        parts.append("<h2>Closest pairs: synthetic (left), training tile (right)</h2><div class=tiles>")
        for pair in result["nearest"]:
            s, t = pair["synthetic"], pair["train"]
            images = picture(synthetic[s], f"synthetic {s}") + picture(train[t], f"training {t}")
            caption = f"{s} and {t}, distance {pair['distance']:.2f}"
            parts.append(f"<figure>{images}<figcaption>{caption}</figcaption></figure>")
        parts.append("</div>")
    parts += ["<h2>Both sets in feature space</h2>", _scatter(result["sketch"])]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _table(rows: Sequence[Mapping], features: str) -> str:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    body = []
    for row in (r for r in rows if r["features"] == features):
        interval = "" if row["low"] is None else f" ({number(row['low'])} to {number(row['high'])})"
        cells = [number(row["value"]) + interval, number(row["matched"]), number(row["real"])]
        about = f"{row['about']}; {_BETTER[row['better']]}"
        body.append(
            f"<tr><td class=l>{escape(row['name'])}</td>{''.join(f'<td>{c}</td>' for c in cells)}"
            f"<td class=l>{escape(about)}</td></tr>"
        )
    head = "<tr><th class=l>Number<th>All tiles<th>Matched<th>Real<th class=l>What it is</tr>"
    return f"<h2>Features: {escape(features)}</h2><table>{head}{''.join(body)}</table>"


def _row_of(name: str, images: Sequence[Tensor], count: int = 8) -> str:
    chosen = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
    pictures = "".join(picture(images[int(i)], f"{name} {i}") for i in chosen)
    return f"<p>{name}</p><div class=tiles>{pictures}</div>"


def _scatter(sketch: Mapping[str, Sequence], width: int = 560, height: int = 360) -> str:
    """Points of both sets as SVG; real as rings, synthetic as dots, so that colour is not needed."""
    points = np.array([*sketch["real"], *sketch["synthetic"]], dtype=float)
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    low, span = points.min(0), np.maximum(np.ptp(points, axis=0), 1e-9)
    places = 10 + (points - low) / span * [width - 20, height - 20]
    marks = []
    for i, (x, y) in enumerate(places):
        style = (
            f'fill="none" stroke="{REAL}"'
            if i < len(sketch["real"])
            else f'fill="{SYNTHETIC}" fill-opacity=".7"'
        )
        marks.append(f'<circle cx="{x:.1f}" cy="{height - y:.1f}" r="3" {style}/>')
    label = "First two principal components of the real features: real blue rings, synthetic orange dots."
    return (
        f'<figure><svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}">'
        f"{''.join(marks)}</svg><figcaption>{label} Dots where no rings are: precision is lost. "
        "Rings where no dots are: recall is lost. The flat picture hides the other dimensions."
        "</figcaption></figure>"
    )
