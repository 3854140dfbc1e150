"""The work behind a workbench: pictures of states as jobs, for all who share one server.

Everything is `generate`'s and `resynthesise`'s; here it is put together so that a job can say how far it is, and so
that a mask that a context and a seed have already been given is not made twice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..devices import choose_device
from ..labels import CELL_PX
from ..models.pretrained import has_draft, has_student, load_models, sampled_margin
from ..pipelines.config import BEST, BY_STUDENTS, DRAFT_STEPS, FAST, SamplingConfig, configure, usual_patch
from ..pipelines.edit import resynthesise
from ..pipelines.generate import generate
from ..pipelines.masks import generate_mask
from ..pipelines.pair import Pair
from ..pipelines.stages import find_stages
from ..sampling.plans import TRAITS, usual_stride
from .controls import control, read, shown_fields
from .emergence import Box, Emergence, windows_of_levels
from .jobs import Job, Queue
from .state import SEEDS, State

MASKS = 256  # that are remembered
SHEET = 12  # pictures of a contact sheet
FEW, FULL = 6, 50  # steps of a contact sheet, and of a picture that is finished


@dataclass(frozen=True)
class Finished:
    """A picture of a state, and how it came about."""

    state: State
    pair: Pair
    emergence: Emergence | None = None


class Studio:
    """Makes pictures for the sessions of one server.

    Parameters
    ----------
    weights : folder of a model; the shipped one by default
    device : "cpu", "cuda", ...; a GPU is used where torch sees one
    workers : jobs that run at a time

    Attributes
    ----------
    queue : of the jobs of all sessions
    draft : whether the model has a draft, and with it an appearance
    preview : quality of what is to be there soon: fast where the model has students
    margin : latents that it samples around a picture
    """

    def __init__(self, weights: str | Path | None = None, device: str | None = None, workers: int = 1) -> None:
        self.weights = None if weights is None else Path(weights)
        self.device, self.named_device = choose_device(device), device
        self.draft = has_draft(self.weights)
        self.margin = sampled_margin(self.weights)
        self.preview = FAST if has_student(self.weights) else BEST
        self.queue = Queue(workers)
        self._masks: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def usual(self, config: SamplingConfig, size: tuple[int, int]) -> dict[str, str]:
        """What the settings that are left to their default stand for, by name; beside the others of a configuration.

        Parameters
        ----------
        size : (H, W) of the picture in px
        """
        patch = usual_patch(self.weights, size)
        full = replace(config, patch=config.patch or patch)
        strided = TRAITS[full.plan].stride is not None
        return {
            "patch": str(patch),
            "stride": str(CELL_PX * usual_stride(full.plan, full.window)) if strided else "none",
            "eta": "0" if full.solver == "ddim" else "none",
            "draft_steps": str(DRAFT_STEPS),
            "appearance": "that of the seed",
        }

    @property
    def lacking(self) -> set[str]:
        """What the model does not have, see `controls.shown_fields`."""
        has = {"draft": self.draft, "students": self.preview == FAST}
        return {name for name, there in has.items() if not there}

    def mask_of(self, job: Job, state: State) -> np.ndarray:
        """The mask of a state: what was drawn, or what the model makes of its context and seed."""
        if state.mask is not None:
            return state.mask
        key = (state.context, state.size, state.config.seed, state.config.masks, state.config.precision)
        with self._lock:
            found = self._masks.get(key)
        if found is None:
            job.begin("mask", 0)
            model = load_models(self.weights, self.device).mask
            settings = {name: getattr(state.config, name) for name in ("seed", "masks", "precision")}
            found = generate_mask(model, state.context, state.size, device=self.device, **settings)
            with self._lock:
                self._masks[key] = found
                while len(self._masks) > MASKS:
                    self._masks.popitem(last=False)
        return found

    def windows_of(self, state: State) -> list[list[Box]]:
        """The windows of every level of a state's picture."""
        models, config = load_models(self.weights, self.device), configure(state.config, {}, self.weights, state.size)
        return windows_of_levels(find_stages(models, config, state.context, self.weights, self.device), state.size)

    def paint(self, job: Job, state: State, shown: Callable[[Emergence], None] | None = None) -> Finished:
        """The picture of a state, as `generate` paints it.

        Parameters
        ----------
        shown : called after every level with what has come about; None watches nothing
        """
        config = configure(state.config, {}, self.weights, state.size)
        mask = self.mask_of(job, state)
        emergence = Emergence(config) if shown else None

        def progress(items: Iterable, total: int, part: str) -> Iterator:
            if part != "sampling":
                yield from job.follow(items, total, part)
                return
            watched = items if emergence is None else emergence.watch(items)
            for level in job.follow(watched, total, part):
                yield level
                if shown and emergence:
                    shown(emergence)

        pair = generate(state.context, mask, config=config, device=self.device, weights=self.weights, progress=progress)
        return Finished(state, pair, emergence)

    def retouch(self, job: Job, pair: Pair, mask: np.ndarray) -> Pair:
        """The pair under a changed mask: only what depends on the change is painted again."""

        def progress(items: Iterable, total: int, part: str) -> Iterator:
            return job.follow(items, total, "repainting" if part == "sampling" else part)

        return resynthesise(pair, mask, device=self.device, weights=self.weights, progress=progress)


def contact_sheet(state: State, preview: str = BEST) -> list[tuple[str, State]]:
    """What a contact sheet shows: names and states, at few steps.

    Parameters
    ----------
    preview : see `Studio`

    Raises
    ------
    ValueError
        If the setting to sweep has fewer than two values that go with the others.

    >>> [name for name, _ in contact_sheet(State())][:2]
    ['seed 0', 'seed 1']
    """
    if state.sweep == SEEDS:
        values = [str((state.config.seed + number) % 2**64) for number in range(SHEET)]
    else:
        (spec,) = (spec for spec in shown_fields(state.config) if spec.name == state.sweep)
        values = _values(control(spec, getattr(state.config, spec.name)))
    found = []
    for value in values:
        try:
            found.append((f"{state.sweep} {value}", quickly(state.change(state.sweep, value), preview)))
        except ValueError:  # does not go with another setting, such as eta with a solver that has none
            continue
    if len(found) < 2:
        raise ValueError(f"expected values of {state.sweep} that go with the other settings, got {len(found)} of them")
    return found


def _values(shown: dict) -> list[str]:
    """Values to sweep of a control, as text."""
    if shown["kind"] == "menu":
        return shown["options"][:SHEET]
    if shown["kind"] == "slider":
        low, high, step = shown["min"], shown["max"], shown["step"]
        count = min(SHEET, round((high - low) / step) + 1)
        spread = [low + step * round((high - low) / step * k / (count - 1)) for k in range(count)]
        whole = isinstance(read(shown["name"], shown["value"]), int)
        return [str(round(value)) if whole else f"{value:g}" for value in spread]
    return [shown["value"]]


def quickly(state: State, preview: str) -> State:
    """The state at few steps, unless it is the steps that are swept, or by students, unless that is for them to say."""
    steps = state.config.steps if state.sweep == "steps" else min(state.config.steps, FEW)
    quality = state.config.quality if state.sweep == "quality" else BEST if state.sweep in BY_STUDENTS else preview
    return replace(state, config=replace(state.config, steps=steps, quality=quality))


def in_full(state: State) -> State:
    """The state at many steps in the best quality, unless it is the steps or the quality that are swept."""
    steps = state.config.steps if state.sweep == "steps" else max(state.config.steps, FULL)
    quality = state.config.quality if state.sweep == "quality" else BEST
    return replace(state, config=replace(state.config, steps=steps, quality=quality))
