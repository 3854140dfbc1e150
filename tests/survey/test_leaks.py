"""The leak check: finds what was planted, nothing in twins, and says what follows from the numbers."""

import json

import numpy as np
import pandas as pd
import pytest

from diffinfinite_lite.survey.leaks import (
    LOOKS,
    RINGS,
    SPECTRUM,
    chapter_9,
    classify,
    lattice,
    ring_power,
    sentence,
    separability,
    shares,
)
from diffinfinite_lite.survey.pictures import FEATURES, SIDES, Field, Processing, make_items
from tests.survey.toys import make_fields, tissue


class MeanColour:
    """Stands in for EfficientNet-Lite, which is tested elsewhere."""

    name = "mean colour"

    def __call__(self, images):
        return np.array([image.mean(dim=(1, 2)).double().numpy() for image in images])


def planted(change, count=16):
    """Noise of one law on both sides; `change` is made to the synthetic ones alone."""
    fields = [Field(tissue(i, "small" if i < count else "large"), True, "camera") for i in range(count + 4)]
    fields += [
        Field(change(tissue(100 + i, "small" if i < count else "large")), False, "model") for i in range(count + 4)
    ]
    return make_items(fields, Processing(quality=95))


def woven(rgb, period=4, depth=6):
    """A grid that a decoder leaves: every few pixels a darker line, far too faint to move brightness or contrast."""
    values = rgb.astype(float)
    values[::period] -= depth
    values[:, ::period] -= depth
    return np.clip(values + 2 * depth / period, 0, 255).round().astype(np.uint8)


def test_the_spectrum_finds_a_woven_grid_that_does_not_change_brightness():
    items = planted(woven)
    found = shares(classify(items, MeanColour()), ("look", "size"))
    assert found.loc[("spectrum", "small"), "low"] > 0.8
    auc = separability(items)["auc"]
    assert auc["small", "period 4 px"] < 0.02 and auc["large", "period 4 px"] < 0.02
    assert 0.2 < auc["small", "brightness"] < 0.8
    assert 0.1 < auc["small", "period 8 px"] < 0.9


def test_a_blur_of_one_side_is_found_at_the_top_of_the_spectrum():
    """What the first survey did to its real half, and called equal."""
    blur = Processing(sigma=0.8)
    auc = separability(planted(blur))["auc"]
    assert auc["small", f"ring {RINGS}"] > 0.98
    assert shares(classify(planted(blur), MeanColour())).loc["spectrum", "low"] > 0.8


def test_a_paler_source_is_found_by_numbers_and_twins_by_nothing():
    dark = planted(lambda rgb: (255 * (rgb / 255.0) ** 1.4).round().astype(np.uint8))
    assert separability(dark).loc[("small", "brightness"), "auc"] > 0.9
    assert shares(classify(dark, MeanColour())).loc["numbers", "low"] > 0.7
    honest = make_items(make_fields(16))
    found = shares(classify(honest, MeanColour()), ("look", "size"))
    assert (found.xs("small", level="size")["high"] < 0.85).all()
    assert list(separability(honest).index) == [(size, name) for size in SIDES for name in (*FEATURES, *SPECTRUM)]


def test_shares_count_every_picture_once_a_look():
    items = make_items(make_fields(4))
    calls = classify(items, MeanColour())
    assert len(calls) == len(LOOKS) * len(items) and set(calls["item"]) == {item.name for item in items}
    by = shares(calls, ("look", "origin"))
    assert (by["n"] == len(items) / 2).all()
    assert np.allclose(by["accuracy"] * by["n"], calls.groupby(["look", "origin"])["right"].sum().reindex(by.index))
    with pytest.raises(ValueError, match="at least two real and two synthetic small"):
        classify([item for item in items if item.size == "small"][:1], MeanColour())


@pytest.mark.parametrize("period", [2, 4, 8])
def test_lattice_is_one_for_noise_and_finds_its_period_only(period):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(416, 416))
    grid = noise + 2 * (np.arange(416) % period == 0)
    for other in (2, 4, 8):
        if period % other and other % period:
            assert 0.7 < lattice(grid, other) < 1.4
    assert 0.7 < lattice(noise, period) < 1.4 < 5 < lattice(grid, period)
    assert lattice(np.zeros((64, 64)), period) == 1


def test_rings_are_shares_of_all_power_up_to_nyquist():
    noise = np.random.default_rng(0).normal(size=(208, 208))
    power = 10 ** ring_power(noise)
    area = np.diff(np.arange(RINGS + 1) ** 2) / RINGS**2 * np.pi / 4  # of a ring in the square of all frequencies
    assert np.allclose(power / power.sum(), area / area.sum(), atol=0.01)
    for ring in (2, 7):
        wave = np.sin(2 * np.pi * (ring + 0.5) / (2 * RINGS) * np.arange(208))[None].repeat(208, 0)
        assert int(ring_power(wave).argmax()) == ring


def test_chapter_9_is_quoted_where_its_report_lies(tmp_path):
    assert chapter_9(tmp_path) is None
    row = {"features": "EfficientNetLite0", "tiles": "generated", "number": "told apart", "generated": 0.9}
    rows = [row | {"tiles": "reconstructed", "generated": 0.6}, row]
    (tmp_path / "quality.json").write_text(json.dumps({"fidelity": rows}))
    assert chapter_9(tmp_path) == 0.9
    assert 0.5 < chapter_9() < 1  # of this checkout


def test_the_sentence_follows_from_the_numbers():
    def said(learned, spectrum, numbers):
        measured = zip(LOOKS, (numbers, spectrum, learned), strict=True)
        rows = {look: (60, share, share - 0.1, share + 0.1) for look, share in measured}
        return sentence(pd.DataFrame.from_dict(rows, orient="index", columns=["n", "accuracy", "low", "high"]), 0.97)

    for call in (said(0.9, 0.8, 0.5), said(0.9, 0.5, 0.8)):
        assert "nothing to do with tissue" in call and "90% of these 60 pictures" in call and "97% of many" in call
    assert "can be learned" in said(0.9, 0.5, 0.5) and "better than guessing" in said(0.55, 0.5, 0.5)
