r"""Spatial realism: what features of single patches cannot see. Images and masks in, numbers out; axes (row, column).

- *Seams.* With :math:`s(r) = \operatorname{mean}_{c} |x_{r,c} - x_{r-1,c}|` the step across row line r (the
  line before row r; columns alike), the seam statistic is the mean of s at the lines where windows met over
  the mean of s elsewhere: 1 without seams. Random-patch sampling has no fixed lines; sliding windows and
  decoders do.
- *Masks.* Fractions of labels (Fig. 8), sizes of connected regions, boundary per area.
- *Long range.* With :math:`\tilde x` the image less its mean, the radial autocorrelation is
  :math:`\rho(r) = \langle \tilde x(p)\,\tilde x(p + d) \rangle_{|d| = r} / \langle \tilde x^2 \rangle`; the
  length is where it first falls below 1/e. A plan whose windows know nothing of each other cannot hold
  :math:`\rho` up beyond its patch; the paper claims up to twice the patch for random patches (App. D,
  Fig. 11).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len
from skimage.measure import label as connected
from skimage.measure import regionprops


@dataclass(frozen=True)
class Seam:
    """Seam statistic: `ratio` (1 without seams) and `p_value`, how often shifted lines have as large
    steps."""

    ratio: float
    p_value: float


@dataclass(frozen=True)
class Region:
    """A 4-connected region of one label: `area` in px², `perimeter` in px, `solidity` (1 = convex)."""

    label: int
    area: float
    perimeter: float
    solidity: float


def line_steps(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute step across each line between rows, and between columns.

    Parameters
    ----------
    image : (H, W), or (C, H, W), which is averaged over its channels' steps

    Returns
    -------
    (H - 1,) and (W - 1,) in units of the image; entry i is the line before row (column) i + 1

    Raises
    ------
    ValueError : another number of axes, under 2 px, or not finite.

    >>> line_steps(np.array([[0.0, 1.0], [0.0, 3.0]]))
    (array([1.]), array([2.]))
    """
    image = _planes(image)
    return np.abs(np.diff(image, axis=1)).mean((0, 2)), np.abs(np.diff(image, axis=2)).mean((0, 1))


def seam_statistic(image: np.ndarray, rows: Sequence[int] = (), columns: Sequence[int] = ()) -> Seam:
    """Steps at window lines over steps elsewhere.

    Parameters
    ----------
    image : (H, W) or (C, H, W)
    rows, columns : lines in pixels; r is the line between row r - 1 and row r. A latent line i is 8 i.

    Returns
    -------
    ratio, and as p-value the share of all cyclic shifts of the lines (the given position included) whose
    steps are at least as large: small means that these very lines are special, not that tissue has edges

    Raises
    ------
    ValueError : no lines, lines outside the image, nothing but lines, an image that is constant off its
        lines.

    >>> image = np.add.outer(np.arange(8) % 2, np.zeros(8))
    >>> image[4:] += 3
    >>> seam_statistic(image, rows=[4]).ratio
    2.0
    """
    at, elsewhere, extreme = [], [], []
    for name, steps, lines in zip(("rows", "columns"), line_steps(image), (rows, columns), strict=True):
        lines = np.unique(np.asarray(lines, dtype=int)) - 1
        if not len(lines):
            continue
        if lines[0] < 0 or lines[-1] >= len(steps) or len(lines) == len(steps):
            raise ValueError(f"expected some {name} between 1 and {len(steps)}, got {(lines + 1).tolist()}")
        at.append(steps[lines])
        elsewhere.append(np.delete(steps, lines))
        shifted = np.array([steps[(lines + i) % len(steps)].mean() for i in range(len(steps))])
        extreme.append(np.mean(shifted >= shifted[0] * (1 - 1e-12)))
    if not at:
        raise ValueError("expected at least one row or column line, got none")
    base = np.mean([e.mean() for e in elsewhere])
    if not base > 0:
        raise ValueError("expected an image with some texture off its lines, got a constant one")
    p_value = min(1.0, len(extreme) * min(extreme))  # Bonferroni over rows and columns
    return Seam(float(np.mean([a.mean() for a in at]) / base), float(p_value))


def label_fractions(masks: Iterable[np.ndarray], labels: int) -> np.ndarray:
    """Share of each label in each mask (Fig. 8 compares their means, real against generated).

    Parameters
    ----------
    masks : integer arrays (H, W) of values 0 (unknown) to `labels` - 1
    labels : number of labels, 0 included

    Returns
    -------
    (N, labels), rows sum to 1

    Raises
    ------
    ValueError : no masks, not integers, or a label that does not exist.

    >>> label_fractions([np.array([[0, 1], [1, 1]])], labels=3).tolist()
    [[0.25, 0.75, 0.0]]
    """
    rows = []
    for mask in masks:
        mask = _mask(mask)
        if mask.min() < 0 or mask.max() >= labels:
            raise ValueError(f"expected labels 0 to {labels - 1}, got {mask.min()} to {mask.max()}")
        rows.append(np.bincount(mask.ravel(), minlength=labels) / mask.size)
    if not rows:
        raise ValueError("expected at least one mask, got none")
    return np.stack(rows)


def regions(mask: np.ndarray, minimum: int = 1) -> list[Region]:
    """Connected regions of a mask, label by label, label 0 included.

    Parameters
    ----------
    mask : integers (H, W)
    minimum : regions of fewer pixels are left out

    Raises
    ------
    ValueError : not a two-dimensional array of integers.

    >>> [(r.label, r.area) for r in regions(np.array([[1, 1, 0], [0, 0, 2]]))]
    [(1, 2.0), (0, 1.0), (0, 2.0), (2, 1.0)]
    """
    mask = _mask(mask)
    pieces = connected(mask, background=mask.min() - 1, connectivity=1)
    return [
        Region(int(mask[tuple(p.coords[0])]), float(p.area), float(p.perimeter), _solidity(p))
        for p in regionprops(pieces)
        if p.area >= minimum
    ]


def boundary_density(mask: np.ndarray) -> float:
    """Share of neighbouring pixel pairs with different labels: 0 for one label, 1 for a chequerboard.

    Raises
    ------
    ValueError : not a two-dimensional array of integers.

    >>> boundary_density(np.array([[1, 1], [2, 2]]))
    0.5
    """
    mask = _mask(mask)
    pairs = [np.diff(mask, axis=axis).ravel() != 0 for axis in (0, 1)]
    return float(np.concatenate(pairs).mean()) if mask.size > 1 else 0.0


def autocorrelation(image: np.ndarray) -> np.ndarray:
    """Radial autocorrelation: mean over all pairs of pixels whose distance rounds to r.

    Parameters
    ----------
    image : (H, W), or (C, H, W), whose channels share one covariance; a mask's indicator of one label works
        too

    Returns
    -------
    (R,), value at lag r px, R = min(H, W) // 2 + 1; 1 at lag 0

    Notes
    -----
    The sample mean is taken off, which pulls the values down by about (correlated area) / (image area):
    compare images of one size. Longer lags rest on fewer independent pairs.

    Raises
    ------
    ValueError : another number of axes, not finite, or constant.

    >>> bool(abs(autocorrelation(np.random.default_rng(0).normal(size=(64, 64)))[1:]).max() < 0.1)
    True
    """
    image = _planes(image)
    image = image - image.mean((1, 2), keepdims=True)
    if not (image**2).mean() > 1e-12:
        raise ValueError("expected an image with some texture, got a constant one")
    height, width = image.shape[1:]
    lags = min(height, width) // 2 + 1
    lag = np.arange(1 - lags, lags)  # negative lags wrap round, as the FFT has them
    size = [next_fast_len(n + lags) for n in (height, width)]

    def correlate(x: np.ndarray) -> np.ndarray:
        full = np.fft.irfft2((np.abs(np.fft.rfft2(x, size)) ** 2).sum(0), size)
        return full[np.ix_(lag, lag)]

    mean = correlate(image) / np.maximum(correlate(np.ones((1, height, width))), 0.5)
    radius = np.rint(np.hypot(lag[:, None], lag)).astype(int)
    inside = radius < lags
    total = np.bincount(radius[inside], mean[inside], minlength=lags)
    profile = total / np.bincount(radius[inside], minlength=lags)
    return profile / profile[0]


def autocorrelation_length(image: np.ndarray, level: float = 1 / math.e) -> float:
    """Lag in px at which the radial autocorrelation first falls below `level`, between lags by a straight
    line.

    White noise smoothed by a Gaussian of standard deviation s has 2 s. For tissue, pass what should hang
    together (a stain channel, a label's indicator): single pixels measure nuclei.

    Returns
    -------
    px; infinity if it never falls as far within half the image

    Raises
    ------
    ValueError : see `autocorrelation`.

    >>> image = np.kron(np.random.default_rng(0).normal(size=(16, 16)), np.ones((8, 8)))
    >>> 3 < autocorrelation_length(image) < 7
    True
    """
    profile = autocorrelation(image)
    below = np.flatnonzero(profile < level)
    if not len(below):
        return math.inf
    end = int(below[0])
    return float(end - 1 + (profile[end - 1] - level) / (profile[end - 1] - profile[end]))


def long_range_correlation(image: np.ndarray, patch: int) -> float:
    """Mean radial autocorrelation at lags from one to two patches: about 0 if windows know nothing of each
    other.

    Parameters
    ----------
    image : (H, W) or (C, H, W), at least four patches along each axis
    patch : extent of a window in px

    Raises
    ------
    ValueError : an image too small for these lags, or see `autocorrelation`.

    >>> rows = np.sin(np.arange(64) / 64 * 2 * np.pi)
    >>> long_range_correlation(np.add.outer(rows, np.zeros(64)), 4) > 0.5
    True
    """
    profile = autocorrelation(image)
    if patch < 1 or 2 * patch >= len(profile):
        raise ValueError(f"expected a patch under {(len(profile) + 1) // 2} px for this image, got {patch}")
    return float(profile[patch : 2 * patch + 1].mean())


def _planes(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image, dtype=np.float64)
    if image.ndim not in (2, 3) or min(image.shape[-2:]) < 2:
        raise ValueError(f"expected an image (H, W) or (C, H, W) of at least 2 px, got shape {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError("expected a finite image, got NaN or infinity in it")
    return image if image.ndim == 3 else image[None]


def _mask(mask: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "iub":
        raise ValueError(f"expected a mask (H, W) of integers, got {mask.dtype} of shape {mask.shape}")
    return mask.astype(np.int64)


def _solidity(region) -> float:
    return float(region.area / region.area_convex) if min(region.image.shape) > 2 else 1.0
