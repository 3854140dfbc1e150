r"""Fidelity: how far a set of synthetic features lies from a set of real ones. Arrays (N, D) in, numbers out.

===========================  ==========================================================  ========  =======
number                       what it compares                                            same law  bias
===========================  ==========================================================  ========  =======
`frechet_distance`           means and covariances, as if both sets were Gaussian        0         upward
`kernel_distance`            all moments up to the third, by a polynomial kernel         0         none
`precision_recall`           is a sample inside the other set's manifold (eq. 10-12)     about 1   both
`density_coverage`           the same with counts, robust against outliers               about 1   small
`inception_score`            how sure and how varied a classifier is                     --        down
`classifier_two_sample`      can logistic regression tell the sets apart                 0.5       small
===========================  ==========================================================  ========  =======

**Small samples.** N points give a covariance of rank N - 1, so the Fréchet distance of two samples of *one*
law is not 0: two samples of a standard normal in D = 152 are 60 apart at N = 200, 24 at N = 500, 6 at N =
2,000 (see `frechet_bias`). Only numbers of equal N compare, and a number means nothing until real is
measured against real: `resampling.halves`. Standardise first (`features.Standardiser`, fitted on real): else
the widest channel decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from ..extras import extra
from .registry import POSITIVE, SHARE, Metric, register
from .resampling import check

with extra("evaluate"):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler


def appearance_difference(first: np.ndarray, second: np.ndarray, real: np.ndarray, others: np.ndarray) -> float:
    """How far two pictures of one mask lie apart, over how far two real tiles do: 0 for twins.

    Parameters
    ----------
    first, second : (N, D), features of two pictures for each mask, row by row
    real, others : (M, D) and (K, D), features of real tiles, one of each cluster, of the kinds of tissue that the two
        pictures show; the same array twice where they show one

    Raises
    ------
    ValueError : pictures that do not come in pairs, or see `resampling.check`.

    >>> x = np.random.default_rng(0).normal(size=(60, 8))
    >>> appearance_difference(x[:20], x[:20], x[40:], x[40:])
    0.0
    >>> 0.8 < appearance_difference(x[:20], x[20:40], x[40:], x[40:]) < 1.2
    True
    """
    first, second = check(1, first=first, second=second)
    if len(first) != len(second):
        raise ValueError(f"expected two pictures for each mask, got {len(first)} and {len(second)}")
    real, others = check(2, real=real, others=others)
    between = cdist(real, others)
    return float(np.linalg.norm(first - second, axis=1).mean() / between[between > 0].mean())  # a tile is no other one


@dataclass(frozen=True)
class PrecisionRecall:
    """Shares in [0, 1]: synthetic samples that look real, and real samples that the model could have made."""

    precision: float
    recall: float


@dataclass(frozen=True)
class DensityCoverage:
    """Density at least 0 (about 1 for one law, more when samples crowd), coverage in [0, 1]."""

    density: float
    coverage: float


def frechet_distance(real: np.ndarray, synthetic: np.ndarray) -> float:
    r"""Squared Fréchet distance between the Gaussians of the samples' moments: the formula of FID.

    .. math:: \|\mu_r - \mu_g\|^2 + \operatorname{tr}(\Sigma_r + \Sigma_g - 2 (\Sigma_r \Sigma_g)^{1/2})

    With :math:`\Sigma = R^\top R` from a QR decomposition of the centred features, the trace of the root is
    the sum of the singular values of :math:`R_r R_g^\top`: no matrix root, and exact also where N < D.

    Parameters
    ----------
    real, synthetic : (N, D) and (M, D), at least two samples each

    Returns
    -------
    in squared feature units, at least 0; biased upward, see `frechet_bias`

    Raises
    ------
    ValueError : see `check`.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(frechet_distance(x, x), 6), round(frechet_distance(x, x + 2), 6)
    (0.0, 12.0)
    """
    real, synthetic = check(2, real=real, synthetic=synthetic)
    roots = [np.linalg.qr(x - x.mean(0), mode="r") / np.sqrt(len(x) - 1) for x in (real, synthetic)]
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum((root**2).sum() for root in roots) - 2 * cross
    return float(max(((real.mean(0) - synthetic.mean(0)) ** 2).sum() + spread, 0.0))


def frechet_bias(dimensions: int, n: int, m: int) -> float:
    r"""Fréchet distance to expect between samples of one white Gaussian, :math:`D(D+5)(1/n + 1/m)/4` at
    leading order.

    The covariances' error gives :math:`D(D+1)/4` (the Bures distance is a quarter of the squared Frobenius
    norm near the identity), the means' error :math:`D`, each times :math:`1/n + 1/m`; in variances of one
    feature.

    >>> round(frechet_bias(152, 200, 200), 1)
    59.7
    """
    return dimensions * (dimensions + 5) / 4 * (1 / n + 1 / m)


def kernel_distance(real: np.ndarray, synthetic: np.ndarray) -> float:
    r"""Kernel distance (KID): unbiased squared maximum mean discrepancy, cubic polynomial kernel.

    .. math:: k(x, y) = (x^\top y / D + 1)^3, \quad
              \mathbb{E}_{x \neq x'} k(x, x') + \mathbb{E}_{y \neq y'} k(y, y') - 2\,\mathbb{E}\,k(x, y)

    Parameters
    ----------
    real, synthetic : (N, D) and (M, D), at least two samples each

    Returns
    -------
    0 on average where the laws agree, hence sometimes below 0: the mean does not depend on N, the spread does

    Raises
    ------
    ValueError : see `check`.

    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> abs(kernel_distance(x[:50], x[50:])) < kernel_distance(x[:50], x[50:] + 1)
    True
    """
    real, synthetic = check(2, real=real, synthetic=synthetic)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        values = kernel(a, a)
        return (values.sum() - np.trace(values)) / (len(a) * (len(a) - 1))

    return float(within(real) + within(synthetic) - 2 * kernel(real, synthetic).mean())


def distances(a: np.ndarray, b: np.ndarray, rows: int = 512) -> Iterator[np.ndarray]:
    """Euclidean distances (N, M) in blocks of rows; exactly 0 between equal rows.

    >>> next(distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]]))).tolist()
    [[5.0, 0.0]]
    """
    for start in range(0, len(a), rows):
        yield cdist(a[start : start + rows], b)


def radii(features: np.ndarray, k: int) -> np.ndarray:
    """Distance of each sample to its k-th nearest other one, (N, D) to (N,).

    >>> radii(np.array([[0.0], [1.0], [3.0]]), k=1).tolist()
    [1.0, 1.0, 2.0]
    """
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for block in distances(features, features)])


def _inside(points: np.ndarray, centres: np.ndarray, k: int) -> Iterator[np.ndarray]:
    """Blocks of the table "point i lies within the k-neighbour ball of centre j"."""
    radius = radii(centres, k)
    return (block <= radius for block in distances(points, centres))


def precision_recall(real: np.ndarray, synthetic: np.ndarray, k: int = 3) -> PrecisionRecall:
    r"""Improved precision and recall (eq. 10-12; Kynkäänniemi et al., 2019).

    A point is on the manifold of a set if it lies in one of the balls around the set's points, each of which
    reaches to its k-th nearest neighbour in the set (eq. 10). Precision is the share of synthetic points on
    the real manifold (eq. 11), recall the share of real points on the synthetic one (eq. 12).

    Parameters
    ----------
    real, synthetic : (N, D) and (M, D), more than k samples each
    k : neighbour that sets a ball's radius

    Notes
    -----
    Balls shrink as N grows, and one outlier blows its ball up: compare at equal N and k only. For a perfect
    model both come out under 1.

    Raises
    ------
    ValueError : k under 1, or see `check`.

    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> precision_recall(x, x + 100)
    PrecisionRecall(precision=0.0, recall=0.0)
    """
    real, synthetic = check(_neighbour(k) + 1, real=real, synthetic=synthetic)
    precision = np.concatenate([inside.any(1) for inside in _inside(synthetic, real, k)]).mean()
    recall = np.concatenate([inside.any(1) for inside in _inside(real, synthetic, k)]).mean()
    return PrecisionRecall(float(precision), float(recall))


def density_coverage(real: np.ndarray, synthetic: np.ndarray, k: int = 5) -> DensityCoverage:
    r"""Density and coverage (Naeem et al., 2020): balls around real points only, counted instead of united.

    Density is the mean number of real balls a synthetic point lies in, over k; coverage the share of real
    balls that hold a synthetic point, :math:`1 - \frac{(N-1)\cdots(N-k)}{(M+N-1)\cdots(M+N-k)}` on average
    for one law.

    Parameters
    ----------
    real, synthetic : (N, D) with N > k, and (M, D)
    k : neighbour that sets a ball's radius

    Raises
    ------
    ValueError : k under 1, or see `check`.

    >>> density_coverage(np.eye(9), np.eye(9) + 9)
    DensityCoverage(density=0.0, coverage=0.0)
    """
    real, synthetic = check(_neighbour(k) + 1, real=real, synthetic=synthetic)
    counts, covered = 0, np.zeros(len(real), dtype=bool)
    for inside in _inside(synthetic, real, k):
        counts += int(inside.sum())
        covered |= inside.any(0)
    return DensityCoverage(counts / (k * len(synthetic)), float(covered.mean()))


def _neighbour(k: int) -> int:
    if k < 1:
        raise ValueError(f"expected a neighbour number k of at least 1, got {k}")
    return k


def inception_score(probabilities: np.ndarray) -> float:
    r"""Inception score of a classifier's probabilities, :math:`\exp\,\mathbb{E}_x
    \mathrm{KL}(p(y|x)\,\|\,p(y))`.

    Parameters
    ----------
    probabilities : (N, C), rows that sum to 1, e.g. the softmax of `EfficientNetLite0`'s logits

    Returns
    -------
    from 1 (unsure, or always the same class) to C (sure and evenly varied). It never looks at real images, is
    under its limit for N not much larger than C, and compares only for one classifier: report real images'
    beside.

    Raises
    ------
    ValueError : rows that are not probabilities, or see `check`.

    >>> round(inception_score(np.eye(4)), 6), round(inception_score(np.full((4, 4), 0.25)), 6)
    (4.0, 1.0)
    """
    (p,) = check(2, probabilities=probabilities)
    if p.min() < 0 or not np.allclose(p.sum(1), 1, atol=1e-3):
        raise ValueError(f"expected rows of probabilities that sum to 1, got sums up to {p.sum(1).max():.3g}")
    ratio = np.log(np.maximum(p, 1e-30)) - np.log(np.maximum(p.mean(0), 1e-30))
    return float(np.exp((p * ratio).sum(1).mean()))


def classifier_two_sample(
    real: np.ndarray, synthetic: np.ndarray, generator: np.random.Generator, folds: int = 5
) -> float:
    """Balanced accuracy with which a cross-validated logistic regression tells real from synthetic.

    Parameters
    ----------
    real, synthetic : (N, D) and (M, D), at least `folds` samples each; near-duplicates across folds flatter
        it

    Returns
    -------
    0.5 where the sets cannot be told apart, 1 where they always can; by chance ±1 / sqrt(N + M) about 0.5

    Raises
    ------
    ValueError : see `check`.

    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> classifier_two_sample(x[:100], x[100:] + 9, np.random.default_rng(0))
    1.0
    """
    real, synthetic = check(max(folds, 2), real=real, synthetic=synthetic)
    x, y = np.concatenate([real, synthetic]), np.repeat([0, 1], [len(real), len(synthetic)])
    split = StratifiedKFold(folds, shuffle=True, random_state=int(generator.integers(2**31)))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced"))
    guess = cross_val_predict(model, x, y, cv=split)
    return float(((guess[y == 0] == 0).mean() + (guess[y == 1] == 1).mean()) / 2)


def _frechet_sentence(row: Mapping) -> str | None:
    if row["matched"] is None or not row["real"]:
        return None
    times = row["matched"] / row["real"]
    return f"The Fréchet distance on {row['features']} is {times:.1f} times that of real tiles among themselves."


register(
    Metric(
        "FD",
        frechet_distance,
        better="low",
        bounds=POSITIVE,
        about="Fréchet distance",
        one_per_cluster=False,
        sentence=_frechet_sentence,
    )
)
register(Metric("KD", kernel_distance, better="low", about="kernel distance (KID)", one_per_cluster=False))
register(Metric("precision", lambda r, s: precision_recall(r, s).precision, "high", SHARE, about="eq. 11"))
register(Metric("recall", lambda r, s: precision_recall(r, s).recall, "high", SHARE, about="eq. 12"))
register(Metric("density", lambda r, s: density_coverage(r, s).density, "high", POSITIVE, about="Naeem et al., 2020"))
register(Metric("coverage", lambda r, s: density_coverage(r, s).coverage, "high", SHARE, about="Naeem et al., 2020"))
register(
    Metric(
        "told apart",
        classifier_two_sample,
        better="half",
        bounds=SHARE,
        about="logistic regression, balanced accuracy",
        random=True,
        slow=True,
    )
)
register(
    Metric(
        "IS",
        lambda _, probabilities: inception_score(probabilities),
        better="same",
        bounds=(1.0, np.inf),
        about="inception score on ImageNet's classes, which are not tissues",
        on="classes",
    )
)
