"""One person's workbench: what the page does becomes a change of the state or a job, and what comes of it goes back.

A plain object. The page sends actions, ``{"do": "set", "name": "seed", "value": "7"}``; `Session.handle` turns each
into a call of the method of that name, an error into one sentence. What the page has to show goes to `show` in named
parts, from any thread: ``state``, ``controls``, ``status``, ``picture``, ``moment``, ``sheet`` and so on.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ..data.encoding import data_uri, encode
from ..errors import explain
from ..labels import CONTEXTS, LABEL_COLOURS, LABELS
from ..pipelines.appearance import to_text
from ..pipelines.config import SamplingConfig
from ..pipelines.pair import Pair
from .appearances import NONE, REACH, Appearances, real_tiles
from .controls import control, shown_fields
from .drawing import Drawing
from .emergence import Emergence
from .figures import difference, measure
from .jobs import CANCELLED, DONE, FAILED, Job
from .neighbours import Picked, survey
from .state import MASK_FILE, OTHER, State
from .studio import Finished, Studio, contact_sheet, in_full
from .uploads import GEOJSON, Upload, read_drawn, read_picture, read_run, to_geojson
from .versions import Version

KEPT = 60  # pictures for the neighbours, and versions to step back to
PAINTING = ("explore", "paint")  # tabs that show the picture of the state, and paint it when the state changes
BLANK = LABELS.index("air")  # what a mask is before anything is drawn
Show = Callable[..., None]


def shown(pixels: np.ndarray, kind: str = "webp") -> str:
    """A picture or a mask as the page takes it."""
    return data_uri(encode(pixels, kind, **({"quality": 90, "method": 1} if kind == "webp" else {})), kind)


class Session:
    """What one person has in front of them.

    Parameters
    ----------
    studio : that all sessions of a server share
    show : called with parts of the page as keywords, in any thread
    query : parameters of the address, see `State.from_query`
    """

    def __init__(self, studio: Studio, show: Show, query: str = "") -> None:
        self.studio, self.show = studio, show
        self.state, self.job, self.version = State(), None, None
        self.pictures: list[Picked] = []
        self.drawing = Drawing(np.full(self.state.size, BLANK, np.uint8))
        self._live, self._key, self._newest = True, f"session {id(self)}", 0
        self._sheet: list[tuple[str, State]] = []
        self._thumbs: list[str] = []
        self._versions: dict[bytes, Version] = {}
        self._emergence: Emergence | None = None
        self._appearances = Appearances(studio)
        self._tiles: list[tuple[str, str, str, np.ndarray]] = []
        self._ends: list[tuple[str, str]] = [("", "")] * 2  # of a morph: appearance and picture
        self._axes_of = ""  # context whose axes the page shows
        self._lock = threading.RLock()
        self._fault = ""
        try:
            self.state = State.from_query(query) if query else State().change("quality", studio.preview)
        except ValueError as error:
            self._fault = f"The link was not understood: {explain(error)}"
        if self.state.mask is not None:
            self.drawing = Drawing(self.state.mask)

    # -- what the page does ----------------------------------------------------------------------------------------

    def handle(self, action: Mapping[str, Any]) -> None:
        """Do what the page asks for; what is wrong with it is shown as one sentence."""
        arguments = dict(action)
        name = str(arguments.pop("do", ""))
        try:
            method = getattr(self, f"do_{name}", None)
            if method is None:
                raise ValueError(f"expected an action of the workbench, got {name!r}")
            with self._lock:
                self.show(fault="")
                method(**arguments)
        except Exception as error:
            self.show(fault=explain(error))
            self._show_state()  # a control that was refused goes back

    def do_open(self) -> None:
        """The page is there: everything it shows, and the first picture."""
        self._show_state()
        self._show_mask()
        self.show(fault=self._fault, status=_idle())
        if self.state.tab in PAINTING and not self._fault:
            self.do_paint()

    def do_set(self, name: str, value: str) -> None:
        """A control was turned."""
        changed = self.state.change(name, str(value))
        resized = changed.size != self.state.size
        self.state = changed
        if resized:
            self.drawing = Drawing(np.full(changed.size, BLANK, np.uint8))
            self._show_mask()
        self._show_state()
        if name == "context" and self._axes_of:
            self.do_axes()
        turned = name not in ("tab", "sweep") and not name.startswith(OTHER)
        idle = self.job is None or self.job.over
        if self.state.tab in PAINTING and (turned or (name == "tab" and idle)):
            self.do_paint()

    def do_live(self, on: bool) -> None:
        """Whether strokes are painted at once."""
        self._live = bool(on)

    def do_cancel(self) -> None:
        """Stop what is being computed, or wait no longer for it."""
        self.studio.queue.cancel(self._key)

    def do_paint(self) -> None:
        """Paint the picture of the state, unless it is there already."""
        known = self._versions.get(_digest(self.state))
        if known:
            self._take(known)
            self.show(status=_idle())
        elif self.version and self._follows(self.version):
            before, state = self.version, self.state
            self._start(
                lambda job: self.studio.retouch(job, before.pair, state.mask),
                lambda pair: self._take(Version(state, pair, before, before.opened)),
            )
        else:
            state = self.state
            self._start(lambda job: self._watch(job, state), self._finish)

    def do_level(self, level: int) -> None:
        """Show what was estimated after a level."""
        emergence = self._emergence
        if emergence is None:
            raise ValueError("expected a picture that was painted here, got none yet")
        number = int(level)
        self._beside(
            "level", lambda job: emergence.show(number), lambda found: self.show(moment=_moment(number, found))
        )

    # -- contact sheet and comparison ------------------------------------------------------------------------------

    def do_sheet(self) -> None:
        """Pictures of many seeds, or of the values of one setting, at few steps."""
        self._sheet = contact_sheet(self.state, self.studio.preview)
        self._thumbs = [""] * len(self._sheet)
        items = self._sheet
        self._show_sheet()
        self._start(lambda job: self._draw_sheet(job, items), lambda _: None)

    def _draw_sheet(self, job: Job, items: Sequence[tuple[str, State]]) -> None:
        for number, (name, state) in enumerate(items):
            done = self.studio.paint(job, state)
            with self._lock:
                if items is self._sheet:
                    self._thumbs[number] = shown(done.pair.image)
                    self._keep(name, done.pair)
                    self._show_sheet()

    def do_pick(self, number: int) -> None:
        """Finish one picture of the contact sheet at full quality; the state becomes its state."""
        if not 0 <= int(number) < len(self._sheet):
            raise ValueError(f"expected a picture of the contact sheet, got number {number}")
        _, state = self._sheet[int(number)]
        self.state = replace(in_full(state), tab=self.state.tab)
        self._show_state()
        self.do_paint()

    def do_same(self) -> None:
        """The second setting of the comparison becomes the first one, to differ from it in one thing next."""
        self.state = replace(self.state, other=self.state.config)
        self._show_state()

    def do_compare(self) -> None:
        """Two pictures at one seed, under one mask, and what tells them apart."""
        state = self.state
        second = replace(state, config=state.other)
        self._start(lambda job: self._both(job, state, second), lambda found: self.show(comparison=found))

    def _both(self, job: Job, state: State, second: State) -> dict[str, Any]:
        one, other = (self.studio.paint(job, which).pair for which in (state, second))
        figures = []
        for name, pair in (("A", one), ("B", other)):
            job.begin("figures", 0)
            figures.append(asdict(measure(pair)))
            with self._lock:
                self._keep(name, pair)
        apart = shown(difference(one.image, other.image))
        pictures = {"a": shown(one.image), "b": shown(other.image), "difference": apart}
        return pictures | {"figures": figures, "size": list(one.image.shape[:2])}

    # -- the mask under the brush ----------------------------------------------------------------------------------

    def do_draw(self, tool: str, label: int = 0, points: Sequence = (), radius: float = 0) -> None:
        """A tool was used on the mask."""
        tools = {
            "brush": lambda: self.drawing.stroke(points, label, radius),
            "eraser": lambda: self.drawing.stroke(points, LABELS.index("unknown"), radius),
            "polygon": lambda: self.drawing.polygon(points, label),
            "fill": lambda: self.drawing.fill(points[0] if points else (), label),
            "clear": lambda: self.drawing.clear(label),
            "undo": self.drawing.undo,
            "redo": self.drawing.redo,
        }
        if tool not in tools:
            raise ValueError(f"expected a tool among {', '.join(tools)}, got {tool!r}")
        tools[tool]()
        self._drawn()

    def do_generated_mask(self) -> None:
        """Leave the mask to the model again."""
        self.state = self.state.draw(None)
        self._show_state()
        self.do_paint()

    def do_load(self, files: Sequence[Mapping[str, str]]) -> None:
        """A mask (PNG, GeoJSON) or the files of a run."""
        uploads = [Upload.read(file) for file in files]
        run = read_run(uploads)
        if run is None:
            mask = read_drawn(uploads, self.drawing.mask.shape)
            state = self.state.draw(mask)  # refuses a size that the workbench does not paint
            if mask.shape == self.drawing.mask.shape:
                self.drawing.load(mask)
            else:
                self.drawing = Drawing(mask)
            self.state = state
            self._drawn()
            return
        config = replace(SamplingConfig.from_run(run.run), batch_size=None, compiled=False)
        state = replace(self.state, config=config, other=replace(self.state.other, seed=config.seed))
        self.state = state.change("context", str(run.run["context"])).draw(run.mask)
        self.drawing = Drawing(run.mask)
        self._take(Version(self.state, run, opened=True))
        self._show_mask()

    def do_save(self, what: str) -> None:
        """Hand out a file: "mask", "geojson", "picture" or "pair"."""
        mask = self.drawing.mask
        if what == "mask":
            self._hand_out(MASK_FILE, encode(mask, "png"))
            return
        if what == "geojson":
            self._hand_out(f"mask{GEOJSON}", to_geojson(mask))
            return
        version = self._in_view()
        if what == "picture":
            self._hand_out("image.png", encode(version.pair.image, "png"))
        elif what == "pair":
            self._hand_out("pair.zip", version.archive(**self._places()))
        else:
            raise ValueError(f"expected mask, geojson, picture or pair, got {what!r}")

    def do_neighbours(self) -> None:
        """Where the pictures lie among the training tiles."""
        pictures, context = list(self.pictures), self.state.context
        self._start(lambda job: survey(job, pictures, context), lambda found: self.show(neighbours=found))

    # -- appearance ------------------------------------------------------------------------------------------------

    def do_axes(self) -> None:
        """Show both ends of the axes of the context's appearances."""
        context = self._axes_of = self.state.context

        def finish(pairs: list) -> None:
            shares = self._appearances.axes(context).shares
            ends = [[shown(end) for end in pair] for pair in pairs]
            self.show(axes=[{"ends": pair, "share": share} for pair, share in zip(ends, shares, strict=False)])

        self._beside("axes", lambda job: self._appearances.ends(job, context), finish)

    def do_turn(self, axis: int, value: float) -> None:
        """Another place on an axis of the appearance."""
        self._appear(self._appearances.turn(self.state, int(axis), float(value)))

    def do_like(self, source: str, number: int = 0, files: Sequence[Mapping[str, str]] = ()) -> None:
        """The appearance of another picture: "view", "file" or "tile"."""
        if source == "file":
            image = read_picture([Upload.read(file) for file in files])
        elif source == "tile":
            if not 0 <= int(number) < len(self._tiles):
                raise ValueError(f"expected one of {len(self._tiles)} real tiles, got number {number}")
            image = self._tiles[int(number)][3]
        elif source == "view":
            image = self._in_view().pair.image
        else:
            raise ValueError(f"expected view, file or tile, got {source!r}")
        self._appear(self._appearances.like(image))

    def do_tiles(self, seed: int = 0) -> None:
        """Real tiles of the context, to choose one that is to be imitated."""
        context = self.state.context

        def finish(tiles: list) -> None:
            self._tiles = tiles
            names = ("name", "source", "licence")
            self.show(tiles=[dict(zip(names, tile[:3], strict=True)) | {"image": shown(tile[3])} for tile in tiles])

        self._beside("tiles", lambda job: real_tiles(context, int(seed)), finish)

    def do_end(self, side: int) -> None:
        """The appearance of the picture in view is one end of a morph: 0 the left one, 1 the right one."""
        if side not in (0, 1):
            raise ValueError(f"expected the end 0 or 1 of a morph, got {side!r}")
        version = self._in_view()
        code = self._appearances.code(version.state)
        self._ends[side] = (to_text(code.tolist()) or "", shown(version.pair.image))
        self._show_appearance()

    def do_morph(self) -> None:
        """From the left end to the right one, across the picture."""
        (left, _), (right, _) = self._ends
        if not left or not right:
            raise ValueError("expected two ends of a morph, got one or none: keep a picture as each of them")
        self._appear(self._appearances.morph(left, right))

    def _appear(self, text: str) -> None:
        self.state = self.state.change("appearance", text)
        self._show_state()
        self.do_paint()

    def _in_view(self) -> Version:
        if self.version is None:
            raise ValueError("expected a picture in view, got none yet")
        return self.version

    def _show_appearance(self) -> None:
        if not self.studio.draft:
            self.show(appearance={"why": NONE})
            return
        text = self.state.config.appearance
        if self.state.config.draft_steps == 0:
            self.show(appearance={"why": "Without steps of the draft there is no appearance: give it some."})
            return
        axes, code = self._appearances.axes(self.state.context), self._appearances.code(self.state)
        places = [round(place, 2) for place in axes.read(code)]
        ends = [image for _, image in self._ends]
        self.show(appearance={"why": "", "text": text or "", "places": places, "reach": REACH, "ends": ends})

    # -- jobs ------------------------------------------------------------------------------------------------------

    def _start(self, work: Callable[[Job], Any], finish: Callable[[Any], None]) -> None:
        """Put work into the queue; what it makes is finished only if nothing newer was asked for."""
        self._newest += 1
        number = self._newest

        def changed(job: Job) -> None:
            with self._lock:
                if number != self._newest:
                    return
                if job.phase == DONE:
                    finish(job.result)
                elif job.phase == FAILED:
                    self.show(fault=job.error)
                self.show(status=_status(job))

        self.job = self.studio.queue.submit(self._key, work, changed)

    def _beside(self, what: str, work: Callable[[Job], Any], finish: Callable[[Any], None]) -> None:
        """Work that does not overtake the picture, but an earlier request of its own kind."""

        def changed(job: Job) -> None:
            if job.phase == DONE:
                with self._lock:
                    finish(job.result)
            elif job.phase == FAILED:
                self.show(fault=job.error)

        self.studio.queue.submit((self._key, what), work, changed)

    def _watch(self, job: Job, state: State) -> Finished:
        """Paint a picture and show it while it comes about."""
        mask = self.studio.mask_of(job, state)
        with self._lock:  # whoever draws before the picture is there draws on its mask
            if state.mask is None and _digest(self.state) == _digest(state):
                self.drawing = Drawing(mask)
                self._show_mask()
        windows, margin = self.studio.windows_of(state), self.studio.margin
        self.show(run={"windows": windows, "margin": margin, "size": list(state.size), "mask": shown(mask, "png")})

        def level(emergence: Emergence) -> None:
            at = len(emergence.estimates) - 1
            self.show(moment=_moment(at, emergence.pictures.get(at)))

        return self.studio.paint(job, state, level)

    def _finish(self, done: Finished) -> None:
        self._emergence = done.emergence
        self._take(Version(done.state, done.pair))

    def _take(self, version: Version) -> None:
        """This version is what is in front of the person now."""
        if self.version is not version:
            config = version.state.config
            self._keep(f"seed {config.seed}, {config.steps} steps", version.pair)
        self.version = version
        for state in (version.state, version.state.draw(version.pair.mask)):  # a generated mask, and the same one drawn
            self._versions[_digest(state)] = version
        while len(self._versions) > KEPT:
            self._versions.pop(next(iter(self._versions)))
        pair = version.pair
        self.show(
            picture={
                "image": shown(pair.image),
                "mask": shown(pair.mask, "png"),
                "size": list(pair.image.shape[:2]),
                "words": _cost(pair.run),
                "recomputed": pair.run.get("recomputed"),
                "warnings": pair.run.get("warnings", []),
                "alt": f"Generated {version.state.context} tissue, seed {version.state.config.seed}",
            }
        )
        self._show_state()

    def _follows(self, version: Version) -> bool:
        """Whether the state differs from a version in its mask alone, so that strokes can be painted into it."""
        state = self.state
        same = (state.context, state.size) == (version.state.context, version.state.size)
        return same and state.mask is not None and state.config == version.state.config

    def _drawn(self) -> None:
        """The mask was changed by hand."""
        self.state = self.state.draw(self.drawing.mask)
        self._show_mask()
        self._show_state()
        if self._live:
            self.do_paint()

    def _keep(self, name: str, pair: Pair) -> None:
        self.pictures = [*self.pictures, Picked(name, pair.image)][-KEPT:]

    # -- what the page shows ---------------------------------------------------------------------------------------

    def _places(self) -> dict[str, Any]:
        return {"weights": self.studio.weights, "device": self.studio.named_device}

    def _show_state(self) -> None:
        state = self.state
        try:
            link, no_link = state.to_query(), ""
        except ValueError as error:
            link, no_link = replace(state, mask=None).to_query(), explain(error)
        current = self._versions.get(_digest(state))
        controls = self._controls(state.config)
        self.show(
            state={
                "seed": next(shown for shown in controls if shown["name"] == "seed"),
                "context": state.context,
                "size": f"{state.size[0]}x{state.size[1]}",
                "tab": state.tab,
                "sweep": state.sweep,
                "drawn": state.mask is not None,
                "link": link,
                "no_link": no_link,
                "command": (current.commands if current else state.command)(**self._places()),
                "python": (current or state).python(**self._places()),
            },
            controls={
                "a": controls,
                "b": [c for c in self._controls(state.other) if c["name"] != "seed"],
            },
        )
        self._show_appearance()

    def _controls(self, config: SamplingConfig) -> list[dict]:
        """The controls of what the model has a use for, with what their defaults stand for."""
        usual = self.studio.usual(config, self.state.size)
        return [
            control(field, getattr(config, field.name)) | {"usual": usual.get(field.name, "")}
            for field in shown_fields(config, lacking=self.studio.lacking)
        ]

    def _show_mask(self) -> None:
        drawing = self.drawing
        self.show(
            mask={
                "image": shown(drawing.mask, "png"),
                "undo": drawing.steps_back,
                "redo": drawing.steps_forth,
            }
        )

    def _show_sheet(self) -> None:
        names = [name for name, _ in self._sheet]
        self.show(sheet=[{"name": name, "image": image} for name, image in zip(names, self._thumbs, strict=True)])

    def _hand_out(self, name: str, content: bytes) -> None:
        self.show(file={"name": name, "content": base64.b64encode(content).decode()})


def fixed() -> dict[str, Any]:
    """What a page shows and never changes: contexts, tabs, labels and their colours."""
    colours = [list(colour) for colour in LABEL_COLOURS]
    return {"contexts": list(CONTEXTS), "labels": list(LABELS), "colours": colours}


def _digest(state: State) -> bytes:
    """What a version is known by: all that its picture depends on."""
    mask = b"" if state.mask is None else state.mask.tobytes()
    return repr((state.context, state.size, state.config)).encode() + mask


def _cost(run: Mapping[str, Any]) -> str:
    seconds = sum(run["seconds"].get(stage, 0) for stage in ("sampling", "decoding"))
    return f"{run['network_evaluations']} evaluations of the network, {seconds:.1f} s"


def _moment(level: int, picture: np.ndarray | None) -> dict[str, Any]:
    return {"level": level, "image": "" if picture is None else shown(picture)}


def _idle() -> dict[str, Any]:
    return {"phase": DONE, "stage": "", "done": 0, "total": 0, "left": None, "place": 0, "error": ""}


def _status(job: Job) -> dict[str, Any]:
    left = None if job.seconds_left is None else round(job.seconds_left, 1)
    error = "Cancelled." if job.phase == CANCELLED else ""  # what failed stands where all faults do
    shown = {name: getattr(job, name) for name in ("phase", "stage", "done", "total", "place")}
    return shown | {"left": left, "error": error}
