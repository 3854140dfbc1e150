r"""Report card: every number beside the same number for real tiles, and the pictures it speaks of.

For a metric T between real R and synthetic S the card gives T(R, S) with an interval and, at one smaller
size n,

.. math:: \text{matched} = \overline{T(R_A, S_n)}, \quad \text{real} = \overline{T(R_A, R_B)},

means over random halves A, B of R. `real` is what a perfect model would score, `matched` what this one
scores under the same conditions; only these two compare. Features are standardised on R. A second extractor,
which the model was not trained on, is reported beside the first. `evaluate` computes, `write_report` writes
JSON and one HTML page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from . import fidelity, privacy
from .features import FeatureExtractor, HandcraftedFeatures, Standardiser, efficientnet_features
from .report_page import page

# name, equation or source, which way is better, metric
_METRICS: list[tuple[str, str, str, fidelity.Metric]] = [
    ("FD", "Fréchet distance", "low", fidelity.frechet_distance),
    ("KD", "kernel distance (KID)", "low", fidelity.kernel_distance),
    ("precision", "eq. 11", "high", lambda r, s: fidelity.precision_recall(r, s).precision),
    ("recall", "eq. 12", "high", lambda r, s: fidelity.precision_recall(r, s).recall),
    ("density", "Naeem et al., 2020", "high", lambda r, s: fidelity.density_coverage(r, s).density),
    ("coverage", "Naeem et al., 2020", "high", lambda r, s: fidelity.density_coverage(r, s).coverage),
]


def evaluate(
    real: Sequence[Tensor],
    synthetic: Sequence[Tensor],
    train: Sequence[Tensor] | None = None,
    extractor: FeatureExtractor | None = None,
    *,
    generator: np.random.Generator,
    control: FeatureExtractor | None = None,
    real_clusters: Sequence[str] | None = None,
    train_clusters: Sequence[str] | None = None,
    repeats: int = 50,
) -> dict:
    """Measure synthetic tiles against real ones.

    Parameters
    ----------
    real : held-out images (3, H, W) in [-1, 1], at least 12
    synthetic : images of the same size, at least 12
    train : what the model was trained on; without it memorisation cannot be measured
    extractor, control : EfficientNet-Lite0 and handcrafted features by default
    generator : for splits, resampling and k-means
    real_clusters, train_clusters : cluster or patient of each tile, to refuse a leak
    repeats : of the resampling behind the intervals

    Returns
    -------
    what `json.dump` takes: ``counts``, ``size``, ``rows`` (one per number: name, features, value, low, high,
    matched, real, better, about), ``nearest`` (synthetic and train index, closest first), ``sketch`` (first
    two principal components), ``notes`` (sentences on what could not be measured or compared)

    Raises
    ------
    ValueError : too few images, bad or mixed ones, train and real sharing a cluster or a picture.
    """
    for name, images in (("real", real), ("synthetic", synthetic)):
        if len(images) < 12:
            raise ValueError(f"expected at least 12 {name} images, got {len(images)}")
    shared = set(real_clusters or ()) & set(train_clusters or ())
    if shared:
        raise ValueError(
            f"expected real tiles of other clusters than train, got {len(shared)} in both: a leak"
        )
    sizes = {
        tuple(images[0].shape[-2:])
        for images in (real, synthetic, train)
        if images is not None and len(images)
    }
    if len(sizes) > 1:
        raise ValueError(f"expected real, synthetic and train images of one size, got {sorted(sizes)}")
    counts = {"real": len(real), "synthetic": len(synthetic), "train": len(train) if train is not None else 0}
    result = {"counts": counts, "size": list(sizes.pop()), "rows": [], "nearest": [], "notes": []}
    first, second = extractor or efficientnet_features(), control or HandcraftedFeatures()
    for each in [first] if first.name == second.name else [first, second]:
        sets = [each(images) for images in (real, synthetic)]
        sets += [each(train)] if train is not None and len(train) else []
        fidelity.check(1, real=sets[0], synthetic=sets[1])
        sets = [Standardiser.fit(sets[0])(x) for x in sets]
        if len(sets) == 3 and (privacy.nearest_neighbours(sets[0], sets[2]).distance < 1e-6).any():
            copies = int((privacy.nearest_neighbours(sets[0], sets[2]).distance < 1e-6).sum())
            raise ValueError(f"expected real tiles that are not in train, got {copies} that are: a leak")
        result["rows"] += _fidelity_rows(each.name, *sets[:2], generator, repeats)
        if len(sets) == 3:
            result["rows"] += _privacy_rows(each.name, *sets, generator, repeats, result["notes"])
        if each is first:
            result["sketch"] = _sketch(*sets[:2])
            result["nearest"] = _nearest(sets[1], sets[2]) if len(sets) == 3 else []
            if not np.ptp(sets[0], axis=0).any():
                result["notes"].append(
                    "All real tiles have the same features: no distance means anything here."
                )
    if not counts["train"]:
        result["notes"].append("No training tiles were given: memorisation (A, C_T) was not measured.")
    if min(counts["real"], counts["synthetic"]) < 1000:
        result["notes"].append(
            "Under 1,000 tiles FD is biased upward: compare Matched with Real, and equal counts only."
        )
    return result


def failures(result: Mapping, limits: Mapping[str, tuple[float | None, float | None]]) -> list[str]:
    """Sentences on the numbers outside their limits, for an exit code; empty if all hold.

    Parameters
    ----------
    result : of `evaluate`
    limits : name of a row -> (lowest, highest) value allowed, None for no limit; judged on every extractor

    Raises
    ------
    ValueError : a name that the report does not have.

    >>> row = {"name": "C_T", "features": "Handcrafted", "value": -9.0}
    >>> failures({"rows": [row]}, {"C_T": (-3, None)})
    ['C_T on Handcrafted is -9, expected at least -3']
    """
    missing = set(limits) - {row["name"] for row in result["rows"]}
    if missing:
        raise ValueError(f"expected names of measured numbers, got {', '.join(sorted(missing))}")
    found = []
    for row in result["rows"]:
        low, high = limits.get(row["name"], (None, None))
        for bound, word, broken in ((low, "least", np.less), (high, "most", np.greater)):
            if bound is not None and broken(row["value"], bound):
                found.append(
                    f"{row['name']} on {row['features']} is {row['value']:.3g}, "
                    f"expected at {word} {bound:.3g}"
                )
    return found


def write_report(
    result: Mapping,
    folder: str | Path,
    real: Sequence[Tensor],
    synthetic: Sequence[Tensor],
    train: Sequence[Tensor] | None = None,
    title: str = "Report card",
) -> Path:
    """Write ``report.json`` and ``report.html``, one page with its pictures inside; returns the page's path.

    Parameters
    ----------
    result : of `evaluate` on these images
    folder : made if it is missing; an earlier report in it is replaced
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(
        json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    )
    path = folder / "report.html"
    path.write_text(page(result, real, synthetic, train, title), encoding="utf-8")
    return path


def _row(name: str, features: str, about: str, better: str, value: float, **others: float | None) -> dict:
    row = {
        "name": name,
        "features": features,
        "about": about,
        "better": better,
        "value": round(float(value), 6),
    }
    keys = ("low", "high", "matched", "real")
    if others.get("low") is not None and name != "KD":  # resampling knows no bounds, these numbers do
        top = 1.0 if name in ("precision", "recall", "coverage", "A") else np.inf
        others |= {bound: np.clip(others[bound], 0, top) for bound in ("low", "high")}
    return row | {k: None if others.get(k) is None else round(float(others[k]), 6) for k in keys}


def _halves(metric: fidelity.Metric, real: np.ndarray, synthetic: np.ndarray, generator, splits=10) -> dict:
    """Means of metric(A, synthetic) and metric(A, B) over random halves of real, all sets of one size."""
    size, values = min(len(real) // 2, len(synthetic)), []
    for _ in range(splits):
        order = generator.permutation(len(real))
        a, b = real[order[:size]], real[order[size : 2 * size]]
        values.append((metric(a, synthetic[generator.permutation(len(synthetic))[:size]]), metric(a, b)))
    return dict(zip(("matched", "real"), np.mean(values, axis=0), strict=True))


def _fidelity_rows(name: str, real: np.ndarray, synthetic: np.ndarray, generator, repeats: int) -> list[dict]:
    rows = []
    for metric_name, about, better, metric in _METRICS:
        found = fidelity.bootstrap(metric, real, synthetic, generator=generator, repeats=repeats)
        both = _halves(metric, real, synthetic, generator)
        rows.append(
            _row(metric_name, name, about, better, found.value, low=found.low, high=found.high, **both)
        )

    def tell(a: np.ndarray, b: np.ndarray) -> float:
        return fidelity.classifier_two_sample(a, b, generator)

    both = _halves(tell, real, synthetic, generator, splits=3)
    about = "logistic regression, balanced accuracy"
    return [*rows, _row("told apart", name, about, "half", tell(real, synthetic), **both)]


def _privacy_rows(name, real, synthetic, train, generator, repeats: int, notes: list[str]) -> list[dict]:
    found = fidelity.bootstrap(
        lambda s: privacy.authenticity(train, s), synthetic, generator=generator, repeats=repeats
    )
    fresh = privacy.authenticity(train, real)
    rows = [
        _row(
            "A", name, "authenticity, eq. 13", "real", found.value, low=found.low, high=found.high, real=fresh
        )
    ]
    cells = max(1, min(5, len(real) // 40, len(synthetic) // 40, len(train) // 2))
    half = generator.permutation(len(real))
    a, b = real[half[: len(real) // 2]], real[half[len(real) // 2 :]]

    def score(test: np.ndarray, others: np.ndarray) -> float:
        return privacy.data_copying_ct(train, test, others, generator, cells=cells).score

    def copying() -> dict:
        about = f"data copying, eq. 14, {cells} cells"
        return _row("C_T", name, about, "zero", score(real, synthetic), real=score(a, b))

    return [*rows, *_attempt(f"C_T on {name}", notes, copying)]


def _attempt(what: str, notes: list[str], compute: Callable[[], dict]) -> list[dict]:
    try:
        return [compute()]
    except ValueError as error:
        notes.append(f"{what} was not measured: {error}.")
        return []


def _nearest(synthetic: np.ndarray, train: np.ndarray, count: int = 6) -> list[dict]:
    found = privacy.nearest_neighbours(synthetic, train)
    order = np.argsort(found.distance[:, 0], kind="stable")[:count]
    return [
        {
            "synthetic": int(i),
            "train": int(found.index[i, 0]),
            "distance": round(float(found.distance[i, 0]), 4),
        }
        for i in order
    ]


def _sketch(real: np.ndarray, synthetic: np.ndarray, most: int = 400) -> dict:
    """First two principal components of real, at most so many points of each set."""
    axes = np.linalg.svd(real - real.mean(0), full_matrices=False)[2][:2]
    return {
        name: np.round((x[:most] - real.mean(0)) @ axes.T, 3).tolist()
        for name, x in (("real", real), ("synthetic", synthetic))
    }
