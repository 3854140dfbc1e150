"""Where the windows of a plan meet: the lines at which a picture may have seams."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .windows import Plan, Size

_LEVELS = 4  # that are compared to see whether windows move


@dataclass(frozen=True)
class Lines:
    """Lines inside a canvas, in latent pixels: line r lies between rows (columns) r - 1 and r.

    `fixed` says that windows meet there at every noise level. Windows that move from level to level meet nowhere in
    particular; then the lines are those of a grid of windows from the corner on, where no seam should be either.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    fixed: bool


def window_lines(plan: Plan, size: Size, patch: int) -> Lines:
    """Lines at which windows of a plan begin or end.

    Parameters
    ----------
    plan : of `plans.find_plan`
    size : (H, W) of the canvas in latent pixels
    patch : side of a window in latent pixels

    >>> from .plans import find_plan
    >>> window_lines(find_plan("sliding-window"), (32, 16), 16)
    Lines(rows=(8, 16, 24), columns=(), fixed=True)
    >>> window_lines(find_plan("random-patch"), (32, 16), 16)
    Lines(rows=(16,), columns=(), fixed=False)
    """
    painted = (max(size[0], patch), max(size[1], patch))
    levels = [
        {window for window, _ in plan(painted, patch, torch.Generator().manual_seed(level))} for level in range(_LEVELS)
    ]
    if any(windows != levels[0] for windows in levels):
        rows, columns = (tuple(range(patch, side, patch)) for side in size)
        return Lines(rows, columns, fixed=False)

    def inside(lines: set[int], side: int) -> tuple[int, ...]:
        return tuple(sorted(line for line in lines if 0 < line < side))

    rows_met = {line for w in levels[0] for line in (w.top, w.top + w.height)}
    columns_met = {line for w in levels[0] for line in (w.left, w.left + w.width)}
    return Lines(inside(rows_met, size[0]), inside(columns_met, size[1]), fixed=True)
