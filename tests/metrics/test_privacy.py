"""Memorisation metrics: scipy as oracle, mutual nearest neighbours in closed form, copies that are found."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu, norm
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from diffinfinite_lite.metrics import privacy


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def sets(rng):
    """Train, held-out and fresh samples of one law in eight dimensions."""
    return np.split(rng.normal(size=(900, 8)) * np.linspace(0.5, 2, 8), 3)


def test_copies_are_at_no_distance_at_all(sets):
    """Also in many dimensions, where products of matrices would leave a rest."""
    train = 100 + np.random.default_rng(0).normal(size=(200, 152))
    distance, index = privacy.neighbours(train).kneighbors(train[::-1])
    assert not distance.any() and index[:, 0].tolist() == list(range(199, -1, -1))
    train, test, _ = sets
    distance, index = privacy.neighbours(train).kneighbors(test)
    expected = cdist(test, train)
    np.testing.assert_array_equal(index[:, 0], expected.argmin(1))
    np.testing.assert_allclose(distance[:, 0], expected.min(1), rtol=1e-12)


def test_authenticity_against_scikit_learn(sets):
    train, _, fresh = sets
    distance, index = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(fresh)
    reach = NearestNeighbors(n_neighbors=2).fit(train).kneighbors(train)[0][:, 1]
    expected = np.mean(distance[:, 0] > reach[index[:, 0]])
    assert privacy.authenticity(train, fresh) == expected


@pytest.mark.parametrize("noise", [0, 1e-3, 1e-2])
def test_the_thief_is_caught(sets, noise, rng):
    """Training tiles passed off as synthetic: A near 0 and C_T far below 0; fresh real data are acquitted."""
    train, test, fresh = sets
    stolen = train + noise * rng.normal(size=train.shape)
    assert privacy.authenticity(train, stolen) < 0.02
    assert privacy.data_copying_ct(train, test, stolen, rng).score < -5
    assert privacy.authenticity(train, fresh) > 0.4
    assert abs(privacy.data_copying_ct(train, test, fresh, rng).score) < 3


def test_a_partial_thief(sets, rng):
    """With a share of copies, A falls in proportion (eq. 13)."""
    train, test, fresh = sets
    honest = privacy.authenticity(train, fresh)
    mixed = np.concatenate([train[:150], fresh[:150]])
    assert privacy.authenticity(train, mixed) == pytest.approx(honest / 2, abs=0.06)
    assert privacy.data_copying_ct(train, test, mixed, rng).score < -2


def test_one_cell_of_thieves_shows_in_that_cell(rng):
    """A global test misses a model that copies here and underfits there; the cells do not."""
    train, test, fresh = rng.normal(size=(3, 400, 3)) + np.repeat([0, 50], 200)[:, None]
    synthetic = np.concatenate([train[:200], fresh[200:] + 2])
    found = privacy.data_copying_ct(train, test, synthetic, rng, cells=2)
    assert min(found.z) < -8 and max(found.z) > 3
    np.testing.assert_allclose([found.test_share, found.synthetic_share], 0.5)


def test_far_away_is_authentic_and_underfitted(sets, rng):
    train, test, fresh = sets
    assert privacy.authenticity(train, fresh + 100) == 1
    assert privacy.data_copying_ct(train, test, fresh * 3, rng).score > 3


@pytest.mark.parametrize("dimension, expected", [(1, 1 / 3), (2, 1 - 6 * np.pi / (8 * np.pi + 27**0.5))])
def test_authenticity_of_fresh_data_in_closed_form(rng, dimension, expected):
    """A fresh point fails if it and its neighbour are mutual neighbours: 2/3 in 1-D, 6π/(8π + 3√3) in 2-D."""
    train, fresh = rng.uniform(size=(2, 2000, dimension))
    assert privacy.authenticity(train, fresh) == pytest.approx(expected, abs=0.03)


def z_score(test, synthetic):
    """Z of distances as `data_copying_ct` has it: one cell, one training sample at 0, samples on a line."""
    sets = (np.abs(np.asarray(x, dtype=float))[:, None] for x in (test, synthetic))
    return privacy.data_copying_ct(np.zeros((1, 1)), *sets, np.random.default_rng(0), cells=1).score


@pytest.mark.parametrize("ties", [False, True])
def test_z_against_scipy(rng, ties):
    """Without correction for continuity, with that for ties."""
    test, synthetic = rng.normal(size=40) + 9, rng.normal(size=30) + 8.5
    if ties:
        test, synthetic = test.round(), synthetic.round()
    p = mannwhitneyu(synthetic, test, alternative="less", method="asymptotic", use_continuity=False).pvalue
    assert z_score(test, synthetic) == pytest.approx(norm.ppf(p), rel=1e-9)
    assert z_score(np.ones(4), np.ones(5)) == 0


@pytest.mark.parametrize("n, m", [(5, 8), (40, 30), (2000, 2000)])
def test_z_in_closed_form(n, m):
    """All synthetic numbers under all others: U = 0, z = -sqrt(3 n m / (n + m + 1)), also where p-values end."""
    expected = -np.sqrt(3 * n * m / (n + m + 1))
    assert z_score(np.arange(n) + 9999.0, np.arange(float(m))) == pytest.approx(expected)


def test_data_copying_of_one_cell_against_scipy(sets, rng):
    """With one cell, C_T is the z of the distances to the nearest training sample."""
    train, test, fresh = sets
    reach = [NearestNeighbors(n_neighbors=1).fit(train).kneighbors(x)[0][:, 0] for x in (fresh - 0.1, test)]
    p = mannwhitneyu(*reach, alternative="less", method="asymptotic", use_continuity=False).pvalue
    found = privacy.data_copying_ct(train, test, fresh - 0.1, rng, cells=1)
    assert found.score == pytest.approx(norm.ppf(p), rel=1e-9) and found.tau == 20 / 300


def test_data_copying_cells_against_scikit_learn(sets):
    train, test, fresh = sets
    seed = int(np.random.default_rng(4).integers(2**31))
    means = KMeans(3, n_init=4, random_state=seed).fit(train)
    nearest = NearestNeighbors(n_neighbors=1).fit(train)
    total = weight = 0
    for cell in range(3):
        parts = [x[means.predict(x) == cell] for x in (fresh, test)]
        reach = [nearest.kneighbors(x)[0][:, 0] for x in parts]
        p = mannwhitneyu(*reach, alternative="less", method="asymptotic", use_continuity=False).pvalue
        total, weight = total + len(parts[1]) * norm.ppf(p), weight + len(parts[1])
    found = privacy.data_copying_ct(train, test, fresh, np.random.default_rng(4), cells=3)
    assert found.score == pytest.approx(total / weight, rel=1e-9)


def test_copies_score_the_lowest_there_is(sets, rng):
    """Exact copies are nearer than every held-out sample: z is the closed form, with the ties of m zeros."""
    train, test, _ = sets
    found, n = privacy.data_copying_ct(train, test, train, rng, cells=1).score, 300
    spread = n * n / 12 * (2 * n + 1 - (n**3 - n) / (2 * n * (2 * n - 1)))
    assert found == pytest.approx(-(n * n / 2) / np.sqrt(spread)) and found < -20


def test_z_is_standard_normal_for_one_law(rng):
    z = [z_score(*np.split(rng.uniform(size=50), [20])) for _ in range(300)]
    assert np.mean(z) == pytest.approx(0, abs=0.2) and np.std(z) == pytest.approx(1, abs=0.13)


def test_score_is_the_weighted_mean_of_its_cells(sets, rng):
    train, test, fresh = sets
    found = privacy.data_copying_ct(train, test, fresh, rng, cells=6, tau=0.1)
    counted = found.synthetic_share >= 0.1
    assert found.score == pytest.approx(np.average(found.z[counted], weights=found.test_share[counted]))
    again = (privacy.data_copying_ct(train, test, fresh, np.random.default_rng(3)).score for _ in range(2))
    assert len(set(again)) == 1


def test_identical_features_give_numbers(rng):
    x = np.ones((20, 3))
    assert privacy.authenticity(x, x) == 0
    assert privacy.data_copying_ct(x, x, x, rng, cells=1).score == 0


def test_bad_input_is_a_sentence(sets, rng):
    train, test, fresh = sets
    with pytest.raises(ValueError, match="at least 5 samples in 'train', got 3"):
        privacy.data_copying_ct(train[:3], test, fresh, rng)
    with pytest.raises(ValueError, match="expected a cell with test"):
        privacy.data_copying_ct(train, test, fresh, rng, tau=0.9)
    with pytest.raises(ValueError, match="expected 8 features a sample in 'synthetic', got 2"):
        privacy.authenticity(train, fresh[:, :2])
    with pytest.raises(ValueError, match="at least 2 samples in 'train'"):
        privacy.authenticity(train[:1], fresh)
    with pytest.raises(ValueError, match="finite"):
        privacy.authenticity(train, fresh * np.nan)


def test_a_copy_is_found_in_any_orientation_and_a_fresh_picture_is_not(rng):
    train, fresh = rng.normal(size=(30, 6, 6, 3)), rng.normal(size=(40, 6, 6, 3))
    turned = np.stack([np.rot90(train[n], n, axes=(0, 1))[:, :: 1 if n < 4 else -1] for n in range(8)])
    ratio, index = privacy.nearest_ratio(train, turned + 0.01 * rng.normal(size=turned.shape))
    assert index.tolist() == list(range(8)) and ratio.max() < 0.1
    unseen, _ = privacy.nearest_ratio(train, fresh)
    share, limit = privacy.suspicious_share(unseen[:20], unseen[20:])
    assert share <= limit and privacy.suspicious_share(unseen[:20], ratio)[0] == 1
    with pytest.raises(ValueError, match="expected at least 2 training pictures"):
        privacy.nearest_ratio(train[:1], fresh)


def test_the_limit_of_suspicious_shares_holds_in_95_of_100_draws(rng):
    """By drawing: ratios of one law, many made ones."""
    over = [share > limit for share, limit in
            (privacy.suspicious_share(rng.random(25), rng.random(2000)) for _ in range(400))]  # fmt: skip
    assert np.mean(over) == pytest.approx(0.05, abs=0.03)
