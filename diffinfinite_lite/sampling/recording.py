"""Recording the pixel-wise timestep map while a canvas is sampled, from outside the loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .canvas import Canvas, CanvasHook
from .windows import Plan, Size, View, Window

if TYPE_CHECKING:
    from .loop import Level


class RecordedCanvas(CanvasHook):
    """Keeps timestep maps of a level while its windows are added.

    Parameters
    ----------
    record : True for a map after every window, or how many maps a level at most, evenly spaced and the last included;
        False for none
    """

    def __init__(self, canvas: Canvas, record: bool | int) -> None:
        super().__init__(canvas)
        self._record, self._frames = record, list[Tensor]()
        self._after, self._added = set[int](), 0

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

    def levels(self, levels: Iterator[Level]) -> Iterator[Level]:
        """The levels with their maps in ``frames``."""
        for level in levels:
            frames, self._frames = self._frames, []
            yield replace(level, frames=torch.stack(frames) if frames else None)
