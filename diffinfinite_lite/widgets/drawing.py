"""A label mask under the brush: strokes, polygons, fills, and fifty steps back and forth.

Plain arrays; the page sends what the pointer or the keys did, in px of the mask, and shows what comes back.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.draw import line, polygon
from skimage.segmentation import flood

from ..labels import LABELS
from ..pipelines.config import check_mask

STEPS_BACK = 50
ERASED = LABELS.index("unknown")
WIDEST = 128  # px, radius of the brush
MOST_POINTS = 20_000  # of one stroke

Points = Sequence[Sequence[float]]  # (x, y) in px: columns to the right, rows down


class Drawing:
    """A mask with its history.

    Parameters
    ----------
    mask : uint8 (H, W), labels 0 to 5

    >>> drawing = Drawing(np.zeros((1, 5), np.uint8))
    >>> drawing.stroke([(1, 0), (3, 0)], label=2, radius=0)
    >>> drawing.mask.tolist()
    [[0, 2, 2, 2, 0]]
    >>> drawing.undo()
    >>> int(drawing.mask.max())
    0
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = np.array(mask, np.uint8)
        self._before: list[bytes] = []
        self._after: list[bytes] = []

    @property
    def steps_back(self) -> int:
        """How often `undo` has something to undo."""
        return len(self._before)

    @property
    def steps_forth(self) -> int:
        """How often `redo` has something to redo."""
        return len(self._after)

    def stroke(self, points: Points, label: int, radius: float) -> None:
        """A round brush along the points; one point is a dot. Erasing is a stroke of the label unknown."""
        corners = np.rint(_points(points)).astype(int)
        if not 0 <= radius <= WIDEST:
            raise ValueError(f"expected a brush of 0 to {WIDEST} px, got {radius}")
        touched = np.zeros(self.mask.shape, bool)
        for (x, y), (to_x, to_y) in zip(corners, [*corners[1:], corners[-1]], strict=True):
            rows, columns = line(y, x, to_y, to_x)
            inside = (rows >= 0) & (rows < touched.shape[0]) & (columns >= 0) & (columns < touched.shape[1])
            touched[rows[inside], columns[inside]] = True
        if touched.any():
            self._paint(ndimage.distance_transform_edt(~touched) <= radius, label)

    def polygon(self, points: Points, label: int) -> None:
        """The inside of a polygon of at least three corners."""
        corners = _points(points)
        if len(corners) < 3:
            raise ValueError(f"expected at least 3 corners of a polygon, got {len(corners)}")
        inside = np.zeros(self.mask.shape, bool)
        inside[polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, inside.shape)] = True  # pixels whose centre is inside
        self._paint(inside, label)

    def fill(self, point: Sequence[float], label: int) -> None:
        """The region of one label that a point lies in."""
        x, y = np.floor(_points([point])[0]).astype(int)
        height, width = self.mask.shape
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"expected a point inside of {height}x{width} px, got row {y}, column {x}")
        self._paint(flood(self.mask, (y, x), connectivity=1), label)

    def clear(self, label: int) -> None:
        """One label everywhere."""
        self._paint(np.ones(self.mask.shape, bool), label)

    def load(self, mask: np.ndarray) -> None:
        """Another mask of the same size."""
        self._change(check_mask(mask, self.mask.shape))

    def undo(self) -> None:
        """One step back, if there is one."""
        self._step(self._before, self._after)

    def redo(self) -> None:
        """One step forth again, if there is one."""
        self._step(self._after, self._before)

    def _step(self, source: list[bytes], target: list[bytes]) -> None:
        if source:
            target.append(_packed(self.mask))
            self.mask = np.frombuffer(zlib.decompress(source.pop()), np.uint8).reshape(self.mask.shape).copy()

    def _paint(self, where: np.ndarray, label: int) -> None:
        if label not in range(len(LABELS)):
            raise ValueError(f"expected a label 0 to {len(LABELS) - 1}, got {label!r}")
        self._change(np.where(where, np.uint8(label), self.mask))

    def _change(self, mask: np.ndarray) -> None:
        """A new mask; what changes nothing is no step."""
        if not np.array_equal(mask, self.mask):
            self._before = [*self._before, _packed(self.mask)][-STEPS_BACK:]
            self._after, self.mask = [], mask


def _packed(mask: np.ndarray) -> bytes:
    return zlib.compress(mask.tobytes(), 1)


def _points(points: Points) -> np.ndarray:
    """Points (n, 2) of x and y, at a distance that no screen exceeds."""
    try:
        found = np.array(points, float)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 2 or found.shape[1] != 2 or not 0 < len(found) <= MOST_POINTS or not (abs(found) < 1e5).all():
        raise ValueError(f"expected 1 to {MOST_POINTS} points (x, y) in px, got {str(points)[:60]}")
    return found
