"""A class as it stands, for the instructor's page: who is how far, how often they are right, on what they agree.

The numbers are those of `statistics`, over all answers so far. What cannot be computed yet has a sentence in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..extras import extra
from . import statistics
from .answers import SYNTHETIC
from .statistics import PAPER
from .store import Store

with extra("course"):
    import pandas as pd
    from statsmodels.stats.proportion import proportion_confint

HARDEST = 6  # pictures shown


def summary(store: Store) -> dict[str, Any]:
    """All that the instructor's page shows, as JSON can hold it.

    Returns
    -------
    dict of survey, total (pictures), closed, progress (one entry a rater), paper, and of ``figures``, which is None as
    long as there is no answer: accuracy, raters, confusion, models (of the synthetic pictures), calibration, agreement,
    pictures (hardest first).
    """
    raters, rows = store.raters(), store.rows()
    answered = pd.Series([row["rater"] for row in rows], dtype=object).value_counts()
    progress = [
        {
            "rater": each.rater,
            "asked": each.requested,
            "answered": int(answered.get(each.rater, 0)),
            "finished": each.finished,
        }
        for each in raters
    ]
    return {
        "survey": store.deck.key.survey,
        "total": len(store.deck.items),
        "closed": store.closed,
        "progress": progress,
        "paper": paper(),
        "figures": _figures(pd.DataFrame(rows), store) if rows else None,
    }


def paper() -> dict[str, Any]:
    """The paper's ten pathologists: accuracy with its interval, all answers taken as independent; confidence, years."""
    n = PAPER.raters * PAPER.items
    low, high = proportion_confint(round(PAPER.accuracy * n), n, method="wilson")
    shown = {"raters": PAPER.raters, "items": PAPER.items, "accuracy": PAPER.accuracy, "low": low, "high": high}
    return shown | {"confidence": PAPER.confidence, "years": PAPER.years}


def _figures(answers: pd.DataFrame, store: Store) -> dict[str, Any]:
    counts, by_confidence = statistics.confusion(answers), statistics.calibration(answers)
    return {
        "accuracy": _shares(statistics.accuracy(answers).loc["all"]),
        "confidence": float(answers["confidence"].mean()),
        "raters": [_shares(row) for _, row in statistics.accuracy(answers, "rater").iterrows()],
        "confusion": [
            {"size": size, "truth": truth, **{answer: int(n) for answer, n in row.items()}}
            for (size, truth), row in counts.iterrows()
            if row.sum()
        ],
        "models": [{"origin": origin} | _shares(row) for origin, row in _by_model(answers).iterrows()],
        "calibration": [{"confidence": int(level), **_shares(row)} for level, row in by_confidence.iterrows()],
        "agreement": _agreement(answers),
        "pictures": _pictures(answers, store),
    }


def _by_model(answers: pd.DataFrame) -> pd.DataFrame:
    """Two models in one survey are counted apart: which one is easier to catch?"""
    return statistics.accuracy(answers[answers["truth"] == SYNTHETIC], "origin")


def _agreement(answers: pd.DataFrame) -> dict[str, Any]:
    """Fleiss' kappa, or why there is none."""
    try:
        return {"kappa": statistics.fleiss(answers), "why": ""}
    except ValueError as error:
        return {"kappa": None, "why": str(error)}


def _pictures(answers: pd.DataFrame, store: Store) -> list[dict[str, Any]]:
    """The hardest pictures, then the others that somebody has tapped, under the names that the service gives them."""
    items, marks, shown = {item.name: item for item in store.deck.items}, statistics.taps(answers), []
    points = {item: own[["x", "y"]].to_numpy().tolist() for item, own in marks.groupby("item")}
    for place, row in enumerate(statistics.items(answers).reset_index().itertuples()):
        if place < HARDEST or row.item in points:
            item = items[row.item]
            more = {"size": item.size, "truth": row.truth, "origin": item.origin, "taps": points.get(row.item, [])}
            shown.append({"picture": store.opaque(row.item), **_shares(row._asdict()), **more})
    return shown


def _shares(row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: int(row[name]) for name in ("n", "correct")}
    return counts | {name: float(row[name]) for name in ("accuracy", "low", "high")}
