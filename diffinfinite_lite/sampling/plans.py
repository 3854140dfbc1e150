"""TODO."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .windows import Plan, Size, View, Window, hann


def random_patch(size: Size, patch: int, generator: torch.Generator) -> Iterator[View]:
    """Paper Alg. 2: random crops until all is covered; the first window to reach a pixel writes it (eq. 6).

    The paper asks that "regions with latent pixels of low projection coverage are more likely". Here every
    window is centred on a pixel drawn uniformly from those not covered yet, so no crop is drawn twice and
    each adds something.

    Parameters
    ----------
    size : (H, W) of the canvas in latent pixels
    patch : side of a window in latent pixels
    generator : source of the randomness of this level

    Yields
    ------
    Window and its weight, float32 (h, w), zeros and ones.
    """
    height, width = min(patch, size[0]), min(patch, size[1])
    free = torch.ones(size, dtype=torch.bool)
    in_row = free.numpy().sum(1)  # rows first, then one row: a draw costs H + W, in time and in memory
    while total := int(in_row.sum()):
        number, up_to = _randint(total, generator), in_row.cumsum()
        row = int(np.searchsorted(up_to, number, side="right"))
        column = int(free[row].numpy().nonzero()[0][number - int(up_to[row])])  # counted from the row's end
        top = (row - height // 2) % size[0] if size[0] > patch else 0
        left = (column - width // 2) % size[1] if size[1] > patch else 0
        window, weight = _claim(free, Window(top, left, height, width))
        in_row[(top + np.arange(height)) % size[0]] -= weight.sum(1).long().numpy()
        yield window, weight


def torus_grid(size: Size, patch: int, generator: torch.Generator) -> Iterator[View]:
    """A grid of ceil(H / patch) x ceil(W / patch) windows on the periodic canvas, shifted at random.

    The fewest windows a cover can have. Random offsets for a non-overlapping grid: SpotDiffusion (WACV
    2025). Where the side is no multiple of the patch the windows overlap a little and the first writer
    wins.

    Parameters and yields as in `random_patch`.
    """
    axes = []
    for n in size:
        count, offset = math.ceil(n / patch), _randint(n, generator) if n > patch else 0
        axes.append([(offset + k * n // count) % n for k in range(count)])
    yield from _first_writer(size, patch, *axes)


def sliding_window(
    size: Size, patch: int, generator: torch.Generator, *, stride: int | None = None
) -> Iterator[View]:
    """Windows in raster order; the first writer wins, the last of an axis is flush with the border. Nothing is random.

    Parameters, yields and raises as in `multidiffusion`, but windows are ``patch // 2`` apart by default.
    """
    yield from _first_writer(size, patch, *(_starts(n, patch, max(patch // 2, 1), stride) for n in size))


def multidiffusion(
    size: Size, patch: int, generator: torch.Generator, *, stride: int | None = None
) -> Iterator[View]:
    """Average of all windows over each pixel (MultiDiffusion, Bar-Tal et al., 2023). Nothing is random.

    Averaging noise estimates equals averaging the windows' next states, since a step is affine in both. Parameters as
    in `random_patch`, and ``stride``: latent pixels between windows, ``patch // 4`` by default (`functools.partial`).

    Yields
    ------
    Window and its weight, float32 (h, w): 1 / (windows over the pixel).

    Raises
    ------
    ValueError : the stride is below 1.
    """
    yield from _average(size, patch, *(_starts(n, patch, max(patch // 4, 1), stride) for n in size), torch.ones)


def mixture(size: Size, patch: int, generator: torch.Generator, *, stride: int | None = None) -> Iterator[View]:
    """Average of windows that fade towards their edges (Mixture of Diffusers, Barbero Jiménez, 2023), by a Hann window.

    Most pixels hear the same window at all levels, which paints as it was trained to; neighbours meet softly.
    Parameters, yields and raises as in `multidiffusion`, but windows are evenly spread, 3/4 patch apart at most.
    """
    axes = [_starts(n, patch, max(3 * patch // 4, 1), stride) for n in size]
    even = ([k * axis[-1] // max(len(axis) - 1, 1) for k in range(len(axis))] for axis in axes)
    yield from _average(size, patch, *even, lambda n: hann(1, n)[0])


def diffcollage(size: Size, patch: int, generator: torch.Generator) -> Iterator[View]:
    """Grid factor graph of half-overlapping patches (DiffCollage, Zhang et al., 2023). Nothing is random.

    *The paper's*: factor nodes are patches, variable nodes what patches share; Bethe's approximation of the joint
    density is the product of the factors' marginals over the variables', each to the power of its factors less one,
    so that scores add. A grid graph is among its figures. Its published code has chains and circles, whose patches
    overlap by half: +1 on patches, -1 on overlaps.

    *Our reading*: the grid is the product of two such chains. Overlaps of two neighbours count -1, and where these
    cross, in a quarter that four patches share, +1 puts back what was taken once too often. (Bethe's power with the
    quarters as variables would be -3, with no half windows.) For clean data whose rows and columns are Markov chains
    that is exact, which -3 is not (tested); noise makes such data non-Markov, so that at t > 0 no such sum is exact.

    The network is also called on half windows (h, w in {patch, patch // 2}); where ``size - patch`` is no multiple
    of ``patch // 2`` the last overlap of an axis is longer than half.

    Parameters as in `random_patch`.

    Yields
    ------
    Window and its weight, float32 (h, w), all +1 or all -1.
    """
    chains = []
    for n in size:
        starts, extent = _starts(n, patch, max(patch // 2, 1)), min(patch, n)
        shared = [(b, a + extent - b, -1.0) for a, b in pairwise(starts) if a + extent > b]
        chains.append([(start, extent, 1.0) for start in starts] + shared)
    for top, height, sign in chains[0]:
        for left, width, other in chains[1]:
            yield Window(top, left, height, width), torch.full((height, width), sign * other)


PLANS: dict[str, Plan] = {
    "random-patch": random_patch,
    "torus-grid": torus_grid,
    "sliding-window": sliding_window,
    "multidiffusion": multidiffusion,
    "mixture": mixture,
    "diffcollage": diffcollage,
}
STRIDED = ("sliding-window", "multidiffusion", "mixture")  # plans whose windows are a chosen distance apart


def _randint(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (1,), generator=generator))


def _starts(n: int, patch: int, usual: int, stride: int | None = None) -> list[int]:
    """First pixels of windows along an axis, stride or the usual distance apart, the last one flush with the border."""
    stride, last = usual if stride is None else stride, max(n - patch, 0)
    if stride < 1:
        raise ValueError(f"stride must be at least 1 latent pixel, got {stride}")
    return [*range(0, last, stride), last]


def _claim(free: Tensor, window: Window) -> View:
    """The window with weight 1 on its free pixels, which are taken from then on."""
    index = window.index(tuple(free.shape))
    weight = free[index].float()
    free[index] = False
    return window, weight


def _first_writer(size: Size, patch: int, tops: list[int], lefts: list[int]) -> Iterator[View]:
    free = torch.ones(size, dtype=torch.bool)
    for top in tops:
        for left in lefts:
            yield _claim(free, Window(top, left, min(patch, size[0]), min(patch, size[1])))


def _average(
    size: Size, patch: int, tops: list[int], lefts: list[int], profile: Callable[[int], Tensor]
) -> Iterator[View]:
    """Along each axis a window's weight is its profile over the sum of all profiles there."""
    axes = []
    for n, starts in zip(size, (tops, lefts), strict=True):
        weight, total = profile(min(patch, n)), torch.zeros(n)
        for start in starts:
            total[start : start + patch] += weight
        axes.append([(start, weight / total[start : start + patch]) for start in starts])
    for top, rows in axes[0]:
        for left, columns in axes[1]:
            yield Window(top, left, len(rows), len(columns)), rows[:, None] * columns


def find_plan(name: str, stride: int | None = None) -> Plan:
    """Plan by name, its windows ``stride`` latent pixels apart; refused with a ValueError where there is none such."""
    if name not in PLANS:
        raise ValueError(f"expected a sampler among {', '.join(PLANS)}, got {name!r}")
    if stride is None:
        return PLANS[name]
    if name not in STRIDED:
        raise ValueError(f"expected a sampler among {', '.join(STRIDED)} for a stride, got {name!r}")
    return partial(PLANS[name], stride=stride)
