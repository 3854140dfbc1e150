"""Tables in the paper's form: what was measured here beside what the paper prints, and what of it compares.

Functions take rows that somebody measured (`benchmarks/tables.py` does) and return a `Table`, Markdown or HTML.
A figure that the paper shows as a plot only has no numbers to put beside; then nothing is read off the plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from paper_numbers import TABLE_1_LEFT, TABLE_1_RIGHT, TABLE_2A, TABLE_2B, TABLE_3, TABLE_5

from diffinfinite_lite.evaluation.table import Table
from diffinfinite_lite.labels import LABELS
from diffinfinite_lite.sampling.plans import PLANS

Number = float | Mapping | None
Measured = Mapping[str, Mapping[str, Number]]
SHUFFLED = "random-patch, windows shuffled"
MIXTURE = "Mixture of Diffusers"
REAL, PUBLISHED = "real tiles of other clusters", "the authors' published patches"
AS_MANY = "real, as many as synthetic"  # a row of ours: else the number of tiles would decide
TRAINED = ("real", AS_MANY, "synthetic", "augmented")


def number(value: Number, digits: int = 2) -> str:
    """A number, a mean with its spread over seeds, or a dash where there is none.

    >>> number(0.941), number({"mean": 0.7, "spread": 0.0123}), number(None), number(12.3)
    ('0.94', '0.700 ± 0.012', '–', '12.3')
    """
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return f"{value['mean']:.3f} ± {value['spread']:.3f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.{digits}f}"


def _beside(title: str, paper: Measured, here: Measured, columns: Mapping[str, str], note: str) -> Table:
    """Paper and here side by side, a column pair for each of `columns` (key in the paper -> key measured here)."""
    heads = ["method"]
    for old, new in columns.items():
        heads += [f"{old}, paper", f"{new}, here"]
    rows = []
    for method in dict.fromkeys([*paper, *here]):
        cells = [method]
        for old, new in columns.items():
            cells += [number(paper.get(method, {}).get(old)), number(here.get(method, {}).get(new))]
        rows.append(cells)
    return Table(title, heads, rows, note)


def _conditions(settings: Mapping) -> str:
    return (
        f"Here: {settings['tiles']} tiles of {settings['px']} px a row against {settings['real']} real test tiles "
        f"(one a cluster), features of {settings['features']}, k = 3, {settings['steps']} steps, ω = 0."
    )


def table1_left(here: Measured, settings: Mapping) -> Table:
    """Table 1, left: mask, then image, of the size of a patch.

    Parameters
    ----------
    here : method -> IP, IR, IS, FD; also for `REAL` and `PUBLISHED`
    settings : tiles, px, real, features, steps
    """
    note = (
        f"{_conditions(settings)} Paper: 10,240 patches of 512 px, IP and IR on VGG-16, FID and IS on Inception-v3. "
        "No number of one side compares with one of the other: fewer tiles, other features, other tissue. FD is no "
        "FID, and its bias at this count is large; IS counts ImageNet classes. What compares is a row here with the "
        f"row '{REAL}': a perfect model would score that. '{PUBLISHED}' are of other slides than the real "
        "tiles, which costs them precision and recall whatever their quality; the shipped model was trained on all 84."
    )
    columns = {"IP": "IP", "IR": "IR", "IS": "IS", "FID": "FD"}
    return _beside("Table 1, left: images of one patch", TABLE_1_LEFT, here, columns, note)


def table1_right(here: Measured, settings: Mapping) -> Table:
    """Table 1, right: large images; parameters as in `table1_left`, with ``side``, tiles along a large image."""
    side = settings["side"]
    note = (
        f"{_conditions(settings)} Large images of {side} x {side} tiles are cut to tiles, as in the paper's Table 5; "
        "the paper scales 2048 px down to 512 and compares with real images of that size, of which open data have "
        "none for lung. (b) uses real masks: here pseudo-annotations of test tiles of one context laid side by side, "
        f"since large annotated fields are not public. DiffCollage and {MIXTURE} (the default of this library; the "
        "paper has no such row) run on the same network, masks and seeds as (c). The values do not compare with the "
        "paper's, and two canvases a row are too few to order rows that are close."
    )
    return _beside("Table 1, right: large images", TABLE_1_RIGHT, here, {"IP": "IP", "IR": "IR"}, note)


def table5(here: Measured, settings: Mapping) -> Table:
    """Table 5: authenticity A and data copying C_T; `here`: method -> A, C_T."""
    note = (
        f"{_conditions(settings)} {settings['train']} training tiles, one a cluster. Every row is compared with the "
        f"same half of the test tiles; '{REAL}' are as many of the other half. Large images are cut to tiles, the "
        "paper's 'tiled'; 'resized' needs large real images. A depends on the number of training tiles and on the "
        f"features, C_T grows with the root of the number of tiles: compare with '{REAL}' only. C_T far below "
        "0 would be copying, far above 0 is unlike real."
    )
    columns = {name: name for name in ("A", "A resized", "C_T", "C_T resized")}
    return _beside("Table 5: memorisation", TABLE_5, here, columns, note)


def table2(classification: Measured, segmentation: Measured, settings: Mapping) -> list[Table]:
    """Table 2: classifier and segmenter trained on real, synthetic and both.

    Parameters
    ----------
    classification : one of `TRAINED` -> test set -> mean and spread of balanced accuracy over seeds
    segmentation : the same with F1
    settings : trained, tiles and how many of them are carcinoma, of each of `TRAINED`; seeds; seconds of all training
    """
    trained = settings["trained"]
    common = (
        f"Here: {settings['seeds']} seeds, a small head on frozen features, {settings['seconds']:.0f} seconds to train "
        "and test all rows of 2a and 2b; the paper trained on 3,726 real and 9,974 "
        f"synthetic patches. What compares is which training set wins, not the values: 'synthetic' with '{AS_MANY}', "
        "and 'augmented' with 'real'. "
    )
    notes = (
        "A real training tile is carcinoma if LC25000 names it so, a synthetic one if at least 0.05% of its mask is, "
        "the paper's rule; a test tile is what its set names it. The paper's lung cohorts (IH) are not public, and its "
        "column for PCam is left out. LC25000 shows few slides a class, which are easy to "
        "tell apart: a full score on its test clusters says little. CRC and osteosarcoma are other organs; "
        "osteosarcoma is no carcinoma, 'tumour' stands for it there, and necrotic tiles are left out.",
        "Real masks here are pseudo-annotations, so that the score on them says how well the annotation program is "
        "imitated; only the few expert patches are a pathologist's. No real tile here shows necrosis, so that F1 is of "
        "the other three classes. A synthetic tile is labelled by the mask that it "
        "was painted from. The paper's real masks are all a pathologist's.",
    )
    tables = []
    for title, here, paper, note in (
        ("Table 2a: classification, balanced accuracy", classification, TABLE_2A, notes[0]),
        ("Table 2b: segmentation, F1", segmentation, {k: {"IH2": v} for k, v in TABLE_2B.items()}, notes[1]),
    ):
        old, new = list(paper["real"]), list(dict.fromkeys(test for row in here.values() for test in row))
        heads = ["trained on", "tiles (carcinoma), here"]
        heads += [*(f"{name}, paper" for name in old), *(f"{name}, here" for name in new)]
        rows = [
            [
                name,
                "{:,} ({:,})".format(*trained[name]) if name in trained else "–",
                *(number(paper.get(name, {}).get(test)) for test in old),
                *(number(here.get(name, {}).get(test)) for test in new),
            ]
            for name in TRAINED
        ]
        tables.append(Table(title, heads, rows, common + note))
    return tables


def windows_per_level(plan: str, side: int, patch: int, levels: int = 5) -> float:
    """Mean number of network windows a noise level, for a square canvas; `side` and `patch` in latent pixels.

    >>> windows_per_level("sliding-window", 128, 64), windows_per_level("diffcollage", 128, 64)
    (9.0, 25.0)
    """
    counts = []
    for level in range(levels):
        counts.append(len(list(PLANS[plan]((side, side), patch, torch.Generator().manual_seed(level)))))
    return float(np.mean(counts))


def figure3(patch: int = 64, sizes: Sequence[int] = (1, 2, 4, 8), steps: int = 250) -> Table:
    """Fig. 3 as numbers: windows a level and steps one after the other, by size of the canvas in patches."""
    rows = []
    for size in sizes:
        for plan in PLANS:
            count = windows_per_level(plan, size * patch, patch, levels=2 if size > 4 else 5)
            rows.append([f"{size * patch * 8} px", plan, f"{count:.1f}", f"{count * steps:,.0f}", f"{steps}"])
    columns = ["canvas", "plan", "windows a level", f"windows of {steps} levels", "one after the other"]
    note = (
        f"Counted from the plans, patch {patch * 8} px as the shipped model's; the paper's patch is 512 px. It shows a "
        "plot without numbers, and counts for DiffCollage the steps of a sliding window that paints outwards, one "
        "window after the other; within a level the windows of all plans here are independent, so that the last "
        "column is the number of levels for each of them. DiffCollage's windows include its half-sized overlaps."
    )
    return Table("Fig. 3: cost by size", columns, rows, note)


def figure8(here: Mapping[str, Sequence[float]]) -> Table:
    """Fig. 8 as numbers: share of each label.

    Parameters
    ----------
    here : name of a set of masks -> mean shares of `LABELS`, unknown included
    """
    rows = []
    for label, name in enumerate(LABELS):
        paper = f"{TABLE_3[name]:.1%}" if name in TABLE_3 else "–"
        rows.append([name, paper, *(f"{shares[label]:.1%}" for shares in here.values())])
    note = (
        "The paper's Fig. 8 is a plot without numbers; beside stand the shares among its annotations (Table 3), "
        "unknown pixels left out; the paper has no air. Real masks here are pseudo-annotations of LC25000 tiles, a "
        "third of each context by choice of the set: shares of that set, not of lungs. What compares is generated with "
        "real tiles."
    )
    return Table("Fig. 8: share of each label", ["label", "annotations, paper", *here], rows, note)


def figure11(here: Measured, settings: Mapping) -> Table:
    """Fig. 11 as numbers: seams and long range by plan.

    Parameters
    ----------
    here : plan -> seams, p, length (px), far (correlation at one to two windows); None where not measured
    settings : peers, number of canvases of each plan
    """
    count = settings["peers"]
    columns = ["plan", "seam ratio", "p", "correlation length, px", "correlation at 1 to 2 windows"]
    rows = [
        [name, *(number(row.get(key)) for key in ("seams", "p", "length")), number(row.get("far"), digits=3)]
        for name, row in here.items()
    ]
    note = (
        f"Means over {count} {'canvas' if count == 1 else 'canvases'} a plan, masks and seeds the same in all rows. "
        "The paper shows one picture a method. A seam ratio of 1 is no seam; for "
        "plans whose windows move the lines of a fixed grid are taken. Tissue is compared in cells of 8 px, so that "
        "a length near 8 px is no longer than a cell. Part of the correlation is the mask's own, which is the same in "
        f"all rows. '{SHUFFLED}' is the canvas of the row above with its windows in random order: what any row has "
        "more than that is correlation beyond a window."
    )
    return Table("Fig. 11: seams and long range", columns, rows, note)
