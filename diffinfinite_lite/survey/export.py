"""All that a class has answered, as one file: CSV by answer, or JSON with one export of the survey page for each rater.

What stands in the files are numbers and words of our own making, so that a spreadsheet finds no formula in them.
"""

from __future__ import annotations

import csv
import io
import json

from .statistics import COLUMNS, FORMAT, SHARED
from .store import Store

CLASS_FORMAT = "diffinfinite-class-1"


def as_csv(store: Store) -> str:
    """One row an answer: `statistics.COLUMNS`, and the taps of the red pen as ``0.25:0.5 0.1:0.9``."""
    text, taps = io.StringIO(), store.taps()
    writer = csv.DictWriter(text, [*COLUMNS, "taps"])
    writer.writeheader()
    for row in store.rows():
        points = taps.get((row["rater"], row["item"]), [])
        writer.writerow(row | {"taps": " ".join(f"{x:g}:{y:g}" for x, y in points)})
    return text.getvalue()


def as_json(store: Store) -> str:
    """``{"format": ..., "survey": ..., "raters": [...]}``, each rater as the survey page exports one."""
    rows, taps = store.rows(), store.taps()
    by_rater: dict[str, list[dict]] = {rater.rater: [] for rater in store.raters()}
    for row in rows:
        own = {name: value for name, value in row.items() if name not in SHARED}
        by_rater[row["rater"]].append(own | {"taps": taps.get((row["rater"], row["item"]), [])})
    shared = {"format": FORMAT, "survey": store.deck.name}
    raters = [
        shared | {"rater": each.rater, "experience": each.experience, "asked": each.asked, "answers": by_rater[each.rater]}
        for each in store.raters()
    ]
    return json.dumps({"format": CLASS_FORMAT, "survey": store.deck.name, "raters": raters}, indent=1)
