r"""Deep zoom: a picture of any size and its mask on a static page, a few tiles at a time.

Level :math:`\ell` of a pyramid (Deep Zoom Image layout) has :math:`\lceil n / 2^{L - \ell} \rceil` pixels a side, from
one pixel at level 0 to all of them at :math:`L = \lceil \log_2 \max(h, w) \rceil`, in tiles of 254 px and a border of
one pixel that neighbours share. Pictures are halved by averaging, masks by taking every second pixel, so that no label
appears that was not there.

Where the tiles go: while the book is built, the environment variable ``DIFFINFINITE_PAGES`` names ``_assets`` inside
the folder of the pages (set by ``book/_ext/offline.py``, which knows that folder; Sphinx adds to it and deletes
nothing). Pages reach it by the relative address ``_assets/``, also from ``file://``. Without the variable, as in
JupyterLab, the picture is put into the output itself, at most `INLINE` px a side.

The viewer is OpenSeadragon (BSD licence). No wheel of the package index was found to carry it, but the source
distribution of openslide-python does: `fetch_openseadragon` takes that one file, pinned by version and hash, into the
environment, which ``make`` does with ``python -m diffinfinite_lite.widgets.deepzoom``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from ..labels import LABEL_COLOURS, LABELS

VARIABLE = "DIFFINFINITE_PAGES"
ADDRESS = "_assets"  # of that folder, seen from a page
TILE, OVERLAP = 254, 1
INLINE = 2048
QUALITY = 85
SOURCE = ("openslide-python", "1.4.7", "examples/deepzoom/static/openseadragon.js")
SHA256 = "86b60a9088c8c162bef278bbf22e070958ded16acf4627a73e206c95ea42831e"


def pyramid(picture: np.ndarray) -> Iterator[np.ndarray]:
    """Levels of a picture (H, W, 3), averaged, or of a mask (H, W), every second pixel: from full size to one pixel.

    >>> [level.shape for level in pyramid(np.zeros((3, 5), np.uint8))]
    [(3, 5), (2, 3), (1, 2), (1, 1)]
    """
    while True:
        yield picture
        if max(picture.shape[:2]) == 1:
            return
        halved = Image.fromarray(picture).reduce(2) if picture.ndim == 3 else picture[::2, ::2]
        picture = np.asarray(halved)


def write_dzi(picture: np.ndarray, folder: str | Path, name: str) -> dict:
    """Write ``NAME.dzi`` and the tiles in ``NAME_files``; tiles of an earlier picture of that name are removed.

    Parameters
    ----------
    picture : uint8 (H, W, 3), written as JPEG, or labels (H, W), written as PNG in the colours of `LABEL_COLOURS`
    folder : made if needed

    Returns
    -------
    What the .dzi file says, as OpenSeadragon takes it, without the address of the tiles.
    """
    files = Path(folder, f"{name}_files")
    shutil.rmtree(files, ignore_errors=True)
    (height, width), suffix = picture.shape[:2], "jpeg" if picture.ndim == 3 else "png"
    last = math.ceil(math.log2(max(height, width)))
    for step, level in enumerate(pyramid(picture)):
        place = files / str(last - step)
        place.mkdir(parents=True)
        for row in range(math.ceil(level.shape[0] / TILE)):
            for column in range(math.ceil(level.shape[1] / TILE)):
                top, left = (max(0, n * TILE - OVERLAP) for n in (row, column))
                tile = level[top : (row + 1) * TILE + OVERLAP, left : (column + 1) * TILE + OVERLAP]
                (place / f"{column}_{row}.{suffix}").write_bytes(_coded(tile))
    space = "http://schemas.microsoft.com/deepzoom/2008"
    Path(folder, f"{name}.dzi").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Image xmlns="{space}" Format="{suffix}" Overlap="{OVERLAP}" '
        f'TileSize="{TILE}"><Size Width="{width}" Height="{height}"/></Image>\n'
    )
    size = {"Width": str(width), "Height": str(height)}
    return {"xmlns": space, "Format": suffix, "Overlap": str(OVERLAP), "TileSize": str(TILE), "Size": size}


def deep_zoom(
    image: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    name: str,
    title: str,
    mpp: float,
    opacity: float = 0.3,
) -> str:
    """HTML of a viewer: wheel, drag, pinch, buttons and keys; a scale bar; the mask over it with a slider and a legend.

    Parameters
    ----------
    image : uint8 (H, W, 3)
    mask : labels (H, W), 0..4
    name : identifier that no other viewer of the book has: letters, digits, hyphens
    title : what the picture shows, the text for those who cannot see it
    mpp : micrometres per pixel
    opacity : of the mask at first, 0 to 1

    Returns
    -------
    HTML to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError : wrong shape, type or range of an argument.
    FileNotFoundError : OpenSeadragon has not been fetched.
    """
    _check(image, mask, name, mpp, opacity)
    library, pages = openseadragon(), os.environ.get(VARIABLE)
    settings = {"name": name, "title": title, "mpp": mpp, "opacity": opacity}
    pictures = {"image": image} if mask is None else {"image": image, "mask": mask.astype(np.uint8)}
    note, first = "", ""
    if pages:
        for key, picture in pictures.items():
            about = write_dzi(picture, pages, f"{name}-{key}")
            settings[key] = {"Image": {**about, "Url": f"{ADDRESS}/{name}-{key}_files/"}}
        shutil.copy(library, Path(pages, library.name))
        settings["library"] = f"{ADDRESS}/{library.name}"
    else:
        for key, picture in pictures.items():
            level = next(level for level in pyramid(picture) if max(level.shape[:2]) <= INLINE)
            kind = "jpeg" if picture.ndim == 3 else "png"
            coded = base64.b64encode(_coded(level)).decode()
            settings[key] = {"type": "image", "url": f"data:image/{kind};base64,{coded}"}
        settings["mpp"] = mpp * image.shape[1] / level.shape[1]
        if level.shape[:2] != image.shape[:2]:
            note = f" Reduced here to {level.shape[1]} of {image.shape[1]} px across; the built page has all of them."
        code = library.read_text(encoding="utf-8")
        first = f"<script>if (!window.OpenSeadragon) (function (define, module) {{{code}\n}}).call(window);</script>"
    present = [] if mask is None else np.unique(mask).tolist()
    legend = "".join(
        f'<span><i style="background: rgb{LABEL_COLOURS[n]}"></i>{escape(LABELS[n])}</span>' for n in present
    )
    slider = (
        '<label>Mask <input type="range" min="0" max="100" step="5" data-part="opacity" '
        f'value="{round(100 * opacity)}" aria-label="Opacity of the mask, per cent"></label>'
    )
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8").split("\n", 1)[1].strip()
    values = {
        "NAME": name,
        "TITLE": escape(title, quote=True),
        "SLIDER": slider if present else "",
        "LEGEND": f'<p class="deep-zoom-legend">{legend}</p>' if present else "",
        "NOTE": note,
        "SCRIPT": "(" + script + ")(" + json.dumps(settings).replace("</", "<\\/") + ");",
        "FIRST": first,
    }
    html = _PAGE
    for key, value in values.items():
        html = html.replace(f"%{key}%", value)
    return html


def openseadragon() -> Path:
    """The viewer's script in this environment.

    Raises
    ------
    FileNotFoundError : it has not been fetched.
    """
    path = Path(sys.prefix, "share/diffinfinite_lite/openseadragon.js")
    if not path.is_file():
        raise FileNotFoundError(f"expected OpenSeadragon at {path}: run `python -m {__package__}.deepzoom`")
    return path


def fetch_openseadragon() -> Path:
    """Take the viewer's script out of a source distribution of the package index, unless it is there already.

    Raises
    ------
    ConnectionError : pip could not download it.
    ValueError : the file has another SHA-256 than expected.
    """
    path = Path(sys.prefix, "share/diffinfinite_lite/openseadragon.js")
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256:
        return path
    package, version, member = SOURCE
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, "--dest", folder, f"{package}=={version}"], capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise ConnectionError(f"could not download {package} {version}: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            top = archive.getnames()[0].split("/")[0]
            code = archive.extractfile(f"{top}/{member}").read()
    found = hashlib.sha256(code).hexdigest()
    if found != SHA256:
        raise ValueError(f"expected {member} with SHA-256 {SHA256[:12]}..., got {found[:12]}...")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(code)
    return path


def _coded(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    if picture.ndim == 3:
        Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    else:
        labels = Image.fromarray(picture).convert("P")
        labels.putpalette([value for colour in LABEL_COLOURS for value in colour])
        labels.save(file, "PNG", bits=4, optimize=True)
    return file.getvalue()


def _check(image: np.ndarray, mask: np.ndarray | None, name: str, mpp: float, opacity: float) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"expected an image uint8 (H, W, 3), got {image.dtype} of shape {image.shape}")
    if mask is not None and (mask.shape != image.shape[:2] or mask.min() < 0 or mask.max() >= len(LABELS)):
        raise ValueError(
            f"expected labels 0 to {len(LABELS) - 1} of shape {image.shape[:2]}, "
            f"got {mask.min()} to {mask.max()} of shape {mask.shape}"
        )
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise ValueError(f"expected a name of letters, digits and hyphens, got {name!r}")
    if not mpp > 0 or not 0 <= opacity <= 1:
        raise ValueError(f"expected mpp above 0 and an opacity from 0 to 1, got {mpp} and {opacity}")


# Colours come from the page, so that its dark mode is followed.
_PAGE = """%FIRST%
<style>
.deep-zoom { color: inherit; margin: 1em 0; }
.deep-zoom-frame { position: relative; height: min(70vh, 34rem); border: 1px solid #888; background: #fff; }
.deep-zoom [data-part=view] { height: 100%; }
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
  vertical-align: -.1em; }
.deep-zoom [data-part=status] { margin: 0; font-size: .9em; }
.deep-zoom:fullscreen { background: Canvas; color: CanvasText; padding: .5rem; display: flex; flex-direction: column; }
.deep-zoom:fullscreen .deep-zoom-frame { height: auto; flex: 1; }
</style>
<div class="deep-zoom" id="%NAME%" role="group" aria-label="%TITLE%">
<div class="deep-zoom-frame">
<div data-part="view"></div>
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
if __name__ == "__main__":
    print(fetch_openseadragon())
