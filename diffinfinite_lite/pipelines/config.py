"""TODO."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..labels import CELL_PX, LABELS
from ..models.pretrained import WEIGHTS, trained_patch
from ..sampling.plans import find_plan
from ..sampling.solvers import cosine_alphas, make_solver
from ..sampling.windows import Plan

SMALLEST = 64


def check_method(sampler: str, stride: int | None, solver: str, steps: int, eta: float | None) -> Plan:
    """The plan; what `sample.sample` would refuse is refused.

    Raises
    ------
    ValueError
        For an unknown sampler or solver, steps outside 1 to 1000, an eta or stride (latent pixels) where none belongs.
    """
    make_solver(solver, steps, cosine_alphas(), eta)
    return find_plan(sampler, stride)


def window_and_stride(patch: int | None, stride: int | None = None, weights: Path = WEIGHTS) -> tuple[int, int | None]:
    """Side and distance of windows in latent pixels, from px; the side is that of training by default.

    Raises
    ------
    ValueError
        If one is no multiple of 8 px, the patch under 32, or the stride over the patch, which would leave gaps.
    """
    if patch is not None and (patch % CELL_PX or patch < 4 * CELL_PX):
        raise ValueError(f"expected a patch that is a multiple of {CELL_PX} px from {4 * CELL_PX}, got {patch}")
    patch = patch or trained_patch(weights)
    if stride is not None and (stride % CELL_PX or not 0 < stride <= patch):
        raise ValueError(f"expected a stride in multiples of {CELL_PX} px up to the patch of {patch}, got {stride}")
    return patch // CELL_PX, stride and stride // CELL_PX


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size in px, refused with a ValueError where latents cannot have it."""
    if len(size) != 2 or any(side % CELL_PX or side < SMALLEST for side in size):
        raise ValueError(
            f"expected a height and width in multiples of {CELL_PX} px from {SMALLEST}, got {'x'.join(map(str, size))}"
        )
    return tuple(size)


def check_mask(mask: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The mask as uint8 (H, W), refused with a ValueError where it is none, or not of the size asked for."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"expected a mask of whole-number labels (H, W), got shape {mask.shape} of {mask.dtype}")
    if mask.min() < 0 or mask.max() >= len(LABELS):
        raise ValueError(f"expected labels 0 to {len(LABELS) - 1} in the mask, got {mask.min()} to {mask.max()}")
    if size is not None and tuple(size) != mask.shape:
        raise ValueError(f"expected a mask of the size {size[0]}x{size[1]}, got {mask.shape[0]}x{mask.shape[1]}")
    check_size(mask.shape)
    return mask.astype(np.uint8)
