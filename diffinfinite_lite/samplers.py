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
does not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from diffinfinite_lite.canvas import Canvas
from diffinfinite_lite.denoise import Denoiser, Ledger
from diffinfinite_lite.noise import Solver, coordinate_noise, level_generator, make_solver
from diffinfinite_lite.windows import PLANS, Plan, Size, View, Window, check_plan


@dataclass(frozen=True)
class Known:
    """What inpainting has to keep.

    Attributes
    ----------
    latents : float (C, H, W), clean latents; only those under ``keep`` are used.
    keep : bool (H, W), true where they are kept exactly.
    """

    latents: Tensor
    keep: Tensor


@dataclass(frozen=True)
class Level:
    """State of a run after one level.

    Attributes
    ----------
    step : 0 .. S - 1.
    timestep : the training timestep whose noise was estimated.
    canvas : the `Canvas` itself, which the next level changes: clone what you keep.
    ledger : cost since the run began.
    frames : int32 (windows, H, W), the timestep map after each window, where ``record`` was asked for.
    """

    step: int
    timestep: int
    canvas: Canvas
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
    record: bool = False,
) -> Iterator[Level]:
    """Sample latents of any size under a label mask (paper Alg. 2 and its relatives).

    Parameters
    ----------
    denoiser : turns crops into noise estimates; holds guidance, composition and batch size
    mask : int64 (H, W), labels at latent resolution, 0 = unknown; the canvas lives on its device
    channels : C of the latents
    patch : side of a window, latent pixels; a smaller canvas is padded and cropped again
    plan : name in `windows.PLANS` or a callable, for example ``partial(multidiffusion, stride=8)``
    scheduler, steps, eta : see `noise.make_solver`
    seed : 0 .. 2**64 - 1, all randomness of the run
    margin : latent pixels of canvas beyond the bottom and right border, cropped off again. Random plans wrap
        around; a margin keeps opposite borders apart, entirely so from ``patch - 1`` on
    known : latents to keep, for inpainting and local re-synthesis
    record : whether to keep the timestep map after every window

    Yields
    ------
    `Level` after each of the S steps; the sample is ``level.canvas.latents`` (C, H, W) of the last one.

    Raises
    ------
    ValueError : before anything is sampled: wrong shape, type or range of an argument, or a plan that leaves
        pixels uncovered.
    FloatingPointError : the network's output is not finite; names level and window.
    """
    _check(mask, channels, patch, margin, known)
    solver = make_solver(scheduler, steps, denoiser.alphas_cumprod, eta)
    if isinstance(plan, str):
        if plan not in PLANS:
            raise ValueError(f"plan must be one of {', '.join(PLANS)}, got {plan!r}")
        plan = PLANS[plan]
    height, width = mask.shape
    size = (max(height + margin, patch), max(width + margin, patch))
    _draw(plan, size, patch, seed, 0)  # refuse a bad plan here and not at the first level
    padded, visible = _padded(mask, size), (height, width)
    return _levels(denoiser, padded, visible, channels, patch, plan, solver, seed, known, record)


def _levels(
    denoiser: Denoiser,
    mask: Tensor,
    visible: Size,
    channels: int,
    patch: int,
    plan: Plan,
    solver: Solver,
    seed: int,
    known: Known | None,
    record: bool,
) -> Iterator[Level]:
    size = (mask.shape[0], mask.shape[1])
    start = denoiser.ledger

    def noise(stream: int) -> Tensor:
        return coordinate_noise(seed, stream, channels, Window(0, 0, *size)).to(mask.device)

    # stream 2k: the noise that enters state k of the canvas; stream 2k + 1: the noise on its known pixels
    canvas = Canvas(noise(0), len(solver.timesteps), visible)
    if known is not None:
        _keep(canvas, known, solver.alphas[0], noise(1))
    for level, t in enumerate(solver.timesteps):
        views = _needed(_draw(plan, size, patch, seed, level), known, size)
        frames = []
        for batch in _batches(views, denoiser.batch_size):
            crops = torch.stack([canvas.read(window) for window, _ in batch])
            eps = denoiser(crops, t, torch.stack([mask[window.index(size)] for window, _ in batch]))
            finite = torch.isfinite(eps).flatten(1).all(1).tolist()
            for (window, weight), estimate, fine in zip(batch, eps, finite, strict=True):
                if not fine:
                    where = f"level {level}, t = {t}, {window}"
                    raise FloatingPointError(f"network output is not finite at {where}")
                canvas.add(window, weight.to(mask.device), estimate)
                if record:
                    frames.append(canvas.timestep_map.clone())
        canvas.advance(partial(solver.step, level=level, noise=noise(2 * level + 2) if solver.eta else None))
        if known is not None:
            _keep(canvas, known, solver.alphas[level + 1], noise(2 * level + 3))
        yield Level(level, t, canvas, denoiser.ledger - start, torch.stack(frames) if frames else None)


def _draw(plan: Plan, size: Size, patch: int, seed: int, level: int) -> list[View]:
    views = list(plan(size, patch, level_generator(seed, level)))
    check_plan(views, size)
    return views


def _needed(views: list[View], known: Known | None, size: Size) -> list[View]:
    """Windows that write at least one pixel that is not kept."""
    if known is None:
        return views
    open_ = torch.ones(size, dtype=torch.bool)
    open_[: known.keep.shape[0], : known.keep.shape[1]] = ~known.keep.cpu()
    return [(window, weight) for window, weight in views if (open_[window.index(size)] & (weight != 0)).any()]


def _batches(views: list[View], batch_size: int) -> Iterator[list[View]]:
    """Runs of equally large windows, in the plan's order within each size."""

    def shape(view: View) -> Size:
        return view[0].height, view[0].width

    for _, same in groupby(sorted(views, key=shape, reverse=True), key=shape):
        same = list(same)
        yield from (same[i : i + batch_size] for i in range(0, len(same), batch_size))


def _keep(canvas: Canvas, known: Known, alpha: Tensor, noise: Tensor) -> None:
    """Put the known latents at the noise level of the canvas in its place."""
    height, width = canvas.visible
    noised = alpha**0.5 * known.latents + (1 - alpha) ** 0.5 * noise[:, :height, :width]
    canvas.latents.copy_(torch.where(known.keep, noised, canvas.latents))


def _padded(mask: Tensor, size: Size) -> Tensor:
    """Label mask grown to the canvas by repeating its last row and column."""
    rows, columns = (torch.arange(n).clamp(max=m - 1) for n, m in zip(size, mask.shape, strict=True))
    return mask[rows[:, None], columns]


def _check(mask: Tensor, channels: int, patch: int, margin: int, known: Known | None) -> None:
    if mask.ndim != 2 or mask.dtype != torch.int64 or mask.numel() == 0:
        raise ValueError(f"mask must be int64 of shape (H, W), got {mask.dtype} of shape {tuple(mask.shape)}")
    if mask.min() < 0:
        raise ValueError(f"mask must hold labels from 0 (unknown) upwards, got {int(mask.min())}")
    if channels < 1 or patch < 1 or margin < 0:
        got = f"{channels}, {patch} and {margin}"
        raise ValueError(f"channels and patch must be at least 1 and margin at least 0, got {got}")
    if known is None:
        return
    if known.keep.shape != mask.shape or known.keep.dtype != torch.bool:
        raise ValueError(
            f"known.keep must be bool of shape {tuple(mask.shape)}, "
            f"got {known.keep.dtype} of shape {tuple(known.keep.shape)}"
        )
    if known.latents.shape != (channels, *mask.shape):
        raise ValueError(
            f"known.latents must have the shape {(channels, *mask.shape)}, got {tuple(known.latents.shape)}"
        )
    if not torch.isfinite(known.latents[:, known.keep]).all():
        raise ValueError("known.latents must be finite where they are kept, got NaN or infinity")
