r"""Architecture of label masks: what lies beside what, how thick it is, and whether glands are closed.

Shares of labels (`spatial.label_fractions`) say how much of each there is; these numbers say what it forms. Masks are
integers (H, W), 0 unknown, air and lumen 5 as everywhere (`labels.LABELS`); lengths come in cells or pixels, whichever
the mask has.

- *Adjacency*: of all pairs of neighbours with two different labels, the share that each two labels have. Annotators
  leave borders unknown, so that `filled` masks are compared.
- *Thickness*: twice the distance to the border of a region, at its skeleton: of a wall its width, of a disk its
  diameter; the median over the skeletons of all masks.
- *Lumens*: regions of air that touch carcinoma and no border of the mask. One is closed where at least `CLOSED` of the
  cells around it are carcinoma; a *gland* is a connected region of carcinoma.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import label as connected
from skimage.morphology import skeletonize

from ..labels import LABELS

CARCINOMA, AIR = LABELS.index("carcinoma"), LABELS.index("air")
REACH = 3  # cells: what `filled` gives to a neighbour; borders that annotators leave out are narrower
CLOSED = 0.95
_CORNERS = np.ones((3, 3))


@dataclass(frozen=True)
class Lumens:
    """Lumens of masks.

    Attributes
    ----------
    count : of lumens that do not touch the border.
    closed : share of them that carcinoma surrounds; nan where there are none.
    per_gland : closed ones for each gland, a connected region of carcinoma of at least `smallest` cells.
    area : of a lumen, the median; nan where there are none.
    """

    count: int
    closed: float
    per_gland: float
    area: float


def filled(mask: np.ndarray, reach: float = REACH) -> np.ndarray:
    """The mask with unknown cells up to `reach` away from a label given to the nearest one.

    >>> filled(np.array([[1, 0, 0, 3, 0, 0, 0, 0, 0]])).tolist()
    [[1, 1, 3, 3, 3, 3, 3, 0, 0]]
    """
    if mask.all() or not mask.any():
        return mask
    away, nearest = ndi.distance_transform_edt(mask == 0, return_indices=True)
    return np.where(away <= reach, mask[tuple(nearest)], mask)


def adjacency(masks: Iterable[np.ndarray], labels: int = len(LABELS)) -> np.ndarray:
    """Share of each two labels in all pairs of neighbours of two different labels, unknown left out.

    Returns
    -------
    float (labels, labels), symmetric, its upper triangle sums to 1; zeros where no two labels meet

    >>> adjacency([np.array([[1, 1, 3], [1, 1, 5]])])[1].tolist()
    [0.0, 0.0, 0.0, 0.3333333333333333, 0.0, 0.3333333333333333]
    """
    found = np.zeros((labels, labels))
    for mask in masks:
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            meet = (one != other) & (one > 0) & (other > 0)
            np.add.at(found, (one[meet], other[meet]), 1)
    found = found + found.T
    return found / max(np.triu(found).sum(), 1)


def thickness(masks: Iterable[np.ndarray], label: int) -> float:
    """Median thickness of the regions of a label, nan where there are none.

    >>> mask = np.ones((20, 20), int)
    >>> mask[:, 8:12] = 3
    >>> thickness([mask], 3)
    4.0
    """
    found = []
    for mask in masks:
        region = np.pad(mask == label, 1, mode="edge")  # what goes on beyond the border does not end there
        if region.any() and not region.all():
            away = ndi.distance_transform_edt(region)
            found.append(2 * away[skeletonize(region)])
    together = np.concatenate(found) if found else np.array([])
    return float(np.median(together)) if len(together) else float("nan")


def lumens(masks: Iterable[np.ndarray], smallest: int = 8) -> Lumens:
    """Lumens of glands, see the module.

    Parameters
    ----------
    smallest : smaller regions of air and of carcinoma are left out

    >>> mask = np.full((24, 24), 3)
    >>> mask[4:20, 4:20] = 1
    >>> mask[9:14, 9:14] = 5
    >>> lumens([mask])
    Lumens(count=1, closed=1.0, per_gland=1.0, area=25.0)
    """
    count = closed = glands = 0
    areas: list[float] = []
    for mask in masks:
        tumour = connected(mask == CARCINOMA, connectivity=2)
        glands += int((np.bincount(tumour.ravel())[1:] >= smallest).sum())
        parts = connected(mask == AIR, connectivity=1)
        for number, box in enumerate(ndi.find_objects(parts), start=1):
            at_border = any(s.start == 0 or s.stop == n for s, n in zip(box, mask.shape, strict=True))
            around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
            own = parts[around] == number
            if at_border or own.sum() < smallest:
                continue
            ring = mask[around][ndi.binary_dilation(own, _CORNERS) & ~own]
            tumours = (ring == CARCINOMA).mean()
            if tumours == 0:
                continue
            count, closed = count + 1, closed + int(tumours >= CLOSED)
            areas.append(float(own.sum()))
    nothing = float("nan")
    return Lumens(
        count,
        closed / count if count else nothing,
        closed / glands if glands else nothing,
        float(np.median(areas)) if areas else nothing,
    )


def continuity(masks: Iterable[np.ndarray], label: int) -> float:
    """Share of a label's cells that its largest region holds, mean of the masks that have it; nan where none has.

    Of walls that go on it is nearly 1, of pieces of walls one over their number.

    >>> continuity([np.array([[3, 1, 3], [3, 1, 1]])], 3)
    0.6666666666666666
    """
    shares = []
    for mask in masks:
        parts = connected(mask == label, connectivity=2)
        if parts.any():
            sizes = np.bincount(parts.ravel())[1:]
            shares.append(sizes.max() / sizes.sum())
    return float(np.mean(shares)) if shares else float("nan")
