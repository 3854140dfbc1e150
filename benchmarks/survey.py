"""How hard each version of the survey is: `python benchmarks/survey.py --name "..."`, added to reports/survey.json.

A version is a set of weights and a processing of the pictures. For each the share of pictures that classifiers call
right (`leaks`), by way of looking and by source, and, where files of people are given, what people did. Chapter 11
draws the curve. A survey is easier the more pictures can be told apart: 50% is the goal.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from diffinfinite_lite.files import write_text
from diffinfinite_lite.models.pretrained import expected_hashes
from diffinfinite_lite.survey import statistics
from diffinfinite_lite.survey.answers import read_answers
from diffinfinite_lite.survey.fields import lung_fields
from diffinfinite_lite.survey.leaks import classify, shares
from diffinfinite_lite.survey.page import make_key
from diffinfinite_lite.survey.pictures import PROCESSING, Item, make_items

REPORT = Path(__file__).parents[1] / "reports/survey.json"
NUMBERS = ["n", "accuracy", "low", "high"]


def measure(
    items: Sequence[Item],
    name: str,
    made: str,
    *,
    weights: Path | None = None,
    exports: Path | None = None,
    note: str = "",
) -> dict:
    """A version of the survey as an entry of the report.

    Parameters
    ----------
    items : the pictures.
    name, made, note : what the version is called, how its pictures were processed, and anything a reader has to know.
    weights : folder of the model that painted them, None for the shipped one.
    exports : folder of files that people handed in.
    """
    calls = classify(items)
    learned = calls[calls["look"] == "learned"]
    people = None
    if exports:
        answers = read_answers(exports, make_key(items))
        people = _rounded(statistics.accuracy(answers)).iloc[0].to_dict() | {"raters": int(answers["rater"].nunique())}
    return {
        "name": name,
        "weights": expected_hashes(weights),
        "processing": made,
        "pictures": len(items),
        "looks": _rounded(shares(calls)).to_dict("index"),
        "sources": _rounded(shares(learned, ("origin",))).to_dict("index"),
        "people": people,
        "note": note,
    }


def add(entry: dict, report: Path = REPORT) -> None:
    """Put an entry at the end of the report; one of the same name before it goes."""
    entries = json.loads(report.read_text(encoding="utf-8"))["versions"] if report.is_file() else []
    entries = [other for other in entries if other["name"] != entry["name"]]
    whole = {"command": "python benchmarks/survey.py", "versions": [*entries, entry]}
    write_text(report, json.dumps(whole, indent=1) + "\n")


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table[NUMBERS].round(3).astype({"n": int})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="what this version is called")
    parser.add_argument("--small", type=int, default=36, help="real small fields")
    parser.add_argument("--large", type=int, default=20, help="real large fields")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--weights", type=Path, help="folder of an earlier model, such as git archive gives it")
    parser.add_argument("--exports", type=Path, help="folder of files that people handed in")
    parser.add_argument("--note", default="")
    options = parser.parse_args()

    def bar(jobs, total):
        return tqdm(jobs, total=total, desc="pictures")

    fields = lung_fields(options.small, options.large, steps=options.steps, weights=options.weights, progress=bar)
    made = f"{PROCESSING.describe()}, both sides alike"
    entry = measure(make_items(fields), options.name, made, weights=options.weights, exports=options.exports,
                    note=options.note)  # fmt: skip
    add(entry)
    print(pd.DataFrame(entry["looks"]).T, pd.DataFrame(entry["sources"]).T, sep="\n")


if __name__ == "__main__":
    main()
