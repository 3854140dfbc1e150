"""What is committed belongs together: the model card, the reports and the weights that ship."""

import json
from pathlib import Path

import pytest
import quality

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports"


def report(name):
    return json.loads((REPORTS / name).read_text("utf8"))


@pytest.mark.parametrize("name", sorted({"quality.json"} | {path.name for path in REPORTS.glob("tables.json")}))
def test_reports_are_of_the_weights_that_ship(name):
    weights = json.loads((ROOT / "diffinfinite_lite/weights/hashes.json").read_text("utf8"))
    assert report(name)["settings"]["weights"] == weights, "run `make eval`"


def test_figures_of_the_card_and_of_the_page_are_the_reports():
    found = report("quality.json")
    card = (ROOT / "docs/model_card.md").read_text("utf8")
    assert quality.fill(card, quality.figures(found)) == card, "run `make eval`"
    assert (REPORTS / "quality.md").read_text("utf8") == quality.table(found)
