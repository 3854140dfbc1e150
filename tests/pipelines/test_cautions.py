"""Cautions: said for the findings that were measured, in the run as well, and for nothing else."""

import numpy as np
import pytest

from diffinfinite_lite import generate
from diffinfinite_lite.labels import CONTEXTS, LABELS
from diffinfinite_lite.pipelines.cautions import LATTICES, UNKNOWN_LABELS, Caution, find_cautions
from diffinfinite_lite.pipelines.config import SamplingConfig
from diffinfinite_lite.sampling.plans import PLANS

CONFIG = SamplingConfig(patch=224)


@pytest.mark.parametrize("context", [None, "none", *CONTEXTS])
@pytest.mark.parametrize("label", range(len(LABELS)))
def test_labels_that_the_model_does_not_know(context, label):
    """The field's case 22: under adenocarcinoma, normal and no context, necrosis looks like another label."""
    shares = [float(n == label) for n in range(len(LABELS))]
    found = find_cautions(context, (224, 224), CONFIG, shares)
    expected = LABELS[label] == "necrosis" and context != "squamous"
    assert len(found) == expected
    assert not expected or ("necrosis" in found[0] and "grey levels apart" in found[0])
    assert not find_cautions(context, (224, 224), CONFIG, shares, "another/model")


@pytest.mark.parametrize("plan", PLANS)
def test_plans_that_leave_a_lattice(plan):
    """The field's case 08. A canvas of one window has no lines."""
    config = SamplingConfig(patch=224, plan=plan)
    found = find_cautions("squamous", (224, 448), config, [1, 0, 0, 0, 0])
    assert len(found) == (plan in ("sliding-window", "multidiffusion"))
    assert not found or LATTICES[plan] in found[0]
    assert not find_cautions("squamous", (224, 224), config, [1, 0, 0, 0, 0])


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
