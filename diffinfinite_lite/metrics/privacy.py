r"""Privacy: does a model make tissue, or hand out its training tiles? Arrays (N, D) in, numbers out.

**Authenticity** A (eq. 13; Alaa et al., 2022). The model's law is taken as a mixture
:math:`P_g = A\,P'_g + (1 - A)\,\delta_{g,\epsilon}` of something new and of training points with a little
noise. A synthetic y is called a copy when it lies closer to its nearest training point x* than any other
training point does; A is the share that is not. *It is not 1 for honest data*: a fresh real sample is "a
copy" whenever it and x* are mutual nearest neighbours, which gives A = 1/3 in one dimension, 0.38 in two and
more in many (chapter 10 measures it). And garbage, far from everything, scores 1. Read A beside the A of
held-out real tiles, and beside precision.

**Data copying** C_T (eq. 14; Meehan et al., 2020) makes that comparison itself. With d(y) the distance to the
nearest training point, each k-means cell of the training set compares d of synthetic with d of held-out real
samples by a z-scored Mann-Whitney statistic; C_T is the mean over cells, weighted by the held-out share, of
cells that hold at least a share tau of the synthetic samples.

======================  =================================================
C_T far below 0         synthetic is nearer to train than held-out: copies
C_T about 0 (-3 to 3)   as near as held-out real
C_T far above 0         farther away: underfitted, or out of domain
======================  =================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata, ranksums, tiecorrect

from ..extras import extra
from .fidelity import radii
from .registry import SHARE, Metric, register
from .resampling import check

with extra("evaluate"):
    from sklearn.cluster import KMeans
    from sklearn.neighbors import NearestNeighbors


COPYING = -3.0  # C_T from which on down a model copies


@dataclass(frozen=True)
class DataCopying:
    """The C_T score and what went into it, cell by cell (arrays of one length, cells in the order of
    k-means).

    Attributes
    ----------
    score : C_T in standard deviations; below about -3 the model copies.
    z : Z_U of each cell, 0 where a cell lacks test or synthetic samples.
    test_share, synthetic_share : P_n and Q_m of each cell, sum 1.
    tau : smallest synthetic share of a cell that counted.
    """

    score: float
    z: np.ndarray
    test_share: np.ndarray
    synthetic_share: np.ndarray
    tau: float


def neighbours(train: np.ndarray) -> NearestNeighbors:
    """The nearest training sample of any other, by scikit-learn: ``neighbours(train).kneighbors(tiles)``.

    A tree takes differences one by one; scikit-learn's own choice in many dimensions is a product of matrices, whose
    rounding leaves a sample at a small distance from itself, where an exact copy has to have 0.

    >>> distance, index = neighbours(np.array([[0.0], [1.0], [3.0]])).kneighbors([[0.75]])
    >>> distance.tolist(), index.tolist()
    ([[0.25]], [[1]])
    """
    return NearestNeighbors(n_neighbors=1, algorithm="ball_tree").fit(train)


def authenticity(train: np.ndarray, synthetic: np.ndarray) -> float:
    r"""Authenticity A, the share of synthetic samples that are no noisy copies of training samples (eq. 13).

    With x* the training point nearest to y, y counts as authentic if
    :math:`\|y - x^*\| > \min_{x \neq x^*} \|x - x^*\|`.

    Parameters
    ----------
    train, synthetic : (N, D) with N of at least 2, and (M, D)

    Returns
    -------
    in [0, 1]: 0 for copies, 1/3 to 1/2 for fresh real data (see the module), 1 for anything far away

    Raises
    ------
    ValueError : see `resampling.check`.

    >>> train = np.random.default_rng(0).normal(size=(50, 4))
    >>> authenticity(train, train[:20]), authenticity(train, train + 100)
    (0.0, 1.0)
    """
    (train,) = check(2, train=train)
    _, synthetic = check(1, train=train, synthetic=synthetic)
    distance, index = neighbours(train).kneighbors(synthetic)
    return float((distance > radii(train, 1)[index]).mean())


def nearest_ratio(train: np.ndarray, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much nearer a picture is to one training picture than to any other, in any of its eight orientations.

    Parameters
    ----------
    train, pictures : (N, h, h, C) and (M, h, h, C), small squares such as drafts; of training ones one of each cluster

    Returns
    -------
    distance to the nearest over that to the second nearest (M,), 0 for a copy and near 1 for nobody's; and which is the
    nearest (M,)

    Raises
    ------
    ValueError : fewer than two training pictures, no squares, or sets of different sizes.

    >>> train = np.random.default_rng(0).normal(size=(5, 4, 4, 3))
    >>> ratio, index = nearest_ratio(train, np.rot90(train[3:4], axes=(1, 2)))
    >>> ratio.tolist(), index.tolist()
    ([0.0], [3])
    """
    shape = train.shape[1:]
    if len(train) < 2 or len(shape) != 3 or shape[0] != shape[1] or pictures.shape[1:] != shape:
        wanted = "at least 2 training pictures (N, h, h, C) and others of their size"
        raise ValueError(f"expected {wanted}, got {train.shape} and {pictures.shape}")
    known, near = train.reshape(len(train), -1), np.full((len(pictures), len(train)), np.inf)
    for turns in range(4):
        turned = np.rot90(pictures, turns, axes=(1, 2))
        for seen in (turned, turned[:, :, ::-1]):
            np.minimum(near, cdist(seen.reshape(len(pictures), -1), known), out=near)
    first, second = np.partition(near, 1, axis=1)[:, :2].T
    return np.divide(first, second, out=np.zeros_like(first), where=second > 0), near.argmin(axis=1)


def suspicious_share(unseen: np.ndarray, synthetic: np.ndarray) -> tuple[float, float]:
    """Share of made pictures with a `nearest_ratio` below that of every unseen real one, and how large it may be.

    Made pictures that are as unseen ones stay below the limit in 95 of 100 draws of the latter: for each of them the
    share is that of a uniform number below the smallest of n, which is above q with probability (1 - q)^n.

    Parameters
    ----------
    unseen, synthetic : ratios (N,) and (M,)

    >>> suspicious_share(np.linspace(0.5, 1, 20), np.array([0.2, 0.9, 0.9, 0.9]))[0]
    0.25
    """
    if not (len(unseen) and len(synthetic)):
        raise ValueError(f"expected ratios of unseen and of made pictures, got {len(unseen)} and {len(synthetic)}")
    return float((synthetic < unseen.min()).mean()), float(1 - 0.05 ** (1 / len(unseen)))


def data_copying_ct(
    train: np.ndarray,
    test: np.ndarray,
    synthetic: np.ndarray,
    generator: np.random.Generator,
    cells: int = 5,
    tau: float | None = None,
) -> DataCopying:
    r"""The data-copying score C_T (eq. 14).

    .. math:: C_T = \frac{\sum_{\pi \in \Pi_\tau} P_n(\pi)\, Z_U(L_\pi(P_n), L_\pi(Q_m); T)}
                         {\sum_{\pi \in \Pi_\tau} P_n(\pi)}

    Parameters
    ----------
    train, test, synthetic : (N, D), (n, D), (m, D): the model saw `train`; `test` is real, of the same law,
        and
        from other patients or clusters than `train`, or it is itself "copied" and hides copying
    generator : seeds k-means
    cells : k-means cells on `train`
    tau : smallest share of synthetic samples a cell must hold; None is Meehan's 20 / m, at most 1 / cells

    Notes
    -----
    z grows with the square root of the number of samples: compare scores at equal n and m only. Below about
    20 test and synthetic samples a cell, z is coarse; take fewer cells.

    Raises
    ------
    ValueError : fewer training samples than cells, no cell with test and enough synthetic samples, or see
        `resampling.check`.

    >>> x = np.random.default_rng(0).normal(size=(300, 3))
    >>> copies = data_copying_ct(x[:100], x[100:200], x[:100], np.random.default_rng(0), cells=2)
    >>> fresh = data_copying_ct(x[:100], x[100:200], x[200:], np.random.default_rng(0), cells=2)
    >>> copies.score < -6, abs(fresh.score) < 3
    (True, True)
    """
    if cells < 1:
        raise ValueError(f"expected at least 1 cell, got {cells}")
    (train,) = check(cells, train=train)
    _, test, synthetic = check(1, train=train, test=test, synthetic=synthetic)
    tau = min(20 / len(synthetic), 1 / cells) if tau is None else tau
    means = KMeans(cells, n_init=4, random_state=int(generator.integers(2**31))).fit(train)
    where = [means.predict(x) for x in (test, synthetic)]
    nearest = neighbours(train)
    reach = [nearest.kneighbors(x)[0][:, 0] for x in (test, synthetic)]
    share = [np.bincount(w, minlength=cells) / len(w) for w in where]
    z = np.zeros(cells)
    for cell in range(cells):
        in_test, in_synthetic = (r[w == cell] for r, w in zip(reach, where, strict=True))
        if len(in_test) and len(in_synthetic):
            z[cell] = _rank_sum_z(in_test, in_synthetic)
    weight = share[0] * ((share[1] >= tau) & (share[1] > 0))
    if not weight.sum() > 0:
        raise ValueError(f"expected a cell with test and {tau:.1%} of synthetic samples, got none of {cells}")
    return DataCopying(float((weight * z).sum() / weight.sum()), z, share[0], share[1], float(tau))


def _rank_sum_z(test: np.ndarray, synthetic: np.ndarray) -> float:
    r"""Z-scored Mann-Whitney statistic, below 0 where the synthetic numbers are smaller (section 3.1 of Meehan et al.).

    :math:`Z_U = (U - nm/2) / \sigma_U`, where U counts the pairs in which the synthetic number is the larger one, with
    a variance corrected for ties; 0 where all numbers are equal. `scipy.stats.mannwhitneyu` has the same z inside, but
    returns its p-value, which is 0 from z = -38 on.
    """
    ties = tiecorrect(rankdata(np.concatenate([test, synthetic])))
    return float(ranksums(synthetic, test).statistic / np.sqrt(ties)) if ties > 0 else 0.0


def _copying_sentence(row: Mapping) -> str:
    place = "as near to the training tiles as held-out real ones: no sign of copying"
    if row["value"] < COPYING:
        place = "nearer to the training tiles than held-out real ones: copies"
    elif row["value"] > -COPYING:
        place = "farther from the training tiles than held-out real ones: no copies, but unlike real"
    return f"On {row['features']} the synthetic tiles are {place} (C_T = {row['value']:.1f})."


register(Metric("A", authenticity, better="real", bounds=SHARE, about="authenticity, eq. 13", on="training"))
register(
    Metric(
        "C_T",
        lambda *sets, **options: data_copying_ct(*sets, **options).score,
        better="zero",
        about="data copying, eq. 14",
        on="held-out",
        sentence=_copying_sentence,
    )
)
