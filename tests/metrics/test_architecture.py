"""Architecture of masks, on drawings whose numbers are known."""

import numpy as np
import pytest

from diffinfinite_lite.metrics.architecture import adjacency, continuity, filled, lumens, thickness


def ring(side=30, outer=12, inner=6, gap=False):
    """A gland in stroma, with a lumen; open to stroma at one place."""
    away = np.hypot(*(np.indices((side, side)) - (side - 1) / 2))
    mask = np.select([away < inner, away < outer], [5, 1], 3)
    if gap:
        mask[side // 2 - 2 : side // 2 + 2, side // 2 :] = np.where(
            away[side // 2 - 2 : side // 2 + 2, side // 2 :] < outer, 5, 3
        )
    return mask


def test_unknown_borders_go_to_both_sides_and_wide_gaps_stay():
    mask = np.repeat([[1] * 5 + [0] * 2 + [3] * 5 + [0] * 9 + [3]], 6, axis=0)
    assert filled(mask)[0].tolist() == [1] * 6 + [3] * 9 + [0] * 3 + [3] * 4
    for whole in (np.ones((3, 3), int), np.zeros((3, 3), int)):
        assert np.array_equal(filled(whole), whole)


def test_neighbours_are_counted_once_a_pair_and_unknown_never():
    mask = np.array([[1, 3, 3], [1, 0, 5]])
    shares = adjacency([mask])
    assert shares[1, 3] == shares[3, 1] == 0.5 and shares[3, 5] == 0.5 and not shares[0].any()
    assert np.triu(shares).sum() == pytest.approx(1)
    assert not adjacency([np.ones((4, 4), int)]).any()


@pytest.mark.parametrize("width", [2, 4, 6])
def test_thickness_of_a_wall_is_its_width_however_it_runs(width):
    mask = np.ones((60, 60), int)
    mask[:, 20 : 20 + width] = 3
    assert thickness([mask], 3) == width and thickness([mask.T], 3) == width
    rows, columns = np.indices((60, 60))
    slanted = np.where(np.abs(rows - columns) < width / 2**0.5, 3, 1)
    assert thickness([slanted], 3) == pytest.approx(width, abs=1.5)
    assert np.isnan(thickness([mask], 5)) and np.isnan(thickness([np.full((9, 9), 3)], 3))


def test_a_lumen_is_closed_or_open():
    closed = lumens([ring(), ring()])
    assert (closed.count, closed.closed, closed.per_gland) == (2, 1.0, 1.0)
    assert closed.area == pytest.approx(np.pi * 36, rel=0.1)
    gap = lumens([ring(gap=True)])
    assert (gap.count, gap.closed, gap.per_gland) == (1, 0.0, 0.0)


def test_air_at_the_border_or_without_tumour_is_no_lumen():
    at_border = ring()[:, 14:]
    alveolus = np.where(ring() == 1, 4, ring())
    alveolus[alveolus == 3] = 4
    found = lumens([at_border, alveolus])
    assert found.count == 0 and np.isnan(found.closed) and np.isnan(found.area)


def test_a_septum_in_one_piece_goes_on():
    mask = np.ones((10, 12), int)
    mask[4] = 3
    assert continuity([mask], 3) == 1
    mask[4, 6] = 1
    assert continuity([mask], 3) == pytest.approx(6 / 11)
    assert np.isnan(continuity([mask], 4))
