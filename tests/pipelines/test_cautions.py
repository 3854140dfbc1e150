"""Cautions: said for the findings that were measured, in the run as well, and for nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffinfinite_lite import generate
from diffinfinite_lite.labels import CONTEXTS, FIVE_CODES, LABELS
from diffinfinite_lite.models.pretrained import expected_hashes, has_air, sampled_margin
from diffinfinite_lite.pipelines.cautions import (
    BLOTS,
    LATTICES,
    NO_CONTEXT,
    REAL,
    UNKNOWN_LABELS,
    Caution,
    find_cautions,
)
from diffinfinite_lite.pipelines.config import SamplingConfig
from diffinfinite_lite.sampling.plans import PLANS
from tests.toys import tiny_model

CONFIG = SamplingConfig(patch=224)


@pytest.mark.parametrize("context", [None, "none", *CONTEXTS])
@pytest.mark.parametrize("label", range(len(LABELS)))
def test_labels_that_the_model_does_not_know(context, label, tiny_weights):
    """The field's case 22: a label that the model did not learn under a context, and any without one."""
    shares = [float(n == label) for n in range(len(LABELS))]
    found = find_cautions(context, (224, 224), CONFIG, shares)
    if context in (None, "none"):
        assert found == ([NO_CONTEXT] if label else [])
    else:
        does = UNKNOWN_LABELS.get((context, LABELS[label]))
        assert len(found) == (does is not None)
        assert not found or (
            f"hardly knows {LABELS[label]} under the context {context}" in found[0] and does in found[0]
        )
    assert not find_cautions(context, (224, 224), CONFIG, shares, tiny_weights)


def test_others_are_painted_as_air_by_a_model_of_five_codes(tmp_path):
    weights, others = tiny_model(tmp_path, codes=FIVE_CODES), [float(name == "others") for name in LABELS]
    assert not has_air(weights)
    (said,) = find_cautions("squamous", (224, 224), CONFIG, others, weights)
    assert "it paints others as air" in said
    assert not find_cautions("normal", (224, 224), CONFIG, others, weights)


def test_figures_of_labels_are_those_of_the_report():
    """Hardly known is what looks like another label, by under 10 grey levels, and necrosis where none was learnt."""
    report = json.loads((Path(__file__).parents[2] / "reports" / "labels.json").read_text(encoding="utf-8"))
    assert {**expected_hashes(), **report["weights"]} == expected_hashes()
    assert set(expected_hashes()) - set(report["weights"]) == {"mask"}, "all but that which takes no part"
    levels = report["grey levels"]
    known = {c: {a: {b: x for b, x in row.items() if b != "unknown"} for a, row in levels[c].items()} for c in levels}
    alike = {
        (c, a): (min(row, key=row.get), min(row.values()))
        for c in CONTEXTS
        for a, row in known[c].items()
        if a != "unknown" and min(row.values()) < 10
    }
    assert set(alike) | {("adenocarcinoma", "necrosis")} == set(UNKNOWN_LABELS)
    for key, (other, difference) in alike.items():
        assert f"like {other} ({difference} grey levels apart" in UNKNOWN_LABELS[key]
        assert f"air and others {levels[key[0]]['air']['others']}" in UNKNOWN_LABELS[key]
    apart = [x for row in levels["none"].values() for x in row.values()]
    widest = max(x for c in CONTEXTS for row in levels[c].values() for x in row.values())
    assert f"{min(apart)} to {max(apart)} grey levels apart" in NO_CONTEXT and f"up to {widest}" in NO_CONTEXT


@pytest.mark.parametrize("plan", PLANS)
def test_plans_that_leave_a_lattice(plan):
    """The field's case 08. A canvas of one window, its margin included, has no lines."""
    config, alone = SamplingConfig(patch=224, plan=plan), 224 - 16 * sampled_margin()
    found = find_cautions("squamous", (224, 448), config, [1, 0, 0, 0, 0, 0])
    assert len(found) == (plan in ("sliding-window", "multidiffusion"))
    assert not found or LATTICES[plan] in found[0]
    assert not find_cautions("squamous", (alone, alone), config, [1, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("omega", "at"), [(0, None), (5.99, None), (6, "6"), (8.5, "6"), (100, "10")])
def test_guidance_that_paints_blots(omega, at):
    """Said from the weakest guidance on whose worst tile was worse than the worst real one, with the figure for it."""
    config = SamplingConfig(patch=224, omega=omega)
    found = find_cautions("normal", (224, 224), config, [1, 0, 0, 0, 0, 0])
    assert len(found) == (at is not None)
    if at:
        assert f"guidance of ω {omega:g} paints blots: at ω {at}, {BLOTS[float(at)][0]:.1%} of the pixels" in found[0]
    assert not find_cautions("normal", (224, 224), config, [1, 0, 0, 0, 0, 0], "another/model")


def test_figures_of_blots_are_those_of_the_report():
    """The bound is the first ω of `benchmarks/guidance.py` whose worst tile is worse than the worst real one."""
    report = json.loads((Path(__file__).parents[2] / "reports" / "guidance.json").read_text(encoding="utf-8"))
    rows = report["by omega"]
    painted = {name: sha256 for name, sha256 in report["weights"].items() if name != "mask"}
    assert {**expected_hashes(), **painted} == expected_hashes(), "the masks may be those of another mask model"
    assert set(expected_hashes()) - set(painted) == {"mask"}
    for omega, figures in BLOTS.items():
        row = rows[f"{omega:g}"]
        assert figures == pytest.approx((row["foreign colours"], row["a channel at 0"]), abs=5e-5)
    worst = "foreign colours, worst tile"
    beyond = {float(omega) for omega in rows if omega != "real" and rows[omega][worst] > rows["real"][worst]}
    assert min(beyond) == min(BLOTS) and set(BLOTS) <= beyond
    assert (rows["real"]["foreign colours"], rows["real"]["a channel at 0"]) == pytest.approx(REAL, abs=5e-5)


def test_names_of_the_tables_exist():
    assert set(LATTICES) <= set(PLANS)
    assert {label for _, label in UNKNOWN_LABELS} <= set(LABELS)
    assert {context for context, _ in UNKNOWN_LABELS} <= {None, *CONTEXTS}


def test_a_caution_is_said_once_and_recorded(tiny_weights):
    mask = np.full((64, 128), 3, np.uint8)
    options = {"steps": 1, "weights": tiny_weights, "device": "cpu"}
    with pytest.warns(Caution, match="leaves a lattice") as said:
        pair = generate("normal", mask, plan="sliding-window", **options)
    assert [str(each.message) for each in said if each.category is Caution] == pair.run["warnings"]
    assert "warnings" not in generate("normal", mask, **options).run
