"""Deep zoom: a picture of any size and its mask on a static page, a few tiles at a time.

Where the tiles go: while the book is built, the environment variable ``DIFFINFINITE_PAGES`` names ``_assets`` inside
the folder of the pages (set by ``book/_ext/offline.py``, which knows that folder; Sphinx adds to it and deletes
nothing). Pages reach it by the relative address ``_assets/``, also from ``file://``. Without the variable, as in
JupyterLab, the picture is put into the output itself, at most `INLINE` px a side.

Pyramids are made by `pipelines.pyramid`, tiles by `pipelines.dzi`; the viewer is OpenSeadragon
(`browser_scripts`). The controls around it are in ``deepzoom.js`` beside this module.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from ..browser_scripts import OPENSEADRAGON
from ..data.encoding import data_uri, encode_for_web
from ..labels import LABELS
from ..pipelines.dzi import write_dzi
from ..pipelines.pyramid import pyramid
from .pictures import check_name, fill
from .regions import STYLE, legend, region_group, region_paths

VARIABLE = "DIFFINFINITE_PAGES"
ADDRESS = "_assets"  # of that folder, seen from a page
INLINE = 2048  # px
QUALITY = 85  # of JPEG


def deep_zoom(
    image: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    name: str,
    title: str,
    mpp: float,
    opacity: float = 0.0,
    outlined: bool = True,
) -> str:
    """HTML of a viewer: wheel, drag, pinch, buttons and keys; a scale bar; the mask over it and its legend.

    The mask is drawn as outlines, with a switch, and filled, with a slider for how much it covers.

    Parameters
    ----------
    image : uint8 (H, W, 3)
    mask : labels (H, W), 0 to 5
    name : identifier that no other viewer of the book has: letters, digits, hyphens
    title : what the picture shows, the text for those who cannot see it
    mpp : micrometres per pixel
    opacity : of the filled mask at first, 0 to 1
    outlined : whether the outlines of the mask are shown at first

    Returns
    -------
    HTML to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError
        If an argument has the wrong shape, type or range.
    FileNotFoundError
        If OpenSeadragon has not been fetched.
    """
    _check(image, mask, name, mpp, opacity)
    library, pages = OPENSEADRAGON.find()[0], os.environ.get(VARIABLE)
    pictures = {"image": image} if mask is None else {"image": image, "mask": mask.astype(np.uint8)}
    settings = {"name": name, "title": title, "mpp": mpp, "opacity": opacity}
    note, code = "", ""
    if pages:
        settings |= _write_tiles(pictures, name, Path(pages), library)
    else:
        sources, width = _inline(pictures)
        settings |= {**sources, "mpp": mpp * image.shape[1] / width}
        if width < image.shape[1]:
            note = f" Reduced here to {width} of {image.shape[1]} px across; the built page has all of them."
        script = library.read_text(encoding="utf-8")
        code = f"<script>if (!window.OpenSeadragon) (function (define, module) {{{script}\n}}).call(window);</script>"
    arguments = json.dumps(settings).replace("</", "<\\/")  # a title must not end the script element
    controls = Path(__file__).with_suffix(".js").read_text(encoding="utf-8").split("\n", 1)[1].strip()
    present = [] if mask is None else np.unique(mask).tolist()
    return fill(
        _PAGE,
        NAME=name,
        TITLE=escape(title),
        LIBRARY=code,
        WIDTH=image.shape[1],
        HEIGHT=image.shape[0],
        SLIDER=fill(_SLIDER, PERCENT=round(100 * opacity), CHECKED="checked" if outlined else "") if present else "",
        OUTLINES=_outlines(mask) if mask is not None else "",
        STYLE=STYLE,
        LEGEND=f'<p class="deep-zoom-legend">{legend(present)}</p>' if present else "",
        NOTE=note,
        SCRIPT=f"({controls})({arguments});",
    )


def _write_tiles(pictures: Mapping[str, np.ndarray], name: str, pages: Path, library: Path) -> dict:
    """Write tiles and the viewer's script beside the pages; returns where a page finds them, for the viewer."""
    sources: dict[str, object] = {"library": f"{ADDRESS}/{library.name}"}
    for key, picture in pictures.items():
        about = write_dzi(pyramid(picture), pages, f"{name}-{key}", quality=QUALITY)
        sources[key] = {"Image": {**about, "Url": f"{ADDRESS}/{name}-{key}_files/"}}
    shutil.copy(library, pages / library.name)
    return sources


def _inline(pictures: Mapping[str, np.ndarray]) -> tuple[dict, int]:
    """Pictures as parts of the page, halved until they are small enough, for the viewer; and their width in px."""
    sources = {}
    for key, picture in pictures.items():
        level = next(level for level in pyramid(picture) if max(level.shape[:2]) <= INLINE)
        kind, data = encode_for_web(level, QUALITY)
        sources[key] = {"type": "image", "url": data_uri(data, kind)}
    return sources, level.shape[1]


def _outlines(mask: np.ndarray) -> str:
    return (
        f'<svg data-part="outlines" aria-hidden="true" data-width="{mask.shape[1]}">'
        f"<g>{region_group(region_paths(mask))}</g></svg>"
    )


def _check(image: np.ndarray, mask: np.ndarray | None, name: str, mpp: float, opacity: float) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected an image uint8 (H, W, 3), got {image.dtype} of shape {image.shape}")
    if mask is not None and (mask.shape != image.shape[:2] or mask.min() < 0 or mask.max() >= len(LABELS)):
        raise ValueError(
            f"expected labels 0 to {len(LABELS) - 1} of shape {image.shape[:2]}, "
            f"got {mask.min()} to {mask.max()} of shape {mask.shape}"
        )
    check_name(name)
    if not mpp > 0 or not 0 <= opacity <= 1:
        raise ValueError(f"expected mpp above 0 and an opacity from 0 to 1, got {mpp} and {opacity}")


_SLIDER = """<label><input type="checkbox" data-part="outlined" autocomplete="off" %CHECKED%>
 Outlines of the mask</label>
<label>Filled <input type="range" min="0" max="100" step="5" data-part="opacity" value="%PERCENT%"
 aria-label="Opacity of the mask, per cent"></label>"""
# Colours come from the page, so that its dark mode is followed.
_PAGE = """%LIBRARY%
<style>
%STYLE%
.deep-zoom { color: inherit; margin: 1em 0; }
.deep-zoom-frame { position: relative; width: 100%; max-height: min(78vh, 44rem); border: 1px solid #888;
  background: #fff; }
.deep-zoom [data-part=view] { height: 100%; }
.deep-zoom [data-part=outlines] { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.deep-zoom [data-part=outlines] .region-fill { display: none; }
.deep-zoom [data-part=outlines][hidden] { display: none; }
.deep-zoom [data-part=view] :focus-visible { outline: 3px solid #0072b2; outline-offset: -3px; }
.deep-zoom .deep-zoom-scale { position: absolute; left: 10px; bottom: 10px; z-index: 1; pointer-events: none;
  padding: 3px 6px; font: 13px sans-serif; color: #000; background: rgba(255, 255, 255, .85); }
.deep-zoom [data-part=bar] { display: block; height: 4px; background: #000; }
.deep-zoom-controls, .deep-zoom-legend { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center;
  margin: .4rem 0; font-size: .9em; }
.deep-zoom button { color: inherit; background: transparent; border: 1px solid currentColor; border-radius: 4px;
  min-width: 2.4rem; padding: .35rem .6rem; cursor: pointer; }
.deep-zoom button:hover { background: rgba(128, 128, 128, .25); }
.deep-zoom button:focus-visible, .deep-zoom input:focus-visible { outline: 3px solid #0072b2; outline-offset: 2px; }
.deep-zoom label { display: inline-flex; gap: .4rem; align-items: center; }
.deep-zoom-legend i { display: inline-block; width: 1em; height: 1em; margin-right: .35em; border: 1px solid #888;
  vertical-align: -.1em; print-color-adjust: exact; }
.deep-zoom [data-part=status] { margin: 0; font-size: .9em; }
.deep-zoom:fullscreen { background: Canvas; color: CanvasText; padding: .5rem; display: flex; flex-direction: column; }
.deep-zoom:fullscreen .deep-zoom-frame { max-height: none; flex: 1; }
</style>
<div class="deep-zoom" id="%NAME%" role="group" aria-label="%TITLE%">
<div class="deep-zoom-frame" style="aspect-ratio: %WIDTH% / %HEIGHT%">
<div data-part="view"></div>
%OUTLINES%
<div class="deep-zoom-scale"><span data-part="length"></span><span data-part="bar"></span></div>
</div>
<div class="deep-zoom-controls">
<button type="button" data-part="in" aria-label="Zoom in">+</button>
<button type="button" data-part="out" aria-label="Zoom out">−</button>
<button type="button" data-part="home">Whole picture</button>
<button type="button" data-part="full">Full screen</button>
%SLIDER%
</div>
%LEGEND%
<p><span data-part="status" aria-live="polite">The viewer needs JavaScript.</span>%NOTE%</p>
</div>
<script>
%SCRIPT%
</script>
"""
