"""A picture while it comes about: the windows of every level, and the clean estimate after it.

Nothing is recorded for the windows. A plan draws those of a level from the seed and the level's number alone, so that
they can be laid out again beside any run (tested against the timestep maps that the run itself recorded).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ..labels import CELL_PX
from ..models.autoencoder import Autoencoder
from ..pipelines.config import SamplingConfig
from ..pipelines.generate import border_width, picture
from ..pipelines.stages import StageLevel
from ..sampling.loop import Level
from ..sampling.noise import level_generator
from ..sampling.windows import Window

SHARE = 0.3  # of a run's time that pictures of estimates may take
Box = tuple[int, int, int, int]  # top, left, height, width in latent pixels, wrapping like `Window`


def windows_of_levels(config: SamplingConfig, size: tuple[int, int]) -> list[list[Box]]:
    """Windows of every level in the order of their writing.

    Parameters
    ----------
    config : with its patch
    size : (H, W) of the picture in px
    """
    plan = config.find_plan()
    height, width = (max(side // CELL_PX, config.window) for side in size)

    def box(window: Window) -> Box:
        return window.top, window.left, window.height, window.width

    return [
        [box(window) for window, _ in plan((height, width), config.window, level_generator(config.seed, level))]
        for level in range(config.steps)
    ]


@dataclass
class Emergence:
    """What is known of a run level by level.

    Attributes
    ----------
    config : with its patch
    size : (H, W) of the picture in px
    autoencoder : that turns estimates into pictures
    estimates : clean latents (C, h, w) after each level so far
    pictures : uint8 (H, W, 3) of those estimates that were decoded, by level
    """

    config: SamplingConfig
    size: tuple[int, int]
    autoencoder: Autoencoder
    estimates: list[Tensor] = field(default_factory=list)
    pictures: dict[int, np.ndarray] = field(default_factory=dict)

    def watch(self, levels: Iterable[Level]) -> Iterator[Level]:
        """The levels of a run; estimates are decoded on the way as long as that takes a small share of the time."""
        began, spent = time.monotonic(), 0.0
        for level in levels:
            if isinstance(level, StageLevel) and level.preview() is not None:  # of the draft: no latents yet
                yield level
                continue
            assert level.clean is not None  # `generate` records
            self.estimates.append(level.clean.clone())
            before = time.monotonic()
            if spent <= SHARE * (before - began):
                self.show(level.step)
                spent += time.monotonic() - before
            yield level

    def show(self, level: int) -> np.ndarray:
        """The picture that a level estimated."""
        if level not in self.pictures:
            if not 0 <= level < len(self.estimates):
                raise ValueError(f"expected a level from 0 to {len(self.estimates) - 1}, got {level}")
            border = border_width(self.config, self.size)
            self.pictures[level] = picture(self.autoencoder, self.estimates[level], self.config, border)
        return self.pictures[level]
