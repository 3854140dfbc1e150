"""Lung without tumour: walls that go on, alveoli of their size, tubes that are closed, septa from border to border."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from diffinfinite_lite.data import layout_lung
from diffinfinite_lite.data.layout_lung import AIR, OTHERS, UM, alveoli, normal, tube
from diffinfinite_lite.metrics.architecture import continuity

SHAPE = (256, 256)


def lungs(count=6):
    return [normal(SHAPE, np.random.default_rng(seed)) for seed in range(count)]


def test_walls_go_on():
    assert continuity(lungs(), OTHERS) > 0.9


def test_alveoli_are_as_wide_as_they_are_said_to_be():
    """The diameter of a disk with the area of a space that is not merged, in um."""
    for seed in range(4):
        lung = alveoli(SHAPE, np.random.default_rng(seed))
        parts, count = ndi.label(~lung.walls)
        sizes = np.bincount(parts.ravel())[1:]
        wide = 2 * np.sqrt(np.median(sizes[sizes > 20]) / np.pi) * UM
        low, high = layout_lung.ALVEOLUS
        assert low * 0.6 < wide < high * 1.2 and count > 20


def test_walls_are_thin_and_never_less_than_a_cell():
    for seed in range(4):
        lung = alveoli(SHAPE, np.random.default_rng(seed))
        assert 0.12 < lung.walls.mean() < 0.6
        assert lung.walls[lung.places.wall < 0.8].all()


@pytest.mark.parametrize("folds", [0.0, 0.1])
def test_a_tube_is_a_lumen_in_a_closed_wall(folds):
    labels = np.zeros((120, 120), np.uint8)
    tube(labels, (60, 55), 20, 6, np.random.default_rng(0), folds)
    lumen = labels == AIR
    assert ndi.label(lumen)[1] == 1 and (labels[ndi.binary_dilation(lumen) & ~lumen] == OTHERS).all()
    assert lumen.sum() == pytest.approx(np.pi * 400, rel=0.12)
    assert ndi.distance_transform_edt(labels > 0)[lumen].min() > 3


def test_tubes_beyond_the_border_are_seen_in_part_or_not_at_all():
    labels = np.zeros((40, 40), np.uint8)
    tube(labels, (-200, 20), 10, 3, np.random.default_rng(0))
    assert not labels.any()
    tube(labels, (-5, 20), 12, 3, np.random.default_rng(0))
    assert (labels[0] == AIR).any() and not labels[30:].any()


def test_a_septum_runs_from_border_to_border(monkeypatch):
    monkeypatch.setattr(layout_lung, "SEPTUM_WITHIN", 40)
    labels = np.full(SHAPE, AIR, np.uint8)
    layout_lung._septum(labels, np.random.default_rng(3))
    parts, _ = ndi.label(labels == OTHERS)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    touched = [largest[0].any(), largest[-1].any(), largest[:, 0].any(), largest[:, -1].any()]
    assert sum(touched) >= 2 and largest.sum() / max(SHAPE) > layout_lung.SEPTUM[0] / UM * 0.7


def test_a_bronchiole_has_its_artery_beside_it():
    for seed in range(5):
        own = layout_lung._bronchiole((300, 300), (150, 150), np.random.default_rng(seed))
        lumens, count = ndi.label(own == AIR)
        assert count == 2 and ndi.label(own > 0)[1] == 1, "two lumens in one sheath"
        sizes = np.sort(np.bincount(lumens.ravel())[1:])
        assert 0.2 < sizes[0] / sizes[1] < 1.3
