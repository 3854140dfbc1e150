r"""Tumours of the lung as regions: growth patterns of adenocarcinoma, nests of squamous carcinoma, and what is around.

One rule makes all glands: *epithelium lines what stroma bounds*. Stroma is drawn first (septa, cores of papillae, walls
of alveoli); a gland is what it leaves; as far as an epithelium is high, a gland is carcinoma, and farther in it is
lumen. So every lumen has a ring, whatever shape its gland has, and none is open to stroma. Sizes in um:

    acinus             80 to 190    glands of adenocarcinoma, with 4 to 40 of stroma between them
    epithelium         18 to 38     columnar cells, one row, two where it is cut obliquely; 12 to 22 in lepidic growth
    core of a papilla  8 to 20      a capillary in some collagen, lined on both sides
    lepidic            along the walls of alveoli, which fibrosis thickens by some um: the alveoli stay
    solid              glands without a lumen, thin septa; cribriform where round holes are punched into it
    squamous nest      120 to 320   smooth, often longer than wide; septa of 14 to 30 in sheets, up to 150 where a
                                    tumour is fibrous; a cleft at its border where tissue has shrunk
    necrosis           from 70 to 130 off the stroma, whose vessels feed a nest no farther (150 to 180 in Thomlinson and
                                    Gray 1955; less here, since few nests of a section are met in their middle)
    vessel             24 to 80 across, in stroma; aggregates of lymphocytes as wide

What one pattern is next to is drawn by fields as wide as `PLAN`, so that a large layout has regions of each; a *front*
to lung, or the edge of the piece of tissue, runs through some layouts. All of them are lung's own places (`lung`): a
front follows alveoli, and lepidic walls go on as walls of lung.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage as ndi

from .layout_fields import Shape, Voronoi, depth, field, tidy
from .layout_lung import AIR, OTHERS, UM, VESSEL, Alveoli, add_vessels, alveoli, furnish

CARCINOMA, NECROSIS, STROMA = 1, 2, 3
ACINUS, EPITHELIUM, LEPIDIC_CELLS, CORE = (80, 190), (18, 38), (12, 22), (8, 20)
HOLES = (48, 76)  # from one to the next, in cribriform glands
LINED = 95  # alveoli that tumour lines: they are not collapsed
NEST, SHEET_SEPTUM, FIBROUS_SEPTUM, VIABLE = (120, 320), (14, 30), (40, 150), (70, 130)
ROUND = 1.5  # cells: standard deviation of the smoothing that takes corners off glands and nests
PLAN = 240  # um: standard deviation of the fields that say which pattern is where
FRONT_WITHIN = 2000  # um: a front is not farther from the middle of a layout than that
GLASS = 0.3  # share of the fronts at which the tissue ends
GROWTHS = ("acinar", "papillary", "lepidic", "solid", "cribriform")
COMMON = (0.7, 0.5, 0.5, 0.0, -0.3)  # of the growths: added to their fields, of which the largest wins
VESSELS_PER_MM2, FOLLICLES_PER_MM2 = 10, 3  # of all area, where stroma has the room


def adenocarcinoma(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Glands, papillae, lepidic and solid growth (uint8 array of `shape`), some with a front to lung."""
    lung = alveoli(shape, rng, least=LINED)
    front = _front(shape, rng)
    glass = rng.random() < GLASS
    outside = np.zeros(shape, bool) if front is None else front > 0 if glass else _snapped(front, lung)
    glands = Voronoi(shape, rng.uniform(*ACINUS) / UM, rng, warp=0.16, merge=0.08, stretch=rng.uniform(1, 1.3))
    growth = _growths(glands, front, rng)
    stroma = _glandular_stroma(glands, growth, lung, rng)
    scar = field(shape, 100 / UM, rng) > rng.uniform(1.5, 2.8)
    stroma |= scar | outside
    stroma |= ndi.binary_dilation(outside, iterations=1)
    labels = np.where(stroma, STROMA, CARCINOMA).astype(np.uint8)
    labels[_lumens(glands, growth, stroma, rng)] = AIR
    labels = tidy(labels)
    _furnish_stroma(labels, rng)
    return _with_outside(labels, outside, None if glass else lung, rng)


def squamous(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Nests and sheets of carcinoma with smooth septa, some dead inside (uint8 array of `shape`)."""
    lung = alveoli(shape, rng, least=LINED)
    front = _front(shape, rng)
    glass = rng.random() < GLASS
    outside = np.zeros(shape, bool) if front is None else front > 0 if glass else _snapped(front, lung)
    size = rng.uniform(*NEST) / UM
    nests = Voronoi(shape, size, rng, warp=0.25, merge=rng.uniform(0.05, 0.2), stretch=rng.uniform(1, 1.5), rough=0.2)
    fibrous = 1 / (1 + np.exp(-2.5 * (field(shape, PLAN / UM, rng) + rng.uniform(-2.6, 0.6))))  # 0 in sheets
    thin, wide = rng.uniform(*SHEET_SEPTUM) / UM / 2, rng.uniform(*FIBROUS_SEPTUM) / UM / 2
    wide = min(wide, 0.28 * size)  # or no nest would be left
    septum = thin + (wide - thin) * fibrous + (0.4 + 1.5 * fibrous) * field(shape, 7, rng)
    inside = ndi.gaussian_filter(nests.wall, ROUND) - np.maximum(septum, 1.9)  # less, and septa have gaps
    body = inside > 0
    body &= ~ndi.binary_dilation(outside, iterations=int(rng.uniform(2, 9)))
    labels = np.where(body, CARCINOMA, STROMA).astype(np.uint8)
    dead = depth(body) > rng.uniform(*VIABLE) / UM + 1.8 * field(shape, 4, rng)
    labels[dead & (rng.random(nests.count) < rng.uniform(0.1, 0.8))[nests.owner]] = NECROSIS
    cleft = ~body & (ndi.distance_transform_edt(~body) < rng.uniform(1.1, 2.3)) & (fibrous > 0.25)
    labels[cleft & (field(shape, 16, rng) > rng.uniform(0.9, 1.8))] = AIR
    labels = tidy(labels)
    _furnish_stroma(labels, rng)
    return _with_outside(labels, outside, None if glass else lung, rng)


def _front(shape: Shape, rng: np.random.Generator) -> np.ndarray | None:
    """Signed distance (h, w) to the border of the tumour in cells, outside of it positive; None where it is far."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0.04, 1) * FRONT_WITHIN / UM
    y, x = np.ogrid[: shape[0], : shape[1]]
    away = (y - shape[0] / 2) * np.sin(angle) + (x - shape[1] / 2) * np.cos(angle) - offset
    away = away + 14 * field(shape, 45, rng) + 4 * field(shape, 14, rng)
    return away if away.max() > -60 else None


def _snapped(front: np.ndarray, lung: Alveoli) -> np.ndarray:
    """What lies outside, whole alveoli at a time, bool (h, w)."""
    return (lung.places.means(front) > 0)[lung.places.owner]


def _growths(glands: Voronoi, front: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Which of `GROWTHS` is where, whole glands at a time, int (h, w); lepidic growth likes the front."""
    shape = glands.owner.shape
    liking = rng.normal(COMMON, 0.9)
    scores = [glands.means(field(shape, PLAN / UM, rng)) + one for one in liking]
    if front is not None:
        scores[GROWTHS.index("lepidic")] += 2 * np.exp(-np.abs(glands.means(front)) / 40)
    return np.argmax(scores, axis=0)[glands.owner]


def _glandular_stroma(glands: Voronoi, growth: np.ndarray, lung: Alveoli, rng: np.random.Generator) -> np.ndarray:
    """Septa between glands, cores of papillae, walls of alveoli, bool (h, w)."""
    shape = growth.shape
    half = np.maximum(rng.uniform(0.7, 2.8) + 0.9 * field(shape, 12, rng), 0.75)
    septa = ndi.gaussian_filter(glands.wall, ROUND) < half + 0.4  # glands are round where walls meet
    thin = (glands.wall < 0.9) & (field(shape, 10, rng) > rng.uniform(0.0, 1.0))  # sheets are hardly divided
    return np.select(
        [growth == GROWTHS.index(name) for name in ("papillary", "lepidic", "solid", "cribriform")],
        [_cores(shape, rng), _fibrous_walls(lung, rng), thin, thin],
        septa,
    ) | _between(glands, growth, half)


def _between(glands: Voronoi, growth: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Septa where two growths meet."""
    meet = ndi.maximum_filter(growth, 5) != ndi.minimum_filter(growth, 5)
    return meet & (glands.inner < np.minimum(half, 1.5))


def _cores(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Cores of papillae: bent strands that end in the open, bool (h, w)."""
    spacing = rng.uniform(20, 32) / UM
    strands = np.abs(field(shape, spacing, rng)) * spacing  # about the distance to the line where the field is 0
    ends = field(shape, 1.6 * spacing, rng) < rng.uniform(0.8, 1.6)
    return (strands < rng.uniform(*CORE) / UM / 2 + 0.5) & ends


def _fibrous_walls(lung: Alveoli, rng: np.random.Generator) -> np.ndarray:
    """Walls of alveoli, thicker than lung has them, bool (h, w)."""
    return ndi.distance_transform_edt(~lung.walls) < rng.uniform(0.3, 1.3)


def _lumens(glands: Voronoi, growth: np.ndarray, stroma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where glands are open, bool (h, w)."""
    shape = growth.shape
    ring = rng.uniform(*EPITHELIUM) / UM + 0.5 * field(shape, 3, rng)
    ring += rng.uniform(-0.8, 1.2, glands.count)[glands.owner]
    low = rng.uniform(*LEPIDIC_CELLS) / UM + 0.4 * field(shape, 3, rng)
    ring = np.maximum(np.where(growth == GROWTHS.index("lepidic"), low, ring), 2)
    inner = ndi.gaussian_filter(depth(~stroma), ROUND)
    closed = (rng.random(glands.count) < rng.uniform(0, 0.25))[glands.owner] & (growth == GROWTHS.index("acinar"))
    solid = growth >= GROWTHS.index("solid")
    lumens = (inner > ring) & ~solid & ~closed
    if (growth == GROWTHS.index("cribriform")).any():
        holes = Voronoi(shape, rng.uniform(*HOLES) / UM, rng, warp=0.05)
        chosen = (rng.random(holes.count) < rng.uniform(0.4, 0.8))[holes.owner]
        round_ = ndi.gaussian_filter(holes.wall, ROUND) > rng.uniform(0.2, 0.3) * HOLES[0] / UM
        lumens |= (growth == GROWTHS.index("cribriform")) & chosen & round_ & (inner > 3)
    return lumens


def _furnish_stroma(labels: np.ndarray, rng: np.random.Generator) -> None:
    """Vessels and aggregates of lymphocytes (4), where stroma has the room for them."""
    room = depth(labels == STROMA)
    area = labels.size * (UM / 1000) ** 2
    drawn = labels.copy()
    add_vessels(drawn, room > VESSEL[0] / UM, VESSELS_PER_MM2, rng)
    places = np.argwhere(room > 5)
    y, x, bent = *np.ogrid[: labels.shape[0], : labels.shape[1]], 1 + 0.25 * field(labels.shape, 5, rng)
    for _ in range(rng.poisson(FOLLICLES_PER_MM2 * area) if len(places) else 0):
        row, column = places[rng.integers(len(places))]
        radius = rng.uniform(*VESSEL) / UM
        drawn[np.hypot(y - row, x - column) < radius * bent] = OTHERS
    changed = (labels == STROMA) & (room > 1)
    labels[changed] = drawn[changed]


def _with_outside(
    labels: np.ndarray, outside: np.ndarray, lung: Alveoli | None, rng: np.random.Generator
) -> np.ndarray:
    """The tumour with lung outside of it, or glass where there is none."""
    if outside.any():
        labels[outside] = AIR if lung is None else furnish(lung, rng)[outside]
    return labels


PATTERNS: dict[str, Callable[[Shape, np.random.Generator], np.ndarray]] = {
    "adenocarcinoma": adenocarcinoma,
    "squamous": squamous,
}
