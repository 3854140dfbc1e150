"""Spatial statistics on pictures whose answer is known."""

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as connected
from scipy.optimize import brentq
from scipy.signal import correlate2d
from scipy.stats import percentileofscore

from diffinfinite_lite.metrics import spatial


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def smooth(rng, size, sigma):
    return gaussian_filter(rng.normal(size=(size, size)), sigma, mode="wrap")


# Seams


def test_a_planted_seam_is_found_where_it_is(rng):
    image = np.stack([smooth(rng, 128, 2) for _ in range(3)])
    image[:, 64:] += image.std()
    planted, beside = (spatial.seam_statistic(image, rows=[r]) for r in (64, 50))
    assert planted.ratio > 1.5 and planted.p_value == pytest.approx(1 / 127)
    assert beside.ratio == pytest.approx(1, abs=0.3) and beside.p_value > 0.05


def test_windows_pasted_beside_each_other(rng):
    tiles = np.block([[smooth(rng, 32, 3) for _ in range(4)] for _ in range(4)])
    lines = [32, 64, 96]
    assert spatial.seam_statistic(tiles, lines, lines).ratio > 3
    assert spatial.seam_statistic(smooth(rng, 128, 3), lines, lines).ratio == pytest.approx(1, abs=0.2)


def test_steps_against_numpy_and_a_ramp(rng):
    image = rng.normal(size=(3, 6, 5))
    rows, columns = spatial.line_steps(image)
    assert rows[2] == pytest.approx(np.abs(image[:, 3] - image[:, 2]).mean())
    assert columns[0] == pytest.approx(np.abs(image[:, :, 1] - image[:, :, 0]).mean())
    rows, columns = spatial.line_steps(np.add.outer(2.0 * np.arange(7), 5.0 * np.arange(4)))
    np.testing.assert_allclose(rows, 2)
    np.testing.assert_allclose(columns, 5)


def test_seam_p_value_against_scipy(rng):
    """The share of all cyclic shifts is scipy's permutation p-value when those shifts are the permutations."""
    image = rng.normal(size=(13, 30)).cumsum(0)
    image[5:] += 0.5
    steps, lines = spatial.line_steps(image)[0], np.array([5, 9])
    found = spatial.seam_statistic(image, rows=lines)
    assert found.ratio == pytest.approx(steps[lines - 1].mean() / np.delete(steps, lines - 1).mean())
    shifts = np.array([np.roll(steps, -i)[lines - 1].mean() for i in range(len(steps))])
    assert found.p_value == pytest.approx(1 - percentileofscore(shifts, shifts[0], kind="strict") / 100)


@pytest.mark.parametrize("line", [2, 9, 14])
def test_one_known_step_in_an_alternating_pattern_in_closed_form(line):
    """Rows 0, a, 0, a, ... raised by s from one line on: that step is s ± a over a elsewhere, once in n - 1 shifts."""
    rows, a, s = 16, 2.0, 7.0
    image = np.outer(a * (np.arange(rows) % 2), np.ones(12))
    image[line:] += s
    step = s + a if line % 2 else s - a  # up into a row of a, or up while the pattern goes down
    found = spatial.seam_statistic(np.stack([image, image]), rows=[line])
    assert found.ratio == pytest.approx(step / a) and found.p_value == pytest.approx(1 / (rows - 1))
    found = spatial.seam_statistic(image.T, columns=[line, line - 1])
    assert found.ratio == pytest.approx((step + a) / 2 / a) and found.p_value == pytest.approx(2 / (rows - 1))
    found = spatial.seam_statistic(image + 5 * np.arange(12) ** 2, rows=[line])
    assert found.ratio == pytest.approx(step / a)  # what goes on along a line adds no step across it


def test_no_seam_gives_uniform_p(rng):
    p = [spatial.seam_statistic(rng.normal(size=(40, 40)), columns=[20]).p_value for _ in range(200)]
    assert np.mean(p) == pytest.approx(0.5, abs=0.08) and np.mean(np.array(p) < 0.1) < 0.2


def test_both_axes_do_not_make_it_significant(rng):
    p = [spatial.seam_statistic(rng.normal(size=(40, 40)), [20], [20]).p_value for _ in range(200)]
    assert np.mean(np.array(p) < 0.1) < 0.16


@pytest.mark.parametrize("lines", [[], [0], [8], range(1, 8)])
def test_seam_lines_are_checked(lines):
    with pytest.raises(ValueError, match="expected"):
        spatial.seam_statistic(np.random.default_rng(0).normal(size=(8, 8)), rows=lines)
    with pytest.raises(ValueError, match="constant"):
        spatial.seam_statistic(np.ones((8, 8)), rows=[3])


# Masks


def test_fractions(rng):
    masks = rng.integers(0, 5, (6, 20, 30))
    found = spatial.label_fractions(masks, 5)
    np.testing.assert_allclose(found, [[(m == k).mean() for k in range(5)] for m in masks])
    bads = ([], "at least one mask"), ([masks[0] + 1], "labels 0 to 4"), ([masks[0] / 2], "integers")
    for bad, words in bads:
        with pytest.raises(ValueError, match=words):
            spatial.label_fractions(bad, 5)


def test_regions_against_scipy(rng):
    mask = (smooth(rng, 60, 3) > 0).astype(int) + 2 * (smooth(rng, 60, 5) > 0.05)
    found = spatial.regions(mask)
    for k in np.unique(mask):
        pieces, count = connected(mask == k)
        areas = np.bincount(pieces.ravel())[1:]
        assert sorted(r.area for r in found if r.label == k) == sorted(areas) and len(areas) == count
    assert sum(r.area for r in found) == mask.size
    assert all(r.area >= 50 for r in spatial.regions(mask, minimum=50))


def test_a_disc_and_a_square():
    y, x = np.mgrid[:101, :101] - 50
    disc = next(r for r in spatial.regions((x**2 + y**2 <= 30**2).astype(int)) if r.label == 1)
    assert disc.area == pytest.approx(np.pi * 900, rel=0.01)
    assert disc.perimeter == pytest.approx(2 * np.pi * 30, rel=0.05) and disc.solidity > 0.97
    square = np.zeros((40, 40), dtype=int)
    square[10:30, 10:30] = 1
    assert spatial.boundary_density(square) == 80 / (2 * 40 * 39)
    assert spatial.boundary_density(np.indices((6, 6)).sum(0) % 2) == 1
    assert spatial.boundary_density(np.zeros((5, 5), dtype=int)) == 0
    assert [r.solidity for r in spatial.regions(np.array([[1, 1], [2, 2]]))] == [1, 1]


def test_boundary_density_against_scipy(rng):
    """Pairs that differ, counted by correlating each label's indicator with the pair."""
    mask = rng.integers(0, 3, (9, 14))
    pair = np.ones((1, 2), int)
    same = sum((correlate2d(mask == k, p, "valid") == 2).sum() for k in range(3) for p in (pair, pair.T))
    pairs = 9 * 13 + 8 * 14
    assert spatial.boundary_density(mask) == pytest.approx(1 - same / pairs)


def test_fractions_of_a_disc_in_closed_form():
    y, x = np.mgrid[:400, :400] - 199.5
    disc = (np.hypot(y, x) < 150).astype(int)
    expected = np.pi * (150 / 400) ** 2
    np.testing.assert_allclose(spatial.label_fractions([disc], 2)[0], [1 - expected, expected], atol=1e-3)


# Long range


@pytest.mark.parametrize("sigma", [3, 6])
def test_autocorrelation_of_smoothed_noise_is_a_gaussian(rng, sigma):
    """Noise smoothed by a Gaussian of deviation s correlates as exp(-r² / 4s²) and has length 2s."""
    image = smooth(rng, 512, sigma)
    lags = np.arange(3 * sigma)
    expected = np.exp(-(lags**2) / (4 * sigma**2))
    np.testing.assert_allclose(spatial.autocorrelation(image)[lags], expected, atol=0.06)
    assert spatial.autocorrelation_length(image) == pytest.approx(2 * sigma, rel=0.08)


def test_autocorrelation_against_scipy(rng):
    image = rng.normal(size=(2, 17, 12)).cumsum(1)
    centred = image - image.mean((1, 2), keepdims=True)
    full = sum(correlate2d(c, c) for c in centred) / correlate2d(np.ones((17, 12)), np.ones((17, 12)))
    y, x = np.mgrid[-16:17, -11:12]
    radius = np.rint(np.hypot(y, x))
    expected = np.array([full[radius == r].mean() for r in range(7)])
    np.testing.assert_allclose(spatial.autocorrelation(image), expected / expected[0], atol=1e-9)


def test_length_against_scipy(rng):
    image = smooth(rng, 128, 4)
    profile = spatial.autocorrelation(image)
    root = brentq(interp1d(np.arange(len(profile)), profile - 0.5), 0, 16)
    assert spatial.autocorrelation_length(image, level=0.5) == pytest.approx(root)


def test_long_range_in_closed_form_and_against_numpy(rng):
    """Of smoothed noise it is the mean of exp(-r² / 4s²) over the lags from one patch to two."""
    images = [smooth(rng, 512, 12) for _ in range(6)]
    lags = np.arange(16, 33)
    found = np.mean([spatial.long_range_correlation(image, 16) for image in images])
    assert found == pytest.approx(np.exp(-(lags**2) / (4 * 12**2)).mean(), abs=0.05)
    assert spatial.long_range_correlation(images[0], 16) == spatial.autocorrelation(images[0])[lags].mean()


def test_pasted_windows_have_no_long_range(rng):
    """The claim of Fig. 11 in a toy: tiles that know nothing of each other decorrelate within a tile."""
    whole = smooth(rng, 512, 24)
    pasted = np.block([[smooth(rng, 96, 24)[:32, :32] for _ in range(16)] for _ in range(16)])
    assert spatial.long_range_correlation(whole, 32) > 0.2
    assert abs(spatial.long_range_correlation(pasted, 32)) < 0.05
    assert spatial.autocorrelation_length(pasted) < 32 < spatial.autocorrelation_length(whole)


def test_units_do_not_matter(rng):
    image = smooth(rng, 64, 3)
    np.testing.assert_allclose(spatial.autocorrelation(image), spatial.autocorrelation(image * 5 + 9))


def test_bad_pictures_are_a_sentence():
    with pytest.raises(ValueError, match="constant"):
        spatial.autocorrelation_length(np.ones((16, 16)))
    with pytest.raises(ValueError, match="finite"):
        spatial.autocorrelation(np.full((16, 16), np.nan))
    with pytest.raises(ValueError, match="expected an image"):
        spatial.line_steps(np.ones(16))
    with pytest.raises(ValueError, match="patch under"):
        spatial.long_range_correlation(np.eye(16), 8)
