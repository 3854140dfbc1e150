"""Helpers of benchmarks/tables.py: what it cuts, lays side by side and measures."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from diffinfinite_lite.data.annotate import annotate
from diffinfinite_lite.data.tiles import Tile, to_rgb
from diffinfinite_lite.pipelines.pair import Pair

SPEC = importlib.util.spec_from_file_location("tables_benchmark", Path(__file__).parents[2] / "benchmarks/tables.py")
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def test_large_masks_are_annotated_tiles_side_by_side(monkeypatch):
    """Every block of a large mask is the pseudo-annotation of one tile of that context, and none comes twice."""
    monkeypatch.setattr(benchmark, "SIDE", 2)
    generator = torch.Generator().manual_seed(0)
    tiles = []
    for context in ("adenocarcinoma", "squamous", "normal"):
        for _ in range(4):
            field = torch.rand(1, 3, 4, 4, generator=generator) * 2 - 1
            image = torch.nn.functional.interpolate(field, (64, 64), mode="bilinear")[0]
            tiles.append(Tile(image, torch.zeros(64, 64, dtype=torch.uint8), context=context))
    for context, mask in benchmark.real_masks(tiles, 3, np.random.default_rng(0)):
        known = [annotate(to_rgb(t.image), context) for t in tiles if t.context == context]
        found = [
            next(i for i, k in enumerate(known) if (k == mask[y : y + 64, x : x + 64]).all())
            for y in (0, 64)
            for x in (0, 64)
        ]
        assert mask.shape == (128, 128)
        assert len({known[i].tobytes() for i in found}) == len({k.tobytes() for k in known})


def test_tiles_and_masks_are_cut_at_the_same_places():
    image = np.arange(448 * 448 * 3).reshape(448, 448, 3) % 251
    pair = Pair(image.astype(np.uint8), (image[..., 0] % 6).astype(np.uint8), [], {})
    images, masks = benchmark.cut([pair, pair])
    assert len(images) == len(masks) == 8
    np.testing.assert_array_equal(to_rgb(images[5]), pair.image[:224, 224:])
    np.testing.assert_array_equal(masks[6], pair.mask[224:, :224])


def test_copies_and_fresh_tiles_in_the_rows_of_table_5():
    rng = np.random.default_rng(0)
    train, real, fresh = rng.normal(size=(3, 100, 6))
    copies, honest = (benchmark.memorisation_of(train, real, x, rng) for x in (train[:40], fresh[:40]))
    assert copies["A"] == 0 and copies["C_T"] < -5 < -3 < honest["C_T"] < 3
    assert benchmark.fidelity_of(real, real) == {"IP": 1.0, "IR": 1.0, "FD": pytest.approx(0, abs=1e-9)}


def test_training_sets_of_table_2():
    """As many real as synthetic tiles are the first ones of real, each with its own label; with fewer no such row."""
    real, made = ([1, 2, 3], "abc"), ([7, 8], "xy")
    real, made = ((tiles, list(labels)) for tiles, labels in (real, made))
    sets = benchmark.training_sets(real, made)
    assert list(sets) == list(benchmark.paper_tables.TRAINED)
    assert sets[benchmark.paper_tables.AS_MANY] == ([1, 2], ["a", "b"])
    assert sets["augmented"] == ([1, 2, 3, 7, 8], ["a", "b", "c", "x", "y"])
    assert benchmark.paper_tables.AS_MANY not in benchmark.training_sets(made, real)


def test_a_shuffled_canvas_has_the_same_windows_in_another_order():
    image = np.arange(6).repeat(4).reshape(3, 8).repeat(4, axis=0)[..., None].repeat(3, axis=2).astype(np.uint8)
    pair = Pair(image, image[..., 0], [], {"patch": 4, "seed": 0, "plan": "random-patch"})
    found = benchmark.shuffled(pair).image
    assert found.shape == image.shape and not np.array_equal(found, image)
    assert sorted(found[2::4, 2::4, 0].ravel()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("peers", [1, 2])
def test_figure_11_takes_every_sampler_on_the_same_canvases(monkeypatch, peers):
    """However many canvases (c) has: contexts, masks, seeds and numbers agree among the rows."""
    seen = {}

    def pair(context, mask, seed, plan):
        return Pair(np.zeros((4, 4, 3), np.uint8), mask, [], {"context": context, "seed": seed, "plan": plan})

    def measured(pairs):
        (plan,) = {p.run["plan"] for p in pairs}
        seen[plan] = [(p.run["context"], p.mask.tolist(), p.run["seed"]) for p in pairs]
        return {}

    monkeypatch.setattr(benchmark, "generate", lambda c, m, seed, plan, **_: pair(c, m, seed, plan))
    monkeypatch.setattr(benchmark, "long_range", measured)
    contexts = ("adenocarcinoma", "squamous", "normal")
    masks = [np.full((4, 4), i, np.uint8) for i in range(3)]
    c, collage, mixture = (
        [pair(*both, seed, plan) for seed, both in enumerate(zip(contexts, masks, strict=True))]
        for plan in ("random-patch", "diffcollage", "mixture")
    )
    monkeypatch.setattr(benchmark, "shuffled", lambda p: Pair(p.image, p.mask, [], p.run | {"plan": "shuffled"}))
    others = {"diffcollage": collage, "mixture": mixture}
    assert len(benchmark.figure_11(c, others, peers, steps=2)) == len(seen) == 6
    assert all(canvases == seen["random-patch"] for canvases in seen.values())
    assert len(seen["multidiffusion"]) == peers
