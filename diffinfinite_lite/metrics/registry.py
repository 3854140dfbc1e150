"""The numbers of the report card: one `Metric` each, with all that the card needs in order to measure and explain it.

A metric is registered in the module that defines its function. From then on every report has a row for it, with an
interval where one can be had, the same number for real tiles, and its explanation on the page. What a function is
called with depends on `Metric.on`:

============  ==========================================================================================
features      ``function(real, synthetic)``, features (N, D) and (M, D) of one extractor
classes       the same with class probabilities (N, C), where the extractor's network names classes
training      ``function(train, tiles)``, features of training tiles and of others
held-out      ``function(train, test, tiles, generator, cells=...)``, features; ``cells`` of the training set
tile, mask    ``function(picture)``, an image (3, H, W) in [-1, 1] or labels (H, W); averaged over a set
canvas        ``function(canvas)``, a `tissue.PaintedCanvas`
============  ==========================================================================================

A function raises ValueError where it cannot be measured (the report then says why), and returns None, or an array
without entries, where there is nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

ON = ("features", "classes", "training", "held-out", "tile", "mask", "canvas")
BETTER = {
    "low": "lower is better",
    "high": "higher is better",
    "zero": "0 is best, below -3 copies",
    "half": "0.5 is best",
    "real": "as Real is best, far below copies",
    "same": "as Real is best",
    "one": "1 without traces",
    "none": "larger: correlated over a longer distance",
}
SHARE = (0.0, 1.0)
POSITIVE = (0.0, math.inf)


@dataclass(frozen=True)
class Measured:
    """A measured number.

    Attributes
    ----------
    value : on everything given
    low, high : bounds of its 95% interval
    matched, real : synthetic against real, and real against real, at one smaller count; `real` alone is the same number
        of real tiles
    p_value : of a test, where the metric is one
    detail : what else the explanation has to say of this very measurement
    """

    value: float
    low: float | None = None
    high: float | None = None
    matched: float | None = None
    real: float | None = None
    p_value: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Metric:
    """A number of the report card.

    Attributes
    ----------
    name : short and unique; also the name of its limit on the command line
    function : see the table above
    better : which way is better, a key of `BETTER`
    bounds : lowest and highest value there can be; intervals are cut there
    about : what it is: the equation of the paper, a source, a unit
    on : what the function is called with, one of `ON`
    random : whether the function takes a generator as its last argument (`on` features)
    slow : whether it is resampled less often than the others (`on` features)
    one_per_cluster : whether near-duplicates among the tiles falsify it
    average : of a number that each tile or mask has, over all of them: ``np.mean`` or ``np.median``
    sentence : a row of the report to a sentence for readers without statistics, or None to say nothing

    Raises
    ------
    ValueError : an unknown direction, an unknown kind of argument, or bounds in the wrong order.

    >>> spread = Metric("spread", lambda real, synthetic: synthetic.std(), "same", POSITIVE, "standard deviation")
    >>> spread.on, BETTER[spread.better]
    ('features', 'as Real is best')
    """

    name: str
    function: Callable
    better: str
    bounds: tuple[float, float] = (-math.inf, math.inf)
    about: str = ""
    on: str = "features"
    random: bool = False
    slow: bool = False
    one_per_cluster: bool = True
    average: Callable[[np.ndarray], float] = field(default_factory=lambda: np.mean)
    sentence: Callable[[Mapping], str | None] | None = None

    def __post_init__(self) -> None:
        if self.better not in BETTER:
            raise ValueError(f"expected a direction among {', '.join(BETTER)}, got {self.better!r}")
        if self.on not in ON:
            raise ValueError(f"expected a kind of argument among {', '.join(ON)}, got {self.on!r}")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"expected a lower and an upper bound, got {self.bounds}")

    def seeded(self, generator: np.random.Generator) -> Callable:
        """The function with its generator filled in, where it takes one."""
        return partial(self.function, generator=generator) if self.random else self.function


METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> Metric:
    """Make a metric part of every report from now on.

    Raises
    ------
    ValueError : another metric has its name.
    """
    if metric.name in METRICS:
        raise ValueError(f"expected a name that no other metric has, got {metric.name!r} twice")
    METRICS[metric.name] = metric
    return metric


def metrics_on(kind: str) -> list[Metric]:
    """The registered metrics whose function takes this kind of argument, in the order in which they were registered."""
    return [metric for metric in METRICS.values() if metric.on == kind]
