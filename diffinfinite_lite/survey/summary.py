"""A class as it stands, for the instructor's page: who is how far, how often they are right, on what they agree.

The numbers are those of `statistics`, over all answers so far. What cannot be computed yet has a sentence in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..extras import extra
from . import statistics
from .statistics import CONFIDENCE, PAPER
from .store import Store

with extra("course"):
    import pandas as pd
    from statsmodels.stats.proportion import proportion_confint

HARDEST = 6  # pictures shown
Taps = Mapping[tuple[str, str], Sequence[tuple[float, float]]]


def summary(store: Store) -> dict[str, Any]:
    """All that the instructor's page shows, as JSON can hold it.

    Returns
    -------
    dict of survey, total (pictures), closed, progress (one entry a rater), paper, and of ``figures``, which is None as
    long as there is no answer: accuracy, raters, confusion, calibration, agreement, pictures (hardest first).
    """
    raters, rows, taps = store.raters(), store.rows(), store.taps()
    answered = pd.Series([row["rater"] for row in rows], dtype=object).value_counts()
    progress = [
        {"rater": each.rater, "asked": each.asked, "answered": int(answered.get(each.rater, 0)), "finished": each.finished}
        for each in raters
    ]
    return {
        "survey": store.deck.name,
        "total": len(store.deck.items),
        "closed": store.closed,
        "progress": progress,
        "paper": paper(),
        "figures": _figures(pd.DataFrame(rows), taps, store) if rows else None,
    }


def paper() -> dict[str, Any]:
    """The paper's ten pathologists: accuracy with its interval, as if all answers were independent; confidence, years."""
    n = PAPER.raters * PAPER.items
    low, high = proportion_confint(round(PAPER.accuracy * n), n, method="wilson")
    shown = {"raters": PAPER.raters, "items": PAPER.items, "accuracy": PAPER.accuracy, "low": low, "high": high}
    return shown | {"confidence": PAPER.confidence, "years": PAPER.years}


def _figures(answers: pd.DataFrame, taps: Taps, store: Store) -> dict[str, Any]:
    by_confidence = statistics.accuracy(answers, "confidence")
    levels = range(CONFIDENCE[0], CONFIDENCE[1] + 1)
    counts = statistics.confusion(answers)
    return {
        "accuracy": _shares(statistics.accuracy(answers).loc["all"]),
        "confidence": float(answers["confidence"].mean()),
        "raters": [_shares(row) for _, row in statistics.accuracy(answers, "rater").iterrows()],
        "confusion": [
            {"size": size, "truth": truth, **{answer: int(n) for answer, n in row.items()}}
            for (size, truth), row in counts.iterrows()
            if row.sum()
        ],
        "calibration": [
            {"confidence": level, **_shares(by_confidence.loc[level])} for level in levels if level in by_confidence.index
        ],
        "agreement": _agreement(answers, len(store.deck.items)),
        "pictures": _pictures(answers, taps, store),
    }


def _agreement(answers: pd.DataFrame, total: int) -> dict[str, Any]:
    """Fleiss' kappa of the raters who have answered everything, or why there is none."""
    count = answers.groupby("rater")["item"].transform("size")
    whole = answers[count == total]
    raters = int(whole["rater"].nunique())
    if raters < 2:
        return {"kappa": None, "raters": raters, "why": "needs two participants who have answered every picture"}
    try:
        return {"kappa": statistics.fleiss(whole), "raters": raters}
    except ValueError as error:
        return {"kappa": None, "raters": raters, "why": str(error)}


def _pictures(answers: pd.DataFrame, taps: Taps, store: Store) -> list[dict[str, Any]]:
    """The hardest pictures, then the others that somebody has tapped, under the names that the service gives them."""
    items, points = {item.name: item for item in store.deck.items}, {}
    for (_, item), places in taps.items():
        points.setdefault(item, []).extend(places)
    shown = []
    for place, row in enumerate(statistics.items(answers).reset_index().itertuples()):
        if place < HARDEST or row.item in points:
            item = items[row.item]
            more = {"size": item.size, "truth": row.truth, "origin": item.origin, "taps": points.get(row.item, [])}
            values = {"n": row.n, "correct": row.correct, "accuracy": row.accuracy, "low": row.low, "high": row.high}
            shown.append({"picture": store.opaque(row.item), "item": row.item, **_shares(values), **more})
    return shown


def _shares(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: int(row[name]) for name in ("n", "correct")}
    return counts | {name: float(row[name]) for name in ("accuracy", "low", "high")}
