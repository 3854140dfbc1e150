"""Checks on a run, from outside the loop: the network's output is finite, and a level covers the canvas once."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import Canvas, CanvasHook, Step
from .windows import Window, check_weights


class CheckedCanvas(CanvasHook):
    """Refuses estimates that are not finite, and levels whose weights do not sum to one.

    Parameters
    ----------
    timesteps : of the levels, for the message
    exempt : bool (h, w), pixels of the picture that no window needs to write, such as known ones

    Raises
    ------
    FloatingPointError : from `add`; names level and window.
    ValueError : from `advance`; names the first pixel that is uncovered or over-counted.
    """

    def __init__(self, canvas: Canvas, timesteps: list[int], exempt: Tensor | None = None) -> None:
        super().__init__(canvas)
        self._timesteps, self._exempt = timesteps, exempt

    def add(self, window: Window, weight: Tensor, eps: Tensor) -> None:
        if not torch.isfinite(eps).all():
            level = len(self._timesteps) - self.left
            where = f"level {level}, t = {self._timesteps[level]}, {window}"
            raise FloatingPointError(f"expected finite output of the network, got NaN or infinity at {where}")
        self.canvas.add(window, weight, eps)

    def advance(self, step: Step) -> None:
        for part in self.parts():
            total = self.coverage[part.index(self.size)]
            if self._exempt is not None:
                exempt = self._exempt[part.index(self.size)]
                total = total.clone()
                total[: exempt.shape[0], : exempt.shape[1]][exempt] = 1
            check_weights(total, part.top, part.left)
        self.canvas.advance(step)
