"""Rows of the report card: every registered metric is measured by the function here that belongs to its arguments.

All of them return a `Measured`, and one function makes a row of it. A row is what JSON takes: ``name``, ``features``
(the extractor, or "Space" for what is measured on the pictures themselves), ``about``, ``better``, ``value``, ``low``,
``high``, ``matched``, ``real``, and ``p`` where the metric is a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics import fidelity, privacy, tissue  # noqa: F401  (their metrics are registered on import)
from ..metrics.registry import Measured, Metric, metrics_on
from ..metrics.resampling import Interval, bootstrap, halves

SPACE = "Space"
MIN_SAMPLES = 12  # under which nothing is compared, and no interval is given
MAX_PICTURES = 100  # tiles or masks of a set on which functions of one picture are called


@dataclass(frozen=True)
class Draws:
    """How intervals are drawn: the generator, and how many times a set is drawn anew."""

    generator: np.random.Generator
    repeats: int = 50


def rows_on(kind: str, features: str, measure: Callable[[Metric], Measured | None], notes: list[str]) -> list[dict]:
    """A row for each registered metric on one kind of argument; what cannot be measured becomes a sentence in `notes`.

    Parameters
    ----------
    kind : see `metrics.registry`
    features : what the rows name as their features
    measure : one of the functions of this module with all but the metric filled in
    """
    rows = []
    for metric in metrics_on(kind):
        found = _or_note(f"{metric.name} on {features}", notes, lambda metric=metric: measure(metric))
        if found is not None:
            rows.append(row(metric, features, found))
    return rows


def row(metric: Metric, features: str, found: Measured) -> dict:
    """One line of the card; the interval ends where the number does, of which resampling knows nothing.

    >>> row(Metric("A", len, "real", bounds=(0, 1)), "Handcrafted", Measured(0.5, low=-0.1, high=1.2))["high"]
    1.0
    """
    numbers = {"value": found.value, "low": found.low, "high": found.high}
    for bound in ("low", "high"):
        if numbers[bound] is not None:
            numbers[bound] = np.clip(numbers[bound], *metric.bounds)
    numbers |= {"matched": found.matched, "real": found.real}
    about = ", ".join(part for part in (metric.about, found.detail) if part)
    line = {"name": metric.name, "features": features, "about": about, "better": metric.better}
    line |= {key: None if number is None else round(float(number), 6) for key, number in numbers.items()}
    return line if found.p_value is None else line | {"p": round(found.p_value, 4)}


def against_real(metric: Metric, real: np.ndarray, synthetic: np.ndarray, draws: Draws) -> Measured:
    """A metric between features (or class probabilities) of real (N, D) and synthetic samples (M, D).

    Intervals come from halves without replacement: a tile drawn twice would be its own neighbour, or be learnt in one
    fold and judged in another.
    """
    function = metric.seeded(draws.generator)
    repeats, splits = (max(2, draws.repeats // 2), 3) if metric.slow else (draws.repeats, 10)
    found = bootstrap(function, real, synthetic, generator=draws.generator, repeats=repeats)
    return Measured(found.value, found.low, found.high, **halves(function, real, synthetic, draws.generator, splits))


def against_training(
    metric: Metric, real: np.ndarray, synthetic: np.ndarray, train: np.ndarray, draws: Draws
) -> Measured:
    """A metric between features of training samples and of synthetic ones, beside that of real ones."""
    found = bootstrap(lambda x: metric.function(train, x), synthetic, generator=draws.generator, repeats=draws.repeats)
    return Measured(found.value, found.low, found.high, real=metric.function(train, real))


def beside_held_out(
    metric: Metric, real: np.ndarray, synthetic: np.ndarray, train: np.ndarray, draws: Draws, notes: list[str], on: str
) -> Measured:
    """A metric that compares synthetic with held-out real samples by their place among training samples, in cells.

    `real` of the result is the metric of one half of the held-out samples beside the other. `on` names the features in
    the note on an interval that could not be had.
    """
    generator = draws.generator
    cells = max(1, min(5, len(real) // 40, len(synthetic) // 40, len(train) // 2))
    order = generator.permutation(len(real))
    a, b = real[order[: len(real) // 2]], real[order[len(real) // 2 :]]
    seed = int(generator.integers(2**31))

    def score(test: np.ndarray, others: np.ndarray) -> float:
        same_cells = np.random.default_rng(seed)  # train is fixed, and so is what k-means makes of it
        return metric.function(train, test, others, same_cells, cells=cells)

    def interval() -> Interval:
        # with replacement: z grows with the root of the count, so that halves would have a z of their own. A tile drawn
        # twice does no harm, it is no neighbour of itself but only of train
        options = {"generator": generator, "repeats": draws.repeats, "replace": True}
        return bootstrap(score, real, synthetic, **options)

    value, within = score(real, synthetic), score(a, b)
    found = _or_note(f"The interval of {metric.name} on {on}", notes, interval)
    low, high = (found.low, found.high) if found else (None, None)
    return Measured(value, low, high, real=within, detail=f"{cells} {'cell' if cells == 1 else 'cells'}")


def over_pictures(metric: Metric, real: Sequence | None, synthetic: Sequence, draws: Draws) -> Measured | None:
    """A metric of single tiles or masks, averaged over at most 100 of each set.

    None where no picture has anything to measure, or where all masks of both sets have 0: a label that is not there.
    The interval needs one number from each of at least 12 pictures.
    """
    parts = _measure_pictures(metric, synthetic, "synthetic")
    values = np.concatenate(parts)
    base = np.concatenate(_measure_pictures(metric, real, "real")) if real is not None and len(real) else np.zeros(0)
    if not len(values) or (metric.on == "mask" and not values.any() and not base.any()):
        return None
    low = high = None
    if len(parts) >= MIN_SAMPLES and all(len(part) == 1 for part in parts) and np.isfinite(values).all():
        found = bootstrap(metric.average, values[:, None], generator=draws.generator, repeats=draws.repeats)
        low, high = found.low, found.high
    averages = [float(metric.average(x)) if len(x) else None for x in (values, base)]
    for role, average in zip(("synthetic", "real"), averages, strict=True):
        if average is not None and not np.isfinite(average):
            raise ValueError(f"expected a finite average over the {role} {metric.on}s, got {average}")
    return Measured(averages[0], low, high, real=averages[1])


def of_canvas(metric: Metric, canvas: tissue.PaintedCanvas) -> Measured | None:
    """A metric of one generated canvas."""
    found = metric.function(canvas)
    return found if found is None or isinstance(found, Measured) else Measured(found)


def _measure_pictures(metric: Metric, pictures: Sequence, role: str) -> list[np.ndarray]:
    """The numbers of each picture that can be measured, which more than half of them have to be."""
    pictures, found = pictures[:MAX_PICTURES], []
    for picture in pictures:
        try:
            found.append(np.ravel(metric.function(picture)))
        except ValueError:
            continue
    if 2 * len(found) <= len(pictures):
        raise ValueError(
            f"expected {role} {metric.on}s that are large enough and have some texture, got {len(found)} of "
            f"{len(pictures)} such"
        )
    return found


def _or_note(what: str, notes: list[str], compute: Callable[[], object]):
    """What is computed, or None and a sentence on why it could not be measured."""
    try:
        return compute()
    except ValueError as error:
        notes.append(f"{what} was not measured: {error}.")
        return None
