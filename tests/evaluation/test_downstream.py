"""Downstream use: what can be learnt is learnt, what cannot is not, seeds and shapes, bad input in a sentence."""

import numpy as np
import pytest
import torch
from scipy.ndimage import sum_labels
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from diffinfinite_lite.evaluation import downstream
from diffinfinite_lite.evaluation.downstream import (
    SEEDS,
    Maps,
    Score,
    compare_classifiers,
    compare_segmenters,
    dense_features,
    fit_classifier,
    fit_segmenter,
    is_carcinoma,
    segmentation_table,
    table_score,
)


def tiles(seed, count=8, size=64):
    """Left part blue and grained, right part red and smooth, with the labels 1 and 3; an unknown strip between."""
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        edge = 8 * int(rng.integers(2, size // 8 - 1))
        image = 0.1 * rng.normal(size=(3, size, size)) + np.array([0.6, 0.0, 0.3])[:, None, None]
        image[:, :, :edge] = 0.5 * rng.normal(size=(3, size, edge)) + np.array([-0.4, -0.4, 0.5])[:, None, None]
        mask = np.full((size, size), 3)
        mask[:, :edge], mask[:, edge : edge + 8] = 1, 0
        images.append(torch.from_numpy(image).float().clamp(-1, 1))
        masks.append(mask)
    return images, masks


def noise(seed, count, mean=0.0):
    """Maps that no network made: features of one law."""
    generator = torch.Generator().manual_seed(seed)
    return [Maps(torch.randn(6, 4, 4, generator=generator).half() + mean, (32, 32)) for _ in range(count)]


def test_the_label_of_a_tile_is_the_papers():
    mask = np.zeros((100, 200), int)
    mask[0, :9] = 1
    assert not is_carcinoma(mask)
    mask[0, 9] = 1  # 10 of 20,000 pixels are 0.05%
    assert is_carcinoma(mask) and not is_carcinoma(np.full((4, 4), 3))


def test_the_label_of_a_tile_against_scipy():
    rng = np.random.default_rng(0)
    masks = [np.where(rng.random((50, 80)) < rng.uniform(0, 0.001), 1, rng.integers(2, 5, (50, 80))) for _ in range(60)]
    pixels = [sum_labels(np.ones_like(mask), mask, 1) for mask in masks]
    assert [is_carcinoma(mask) for mask in masks] == [count >= 2 for count in pixels]  # of 4,000
    assert [is_carcinoma(mask, 3 / 4000) for mask in masks] == [count >= 3 for count in pixels]
    assert {0, 1, 2, 3} <= set(pixels)


def test_a_segmentation_table_against_scikit_learn():
    """Of guesses that are right two times in three, over tiles of several sizes, unknown pixels left out."""
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 6, shape) for shape in ((24, 16), (40, 8), (9, 33))]
    guesses = [np.where(rng.random(m.shape) < 2 / 3, np.maximum(m, 1), rng.integers(1, 6, m.shape)) for m in masks]
    maps = [Maps(torch.tensor([i]), mask.shape) for i, mask in enumerate(masks)]
    table = segmentation_table(lambda tile: guesses[int(tile.features)], maps, masks)
    truth, guess = (np.concatenate([x.ravel() for x in arrays]) for arrays in (masks, guesses))
    np.testing.assert_array_equal(table, confusion_matrix(truth[truth > 0], guess[truth > 0], labels=[1, 2, 3, 4, 5]))
    known = truth[truth > 0], guess[truth > 0]
    assert table_score(table) == pytest.approx(f1_score(*known, average="macro"))
    assert table_score(table, jaccard_score) == pytest.approx(jaccard_score(*known, average="macro"))


def test_a_segmentation_table_in_closed_form():
    """One guess everywhere fills one column with the areas of the labels, a shift by one label the next diagonal."""
    masks = [np.repeat([[0, 1, 2, 4, 5]], 8, axis=1).repeat(6, axis=0), np.full((6, 5), 3)]
    maps = [Maps(torch.tensor([i]), mask.shape) for i, mask in enumerate(masks)]
    areas = np.array([48, 48, 30, 48, 48])
    table = segmentation_table(lambda tile: np.full(tile.size, 3), maps, masks)
    np.testing.assert_array_equal(table, areas[:, None] * (np.arange(5) == 2))
    table = segmentation_table(lambda tile: masks[int(tile.features)] % 5 + 1, maps, masks)
    np.testing.assert_array_equal(table, np.roll(np.diag(areas), 1, axis=1))


@pytest.mark.parametrize("rates", [[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.5, 0.0]])
def test_f1_of_random_guessing_in_closed_form_and_against_scikit_learn(rates):
    """A class of share s, called at the rate q whatever the truth, has F1 = 2sq / (s + q); Table 2b's floor."""
    shares, rates, count = np.array([0.4, 0.3, 0.2, 0.1]), np.array(rates), 1000
    cells = np.rint(count * np.outer(shares, rates)).astype(int)
    truth, guess = (np.repeat(axis.ravel() + 1, cells.ravel()) for axis in np.indices((4, 4)))
    assert table_score(cells) == pytest.approx(np.mean(2 * shares * rates / (shares + rates)))
    assert table_score(cells) == pytest.approx(f1_score(truth, guess, average="macro"))
    assert table_score(np.outer(shares, shares)) == pytest.approx(shares.mean())  # shares guessed at their own


def test_classes_that_the_truth_lacks_have_no_score():
    """Wrong guesses of them cost the others, and a score of one class is in closed form: IoU = F1 / (2 - F1)."""
    table = np.array([[8, 1, 1], [0, 0, 0], [2, 0, 4]])
    assert table_score(table) == pytest.approx(np.mean([16 / 20, 8 / 11]))
    assert table_score(table, jaccard_score) == pytest.approx(np.mean([8 / 12, 4 / 7]))
    one = np.array([[30, 10], [0, 0]])
    assert table_score(one, jaccard_score) == pytest.approx(table_score(one) / (2 - table_score(one)))
    assert table_score(np.diag([5, 1, 9, 2])) == table_score(np.eye(4), jaccard_score) == 1


def test_bad_tables_and_labels_are_a_sentence():
    def table(label):
        tile = Maps(torch.zeros(1), (2, 2))
        return segmentation_table(lambda tile: np.ones(tile.size, np.uint8), [tile], [np.full((2, 2), label)])

    assert not table(0).any()
    with pytest.raises(ValueError, match="at least one labelled pixel"):
        table_score(table(0))
    with pytest.raises(ValueError, match="labels 0 to 5, got up to 6"):
        table(6)


def test_a_segmenter_finds_what_it_was_shown():
    images, masks = tiles(0)
    segmenter = fit_segmenter(dense_features(images), masks, steps=80)
    images, masks = tiles(1)
    table = segmentation_table(segmenter, dense_features(images), masks)
    assert table_score(table, jaccard_score) > 0.8
    assert table.sum() == sum((m > 0).sum() for m in masks)
    swapped = segmentation_table(segmenter, dense_features(images), [np.choose(m, [0, 3, 2, 1]) for m in masks])
    assert table_score(swapped, jaccard_score) < 0.1  # unfaithful pairs are found out


def test_features_are_the_networks_and_keep_their_place():
    images, _ = tiles(0, 2, 40)
    images = [image[:, :36] for image in images]
    maps = dense_features(images)
    assert maps[0].size == (36, 40) and maps[0].features.shape == (176, 5, 5)
    torch.testing.assert_close(dense_features(images[1:])[0].features, maps[1].features, rtol=1e-2, atol=1e-2)
    masks = [np.repeat([[1, 3]], 20, axis=1).repeat(36, axis=0)] * 2
    assert fit_segmenter(maps, masks, steps=2)(maps[0]).shape == (36, 40)


def test_a_classifier_learns_what_is_there_and_nothing_else():
    maps = noise(0, 60, 0.4) + noise(1, 20, -0.4)  # unequal classes
    truth = [True] * 60 + [False] * 20
    tests = {"same": (noise(2, 50, 0.4) + noise(3, 50, -0.4), [True] * 50 + [False] * 50)}
    tests["chance"] = noise(4, 200), [True, False] * 100
    found = compare_classifiers({"real": (maps, truth)}, tests)["real"]
    assert found["same"].mean > 0.9 and found["chance"].mean == pytest.approx(0.5, abs=0.1)
    assert found["chance"].spread < 0.1


@pytest.mark.filterwarnings("error")
def test_of_a_test_set_with_one_class_its_recall_is_the_score():
    training, alike = (noise(0, 20, 0.4) + noise(1, 20, -0.4), [True] * 20 + [False] * 20), noise(2, 10, 0.4)
    tests = {"all true": (alike, [True] * 10), "all false": (alike, [False] * 10)}
    found = compare_classifiers({"real": training}, tests, seeds=(0,))["real"]
    assert found["all true"].mean == pytest.approx(1 - found["all false"].mean) and found["all true"].mean > 0.8


def test_rows_and_columns_of_table_2b():
    maps, masks = noise(0, 4), [np.repeat([[1, 2, 3, 4]], 8, axis=1).repeat(32, axis=0)] * 4
    training = {"real": (maps, masks), "both": (maps * 2, masks * 2)}
    found = compare_segmenters(training, {"x": (maps, masks)}, seeds=(0, 1))
    assert set(found) == {"real", "both"} and all(0 <= row["x"].mean <= 1 for row in found.values())


@pytest.mark.parametrize(
    "compare, fit", [(compare_classifiers, "fit_classifier"), (compare_segmenters, "fit_segmenter")]
)
def test_three_seeds_each_trained_once(monkeypatch, compare, fit):
    """However many test sets there are: one fit a seed and a training set, and the spread is that among seeds."""
    fits, labels = [], np.repeat([[1, 2]], 16, axis=1).repeat(32, axis=0)
    maps, right = noise(0, 4), {"fit_classifier": [True, False] * 2, "fit_segmenter": [labels] * 4}[fit]

    def fitted(given, truth, *, seed):
        """Right with seed 0, else always the first class."""
        fits.append((len(given), seed))
        if fit == "fit_classifier":
            return lambda tiles: np.array(right) & (seed == 0)
        return lambda tile: labels if seed == 0 else np.ones_like(labels)

    monkeypatch.setattr(downstream, fit, fitted)
    found = compare({"few": (maps[:2], right[:2]), "all": (maps, right)}, {"x": (maps, right), "y": (maps, right)})
    assert len(set(SEEDS)) == 3 and fits == [(n, seed) for n in (2, 4) for seed in SEEDS]
    one_class = {"fit_classifier": 1 / 2, "fit_segmenter": 1 / 3}[fit]
    assert found["all"]["x"] == Score.of([1.0, one_class, one_class]) == found["all"]["y"]


def test_seeds():
    maps, truth = noise(0, 30), [True, False] * 15
    weights = [fit_classifier(maps, truth, seed=seed, steps=20).head[0].weight for seed in (0, 0, 1)]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    assert not torch.equal(weights[0], weights[2])
    before = torch.random.get_rng_state()
    fit_classifier(maps, truth, steps=2)
    assert torch.equal(before, torch.random.get_rng_state())  # nobody else's randomness is touched
    assert Score.of([0.5, 0.7, 0.6]) == Score(0.6, 0.1) and Score.of([0.3]) == Score(0.3, 0.0)


def test_bad_input_is_a_sentence():
    maps = noise(0, 3)
    with pytest.raises(ValueError, match="of both kinds, got 3, 3 of"):
        fit_classifier(maps, [True] * 3)
    with pytest.raises(ValueError, match="label for each of 3 tiles"):
        fit_classifier(maps, [True, False])
    with pytest.raises(ValueError, match="mask for each of 3 tiles, got 1"):
        fit_segmenter(maps, [np.ones((32, 32), int)])
    with pytest.raises(ValueError, match=r"mask of \(32, 32\), got \(16, 16\)"):
        fit_segmenter(maps, [np.ones((16, 16), int)] * 3)
    with pytest.raises(ValueError, match="two or more labels, got 1"):
        fit_segmenter(maps, [np.ones((32, 32), int)] * 3)
    with pytest.raises(ValueError, match="two or more labels, got 0"):
        fit_segmenter(maps, [np.zeros((32, 32), int)] * 3)
