"""benchmarks/quality.py: the figures that it writes into the model card, from results with known answers."""

import copy
from functools import partial

import numpy as np
import painting
import pytest
import quality
import torch
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.data.tiles import Tile, to_rgb, to_tensor
from diffinfinite_lite.labels import conditions
from diffinfinite_lite.metrics.features import HandcraftedFeatures
from diffinfinite_lite.models.pretrained import load_models
from diffinfinite_lite.sampling.decode import decode
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.plans import multidiffusion
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas
from tests import toys


def result(ratio=1.0, steps=20.0):
    """Generated tiles `ratio` times as far from real as real ones are; the control's rows are far off, and unused."""
    rows = [
        {"features": features, "tiles": tiles, "number": number, "n": 9, "low": 0, "high": 1, **values}
        for features, factor in (("EfficientNetLite0", 1), ("Handcrafted", 99))
        for tiles, more in (("reconstructed", 0), ("generated", 0), ("cut from canvases", 1))
        for number, values in (
            ("Fréchet distance", {"generated": 8 * ratio, "real": 8, "ratio": factor * ratio + more}),
            ("precision", {"generated": 0.8, "real": 0.8, "ratio": 1 / ratio}),
            ("recall", {"generated": 0.6, "real": 0.6, "ratio": 1 / ratio}),
            ("told apart", {"generated": 0.756, "real": 0.5, "ratio": 1.5}),
        )
    ]
    card = [
        {"features": features, "name": name, "value": value, "real": 0.5}
        for features, factor in (("EfficientNetLite0", 1), ("Handcrafted", 99))
        for name, value in (("A", 0.5 * factor), ("C_T", 2.9 * factor * ratio))
    ]
    return {
        "settings": {
            "options": {
                **{"per_context": 400, "steps": 20, "solver": "dpm-solver++"},
                **{"plan": "mixture", "omega": 0.0, "precision": "bf16"},
            },
            "cut": 450,
            "weights": {"image": "0123456789abcdef"},
        },
        "autoencoder": {
            "lc25000 test": {"psnr": 30.04, "ssim": 0.9, "pictures": 439},
            "diffinfinite real": {"psnr": 26.99, "ssim": 0.8, "pictures": 8},
        },
        "fidelity": rows,
        "card": card,
        "solvers": {"dpm-solver++": steps, "ddim": 25.0, "tiles": 75},
        "faithfulness": {"generated": 0.63, "real": 0.71, "tiles": [9, 9]},
        "sensitivity": {"changed": 20.0, "elsewhere": 0.0},
    }


def cells(text):
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {name.strip(): [cell.strip() for cell in rest] for name, *rest in lines}


def test_figures_of_the_card_are_those_of_the_result():
    rows = cells(quality.figures(result()))
    assert rows["reconstruction, LC25000 test tiles"] == ["30.0 dB, SSIM 0.900", "✓ at least 30 dB"]
    assert rows["reconstruction, 8 real DiffInfinite patches"] == ["27.0 dB, SSIM 0.800", "✗ at least 27 dB"]  # 26.99
    assert rows["Fréchet distance of generated tiles, over real to real"] == ["1.0", "✓ at most 1.8"]
    assert rows["Fréchet distance of tiles cut from canvases, over real to real"] == ["2.0", "✓ at most 2.1"]
    assert rows["Fréchet distance of generated tiles, over real to real, Handcrafted"] == ["99.0", "✗ at most 4"]
    assert rows["told from real by logistic regression, generated"] == ["75.6%", "✓ at most 80%"]
    assert rows["told from real by logistic regression, reconstructed"] == ["75.6%", "✗ at most 65%"]
    assert rows["mean IoU of a segmenter, generated pairs / real tiles"] == ["0.63 / 0.71", "✓ within 0.08"]
    assert rows["authenticity A, generated / unseen real"] == ["0.500 / 0.500", "✓ no lower than real"]
    assert rows["Fréchet distance, 20 DPM-Solver++ steps over 250 DDIM steps"] == ["-20.0%", "✓ at most +10%"]
    text = quality.figures(result())
    assert "1,200 generated tiles of 224 px, 400 of each context" in text and "10 of 13 bars" in text
    assert "on 450 cut from canvases (mixture)" in text
    assert "(20 dpm-solver++ steps, ω = 0, bf16)" in text and "`0123456789ab`" in text


def missed(found):
    return {name for name, _, _, met in quality.bars(found) if met is False}


def test_bars_fail_one_by_one():
    """1.8 times as far misses no distance of 1.8, but all else that `ratio` moves; a bit farther misses that, too."""
    near, far, farther = (missed(result(ratio)) for ratio in (1, 1.8, 1.81))
    assert near == {
        "reconstruction, 8 real DiffInfinite patches",
        "Fréchet distance of generated tiles, over real to real, Handcrafted",
        "told from real by logistic regression, reconstructed",
    }
    assert far - near == {
        "Fréchet distance of tiles cut from canvases, over real to real", "precision, over real to real", "C_T"
    }  # fmt: skip
    assert farther - far == {"Fréchet distance of generated tiles, over real to real"}
    other = copy.deepcopy(result())
    other["faithfulness"]["generated"], other["card"][0]["value"] = 0.62, 0.49
    assert len(missed(other) - near) == 2


def second_generation():
    """A result with all that reports have today, every bar of it reached."""
    found = result()
    row = {"n": 9, "low": 0, "high": 1, "number": "Fréchet distance", "generated": 8, "real": 8}
    for features, tiles, ratio in (
        ("EfficientNetLite0", quality.TRAINING, 1.15), ("OpenNSFW-01234567", quality.TRAINING, 1.25),
        ("OpenNSFW-01234567", "generated", 9), ("EfficientNetLite0", "cut from canvases, random-patch", 1.15),
    ):  # fmt: skip
        found["fidelity"].append({**row, "features": features, "tiles": tiles, "ratio": ratio})
    found["spectrum"] = {"generated": {"grid": {2: 1.05, 4: 1, 8: 0.5}, "auc": 0.35}}
    found["anatomy"] = {"red cells": {"generated": 90, "real": 100}, "nuclei": {"generated": 0.54, "real": 0.5}}
    found["appearance"] = {"masks": 8, "features": {"EfficientNetLite0": {"seeds": 0.9, "contexts": 1}}}
    found["masks"] = {"tiles": 150, "features": {"EfficientNetLite0": {"drawn": 12, "annotated": 10}}}
    found["drafts"] = {"share": 0.02, "limit": 0.027, "smallest": 0.7, "unseen": 0.6}
    return found


def test_what_was_added_has_its_bars_and_its_lines():
    found = second_generation()
    assert missed(found) == missed(result()) and len(quality.bars(found)) == len(quality.bars(result())) + 12
    text = quality.table(found)
    for words in (
        "| generated | 1.05 | 1.00 | 0.50 | 0.35 |", "median green of 90 (real tiles 100)", "varies by 0.54 of",
        "| EfficientNetLite0 | 0.90 | 1.00 |", "2.0% are nearer to one of them alone than",
        "| EfficientNetLite0 | 12 | 10 | 1.20 |",
    ):  # fmt: skip
        assert words in text
    bad = second_generation()
    bad["spectrum"]["generated"] = {"grid": {2: 1.06, 4: 1, 8: 0.5}, "auc": 0.34}
    bad["anatomy"]["red cells"]["generated"], bad["anatomy"]["nuclei"]["generated"] = 89, 0.56
    bad["appearance"]["features"]["EfficientNetLite0"] = {"seeds": 0.8, "contexts": 0.8}
    bad["drafts"]["share"], bad["masks"]["features"]["EfficientNetLite0"]["drawn"] = 0.03, 12.1
    for row in bad["fidelity"][-4:]:
        row["ratio"] += 0.01
    assert len(missed(bad) - missed(found)) == 11, "all but that of the independent ruler, which has no bar"


def test_the_card_is_filled_between_its_marks_and_nowhere_else():
    start, end = quality.MARKS
    card = f"# Card\n\n{start}\n\nold | 1 |\n\n{end}\n\nprose\n"
    filled = quality.fill(card, "new \\1")
    assert filled == f"# Card\n\n{start}\n\nnew \\1\n\n{end}\n\nprose\n"
    assert quality.fill(filled, "new \\1") == filled
    for bad in ("# Card", f"{end}{start}", f"{start} a {end} {start} b {end}", f"{start} a"):
        with pytest.raises(ValueError, match="once in the model card"):
            quality.fill(bad, "new")


def test_the_report_holds_the_same_solvers_and_sets():
    text = quality.table(result())
    assert "20 DPM-Solver++ steps and 25.0 after 250 DDIM steps, -20.0%" in text
    assert "| EfficientNetLite0 | cut from canvases | Fréchet distance | 9 | 8 |" in text
    assert "in space" not in text
    found = result()
    found["card"].append({"features": "Space", "name": "regions of stroma", "value": 3.0, "real": 2.5})
    assert "| regions of stroma | 3 | 2.5 |" in quality.table(found)


def test_parts_of_an_interrupted_run_are_used_and_those_of_other_settings_are_not(tmp_path, monkeypatch, tiny_weights):
    monkeypatch.setattr(painting, "PARTS", tmp_path / "parts")
    made, painter = [], painting.Painter({"steps": 20})

    def make():
        made.append(1)
        return {"tiles": np.arange(6).reshape(2, 3)}

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        painter.remembered("normal-0", fail)
    for steps in (20, 20, 30):
        found = painting.Painter({"steps": steps}).remembered("normal-0", make)
        assert np.array_equal(found["tiles"], [[0, 1, 2], [3, 4, 5]])
    assert len(made) == 2
    painter.remembered("normal-0", make, plan="mixture")
    painting.Painter({"steps": 20}, tiny_weights).remembered("normal-0", make)
    assert len(made) == 4, "another plan, and another model, whose parts have a folder of their own"
    assert len(list((tmp_path / "parts").iterdir())) == 2
    monkeypatch.setattr(painting, "CODE", ["changed"])
    painter.remembered("normal-0", make)
    assert len(made) == 5, "the code that paints has changed"


def test_only_statements_of_the_code_count():
    source = "def f(x):\n    'Doc.'\n    return x + 1  # one more\n"
    assert painting.statements(source) == painting.statements("def f(x):\n    return (x +\n            1)\n")
    assert painting.statements(source) != painting.statements(source.replace("1  #", "2  #"))


SAMPLING = {"steps": 1, "precision": "fp32", "batch_size": 4}


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.pipelines.cautions.Caution")
def test_tiles_of_a_single_stage_are_windows_side_by_side(tmp_path):
    """Bit for bit what they were before there were stages: windows that never move, decoded one by one."""
    weights = toys.tiny_model(tmp_path, patch=224)
    autoencoder, image, _ = load_models(weights)
    mask = np.ones((448, 448), np.uint8)
    mask[:, 200:] = 3
    painter = painting.Painter({"steps": 2, "solver": "dpm-solver++", "precision": "fp32"}, weights)
    found = painter.samples(mask, "squamous", 3)
    denoiser = Denoiser(image, cosine_alphas(), batch_size=16)
    plan = partial(multidiffusion, stride=28)
    settings = {"channels": 8, "patch": 28, "plan": plan, "solver": "dpm-solver++", "steps": 2, "seed": 3}
    *_, level = sample(denoiser, conditions(mask, "squamous"), **settings)
    tiles = [z for row in level.canvas.latents.split(28, dim=1) for z in row.split(28, dim=2)]
    wanted = np.stack([to_rgb(decode(autoencoder, z).clamp(-1, 1)) for z in tiles])
    assert list(found) == ["generated"] and np.array_equal(found["generated"], wanted)


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.pipelines.cautions.Caution")
def test_tiles_of_two_stages_are_pictures_with_their_own_drafts(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    weights = toys.tiny_model(tmp_path / "model", draft=True, borders="reflected")
    monkeypatch.setattr(painting, "PARTS", tmp_path / "parts")
    painter = painting.Painter({**SAMPLING, "draft_steps": 1, "plan": "mixture"}, weights)
    made, masks = painter.sets("squamous", 2, ["mixture", "random-patch"])
    assert {name: len(tiles) for name, tiles in made.items()} == {
        "generated": 2, "drafts": 2, "cut from canvases": 2, "cut from canvases, random-patch": 2
    }  # fmt: skip
    assert made["generated"][1].shape == (224, 224, 3) and made["drafts"][1].shape == (28, 28, 3)
    pair = generate("squamous", masks[1], seed=1, weights=weights, **painter.settings)
    assert np.array_equal(made["generated"][1], pair.image), "as the library paints a picture of that size"
    assert np.array_equal(painter.under("squamous", masks[:1])[0], made["generated"][0])
    pairs = painter.twice("squamous", "normal", masks[:1])
    assert {name: len(tiles) for name, tiles in pairs.items()} == {"first": 1, "other seed": 1, "other context": 1}
    assert not np.array_equal(pairs["first"], pairs["other seed"])


def test_a_copied_draft_is_found_and_named():
    rng = torch.Generator().manual_seed(0)
    tiles = [
        Tile(torch.rand(3, 28, 28, generator=rng).repeat_interleave(8, 1).repeat_interleave(8, 2) * 2 - 1,
             torch.zeros(224, 224), name=str(n), cluster=str(n)) for n in range(24)
    ]  # fmt: skip
    real = {"train clusters": tiles[:12], "test clusters": tiles[12:]}
    thumbnail = to_rgb(torch.nn.functional.avg_pool2d(tiles[5].image, 8))
    fresh = [np.random.default_rng(n).integers(0, 256, (28, 28, 3)).astype(np.uint8) for n in range(3)]
    found = quality.drafts_near_training([*fresh, np.rot90(thumbnail)], real)
    assert (found["share"], found["draft"], found["training cluster"]) == (0.25, 3, "5") and found["smallest"] < 0.1


def test_appearance_of_twins_is_none():
    """Painters of one picture, of another for each seed, and of another for each context."""
    noise = np.random.default_rng(0)
    tiles = [
        Tile(to_tensor(noise.integers(0, 256, (32, 32, 3)).astype(np.uint8)), torch.zeros(32, 32), context=context)
        for context in quality.CONTEXTS for _ in range(6)
    ]  # fmt: skip
    ruler = quality.Ruler("pixels", lambda images: np.stack([x.numpy().ravel() for x in images]), {})
    picture = to_rgb(tiles[0].image)[None]

    class Twins:
        def twice(self, context, other, masks):
            return {"first": picture, "other seed": picture, "other context": to_rgb(tiles[7].image)[None]}

    masks = {context: [np.ones((32, 32), np.uint8)] for context in quality.CONTEXTS}
    found = quality.appearance(Twins(), masks, tiles, [ruler])
    assert found["masks"] == 1 and found["features"]["pixels"]["seeds"] == 0
    assert found["features"]["pixels"]["contexts"] == pytest.approx(1, abs=0.2)


def test_masks_that_cost_nothing_cost_nothing():
    """Tiles that are the same under drawn masks and under real ones lie equally far from real tiles, others do not."""
    tiles = [
        Tile(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1, torch.zeros(32, 32), context=c)
        for n, c in enumerate(quality.CONTEXTS * 8)
    ]  # fmt: skip
    made = {c: [to_tensor(to_rgb(tile.image)) for tile in tiles if tile.context == c] for c in quality.CONTEXTS}
    see = HandcraftedFeatures()
    ruler = quality.Ruler("by hand", see, {"test": see([tile.image for tile in tiles])})

    class Copies:
        def __init__(self, factor):
            self.factor = factor

        def under(self, context, masks):
            return [to_rgb(self.factor * image) for image in made[context][: len(masks)]]

    same, dark = (
        quality.masks_cost(Copies(factor), made, tiles, [ruler], np.random.default_rng(0)) for factor in (1, 0.2)
    )
    assert same["tiles"] == 24
    row = same["features"]["by hand"]
    assert row["drawn"] == pytest.approx(row["annotated"])
    other = dark["features"]["by hand"]
    assert other["annotated"] > other["drawn"] == pytest.approx(row["drawn"])


def test_a_sheet_of_few_tiles_is_narrow(tmp_path):
    tiles = [torch.full((3, 8, 8), n / 10) for n in range(5)]
    quality.sheet(tmp_path / "sheet.png", tiles[:4], tiles)
    assert Image.open(tmp_path / "sheet.png").size == (16, 32)
