"""Downstream use: what can be learnt is learnt, what cannot is not, seeds and shapes, bad input in a sentence."""

import numpy as np
import pytest
import torch

from diffinfinite_lite.downstream import (
    Maps,
    Score,
    compare_classifiers,
    compare_segmenters,
    dense_features,
    fit_classifier,
    fit_segmenter,
    is_carcinoma,
    mean_iou,
    segmentation_table,
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


def test_a_segmenter_finds_what_it_was_shown():
    images, masks = tiles(0)
    segmenter = fit_segmenter(dense_features(images), masks, steps=80)
    images, masks = tiles(1)
    table = segmentation_table(segmenter, dense_features(images), masks)
    assert mean_iou(table) > 0.8
    assert table.sum() == sum((m > 0).sum() for m in masks)
    swapped = segmentation_table(segmenter, dense_features(images), [np.choose(m, [0, 3, 2, 1]) for m in masks])
    assert mean_iou(swapped) < 0.1  # unfaithful pairs are found out


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


def test_rows_and_columns_of_table_2b():
    maps, masks = noise(0, 4), [np.repeat([[1, 2, 3, 4]], 8, axis=1).repeat(32, axis=0)] * 4
    training = {"real": (maps, masks), "both": (maps * 2, masks * 2)}
    found = compare_segmenters(training, {"x": (maps, masks)}, seeds=(0, 1))
    assert set(found) == {"real", "both"} and all(0 <= row["x"].mean <= 1 for row in found.values())


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
