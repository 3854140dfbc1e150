"""The report card: good, bad and copying models get the numbers they should, and bad input a sentence."""

import csv
import json
import re
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.nn.functional import avg_pool2d
from typer.testing import CliRunner

from diffinfinite_lite.cli import app
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.evaluation import report, rows
from diffinfinite_lite.evaluation.inputs import Sources, TileSet, cut_canvas, painted_canvas, read_run, read_tiles
from diffinfinite_lite.evaluation.page import headline
from diffinfinite_lite.evaluation.report import copies, evaluate, evaluate_run, failures, measure_files, write_report
from diffinfinite_lite.evaluation.rows import Draws, row
from diffinfinite_lite.metrics import fidelity, resampling, spatial
from diffinfinite_lite.metrics.extractors import extractor as named
from diffinfinite_lite.metrics.features import (
    Cached,
    HandcraftedFeatures,
    ModuleFeatures,
    class_probabilities,
    efficientnet_features,
)
from diffinfinite_lite.metrics.registry import METRICS, Measured, Metric, register
from diffinfinite_lite.models.efficientnet import EfficientNetLite0
from diffinfinite_lite.pipelines.pair import Pair
from diffinfinite_lite.sampling.plans import find_plan
from diffinfinite_lite.sampling.seams import window_lines


def colours(images):
    """Small, fast features: pooled colours of the four quarters."""
    return avg_pool2d(images, 16).flatten(1)


FAST, OTHER = ModuleFeatures(colours, "colours"), ModuleFeatures(lambda x: 2 * colours(x)[:, :6], "half")


def pictures(seed, count=80, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.3 * torch.randn(count, 3, 4, 4, generator=generator) + shift
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3).clamp(-1, 1)


def card(synthetic, train=None, real=None, **options):
    options = {"extractors": (FAST, OTHER), "repeats": 10, "generator": np.random.default_rng(0)} | options
    return evaluate(pictures(0) if real is None else real, synthetic, train, **options)


def numbers(result, features="colours"):
    return {row["name"]: row for row in result["rows"] if row["features"] == features}


def test_good_bad_and_stolen():
    train = pictures(1)
    good, bad, stolen = (numbers(card(x, train)) for x in (pictures(2), pictures(2, shift=0.4), train))
    assert good["FD"]["matched"] < 2 * good["FD"]["real"] < 0.2 * bad["FD"]["matched"]
    assert good["precision"]["value"] > 0.7 > 0.3 > bad["precision"]["value"]
    assert good["told apart"]["value"] < 0.65 < 0.9 < bad["told apart"]["value"]
    assert stolen["A"]["value"] == 0 < 0.3 < good["A"]["value"] and good["A"]["real"] > 0.3
    assert stolen["C_T"]["value"] < -5 < -3 < good["C_T"]["value"]
    sketch = card(pictures(2), train)["sketch"]
    assert np.mean(sketch["on_real"]) == good["precision"]["value"] and len(sketch["on_synthetic"]) == 80
    assert np.mean(sketch["on_synthetic"]) == good["recall"]["value"] and np.shape(sketch["real"]) == (80, 2)
    assert all(r["low"] <= r["value"] <= r["high"] for r in good.values())
    assert stolen["C_T"]["high"] < -5 < good["C_T"]["low"] < 0 < good["C_T"]["high"]  # no bound at 0
    told = [good["told apart"], bad["told apart"]]
    assert 0 < told[0]["low"] < 0.5 < told[0]["high"] < told[1]["low"] <= told[1]["high"] <= 1


def copying_row(real, made, train, generator, repeats, notes):
    """C_T as the card has it, and what its notes say."""
    given = {"real": real, "synthetic": made, "train": train, "draws": Draws(generator, repeats)}
    measure = partial(rows.beside_held_out, **given, notes=notes, on="x")
    return {row["name"]: row for row in rows.rows_on("held-out", "x", measure, notes)}["C_T"]


def test_the_interval_of_ct_is_as_wide_as_theory_says():
    """Of one law z has variance 1 at any number of tiles; on halves of them it would come out 1/2."""
    rng = np.random.default_rng(0)
    for count in (80, 300):
        train, real, made = rng.normal(size=(80, 4)), rng.normal(size=(count, 4)), rng.normal(size=(count, 4))
        copying = copying_row(real, made, train[:3], rng, 400, notes := [])  # so few that there is one cell
        assert copying["about"].endswith("1 cell") and not notes
        assert copying["high"] - copying["low"] == pytest.approx(2 * 1.96, rel=0.15)


def test_a_ct_without_interval_is_reported_with_a_note(monkeypatch):
    """Redrawn tiles may leave no cell that counts, though those at hand have one."""
    train, real, made = np.random.default_rng(0).normal(size=(3, 40, 4))

    def refuse(*_, replace=False, **options):
        if replace:
            raise ValueError("expected a cell")
        return resampling.Interval(0.5, 0.4, 0.6)

    monkeypatch.setattr(rows, "bootstrap", refuse)
    copying = copying_row(real, made, train, np.random.default_rng(0), 10, notes := [])
    assert copying["low"] is copying["high"] is None and np.isfinite(copying["value"])
    assert notes == ["The interval of C_T on x was not measured: expected a cell."]


@pytest.mark.parametrize(
    "name, low, high",
    [("precision", 0, 1), ("told apart", 0, 1), ("A", 0, 1), ("IS", 1, 2), ("FD", 0, 2), ("KD", -2, 2), ("C_T", -2, 2)],
)
def test_intervals_end_where_the_number_does(name, low, high):
    found = row(METRICS[name], "colours", Measured(1, low=-2, high=2))
    assert (found["low"], found["high"]) == (low, high)


def test_same_seed_same_card():
    assert card(pictures(2), pictures(1)) == card(pictures(2), pictures(1))


def test_page_and_json(tmp_path):
    real, synthetic, train = pictures(0), pictures(2, 40), pictures(1)
    result = card(synthetic, train)
    page = write_report(result, tmp_path / "out", real, synthetic, train, title="Lung <1>").read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == result
    assert "Lung &lt;1&gt;" in page and "nan" not in page.lower().split("base64")[0]
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page
    assert not re.search(r"<img (?!alt=\"[^\"]+\")", page) and page.count('role="img" aria-label') == 2
    assert page.count("<img ") == 8 + 8 + 2 * len(result["nearest"])
    assert [p["distance"] for p in result["nearest"]] == sorted(p["distance"] for p in result["nearest"])


def test_without_training_tiles(tmp_path):
    result = card(pictures(2))
    assert not {"A", "C_T"} & set(numbers(result)) and any("memorisation" in note for note in result["notes"])
    assert write_report(result, tmp_path, pictures(0), pictures(2)).exists()


def test_default_extractors():
    names = {row["features"] for row in card(pictures(2, 12), real=pictures(0, 12), extractors=None)["rows"]}
    assert names == {"EfficientNetLite0", "Handcrafted", "Space"}


def test_inception_score_where_there_are_classes(tmp_path):
    """The score of the network's own softmax, that of real tiles at the same count beside; a cache keeps classes."""

    class Colourful(EfficientNetLite0):
        """Its classes are the colours of the quarters."""

        def features(self, images):
            return colours(images)

        def forward(self, images):
            return 20 * colours(images)

    network = Colourful()
    plain = ModuleFeatures(network.features, "EfficientNetLite0", classes=network)
    assert class_probabilities(efficientnet_features())(pictures(0, 1)).shape == (1, 1000)
    real, made = pictures(0, 24), pictures(2, 16)
    with torch.inference_mode():
        expected, upper = (fidelity.inception_score(network(x).softmax(1).numpy()) for x in (made, real))
    found = numbers(card(made, real=real, extractors=(plain, OTHER)), "EfficientNetLite0")["IS"]
    assert found["value"] == pytest.approx(expected, rel=1e-4) and expected > 1.5
    assert 1 <= found["low"] <= found["value"] <= found["high"]
    assert 1 < found["real"] < upper and 1 < found["matched"] < expected  # fewer tiles, fewer classes seen
    cached = Cached(plain, tmp_path)
    assert numbers(card(made, real=real, extractors=(cached, OTHER)), "EfficientNetLite0")["IS"] == found
    assert len(list(tmp_path.glob("*.npy"))) == 2 * (24 + 16)
    for other in (FAST, HandcraftedFeatures(), Cached(FAST, tmp_path)):
        assert class_probabilities(other) is None
    assert "IS" not in numbers(card(made))


@pytest.mark.parametrize("which", ["real and synthetic", "synthetic", "training"])
def test_identical_features_give_a_sentence_and_no_nan(which, tmp_path):
    same = torch.zeros(20, 3, 32, 32)
    real = same if which == "real and synthetic" else pictures(0)
    synthetic, train = (pictures(2), same) if which == "training" else (same, pictures(1))
    result = card(synthetic, real=real, train=train)
    for word in which.split(" and "):
        assert any(f"All {word} tiles have the same features on colours" in note for note in result["notes"])
    json.dumps(result, allow_nan=False)
    page = write_report(result, tmp_path, real, synthetic, train).read_text()
    assert not re.search(r"\b(nan|inf)\b", re.sub(r'base64,[^"]*', "", page).lower())


def test_real_tiles_among_the_synthetic_are_said():
    """Copies of what they are judged by score perfectly, and no training tiles are there to find them."""
    result = card(pictures(0))
    assert numbers(result)["FD"]["value"] == 0 and numbers(result)["precision"]["value"] == 1
    for name in ("colours", "half"):
        said = f"80 synthetic tiles have the same features as a real one ({name}): tile 0 (real: tile 0), "
        assert any(note.startswith(said) and note.endswith(" and 75 more.") for note in result["notes"])
    one = card(torch.cat([pictures(0, 1), pictures(2, 20)]))["notes"]
    assert "1 synthetic tile has the same features as a real one (colours): tile 0 (real: tile 0)." in one
    twice = card(torch.cat([pictures(0, 1), pictures(0, 1), pictures(2, 20)]))["notes"]
    both = "tile 0 (real: tile 0), tile 1 (real: tile 0)"  # synthetic ones are counted
    assert f"2 synthetic tiles have the same features as a real one (colours): {both}." in twice
    assert not any("same features" in note for note in card(pictures(2))["notes"])


def test_what_was_looked_for_without_clusters_is_said():
    note = "Clusters were not given: a leak between real and train was looked for among identical features only."
    real, train = TileSet(pictures(0), clusters=["a", "b"]), TileSet(pictures(1), clusters=["c"])
    assert note not in card(pictures(2), train, real)["notes"]
    assert note in card(pictures(2), train)["notes"] and note in card(pictures(2), pictures(1), real)["notes"]
    assert note in card(pictures(2), pictures(1))["notes"] and note not in card(pictures(2))["notes"]


@pytest.fixture
def add_metric():
    """Register metrics for one test."""
    before = dict(METRICS)
    yield lambda *arguments, **options: register(Metric(*arguments, **options))
    METRICS.clear()
    METRICS.update(before)


def test_a_registered_metric_is_on_the_card_and_its_page(add_metric, tmp_path):
    """Its value against numpy, an interval within its bounds, the same of real tiles, its direction and explanation."""
    add_metric(
        "spread ratio",
        lambda real, synthetic: synthetic.std() / real.std(),
        better="one",
        bounds=(0, 1.001),
        about="standard deviations <toy>",
        sentence=lambda row: f"The toy on {row['features']} is {row['value']:.2f}.",
    )
    add_metric("brightness", lambda image: float(image.mean()), "same", (-1, 1), about="mean of tiles", on="tile")
    add_metric("share of the corner", lambda mask: float(mask[0, 0] == 3), "same", (0, 1), on="mask")
    add_metric("far", lambda train, x: float(np.abs(x).mean() / np.abs(train).mean()), "real", on="training")
    real, made = pictures(0), 0.9 * pictures(2)
    result = card(TileSet(made, masks(1)), pictures(1), TileSet(real, masks(0)))
    toy = numbers(result)["spread ratio"]
    features = [FAST(x) for x in (real, made)]
    scaled = [(x - features[0].mean(0)) / features[0].std(0) for x in features]
    assert toy["value"] == pytest.approx(scaled[1].std() / scaled[0].std(), abs=1e-6)
    assert 0 < toy["low"] < toy["value"] < toy["high"] <= 1.001 and toy["matched"] < toy["real"] < 1.1
    assert "spread ratio" in numbers(result, "half")
    space = numbers(result, "Space")
    assert space["brightness"]["value"] == pytest.approx(float(made.mean()), abs=1e-5)
    assert space["brightness"]["real"] == pytest.approx(float(real.mean()), abs=1e-5)
    assert space["brightness"]["low"] < space["brightness"]["value"] < space["brightness"]["high"]
    assert space["share of the corner"]["value"] == np.mean([m[0, 0] == 3 for m in masks(1)])
    assert "far" in numbers(result) and numbers(result)["far"]["real"] is not None
    page = write_report(result, tmp_path, real, made, pictures(1)).read_text()
    assert "standard deviations &lt;toy&gt;; 1 without traces" in page and "mean of tiles; as Real is best" in page
    assert f"The toy on colours is {toy['value']:.2f}." in headline(result)


def test_a_metric_that_cannot_be_measured_is_a_note(add_metric):
    def refuse(*_, **options):
        raise ValueError("expected another set")

    for kind in ("features", "training", "held-out", "tile"):
        add_metric(f"never {kind}", refuse, "low", on=kind)
    result = card(pictures(2), pictures(1))
    for kind in ("features", "training", "held-out"):
        assert f"never {kind} on colours was not measured: expected another set." in result["notes"]
    assert any("never tile on Space was not measured: expected synthetic tiles" in note for note in result["notes"])
    assert "FD" in numbers(result) and not any("never" in row["name"] for row in result["rows"])


def test_limits():
    result = card(pictures(2, shift=0.4), pictures(1))
    assert failures(result, {"precision": (0.0, None)}) == []
    broken = failures(result, {"precision": (0.9, None), "FD": (None, 0.1)})
    assert len(broken) == 4 and "expected at least 0.9" in " ".join(broken)
    with pytest.raises(ValueError, match="fid"):
        failures(result, {"fid": (0, 1)})


@pytest.mark.parametrize(
    "options, words",
    [
        ({"synthetic": []}, "at least 12 synthetic images, got 0"),
        ({"synthetic": pictures(2, 1)}, "got 1"),
        ({"synthetic": pictures(2, 3)}, "at least 12 synthetic images, got 3"),  # under k + 1 neighbours
        ({"synthetic": pictures(2), "train": pictures(1, 1)}, "at least 2 train images, got 1"),
        ({"synthetic": pictures(2)[..., :24]}, "of one size"),
        ({"synthetic": [*pictures(2), torch.zeros(3, 16, 32)]}, "one size"),
        ({"synthetic": [torch.zeros(1, 32, 32)] * 20}, "RGB"),
        ({"synthetic": pictures(2), "train": pictures(0)}, r"got 80 that are, a leak: tile 0 \(in train: tile 0\), "),
        (
            {
                "synthetic": pictures(2),
                "real": TileSet(pictures(0), clusters=["a", "b"]),
                "train": TileSet(pictures(1), clusters=["b"]),
            },
            "got 1 in both, a leak: ",
        ),
    ],
)
def test_bad_input_is_a_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        card(**options)


# Space


def masks(seed, count=20, size=64):
    rng = np.random.default_rng(seed)
    return [(gaussian_filter(rng.normal(size=(size, size)), 6) > 0).astype(int) * 2 + 1 for _ in range(count)]


def canvas(plan="sliding-window", patch=64, size=320, seam=0.0):
    """A canvas of pink tissue whose long range is known, with a step at every line where windows meet."""
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.normal(size=(size, size)), 40)
    image = 0.4 * field / field.std() + 0.05 * rng.normal(size=(size, size))
    for line in window_lines(find_plan("sliding-window"), (size // 8, size // 8), patch // 8).rows:
        image[8 * line :] += seam
    image = np.stack([image - 0.1, image - 0.4, image + 0.1]) / 2
    run = {"size": [size, size], "plan": plan, "patch": patch, "context": "normal", "steps": 2, "seed": 0}
    return Pair(to_rgb(torch.from_numpy(image)), masks(1, 1, size)[0].astype(np.uint8), [], run)


def test_a_canvas_with_and_without_seams(tmp_path):
    clean, cut = (evaluate_run(canvas(seam=s), generator=np.random.default_rng(0))[0] for s in (0, 0.2))
    assert numbers(clean, "Space")["seams"]["value"] == pytest.approx(1, abs=0.05)
    assert numbers(cut, "Space")["seams"]["value"] > 1.1 and numbers(cut, "Space")["seams"]["p"] < 0.05
    assert "no clear trace of windows" in headline(clean)[0] and ": a trace of windows" in headline(cut)[0]
    assert failures(cut, {"seams": (None, 1.1)}) and not failures(clean, {"seams": (None, 1.1)})
    assert "no real tiles" in clean["notes"][0]
    page = write_report(clean, tmp_path, None, [], title="Canvas", pair=canvas()).read_text()
    assert "plan sliding-window" in page and page.count("<img ") == 2 and "carcinoma" in page


def test_long_range_of_a_canvas():
    """Tissue that hangs together over 40 px against windows of 64 px pasted beside each other."""
    whole = canvas(size=512)
    rng = np.random.default_rng(1)
    order = rng.permutation(64)
    pieces = [whole.image[y : y + 64, x : x + 64] for y in range(0, 512, 64) for x in range(0, 512, 64)]
    rows = [np.hstack([pieces[i] for i in order[8 * j : 8 * j + 8]]) for j in range(8)]
    pasted = Pair(np.vstack(rows), whole.mask, [], whole.run)
    far, near = ({r["name"]: r["value"] for r in evaluate_run(p, generator=rng)[0]["rows"]} for p in (whole, pasted))
    assert far["canvas correlation length"] > 1.5 * near["canvas correlation length"]
    assert far["long-range correlation"] > near["long-range correlation"] + 0.03


def test_rows_of_masks_are_the_spatial_functions():
    real, made = masks(0), masks(1)
    result = card(TileSet(pictures(2), made), real=TileSet(pictures(0), real))
    rows = numbers(result, "Space")
    shares = [spatial.label_fractions(m, 6).mean(0) for m in (real, made)]
    assert rows["share of carcinoma"]["value"] == pytest.approx(shares[1][1], abs=1e-5)
    assert rows["share of stroma"]["real"] == pytest.approx(shares[0][3], abs=1e-5)
    assert rows["share of stroma"]["low"] < rows["share of stroma"]["value"] < rows["share of stroma"]["high"]
    assert "share of necrosis" not in rows
    expected = np.mean([spatial.boundary_density(m) for m in made])
    assert rows["boundary density"]["value"] == pytest.approx(expected, abs=1e-5)
    areas = [r.area for m in made for r in spatial.regions(m, minimum=64) if r.label == 3]
    assert rows["stroma region"]["value"] == np.median(areas)
    alone = numbers(card(TileSet(pictures(2), made)), "Space")
    assert alone["boundary density"]["real"] is None


def test_a_canvas_is_cut_and_measured_against_real_tiles(tmp_path):
    pair = canvas(size=128)
    result, tiles = evaluate_run(
        pair, pictures(0), pictures(1), (FAST, OTHER), generator=np.random.default_rng(0), repeats=5
    )
    assert len(tiles) == result["counts"]["synthetic"] == 16
    np.testing.assert_array_equal(to_rgb(tiles[5]), pair.image[32:64, 32:64])
    assert {"FD", "A"} <= set(numbers(result)) and "seams" in numbers(result, "Space")
    few, tiles = evaluate_run(pair, pictures(0).repeat(1, 1, 2, 2), generator=np.random.default_rng(0))
    assert not tiles and "gives 4 tiles" in few["notes"][0]
    write_report(few, tmp_path, pictures(0).repeat(1, 1, 2, 2), tiles, pair=pair)
    assert cut_canvas(np.zeros((9, 9, 3)), (10, 10)) == []


# Folders


def test_the_command_takes_a_run_and_names_of_features(tmp_path):
    canvas(size=128, seam=0.3).save(tmp_path / "run")
    arguments = ["evaluate", "--run", tmp_path / "run" / "run.json", "--out", tmp_path / "card"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--limit", "seams::1.1"])
    assert isinstance(done.exception, ValueError) and "seams on Space is" in str(done.exception)
    assert (tmp_path / "card" / "report.html").exists() and "no real tiles" in done.stderr
    real = folder(tmp_path / "real", pictures(0, 12))
    arguments += ["--real", real, "--features", "vgg-19"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert "got 'vgg-19'" in str(done.exception)


def folder(path, images, names=None):
    path.mkdir()
    for i, image in enumerate(images):
        name = names[i] if names else f"{i:03d}.png"
        Image.fromarray(to_rgb(image)).save(path / name)
    return path


def manifest(path, clusters):
    with (path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "cluster"), *clusters.items()])


def measure(*paths, cache=None, **more):
    return measure_files(Sources(*paths, **more), named("handcrafted"), cache=cache)


def test_training_tiles_passed_off_as_synthetic_fail_the_command(tmp_path):
    """Exit code 1 and one sentence with both numbers; fresh tiles of the same law pass the same limits."""
    real, train, fresh = (folder(tmp_path / n, pictures(i, 60)) for i, n in enumerate(("real", "train", "fresh")))
    stolen = shutil.copytree(train, tmp_path / "stolen")

    def arguments(made):
        places = {"real": real, "synthetic": made, "train": train, "out": tmp_path / f"card of {made.name}"}
        options = [str(part) for name, place in places.items() for part in (f"--{name}", place)]
        return ["evaluate", *options, "--features", "handcrafted", "--limit", "A:0.2:", "--limit", "C_T:-3:"]

    def measured(made):
        return numbers(json.loads((tmp_path / f"card of {made.name}" / "report.json").read_text()), "Handcrafted")

    command = [sys.executable, "-m", "diffinfinite_lite.cli"]
    done = subprocess.run([*command, *arguments(stolen)], text=True, capture_output=True, check=False, timeout=300)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"^diffinfinite: A on Handcrafted is 0, .*; C_T on Handcrafted is -", done.stderr, re.M)
    assert re.search(r"^copies: on Handcrafted the synthetic tiles are nearer .* \(C_T = -", done.stderr, re.M)
    assert measured(stolen)["A"]["value"] == 0 and measured(stolen)["C_T"]["high"] < -3
    done = CliRunner().invoke(app, arguments(fresh))
    assert done.exit_code == 0, done.exception
    assert "copies" not in done.output
    assert measured(fresh)["A"]["value"] > 0.2 and measured(fresh)["C_T"]["value"] > -3


def test_two_folders_and_a_canvas_from_disk(tmp_path):
    real, made = folder(tmp_path / "real", pictures(0, 16)), folder(tmp_path / "made", pictures(2, 16))
    for i, mask in enumerate(masks(3, 16, 32)):
        Image.fromarray(mask.astype(np.uint8)).save(made / f"{i:03d}_mask.png")
    result, shown = measure(real, made, cache=tmp_path / "cache")
    assert len(shown["synthetic"]) == 16 and "share of stroma" in numbers(result, "Space")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 32
    again, _ = measure(real, made, cache=tmp_path / "cache")
    assert again == result
    pair = canvas(size=128)
    pair.save(tmp_path / "run")
    result, shown = measure(real, None, tmp_path / "run" / "run.json")
    assert result["counts"]["synthetic"] == 16 and result["run"]["plan"] == "sliding-window"
    np.testing.assert_array_equal(shown["pair"].mask, pair.mask)
    write_report(result, tmp_path / "card", **shown)
    for arguments in ((real, None), (None, made), (real, made, tmp_path / "run" / "run.json")):
        with pytest.raises(ValueError, match="real and synthetic folders, or a run"):
            measure(*arguments)


def test_a_shared_cluster_is_refused(tmp_path):
    """Rotated, paler copies are found by the manifest only: their pixels and features differ."""
    real, made = folder(tmp_path / "real", pictures(0, 16)), folder(tmp_path / "made", pictures(2, 16))
    train = folder(tmp_path / "train", 0.9 * pictures(0, 16).rot90(1, (2, 3)))
    assert measure(real, made, train=train)[0]["counts"]["train"] == 16
    manifest(real, {f"{i:03d}.png": f"real {i}" for i in range(16)})
    manifest(train, {f"{i:03d}.png": "real 3" if i == 9 else f"train {i}" for i in range(16)})
    with pytest.raises(ValueError, match="got 1 in both, a leak: "):
        measure(real, made, train=train)
    manifest(train, {"000.png": "x"})
    with pytest.raises(ValueError, match=r"15 that are not, first 001\.png"):
        measure(real, made, train=train)


def test_leaked_tiles_are_named(tmp_path):
    """The field's case 02: one real tile lies in train under another name."""
    real, made = folder(tmp_path / "real", pictures(0, 16)), folder(tmp_path / "made", pictures(2, 16))
    train = folder(tmp_path / "train", pictures(1, 16))
    shutil.copy(real / "005.png", train / "other.png")
    with pytest.raises(ValueError, match=r"got 1 that are, a leak: 005\.png \(in train: other\.png\)$"):
        measure(real, made, train=train)
    (train / "other.png").unlink()
    manifest(real, {f"{i:03d}.png": f"real {i}" for i in range(16)})
    manifest(train, {f"{i:03d}.png": "real 3" if i == 9 else f"train {i}" for i in range(16)})
    with pytest.raises(ValueError, match=r"got 1 in both, a leak: real 3 \(003\.png\)$"):
        measure(real, made, train=train)


def test_copies_are_said_in_words():
    fresh = {"name": "C_T", "features": "colours", "value": -2.0, "low": None, "high": None, "real": 0.1}
    honest = {"name": "A", "features": "colours", "value": 0.4, "low": 0.3, "high": 0.5, "real": 0.45}
    assert copies({"rows": [fresh, honest, honest | {"high": None}, honest | {"real": None}]}) == []
    found = copies({"rows": [fresh | {"value": -5.04}, honest | {"value": 0.0, "high": 0.0}]})
    assert [each.startswith("copies: on colours ") for each in found] == [True, True]
    assert "(C_T = -5.0)" in found[0] and "100% of the synthetic tiles" in found[1] and "55% (A)" in found[1]


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    result = card(pictures(2))
    page = write_report(result, tmp_path, pictures(0), pictures(2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    for name in ("page", "move"):
        with monkeypatch.context() as patch:
            patch.setattr(report, name, full)
            with pytest.raises(OSError, match=r"expected room for a report in .*: No space left"):
                write_report(result | {"notes": ["new"]}, tmp_path, pictures(0), pictures(2))
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert page.name in before


def test_a_manifest_may_lie_above(tmp_path):
    folder(tmp_path / "test", pictures(0, 2))
    manifest(tmp_path, {"test/000.png": "a", "test/001.png": "b", "train/000.png": "c"})
    assert read_tiles(tmp_path / "test", "real").clusters == ["a", "b"]


def test_bad_folders_are_a_sentence(tmp_path):
    good = pictures(0, 14)
    (tmp_path / "empty").mkdir()
    mixed = folder(tmp_path / "mixed", [*good, torch.zeros(3, 16, 32)])
    grey, clear, opaque = (folder(tmp_path / name, good) for name in ("grey", "clear", "opaque"))
    Image.fromarray(to_rgb(good[0])).convert("L").save(grey / "005.png")
    for path, alpha in ((clear, 99), (opaque, 255)):
        rgba = Image.fromarray(to_rgb(good[0])).convert("RGBA")
        rgba.putalpha(alpha)
        rgba.save(path / "007.png")
    for path, words in (
        (tmp_path / "empty", "real: expected a folder with pictures"),
        (tmp_path / "nowhere", "real: expected a folder with pictures"),
        (mixed, r"one size, got 32 x 32 px \(000\.png\) and 16 x 32 px \(014\.png\)"),
    ):
        with pytest.raises(ValueError, match=words):
            read_tiles(path, "real")
    for path, count, words in (
        (grey, 13, r"Of real, 1 of 14 files could not be read, first 005.png, which is left out: .* in grey"),
        (clear, 14, r"Of real, 007.png: has transparent parts, which were laid on white\."),
        (opaque, 14, r""),
    ):
        read = read_tiles(path, "real")
        assert len(read) == count and re.fullmatch(f"({words}.*)?", " ".join(read.notes))


def test_corrupt_files_are_left_out_and_said(tmp_path):
    real, made = folder(tmp_path / "real", pictures(0, 16)), folder(tmp_path / "made", pictures(2, 16))
    (made / "004.png").write_bytes((made / "004.png").read_bytes()[:60])
    result, shown = measure(real, made)
    assert len(shown["synthetic"]) == 15
    assert "Of synthetic, 1 of 16 files could not be read, first 004.png" in result["notes"][0]
    for path in made.iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="synthetic: expected readable pictures, got 16"):
        measure(real, made)


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    """Its plan was called sampler."""
    canvas("multidiffusion", size=128).save(tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    run = json.loads(file.read_text())
    run["sampler"] = run.pop("plan")
    file.write_text(json.dumps(run))
    found, now = (painted_canvas(pair) for pair in (read_run(file), canvas("multidiffusion", size=128)))
    assert (found.rows, found.columns, found.patch) == (now.rows, now.columns, 64) and found.fixed


def test_bad_runs_are_a_sentence(tmp_path):
    canvas(size=128).save(tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    assert read_run(file).run["patch"] == 64
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file.with_name("image.png"))
    with pytest.raises(ValueError, match=r"of \[128, 128\] px, got \[64, 64\]"):
        read_run(file)
    for text, words in (("[]", "with size, plan, patch in it"), ("x", "expected a run.json, got")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_run(file)
    with pytest.raises(ValueError, match="of a generated canvas"):
        read_run(tmp_path / "none.json")
