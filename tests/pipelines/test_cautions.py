"""Cautions: said for the findings that were measured, in the run as well, and for nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffinfinite_lite import generate
from diffinfinite_lite.labels import CONTEXTS, LABELS
from diffinfinite_lite.models.pretrained import expected_hashes, has_air, sampled_margin
from diffinfinite_lite.pipelines.cautions import BLOTS, LATTICES, REAL, UNKNOWN_LABELS, Caution, find_cautions
from diffinfinite_lite.pipelines.config import SamplingConfig
from diffinfinite_lite.sampling.plans import PLANS

CONFIG = SamplingConfig(patch=224)


@pytest.mark.parametrize("context", [None, "none", *CONTEXTS])
@pytest.mark.parametrize("label", range(len(LABELS)))
def test_labels_that_the_model_does_not_know(context, label, tiny_weights):
    """The field's case 22: under adenocarcinoma, normal and no context, necrosis looks like another label.

    And others are painted as air by a model of five codes.
    """
    shares = [float(n == label) for n in range(len(LABELS))]
    found = find_cautions(context, (224, 224), CONFIG, shares)
    as_air = [sentence for sentence in found if "it paints others as air" in sentence]
    assert len(as_air) == (LABELS[label] == "others" and context != "normal" and not has_air())
    found = [sentence for sentence in found if sentence not in as_air]
    expected = LABELS[label] == "necrosis" and context != "squamous"
    assert len(found) == expected
    assert not expected or ("necrosis" in found[0] and "grey levels apart" in found[0])
    assert not find_cautions(context, (224, 224), CONFIG, shares, tiny_weights)


@pytest.mark.parametrize("plan", PLANS)
def test_plans_that_leave_a_lattice(plan):
    """The field's case 08. A canvas of one window, its margin included, has no lines."""
    config, alone = SamplingConfig(patch=224, plan=plan), 224 - 16 * sampled_margin()
    found = find_cautions("squamous", (224, 448), config, [1, 0, 0, 0, 0, 0])
    assert len(found) == (plan in ("sliding-window", "multidiffusion"))
    assert not found or LATTICES[plan] in found[0]
    assert not find_cautions("squamous", (alone, alone), config, [1, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("omega", "at"), [(0, None), (1.99, None), (2, "2"), (3.5, "3"), (4, "4"), (100, "10")])
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
    assert report["weights"] == expected_hashes()
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
