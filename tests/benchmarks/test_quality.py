"""benchmarks/quality.py: the figures that it writes into the model card, from results with known answers."""

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest

SPEC = importlib.util.spec_from_file_location("quality", Path(__file__).parents[2] / "benchmarks/quality.py")
quality = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(quality)


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
        "faithfulness": {"generated": 0.62, "real": 0.71, "tiles": [9, 9]},
        "sensitivity": {"changed": 20.0, "elsewhere": 0.0},
    }


def cells(text):
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {name.strip(): [cell.strip() for cell in rest] for name, *rest in lines}


def test_figures_of_the_card_are_those_of_the_result():
    rows = cells(quality.figures(result()))
    assert rows["reconstruction, LC25000 test tiles"] == ["30.0 dB, SSIM 0.900", "✓ at least 30 dB"]
    assert rows["reconstruction, 8 real DiffInfinite patches"] == ["27.0 dB, SSIM 0.800", "✗ at least 27 dB"]  # 26.99
    assert rows["Fréchet distance of generated tiles, over real to real"] == ["1.0", "✓ at most 3"]
    assert rows["Fréchet distance of tiles cut from canvases, over real to real"] == ["2.0", "–"]
    assert rows["told from real by logistic regression"][0] == "75.6%"
    assert rows["mean IoU of a segmenter, generated pairs / real tiles"] == ["0.62 / 0.71", "✓ within 0.10"]
    assert rows["authenticity A, generated / unseen real"] == ["0.500 / 0.500", "✓ no lower than real"]
    assert rows["Fréchet distance, 20 DPM-Solver++ steps over 250 DDIM steps"] == ["-20.0%", "✓ at most +10%"]
    text = quality.figures(result())
    assert "1,200 generated tiles of 224 px, 400 of each context" in text and "9 of 10 bars" in text
    assert "on 450 cut from canvases (mixture)" in text
    assert "(20 dpm-solver++ steps, ω = 0, bf16)" in text and "`0123456789ab`" in text


def test_bars_fail_one_by_one():
    """Three times as far misses no distance of 3, but all else that `ratio` moves; a bit farther misses that, too."""
    missed = {
        ratio: [name for name, _, _, met in quality.bars(result(ratio)) if met is False] for ratio in (1, 3, 3.01)
    }
    assert missed[1] == ["reconstruction, 8 real DiffInfinite patches"]
    assert set(missed[3]) - set(missed[1]) == {
        "Fréchet distance of reconstructions, over real to real",
        "precision, over real to real",
        "recall, over real to real",
        "C_T",
    }
    assert set(missed[3.01]) - set(missed[3]) == {"Fréchet distance of generated tiles, over real to real"}
    other = copy.deepcopy(result())
    other["faithfulness"]["generated"], other["card"][0]["value"] = 0.6, 0.49
    assert sum(met is False for *_, met in quality.bars(other)) == 3


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


def test_parts_of_an_interrupted_run_are_used_and_those_of_other_settings_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "PARTS", tmp_path / "parts")
    made = []

    def make():
        made.append(1)
        return {"tiles": np.arange(6).reshape(2, 3)}

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quality.remembered("normal-0", fail, steps=20)
    for steps in (20, 20, 30):
        assert np.array_equal(quality.remembered("normal-0", make, steps=steps)["tiles"], [[0, 1, 2], [3, 4, 5]])
    assert len(made) == 2
    monkeypatch.setattr(quality, "SOURCE", ["changed"])
    quality.remembered("normal-0", make, steps=20)
    assert len(made) == 3, "the library has changed"
