"""Layouts: reproducible, of any size and orientation, labelled like tissue, and near to what they are calibrated to."""

import time
from functools import cache

import numpy as np
import pytest
import torch

from diffinfinite_lite.data.layouts import PATTERNS, layout
from diffinfinite_lite.metrics.architecture import adjacency, thickness

CARCINOMA, NECROSIS, STROMA, OTHERS, AIR = range(1, 6)
# Shares of the labelled area in pseudo-annotations (carcinoma, necrosis, stroma, others, air), and how far off may be.
# Squamous tiles are sheets, slides are nests in stroma (0.5 and 0.1 of the tissue), so that layouts lie between them.
MEASURED = {
    "adenocarcinoma": ((0.63, 0.0, 0.17, 0.0, 0.20), 0.12),
    "squamous": ((0.75, 0.03, 0.2, 0.0, 0.02), 0.12),
    "normal": ((0.0, 0.0, 0.0, 0.40, 0.60), 0.08),
}


@cache
def many(context, count=16, size=(168, 168)):
    return [layout(context, size, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("context", PATTERNS)
def test_every_cell_is_labelled_and_every_label_is_one_of_the_context(context):
    labels = np.stack(many(context))
    assert labels.dtype == np.uint8 and labels.shape == (16, 168, 168)
    expected = {
        "adenocarcinoma": {CARCINOMA, STROMA, OTHERS, AIR},
        "squamous": {CARCINOMA, NECROSIS, STROMA, OTHERS, AIR},
        "normal": {OTHERS, AIR},
    }
    assert set(np.unique(labels)) == expected[context]


@pytest.mark.parametrize("context", MEASURED)
def test_shares_follow_pseudo_annotations(context):
    counts = np.bincount(np.stack(many(context)).ravel(), minlength=6)[1:]
    shares, tolerance = MEASURED[context]
    assert np.abs(counts / counts.sum() - shares).max() < tolerance


def test_thickness_is_that_of_tissue():
    """Walls of lung, epithelium with what is solid, stroma between nests: cells of 4 um."""
    assert 3 <= thickness(many("normal"), OTHERS) <= 6
    assert 5 <= thickness(many("adenocarcinoma"), CARCINOMA) <= 12
    assert 4 <= thickness(many("squamous"), STROMA) <= 12


def test_neighbours_are_those_of_glands_and_of_nests():
    glands, nests = adjacency(many("adenocarcinoma")), adjacency(many("squamous"))
    assert glands[CARCINOMA, AIR] > 4 * glands[STROMA, AIR], "a lumen is lined"
    assert glands[CARCINOMA, STROMA] > 0.3
    assert nests[CARCINOMA, STROMA] > 0.6 and nests[CARCINOMA, AIR] < 0.05
    assert nests[NECROSIS].sum() - nests[CARCINOMA, NECROSIS] < 0.1 * nests[CARCINOMA, NECROSIS], "in nests alone"


@pytest.mark.parametrize("context", PATTERNS)
def test_no_direction_is_preferred(context):
    """Borders between rows are as many as between columns, over many layouts, each of which may have a direction."""
    labels = np.stack(many(context))
    rows, columns = (float((np.diff(labels.astype(int), axis=axis) != 0).mean()) for axis in (1, 2))
    assert abs(rows / columns - 1) < 0.15


@pytest.mark.parametrize("context", PATTERNS)
@pytest.mark.parametrize("size", [(8, 8), (1, 5), (8, 100), (65, 33)])
def test_any_size(context, size):
    labels = layout(context, size, np.random.default_rng(0))
    assert labels.shape == size and labels.min() > 0


@pytest.mark.parametrize("context", PATTERNS)
def test_large_is_quick(context):
    start = time.process_time()
    layout(context, (512, 512), np.random.default_rng(0))
    assert time.process_time() - start < 10  # 0.3 to 1 s on an idle core


def test_large_ones_have_a_plan_in_common_seeds_differ():
    """Of 1 mm, the share of carcinoma differs between quarters much more than chance would have it, in some."""
    spread = []
    for labels in many("adenocarcinoma", 16):
        quarters = [labels[a : a + 84, b : b + 84] for a in (0, 84) for b in (0, 84)]
        spread.append(np.std([(quarter == CARCINOMA).mean() for quarter in quarters]))
    assert max(spread) > 0.15 and min(spread) < 0.1


@pytest.mark.parametrize("context", PATTERNS)
def test_same_seed_same_layout(context):
    first, second, other = (layout(context, (40, 40), np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    first, second, third = (layout(context, (40, 40), torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, third)


@pytest.mark.parametrize("size", [(0, 4), (4,), (4.5, 4)])
def test_bad_size(size):
    with pytest.raises(ValueError, match="two positive integers"):
        layout("normal", size, np.random.default_rng(0))


def test_bad_context():
    with pytest.raises(ValueError, match="'colon'"):
        layout("colon", (8, 8), np.random.default_rng(0))
