r"""Rows of the report card on space: what features of single tiles cannot see, on tiles, masks and whole canvases.

A canvas (a generated pair with its ``run.json``) is asked whether the sampler left traces: steps at the lines where
its windows met (`spatial.seam_statistic`) and at the latent grid, and whether its tissue hangs together beyond a
window (`spatial.long_range_correlation`). *Tissue* is the haematoxylin density averaged over cells of 8 px: single
pixels measure nuclei, cells their arrangement. Masks are asked for label shares (Fig. 8), region sizes, boundaries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from skimage.color import hed_from_rgb
from torch import Tensor

from ..data.tiles import to_rgb, to_tensor
from ..labels import CELL_PX, LABELS
from ..metrics import spatial
from ..metrics.resampling import bootstrap
from ..pipelines.pair import Pair
from ..sampling.plans import find_plan
from .rows import attempt, row

NAME = "Space"
MOST = 100  # tiles or masks that the statistics are taken of
SPECK = 64  # px²; smaller regions are not counted
FREE = ("random-patch", "torus-grid")  # plans without fixed lines


def tissue(image: Tensor) -> np.ndarray:
    """Haematoxylin density of an image (3, H, W) in [-1, 1], mean over cells of 8 px: (H // 8, W // 8)."""
    density = -np.log((to_rgb(image).astype(np.float32) + 1) / 256) @ hed_from_rgb[:, 0].astype(np.float32)
    height, width = (side // CELL_PX for side in density.shape)
    return density[: height * CELL_PX, : width * CELL_PX].reshape(height, CELL_PX, width, CELL_PX).mean((1, 3))


def window_lines(
    plan: str, size: tuple[int, int], patch: int, stride: int | None = None
) -> tuple[list[int], list[int]]:
    """Lines in px where windows of a plan begin or end, inside an image of (H, W) px.

    Plans whose windows move at every level have no such lines: for them a grid of windows from the corner on is taken,
    whose lines a good plan leaves no trace of either.

    >>> window_lines("sliding-window", (256, 128), 128)
    ([64, 128, 192], [])
    """
    canvas, window = tuple(side // CELL_PX for side in size), patch // CELL_PX
    if plan in FREE:
        return tuple(list(range(patch, side, patch)) for side in size)
    rows, columns = set(), set()
    draw = find_plan(plan, stride and stride // CELL_PX)
    views = draw(tuple(max(side, window) for side in canvas), window, torch.Generator().manual_seed(0))
    for view, _ in views:
        rows |= {view.top, view.top + view.height}
        columns |= {view.left, view.left + view.width}
    return tuple(
        sorted(line * CELL_PX for line in lines if 0 < line < side)
        for lines, side in ((rows, canvas[0]), (columns, canvas[1]))
    )


def tile_rows(real: Sequence[Tensor], synthetic: Sequence[Tensor], notes: list[str]) -> list[dict]:
    """Correlation length and grid steps of tiles, medians over at most 100 of each set."""
    rows = []
    for name, about, better, measure in (
        ("tissue correlation length", "px; tissue in cells of 8 px; median of tiles", "same", _length),
        ("steps at the 8-px grid", "mean step at every 8th line over steps elsewhere; median of tiles", "same", _grid),
    ):
        values = [_median(measure, images) for images in (real, synthetic)]
        if None in values:
            which = " and ".join(n for n, v in zip(("real", "synthetic"), values, strict=True) if v is None)
            notes.append(f"The {name} was not measured: the {which} tiles have too little texture or are too small.")
        else:
            rows.append(row(name, NAME, about, better, values[1], real=values[0]))
    return rows


def mask_rows(
    real: Sequence[np.ndarray] | None,
    synthetic: Sequence[np.ndarray],
    generator: np.random.Generator,
    repeats: int = 50,
) -> list[dict]:
    """Label shares (Fig. 8), boundary density and region sizes of masks, at most 100 of each set.

    Parameters
    ----------
    real : integer masks (H, W), or None where there are none to compare with
    synthetic : at least one
    """
    measured = [_mask_numbers(masks[:MOST]) if masks else None for masks in (real, synthetic)]
    base, found = measured
    shares = found["shares"]
    rows = []
    for label, name in enumerate(LABELS):
        if shares[:, label].any() or (base and base["shares"][:, label].any()):
            spread = {}
            if len(shares) >= 12:
                interval = bootstrap(np.mean, shares[:, label : label + 1], generator=generator, repeats=repeats)
                spread = {"low": interval.low, "high": interval.high}
            spread["real"] = base["shares"][:, label].mean() if base else None
            about = "mean over masks, Fig. 8"
            rows.append(row(f"share of {name}", NAME, about, "same", shares[:, label].mean(), **spread))
    about = "share of neighbouring pixels with different labels, mean over masks"
    rows.append(
        row("boundary density", NAME, about, "same", found["boundary"], real=base["boundary"] if base else None)
    )
    for name, area in found["areas"].items():
        about = f"px², median over regions of at least {SPECK} px²"
        rows.append(
            row(f"{name} region", NAME, about, "same", area, real=base["areas"].get(name) if base else None)
        )
    return rows


def canvas_rows(pair: Pair, notes: list[str]) -> list[dict]:
    """Seams at window lines, steps at the latent grid, correlation lengths and long-range correlation of a canvas.

    Parameters
    ----------
    pair : image, mask and the run that made them
    notes : takes a sentence on everything that could not be measured
    """
    image, patch, plan = to_tensor(pair.image), pair.run["patch"], pair.run["plan"]
    cells, rows = tissue(image), []
    lines = window_lines(plan, pair.image.shape[:2], patch, pair.run.get("stride"))

    def seams() -> dict:
        seam = spatial.seam_statistic(image.numpy(), *lines)
        where = f"at lines of a {patch}-px grid (windows move)" if plan in FREE else "where windows meet"
        about = f"steps {where} over steps elsewhere, p = {seam.p_value:.2g} under shifts"
        return row("seams", NAME, about, "one", seam.ratio) | {"p": round(seam.p_value, 4)}

    def grid() -> dict:
        about = "steps at every 8th line of the canvas (a latent is 8 px) over steps elsewhere"
        return row("canvas grid steps", NAME, about, "one", _grid(image))

    def length() -> dict:
        return _length_row("canvas correlation length", "px; tissue in cells of 8 px", cells)

    def far() -> dict:
        value = spatial.long_range_correlation(cells, patch // CELL_PX)
        about = f"correlation of tissue {patch} to {2 * patch} px apart, one to two windows"
        return row("long-range correlation", NAME, about, "none", value)

    for what, compute in (
        ("seams", seams),
        ("canvas grid steps", grid),
        ("canvas correlation length", length),
        ("long-range correlation (in cells of 8 px)", far),
    ):
        rows += attempt(what[0].upper() + what[1:], notes, compute)
    for label in np.unique(pair.mask):
        if label and 0.02 < (pair.mask == label).mean() < 0.98:
            name = f"{LABELS[label]} correlation length"
            indicator = (pair.mask[::CELL_PX, ::CELL_PX] == label).astype(float)
            about = "px; of this label in the mask"
            rows += attempt(name.capitalize(), notes, partial(_length_row, name, about, indicator))
    return rows


def _mask_numbers(masks: Sequence[np.ndarray]) -> Mapping:
    areas = defaultdict(list)
    for mask in masks:
        for region in spatial.regions(mask, minimum=SPECK):
            if region.label:
                areas[LABELS[region.label]].append(region.area)
    return {
        "shares": spatial.label_fractions(masks, len(LABELS)),
        "boundary": float(np.mean([spatial.boundary_density(mask) for mask in masks])),
        "areas": {name: float(np.median(areas[name])) for name in LABELS if areas[name]},
    }


def _length_row(name: str, about: str, cells: np.ndarray) -> dict:
    return row(name, NAME, about, "none", _finite(cells))


def _finite(cells: np.ndarray) -> float:
    length = spatial.autocorrelation_length(cells) * CELL_PX
    if not np.isfinite(length):
        raise ValueError(f"expected it to fall below 1/e within half of {cells.shape[0]} x {cells.shape[1]} cells")
    return length


def _length(image: Tensor) -> float:
    return spatial.autocorrelation_length(tissue(image)) * CELL_PX


def _grid(image: Tensor) -> float:
    lines = (range(CELL_PX, side, CELL_PX) for side in image.shape[-2:])
    return spatial.seam_statistic(image.numpy(), *lines).ratio


def _median(measure, images: Sequence[Tensor]) -> float | None:
    """Median of the images that can be measured; None if fewer than half of them can."""
    values = []
    for image in images[:MOST]:
        try:
            values.append(measure(image))
        except ValueError:
            continue
    middle = float(np.median(values)) if len(values) * 2 > min(len(images), MOST) else np.inf
    return middle if np.isfinite(middle) else None
