"""Live controls in JupyterLab: `explore` turns sampling settings, `paint` draws a mask. All work is `generate`'s.

Both run the model in a thread, so that the page stays alive: the bar shows the levels done, Cancel stops after the
current one, and whatever is changed while the model works starts it again with the new values. Of a model that has a
draft the first thing to see is that, level by level, long before the picture is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, fields

import numpy as np
from skimage.draw import line
from skimage.morphology import dilation, disk

from ..extras import extra
from ..labels import CONTEXTS, LABELS, colour_mask
from ..pipelines.config import SamplingConfig
from ..pipelines.generate import generate
from ..pipelines.pair import Pair
from .pictures import Picture, data_uris, image_tag

DESCRIBED = {"style": {"description_width": "7rem"}, "layout": {"width": "22rem"}}

with extra("course"):
    import holoviews as hv
    import ipywidgets as widgets
    import panel as pn


class Cancelled(Exception):
    """The run was stopped or overtaken by a newer one."""


class Worker:
    """At most one run of the model at a time, the newest one.

    Parameters
    ----------
    done : called with the finished `Pair`.
    failed : called with the error's sentence.
    progress : called with levels done and levels to do.
    preview : called with the draft so far, uint8 (H/8, W/8, 3), after each of its levels.
    """

    def __init__(
        self,
        done: Callable[[Pair], None],
        failed: Callable[[str], None],
        progress: Callable[[int, int], None],
        preview: Callable[[np.ndarray], None] = lambda draft: None,
    ):
        self.done, self.failed, self.progress, self.preview = done, failed, progress, preview
        self._newest, self._thread, self._one_at_a_time = 0, None, threading.Lock()

    def cancel(self) -> None:
        """Let the current run stop after its level."""
        self._newest += 1

    def start(self, **settings) -> None:
        """Run `generate` with these arguments instead of what runs now."""
        self.cancel()
        self._thread = threading.Thread(target=self._run, args=(self._newest, settings), daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Return when the newest run has ended."""
        if self._thread:
            self._thread.join(seconds)

    def _run(self, number: int, settings: dict) -> None:
        def watched(items: Iterable, total: int, part: str) -> Iterator:
            for done, item in enumerate(items, start=1):
                if number != self._newest:
                    raise Cancelled
                if part == "sampling":
                    self.progress(done, total)
                    if (draft := item.preview()) is not None:
                        self.preview(draft)
                yield item

        with self._one_at_a_time:
            if number != self._newest:
                return
            try:
                pair = generate(progress=watched, **settings)
            except Cancelled:
                return
            except (ValueError, FloatingPointError) as error:
                self.failed(str(error))
                return
        if number == self._newest:
            self.done(pair)


def picture(rgb: np.ndarray, alt: str, *, pixels: int = 320) -> str:
    """An HTML picture of an array uint8 (H, W, 3), so many px wide."""
    shown = Picture(rgb, alt, "")
    return image_tag(*data_uris([shown], budget=2_000_000), shown, style=f"width: {pixels}px")


def controls(config: SamplingConfig) -> dict[str, widgets.Widget]:
    """A control for every field of the settings that changes the picture, by name, which starts at its value there.

    What kind of control it is follows from the field: a menu of its choices or of a few values, a slider over its span,
    else a box that takes any value. A field that may be None has a menu, whose first entry leaves it to the default.
    """
    made = {}
    for field in fields(config):
        hints = field.metadata.get("control") or {}
        if not hints.get("hidden"):
            made[field.name] = _control(field, getattr(config, field.name), hints)
    return made


def _control(field: Field, value: object, hints: dict) -> widgets.Widget:
    shown = {"description": hints.get("label", field.name), "tooltip": field.metadata.get("help", ""), **DESCRIBED}
    choices, span = field.metadata.get("choices"), hints.get("span")
    if choices:
        return widgets.Dropdown(options=list(choices), value=value, **shown)
    if field.default is None:
        values = {str(entry): entry for entry in (*hints.get("values", ()), value) if entry is not None}
        return widgets.Dropdown(options={"default": None, **values}, value=value, **shown)
    if isinstance(value, bool):
        return widgets.Checkbox(value=value, **shown)
    if span:
        kind = widgets.IntSlider if isinstance(value, int) else widgets.FloatSlider
        low, high, step = span
        return kind(value=value, min=min(low, value), max=max(high, value), step=step, continuous_update=False, **shown)
    if isinstance(value, int):
        return widgets.BoundedIntText(value=value, min=0, max=10**6, **shown)
    if isinstance(value, float):
        return widgets.FloatText(value=value, **shown)
    return widgets.Text(value=str(value), continuous_update=False, **shown)


def explore(
    size: tuple[int, int] = (224, 224),
    *,
    steps: int = 10,
    device: str | None = None,
    config: SamplingConfig | None = None,
) -> widgets.Widget:
    """Controls for every sampling setting beside the patch they give; the mask depends on context and seed alone.

    Parameters
    ----------
    size : (H, W) of the patch in px.
    config : where the controls start; at the defaults with few steps of dpm-solver++ if there is none.
    steps : where the steps slider starts then.

    Returns
    -------
    an ipywidgets box; its ``worker`` runs the model, and ``controls`` are its widgets by name.
    """
    config = SamplingConfig(steps=steps, solver="dpm-solver++") if config is None else config
    context = widgets.Dropdown(options=CONTEXTS, description="context", **DESCRIBED)
    turned = {"context": context, **controls(config)}
    bar = widgets.IntProgress(min=0, max=config.steps, description="levels", **DESCRIBED)
    cancel = widgets.Button(description="Cancel", tooltip="Stop after the current noise level")
    image, labels, words = widgets.HTML(), widgets.HTML(), widgets.HTML()
    masks: dict[tuple[str, int], np.ndarray] = {}

    def show(pair: Pair) -> None:
        masks[pair.run["context"], pair.run["seed"]] = pair.mask
        image.value = picture(pair.image, f"Generated {pair.run['context']} tissue")
        labels.value = picture(colour_mask(pair.mask), "Its label mask", pixels=160)
        spent = sum(pair.run["seconds"].get(part, 0) for part in ("mask", "sampling", "decoding"))
        words.value = f"{pair.run['network_evaluations']} network evaluations, {spent:.1f} s"

    def fail(sentence: str) -> None:
        words.value = sentence

    def advance(done: int, total: int) -> None:
        bar.max, bar.value = total, done

    def emerge(draft: np.ndarray) -> None:
        image.value, words.value = picture(draft, "Draft of the tissue, an eighth of its size"), "draft"

    worker = Worker(show, fail, advance, emerge)

    def run(_=None) -> None:
        values = {name: control.value for name, control in turned.items()}
        bar.value, words.value = 0, "sampling"
        mask = masks.get((values["context"], values["seed"]))
        worker.start(config=config, **values, mask=mask, size=size, device=device)

    def stop(_) -> None:
        worker.cancel()
        words.value = "cancelled"

    for control in turned.values():
        control.observe(run, "value")
    cancel.on_click(stop)
    run()
    box = widgets.HBox(
        [widgets.VBox([*turned.values(), widgets.HBox([bar, cancel]), words]), image, labels],
        layout={"flex_flow": "row wrap", "grid_gap": "1rem"},
    )
    box.worker, box.controls = worker, turned
    return box


def stroke(mask: np.ndarray, xs: np.ndarray, ys: np.ndarray, label: int, radius: int) -> np.ndarray:
    """The mask with one brush stroke on it.

    Parameters
    ----------
    mask : uint8 (H, W)
    xs, ys : columns and rows the pointer passed, px; what lies outside is cut off.
    radius : of the round brush, px.

    >>> stroke(np.zeros((3, 5), np.uint8), np.array([1, 3]), np.array([1, 1]), 2, 0).tolist()[1]
    [0, 2, 2, 2, 0]
    """
    touched = np.zeros(mask.shape, bool)
    points = np.rint(np.c_[ys, xs]).astype(int)
    for a, b in zip(points, [*points[1:], points[-1]], strict=True):
        rows, columns = line(*a, *b)
        inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
        touched[rows[inside], columns[inside]] = True
    return np.where(dilation(touched, disk(radius)), np.uint8(label), mask)


def paint(size: tuple[int, int] = (256, 384), *, steps: int = 12, device: str | None = None) -> pn.viewable.Viewable:
    """Draw a label mask with the mouse and have tissue painted under it.

    Parameters
    ----------
    size : (H, W) of the mask in px, multiples of 8.

    Returns
    -------
    a Panel layout; its ``worker`` runs the model, ``mask()`` gives the labels drawn so far.
    """
    hv.extension("bokeh", inline=True)
    pn.extension(inline=True)
    state = {"mask": np.full(size, LABELS.index("others"), np.uint8)}
    label = pn.widgets.RadioButtonGroup(label="label", options=list(LABELS), value="carcinoma")
    radius = pn.widgets.IntSlider(label="brush radius, px", start=4, end=48, value=20)
    context = pn.widgets.Select(label="context", options=list(CONTEXTS))
    seed = pn.widgets.IntInput(label="seed", value=0, start=0)
    button = pn.widgets.Button(label="Paint tissue", color="primary")
    cancel = pn.widgets.Button(label="Cancel")
    bar = pn.indicators.Progress(label="levels", value=0, max=steps)
    tissue, words = pn.pane.HTML(), pn.pane.HTML()
    height, width = size
    bounds = (0, 0, width, height)

    def drawn() -> hv.RGB:
        return hv.RGB(colour_mask(state["mask"]), bounds=bounds).opts(
            width=width + 60, height=height + 60, xaxis=None, yaxis=None, toolbar="above", title="mask"
        )

    pipe = hv.streams.Pipe(data=None)
    canvas = hv.DynamicMap(lambda data: drawn(), streams=[pipe])
    path = hv.Path([])
    strokes = hv.streams.FreehandDraw(source=path, num_objects=1)

    def add(data: dict | None) -> None:
        if data and data.get("xs") and len(data["xs"][-1]):
            xs, ys = np.array(data["xs"][-1]), height - np.array(data["ys"][-1])
            state["mask"] = stroke(state["mask"], xs, ys, LABELS.index(label.value), radius.value)
            pipe.send(None)

    strokes.add_subscriber(add)

    def show(pair: Pair) -> None:
        tissue.object = picture(pair.image, "Generated tissue under the mask drawn", pixels=width)
        words.object = f"{pair.run['network_evaluations']} network evaluations"

    def advance(done: int, total: int) -> None:
        bar.max, bar.value = total, done

    def emerge(draft: np.ndarray) -> None:
        tissue.object = picture(draft, "Draft of the tissue, an eighth of its size", pixels=width)
        words.object = "draft"

    worker = Worker(show, lambda sentence: setattr(words, "object", sentence), advance, emerge)
    settings = {"steps": steps, "solver": "dpm-solver++", "device": device}
    button.on_click(lambda _: worker.start(context=context.value, mask=state["mask"], seed=seed.value, **settings))
    cancel.on_click(lambda _: worker.cancel())
    layout = pn.Row(
        pn.Column(label, radius, pn.pane.HoloViews(canvas * path)),
        pn.Column(context, seed, pn.Row(button, cancel), bar, tissue, words),
    )
    layout.worker, layout.strokes, layout.mask = worker, strokes, lambda: state["mask"]
    return layout
