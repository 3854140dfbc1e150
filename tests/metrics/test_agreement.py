"""Agreement scores against scikit-learn and in closed form."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, jaccard_score

from diffinfinite_lite.metrics import agreement


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, (40, 30))
    return truth, np.where(rng.random(truth.shape) < 0.6, np.maximum(truth, 1), rng.integers(1, 5, truth.shape))


def test_against_scikit_learn(labels):
    truth, guess = labels
    known = truth > 0
    t, g = truth[known], guess[known]
    table = agreement.confusion(truth, guess)
    np.testing.assert_array_equal(table, confusion_matrix(t, g, labels=[1, 2, 3, 4]))
    assert agreement.balanced_accuracy(table) == pytest.approx(balanced_accuracy_score(t, g))
    assert agreement.f1(table) == pytest.approx(f1_score(t, g, average="macro"))
    assert agreement.mean_iou(table) == pytest.approx(jaccard_score(t, g, average="macro"))


def test_absent_classes_have_no_score(labels):
    truth, guess = labels
    truth = np.where(truth == 2, 0, truth)
    t, g = truth[truth > 0], guess[truth > 0]
    table = agreement.confusion(truth, guess)
    assert agreement.mean_iou(table) == pytest.approx(jaccard_score(t, g, labels=[1, 3, 4], average="macro"))
    assert agreement.f1(table) == pytest.approx(f1_score(t, g, labels=[1, 3, 4], average="macro"))


def test_chance_and_perfection():
    """A coin scores 1/C whatever the shares of the classes, and IoU is F1 / (2 - F1) for one class."""
    shares = np.array([0.7, 0.2, 0.05, 0.05])
    coin = np.outer(shares, np.full(4, 0.25)) * 4000
    assert agreement.balanced_accuracy(coin) == pytest.approx(0.25)
    assert agreement.balanced_accuracy(np.diag([5, 1, 9, 2])) == agreement.mean_iou(np.eye(4)) == 1
    one = np.array([[30, 10], [0, 0]])
    assert agreement.mean_iou(one) == pytest.approx(agreement.f1(one) / (2 - agreement.f1(one)))


def test_tables_add_up(labels):
    truth, guess = labels
    parts = sum(agreement.confusion(t, g) for t, g in zip(truth, guess, strict=True))
    np.testing.assert_array_equal(parts, agreement.confusion(truth, guess))


@pytest.mark.parametrize(
    "truth, guess, words",
    [
        (np.ones(3), np.ones(4), "one shape"),
        (np.array([5]), np.array([1]), "labels 1 to 4"),
        (np.array([1]), np.array([0]), "labels 1 to 4"),
    ],
)
def test_bad_labels_are_a_sentence(truth, guess, words):
    with pytest.raises(ValueError, match=words):
        agreement.confusion(truth, guess)


def test_nothing_labelled_is_a_sentence():
    with pytest.raises(ValueError, match="at least one labelled pixel"):
        agreement.f1(agreement.confusion(np.zeros((2, 2), int), np.ones((2, 2), int)))
