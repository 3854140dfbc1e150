"""Numbers beside a generated pair: what it cost, whether windows show, whether its tissue is what its labels say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.annotate import annotate
from ..data.tiles import to_tensor
from ..labels import CELL_PX
from ..metrics.spatial import seam_statistic
from ..pipelines.config import SamplingConfig
from ..pipelines.pair import Pair
from ..sampling.seams import window_lines


@dataclass(frozen=True)
class Figures:
    """Numbers of one pair; None where there is nothing to measure.

    Attributes
    ----------
    evaluations : of the image model
    seconds : of sampling and decoding
    seams : steps between pixels where windows meet over steps elsewhere, 1 without seams; None for a single window
    faithfulness : share of pixels whose label the classical annotation of the picture (`data.annotate`) confirms,
        among those where both say one
    """

    evaluations: int
    seconds: float
    seams: float | None
    faithfulness: float | None


def measure(pair: Pair) -> Figures:
    """The figures of a pair with its run."""
    seconds = sum(pair.run["seconds"].get(stage, 0.0) for stage in ("sampling", "decoding"))
    return Figures(pair.run["network_evaluations"], round(seconds, 2), seams(pair), faithfulness(pair))


def seams(pair: Pair) -> float | None:
    """The seam statistic at the lines where the windows of a pair met (`metrics.spatial`)."""
    config, size = SamplingConfig.from_run(pair.run), pair.image.shape[:2]
    lines = window_lines(config.find_plan(), (size[0] // CELL_PX, size[1] // CELL_PX), config.window)
    rows, columns = ([CELL_PX * at for at in axis] for axis in (lines.rows, lines.columns))
    if not rows and not columns:
        return None
    return round(seam_statistic(to_tensor(pair.image).numpy(), rows, columns).ratio, 3)


def faithfulness(pair: Pair) -> float | None:
    """How far a picture's own annotation agrees with the mask it was painted under."""
    seen = annotate(pair.image, pair.run["context"])
    both = (seen > 0) & (pair.mask > 0)
    return round(float((seen == pair.mask)[both].mean()), 3) if both.any() else None


def difference(one: np.ndarray, other: np.ndarray, times: int = 8) -> np.ndarray:
    """By how much two pictures uint8 (H, W, 3) differ, so many times larger, on black.

    >>> difference(np.full((1, 1, 3), 100, np.uint8), np.full((1, 1, 3), 90, np.uint8))[0, 0].tolist()
    [80, 80, 80]
    """
    return np.minimum(times * np.abs(one.astype(int) - other.astype(int)), 255).astype(np.uint8)
