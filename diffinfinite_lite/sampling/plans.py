r"""Plans: which windows the network sees at a noise level, and their weights (`windows`).

================  ========================================================================================
random-patch      paper Alg. 2, eq. 6: 1 on pixels no earlier window of the level covers, else 0
torus-grid        the same on a grid of n windows an axis, shifted at random each level (SpotDiffusion, 2025)
sliding-window    the same in raster order, half a window apart
multidiffusion    1 / the number of windows that cover the pixel (Bar-Tal et al., 2023)
mixture           falls to nothing towards the window's edge (Mixture of Diffusers, Barbero Jiménez, 2023)
diffcollage       +1 on patches, -1 on overlaps of two, +1 where overlaps cross (Zhang et al., 2023)
================  ========================================================================================

**Borders.** If windows had to stay inside the canvas, the outermost pixels could only come from windows
flush with the border, and the far edge of those would be a seam at one fixed line in nearly every level
(19x the mean in the published loop). The two random plans therefore treat a canvas axis longer than a
window as periodic: every line is a seam equally often, and n windows an axis suffice.
`sample.Method(margin=...)` adds canvas that is cropped off again; with ``margin >= patch - 1`` no window
sees two opposite borders.

**What is exact.** With the perfect network of Gaussian data, a canvas of one window gets the right mean and
covariance from every plan; a larger one gets the right mean, and the right covariance as far as correlations are short
beside a window. Where windows move or overlap, a pixel's estimate is a mean, over levels or windows, of perfect
estimates that each saw other surroundings; that mean is the perfect estimate of no distribution, shrinks too much,
and loses contrast: up to 0.3 of the variance times correlation length / patch an axis, however many the steps. A
grid that never moves loses nothing inside its windows and everything across (``docs/adr/0008``; tested). The mixture
stands between the two, and paints the best tissue by far with the shipped model (``docs/adr/0011``).

A new plan is one function under the decorator `plan`, which also says what the rest of the library has to know of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .windows import Plan, Size, View, Window, hann


@dataclass(frozen=True)
class Traits:
    """What the rest of the library has to know of a plan.

    Attributes
    ----------
    wraps : a canvas axis longer than a window is periodic, so that the canvas has no edge of its own.
    stride : usual distance of windows as a share of their side, for plans whose windows are a chosen distance apart.
    """

    wraps: bool = False
    stride: float | None = None


PLANS: dict[str, Plan] = {}
TRAITS: dict[str, Traits] = {}


def plan(name: str, *, wraps: bool = False, stride: float | None = None) -> Callable[[Plan], Plan]:
    """Decorator: makes a plan known under a name, with its `Traits`."""

    def register(draw: Plan) -> Plan:
        PLANS[name], TRAITS[name] = draw, Traits(wraps, stride)
        return draw

    return register


def usual_stride(name: str, patch: int) -> int:
    """Latent pixels between a plan's windows where nothing else is asked for."""
    share = TRAITS[name].stride
    if share is None:
        raise ValueError(f"expected a plan with a stride, got {name!r}")
    return max(int(share * patch), 1)


def find_plan(name: str, stride: int | None = None) -> Plan:
    """Plan by name.

    Parameters
    ----------
    stride : latent pixels between windows, for plans that have a stride; the plan's own by default.

    Raises
    ------
    ValueError : unknown name, or a stride for a plan that has none.
    """
    if name not in PLANS:
        raise ValueError(f"expected a plan among {', '.join(PLANS)}, got {name!r}")
    if stride is None:
        return PLANS[name]
    strided = [other for other, traits in TRAITS.items() if traits.stride is not None]
    if name not in strided:
        raise ValueError(f"expected a plan among {', '.join(strided)} for a stride, got {name!r}")
    draw: Callable[..., Iterator[View]] = PLANS[name]
    return partial(draw, stride=stride)


@plan("random-patch", wraps=True)
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


@plan("torus-grid", wraps=True)
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


@plan("sliding-window", stride=1 / 2)
def sliding_window(size: Size, patch: int, generator: torch.Generator, *, stride: int | None = None) -> Iterator[View]:
    """Windows in raster order; the first writer wins, the last of an axis is flush with the border. Nothing is random.

    Parameters, yields and raises as in `multidiffusion`, but windows are ``patch // 2`` apart by default.
    """
    tops, lefts = (_starts(n, patch, usual_stride("sliding-window", patch), stride) for n in size)
    yield from _first_writer(size, patch, tops, lefts)


@plan("multidiffusion", stride=1 / 4)
def multidiffusion(size: Size, patch: int, generator: torch.Generator, *, stride: int | None = None) -> Iterator[View]:
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
    tops, lefts = (_starts(n, patch, usual_stride("multidiffusion", patch), stride) for n in size)
    yield from _average(size, patch, tops, lefts, torch.ones)


@plan("mixture", stride=3 / 4)
def mixture(size: Size, patch: int, generator: torch.Generator, *, stride: int | None = None) -> Iterator[View]:
    """Average of windows that fade towards their edges (Mixture of Diffusers, Barbero Jiménez, 2023), by a Hann window.

    Windows are the same at all levels, so that most pixels are painted by one window throughout, as in training;
    between two windows the weight passes gradually from one to the other.
    Parameters, yields and raises as in `multidiffusion`, but windows are evenly spread, at most three quarters of a
    patch from each other.
    """
    axes = [_starts(n, patch, usual_stride("mixture", patch), stride) for n in size]
    tops, lefts = ([k * axis[-1] // max(len(axis) - 1, 1) for k in range(len(axis))] for axis in axes)
    yield from _average(size, patch, tops, lefts, lambda n: hann(1, n)[0])


@plan("diffcollage")
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


def _randint(high: int, generator: torch.Generator) -> int:
    return int(torch.randint(high, (1,), generator=generator))


def _starts(n: int, patch: int, usual: int, stride: int | None = None) -> list[int]:
    """First pixels of windows along an axis, stride or the usual distance apart, the last one flush with the border."""
    stride, last = usual if stride is None else stride, max(n - patch, 0)
    if stride < 1:
        raise ValueError(f"expected a stride of at least 1 latent pixel, got {stride}")
    return [*range(0, last, stride), last]


def _claim(free: Tensor, window: Window) -> View:
    """The window with weight 1 on its free pixels, which are taken from then on."""
    index = window.index((free.shape[0], free.shape[1]))
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
