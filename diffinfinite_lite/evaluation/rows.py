"""Rows of the report card: one number of fidelity or privacy each, with its interval and the same for real tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import nn

from ..metrics import fidelity, privacy, resampling
from ..metrics.features import Cached, FeatureExtractor, ModuleFeatures

# name, equation or source, which way is better, metric
METRICS: list[tuple[str, str, str, fidelity.Metric]] = [
    ("FD", "Fréchet distance", "low", fidelity.frechet_distance),
    ("KD", "kernel distance (KID)", "low", fidelity.kernel_distance),
    ("precision", "eq. 11", "high", lambda r, s: fidelity.precision_recall(r, s).precision),
    ("recall", "eq. 12", "high", lambda r, s: fidelity.precision_recall(r, s).recall),
    ("density", "Naeem et al., 2020", "high", lambda r, s: fidelity.density_coverage(r, s).density),
    ("coverage", "Naeem et al., 2020", "high", lambda r, s: fidelity.density_coverage(r, s).coverage),
]


def row(name: str, features: str, about: str, better: str, value: float, **others: float | None) -> dict:
    """One line of the card: `others` are low, high, matched and real, None or missing where not measured.

    >>> row("A", "Handcrafted", "eq. 13", "real", 0.5, low=-0.1, high=1.2)["high"]
    1.0
    """
    keys = ("low", "high", "matched", "real")
    if others.get("low") is not None and name not in ("KD", "C_T"):  # resampling knows no bounds, these numbers do
        shares = ("precision", "recall", "coverage", "told apart", "A")
        top = 1.0 if name in shares or name.startswith("share of") else np.inf
        others |= {bound: np.clip(others[bound], 1 if name == "IS" else 0, top) for bound in ("low", "high")}
    found = {"name": name, "features": features, "about": about, "better": better, "value": round(float(value), 6)}
    return found | {k: None if others.get(k) is None else round(float(others[k]), 6) for k in keys}


def halves(metric: fidelity.Metric, real: np.ndarray, synthetic: np.ndarray, generator, splits=10) -> dict:
    """Means of metric(A, synthetic) and metric(A, B) over random halves A, B of real, all sets of one size."""
    size, values = min(len(real) // 2, len(synthetic)), []
    for _ in range(splits):
        order = generator.permutation(len(real))
        a, b = real[order[:size]], real[order[size : 2 * size]]
        values.append((metric(a, synthetic[generator.permutation(len(synthetic))[:size]]), metric(a, b)))
    return dict(zip(("matched", "real"), np.mean(values, axis=0), strict=True))


def fidelity_rows(name: str, real: np.ndarray, synthetic: np.ndarray, generator, repeats: int) -> list[dict]:
    """All rows that compare synthetic features (M, D) with real ones (N, D)."""
    rows = []
    for metric_name, about, better, metric in METRICS:
        found = resampling.bootstrap(metric, real, synthetic, generator=generator, repeats=repeats)
        both = halves(metric, real, synthetic, generator)
        rows.append(row(metric_name, name, about, better, found.value, low=found.low, high=found.high, **both))

    def tell(a: np.ndarray, b: np.ndarray) -> float:
        return fidelity.classifier_two_sample(a, b, generator)

    # a tile drawn twice could be learnt in one fold and asked for in another: halves here as well
    found = resampling.bootstrap(tell, real, synthetic, generator=generator, repeats=max(2, repeats // 2))
    both = halves(tell, real, synthetic, generator, splits=3)
    about = "logistic regression, balanced accuracy"
    return [*rows, row("told apart", name, about, "half", found.value, low=found.low, high=found.high, **both)]


def class_probabilities(extractor: FeatureExtractor) -> FeatureExtractor | None:
    """Softmax of the extractor's class logits, (N, C), kept in the extractor's cache if it has one.

    None where it has no `classes`: a layer in the middle of a network does not say what its classes are.
    """
    plain = extractor.extractor if isinstance(extractor, Cached) else extractor
    if not isinstance(plain, ModuleFeatures) or plain.classes is None:
        return None
    network = nn.Sequential(plain.classes, nn.Softmax(dim=1))
    found = replace(plain, module=network, name=f"{plain.name}-classes", classes=None)
    return Cached(found, extractor.folder) if isinstance(extractor, Cached) else found


def inception_row(name: str, real: np.ndarray, synthetic: np.ndarray, generator, repeats: int) -> dict:
    """Inception score of class probabilities (M, C) of synthetic tiles, beside that of real ones (N, C)."""

    def metric(_: np.ndarray, probabilities: np.ndarray) -> float:
        return fidelity.inception_score(probabilities)

    found = resampling.bootstrap(metric, real, synthetic, generator=generator, repeats=repeats)
    both = halves(metric, real, synthetic, generator)
    about = "inception score on ImageNet's classes, which are not tissues"
    return row("IS", name, about, "same", found.value, low=found.low, high=found.high, **both)


def privacy_rows(
    name: str,
    real: np.ndarray,
    synthetic: np.ndarray,
    train: np.ndarray,
    generator: np.random.Generator,
    repeats: int,
    notes: list[str],
) -> list[dict]:
    """Authenticity and C_T; a C_T that cannot be measured, or has no interval, becomes a sentence in `notes`."""
    found = resampling.bootstrap(
        lambda s: privacy.authenticity(train, s), synthetic, generator=generator, repeats=repeats
    )
    fresh = privacy.authenticity(train, real)
    rows = [row("A", name, "authenticity, eq. 13", "real", found.value, low=found.low, high=found.high, real=fresh)]
    cells = max(1, min(5, len(real) // 40, len(synthetic) // 40, len(train) // 2))
    half = generator.permutation(len(real))
    a, b = real[half[: len(real) // 2]], real[half[len(real) // 2 :]]

    seed = int(generator.integers(2**31))

    def score(test: np.ndarray, others: np.ndarray) -> float:
        same_cells = np.random.default_rng(seed)  # train is fixed, and so is what k-means makes of it
        return privacy.data_copying_ct(train, test, others, same_cells, cells=cells).score

    def spread() -> resampling.Interval:
        # with replacement: z grows with the root of the count, so that halves would have a z of their own. A tile drawn
        # twice does no harm, it is no neighbour of itself but only of train
        return resampling.bootstrap(score, real, synthetic, generator=generator, repeats=repeats, replace=True)

    def copying() -> dict:
        about = f"data copying, eq. 14, {cells} {'cell' if cells == 1 else 'cells'}"
        found = {"value": score(real, synthetic), "real": score(a, b)}
        for interval in attempt(f"The interval of C_T on {name}", notes, spread):
            found |= {"low": interval.low, "high": interval.high}
        return row("C_T", name, about, "zero", **found)

    return [*rows, *attempt(f"C_T on {name}", notes, copying)]


def attempt(what: str, notes: list[str], compute: Callable[[], object]) -> list:
    """What is computed, or nothing and a sentence on why it could not be measured."""
    try:
        return [compute()]
    except ValueError as error:
        notes.append(f"{what} was not measured: {error}.")
        return []


def nearest(synthetic: np.ndarray, train: np.ndarray, count: int = 6) -> list[dict]:
    """The synthetic tiles nearest to a training tile, closest first."""
    found = privacy.nearest_neighbours(synthetic, train)
    order = np.argsort(found.distance[:, 0], kind="stable")[:count]
    return [
        {"synthetic": int(i), "train": int(found.index[i, 0]), "distance": round(float(found.distance[i, 0]), 4)}
        for i in order
    ]


def sketch(real: np.ndarray, synthetic: np.ndarray, most: int = 400, k: int = 3) -> dict:
    """First two principal components of real, and who lies on the other's manifold (eq. 10) in all dimensions.

    Returns
    -------
    ``real``, ``synthetic``: at most so many points of each set; ``on_synthetic``, ``on_real``: a truth value for each
    of them; ``k`` and ``dimensions``
    """
    axes = np.linalg.svd(real - real.mean(0), full_matrices=False)[2][:2]
    shown = {"k": k, "dimensions": real.shape[1]}
    for name, other, points, centres in (
        ("real", "on_synthetic", real, synthetic),
        ("synthetic", "on_real", synthetic, real),
    ):
        points = points[:most]
        radius = fidelity.radii(centres, k)
        inside = [(block <= radius).any(1) for block in fidelity.distances(points, centres)]
        shown[name] = np.round((points - real.mean(0)) @ axes.T, 3).tolist()
        shown[other] = np.concatenate(inside).tolist()
    return shown
