"""Halving: pictures against torch's average pooling, masks against counted votes."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffinfinite_lite.pipelines.pyramid import halve, halve_mask, halve_picture, level_shapes, pyramid

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (9, 8), (40, 31)])
def test_a_pixel_is_the_mean_of_four(shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    padded = np.pad(picture, [(0, n % 2) for n in shape] + [(0, 0)], mode="edge")
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(padded).double().permute(2, 0, 1), 2).permute(1, 2, 0)
    halved = halve_picture(picture)
    assert halved.shape == (*(-(-n // 2) for n in shape), 3) and halved.dtype == np.uint8
    assert np.abs(halved - expected.numpy()).max() <= 0.5


@given(arrays(np.uint8, SHAPES, elements=st.integers(0, 4)))
def test_a_label_is_the_most_frequent_of_four(labels):
    halved = halve_mask(labels)
    padded = np.pad(labels, [(0, n % 2) for n in labels.shape], mode="edge")
    assert halved.shape == tuple(n // 2 for n in padded.shape) and halved.dtype == np.uint8
    for row in range(halved.shape[0]):
        for column in range(halved.shape[1]):
            votes = Counter(padded[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten().tolist())
            assert halved[row, column] == votes.most_common(1)[0][0]  # of equally frequent ones the first it met


@given(SHAPES)
def test_levels_lead_from_the_picture_to_one_pixel(shape):
    picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    levels = list(pyramid(picture))
    assert np.array_equal(levels[0], picture) and levels[-1].shape == (1, 1)
    assert all(np.array_equal(halve(above), below) for above, below in pairwise(levels))
    assert [level.shape for level in levels] == level_shapes(shape, 1)
