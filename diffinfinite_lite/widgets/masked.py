"""Pictures with their masks over them: as outlines, filled, or not at all, with marks that say what to see where.

One HTML string that needs no kernel, no script and asks for nothing outside. One switch serves all pictures; they stand
side by side where there is room, and below each other on a phone, so that no mask lies outside of the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from .pictures import Picture, check_name, data_uris, fill, image_tag
from .regions import STYLE, legend, region_group, region_paths

WAYS = ("outlines", "filled", "none")
Mark = tuple[int, int, str]  # row and column in px, and what is to be seen there


@dataclass(frozen=True)
class Masked:
    """A picture and the mask over it.

    Attributes
    ----------
    picture : with its texts
    mask : labels (H, W), 0 to 5, of the picture's size
    marks : places in it and what is to be seen there, numbered in this order
    """

    picture: Picture
    mask: np.ndarray
    marks: Sequence[Mark] = field(default=())


def masked(
    fields: Sequence[Masked], *, name: str, title: str, way: str = "outlines", budget: int = 900_000, least: int = 260
) -> str:
    """HTML of pictures with one switch for their masks.

    Parameters
    ----------
    fields : the pictures, of one shape
    name : identifier that no other component on the page has: letters, digits, hyphens
    title : what is shown, the name of the group
    way : one of `WAYS`, how masks are shown at first
    budget : bytes that all pictures together may take in the page
    least : CSS px a picture is wide before the next one goes below it

    Returns
    -------
    HTML to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError
        If there are no pictures, pictures of unlike shapes or without texts, a mask of another size, a mark outside of
        its picture, another way to show masks, more bytes than the budget, or a name that is no identifier.

    >>> black = Picture(np.zeros((8, 8, 3), np.uint8), "black", "Black.")
    >>> masked([Masked(black, np.full((8, 8), 3), [(4, 4, "stroma")])], name="toy", title="Toy").count("<figure")
    1
    """
    check_name(name)
    if not fields or way not in WAYS:
        raise ValueError(f"expected pictures and one of the ways {', '.join(WAYS)}, got {len(fields)} and {way!r}")
    for number, one in enumerate(fields):
        height, width = one.picture.pixels.shape[:2]
        if np.shape(one.mask) != (height, width):
            raise ValueError(f"expected a mask of {height} x {width} px, got {np.shape(one.mask)} at {number}")
        outside = [mark for mark in one.marks if not (0 <= mark[0] < height and 0 <= mark[1] < width)]
        if outside:
            raise ValueError(f"expected marks within {height} x {width} px, got {outside[0][:2]} at {number}")
    figures = [
        _figure(one, uri) for one, uri in zip(fields, data_uris([f.picture for f in fields], budget), strict=True)
    ]
    ways = "".join(
        f'<label><input type="radio" name="{name}-way" value="{each}" autocomplete="off"'
        f"{' checked' if each == way else ''}> {each}</label>"
        for each in WAYS
    )
    present = sorted({int(label) for one in fields for label in np.unique(one.mask)} - {0})
    return fill(
        _PAGE,
        NAME=name,
        TITLE=escape(title),
        WAYS=ways,
        LEAST=int(least),
        LEGEND=legend(present),
        STYLE=STYLE,
        FIGURES="\n".join(figures),
    )


def _figure(one: Masked, uri: str) -> str:
    height, width = one.picture.pixels.shape[:2]
    radius = width / 26
    dots = "".join(
        f'<g class="mark"><circle cx="{column}" cy="{row}" r="{radius:.0f}"/><text x="{column}" y="{row}" '
        f'font-size="{1.3 * radius:.0f}" dy=".36em">{number}</text></g>'
        for number, (row, column, _) in enumerate(one.marks, 1)
    )
    said = "".join(f"<li>{escape(text)}</li>" for *_, text in one.marks)
    return f"""<figure><div class="masked-frame">{image_tag(uri, one.picture, style="width: 100%; display: block")}
<svg viewBox="0 0 {width} {height}" aria-hidden="true">{region_group(region_paths(one.mask))}{dots}</svg></div>
<figcaption>{escape(one.picture.caption)}{f"<ol>{said}</ol>" if said else ""}</figcaption></figure>"""


_PAGE = """
<style>
%STYLE%
.masked-pictures { margin: 1em 0; }
.masked-pictures fieldset { border: 0; margin: 0 0 .4rem; padding: 0; display: flex; flex-wrap: wrap;
  gap: .3rem .9rem; }
.masked-pictures legend { float: left; width: auto; margin: 0; padding: 0; font-size: 1em; font-weight: 600; }
.masked-pictures label { min-height: 1.6rem; cursor: pointer; }
.masked-pictures input:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
.masked-grid { display: grid; gap: 1rem; }
.masked-grid figure { margin: 0; min-width: 0; }
.masked-frame { position: relative; border: 1px solid #888; background: #fff; }
.masked-frame svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.masked-frame .mark circle { fill: #fff; stroke: #000; stroke-width: 1.5px; vector-effect: non-scaling-stroke; }
.masked-frame .mark text { fill: #000; font-family: sans-serif; font-weight: 700; text-anchor: middle; }
.masked-grid figcaption { text-align: left; margin-top: .3rem; font-size: .95em; }
.masked-grid figcaption ol { margin: .3rem 0 0; padding-left: 1.4rem; }
.masked-pictures .masked-legend { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin: .5rem 0 0;
  font-size: .9em; }
.masked-legend i { display: inline-block; width: 1em; height: 1em; margin-right: .35em; border: 1px solid #888;
  vertical-align: -.1em; print-color-adjust: exact; }
.masked-pictures:not(:has(input[value="filled"]:checked)) .region-fill,
.masked-pictures:not(:has(input[value="outlines"]:checked)) :is(.region-halo, .region-line) { display: none; }
</style>
<div class="masked-pictures" id="%NAME%" role="group" aria-label="%TITLE%">
<fieldset><legend>Mask</legend>%WAYS%</fieldset>
<div class="masked-grid" style="grid-template-columns: repeat(auto-fit, minmax(min(100%, %LEAST%px), 1fr))">
%FIGURES%
</div>
<p class="masked-legend">%LEGEND%</p>
</div>
"""
