"""What layouts are drawn with: fields of unit variance that do not repeat, places with walls, distances, tidying."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from diffinfinite_lite.data.layout_fields import Voronoi, depth, field, tidy


@pytest.mark.parametrize("sigma", [2, 4, 9, 26])
def test_field_has_unit_variance(sigma):
    samples = np.stack([field((96, 96), sigma, np.random.default_rng(s)) for s in range(60)])
    assert abs(samples.mean()) < 0.15 and 0.75 < samples.std() < 1.15


@pytest.mark.parametrize("sigma", [4, 20])
def test_opposite_borders_of_a_field_are_not_alike(sigma):
    pairs = [field((80, 80), sigma, np.random.default_rng(s))[[0, -1], 40] for s in range(200)]
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.25


def test_places_have_walls_between_them_and_none_where_they_are_merged():
    rng = np.random.default_rng(0)
    apart = Voronoi((120, 120), 20, rng, warp=0, rough=0)
    parts, _ = ndi.label(apart.wall > 1)
    for number in np.unique(parts[parts > 0]):
        assert len(np.unique(apart.owner[parts == number])) == 1
    border = ndi.maximum_filter(apart.owner, 3) != ndi.minimum_filter(apart.owner, 3)
    assert apart.wall[border].max() < 1.6 and apart.wall[~border].min() > 0.1
    merged = Voronoi((120, 120), 20, np.random.default_rng(1), merge=0.4)
    assert len(np.unique(merged.owner)) < len(np.unique(apart.owner))
    assert (merged.inner <= merged.wall).all() and ((merged.inner < 1) & (merged.wall > 3)).any()


def test_means_are_those_of_each_place():
    places = Voronoi((30, 40), 9, np.random.default_rng(0))
    values = np.random.default_rng(1).normal(size=(30, 40))
    means = places.means(values)
    for number in np.unique(places.owner):
        assert means[number] == pytest.approx(values[places.owner == number].mean())


def test_depth_counts_from_the_next_cell_outside_and_not_from_the_border():
    region = np.ones((5, 9), bool)
    region[:, 0] = False
    assert depth(region)[2].tolist() == list(range(9))
    assert np.isinf(depth(np.ones((3, 3), bool))).all()


def test_small_regions_take_what_is_around_them_and_strands_stay():
    labels = np.full((20, 20), 3)
    labels[4:6, 4:6] = 5
    labels[np.arange(8, 16), np.arange(8, 16)] = 1  # touches itself at corners alone
    tidied = tidy(labels)
    assert not (tidied == 5).any() and (tidied == 1).sum() == 8
    assert np.array_equal(tidy(np.array([[1, 2]])), [[1, 2]]), "where nothing is larger, nothing changes"
