"""Tumours: every lumen has a ring, necrosis is deep inside, septa go on, fronts follow alveoli."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from diffinfinite_lite.data import layout_tumours
from diffinfinite_lite.data.layout_lung import AIR, OTHERS, UM
from diffinfinite_lite.data.layout_tumours import (
    CARCINOMA,
    GROWTHS,
    NECROSIS,
    STROMA,
    VIABLE,
    adenocarcinoma,
    squamous,
)
from diffinfinite_lite.metrics.architecture import continuity, lumens, thickness

SHAPE = (200, 200)


@pytest.fixture
def no_front(monkeypatch):
    """Tumour everywhere."""
    monkeypatch.setattr(layout_tumours, "_front", lambda shape, rng: None)


def grown(name, monkeypatch, count=3):
    """Tumours of one growth alone, without vessels in their stroma."""
    monkeypatch.setattr(layout_tumours, "COMMON", tuple(99.0 * (one == name) for one in GROWTHS))
    monkeypatch.setattr(layout_tumours, "_furnish_stroma", lambda labels, rng: None)
    return [adenocarcinoma(SHAPE, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("name", GROWTHS)
def test_every_lumen_is_lined(name, monkeypatch, no_front):
    """No cell of air has stroma beside it, at corners either, and the ring is as high as cells are."""
    for labels in grown(name, monkeypatch):
        air = labels == AIR
        beside = ndi.binary_dilation(air, np.ones((3, 3))) & ~air
        assert (labels[beside] == CARCINOMA).all(), name
        assert air.any() == (name != "solid")
        if air.any():
            assert np.median(ndi.distance_transform_edt(labels != STROMA)[air]) > 3


def test_acini_are_closed_and_have_a_lumen_each(monkeypatch, no_front):
    found = lumens(grown("acinar", monkeypatch, 6))
    assert found.closed > 0.95 and found.count > 60
    assert 0.3 < found.per_gland < 1.3


def test_solid_growth_has_no_lumen_and_cribriform_has_many_in_one_gland(monkeypatch, no_front):
    assert not any((labels == AIR).any() for labels in grown("solid", monkeypatch))
    assert lumens(grown("cribriform", monkeypatch)).per_gland > 2


def test_papillae_have_cores_of_stroma_that_end_in_the_open(monkeypatch, no_front):
    for labels in grown("papillary", monkeypatch):
        cores, count = ndi.label(labels == STROMA, np.ones((3, 3)))
        inner = [s for s in ndi.find_objects(cores) if all(a.start > 0 and a.stop < 200 for a in s)]
        assert count >= 3 and inner
        assert 1 <= thickness([labels], STROMA) <= 8


def test_lepidic_growth_keeps_the_alveoli(monkeypatch, no_front):
    for labels in grown("lepidic", monkeypatch):
        assert (labels == AIR).mean() > 0.1 and continuity([labels], STROMA) > 0.7


def test_necrosis_is_deep_inside_nests(no_front):
    seen = 0
    for seed in range(8):
        labels = squamous(SHAPE, np.random.default_rng(seed))
        dead = labels == NECROSIS
        seen += dead.sum()
        if dead.any():
            stroma = ndi.distance_transform_edt(~np.isin(labels, (STROMA, OTHERS, AIR)))
            assert stroma[dead].min() > VIABLE[0] / UM - 7  # less what the field takes off at most
            assert (labels[ndi.binary_dilation(dead) & ~dead] == CARCINOMA).mean() > 0.99
    assert seen > 0


def test_nests_are_smooth_and_septa_go_on(no_front):
    found = [squamous(SHAPE, np.random.default_rng(seed)) for seed in range(6)]
    assert continuity(found, STROMA) > 0.6
    for labels in found:  # a smooth outline loses little to an opening by a small disk
        nests = labels == CARCINOMA
        opened = ndi.binary_opening(nests, np.hypot(*np.indices((5, 5)) - 2) < 2.3)
        assert (nests & ~opened).sum() < 0.04 * nests.sum()


@pytest.mark.parametrize("draw", [adenocarcinoma, squamous])
@pytest.mark.parametrize("glass", [0.0, 1.0])
def test_a_front_parts_tumour_from_lung_or_from_nothing(draw, glass, monkeypatch):
    def front(shape, rng):
        return np.broadcast_to(np.arange(shape[1]) - shape[1] / 2, shape) + 0.0

    monkeypatch.setattr(layout_tumours, "_front", front)
    monkeypatch.setattr(layout_tumours, "GLASS", glass)
    labels = draw(SHAPE, np.random.default_rng(1))
    tumour, beyond = labels[:, :60], labels[:, -50:]
    assert (tumour == CARCINOMA).mean() > 0.2
    assert set(np.unique(beyond)) == ({AIR} if glass else {OTHERS, AIR})
    if not glass:
        assert 0.1 < (beyond == OTHERS).mean() < 0.6


def test_a_front_is_far_or_near_and_never_behind_the_middle():
    fronts = [layout_tumours._front((64, 64), np.random.default_rng(seed)) for seed in range(60)]
    near = [front for front in fronts if front is not None]
    assert 3 < len(near) < 50
    assert np.mean([(front < 0).mean() > 0.3 for front in near]) > 0.9
