"""Tissue in space: densities, shares and regions against closed forms and against `spatial`."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from diffinfinite_lite.data.tiles import to_tensor
from diffinfinite_lite.metrics import spatial
from diffinfinite_lite.metrics.registry import METRICS
from diffinfinite_lite.metrics.tissue import (
    PaintedCanvas,
    grid_steps,
    label_share,
    region_areas,
    tissue,
    tissue_length,
)


def mask(seed, size=96):
    rng = np.random.default_rng(seed)
    return np.digitize(gaussian_filter(rng.normal(size=(size, size)), 4), [-0.05, -0.02, 0, 0.02, 0.05])


def test_tissue_is_haematoxylin_density():
    """White is free of it, and twice as deep a blue holds twice as much, in cells of 8 px."""
    blue = np.full((16, 32, 3), (110, 90, 170), np.float64)
    blue[:, :8], blue[:, 16:] = 255, blue[0, 9] ** 2 / 256
    found = tissue(to_tensor(blue.astype(np.uint8)))
    assert found.shape == (2, 4) and found[0, 0] == pytest.approx(0, abs=1e-6)
    assert found[1, 3] == pytest.approx(2 * found[0, 1], rel=0.02)


def test_lengths_are_in_px_of_the_image():
    """Grey that is constant in squares of 32 px is tissue of 4 cells."""
    squares = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 8)).repeat(4, 0).repeat(4, 1)
    image = torch.from_numpy(squares.repeat(8, 0).repeat(8, 1)).float().expand(3, -1, -1)
    assert tissue_length(image) == spatial.autocorrelation_length(tissue(image)) * 8
    assert 8 < tissue_length(image) < 32


def test_grid_steps_find_a_grid_of_8_px():
    rng = np.random.default_rng(0)
    plain = torch.from_numpy(rng.uniform(-0.5, 0.5, (3, 64, 64)))
    cells = torch.from_numpy(rng.uniform(-0.4, 0.4, (3, 8, 8))).repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert grid_steps(plain) == pytest.approx(1, abs=0.1) and grid_steps(plain / 5 + cells) > 3


@pytest.mark.parametrize("label", range(6))
def test_shares_and_regions_are_those_of_spatial(label):
    labels = mask(0)
    assert label_share(labels, label) == pytest.approx((labels == label).mean())
    expected = [region.area for region in spatial.regions(labels, minimum=20) if region.label == label]
    assert sorted(region_areas(labels, label, smallest=20)) == sorted(expected)
    assert len(region_areas(labels, 9)) == 0
    with pytest.raises(ValueError, match="labels 0 to 5, got"):
        label_share(labels + 1, label)


def test_labels_that_fill_a_canvas_or_are_not_there_have_no_length():
    canvas = PaintedCanvas(torch.zeros(3, 96, 96), np.full((96, 96), 3), 32, (), ())
    lengths = [METRICS[f"{name} correlation length"] for name in ("carcinoma", "stroma")]
    assert [metric.function(canvas) for metric in lengths] == [None, None]
    half = PaintedCanvas(canvas.image, mask(1), 32, (), ())
    cells = (half.mask[::8, ::8] == 3).astype(float)
    assert lengths[1].function(half) == spatial.autocorrelation_length(cells) * 8


def test_seams_say_where_they_were_looked_for():
    image = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (3, 64, 64)))
    for fixed, words in ((True, "p = "), (False, "here at lines of a 32-px grid since windows move, p = ")):
        found = METRICS["seams"].function(PaintedCanvas(image, mask(0, 64), 32, (32,), (32,), fixed))
        assert found.detail.startswith(words)
        assert found.value == spatial.seam_statistic(image.numpy(), [32], [32]).ratio
