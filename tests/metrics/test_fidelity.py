"""Fidelity metrics against torchmetrics, scikit-learn, scipy and closed forms on Gaussians."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.special import gammaln
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, pairwise_distances
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.resampling import halves

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchmetrics")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def sets(rng):
    mix = rng.normal(size=(6, 6))
    return rng.normal(size=(120, 6)) @ mix, rng.normal(size=(90, 6)) @ mix * 1.2 + 0.5


class Features(torch.nn.Module):
    """What torchmetrics takes for a network: the features themselves."""

    num_features = 6

    def forward(self, x):
        return x


# Fréchet distance


def test_frechet_against_torchmetrics(sets):
    metric = FrechetInceptionDistance(feature=Features()).set_dtype(torch.float64)
    for features, real in zip(sets, (True, False), strict=True):
        metric.update(torch.from_numpy(features), real=real)
    assert fidelity.frechet_distance(*sets) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_frechet_against_the_textbook_formula(sets):
    (m1, m2), (c1, c2) = [x.mean(0) for x in sets], [np.cov(x.T) for x in sets]
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert fidelity.frechet_distance(*sets) == pytest.approx(expected, rel=1e-9)


def test_frechet_closed_form_on_gaussians(rng):
    a, b, shift = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 1.0]), np.array([1.0, 0.0, -2.0])
    x, y = rng.normal(size=(200_000, 3)) * a, rng.normal(size=(200_000, 3)) * b + shift
    assert fidelity.frechet_distance(x, y) == pytest.approx((shift**2).sum() + ((a - b) ** 2).sum(), rel=0.01)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 20), st.integers(0, 99))
def test_frechet_is_a_distance_also_below_full_rank(n, m, d, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    value = fidelity.frechet_distance(x, y)
    assert value >= 0 and fidelity.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert fidelity.frechet_distance(y, x) == pytest.approx(value, abs=1e-9)
    assert fidelity.frechet_distance(x @ rotation + 3, y @ rotation + 3) == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("n", [200, 800])
def test_frechet_bias_of_small_samples(rng, n):
    found = np.mean([fidelity.frechet_distance(*rng.normal(size=(2, n, 40))) for _ in range(10)])
    assert found == pytest.approx(fidelity.frechet_bias(40, n, n), rel=0.15)


@pytest.mark.parametrize("n, m", [(200, 200), (100, 400)])
def test_frechet_bias_in_one_dimension_in_closed_form(n, m):
    """(Δm)² + (s₁ - s₂)² of two samples of one law, with the mean c₄ of a sample's deviation; leading order left."""
    c4 = [np.sqrt(2 / (k - 1)) * np.exp(gammaln(k / 2) - gammaln((k - 1) / 2)) for k in (n, m)]
    expected = 1 / n + 1 / m + 2 - 2 * c4[0] * c4[1]
    assert fidelity.frechet_bias(1, n, m) == pytest.approx(expected, rel=0.01)


def test_frechet_at_200_tiles_is_mostly_bias(rng):
    """Two samples of one law on 152 features: 60 at N = 200, 6 at N = 2,000, though the distance of the laws is 0."""
    few, many = (
        np.mean([fidelity.frechet_distance(*rng.normal(size=(2, n, 152))) for _ in range(5)]) for n in (200, 2000)
    )
    assert few == pytest.approx(fidelity.frechet_bias(152, 200, 200), rel=0.1) and few > 50
    assert many == pytest.approx(fidelity.frechet_bias(152, 2000, 2000), rel=0.1) and many < 7
    shifted = fidelity.frechet_distance(*(rng.normal(size=(2, 200, 152)) + np.array([0, 0.2])[:, None, None]))
    assert shifted - few < 0.3 * few  # a true distance of 152 * 0.04 = 6 drowns in it


# Kernel distance


def test_kernel_distance_against_torchmetrics(rng):
    x, y = rng.normal(size=(80, 6)), rng.normal(size=(80, 6)) * 1.3
    metric = KernelInceptionDistance(feature=Features(), subsets=1, subset_size=80)
    for features, real in ((x, True), (y, False)):
        metric.update(torch.from_numpy(features), real=real)
    assert fidelity.kernel_distance(x, y) == pytest.approx(float(metric.compute()[0]), rel=1e-5)


def test_kernel_distance_is_unbiased_at_every_size(rng):
    for n in (10, 100):
        values = [fidelity.kernel_distance(*rng.normal(size=(2, n, 3))) for _ in range(300)]
        assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


def test_kernel_distance_closed_form_in_one_dimension(rng):
    """k = (xy + 1)^3 expands in moments: the squared distance is 3 Δm1² + 3 Δm2² + Δm3²."""
    pairs = ((rng.normal(size=(100, 1)), rng.normal(size=(100, 1)) * 1.5 + 0.5) for _ in range(400))
    found = [fidelity.kernel_distance(x, y) for x, y in pairs]
    moments = [0.5, 0.5**2 + 1.5**2 - 1, 0.5**3 + 3 * 0.5 * 1.5**2]
    expected = 3 * moments[0] ** 2 + 3 * moments[1] ** 2 + moments[2] ** 2
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 20)
    assert np.std(found) / 20 < 0.1 * expected


# Precision, recall, density, coverage


def reference_manifold(points, centres, k):
    radius = NearestNeighbors(n_neighbors=k + 1).fit(centres).kneighbors(centres)[0][:, -1]
    return np.linalg.norm(points[:, None] - centres[None], axis=2) <= radius + 1e-12


@pytest.mark.parametrize("k", [1, 3, 7])
def test_manifolds_against_scikit_learn(sets, k):
    real, synthetic = sets
    found = fidelity.precision_recall(real, synthetic, k)
    assert found.precision == reference_manifold(synthetic, real, k).any(1).mean()
    assert found.recall == reference_manifold(real, synthetic, k).any(1).mean()
    found, inside = fidelity.density_coverage(real, synthetic, k), reference_manifold(synthetic, real, k)
    assert found.density == pytest.approx(inside.sum() / (k * len(synthetic)))
    assert found.coverage == inside.any(0).mean()


def test_precision_and_recall_of_overlapping_intervals(rng):
    """Uniform on [0, 1] against [0, 2]: all real is covered, half of the synthetic is real."""
    found = fidelity.precision_recall(rng.uniform(0, 1, (2000, 1)), rng.uniform(0, 2, (2000, 1)), k=5)
    assert found.precision == pytest.approx(0.5, abs=0.03) and found.recall == pytest.approx(1, abs=0.02)


def test_density_and_coverage_of_one_law(rng):
    """Naeem et al. (2020): density 1, coverage 1 - (N-1)...(N-k) / (M+N-1)...(M+N-k), whatever the law."""
    n, m, k = 200, 100, 5
    expected = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])
    found = [fidelity.density_coverage(*np.split(rng.normal(size=(n + m, 4)), [n]), k) for _ in range(30)]
    assert np.mean([f.coverage for f in found]) == pytest.approx(expected, abs=0.02)
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("k", [1, 4])
def test_distances_and_radii_against_scikit_learn(sets, k):
    real, synthetic = sets
    np.testing.assert_allclose(next(fidelity.distances(real, synthetic)), pairwise_distances(real, synthetic))
    expected = NearestNeighbors(n_neighbors=k + 1).fit(real).kneighbors(real)[0][:, -1]
    np.testing.assert_allclose(fidelity.radii(real, k), expected)
    np.testing.assert_allclose(fidelity.radii(np.arange(9.0)[:, None], 2)[2:-2], 1)  # two neighbours 1 away


def test_distances_and_radii_on_a_circle_in_closed_form():
    """Of n points the chord over j steps is 2 sin(πj/n), and two neighbours lie at each."""
    n = 12
    angle = 2 * np.pi * np.arange(n) / n
    points = np.column_stack([np.cos(angle), np.sin(angle)])
    chords = 2 * np.sin(np.pi * np.arange(n) / n)
    np.testing.assert_allclose(next(fidelity.distances(points[:1], points))[0], chords, atol=1e-12)
    for k in (1, 2, 3, 4, 5):
        np.testing.assert_allclose(fidelity.radii(points, k), chords[(k + 1) // 2])


def test_blocks_of_rows_change_nothing(rng):
    x = rng.normal(size=(700, 2))
    assert fidelity.precision_recall(x, x) == fidelity.PrecisionRecall(1.0, 1.0)
    blocks = list(fidelity.distances(x, x, 99))
    np.testing.assert_array_equal(np.concatenate(blocks), next(fidelity.distances(x, x, 700)))


def test_identical_features_give_numbers():
    x = np.ones((10, 3))
    assert fidelity.frechet_distance(x, x) == 0 and fidelity.kernel_distance(x, x) == 0
    assert fidelity.precision_recall(x, x) == fidelity.PrecisionRecall(1.0, 1.0)
    assert np.isfinite(fidelity.classifier_two_sample(x, x, np.random.default_rng(0)))
    found = halves(fidelity.frechet_distance, x, x, np.random.default_rng(0))
    assert found == {"matched": 0, "real": 0}


# Classifiers


def test_inception_score_against_torchmetrics(rng):
    logits = torch.from_numpy(rng.normal(size=(100, 6)))
    metric = InceptionScore(feature=Features(), splits=1)
    metric.update(logits)
    found = fidelity.inception_score(logits.softmax(1).numpy())
    assert found == pytest.approx(float(metric.compute()[0]), rel=1e-6)
    with pytest.raises(ValueError, match="sum to 1"):
        fidelity.inception_score(logits.numpy() ** 2)


def test_inception_score_in_closed_form():
    """A classifier that gives its class p and shares the rest among the others, all classes alike: C e^(-H)."""
    c, p = 5, 0.8
    rest = (1 - p) / (c - 1)
    rows = np.full((c, c), rest) + (p - rest) * np.eye(c)
    entropy = -p * np.log(p) - (1 - p) * np.log(rest)
    assert fidelity.inception_score(np.tile(rows, (4, 1))) == pytest.approx(c * np.exp(-entropy))


def test_classifier_against_scikit_learn(rng):
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(90, 3)) + 0.5
    seed = int(np.random.default_rng(5).integers(2**31))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced"))
    truth = np.repeat([0, 1], [60, 90])
    split = StratifiedKFold(5, shuffle=True, random_state=seed)
    guess = cross_val_predict(model, np.concatenate([x, y]), truth, cv=split)
    expected = balanced_accuracy_score(truth, guess)
    assert fidelity.classifier_two_sample(x, y, np.random.default_rng(5)) == pytest.approx(expected)


def test_classifier_reaches_bayes(rng):
    """Two unit Gaussians, 2 apart along one axis: the best accuracy is Phi(1)."""
    x, y = rng.normal(size=(2000, 4)), rng.normal(size=(2000, 4)) + np.eye(4)[0] * 2
    assert fidelity.classifier_two_sample(x, y, rng) == pytest.approx(norm.cdf(1), abs=0.02)
    assert fidelity.classifier_two_sample(x[:1000], x[1000:], rng) == pytest.approx(0.5, abs=0.05)
    other = rng.normal(size=(200, 4))
    assert fidelity.classifier_two_sample(x, other, rng) == pytest.approx(0.5, abs=0.08)  # unequal sizes


# Bad input


@pytest.mark.parametrize(
    "real, synthetic, words",
    [
        (np.zeros((3, 2)), np.zeros((9, 2)), "expected at least 4 samples in 'real', got 3"),
        (np.zeros((9, 2)), np.zeros((1, 2)), "'synthetic', got 1"),
        (np.zeros((9, 2)), np.zeros((9, 3)), "expected 2 features a sample in 'synthetic', got 3"),
        (np.zeros(9), np.zeros((9, 3)), r"\(N, D\)"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), "in 9 rows"),
    ],
)
def test_bad_input_is_a_sentence(real, synthetic, words):
    with pytest.raises(ValueError, match=words):
        fidelity.precision_recall(real, synthetic, k=3)


def test_one_image_is_refused():
    for metric in (fidelity.frechet_distance, fidelity.kernel_distance):
        with pytest.raises(ValueError, match="at least 2 samples"):
            metric(np.zeros((5, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="k of at least 1"):
        fidelity.precision_recall(np.zeros((5, 2)), np.zeros((5, 2)), k=0)


def test_twins_have_no_difference_of_appearance_and_strangers_that_of_real_tiles():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 60, 8)) + np.array([[[0]], [[3]]])
    pair = rng.normal(size=(2, 60, 8))
    assert fidelity.appearance_difference(one, one, one, one) == 0
    assert fidelity.appearance_difference(*pair, one, one) == pytest.approx(1, abs=0.1)
    assert fidelity.appearance_difference(pair[0], pair[1] + 3, one, other) == pytest.approx(1, abs=0.1)
    assert fidelity.appearance_difference(*pair, one, other) < 0.6, "two contexts that look like one"
    with pytest.raises(ValueError, match="expected two pictures for each mask, got 60 and 59"):
        fidelity.appearance_difference(one, other[1:], one, other)
