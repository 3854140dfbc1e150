"""Tables: the paper's figures as it prints them, rows in its order, counts in closed form."""

import json
import re

import paper_tables
import pytest
from paper_tables import Table, windows_per_level

from diffinfinite_lite.sampling.plans import PLANS

SETTINGS = {"tiles": 16, "px": 224, "real": 110, "train": 520, "features": "EfficientNetLite0", "steps": 2, "side": 4}
SETTINGS |= {"trained": {name: (1000 + i, i) for i, name in enumerate(paper_tables.TRAINED)}, "seeds": 3, "peers": 1}
SETTINGS["seconds"] = 41.6
PM = {"mean": 0.5, "spread": 0.01}


def cells(table):
    return {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}


def test_table_1():
    here = {"DiffInfinite (a)": {"IP": 0.5, "IR": 0.25, "IS": 3.0, "FD": 41.0}, paper_tables.REAL: {"IP": 0.9}}
    left = paper_tables.table1_left(here, SETTINGS)
    rows = cells(left)
    assert rows["DiffInfinite (a)"] == {
        **{"IP, paper": "0.94", "IP, here": "0.50", "IR, paper": "0.70", "IR, here": "0.25"},
        **{"IS, paper": "2.70", "IS, here": "3.00", "FID, paper": "26.7", "FD, here": "41.0"},
    }
    assert rows["NASDM"]["FID, paper"] == "15.7"
    assert rows["NASDM"]["IP, paper"] == "–" == rows[paper_tables.REAL]["IP, paper"]
    assert list(rows)[:3] == ["Morph-Diffusion", "NASDM", "DiffInfinite (a)"]
    assert "16 tiles of 224 px" in left.note and "10,240" in left.note
    right = cells(paper_tables.table1_right({"DiffCollage": {"IP": 0.1, "IR": 0.2}}, SETTINGS))
    assert [row["IR, paper"] for row in right.values()] == ["0.22", "0.48", "0.44", "0.33"]
    assert right["DiffCollage"]["IR, here"] == "0.20" and right["DiffInfinite (b)"]["IR, here"] == "–"


def test_table_2():
    trained = {name: {"test clusters": PM, "CRC-7K sample": PM} for name in paper_tables.TRAINED}
    first, second = paper_tables.table2(trained, {name: {"x": PM} for name in paper_tables.TRAINED}, SETTINGS)
    assert cells(first)["augmented"]["NCT-100K, paper"] == "0.847 ± 0.044"
    assert cells(first)["real"]["CRC-7K sample, here"] == "0.500 ± 0.010"
    paper = {name: row["IH2, paper"] for name, row in cells(second).items()}
    assert list(paper) == list(paper_tables.TRAINED)
    assert paper.pop(paper_tables.AS_MANY) == "–"  # a row that the paper lacks
    assert list(paper.values()) == ["0.614 ± 0.009", "0.471 ± 0.039", "0.710 ± 0.021"]
    assert [row[1] for row in first.rows] == ["1,000 (0)", "1,001 (1)", "1,002 (2)", "1,003 (3)"]
    assert "42 seconds" in first.note
    assert "PCam" in first.note and "0.05% of its mask" in first.note and "pseudo-annotations" in second.note


def test_table_2_without_as_many_real_tiles():
    counts = {name: (10, 5) for name in paper_tables.TRAINED if name != paper_tables.AS_MANY}
    first, _ = paper_tables.table2({"real": {"x": PM}}, {}, SETTINGS | {"trained": counts})
    assert set(cells(first)[paper_tables.AS_MANY].values()) == {"–"}


def test_table_5_and_figure_8_and_11():
    rows = cells(paper_tables.table5({"DiffCollage": {"A": 0.4, "C_T": -1.5}}, SETTINGS))
    assert rows["DiffCollage"] == {
        **{"A, paper": "0.89", "A, here": "0.40", "A resized, paper": "0.97", "A resized, here": "–"},
        **{"C_T, paper": "11.0", "C_T, here": "-1.50", "C_T resized, paper": "7.00", "C_T resized, here": "–"},
    }
    rows = cells(paper_tables.figure8({"generated": [0.1, 0.2, 0.3, 0.15, 0.05, 0.2]}))
    assert rows["necrosis"] == {"annotations, paper": "3.5%", "generated": "30.0%"}
    seams = {"diffcollage": {"seams": 1.25, "p": 0.01, "length": None, "far": 0.1}}
    assert list(cells(paper_tables.figure11(seams, SETTINGS))["diffcollage"].values()) == ["1.25", "0.01", "–", "0.100"]
    assert "over 1 canvas a" in paper_tables.figure11(seams, SETTINGS).note
    assert "over 2 canvases a" in paper_tables.figure11(seams, {"peers": 2}).note


@pytest.mark.parametrize("n", [2, 4])
def test_windows_in_closed_form(n):
    """n patches an axis: n² on the torus, (2n - 1)² half overlapping, (4n - 3)² for DiffCollage with its overlaps."""
    assert windows_per_level("torus-grid", n * 16, 16) == n**2
    assert windows_per_level("sliding-window", n * 16, 16) == (2 * n - 1) ** 2
    assert windows_per_level("diffcollage", n * 16, 16) == (4 * n - 3) ** 2
    assert windows_per_level("multidiffusion", n * 16, 16) == (4 * n - 3) ** 2
    assert n**2 < windows_per_level("random-patch", n * 16, 16) < (2 * n) ** 2


def test_figure_3():
    table = paper_tables.figure3(patch=8, sizes=(1, 2), steps=10)
    alone = table.rows[: len(PLANS)]
    assert len(table.rows) == 2 * len(PLANS) and all(row[2:] == ["1.0", "10", "10"] for row in alone)
    assert ["128 px", "torus-grid", "4.0", "40", "10"] in table.rows


def test_markdown_and_html_hold_the_same_cells():
    table = Table("A <b>", ["x", "y|z"], [["1", "a & b"], ["2", "c"]], "note")
    lines = table.markdown().splitlines()
    assert lines[2] == "| x | y\\|z |" and lines[4] == "| 1 | a & b |" and lines[-1] == "note"
    html = table.html()
    assert "A &lt;b&gt;" in html and re.findall(r"<td>(.*?)</td>", html) == ["a &amp; b", "c"]
    assert html.count("<tr>") == 3 and html.count('scope="row"') == 2


def test_a_saved_table_is_the_same_table():
    """`benchmarks/tables.py` keeps tables as JSON, the chapters read them."""
    table = paper_tables.figure8({"generated": [0.1, 0.2, 0.3, 0.15, 0.05, 0.2]})
    assert Table(**json.loads(json.dumps(vars(table)))) == table
