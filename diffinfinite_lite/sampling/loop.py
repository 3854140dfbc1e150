r"""The one loop: a sampling method is a plan (`windows`), a solver a step of the whole canvas (`noise`).

For each of the S levels: freeze :math:`z_t`; draw the plan's windows; collect :math:`\epsilon = \sum_j
w_j\,\tilde\epsilon_\theta(z_t[I_j], M[I_j])` in batches (the windows of a level do not depend on each
other); step all pixels once. With the random-patch plan this is Alg. 2 of the paper bit for bit (tested).
All S steps are run, the last one included.

Inpainting (paper D): where pixels are known, the state is replaced after every step by the known latents at
the noise level reached, :math:`\sqrt{\alpha}\,x + \sqrt{1-\alpha}\,\epsilon` with fresh :math:`\epsilon`;
after the last step :math:`\alpha = 1` and they are exact. Windows that would write known pixels only are
left out, which changes nothing.

Noise is a function of (seed, level, place) and windows are a function of (seed, level), so that a sample
does not depend on the batch size, on how a canvas is cut into chunks, or on which machine denoises a window.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import torch
from torch import Tensor

from .canvas import Canvas
from .cost import Ledger
from .denoiser import Denoiser
from .inpainting import Known, _keep, _needed
from .noise import coordinate_noise, level_generator
from .plans import find_plan
from .solvers import make_solver
from .store import describe
from .windows import Plan, Size, View, Window, check_plan, check_weights
from .zarr_canvas import BUFFER, ZarrCanvas


@dataclass(frozen=True)
class Level:
    """State of a run after one level.

    Attributes
    ----------
    step : 0 .. S - 1.
    timestep : the training timestep whose noise was estimated.
    canvas : the `Canvas` or `ZarrCanvas` itself, which the next level changes: clone what you keep.
    ledger : cost since the run began.
    frames : int32 (N, H, W), the timestep map after each window, or after N of them, where ``cost`` was asked for.
    """

    step: int
    timestep: int
    canvas: Canvas | ZarrCanvas
    ledger: Ledger
    frames: Tensor | None


def sample(
    denoiser: Denoiser,
    mask: Tensor,
    *,
    channels: int,
    patch: int,
    plan: str | Plan = "random-patch",
    scheduler: str = "ddim",
    steps: int = 50,
    eta: float | None = None,
    seed: int = 0,
    margin: int = 0,
    known: Known | None = None,
    record: bool | int = False,
    store: str | Path | None = None,
) -> Iterator[Level]:
    """Sample latents of any size under a label mask (paper Alg. 2 and its relatives).

    Parameters
    ----------
    denoiser : turns crops into noise estimates; holds guidance, composition and batch size
    mask : int64 or uint8 (H, W), labels at latent resolution, 0 = unknown; the canvas lives on its device
    channels : C of the latents
    patch : side of a window, latent pixels; a smaller canvas is padded and cropped again
    plan : name in `plans.PLANS` or a callable, for example ``partial(multidiffusion, stride=8)``
    scheduler, steps, eta : see `solvers.make_solver`
    seed : 0 .. 2**64 - 1, all randomness of the run
    margin : latent pixels of canvas beyond the bottom and right border, cropped off again. Random plans wrap
        around; a margin keeps opposite borders apart, entirely so from ``patch - 1`` on
    known : latents to keep, for inpainting and local re-synthesis
    record : True keeps the timestep map after every window; a number keeps so many maps a level at most, evenly
        spaced and the last one included
    store : folder for a canvas on disk (`zarr_canvas`), whose size memory does not limit. Called again with the same
        arguments after a kill, it goes on from the last finished level; the ledger goes on, too

    Yields
    ------
    `Level` after each of the S steps, of a finished store the last one again; the sample is ``level.canvas.latents``
    (C, H, W) of the last one.

    Raises
    ------
    ValueError : before anything is sampled: wrong shape, type or range of an argument, a plan that leaves pixels
        uncovered, or the store of another run.
    OSError : the store cannot be written to, another process works on it, or the disk is full.
    FloatingPointError : the network's output is not finite; names level and window.
    """
    _check(mask, channels, patch, margin, known)
    solver = make_solver(scheduler, steps, denoiser.alphas_cumprod, eta)
    plan = find_plan(plan) if isinstance(plan, str) else plan
    visible: Size = tuple(mask.shape)
    size = (max(visible[0] + margin, patch), max(visible[1] + margin, patch))
    check_plan(plan(size, patch, level_generator(seed, 0)), size)  # refuse a bad plan here and not after a level
    if store is not None:
        if record:
            raise ValueError(f"record must be off with a store, since it keeps maps in memory, got {record}")
        mask = mask.cpu()

    def noise(stream: int, part: Window) -> Tensor:
        # stream 2k: the noise that enters state k of the canvas; stream 2k + 1: the noise on its known pixels
        return coordinate_noise(seed, stream, channels, part).to(mask.device)

    def kept(z: Tensor, state: int, part: Window) -> Tensor:
        return z if known is None else _keep(z, known, solver.alphas[state], noise(2 * state + 1, part), part)

    def start(part: Window) -> Tensor:
        return kept(noise(0, part), 0, part)

    def step(eps: Tensor, z: Tensor, memory: Tensor | None, part: Window, level: int) -> tuple[Tensor, Tensor | None]:
        solver.memory = memory
        z = solver.step(eps, z, level, noise(2 * level + 2, part) if solver.eta else None)
        return kept(z, level + 1, part), solver.memory

    def draw(level: int) -> Iterable[View]:
        return _needed(plan(size, patch, level_generator(seed, level)), known, size)

    if store is None:
        canvas = Canvas(start(Window(0, 0, *size)), steps, visible)
    else:
        settings = {"plan": plan, "scheduler": scheduler, "eta": solver.eta, "seed": seed, "patch": patch}
        settings |= {"size": visible, "margin": margin, "channels": channels, "steps": steps, "mask": mask}
        settings["known"] = known and torch.cat([known.keep[None], known.latents.where(known.keep, 0)])
        settings = describe(settings | denoiser.settings)
        canvas = ZarrCanvas(store, start, channels, size, steps, visible, settings)
    return _levels(denoiser, mask, canvas, patch, draw, solver.timesteps, step, known, record)


def _levels(
    denoiser: Denoiser,
    mask: Tensor,
    canvas: Canvas | ZarrCanvas,
    patch: int,
    draw: Callable[[int], Iterable[View]],
    timesteps: list[int],
    step: Callable,
    known: Known | None,
    record: bool | int,
) -> Iterator[Level]:
    began, busy = time.perf_counter(), denoiser.ledger.network_seconds
    before = denoiser.ledger - Ledger(**canvas.note)

    def outside() -> float:
        return time.perf_counter() - began - (denoiser.ledger.network_seconds - busy)

    if not canvas.left:
        yield Level(len(timesteps) - 1, timesteps[-1], canvas, denoiser.ledger - before, None)
    for level in range(len(timesteps) - canvas.left, len(timesteps)):
        t, views, frames, done = timesteps[level], draw(level), [], 0
        if record:
            views = list(views)
        recorded = _recorded(len(views), record) if record else ()
        for batch, eps in _estimates(denoiser, canvas, mask, views, t, max(BUFFER // patch**2, 1)):
            weights = torch.stack([weight for _, weight in batch]).to(mask.device)
            finite = torch.isfinite(eps).flatten(1).all(1).tolist()
            for (window, _), weight, estimate, fine in zip(batch, weights, eps, finite, strict=True):
                if not fine:
                    where = f"level {level}, t = {t}, {window}"
                    raise FloatingPointError(f"network output is not finite at {where}")
                canvas.add(window, weight, estimate)
                done += 1
                if done in recorded:
                    frames.append(canvas.timestep_map.clone())
        _check_coverage(canvas, known)
        denoiser.ledger += Ledger(depth=1 if done else 0)
        canvas.note = asdict(denoiser.ledger - before + Ledger(canvas_seconds=outside()))
        canvas.advance(partial(step, level=level))
        denoiser.ledger += Ledger(canvas_seconds=outside())
        yield Level(level, t, canvas, denoiser.ledger - before, torch.stack(frames) if frames else None)
        began, busy = time.perf_counter(), denoiser.ledger.network_seconds


def _estimates(
    denoiser: Denoiser, canvas: Canvas | ZarrCanvas, mask: Tensor, views: Iterable[View], t: int, together: int
) -> Iterator[tuple[list[View], Tensor]]:
    """Batches of windows with their noise estimates; so many windows ``together`` are in memory at a time."""
    views = iter(views)
    while some := list(islice(views, together)):
        batches = list(_batches(some, denoiser.batch_size))
        crops = iter(canvas.crops([window for batch in batches for window, _ in batch]))
        labels = (torch.stack([_labels(mask, window, canvas.size) for window, _ in batch]) for batch in batches)
        jobs = ((torch.stack(list(islice(crops, len(cut)))), t, cut) for cut in labels)
        yield from zip(batches, denoiser.map(jobs), strict=True)


def _check_coverage(canvas: Canvas | ZarrCanvas, known: Known | None) -> None:
    """Refuse a level whose plan left out or over-counted pixels that are not kept."""
    for part in canvas.parts():
        total = canvas.coverage[part.index(canvas.size)]
        if known is not None:
            keep = known.keep[part.index(canvas.size)]
            total = total.clone()
            total[: keep.shape[0], : keep.shape[1]][keep] = 1
        check_weights(total, part.top, part.left)


def _recorded(windows: int, record: bool | int) -> set[int]:
    """After how many of a level's windows the timestep map is kept."""
    kept = windows if record is True else min(int(record), windows)
    return {round(windows * k / kept) for k in range(1, kept + 1)}


def _batches(views: list[View], batch_size: int) -> Iterator[list[View]]:
    """Runs of equally large windows, in the plan's order within each size."""

    def shape(view: View) -> Size:
        return view[0].height, view[0].width

    for _, same in groupby(sorted(views, key=shape, reverse=True), key=shape):
        same = list(same)
        yield from (same[i : i + batch_size] for i in range(0, len(same), batch_size))


def _labels(mask: Tensor, window: Window, size: Size) -> Tensor:
    """Labels of a window, int64 (h, w); past its last row and column the mask repeats them."""
    if window.top + window.height <= mask.shape[0] and window.left + window.width <= mask.shape[1]:
        return mask[window.index(size)].long()
    rows = ((window.top + torch.arange(window.height)) % size[0]).clamp(max=mask.shape[0] - 1)
    columns = ((window.left + torch.arange(window.width)) % size[1]).clamp(max=mask.shape[1] - 1)
    return mask[rows[:, None], columns].long()


def _check(mask: Tensor, channels: int, patch: int, margin: int, known: Known | None) -> None:
    if mask.ndim != 2 or mask.dtype not in (torch.int64, torch.uint8) or mask.numel() == 0:
        got = f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise ValueError(f"mask must be int64 or uint8 of shape (H, W), got {got}")
    if mask.min() < 0:
        raise ValueError(f"mask must hold labels from 0 (unknown) upwards, got {int(mask.min())}")
    if channels < 1 or patch < 1 or margin < 0:
        got = f"{channels}, {patch} and {margin}"
        raise ValueError(f"channels and patch must be at least 1 and margin at least 0, got {got}")
    if known is None:
        return
    if known.keep.shape != mask.shape or known.keep.dtype != torch.bool:
        got = f"{known.keep.dtype} of shape {tuple(known.keep.shape)}"
        raise ValueError(f"known.keep must be bool of shape {tuple(mask.shape)}, got {got}")
    if known.latents.shape != (channels, *mask.shape):
        expected, got = (channels, *mask.shape), tuple(known.latents.shape)
        raise ValueError(f"known.latents must have the shape {expected}, got {got}")
    if not torch.isfinite(known.latents[:, known.keep]).all():
        raise ValueError("known.latents must be finite where they are kept, got NaN or infinity")
