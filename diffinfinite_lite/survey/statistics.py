r"""Real or synthetic? Statistics of people's answers (section 5.2 of the paper); `answers` reads the files.

The paper asked ten pathologists about 60 pictures. What it reports is here, for any number of raters and pictures:

- accuracy with Wilson's 95% interval, which stays inside [0, 1] and is right for few answers (`accuracy`);
- Pearson's :math:`r` between the raters' accuracy and their confidence, experience or time, with
  :math:`df = n - 2` and the two-sided p of :math:`t = r \sqrt{df / (1 - r^2)}` (`correlations`, `p_of_r`);
- Fleiss' kappa, agreement beyond chance: :math:`\kappa = (\bar P - \bar P_e) / (1 - \bar P_e)` (`fleiss`).

An answer is one row of a table: the rater, the picture, whether it is real, the rater's answer, confidence (1 to 7) and
seconds. Answers of one rater are not independent, and neither are answers about one picture: an interval over
all answers pooled is too narrow, and `accuracy` by rater or by picture shows by how much people and pictures differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from ..extras import extra
from .answers import CONFIDENCE, REAL, SIZES, SYNTHETIC

with extra("course"):
    import pandas as pd
    from statsmodels.stats.proportion import proportion_confint


@dataclass(frozen=True)
class Published:
    """What section 5.2 of the paper reports of its survey; single pathologists are drawn there, not tabulated."""

    raters: int = 10
    items: int = 60
    accuracy: float = 0.63
    confidence: float = 2.22
    years: float = 8.7
    correlations: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {"experience": (0.069, 0.850), "confidence": (0.446, 0.197), "time": (-0.08, 0.826)}
    )


PAPER = Published()


def accuracy(answers: pd.DataFrame, by: str | Sequence[str] = ()) -> pd.DataFrame:
    """Share of right answers with Wilson's 95% interval.

    Parameters
    ----------
    answers : as of `read_answers`.
    by : columns to group by, such as "rater", "item" or ["size", "truth"]; all answers together by default.

    Returns
    -------
    DataFrame, one row a group: n, correct, accuracy, low, high (shares, 0 to 1).

    >>> said = pd.DataFrame({"truth": ["real"] * 60, "answer": ["real"] * 38 + ["synthetic"] * 22})
    >>> accuracy(said).round(3).to_numpy().tolist()
    [[60.0, 38.0, 0.633, 0.507, 0.744]]
    """
    by = [by] if isinstance(by, str) else list(by)
    right = (answers["truth"] == answers["answer"]).groupby([answers[c] for c in by] or (lambda _: "all"))
    table = right.agg(n="size", correct="sum")
    table["accuracy"] = table["correct"] / table["n"]
    table["low"], table["high"] = proportion_confint(table["correct"], table["n"], method="wilson")
    return table


def raters(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a rater: `accuracy` of each, mean confidence, experience in years, time for all answers in minutes."""
    table = accuracy(answers, "rater")
    by_rater = answers.groupby("rater")
    table["confidence"], table["experience"] = by_rater["confidence"].mean(), by_rater["experience"].first()
    table["minutes"] = by_rater["seconds"].sum(min_count=1) / 60
    return table


def items(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a picture: `accuracy` over the raters, its size and truth, hardest picture first (Fig. 5, right)."""
    table = accuracy(answers, ["item", "size", "truth"]).reset_index(["size", "truth"])
    return table.sort_values(["accuracy", "size", "truth"], kind="stable")


def confusion(answers: pd.DataFrame) -> pd.DataFrame:
    """Answers counted: rows (size, truth), columns the answer given."""
    rows = pd.MultiIndex.from_product([SIZES, (REAL, SYNTHETIC)], names=["size", "truth"])
    table = pd.crosstab([answers["size"], answers["truth"]], answers["answer"])
    return table.reindex(index=rows, columns=[REAL, SYNTHETIC], fill_value=0)


def correlations(answers: pd.DataFrame) -> pd.DataFrame:
    """Pearson's r of accuracy with confidence, experience and time, one row each.

    Columns: r, df, p, low, high (95% interval of r), why. Raters without a number, such as of experience, are left out
    of that row. Where r is not defined, its numbers are NaN and `why` says the reason; else `why` is "".
    """
    table, rows = raters(answers), {}
    for name in ("confidence", "experience", "minutes"):
        pair = table[["accuracy", name]].dropna()
        flat = [column for column in pair if pair[column].nunique() < 2]
        if len(pair) < 4:
            why = f"needs at least 4 raters with a number for {name}, got {len(pair)}"
        else:
            why = f"all {len(pair)} raters have the same {flat[0]}" if flat else ""
        row = {"r": math.nan, "df": len(pair) - 2, "p": math.nan, "low": math.nan, "high": math.nan, "why": why}
        if not why:
            r, p = stats.pearsonr(pair["accuracy"], pair[name])
            low, high = interval_of_r(r, len(pair) - 2)
            row |= {"r": r, "p": p, "low": low, "high": high}
        rows[name] = row
    numbers = dict.fromkeys(("r", "p", "low", "high"), float)
    return pd.DataFrame.from_dict(rows, orient="index").astype({"df": int} | numbers)


def calibration(answers: pd.DataFrame) -> pd.DataFrame:
    """`accuracy` at each confidence that was given, 1 to 7: rising where raters know when they know."""
    return accuracy(answers, "confidence").reindex(range(CONFIDENCE[0], CONFIDENCE[1] + 1)).dropna()


def taps(answers: pd.DataFrame) -> pd.DataFrame:
    """Marks of the red pen, one row a mark: item, rater, x, y (shares of the picture's side, from the upper left)."""
    marks = answers.loc[answers["taps"].map(len) > 0, ["item", "rater", "taps"]].explode("taps", ignore_index=True)
    x, y = ([float(tap[i]) for tap in marks["taps"]] for i in (0, 1))
    return marks[["item", "rater"]].assign(x=x, y=y)


def heatmap(marks: pd.DataFrame, side: int = 64, sigma: float = 0.04) -> np.ndarray:
    """Where the marks of one picture lie: a Gaussian on each, and each rater counted once however often they tapped.

    Parameters
    ----------
    marks : rows of `taps` of one picture.
    side : of the map, in cells.
    sigma : of the Gaussian, as a share of the picture's side.

    Returns
    -------
    float array (side, side), rows from the top; the value is the number of raters who marked near there.

    >>> mark = pd.DataFrame({"rater": ["a", "a"], "x": [0.25, 0.25], "y": [0.75, 0.75]})
    >>> found = heatmap(mark, side=4)
    >>> tuple(int(i) for i in np.unravel_index(found.argmax(), found.shape))
    (2, 0)
    """
    centres = (np.arange(side) + 0.5) / side
    total = np.zeros((side, side))
    for _, own in marks.groupby("rater"):
        bumps = [
            np.exp(-((centres[:, None] - y) ** 2 + (centres[None] - x) ** 2) / (2 * sigma**2))
            for x, y in zip(own["x"], own["y"], strict=True)
        ]
        total += np.max(bumps, axis=0)
    return total


def p_of_r(r: float, df: int) -> float:
    """Two-sided p of Pearson's r with df = raters - 2.

    >>> round(p_of_r(0.446, 8), 3)
    0.196
    """
    if not -1 < r < 1 or df < 1:
        raise ValueError(f"expected r between -1 and 1 and df of at least 1, got {r} and {df}")
    return float(2 * stats.t.sf(abs(r) * math.sqrt(df / (1 - r * r)), df))


def smallest_r(df: int, level: float = 0.05) -> float:
    """The smallest size of Pearson's r that is significant at `level` (two-sided) with df + 2 raters.

    >>> round(smallest_r(8), 3)
    0.632
    """
    t = stats.t.isf(level / 2, df)
    return float(t / math.sqrt(df + t * t))


def interval_of_r(r: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """Fisher's interval of Pearson's r; df of at least 2.

    >>> [round(x, 2) for x in interval_of_r(0.446, 8)]
    [-0.26, 0.84]
    """
    if abs(r) == 1:
        return r, r
    reach = stats.norm.isf((1 - level) / 2) / math.sqrt(df - 1)
    return math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)


def fleiss(answers: pd.DataFrame) -> float:
    r"""Fleiss' kappa of the answers: 1 full agreement, 0 that of chance; whether they are right does not matter.

    Where not everybody answered every picture, the agreement on picture i is that of its :math:`n_i` raters,
    :math:`P_i = \sum_j n_{ij} (n_{ij} - 1) / (n_i (n_i - 1))`; pictures of one rater are left out. With equal
    :math:`n_i` this is Fleiss' own formula.

    Raises
    ------
    ValueError
        If no picture was answered by two raters, or everybody said the same throughout.
    """
    counts = pd.crosstab(answers["item"], answers["answer"])
    counts = counts[counts.sum(axis=1) >= 2]
    if counts.empty:
        raise ValueError("expected at least two raters who answered the same pictures")
    shares = counts.sum() / counts.to_numpy().sum()
    if (shares > 0).sum() < 2:
        raise ValueError("expected both answers to be given at least once, got the same answer throughout")
    n = counts.sum(axis=1)
    agreement = ((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean()
    chance = float((shares**2).sum())
    return float((agreement - chance) / (1 - chance))
