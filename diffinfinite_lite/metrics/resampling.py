r"""Resampling: checks on feature sets, and how far a metric's number can be trusted.

A metric :math:`T` of N samples scatters, and most metrics are biased at finite N. Two tools, both on whole
rows:

- `bootstrap`: redraw the sets R times, :math:`T^*_1, \dots, T^*_R`, and put the quantiles of
  :math:`T^*_i - \overline{T^*}` around :math:`T`; the spread is used, the bias of redrawing is not.
- `halves`: the metric between synthetic and half of the real set, and between two halves of the real set, all of one
  size, so that both have the same bias: their ratio says how far synthetic is in units of real against real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Statistic = Callable[..., float]


@dataclass(frozen=True)
class Interval:
    """A value with the bounds between which resampling puts it."""

    value: float
    low: float
    high: float


def check(minimum: int, **sets: np.ndarray) -> list[np.ndarray]:
    """Feature sets as float64 arrays (N, D) of one D, or a sentence that says what is wrong with them.

    Raises
    ------
    ValueError : not (N, D), fewer than `minimum` rows, another D than the first set, or not finite.

    >>> check(4, real=np.zeros((3, 2)))
    Traceback (most recent call last):
    ...
    ValueError: expected at least 4 samples in 'real', got 3
    """
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in sets.items()}
    width = None
    for name, array in arrays.items():
        if array.ndim != 2:
            raise ValueError(f"expected '{name}' of shape (N, D), got {array.shape}")
        width = width or array.shape[1]
        if len(array) < minimum:
            raise ValueError(f"expected at least {minimum} samples in '{name}', got {len(array)}")
        if array.shape[1] != width:
            raise ValueError(f"expected {width} features a sample in '{name}', got {array.shape[1]}")
        if not np.isfinite(array).all():
            bad = (~np.isfinite(array).all(1)).sum()
            raise ValueError(f"expected finite features in '{name}', got NaN or infinity in {bad} rows")
    return list(arrays.values())


def bootstrap(
    metric: Statistic,
    *sets: np.ndarray,
    generator: np.random.Generator,
    repeats: int = 100,
    level: float = 0.95,
    replace: bool = False,
) -> Interval:
    """Interval of a metric by resampling the rows of every set.

    By default each repeat draws half of every set without replacement (the delete-half jackknife: its
    variance estimates the full sample's, Shao and Wu 1989). A drawn-with-replacement bootstrap repeats
    samples, and a duplicate is its own neighbour: precision, recall and authenticity would be measured on
    another kind of set. The repeats' spread is laid around the value on the full sets, so that their smaller
    size adds no bias.

    Parameters
    ----------
    metric : called with as many arrays as there are sets, returns a number
    sets : (N, D) each; rows must be independent (several tiles of one slide are not)
    level : probability of the interval
    replace : draw N of N with replacement instead; for metrics without neighbours

    Raises
    ------
    ValueError : level not in (0, 1), fewer than two repeats, or see `check`.

    >>> x = np.random.default_rng(0).normal(size=(400, 1))
    >>> mean = bootstrap(lambda x: x.mean(), x, generator=np.random.default_rng(1))
    >>> mean.low < 0 < mean.high
    True
    """
    if not 0 < level < 1 or repeats < 2:
        raise ValueError(f"expected a level in (0, 1) and 2 or more repeats, got {level} and {repeats}")
    sets = check(4, **{f"set {i + 1}": x for i, x in enumerate(sets)})

    def draw(x: np.ndarray) -> np.ndarray:
        return x[generator.choice(len(x), len(x) if replace else len(x) // 2, replace=replace)]

    value = float(metric(*sets))
    values = np.array([metric(*map(draw, sets)) for _ in range(repeats)])
    low, high = np.quantile(values - values.mean(), [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, value + float(low), value + float(high))


def halves(
    metric: Statistic, real: np.ndarray, synthetic: np.ndarray, generator: np.random.Generator, splits: int = 10
) -> dict[str, float]:
    """The metric of synthetic and of real samples, both against halves of the real set, all sets of one size.

    Each split divides real into random halves A and B and draws as many synthetic samples.

    Parameters
    ----------
    metric : called with two arrays, returns a number
    real, synthetic : (N, D) and (M, D)

    Returns
    -------
    ``matched``, mean of metric(A, synthetic), and ``real``, mean of metric(A, B). Their ratio is 1 for samples that are
    as near to real as real ones are.

    Raises
    ------
    ValueError : see `check`.

    >>> x = np.random.default_rng(0).normal(size=(400, 4))
    >>> found = halves(lambda a, b: abs(a.mean() - b.mean()), x[:200], x[200:], np.random.default_rng(0), splits=50)
    >>> 0.5 < found["matched"] / found["real"] < 2
    True
    """
    real, synthetic = check(4, real=real, synthetic=synthetic)
    size = min(len(real) // 2, len(synthetic))
    values = []
    for _ in range(splits):
        order = generator.permutation(len(real))
        a, b = real[order[:size]], real[order[size : 2 * size]]
        values.append((metric(a, synthetic[generator.permutation(len(synthetic))[:size]]), metric(a, b)))
    matched, within = np.mean(values, axis=0)
    return {"matched": float(matched), "real": float(within)}
