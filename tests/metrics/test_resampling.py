"""Resampling against scipy and scikit-learn, and in closed form on samples of zeros and ones."""

import numpy as np
import pytest
from scipy import stats
from sklearn.model_selection import ShuffleSplit

from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.resampling import bootstrap, halves


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# Intervals


def test_bootstrap_of_the_mean_against_scipy(rng):
    """A skewed sample: scipy's percentile interval, and not its basic one, which leans the other way."""
    x = rng.exponential(size=(30, 1))
    found = bootstrap(np.mean, x, generator=rng, repeats=4000, replace=True)
    expected, mirrored = (
        stats.bootstrap((x[:, 0],), np.mean, n_resamples=4000, method=method, rng=rng).confidence_interval
        for method in ("percentile", "basic")
    )
    tolerance = 0.15 * stats.sem(x[:, 0])
    assert found.value == x.mean()
    assert found.low == pytest.approx(expected.low, abs=tolerance) != pytest.approx(mirrored.low, abs=tolerance)
    assert found.high == pytest.approx(expected.high, abs=tolerance) != pytest.approx(mirrored.high, abs=tolerance)


def test_bootstrap_of_two_sets_against_scipy(rng):
    """Each set is redrawn by itself, in its own size."""
    x, y = rng.normal(size=(50, 1)), rng.normal(size=(20, 1)) * 3

    def shift(a, b, axis=None):
        return np.mean(a, axis=axis) - np.mean(b, axis=axis)

    found = bootstrap(shift, x, y, generator=rng, repeats=4000, level=0.8, replace=True)
    options = {"n_resamples": 4000, "confidence_level": 0.8, "method": "percentile", "rng": rng}
    expected = stats.bootstrap((x[:, 0], y[:, 0]), shift, vectorized=True, **options)
    tolerance = 0.1 * expected.standard_error
    np.testing.assert_allclose([found.low, found.high], expected.confidence_interval, atol=tolerance)


@pytest.mark.parametrize("count, ones, level", [(28, 7, 0.8), (24, 10, 0.9), (28, 4, 0.95)])
def test_bootstrap_of_zeros_and_ones_in_closed_form(rng, count, ones, level):
    """The ones drawn follow a binomial law with replacement, and a hypergeometric one in halves without.

    The counts are such that no quantile lies near a step of these laws.
    """
    x = (np.arange(count) < ones).astype(float)[:, None]
    laws = {
        True: stats.binom(count, ones / count),
        False: stats.hypergeom(count, ones, count // 2),
    }
    for replace, law in laws.items():
        found = bootstrap(np.mean, x, generator=rng, repeats=4000, level=level, replace=replace)
        drawn = count if replace else count // 2
        expected = law.ppf([(1 - level) / 2, (1 + level) / 2]) / drawn
        np.testing.assert_allclose([found.low, found.high], expected, atol=0.4 / drawn)


@pytest.mark.parametrize("replace", [False, True])
def test_intervals_cover_the_mean(replace):
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(60, 1))
        found = bootstrap(np.mean, x, generator=rng, level=0.9, repeats=100, replace=replace)
        assert found.value == x.mean()
        hits += found.low <= 0 <= found.high
    assert 80 <= hits <= 98


def test_interval_is_reproducible_and_has_the_right_width(rng):
    x = rng.normal(size=(400, 1))
    a, b = (bootstrap(np.mean, x, generator=np.random.default_rng(1), repeats=400) for _ in range(2))
    assert a == b and a.high - a.low == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.2)


# In units of real against real


def ratio(metric, real, synthetic, generator, splits=10):
    found = halves(metric, real, synthetic, generator, splits)
    return found["matched"] / found["real"]


def test_halves_against_scikit_learn(rng):
    """scikit-learn's halves and scipy's distance, with more synthetic samples than a half has."""
    real, synthetic = rng.normal(size=(60, 1)), rng.normal(size=(70, 1)) + 0.5

    def distance(a, b):
        return stats.wasserstein_distance(a[:, 0], b[:, 0])

    splits = ShuffleSplit(1000, train_size=30, test_size=30, random_state=0).split(real)
    against, within = np.transpose(
        [(distance(real[a], rng.permutation(synthetic)[:30]), distance(real[a], real[b])) for a, b in splits]
    )
    found = halves(distance, real, synthetic, rng, splits=1000)
    assert found["matched"] == pytest.approx(against.mean(), rel=0.05)
    assert found["real"] == pytest.approx(within.mean(), rel=0.05) and found["matched"] > 1.5 * found["real"]


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_halves_in_closed_form(rng, shift):
    """Squared difference of means, n synthetic samples and 2n real ones: 1/4 + n (difference)² / 2s² over all halves.

    The mean of a half varies by s²/2n around that of all, and the other half's lies as far on the other side.
    """
    n = 25
    real, synthetic = rng.normal(size=(2 * n, 1)), rng.normal(size=(n, 1)) + shift
    found = ratio(lambda a, b: (a.mean() - b.mean()) ** 2, real, synthetic, rng, splits=5000)
    difference = real.mean() - synthetic.mean()
    assert found == pytest.approx(0.25 + n * difference**2 / (2 * real.var(ddof=1)), rel=0.08)


def test_halves_of_frechet_distances(rng):
    real = rng.normal(size=(400, 5))
    near, far = rng.normal(size=(300, 5)), rng.normal(size=(300, 5)) + 1
    ratios = [ratio(fidelity.frechet_distance, real, x, rng) for x in (near, far)]
    assert ratios[0] == pytest.approx(1, abs=0.4) and ratios[1] > 5


@pytest.mark.parametrize("options", [{"level": 1.0}, {"level": 0}, {"repeats": 1}])
def test_bad_settings_are_a_sentence(rng, options):
    with pytest.raises(ValueError, match=r"a level in \(0, 1\) and 2 or more repeats"):
        bootstrap(np.mean, np.zeros((9, 1)), generator=rng, **options)
