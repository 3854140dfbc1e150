"""Tissue in space: what the report card measures on tiles, masks and whole canvases, by the functions of `spatial`.

*Tissue* is the haematoxylin density averaged over cells of 8 px: single pixels measure nuclei, cells their arrangement.
Tiles and canvases have a correlation length, and steps at the latent grid that should not differ from steps elsewhere.
Masks have shares of labels (Fig. 8), boundaries and regions. A canvas that was painted by windows may have seams at the
lines where these met, and its tissue may or may not be correlated beyond one window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from skimage.color import hed_from_rgb
from skimage.measure import label as connected
from torch import Tensor

from ..data.stain import optical_density
from ..data.tiles import to_rgb
from ..labels import CELL_PX, LABELS
from . import spatial
from .registry import POSITIVE, SHARE, Measured, Metric, register

SMALLEST_REGION = 64  # px²; smaller regions are not counted
MIN_SHARE, MAX_SHARE = 0.02, 0.98  # of a canvas, outside which a label has no correlation length


@dataclass(frozen=True)
class PaintedCanvas:
    """A picture that was painted by windows, and where these were.

    Attributes
    ----------
    image : (3, H, W) in [-1, 1]
    mask : labels (H, W)
    patch : side of a window in px
    rows, columns : lines in px, as in `spatial.seam_statistic`
    fixed : whether windows met at these lines at all noise levels; else they moved, and the lines are any
    """

    image: Tensor
    mask: np.ndarray
    patch: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    fixed: bool = True


def tissue(image: Tensor) -> np.ndarray:
    """Haematoxylin density of an image (3, H, W) in [-1, 1], mean over cells of 8 px: (H // 8, W // 8)."""
    density = optical_density(to_rgb(image), white=255) @ hed_from_rgb[:, 0].astype(np.float32)
    height, width = (side // CELL_PX for side in density.shape)
    return density[: height * CELL_PX, : width * CELL_PX].reshape(height, CELL_PX, width, CELL_PX).mean((1, 3))


def tissue_length(image: Tensor) -> float:
    """Correlation length of tissue in px, infinity where it is beyond half of the image; see `spatial`."""
    return spatial.autocorrelation_length(tissue(image)) * CELL_PX


def grid_steps(image: Tensor) -> float:
    """Mean step at every 8th line of an image (3, H, W), where latent pixels meet, over the mean step elsewhere."""
    lines = (range(CELL_PX, side, CELL_PX) for side in image.shape[-2:])
    return spatial.seam_statistic(image.numpy(), *lines).ratio


def label_share(mask: np.ndarray, label: int) -> float:
    """Share of a label in a mask (H, W).

    Raises
    ------
    ValueError : a label of the mask that does not exist.

    >>> label_share(np.array([[3, 3], [1, 0]]), 3)
    0.5
    """
    return float(spatial.label_fractions([mask], len(LABELS))[0, label])


def region_areas(mask: np.ndarray, label: int, smallest: int = SMALLEST_REGION) -> np.ndarray:
    """Areas in px² of the 4-connected regions of a label that have at least `smallest` pixels.

    >>> region_areas(np.array([[3, 3, 0], [0, 0, 3]]), 3, smallest=1).tolist()
    [2, 1]
    """
    areas = np.bincount(connected(mask == label, connectivity=1).ravel())[1:]
    return areas[areas >= smallest]


def _seams(canvas: PaintedCanvas) -> Measured:
    seam = spatial.seam_statistic(canvas.image.numpy(), canvas.rows, canvas.columns)
    where = "" if canvas.fixed else f"here at lines of a {canvas.patch}-px grid since windows move, "
    return Measured(seam.ratio, p_value=seam.p_value, detail=f"{where}p = {seam.p_value:.2g} under shifts")


def _seams_sentence(row: Mapping) -> str:
    trace = "a trace of windows" if row["value"] > 1 and row["p"] < 0.05 else "no clear trace of windows"
    return f"Steps at window lines are {row['value']:.2f} times those elsewhere (p = {row['p']:.2g}): {trace}."


def _finite(length: float) -> float:
    if not math.isfinite(length):
        raise ValueError("expected a correlation that falls below 1/e within half of the canvas, got a longer one")
    return length


def _long_range(canvas: PaintedCanvas) -> Measured:
    value = spatial.long_range_correlation(tissue(canvas.image), canvas.patch // CELL_PX)
    return Measured(value, detail=f"{canvas.patch} to {2 * canvas.patch} px")


def _label_length(canvas: PaintedCanvas, label: int) -> float | None:
    cells = canvas.mask[::CELL_PX, ::CELL_PX] == label
    if not MIN_SHARE < (canvas.mask == label).mean() < MAX_SHARE:
        return None
    return _finite(spatial.autocorrelation_length(cells.astype(float)) * CELL_PX)


register(
    Metric(
        "tissue correlation length",
        tissue_length,
        better="same",
        bounds=POSITIVE,
        about="px; tissue in cells of 8 px; median of tiles",
        on="tile",
        average=np.median,
    )
)
register(
    Metric(
        "steps at the 8-px grid",
        grid_steps,
        better="same",
        bounds=POSITIVE,
        about="mean step at every 8th line over steps elsewhere; median of tiles",
        on="tile",
        average=np.median,
    )
)
for _label, _name in enumerate(LABELS):
    register(
        Metric(
            f"share of {_name}",
            partial(label_share, label=_label),
            better="same",
            bounds=SHARE,
            about="mean over masks, Fig. 8",
            on="mask",
        )
    )
register(
    Metric(
        "boundary density",
        spatial.boundary_density,
        better="same",
        bounds=SHARE,
        about="share of neighbouring pixels with different labels, mean over masks",
        on="mask",
    )
)
for _label, _name in enumerate(LABELS[1:], start=1):
    register(
        Metric(
            f"{_name} region",
            partial(region_areas, label=_label),
            better="same",
            bounds=POSITIVE,
            about=f"px², median over regions of at least {SMALLEST_REGION} px²",
            on="mask",
            average=np.median,
        )
    )
register(
    Metric(
        "seams",
        _seams,
        better="one",
        bounds=POSITIVE,
        about="steps where windows meet over steps elsewhere",
        on="canvas",
        sentence=_seams_sentence,
    )
)
register(
    Metric(
        "canvas grid steps",
        lambda canvas: grid_steps(canvas.image),
        better="one",
        bounds=POSITIVE,
        about="steps at every 8th line of the canvas (a latent is 8 px) over steps elsewhere",
        on="canvas",
    )
)
register(
    Metric(
        "canvas correlation length",
        lambda canvas: _finite(tissue_length(canvas.image)),
        better="none",
        bounds=POSITIVE,
        about="px; tissue in cells of 8 px",
        on="canvas",
    )
)
register(
    Metric(
        "long-range correlation",
        _long_range,
        better="none",
        bounds=(-1.0, 1.0),
        about="correlation of tissue one to two windows apart",
        on="canvas",
    )
)
for _label, _name in enumerate(LABELS[1:], start=1):
    register(
        Metric(
            f"{_name} correlation length",
            partial(_label_length, label=_label),
            better="none",
            bounds=POSITIVE,
            about="px; of this label in the mask",
            on="canvas",
        )
    )
