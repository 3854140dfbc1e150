"""Regions of a mask as paths of SVG: lines that stay as thin as they are at any zoom, and bury no nucleus.

The outlines are those of `data.outlines`, which run along the edges of pixels; corners nearer than `TOLERANCE` to a
straight line are left out, so that a smooth border is not drawn as stairs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from skimage.measure import approximate_polygon

from ..data.outlines import Ring, outlines
from ..labels import LABEL_COLOURS, LABELS

TOLERANCE = 1.5  # px
SMALLEST = 3  # corners of a ring that is still drawn


def region_paths(mask: np.ndarray, tolerance: float = TOLERANCE) -> dict[int, str]:
    """The regions of each label, unknown left out, as data of a path with even-odd filling, in px of the mask.

    Parameters
    ----------
    mask : labels (H, W), 0 to 5
    tolerance : px by which a line may leave the edges of pixels

    >>> region_paths(np.array([[0, 3, 3]]))
    {3: 'M1 0L3 0L3 1L1 1Z'}
    """
    paths: dict[int, list[str]] = {}
    for label, polygon in outlines([np.asarray(mask, np.uint8)]):
        paths.setdefault(label, []).extend(_path(ring, tolerance) for ring in polygon)
    return {label: "".join(parts) for label, parts in paths.items()}


def _path(ring: Ring, tolerance: float) -> str:
    corners = approximate_polygon(np.array([*ring, ring[0]]), tolerance)[:-1]
    if len(corners) < SMALLEST:
        corners = np.array(ring)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in corners) + "Z"


def region_group(paths: dict[int, str]) -> str:
    """SVG of paths of `region_paths`: for each label a white halo, a line and a filling; a page shows what it wants."""
    parts = []
    for label, path in sorted(paths.items()):
        colour = "rgb({}, {}, {})".format(*LABEL_COLOURS[label])
        parts.append(
            f'<path class="region-fill" fill="{colour}" d="{path}"/><path class="region-halo" d="{path}"/>'
            f'<path class="region-line" stroke="{colour}" d="{path}"/>'
        )
    return "".join(parts)


def legend(labels: Iterable[int]) -> str:
    """Names of labels beside their colours."""
    return "".join(f'<span><i style="background: rgb{LABEL_COLOURS[n]}"></i>{LABELS[n]}</span>' for n in labels)


def deepest(mask: np.ndarray, label: int) -> tuple[int, int] | None:
    """The place (row, column) farthest inside a region of a label, where a mark can point to it; None without one.

    >>> deepest(np.pad(np.full((3, 3), 2), 2), 2)
    (3, 3)
    """
    from scipy.ndimage import distance_transform_edt

    if not (mask == label).any():
        return None
    row, column = np.unravel_index(distance_transform_edt(np.pad(mask == label, 1)).argmax(), np.add(mask.shape, 2))
    return int(row) - 1, int(column) - 1


STYLE = """
.region-fill { fill-rule: evenodd; fill-opacity: .55; stroke: none; }
.region-halo, .region-line { fill: none; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.region-halo { stroke: #fff; stroke-opacity: .85; stroke-width: calc(4.5px * var(--region-scale, 1)); }
.region-line { stroke-width: calc(2.2px * var(--region-scale, 1)); }
"""
