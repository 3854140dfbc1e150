"""Masks: cleaning keeps edges and favours no label, upsampling keeps shapes."""

import numpy as np
import pytest
import torch

from diffinfinite_lite.masks import clean, generate_mask, one_hot, upsample


def scores(labels, sharpness=1.0):
    return one_hot(torch.from_numpy(np.asarray(labels, np.int64))).numpy() * sharpness


def test_clear_map_is_left_alone_up_to_its_border():
    labels = np.ones((16, 16), np.uint8)
    labels[:, 8:] = 3
    assert np.array_equal(clean(scores(labels)), labels)


@pytest.mark.parametrize(("inside", "outside"), [(1, 4), (4, 1)])
def test_specks_take_their_surroundings_whatever_their_number(inside, outside):
    labels = np.full((16, 16), outside, np.uint8)
    labels[5, 5:8] = inside
    assert (clean(scores(labels)) == outside).all()


def test_doubtful_boundary_goes_to_the_nearer_region():
    labels = np.full((16, 16), 1)
    labels[:, 9:] = 4
    values = scores(labels)
    values[:, :, 8] = -0.9  # between the regions a third label wins by a hair
    values[3, :, 8] = -0.8
    assert set(np.unique(clean(values))) == {1, 4}


def test_upsampling_keeps_area_and_labels():
    labels = np.kron(np.array([[1, 3], [4, 2]], np.uint8), np.ones((4, 4), np.uint8))
    large = upsample(labels, (160, 240))
    assert large.shape == (160, 240)
    for label in (1, 2, 3, 4):
        assert abs((large == label).mean() - 0.25) < 0.02


def test_unknown_context_is_refused():
    with pytest.raises(
        ValueError, match="expected a context among adenocarcinoma, squamous, normal, got 'skin'"
    ):
        generate_mask(None, "skin", (64, 64))
