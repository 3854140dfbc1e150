r"""What gives a survey's pictures away that is not tissue: measured on the files as raters see them.

Three ways to look at a picture, each a cross-validated logistic regression that is asked about pictures it has not
seen:

- *numbers*: brightness, contrast, colour, glass, fine detail and the length of the file (`pictures.FEATURES`);
- *spectrum*: the share of power in `RINGS` rings up to Nyquist, and the *lattice* at periods of 2, 4 and 8 px: a
  decoder that draws in blocks leaves energy there that its neighbours in the spectrum do not have;
- *learned*: features of EfficientNet-Lite, which was trained on photographs. This is chapter 9's *told apart* on the
  pictures of the survey.

What numbers and spectrum find has nothing to do with tissue. What learned features find may be either. All of it is
open to a rater, who need not know any of it: so `sentence` stands before every survey.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import mannwhitneyu

from ..data.tiles import to_tensor
from ..extras import extra
from ..files import read_json
from ..metrics.features import FeatureExtractor, efficientnet_features
from .pictures import FEATURES, SIDES, Item, low_level_features

with extra("course"):
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from statsmodels.stats.proportion import proportion_confint


RINGS = 12
PERIODS = (2, 4, 8)  # px
SPECTRUM = (*(f"ring {i + 1}" for i in range(RINGS)), *(f"period {p} px" for p in PERIODS))
LOOKS = ("numbers", "spectrum", "learned")
FOLDS = 5
REPORTS = Path(__file__).parents[2] / "reports"  # of a checkout


def ring_power(grey: np.ndarray) -> np.ndarray:
    """Log10 of the share of power in each of `RINGS` rings of the spectrum, from the picture's side to Nyquist.

    Parameters
    ----------
    grey : float array (n, n); its borders are faded out by a Hann window.

    >>> fine = np.indices((64, 64)).sum(0) % 2  # a chess board of pixels: all its power lies in the corner, beyond
    >>> wide = np.sin(np.arange(64) * 2 * np.pi / 16)[None].repeat(64, 0)
    >>> int(ring_power(wide).argmax())  # 1/16 of a cycle a pixel, in rings of 1/24
    1
    """
    n = len(grey)
    window = np.hanning(n)
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window[:, None] * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None])
    ring = np.minimum((radius / 0.5 * RINGS).astype(int), RINGS)  # the last number is for the corners beyond Nyquist
    total = np.bincount(ring.ravel(), power.ravel(), minlength=RINGS + 1)[:RINGS]
    return np.log10(total / total.sum() + 1e-12) if total.sum() else np.zeros(RINGS)


def lattice(grey: np.ndarray, period: int) -> float:
    """Power at a period along rows and columns over that of its neighbours: 1 where there is no lattice.

    The mean power spectrum of all rows and columns is read at 1/period, and divided by its median 3 to 8 steps away.

    Parameters
    ----------
    grey : float array (n, n), n divisible by the period.

    >>> noise = np.random.default_rng(0).normal(size=(208, 208))
    >>> 0.8 < lattice(noise, 4) < 1.2 < 4 < lattice(noise + (np.arange(208) % 4 == 0), 4)
    True
    """
    n = len(grey)
    values, window = grey - grey.mean(), np.hanning(len(grey))
    lines = [np.abs(np.fft.rfft(v * window, axis=1)) ** 2 for v in (values, values.T)]
    power = np.mean(lines, axis=(0, 1))
    at = n // period
    near = [power[i] for step in range(3, 9) for i in (at - step, at + step) if 0 < i < len(power)]
    below = float(np.median(near))
    return float(power[at] / below) if below else 1.0


def spectrum(rgb: np.ndarray) -> np.ndarray:
    """`SPECTRUM` of a picture, uint8 (n, n, 3): log power of rings, log lattice at `PERIODS`."""
    grey = rgb.astype(np.float64).mean(axis=2)
    return np.array([*ring_power(grey), *(np.log10(lattice(grey, period)) for period in PERIODS)])


def separability(items: Sequence[Item]) -> pd.DataFrame:
    """How well each number of `FEATURES` and `SPECTRUM` alone separates real from synthetic pictures, for each size.

    Returns
    -------
    DataFrame by (size, number): real, synthetic (medians), auc (the chance that a real picture has the larger value:
    0.5 says nothing, 0 or 1 give the truth away), p (Mann-Whitney).
    """
    rows = {}
    for size, some in _by_size(items):
        x = np.hstack([_look(some, "numbers"), _look(some, "spectrum")])
        real = np.array([item.real for item in some])
        for name, column in zip((*FEATURES, *SPECTRUM), x.T, strict=True):
            u, p = mannwhitneyu(column[real], column[~real])
            medians = np.median(column[real]), np.median(column[~real])
            rows[size, name] = (*medians, u / (real.sum() * (~real).sum()), p)
    names = ["real", "synthetic", "auc", "p"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names).set_axis(pd.MultiIndex.from_tuples(rows))


def classify(
    items: Sequence[Item], extractor: FeatureExtractor | None = None, seed: int = 0, looks: Sequence[str] = LOOKS
) -> pd.DataFrame:
    """Every picture as each way to look calls it, having learned from the others alone.

    Parameters
    ----------
    items : of a size at least two real and two synthetic ones.
    extractor : of learned features; EfficientNet-Lite by default.
    seed : of the folds.
    looks : ways to look, of `LOOKS`.

    Returns
    -------
    DataFrame, one row a picture and way to look: item, size, origin, real, look, right.

    Raises
    ------
    ValueError
        If a size has fewer than two real or two synthetic pictures.
    """
    extractor, rows = extractor or efficientnet_features(), []
    for size, some in _by_size(items):
        real = np.array([item.real for item in some])
        folds = min(FOLDS, int(real.sum()), int((~real).sum()))
        if folds < 2:
            raise ValueError(f"expected at least two real and two synthetic {size} pictures, got {folds} of one kind")
        split = StratifiedKFold(folds, shuffle=True, random_state=seed)
        for look in looks:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced"))
            said = cross_val_predict(model, _look(some, look, extractor), real, cv=split)
            rows += [{"item": item.name, "size": size, "origin": item.origin, "real": item.real, "look": look,
                      "right": bool(guess == item.real)} for item, guess in zip(some, said, strict=True)]  # fmt: skip
    return pd.DataFrame(rows)


def shares(classified: pd.DataFrame, by: Sequence[str] = ("look",)) -> pd.DataFrame:
    """Share of right calls of `classify` with Wilson's 95% interval: n, accuracy, low, high, by the columns named."""
    table = classified.groupby(list(by), sort=False)["right"].agg(n="size", accuracy="mean")
    right = (table["n"] * table["accuracy"]).round()
    table["low"], table["high"] = proportion_confint(right, table["n"], method="wilson")
    return table


def chapter_9(reports: str | Path = REPORTS) -> float | None:
    """Chapter 9's *told apart*: balanced accuracy on many tiles, made one by one, of a classifier of learned features.

    Parameters
    ----------
    reports : folder of ``quality.json``. Where it has no such figure, as in an installation, None is returned.
    """
    file, wanted = Path(reports, "quality.json"), ("EfficientNetLite0", "generated", "told apart")
    rows = read_json(file)["fidelity"] if file.is_file() else []
    return next((row["generated"] for row in rows if (row["features"], row["tiles"], row["number"]) == wanted), None)


def sentence(found: pd.DataFrame, on_many: float | None = None) -> str:
    """What `shares` by look means for whoever takes the survey, in words that follow from the numbers.

    Parameters
    ----------
    found : as of `shares`, by look.
    on_many : the balanced accuracy on many tiles, as of `chapter_9`, if it is known.

    >>> rows = {"numbers": (60, 0.5, 0.38, 0.62), "spectrum": (60, 0.6, 0.47, 0.71), "learned": (60, 0.95, 0.86, 0.98)}
    >>> table = pd.DataFrame.from_dict(rows, orient="index", columns=["n", "accuracy", "low", "high"])
    >>> print(sentence(table, 0.96))  # doctest: +NORMALIZE_WHITESPACE
    A classifier tells real from synthetic on 95% of these 60 pictures by learned features (95% interval 86% to 98%),
    60% by the spectrum alone (47% to 71%) and 50% by brightness, colour and file length (38% to 62%); 50% is guessing.
    Chapter 9 tells 96% of many tiles apart. What gives them away can be learned; whether plain numbers show it, so
    few pictures leave open.
    """
    words = {"learned": "by learned features", "spectrum": "by the spectrum alone",
             "numbers": "by brightness, colour and file length"}  # fmt: skip
    said = []
    for look in ("learned", "spectrum", "numbers"):
        row, first = found.loc[look], not said
        of = f" of these {row['n']:.0f} pictures" if first else ""
        interval = f"{'95% interval ' if first else ''}{row['low']:.0%} to {row['high']:.0%}"
        said.append(f"{row['accuracy']:.0%}{of} {words[look]} ({interval})")
    apart = f" Chapter 9 tells {on_many:.0%} of many tiles apart." if on_many is not None else ""
    without = [look for look in ("spectrum", "numbers") if found.loc[look, "low"] > 0.5]
    if without:
        verdict = "Part of what gives these pictures away has nothing to do with tissue, and eyes may use it, too."
    elif found.loc["learned", "low"] > 0.5:
        verdict = "What gives them away can be learned; whether plain numbers show it, so few pictures leave open."
    else:
        verdict = "With so few pictures none of the three is better than guessing for certain."
    shares = f"{said[0]}, {said[1]} and {said[2]}"
    return f"A classifier tells real from synthetic on {shares}; 50% is guessing.{apart} {verdict}"


def _by_size(items: Sequence[Item]) -> list[tuple[str, list[Item]]]:
    groups = [(size, [item for item in items if item.size == size]) for size in SIDES]
    return [(size, some) for size, some in groups if some]


def _look(items: Sequence[Item], look: str, extractor: FeatureExtractor | None = None) -> np.ndarray:
    """Pictures of one size as rows of numbers (n, d): one way to look at them."""
    pictures = [np.asarray(Image.open(io.BytesIO(item.data))) for item in items]
    if look == "numbers":
        return np.array([(*low_level_features(rgb), i.length) for rgb, i in zip(pictures, items, strict=True)])
    if look == "spectrum":
        return np.array([spectrum(rgb) for rgb in pictures])
    return (extractor or efficientnet_features())(to_tensor(rgb) for rgb in pictures)
