r"""The one loop: a sampling method is a plan (`plans`), a solver steps the whole canvas (`solvers`).

For each of the S levels: freeze :math:`z_t`; draw the plan's windows; add up :math:`\epsilon = \sum_j
w_j\,\tilde\epsilon_\theta(z_t[I_j], M[I_j])`; step all pixels once. With the random-patch plan this is Alg. 2 of the
paper bit for bit (tested). All S steps are run, the last one included.

Everything else hangs on the loop from outside (`sample`): known latents, checks, recording, cost, disks, machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice

import torch
from torch import Tensor

from .canvas import BUFFER, Canvas, Step
from .cost import Ledger
from .denoiser import Estimator
from .noise import level_generator
from .windows import Plan, Size, View, Window


@dataclass(frozen=True)
class Level:
    """State of a run after one level.

    Attributes
    ----------
    step : 0 .. S - 1.
    timestep : the training timestep whose noise was estimated.
    canvas : the canvas itself, which the next level changes: clone what you keep.
    ledger : cost since the run began.
    frames : int32 (N, H, W), the timestep map after each window, or after N of them, where it is recorded.
    clean : float (C, h, w), the clean latents that the level estimated, where maps are recorded; of known latents
        nothing is estimated, so that they mean nothing there.
    """

    step: int
    timestep: int
    canvas: Canvas
    ledger: Ledger = field(default_factory=Ledger)
    frames: Tensor | None = None
    clean: Tensor | None = None


def run(
    canvas: Canvas,
    denoiser: Estimator,
    mask: Tensor,
    plan: Plan,
    patch: int,
    seed: int,
    timesteps: list[int],
    step: Callable[[int], Step],
) -> Iterator[Level]:
    """Sample a canvas (paper Alg. 2 and its relatives).

    Parameters
    ----------
    canvas : at its start, or after any of the levels
    denoiser : noise estimates of crops under labels
    mask : int64 or uint8 (h, w), labels of the canvas, past whose border the last row and column go on
    plan, patch, seed : which windows a level has, the side of a window in latent pixels, and their randomness
    timesteps : of the S levels, falling
    step : the solver's step at a level, for a part of the canvas

    Yields
    ------
    `Level` after each of the levels that the canvas has still to go.
    """
    for level in range(len(timesteps) - canvas.left, len(timesteps)):
        windows = plan(canvas.size, patch, level_generator(seed, level))
        for window, weight, eps in estimates(denoiser, canvas, mask, windows, timesteps[level]):
            canvas.add(window, weight, eps)
        canvas.advance(step(level))
        yield Level(level, timesteps[level], canvas)


def estimates(
    denoiser: Estimator, canvas: Canvas, mask: Tensor, windows: Iterable[View], t: int
) -> Iterator[tuple[Window, Tensor, Tensor]]:
    """Windows of a level, their weights and noise estimates; in batches, since they do not depend on each other."""
    windows = iter(windows)
    while first := next(windows, None):
        at_once = max(BUFFER // first[1].numel(), 1)  # so many are in memory
        batches = list(_batches([first, *islice(windows, at_once - 1)], denoiser.batch_size))
        crops = iter(canvas.crops([window for batch in batches for window, _ in batch]))
        labels = (torch.stack([crop_labels(mask, window, canvas.size) for window, _ in batch]) for batch in batches)
        jobs = ((torch.stack(list(islice(crops, len(maps)))), t, maps) for maps in labels)
        for batch, eps in zip(batches, denoiser.map(jobs), strict=True):
            weights = torch.stack([weight for _, weight in batch]).to(mask.device)
            for (window, _), weight, estimate in zip(batch, weights, eps, strict=True):
                yield window, weight, estimate


def _batches(views: list[View], batch_size: int) -> Iterator[list[View]]:
    """Runs of equally large windows, in the plan's order within each size."""

    def shape(view: View) -> Size:
        return view[0].height, view[0].width

    for _, same in groupby(sorted(views, key=shape, reverse=True), key=shape):
        alike = list(same)
        yield from (alike[i : i + batch_size] for i in range(0, len(alike), batch_size))


def crop_labels(mask: Tensor, window: Window, size: Size) -> Tensor:
    """Labels of a window of a canvas (H, W), int64 (h, w); past its last row and column the mask repeats them."""
    if window.top + window.height <= mask.shape[0] and window.left + window.width <= mask.shape[1]:
        return mask[window.index(size)].long()
    rows = ((window.top + torch.arange(window.height)) % size[0]).clamp(max=mask.shape[0] - 1)
    columns = ((window.left + torch.arange(window.width)) % size[1]).clamp(max=mask.shape[1] - 1)
    return mask[rows[:, None], columns].long()
