"""The benchmark of masks: distances are zero to oneself, windows are of a tile, a report has all columns."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks/masks.py"
SPEC = importlib.util.spec_from_file_location("masks_benchmark", FILE)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def stripes(width, side=84):
    """Carcinoma and stroma in turns."""
    return np.where(np.arange(side)[:, None] // width % 2, 3, 1).repeat(side, 1).astype(np.uint8)


def test_numbers_are_those_of_the_drawing():
    found = benchmark.small_numbers(benchmark.windows([stripes(14)]))
    assert found["windows"] == 9 and found["unknown"] == 0
    assert found["share"]["carcinoma"] == found["share"]["stroma"] == 0.5
    assert found["neighbours"] == {"carcinoma-stroma": 1.0}
    assert found["border"] == pytest.approx(1 / 27 / 2, abs=1e-3), "one line of 27 in each window, rows alone"
    assert found["area, 1000 um2"]["carcinoma"] == pytest.approx(14 * 28 * 16 / 1000, abs=0.01)


def test_a_column_is_no_way_from_itself_and_coarser_ones_are():
    fine, coarse = (benchmark.small_numbers(benchmark.windows([stripes(width)])) for width in (7, 14))
    same = benchmark.distance(fine, fine)
    assert same["share"] == same["neighbours"] == 0 and same["border, times"] == same["thickness, um, times"] == 1
    assert benchmark.distance(fine, coarse)["area, 1000 um2, times"] == pytest.approx(2, abs=0.05)


def test_windows_without_a_label_are_left_out():
    field = np.zeros((56, 60), np.uint8)
    field[30, 30] = 1
    assert [window.shape for window in benchmark.windows([field])] == [(28, 28)]


def test_a_report_has_a_row_a_column_and_a_sheet(tmp_path, monkeypatch):
    for name in ("real_tiles", "slide_fields", "expert_masks"):
        monkeypatch.setattr(benchmark, name, lambda *_: [stripes(9, 127)[:, :127]] * 2)
    monkeypatch.setattr(benchmark, "generate_cells", lambda *_, **settings: stripes(11, 128))
    benchmark.main(tiles=2, fields=2, weights=None, other=None, out=tmp_path / "masks.json")
    report = json.loads((tmp_path / "masks.json").read_text())
    columns = [(row["context"], row["column"]) for row in report["rows"]]
    assert columns == [
        ("adenocarcinoma", "real"),
        ("adenocarcinoma", "layouts"),
        ("adenocarcinoma", "mask model"),
        ("squamous", "real"),
        ("squamous", "slides"),
        ("squamous", "layouts"),
        ("squamous", "mask model"),
        ("normal", "real"),
        ("normal", "layouts"),
        ("normal", "mask model"),
        ("all", "experts"),
    ]
    assert report["command"] == "python benchmarks/masks.py --tiles 2 --fields 2"
    assert (tmp_path / "masks_tiles.png").stat().st_size and (tmp_path / "masks_fields.png").stat().st_size
