"""The report card: good, bad and thieving models end up where they belong, and bad input in a sentence."""

import json
import re

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from diffinfinite_lite.features import ModuleFeatures
from diffinfinite_lite.report import evaluate, failures, write_report


def colours(images):
    """Small, fast features: pooled colours of the four quarters."""
    return avg_pool2d(images, 16).flatten(1)


FAST, OTHER = ModuleFeatures(colours, "colours"), ModuleFeatures(lambda x: 2 * colours(x)[:, :6], "half")


def pictures(seed, count=80, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    coarse = 0.3 * torch.randn(count, 3, 4, 4, generator=generator) + shift
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3).clamp(-1, 1)


def card(synthetic, train=None, real=None, **options):
    options = {
        "extractor": FAST,
        "control": OTHER,
        "repeats": 10,
        "generator": np.random.default_rng(0),
    } | options
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
    assert all(r["low"] <= r["value"] <= r["high"] for r in good.values() if r["low"] is not None)


def test_same_seed_same_card():
    assert card(pictures(2), pictures(1)) == card(pictures(2), pictures(1))


def test_page_and_json(tmp_path):
    real, synthetic, train = pictures(0), pictures(2, 40), pictures(1)
    result = card(synthetic, train)
    page = write_report(result, tmp_path / "out", real, synthetic, train, title="Lung <1>").read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == result
    assert "Lung &lt;1&gt;" in page and "nan" not in page.lower().split("base64")[0]
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page
    assert page.count("<img ") == 8 + 8 + 2 * len(result["nearest"])
    assert [p["distance"] for p in result["nearest"]] == sorted(p["distance"] for p in result["nearest"])


def test_without_training_tiles(tmp_path):
    result = card(pictures(2))
    assert not {"A", "C_T"} & set(numbers(result)) and "memorisation" in result["notes"][0]
    assert write_report(result, tmp_path, pictures(0), pictures(2)).exists()


def test_default_extractors():
    names = {
        row["features"]
        for row in card(pictures(2, 12), real=pictures(0, 12), extractor=None, control=None)["rows"]
    }
    assert names == {"EfficientNetLite0", "Handcrafted"}


def test_identical_features_give_a_sentence_and_no_nan():
    same = torch.zeros(20, 3, 32, 32)
    result = card(same, real=same, train=pictures(1))
    assert any("same features" in note for note in result["notes"])
    json.dumps(result, allow_nan=False)


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
        ({"synthetic": pictures(2)[..., :24]}, "of one size"),
        ({"synthetic": [*pictures(2), torch.zeros(3, 16, 32)]}, "one size"),
        ({"synthetic": [torch.zeros(1, 32, 32)] * 20}, "RGB"),
        ({"synthetic": pictures(2), "train": pictures(0)}, "in train, got 80 that are: a leak"),
        (
            {"synthetic": pictures(2), "real_clusters": ["a", "b"], "train_clusters": ["b"]},
            "got 1 in both: a leak",
        ),
    ],
)
def test_bad_input_is_a_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        card(**options)
