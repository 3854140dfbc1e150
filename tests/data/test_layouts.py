"""Layouts: reproducible, of any size, labelled like tissue, and close to what they are calibrated to."""

import time
from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from diffinfinite_lite.data.layouts import AIR, CARCINOMA, NECROSIS, OTHERS, PATTERNS, field, layout

# Shares of the labelled area in pseudo-annotations: carcinoma, necrosis, stroma, others, air.
MEASURED = {"adenocarcinoma": (0.68, 0.0, 0.12, 0.0, 0.20), "normal": (0.0, 0.0, 0.0, 0.40, 0.60)}


@cache
def many(context, count=60, size=(28, 28)):
    return [layout(context, size, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("context", PATTERNS)
def test_labelled_and_valid(context):
    for labels in many(context):
        assert labels.dtype == np.uint8 and labels.shape == (28, 28) and labels.max() <= AIR
        assert (labels > 0).mean() >= 0.6
    assert np.mean([(labels > 0).mean() for labels in many(context)]) > 0.9


@pytest.mark.parametrize("context", MEASURED)
def test_shares_follow_pseudo_annotations(context):
    counts = np.bincount(np.stack(many(context, 120)).ravel(), minlength=6)[1:]
    assert np.abs(counts / counts.sum() - MEASURED[context]).max() < 0.08


def test_squamous_has_some_necrosis_inside_tumour():
    maps = many("squamous", 120)
    assert 0.01 < np.mean([m == NECROSIS for m in maps]) < 0.08
    whole = layout("squamous", (256, 256), np.random.default_rng(3))
    rim = ndi.binary_dilation(whole == NECROSIS) & (whole != NECROSIS)
    assert (whole[rim] == CARCINOMA).mean() > 0.8


def test_classes_of_each_context():
    assert set(np.unique(np.stack(many("normal")))) <= {0, OTHERS, AIR}
    assert NECROSIS not in np.unique(np.stack(many("adenocarcinoma")))


def test_glands_have_lumens_walled_by_carcinoma():
    whole = layout("adenocarcinoma", (256, 256), np.random.default_rng(5))
    rim = ndi.binary_dilation(whole == AIR) & (whole != AIR) & (whole > 0)
    assert (whole[rim] == CARCINOMA).mean() > 0.6


@pytest.mark.parametrize("context", PATTERNS)
@pytest.mark.parametrize("size", [(8, 8), (1, 5), (8, 100), (65, 33)])
def test_any_size(context, size):
    assert layout(context, size, np.random.default_rng(0)).shape == size


@pytest.mark.parametrize("context", PATTERNS)
def test_large_is_quick(context):
    start = time.process_time()
    layout(context, (512, 512), np.random.default_rng(0))
    assert time.process_time() - start < 10  # 0.3 s on an idle core


def test_same_seed_same_layout():
    first, second = (layout("squamous", (40, 40), np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, second)
    first, second, third = (layout("squamous", (40, 40), torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, third)


@pytest.mark.parametrize("sigma", [2, 4, 9, 26])
def test_field_has_unit_variance(sigma):
    samples = np.stack([field((96, 96), sigma, np.random.default_rng(s)) for s in range(60)])
    assert abs(samples.mean()) < 0.15 and 0.75 < samples.std() < 1.15


@pytest.mark.parametrize("size", [(0, 4), (4,), (4.5, 4)])
def test_bad_size(size):
    with pytest.raises(ValueError, match="two positive integers"):
        layout("normal", size, np.random.default_rng(0))


def test_bad_context():
    with pytest.raises(ValueError, match="'colon'"):
        layout("colon", (8, 8), np.random.default_rng(0))
