r"""Real or synthetic? Answers of people, read from the files that the survey page exports, and their statistics (5.2).

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

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from ..extras import extra

with extra("course"):
    import pandas as pd
    from statsmodels.stats.inter_rater import fleiss_kappa
    from statsmodels.stats.proportion import proportion_confint


REAL, SYNTHETIC = "real", "synthetic"
SIZES = ("small", "large")
CONFIDENCE = (1, 7)  # Likert scale of the paper
FORMAT = "diffinfinite-survey-1"  # of the JSON export
SHARED = ("survey", "rater", "experience")  # one value a file
COLUMNS = (*SHARED, "item", "size", "truth", "answer", "confidence", "seconds", "position")


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


def read_answers(files: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Answers of all raters, from files that the survey page exported.

    Parameters
    ----------
    files : a folder (every .csv and .json in it), one file, or several; one file per rater.

    Returns
    -------
    DataFrame with the columns `COLUMNS`, one row an answer; experience in years, NaN where it was not given.

    Raises
    ------
    ValueError
        Naming the file, and what was expected in it: not an export, a column missing, a value out of range, a picture
        answered twice, one rater in two files, or two files that disagree about what a picture truly is.
    """
    if isinstance(files, str | Path):
        folder = Path(files)
        files = [p for p in sorted(folder.iterdir()) if p.suffix in (".csv", ".json")] if folder.is_dir() else [folder]
    paths = [Path(p) for p in files]
    if not paths:
        raise ValueError("expected at least one exported .csv or .json file, found none")
    tables, owner = [], {}
    for path in paths:
        table = _checked(_read(path), path.name)
        key = (table["survey"].iloc[0], table["rater"].iloc[0])
        if key in owner:
            raise ValueError(f"expected one file per rater, got {owner[key]} and {path.name} of rater {key[1]}")
        owner[key] = path.name
        tables.append(table)
    answers = pd.concat(tables, ignore_index=True)
    torn = answers.groupby(["survey", "item"])[["truth", "size"]].nunique().gt(1).any(axis=1)
    if torn.any():
        raise ValueError(f"expected one truth and one size per picture, got two of picture {torn.idxmax()[1]}")
    return answers


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
    table["minutes"] = by_rater["seconds"].sum() / 60
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
    """Pearson's r of accuracy with confidence, experience and time, one row each: r, df, p, low, high (95% of r).

    Raters without a number, such as of experience, are left out of that row.

    Raises
    ------
    ValueError
        If there are fewer than four raters with a number, or all have the same, for which r is not defined.
    """
    table, rows = raters(answers), {}
    for name in ("confidence", "experience", "minutes"):
        pair = table[["accuracy", name]].dropna()
        if len(pair) < 4 or (pair.nunique() < 2).any():
            raise ValueError(f"expected at least 4 raters who differ in accuracy and {name}, got {len(pair)}")
        r, p = stats.pearsonr(pair["accuracy"], pair[name])
        low, high = interval_of_r(r, len(pair) - 2)
        rows[name] = {"r": r, "df": len(pair) - 2, "p": p, "low": low, "high": high}
    return pd.DataFrame(rows).T.astype({"df": int})


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
    """Fleiss' kappa of the answers: 1 full agreement, 0 that of chance; whether they are right does not matter.

    Raises
    ------
    ValueError
        If fewer than two raters answered, not all of them the same pictures, or everybody said the same throughout.
    """
    counts = pd.crosstab(answers["item"], answers["answer"])
    per_picture = counts.sum(axis=1).unique()
    if len(per_picture) != 1 or per_picture[0] < 2 or per_picture[0] != answers["rater"].nunique():
        raise ValueError("expected at least two raters who all answered the same pictures")
    if counts.shape[1] < 2:
        raise ValueError("expected both answers to be given at least once, got the same answer throughout")
    return float(fleiss_kappa(counts.to_numpy()))


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix != ".json":
            return pd.read_csv(path, dtype={"survey": str, "rater": str, "item": str})
        whole = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(whole, dict) or whole.get("format") != FORMAT:
            raise ValueError(f'no "format": "{FORMAT}"')
        return pd.DataFrame(whole["answers"]).assign(**{name: whole[name] for name in SHARED})
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"expected a file exported by the survey page, got {path.name}: {reason}") from error


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The answers of one file with clean types, or a sentence about what is wrong with it."""
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise ValueError(f"expected the column {missing[0]} in {name}, found {', '.join(map(str, table)) or 'none'}")
    if table.empty:
        raise ValueError(f"expected at least one answer in {name}, found none")
    table = table[list(COLUMNS)].copy()
    for column in ("survey", "rater", "item"):
        _refuse(table[column].isna(), table, column, "some letters", name)
    for column in ("survey", "rater", "item", "size", "truth", "answer"):
        table[column] = table[column].astype(str)
    for column in SHARED:
        if table[column].nunique(dropna=False) > 1:
            raise ValueError(f"expected one {column} in {name}, got {table[column].nunique(dropna=False)}")
    for column, allowed in (("size", SIZES), ("truth", (REAL, SYNTHETIC)), ("answer", (REAL, SYNTHETIC))):
        _refuse(~table[column].isin(allowed), table, column, " or ".join(allowed), name)
    low, high = CONFIDENCE
    for column, smallest, largest in (("confidence", low, high), ("seconds", 0, np.inf), ("position", 1, np.inf)):
        number = pd.to_numeric(table[column], errors="coerce")
        bad = ~number.between(smallest, largest, inclusive="both") | np.isinf(number)
        if column != "seconds":
            bad |= number % 1 != 0
        _refuse(bad, table, column, f"{smallest} to {largest}" if largest < np.inf else f"at least {smallest}", name)
        table[column] = number.astype(float if column == "seconds" else int)
    years = pd.to_numeric(table["experience"], errors="coerce")
    _refuse(table["experience"].notna() & ~years.between(0, 80), table, "experience", "0 to 80 years, or none", name)
    twice = table["item"].duplicated()
    if twice.any():
        raise ValueError(f"expected one answer a picture in {name}, got two for {table['item'][twice.idxmax()]}")
    return table.assign(experience=years.astype(float))


def _refuse(bad: pd.Series, table: pd.DataFrame, column: str, wanted: str, name: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"expected {column} of {wanted} in {name}, got {table[column].iloc[row]} in row {row + 1}")
