r"""Outlines: the regions of a label mask as polygons with holes, along the edges of their pixels.

A mask comes in bands of rows and only its corners stay in memory, so that what is needed grows with the length of all
borders and not with the mask. A corner of a label is a point where its border turns. Along every horizontal line of the
pixel grid its corners are alternately the beginning and the end of a piece of border, and so they are along every
vertical line: going from partner to partner, across and down by turns, walks around a region.

Where two pixels of a label touch at a corner alone, that point is two corners. Which of them belong together decides
that such pixels are not connected: no border crosses itself, and one that touches itself is cut there, so that every
polygon is valid (OGC simple features): a hole may touch its outline in points, the inside is in one piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..labels import LABELS

Ring = list[tuple[int, int]]  # corners (x, y) in px, clockwise around a region, counter-clockwise around a hole
Polygon = list[Ring]  # an outline, and the holes in it


def outlines(bands: Iterable[np.ndarray]) -> Iterator[tuple[int, Polygon]]:
    """Label and polygon of every region of a mask, unknown pixels left out.

    Parameters
    ----------
    bands : labels uint8 (rows, W), 0 to 5, from top to bottom

    Yields
    ------
    Label and polygon, the labels one after the other. A pixel in row r and column c covers x from c to c + 1 and y from
    r to r + 1.

    >>> list(outlines([np.array([[0, 3, 3]])]))
    [(3, [[(1, 0), (3, 0), (3, 1), (1, 1)]])]
    """
    found: dict[int, list[_Corners]] = {label: [] for label in range(1, len(LABELS))}
    top, before = 0, None
    for band in bands:
        before = np.zeros_like(band[:1]) if before is None else before
        for label, corners in found.items():
            corners.append(_Corners.of(np.concatenate([before, band]) == label, top))
        top, before = top + len(band), band[-1:]
    if before is None:
        return
    for label, corners in found.items():
        corners.append(_Corners.of(np.concatenate([before == label, np.zeros_like(before, bool)]), top))
        yield from ((label, polygon) for polygon in _polygons(_Corners.join(corners)))


@dataclass(frozen=True)
class _Corners:
    """Corners of one label in reading order, arrays (n,); one where two pixels touch is there twice.

    Attributes
    ----------
    y, x : place on the pixel grid
    below : whether the pixel to the lower right is of the label
    turn : order of a corner among those of its place from top to bottom; from left to right it is that of the arrays
    """

    y: np.ndarray
    x: np.ndarray
    below: np.ndarray
    turn: np.ndarray

    @classmethod
    def of(cls, inside: np.ndarray, top: int) -> _Corners:
        """Corners on the lines between the rows of bool (n + 1, W), of which the first one lies above row ``top``."""
        inside = np.pad(inside, ((0, 0), (1, 1)))
        upper_left, upper_right, left, right = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
        touching = (upper_left == right) & (upper_right == left) & (upper_left != left)
        y, x = np.nonzero((upper_left ^ upper_right ^ left ^ right) | touching)
        copies = np.repeat(np.arange(len(y)), 1 + touching[y, x])
        second = np.diff(copies, prepend=-1) == 0
        y, x = y[copies], x[copies]
        # of the pixels to the upper right and lower left, the border that comes from the left goes on downwards
        turn = second ^ (touching & upper_right)[y, x]
        return cls(y + top, x, right[y, x], turn)

    @classmethod
    def join(cls, parts: list[_Corners]) -> _Corners:
        """Corners of bands that lie below each other."""
        names = ("y", "x", "below", "turn")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _polygons(corners: _Corners) -> Iterator[Polygon]:
    """Polygons of one label, in the order of their topmost rows."""
    down = np.lexsort((corners.turn, corners.y, corners.x))  # pairs are the ends of a vertical piece of border
    below = np.empty_like(down)
    below[down[0::2]], below[down[1::2]] = down[1::2], down[0::2]
    borders, owner = _walk(below)
    parents = _parents(corners, down, borders, owner)
    holes: dict[int, list[Ring]] = {}
    for border, parent in zip(borders[::-1], parents[::-1], strict=True):  # a hole begins below its outline's first row
        places = list(zip(corners.x[border].tolist(), corners.y[border].tolist(), strict=True))
        outline = bool(corners.below[border[0]])
        rings = list(_cut(places if outline else places[::-1]))
        holes.setdefault(parent, []).extend(ring for ring in rings if _area(ring) < 0)
        if outline:
            (shell,) = (ring for ring in rings if _area(ring) > 0)
            yield [shell, *holes.pop(parent, [])]


def _walk(below: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Borders as numbers of their corners from the topmost leftmost one to the right, and the border of each corner.

    Parameters
    ----------
    below : int (n,), the corner at the other end of the vertical piece of border at each corner; that of the
        horizontal one is the next corner of an even one, and the one before of an odd one
    """
    follow, owner, borders = below.tolist(), np.full(len(below), -1), []
    for start in range(0, len(follow), 2):
        if owner[start] >= 0:
            continue
        border, corner = [], start
        while True:
            border += [corner, corner ^ 1]
            corner = follow[corner ^ 1]
            if corner == start:
                break
        owner[border] = len(borders)
        borders.append(np.array(border))
    return borders, owner


def _parents(corners: _Corners, down: np.ndarray, borders: list[np.ndarray], owner: np.ndarray) -> list[int]:
    """The outline that every border belongs to: itself, or for a hole the one around it.

    It is found from the pixel above the hole's first corner to the left: the first border there belongs to the same
    region, and to a border that begins further up.
    """
    upper, lower = down[0::2], down[1::2]
    lengths = corners.y[lower] - corners.y[upper]
    edges = np.repeat(upper, lengths)
    rows = corners.y[edges] + np.arange(len(edges)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    width = int(corners.x.max(initial=0)) + 1
    keys = rows * width + corners.x[edges]
    order = np.argsort(keys)
    first = np.array([border[0] for border in borders], int)
    wanted = (corners.y[first] - 1) * width + corners.x[first]
    left = owner[edges[order[np.searchsorted(keys[order], wanted, side="right") - 1]]]
    parents: list[int] = []
    for number, outline in enumerate(corners.below[first].tolist()):
        parents.append(number if outline else parents[left[number]])
    return parents


def _cut(ring: Ring) -> Iterator[Ring]:
    """A ring that may touch itself as rings that do not."""
    path: Ring = []
    places: dict[tuple[int, int], int] = {}
    for corner in ring:
        if (first := places.get(corner)) is not None:
            yield path[first:]
            for passed in path[first + 1 :]:
                del places[passed]
            del path[first + 1 :]
        else:
            places[corner] = len(path)
            path.append(corner)
    yield path


def _area(ring: Ring) -> float:
    """Area of a ring in square px, negative for one that runs counter-clockwise (on the screen: y points down)."""
    following = ring[1:] + ring[:1]
    return sum(x * below - right * y for (x, y), (right, below) in zip(ring, following, strict=True)) / 2
