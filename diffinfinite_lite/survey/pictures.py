r"""Picture files that only their tissue can tell apart: equally sharp, equally long, without names or metadata.

- *Sharpness of the file*: each source is smoothed by one Gaussian (at most `MAX_SIGMA`) until its median share of fine
  detail is that of the softest source of that size. Single pictures keep their differences.
- *File*: one codec, one quality, no metadata. Files of one size are padded to equal length with noise, named by a hash
  of their content and sorted by that name: there is no order, and no secret, that knows the truth.

What is left is measured (`tells`, `told_by_numbers`) and belongs beside every result. Nothing can hide the truth from
somebody who trains a classifier on the pictures, or who builds them again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import mannwhitneyu

from ..extras import extra

with extra("course"):
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from statsmodels.stats.proportion import proportion_confint


SIDES = {"small": 208, "large": 416}  # px
QUALITY = 90
MAX_SIGMA = 1.0  # px
GLASS = 0.1  # mean optical density under which a pixel counts as glass
NUMBERS = ("brightness", "contrast", "redness", "glass", "fine detail", "bytes")


@dataclass(frozen=True)
class Field:
    """A square picture, uint8 (n, n, 3), of one of the two sides in `SIDES`.

    Attributes
    ----------
    origin : where it comes from: pictures of one origin share camera or model.
    context : the growth pattern it shows, or "".
    sigma : px of the Gaussian it was smoothed with, see `equally_sharp`.
    """

    rgb: np.ndarray
    real: bool
    origin: str
    context: str = ""
    sigma: float = 0.0

    def __post_init__(self):
        if self.rgb.shape not in [(side, side, 3) for side in SIDES.values()] or self.rgb.dtype != np.uint8:
            sides = " or ".join(map(str, SIDES.values()))
            raise ValueError(f"expected a square picture of bytes, {sides} px a side, got {self.rgb.shape}")

    @property
    def size(self) -> str:
        """ "small" or "large"."""
        return {side: name for name, side in SIDES.items()}[len(self.rgb)]


@dataclass(frozen=True)
class Item:
    """A picture file as it is shown: `data` is a JPEG of `length` bytes and noise after it; `name` is its hash."""

    name: str
    size: str
    real: bool
    origin: str
    data: bytes
    length: int


def numbers(rgb: np.ndarray) -> tuple[float, float, float, float, float]:
    """What a camera could tell without knowing tissue: the first five `NUMBERS` of a picture.

    Brightness and contrast are mean and standard deviation of the grey value, redness is red minus blue (all in grey
    levels), glass a share of pixels, fine detail the share of contrast that a Gaussian of 1 px removes.

    >>> numbers(np.full((8, 8, 3), 255, np.uint8))
    (255.0, 0.0, 0.0, 1.0, 0.0)
    """
    values = rgb.astype(np.float32)
    grey, contrast = values.mean(axis=2), float(values.mean(axis=2).std())
    fine = float((grey - gaussian_filter(grey, 1)).std())
    glass = float((-np.log((values + 1) / 256)).mean(axis=2).__lt__(GLASS).mean())
    redness = float((values[..., 0] - values[..., 2]).mean())
    return float(grey.mean()), contrast, redness, glass, fine / contrast if contrast else 0.0


def equally_sharp(fields: Sequence[Field]) -> list[Field]:
    """Every source as soft as the softest of its size: one Gaussian for all pictures of a source, noted as `sigma`."""
    sigmas = {}
    for size in SIDES:
        groups = {f.origin: [g.rgb for g in fields if (g.size, g.origin) == (size, f.origin)] for f in fields}
        groups = {origin: pictures for origin, pictures in groups.items() if pictures}
        target = min((_fine(pictures, 0) for pictures in groups.values()), default=0)
        for origin, pictures in groups.items():
            low, high = 0.0, MAX_SIGMA
            for _ in range(7):  # to 0.01 px; fine detail falls with sigma
                middle = (low + high) / 2
                low, high = (middle, high) if _fine(pictures, middle) > target else (low, middle)
            sigmas[size, origin] = 0.0 if _fine(pictures, 0) <= target else high
    chosen = [sigmas[f.size, f.origin] for f in fields]
    return [replace(f, rgb=_smoothed(f.rgb, s), sigma=s) for f, s in zip(fields, chosen, strict=True)]


def encode(fields: Sequence[Field]) -> list[Item]:
    """Files that look alike from outside: equal length for each size, no metadata, named and sorted by their hash."""
    files = [_jpeg(f.rgb) for f in fields]
    longest = {size: max((len(d) for d, f in zip(files, fields, strict=True) if f.size == size), default=0)
               for size in SIDES}  # fmt: skip
    made = []
    for data, field in zip(files, fields, strict=True):
        noise = np.random.default_rng(list(hashlib.sha256(data).digest()))
        whole = data + noise.bytes(longest[field.size] + 64 - len(data))
        name = hashlib.sha256(whole).hexdigest()[:12]
        made.append(Item(name, field.size, field.real, field.origin, whole, len(data)))
    return sorted(made, key=lambda item: item.name)


def tells(items: Sequence[Item]) -> pd.DataFrame:
    """What is left in the files: for each size and number the medians, and how well it alone tells real from synthetic.

    Returns
    -------
    DataFrame by (size, number): real, synthetic (medians), auc (0.5 tells nothing, 0 or 1 everything: the chance that
    a real picture has the larger number), p (Mann-Whitney).
    """
    rows = {}
    for size, x, real in _measured(items):
        for name, column in zip(NUMBERS, x.T, strict=True):
            u, p = mannwhitneyu(column[real], column[~real])
            medians = np.median(column[real]), np.median(column[~real])
            rows[size, name] = (*medians, u / (real.sum() * (~real).sum()), p)
    names = ["real", "synthetic", "auc", "p"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).set_axis(pd.MultiIndex.from_tuples(rows))


def told_by_numbers(items: Sequence[Item], seed: int = 0) -> pd.DataFrame:
    """How often a logistic regression on `NUMBERS` alone is right about pictures it was not fitted to.

    Returns
    -------
    DataFrame by size: n, accuracy, low, high (Wilson, 95%).

    Raises
    ------
    ValueError
        If a size has fewer than two real or two synthetic pictures.
    """
    rows = {}
    for size, x, real in _measured(items):
        folds = min(5, real.sum(), (~real).sum())
        if folds < 2:
            raise ValueError(f"expected at least two real and two synthetic {size} pictures, got {folds} of one kind")
        split = StratifiedKFold(folds, shuffle=True, random_state=seed)
        said = cross_val_predict(make_pipeline(StandardScaler(), LogisticRegression()), x, real, cv=split)
        right = int((said == real).sum())
        rows[size] = (len(real), right / len(real), *proportion_confint(right, len(real), method="wilson"))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["n", "accuracy", "low", "high"])


def verdict(told: pd.DataFrame) -> str:
    """`told_by_numbers` as a sentence that belongs beside the survey.

    >>> verdict(pd.DataFrame({"n": [44], "accuracy": [0.477], "low": [0.338], "high": [0.621]}, index=["small"]))
    'A classifier that sees only ... is right about 48% of the small pictures (95% interval 34% to 62%); ...'
    """
    shares = " and ".join(
        f"{row.accuracy:.0%} of the {size} pictures (95% interval {row.low:.0%} to {row.high:.0%})"
        for size, row in told.iterrows()
    )
    return f"A classifier that sees only {', '.join(NUMBERS)} is right about {shares}; 50% is guessing."


def _measured(items: Sequence[Item]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for size in SIDES:
        some = [item for item in items if item.size == size]
        if some:
            rows = [(*numbers(np.asarray(Image.open(io.BytesIO(i.data)))), i.length) for i in some]
            yield size, np.array(rows), np.array([i.real for i in some])


def _fine(pictures: Sequence[np.ndarray], sigma: float) -> float:
    return float(np.median([numbers(_smoothed(rgb, sigma))[4] for rgb in pictures]))


def _smoothed(rgb: np.ndarray, sigma: float) -> np.ndarray:
    if not sigma:
        return rgb
    return np.rint(gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)


def _jpeg(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()
