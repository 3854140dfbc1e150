"""A picture while it comes about: the windows of every level, and the clean estimate after it.

Nothing is recorded for the windows. A plan draws those of a level from the seed and the level's number alone, so that
they can be laid out again beside any run (tested against the timestep maps that the run itself recorded).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ..data.tiles import to_rgb
from ..labels import CELL_PX
from ..models.thumbnails import Thumbnails
from ..pipelines.config import SamplingConfig, configure
from ..pipelines.generate import generate, picture
from ..pipelines.margin import without
from ..pipelines.stages import Stage, StageLevel
from ..sampling.noise import level_generator
from ..sampling.windows import Window
from .pictures import Picture

SHARE = 0.3  # of a run's time that pictures of estimates may take
Box = tuple[int, int, int, int]  # top, left, height, width in latent pixels of the picture, see `windows_of_levels`


def windows_of_levels(stages: Sequence[Stage], size: tuple[int, int]) -> list[list[Box]]:
    """Windows of every level of all stages, in the order of their writing.

    Like a `Window` they wrap around the canvas; where that has a margin, they may begin outside the picture.

    Parameters
    ----------
    stages : of `stages.find_stages`
    size : (H, W) of the picture in px
    """

    def box(window: Window, margin: int) -> Box:
        return window.top - margin, window.left - margin, window.height, window.width

    found = []
    for stage in stages:
        method, around = stage.method, 2 * stage.margin
        assert callable(method.plan)  # `find_stages` looks its name up
        canvas = max(size[0] // CELL_PX + around, method.patch), max(size[1] // CELL_PX + around, method.patch)
        for level in range(method.steps):
            views = method.plan(canvas, method.patch, level_generator(method.seed, level))
            found.append([box(window, stage.margin) for window, _ in views])
    return found


@dataclass
class Emergence:
    """What is known of a run level by level.

    Attributes
    ----------
    config : with its patch
    estimates : stage and clean latents (C, h, w) of each level so far, with the stage's margin, drafts first
    pictures : uint8 (H, W, 3) of those estimates that were decoded, by level
    """

    config: SamplingConfig
    estimates: list[tuple[Stage, Tensor]] = field(default_factory=list)
    pictures: dict[int, np.ndarray] = field(default_factory=dict)

    def watch(self, levels: Iterable[StageLevel]) -> Iterator[StageLevel]:
        """The levels of a run; estimates are decoded on the way as long as that takes a small share of the time."""
        began, spent = time.monotonic(), 0.0
        for level in levels:
            assert level.clean is not None and level.stage is not None  # `generate` records
            self.estimates.append((level.stage, level.clean.clone()))
            before = time.monotonic()
            if spent <= SHARE * (before - began):
                self.show(level.number)
                spent += time.monotonic() - before
            yield level

    def show(self, level: int) -> np.ndarray:
        """The picture that a level estimated."""
        if level not in self.pictures:
            if not 0 <= level < len(self.estimates):
                raise ValueError(f"expected a level from 0 to {len(self.estimates) - 1}, got {level}")
            stage, clean = self.estimates[level]
            if isinstance(stage.autoencoder, Thumbnails):  # a draft: one of its pixels is a cell
                draft = to_rgb(stage.autoencoder.small(without(clean, stage.margin)).cpu())
                self.pictures[level] = draft.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
            else:
                self.pictures[level] = picture(stage.autoencoder, clean, self.config, stage.margin)
        return self.pictures[level]


def emerging(
    context: str, mask: np.ndarray, *, weights: str | None = None, device: str | None = None, **settings: Any
) -> tuple[list[np.ndarray], list[Picture]]:
    """A picture under a mask while it comes about, as `player.player` takes it.

    Parameters
    ----------
    context, mask, weights, device, settings : as of `pipelines.generate.generate`

    Returns
    -------
    Timestep maps of the run, with one before it and one after it; and what the model takes the picture to be after no
    step (noise), after one, and so on to the last one.
    """
    height, width = mask.shape
    emergence = Emergence(configure(None, settings, weights))

    def watch(items: Iterable, total: int, part: str) -> Iterator:
        yield from emergence.watch(items) if part == "sampling" else items

    pair = generate(context, mask, weights=weights, device=device, progress=watch, **settings)
    steps = len(emergence.estimates)
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 1), np.uint8).repeat(3, axis=-1)
    states = [noise, *(emergence.show(level) for level in range(steps))]
    done = np.zeros_like(pair.timesteps[0])
    pictures = [
        Picture(state, f"What the model takes the tissue to be after {n} of {steps} steps", "")
        for n, state in enumerate(states)
    ]
    return [done + steps, *pair.timesteps, done], pictures
