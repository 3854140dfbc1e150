r"""Simulated tissue layouts: label maps drawn by a recipe, one recipe for each growth pattern of the lung.

Nobody publishes large lung masks with every region drawn. What this module makes is *simulated* and always to
be called so: it teaches a mask model what glands, nests and alveoli look like as regions. One cell is 8 px,
about 4 um.

Two ingredients. A band-limited Gaussian field :math:`f_\sigma = G_\sigma * w / \mathrm{std}` (:math:`w` white
noise) bends coordinates and switches patterns. A Voronoi diagram of jittered seeds :math:`p_i` gives every
cell its distance to the next wall, :math:`(|x - p_j|^2 - |x - p_i|^2) / (2 |p_j - p_i|)`, with :math:`p_i,
p_j` its two nearest seeds:

    adenocarcinoma  wall < a: stroma; a..b: a ring of carcinoma; beyond: lumen, air (some stay solid)
    squamous        merged Voronoi cells are nests; few walls make sheets; deep inside, some necrosis
    normal          walls are septa (others) with gaps, airspaces are air; vessels are rings of others

Calibrated to the pseudo-annotations of `annotate` on one LC25000 training tile per cluster. The shares of the
labelled area (carcinoma / necrosis / walls / air; walls are stroma, in normal lung others) and the median widest point
of walls and air are

                    pseudo-annotations                            layouts
    adenocarcinoma  0.68 / 0 / 0.12 / 0.20, 4 and 5 cells         0.62 / 0 / 0.17 / 0.21, 3 and 6
    squamous        0.95 / 0 / 0.02 / 0.03, 3 and 4               0.81 / 0.03 / 0.13 / 0.03, 4 and 3
    normal          0 / 0 / 0.40 / 0.60, 4 and 8                  0 / 0 / 0.36 / 0.64, 4 and 6

Squamous gets more stroma and necrosis on purpose: the pseudo-annotations leave most stroma and all necrosis
unknown there, so they cannot calibrate them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

UNKNOWN, CARCINOMA, NECROSIS, STROMA, OTHERS, AIR = range(6)
_MARGIN = 12  # cells drawn around the layout and cropped: its border is like its middle


def layout(context: str, size: tuple[int, int], rng: np.random.Generator | torch.Generator) -> np.ndarray:
    """One simulated label map.

    Parameters
    ----------
    context : {'adenocarcinoma', 'squamous', 'normal'}
    size : (height, width) in mask cells of 8 px, each at least 1.
    rng : the only source of randomness; a torch generator seeds a numpy one.

    Returns
    -------
    uint8 array (height, width)
        0 unknown (about 5%), 1 carcinoma, 2 necrosis, 3 stroma, 4 others, 5 air.

    Raises
    ------
    ValueError
        If the context is unknown or the size is not two positive integers.

    >>> labels = layout("normal", (28, 40), np.random.default_rng(0))
    >>> labels.shape, int((labels == CARCINOMA).sum())
    ((28, 40), 0)
    """
    if context not in PATTERNS:
        raise ValueError(f"expected a context out of {', '.join(PATTERNS)}, got {context!r}")
    if len(size) != 2 or min(size) < 1 or any(int(n) != n for n in size):
        raise ValueError(f"expected a size of two positive integers (height, width) in cells, got {size}")
    if isinstance(rng, torch.Generator):
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng, device=rng.device)))
    shape = (int(size[0]) + 2 * _MARGIN, int(size[1]) + 2 * _MARGIN)
    labels = PATTERNS[context](shape, rng)
    labels = _tidy(labels)
    labels[field(shape, 2.5, rng) > rng.uniform(1.5, 2.2)] = UNKNOWN  # an annotator leaves something out
    return labels[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN].copy()


def field(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field without detail finer than `sigma` cells, mean 0 and variance 1.

    Returns
    -------
    float array of `shape`

    >>> f = field((64, 64), 4, np.random.default_rng(0))
    >>> bool(abs(np.diff(f, axis=0)).max() < 1)
    True
    """
    coarse = max(int(sigma // 3), 1)  # a wide field is drawn on a coarse grid and stretched
    small = tuple(-(-n // coarse) + 3 for n in shape)
    noise = ndi.gaussian_filter(rng.standard_normal(small), sigma / coarse, mode="wrap")
    noise *= 2 * np.sqrt(np.pi) * sigma / coarse  # the standard deviation that smoothing took away
    if coarse > 1:
        noise = ndi.zoom(noise, coarse, order=1)
    return noise[: shape[0], : shape[1]]


class Voronoi:
    """Warped Voronoi diagram on a grid of cells.

    Attributes
    ----------
    owner : int array (h, w), index of the nearest seed.
    wall : float array (h, w), distance to the next wall in cells (walls between merged seeds do not count).
    count : number of seeds.
    """

    def __init__(self, shape, spacing, rng, warp=0.2, merge=0.0, stretch=1.0):
        bend = warp * spacing
        grid = np.indices(shape, dtype=np.float64)
        points = np.stack(
            [g + bend * field(shape, spacing / 3, rng) + 0.8 * field(shape, 2, rng) for g in grid], axis=-1
        )
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [
            [stretch],
            [1 / stretch],
        ]
        points = points @ turn.T
        low, high = (
            points.reshape(-1, 2).min(axis=0) - 2 * spacing,
            points.reshape(-1, 2).max(axis=0) + 2 * spacing,
        )
        axes = [np.arange(a + rng.uniform(0, spacing), b, spacing) for a, b in zip(low, high, strict=True)]
        seeds = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        seeds += rng.uniform(-0.45, 0.45, seeds.shape) * spacing
        tree = cKDTree(seeds)
        distance, index = tree.query(points, k=4)
        group = np.arange(len(seeds))
        if merge:
            pairs = tree.query_pairs(1.3 * spacing, output_type="ndarray")
            for a, b in pairs[rng.random(len(pairs)) < merge]:
                group[group == group[b]] = group[a]
        first, square = index[..., 0], distance**2
        wall = np.full(shape, np.inf)
        for k in (1, 2, 3):
            # a point's distance to the bisector of its nearest seed and another one: (d_k^2 - d_0^2) / (2 |s_k - s_0|)
            between = np.linalg.norm(seeds[index[..., k]] - seeds[first], axis=-1)
            bisector = (square[..., k] - square[..., 0]) / (2 * np.maximum(between, 1e-9))
            wall = np.where(group[index[..., k]] != group[first], np.minimum(wall, bisector), wall)
        self.owner, self.wall, self.count = first, np.minimum(wall, 4 * spacing), len(seeds)


def adenocarcinoma(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Acinar and papillary glands: rings of carcinoma round a lumen, in stroma (uint8 array of `shape`)."""
    glands = Voronoi(shape, rng.uniform(15, 26), rng, warp=0.18, merge=0.06, stretch=rng.uniform(1, 1.35))
    septum = np.maximum(rng.uniform(0.3, 1.1) + 0.7 * field(shape, 9, rng), 0)
    ring = rng.uniform(3.4, 5.4) + rng.uniform(-1, 2, glands.count)[glands.owner] + 0.7 * field(shape, 3, rng)
    solid = (rng.random(glands.count) < rng.uniform(0.1, 0.35))[glands.owner]
    labels = np.full(shape, STROMA, np.uint8)
    body = glands.wall > septum
    labels[body] = CARCINOMA
    labels[body & ~solid & (glands.wall > septum + np.maximum(ring, 2))] = AIR
    # papillary: the space is shared, tumour lines stalks of stroma
    stalks = np.abs(field(shape, rng.uniform(5, 8), rng))
    papillary = np.select([stalks < 0.12, stalks < 0.8], [STROMA, CARCINOMA], AIR).astype(np.uint8)
    where = field(shape, 26, rng)
    labels = np.where(where > rng.uniform(0.7, 1.6), papillary, labels)
    bands = where + 0.35 * field(shape, 6, rng) < -rng.uniform(1.8, 2.8)  # desmoplastic stroma
    return _vessels(np.where(bands, STROMA, labels).astype(np.uint8), rng, 1 / 2500, bands, STROMA)


def squamous(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Nests and sheets of carcinoma in stroma, some with a necrotic centre (uint8 array of `shape`)."""
    nests = Voronoi(
        shape, rng.uniform(16, 30), rng, warp=0.25, merge=rng.uniform(0.1, 0.3), stretch=rng.uniform(1, 1.5)
    )
    sheet = field(shape, 26, rng) + rng.uniform(-0.9, 0.7)
    septum = rng.uniform(1.2, 2.2) + 0.8 * field(shape, 6, rng) - 1.6 * np.maximum(sheet, 0)
    labels = np.where(nests.wall > septum, CARCINOMA, STROMA).astype(np.uint8)
    depth = ndi.distance_transform_edt(np.pad(labels == CARCINOMA, 1, mode="edge"))[1:-1, 1:-1]
    chosen = (rng.random(nests.count) < rng.uniform(0, 0.28))[nests.owner]
    labels[chosen & (depth > 6 + 1.5 * field(shape, 3, rng)) & (nests.wall > 5)] = NECROSIS
    labels[(labels == STROMA) & (field(shape, 3, rng) > rng.uniform(0.4, 1.6))] = (
        AIR  # clefts
    )
    return _vessels(labels, rng, 1 / 3000, labels == STROMA, STROMA)


def normal(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Alveoli: airspaces between thin septa that have gaps, and vessels (uint8 array of `shape`)."""
    alveoli = Voronoi(
        shape, rng.uniform(11, 24), rng, warp=0.25, merge=rng.uniform(0.06, 0.2), stretch=rng.uniform(1, 1.3)
    )
    septum = rng.uniform(1.3, 2.6) + 0.8 * field(shape, 5, rng) + 0.5 * field(shape, 20, rng)
    septum = np.where(field(shape, 4, rng) > 1.5, 0, septum)
    labels = np.where(alveoli.wall < septum, OTHERS, AIR).astype(np.uint8)
    return _vessels(labels, rng, 1 / 1500, np.ones(shape, bool), OTHERS)


PATTERNS = {"adenocarcinoma": adenocarcinoma, "squamous": squamous, "normal": normal}


def _vessels(
    labels: np.ndarray, rng: np.random.Generator, density: float, where: np.ndarray, wall: int
) -> np.ndarray:
    """Draw bent ellipses: an empty lumen inside a wall of that label, at cells of `where`."""
    places = np.argwhere(where)
    for _ in range(rng.poisson(density * len(places))):
        row, col = places[rng.integers(len(places))]
        radius, thick = rng.uniform(2.5, 8), rng.uniform(1.5, 3.5)
        reach = int(2 * (radius + thick)) + 1
        rows, cols = (slice(max(c - reach, 0), c + reach + 1) for c in (row, col))
        y, x = np.ogrid[
            rows.start : min(rows.stop, labels.shape[0]), cols.start : min(cols.stop, labels.shape[1])
        ]
        angle, squeeze = rng.uniform(0, np.pi), rng.uniform(1, 1.8)
        u = (np.cos(angle) * (y - row) + np.sin(angle) * (x - col)) * squeeze
        v = np.cos(angle) * (x - col) - np.sin(angle) * (y - row)
        away = np.hypot(u, v) + 0.6 * np.sin(3 * np.arctan2(u, v) + angle)
        view = labels[rows, cols]
        view[away < radius + thick] = wall
        view[away < radius] = AIR
    return labels


def _tidy(labels: np.ndarray, smallest: int = 5) -> np.ndarray:
    """Give regions under `smallest` cells (about 320 px) to the label of their nearest larger neighbour."""
    small = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        parts, count = ndi.label(labels == label)
        small |= (np.bincount(parts.ravel(), minlength=count + 1) < smallest)[parts] & (parts > 0)
    if not small.any() or small.all():
        return labels
    nearest = ndi.distance_transform_edt(small, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]
