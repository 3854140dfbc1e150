"""A page that paints tissue without a kernel: a mask is drawn and the networks run in the visitor's browser.

The page part is HTML with one small script. What is heavy, the networks and onnxruntime-web, lies beside the page and
is loaded on a click: as scripts of base64, since a page that was opened from a file may load scripts and nothing else.
So it works from any static web server and from a file, and asks nobody else. The networks run in Web Workers, on the
processor (WebAssembly) or, where the browser has WebGPU, on the graphics card.

Several workers take the place of threads, which a browser allows only to servers that send certain headers: two calls
of the network run side by side, be they the two of eq. 2, two windows, or a window and the decoder.

`browser_graphs` makes the networks, `browser_scripts` brings onnxruntime-web; ``browser_sampler.js`` is the sampling,
``browser_worker.js`` the worker, ``browser_page.js`` the page. The Sphinx extension ``book/_ext/browser.py`` puts it
into the book.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import torch

from ..browser_scripts import ONNX_RUNTIME
from ..labels import CELL_PX, CONTEXTS, LABEL_COLOURS, LABELS
from ..sampling.plans import mixture
from .browser_graphs import AXES, Facts
from .pictures import fill

CHUNK = 3_000_000  # bytes of a script: the bar moves on after each
BUILDS = {"webgpu": "graphics card, if there is one", "wasm": "processor"}
RUNTIME = {  # code and machine code of each build, of `browser_scripts.ONNX_RUNTIME`
    "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
}
RAMP = ((16, 42, 84), (232, 238, 246))  # of the timestep map: no steps left, all of them
HERE = Path(__file__).parent


def write_page(graphs: Path, facts: Facts, folder: Path, address: str) -> str:
    """Write what the page loads, and return its HTML.

    Parameters
    ----------
    graphs, facts : of `browser_graphs.shipped_graphs`
    folder : where the files go
    address : of that folder, seen from the page

    Returns
    -------
    HTML of the page part.

    Raises
    ------
    FileNotFoundError
        If onnxruntime-web has not been fetched.
    """
    runtime = ONNX_RUNTIME.find()[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    builds: dict[str, dict[str, Any]] = {}
    model = _scripts({Path(file).stem: graphs / file for file in facts.graphs}, folder, address)
    for name in BUILDS:
        code, machine_code = (runtime / file for file in RUNTIME[name])
        files = _scripts({f"{name}-code": code, f"{name}-machine": machine_code}, folder, address)
        builds[name] = {"files": files, "runtime": {"code": f"{name}-code", "machineCode": f"{name}-machine"}}
        builds[name]["megabytes"] = math.ceil(sum(file["bytes"] for file in model + files) / 1e6)
    settings = {
        "facts": asdict(facts),
        "labels": LABELS,
        "colours": LABEL_COLOURS,
        "ramp": RAMP,
        "model": model,
        "graphs": [Path(file).stem for file in facts.graphs],
        "builds": builds,
    }
    worker = json.dumps(_source("browser_worker.js"))
    code = f"{_source('browser_sampler.js')}\nconst WORKER = {worker};\n{_source('browser_page.js')}"
    (folder / "paint.js").write_text(code, "utf8")
    sizes = {cells * CELL_PX: _windows(cells, facts) for cells in (facts.patch, 2 * facts.patch)}
    return fill(
        _PAGE,
        STYLE=_source("browser_page.css"),
        SETTINGS=escape(json.dumps(settings)),
        LABELS="".join(_label(number) for number in (*range(1, len(LABELS)), 0)),
        CONTEXTS="".join(f"<option>{context}</option>" for context in CONTEXTS),
        DRAFT=_DRAFT.replace("%AXES%", "".join(map(_axis, range(AXES)))) if facts.draft else "",
        SIZES="".join(f'<option value="{px}">{escape(text)}</option>' for px, text in sizes.items()),
        BUILDS="".join(_build(name, model, builds[name]) for name in BUILDS),
        SCRIPT=f"{address}/paint.js",
    )


def _scripts(named: dict[str, Path], folder: Path, address: str) -> list[dict[str, Any]]:
    """Files as scripts that hand over their bytes, gzipped, in base64; where a page finds them, and their sizes."""
    made = []
    for name, file in named.items():
        text = base64.b64encode(gzip.compress(file.read_bytes(), mtime=0)).decode("ascii")
        for number, start in enumerate(range(0, len(text), CHUNK)):  # a multiple of 4: every part decodes by itself
            script = folder / f"{name}-{number}.js"
            script.write_text(f'BrowserPaint.take("{name}", {number}, "{text[start : start + CHUNK]}");\n', "ascii")
            made.append({"address": f"{address}/{script.name}", "bytes": script.stat().st_size})
    return made


def _windows(cells: int, facts: Facts) -> str:
    """How large a picture of so many cells a side is, and in how many windows.

    >>> _windows(56, Facts(channels=8, patch=28, gain=1.0, margin=0, model=""))
    '448 px: 9 windows'
    """
    canvas = cells + 2 * facts.margin
    side = canvas if cells <= facts.patch else facts.patch
    count = len(list(mixture((canvas, canvas), side, torch.Generator())))
    return f"{cells * CELL_PX} px: {'one window' if count == 1 else f'{count} windows'}"


def _source(name: str) -> str:
    return (HERE / name).read_text("utf8")


def _label(number: int) -> str:
    name = "eraser (unknown)" if number == 0 else LABELS[number]
    chosen = " checked" if number == 1 else ""
    return (
        f'<label><input type="radio" name="browser-paint-label" data-part="label" value="{number}"{chosen}>'
        f'<i style="background: rgb{LABEL_COLOURS[number]}"></i>{escape(name)}</label>'
    )


def _axis(number: int) -> str:
    name = ("first", "second")[number]
    return (
        f'<label>Light and stain, {name} axis <input type="range" data-part="axis-{number}" min="-2.5" max="2.5" '
        f'step="0.1" value="0" aria-label="Appearance along its {name} axis, standard deviations from the mean"> '
        f'<output data-part="axis-{number}-value">0</output></label>'
    )


def _build(name: str, model: list[dict[str, Any]], build: dict[str, Any]) -> str:
    """An option whose attribute ``data-loads`` names the files that it loads, for people who check the site."""
    addresses = " ".join(file["address"] for file in model + build["files"])
    return f'<option value="{name}" data-loads="{addresses}">{BUILDS[name]}, {build["megabytes"]} MB</option>'


_DRAFT = """<div class="browser-paint-row">
<label>Steps of the draft <input type="range" data-part="draft-steps" min="0" max="40" step="2" value="10"> <output
 data-part="draft-steps-value">10</output></label>
%AXES%<button type="button" data-part="own-appearance" disabled>Appearance of the seed</button>
</div>
"""
_PAGE = """<style>
%STYLE%</style>
<div class="browser-paint" role="group" aria-label="Paint tissue in the browser" data-settings="%SETTINGS%">
<div class="browser-paint-row">
<fieldset><legend>Draw</legend>%LABELS%</fieldset>
<label>Brush <input type="range" data-part="brush" min="1" max="12" value="4"
 aria-label="Width of the brush, latent pixels"> <output data-part="brush-width">32 px</output></label>
</div>
<div class="browser-paint-row">
<button type="button" data-part="undo">Undo</button>
<button type="button" data-part="redo">Redo</button>
<button type="button" data-part="fill">Fill all</button>
<button type="button" data-part="clear">Clear</button>
<label>Begin with <select data-part="example"><option value="nest">a nest of tumour</option>
<option value="front">an invasive front</option><option value="blank">nothing known</option></select></label>
</div>
<div class="browser-paint-views">
<figure><canvas data-part="mask" width="448" height="448" tabindex="0" role="application" aria-label="Mask"
 aria-describedby="browser-paint-keys"></canvas><figcaption>Mask: what should be where. <span data-part="place"
 aria-live="polite"></span></figcaption></figure>
<figure><canvas data-part="tissue" role="img" aria-label="Nothing painted yet"></canvas><figcaption>Tissue, as the model
 estimates it. <label>Level <input type="range" data-part="level" min="0" max="0" value="0" disabled
 aria-label="Look back at a level"> <output data-part="level-words"></output></label></figcaption></figure>
<div>
<div class="browser-paint-row">
<label>Context <select data-part="context">%CONTEXTS%</select></label>
<label>Seed <input type="number" data-part="seed" min="0" step="1" value="0"></label>
<label>Steps <input type="range" data-part="steps" min="2" max="30" value="10"> <output
 data-part="steps-value">10</output></label>
<label>Guidance ω <input type="range" data-part="omega" min="0" max="4" step="0.25" value="0"> <output
 data-part="omega-value">0</output></label>
<label>Size <select data-part="size">%SIZES%</select></label>
<label>Compute on the <select data-part="build">%BUILDS%</select></label>
</div>
%DRAFT%<div class="browser-paint-row">
<button type="button" data-part="paint">Paint tissue</button>
<button type="button" data-part="another">Another seed</button>
<button type="button" data-part="cancel" disabled>Cancel</button>
<progress data-part="bar" max="1" value="0" aria-label="Progress"></progress>
</div>
<p data-part="status" aria-live="polite">This needs JavaScript.</p>
</div>
<figure><canvas data-part="time" role="img" aria-label="Nothing painted yet"></canvas><figcaption>Timestep map: the
 darker, the fewer steps are left. <span data-part="time-words"></span></figcaption></figure>
</div>
<div class="browser-paint-row">
<button type="button" data-part="save" disabled>Save the picture</button>
<button type="button" data-part="save-mask">Save the mask</button>
</div>
<p>The same picture with the library: <code data-part="same">diffinfinite sample --mask mask.png ...</code></p>
<p id="browser-paint-keys">By keyboard, with the mask in focus: arrows move the brush, Space paints, Shift and an arrow
paint along, 1 to 4 choose a label, 0 or E the eraser, + and − the brush's width, Z undoes, Y redoes.</p>
</div>
<script src="%SCRIPT%"></script>
"""
