"""Recording timestep maps and clean estimates while a canvas is sampled, from outside the loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .canvas import Canvas, CanvasHook, Step
from .windows import Plan, Size, View, Window

if TYPE_CHECKING:
    from .loop import Level


class RecordedCanvas(CanvasHook):
    r"""Keeps timestep maps of a level while its windows are added, and the clean latents that it estimated.

    The clean latents are :math:`\hat z_0 = (z_t - \sqrt{1 - \alpha_t}\,\epsilon) / \sqrt{\alpha_t}` of the level's
    state and its noise estimate: what the picture would be if the estimate were right.

    Parameters
    ----------
    record : True for a map after every window, or how many maps a level at most, evenly spaced and the last included;
        False for none, and no clean estimate
    alphas : float (S + 1,), of the solver
    """

    def __init__(self, canvas: Canvas, record: bool | int, alphas: Tensor) -> None:
        super().__init__(canvas)
        self._record, self._alphas, self._frames = record, alphas, list[Tensor]()
        self._after, self._added = set[int](), 0
        self._clean: Tensor | None = None

    def plan(self, plan: Plan) -> Plan:
        """The plan, whose windows are counted before a level begins."""
        if not self._record:
            return plan

        def counted(size: Size, patch: int, generator: torch.Generator) -> Iterator[View]:
            views = list(plan(size, patch, generator))
            maps = len(views) if self._record is True else min(int(self._record), len(views))
            self._after = {round(len(views) * k / maps) for k in range(1, maps + 1)}
            self._added = 0
            yield from views

        return counted

    def add(self, window: Window, weight: Tensor, eps: Tensor) -> None:
        self.canvas.add(window, weight, eps)
        self._added += 1
        if self._added in self._after:
            self._frames.append(self.timestep_map.clone())

    def advance(self, step: Step) -> None:
        self.canvas.advance(self._watched(step) if self._record else step)

    def _watched(self, step: Step) -> Step:
        """The step, which on its way past leaves the clean estimate of the canvas, that in memory being one part."""
        alpha = self._alphas[len(self._alphas) - 1 - self.left]

        def watched(eps: Tensor, z: Tensor, memory: Tensor | None, part: Window) -> tuple[Tensor, Tensor | None]:
            self._clean = ((z - (1 - alpha) ** 0.5 * eps) / alpha**0.5)[:, : self.visible[0], : self.visible[1]]
            return step(eps, z, memory, part)

        return watched

    def levels(self, levels: Iterator[Level]) -> Iterator[Level]:
        """The levels with their maps in ``frames`` and their estimate in ``clean``."""
        for level in levels:
            frames, self._frames = self._frames, []
            yield replace(level, frames=torch.stack(frames) if frames else None, clean=self._clean)
