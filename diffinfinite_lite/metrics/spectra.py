r"""Spectra: how much of a picture varies at which spatial frequency, and what a network's own grid adds to it.

Tiles are cut to a square, multiplied with a Hann window, so that their borders are no edges, and transformed; power is
averaged over tiles and channels. Frequencies are counted in periods a tile, up to side / 2 (Nyquist). A network that
enlarges its maps by a factor leaves a lattice of that period, whose power sits in single points of the plane of
frequencies where tissue has none. JPEG leaves one of 8 px.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.fft import rfft2
from scipy.stats import mannwhitneyu

PERIODS = (2, 4, 8)  # px, of the layers of an autoencoder that reduces by 8
FINE = 0.6  # of Nyquist: frequencies above it are those of `fine_power`


def power(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Mean power by frequency, of pictures (C, H, W), or latents, to (n, n) with frequency 0 in its corner.

    Raises
    ------
    ValueError : no pictures, of several sizes, or under 16 px.

    >>> wave = np.cos(2 * np.pi * 3 * np.arange(16) / 16) * np.ones((1, 16, 1))
    >>> found = power([wave])
    >>> tuple(map(int, np.unravel_index(found.argmax(), found.shape))) in ((0, 3), (0, 13))
    True
    """
    total, count, window = None, 0, None
    for picture in pictures:
        picture = np.asarray(picture, dtype=np.float32)
        side = min(picture.shape[-2:]) // 8 * 8 if min(picture.shape[-2:]) >= 64 else min(picture.shape[-2:]) // 2 * 2
        if side < 16 or picture.ndim != 3:
            raise ValueError(f"expected pictures (C, H, W) of at least 16 px, got {picture.shape}")
        if window is None:
            hann = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
            window = np.outer(hann, hann)
        elif len(window) != side:
            raise ValueError(f"expected pictures of one size, got sides of {len(window)} and {side}")
        square = picture[:, :side, :side]
        square = square - square.mean((1, 2), keepdims=True)
        half = np.abs(rfft2(square * window, workers=1)) ** 2
        total, count = half.mean(0) + (0 if total is None else total), count + 1
    if total is None:
        raise ValueError("expected at least one picture, got none")
    half, side = total / count, len(total)
    other = np.roll(half[::-1, 1 : side // 2][:, ::-1], 1, axis=0)  # of a real picture, the same in the opposite point
    return np.concatenate([half, other], axis=1) / side**2


def rings(power: np.ndarray) -> np.ndarray:
    """Mean power (n, n) by distance from frequency 0: of 0, 1, ... up to Nyquist, (n / 2 + 1,).

    >>> rings(np.ones((16, 16))).tolist() == [1.0] * 9
    True
    """
    side = len(power)
    steps = np.fft.fftfreq(side, 1 / side)
    ring = np.hypot(steps[:, None], steps).round().astype(int).ravel()
    return (np.bincount(ring, power.ravel()) / np.bincount(ring))[: side // 2 + 1]


def lattice(power: np.ndarray, period: int) -> float:
    """Power at the points of a lattice of `period` px over that around them: about 1 where there is no lattice.

    The points are those of the period itself along rows, columns and diagonals. Each counts with its eight neighbours,
    over which the Hann window spreads it; around it are those up to 5 away.

    Raises
    ------
    ValueError : a period that does not divide the side.

    >>> round(lattice(np.ones((32, 32)), 4), 3)
    1.0
    """
    side = len(power)
    if period < 2 or side % period or side < 32:
        raise ValueError(f"expected a period that divides a side of at least 32 px, got {period} and {side}")
    step, points = side // period, []
    for row, column in ((step, 0), (0, step), (step, step), (step, -step)):
        around = np.roll(power, (5 - row, 5 - column), (0, 1))[:11, :11]
        far = np.ones_like(around, dtype=bool)
        far[3:8, 3:8] = False
        points.append(around[4:7, 4:7].mean() / around[far].mean())
    return float(np.mean(points))


def grid_energy(real: np.ndarray, synthetic: np.ndarray) -> dict[int, float]:
    """`lattice` of made pictures over that of real ones, by period: 1 where they have what real ones have.

    Parameters
    ----------
    real, synthetic : of `power`

    >>> grid_energy(np.ones((32, 32)), np.ones((32, 32)))
    {2: 1.0, 4: 1.0, 8: 1.0}
    """
    return {period: lattice(synthetic, period) / lattice(real, period) for period in PERIODS}


def fine_power(picture: np.ndarray) -> float:
    """Mean power of a picture (C, H, W) in rings above `FINE` of Nyquist."""
    found = rings(power([picture]))
    return float(found[int(np.ceil(FINE * (len(found) - 1))) :].mean())


def fine_auc(real: Iterable[np.ndarray], synthetic: Iterable[np.ndarray]) -> float:
    """Probability that a made picture has more `fine_power` than a real one, ties counted half: 1/2 where they agree.

    Near 0 made pictures are too smooth, near 1 too grainy.

    Raises
    ------
    ValueError : a set without pictures, or pictures as `power` refuses them.

    >>> noise = np.random.default_rng(0).normal(size=(12, 3, 32, 32))
    >>> fine_auc(noise[:6], 0.5 * noise[6:]), fine_auc(noise[:6], 2 * noise[6:])
    (0.0, 1.0)
    """
    sets = [[fine_power(picture) for picture in pictures] for pictures in (synthetic, real)]
    if not all(sets):
        raise ValueError(f"expected pictures in both sets, got {len(sets[1])} real and {len(sets[0])} made ones")
    return float(mannwhitneyu(*sets).statistic / (len(sets[0]) * len(sets[1])))
