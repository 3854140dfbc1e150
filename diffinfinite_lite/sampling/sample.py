"""Sampling: puts together what one run of the loop needs, and hangs everything else on it from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .beside import Beside, BesideCanvas
from .canvas import Canvas, MemoryCanvas, Step
from .checks import CheckedCanvas
from .cost import MeteredCanvas
from .denoiser import Estimator
from .inpainting import Inpainting, Known
from .loop import Level, run
from .noise import NoiseField, level_generator
from .plans import find_plan
from .recording import RecordedCanvas
from .solvers import Solver, make_solver
from .windows import Plan, Size, Window, check_plan


@dataclass(frozen=True)
class Method:
    """How a canvas is sampled.

    Attributes
    ----------
    patch : side of a window, latent pixels; a smaller canvas is padded and cropped again.
    plan : name in `plans.PLANS` or a callable, for example ``partial(multidiffusion, stride=8)``.
    solver, steps, eta : see `solvers.make_solver`.
    seed : 0 .. 2**64 - 1, all randomness of the run.
    margin : latent pixels of canvas beyond the bottom and right border, cropped off again. Random plans wrap
        around; a margin keeps opposite borders apart, entirely so from ``patch - 1`` on.
    """

    patch: int
    plan: str | Plan = "random-patch"
    solver: str = "ddim"
    steps: int = 50
    eta: float | None = None
    seed: int = 0
    margin: int = 0


def sample(
    denoiser: Estimator,
    mask: Tensor,
    method: Method | None = None,
    *,
    channels: int,
    known: Known | None = None,
    beside: Beside | None = None,
    record: bool | int = False,
    store: str | Path | None = None,
    **settings: Any,
) -> Iterator[Level]:
    """Sample latents of any size under a label mask (paper Alg. 2 and its relatives).

    Parameters
    ----------
    denoiser : turns crops into noise estimates; holds guidance, composition and batch size
    mask : int64 or uint8 (H, W), labels at latent resolution, 0 = unknown; the canvas lives on its device
    method : see `Method`; or its fields as keywords, ``sample(denoiser, mask, channels=8, patch=28, steps=20)``
    channels : C of the latents
    known : latents to keep, for inpainting and local re-synthesis
    beside : what the network reads beside the latents, see `beside`
    record : True keeps the timestep map after every window; a number keeps so many maps a level at most, evenly
        spaced and the last one included. Either keeps the level's clean estimate, too
    store : folder for a canvas on disk (`zarr_canvas`), whose size memory does not limit. Called again with the same
        arguments after a kill, it goes on from the last finished level; the ledger goes on, too

    Yields
    ------
    `loop.Level` after each of the S steps, of a finished store the last one again; the sample is
    ``level.canvas.latents`` (C, H, W) of the last one.

    Raises
    ------
    ValueError : before anything is sampled: wrong shape, type or range of an argument, a plan that leaves pixels
        uncovered, or the store of another run.
    OSError : the store cannot be written to, another process works on it, or the disk is full.
    FloatingPointError : the network's output is not finite; names level and window.
    """
    method = Method(**settings) if method is None else method
    _check(mask, channels, method)
    solver = make_solver(method.solver, method.steps, denoiser.alphas_cumprod, method.eta)
    plan = find_plan(method.plan) if isinstance(method.plan, str) else method.plan
    visible: Size = (mask.shape[0], mask.shape[1])
    size = (max(visible[0] + method.margin, method.patch), max(visible[1] + method.margin, method.patch))
    check_plan(plan(size, method.patch, level_generator(method.seed, 0)), size)  # here, and not after a level
    if store is not None:
        if record:
            raise ValueError(f"expected record=False with a store, since it keeps maps in memory, got {record}")
        mask = mask.cpu()
    noise = NoiseField(method.seed, channels, mask.device)
    start: Callable[[Window], Tensor] = partial(noise.entering, 0)
    step, needed = steps_of(solver, noise), plan
    if known is not None:
        known.check(channels, visible)
        inpainting = Inpainting(known, solver.alphas, noise)
        start, step, needed = inpainting.start(start), inpainting.step(step), inpainting.plan(plan)
    canvas: Canvas
    if store is None:
        canvas = MemoryCanvas(start(Window(0, 0, *size)), method.steps, visible)
    else:
        from .store import describe  # a canvas in memory needs neither of the two, nor their packages
        from .zarr_canvas import ZarrCanvas

        identity = {"plan": plan, "scheduler": method.solver, "eta": solver.eta, "seed": method.seed, "mask": mask}
        identity |= {"patch": method.patch, "size": visible, "margin": method.margin, "channels": channels}
        identity |= {"steps": method.steps, "known": known and torch.cat([known.keep[None], known.clean])}
        identity |= {} if beside is None else {"beside": beside.identity}
        identity = describe(identity | denoiser.settings)
        canvas = ZarrCanvas(store, start, channels, size, method.steps, visible, identity)
    checked = CheckedCanvas(canvas, solver.timesteps, None if known is None else known.keep)
    recorded = RecordedCanvas(checked, record, solver.alphas)
    metered = MeteredCanvas(recorded, denoiser)
    shown = metered if beside is None else BesideCanvas(metered, beside)
    if not metered.left:
        return iter([Level(method.steps - 1, solver.timesteps[-1], metered, metered.ledger)])
    windows = recorded.plan(needed)
    levels = run(shown, denoiser, mask, windows, method.patch, method.seed, solver.timesteps, step)
    return metered.levels(recorded.levels(levels))


def steps_of(solver: Solver, noise: NoiseField) -> Callable[[int], Step]:
    """The solver's step at a level as a canvas takes it, part by part, with the noise that belongs there."""

    def at(level: int) -> Step:
        def step(eps: Tensor, z: Tensor, memory: Tensor | None, part: Window) -> tuple[Tensor, Tensor | None]:
            fresh = noise.entering(level + 1, part) if solver.eta else None
            return solver.step(eps, z, level, fresh, memory=memory)

        return step

    return at


def _check(mask: Tensor, channels: int, method: Method) -> None:
    if mask.ndim != 2 or mask.dtype not in (torch.int64, torch.uint8) or mask.numel() == 0:
        got = f"{mask.dtype} of shape {tuple(mask.shape)}"
        raise ValueError(f"expected a mask int64 or uint8 of shape (H, W), got {got}")
    if mask.min() < 0:
        raise ValueError(f"expected labels from 0 (unknown) upwards in the mask, got {int(mask.min())}")
    if channels < 1 or method.patch < 1 or method.margin < 0:
        got = f"{channels}, {method.patch} and {method.margin}"
        raise ValueError(f"expected channels and a patch of at least 1 and a margin of at least 0, got {got}")
