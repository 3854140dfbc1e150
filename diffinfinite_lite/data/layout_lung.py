r"""Lung without tumour: alveoli that open into ducts, vessels, an airway with its artery, septa between lobules.

Sizes are of lung as a pathologist cuts it, in um; a cell of a layout is `UM` um wide.

    alveolus          65 to 140   200 where lung is fixed inflated (Ochs et al. 2004, 4.2e6 um^3); a piece that was
                                  resected collapses by about a half, and a plane meets few in their middle
    its wall          11 to 28    5 to 8 of capillaries and fibres, more where the plane is oblique or lung is congested
    vessel in it      24 to 80 across, its wall an eighth of that
    bronchiole        160 to 500 across (terminal ones have 500 in inflated lung), wall 30 to 60, folded as it contracts
    its artery        as wide as the bronchiole or somewhat less, in one sheath with it
    septum of lobules 60 to 140, once a few millimetres, with a vein
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from ..labels import CELL_PX
from .layout_fields import Shape, Voronoi, field

UM = CELL_PX * 0.5  # side of a cell, at 0.5 um/px
OTHERS, AIR = 4, 5
ALVEOLUS, WALL, VESSEL = (65, 140), (11, 28), (24, 80)
BRONCHIOLE, BRONCHIOLE_WALL, SEPTUM = (160, 500), (30, 60), (60, 140)
PER_MM2 = {"vessel": 8, "bronchiole": 0.3}
SEPTUM_WITHIN = 1500  # um: the next septum is not farther from the middle of a layout than that


@dataclass(frozen=True)
class Alveoli:
    """Where air is, and where walls are.

    Attributes
    ----------
    walls : bool (h, w).
    places : the alveoli, those of one duct merged.
    """

    walls: np.ndarray
    places: Voronoi


def alveoli(shape: Shape, rng: np.random.Generator, least: float = ALVEOLUS[0]) -> Alveoli:
    """Closed airspaces between thin walls that go on; where alveoli share a duct, walls end in it.

    Parameters
    ----------
    least : how wide an alveolus is at least, um.
    """
    spacing, merge, stretch = rng.uniform(least, ALVEOLUS[1]) / UM, rng.uniform(0.1, 0.25), rng.uniform(1, 1.3)
    places = Voronoi(shape, spacing, rng, warp=0.22, merge=merge, stretch=stretch, rough=0.8)
    half = rng.uniform(*WALL) / UM / 2 + 0.5 * field(shape, 1.5, rng) + 0.4 * field(shape, 20, rng)
    half = np.maximum(half, 0.85)  # less, and a wall has gaps on a grid of cells
    half += 1.6 * np.maximum(field(shape, 7, rng) - 1.1, 0)  # cut obliquely
    walls = places.wall < half
    walls |= (places.inner < half) & (places.wall < rng.uniform(0.2, 0.4) * spacing)  # tips in a duct
    return Alveoli(walls, places)


def normal(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Lung: air (5) between thin walls, vessels, bronchioles and septa (4), uint8 array of `shape`."""
    return furnish(alveoli(shape, rng), rng)


def furnish(lung: Alveoli, rng: np.random.Generator) -> np.ndarray:
    """Alveoli with their vessels, and what lies between lobules, uint8 array."""
    shape = lung.walls.shape
    labels = np.where(lung.walls, OTHERS, AIR).astype(np.uint8)
    add_vessels(labels, lung.walls, PER_MM2["vessel"], rng)
    _septum(labels, rng)
    reach = int((BRONCHIOLE[1] + BRONCHIOLE_WALL[1]) / UM)  # one whose middle is not in the picture may be seen
    area = (shape[0] + 2 * reach) * (shape[1] + 2 * reach) * (UM / 1000) ** 2
    taken = np.zeros(shape, bool)
    for _ in range(rng.poisson(PER_MM2["bronchiole"] * area)):
        own = _bronchiole(shape, (rng.uniform(-reach, shape[0] + reach), rng.uniform(-reach, shape[1] + reach)), rng)
        if not taken[own > 0].any():
            labels[own > 0], taken = own[own > 0], taken | (own > 0)
    return labels


def add_vessels(labels: np.ndarray, where: np.ndarray, per_mm2: float, rng: np.random.Generator) -> None:
    """Draw vessels into labels, with their middle at cells of `where`: bent ellipses of a wall (4) and a lumen (5)."""
    places, drawn = np.argwhere(where), np.empty((0, 2))
    for _ in range(rng.poisson(per_mm2 * labels.size * (UM / 1000) ** 2) if len(places) else 0):
        row, column = places[rng.integers(len(places))]
        radius = rng.uniform(*VESSEL) / UM / 2
        if (np.hypot(*(drawn - [row, column]).T) < VESSEL[1] / UM).any():  # not into another one
            continue
        drawn = np.vstack([drawn, [row, column]])
        tube(labels, (row, column), radius, max(radius / 4, 1.5), rng)


def tube(
    labels: np.ndarray,
    middle: tuple[float, float],
    radius: float,
    thick: float,
    rng: np.random.Generator,
    folds: float = 0.0,
) -> None:
    """Draw one tube that is cut across: a lumen (5) in a wall (4).

    Parameters
    ----------
    middle, radius, thick : of the lumen, and how thick the wall is around it, cells.
    folds : of the lumen, as a share of its radius.
    """
    reach = int(1.6 * radius + thick + 3)
    rows, columns = (slice(max(int(c) - reach, 0), max(int(c) + reach + 1, 0)) for c in middle)
    view = labels[rows, columns]
    if not view.size:
        return
    y, x = np.ogrid[rows.start : rows.start + view.shape[0], columns.start : columns.start + view.shape[1]]
    turn, squeeze, phase = rng.uniform(0, np.pi), rng.uniform(1, 1.35), rng.uniform(0, 2 * np.pi)
    u = (np.cos(turn) * (y - middle[0]) + np.sin(turn) * (x - middle[1])) * squeeze
    v = (np.cos(turn) * (x - middle[1]) - np.sin(turn) * (y - middle[0])) / squeeze
    round_ = np.arctan2(u, v)
    away = np.hypot(u, v) * (1 + 0.05 * np.sin(3 * round_ + phase))
    inside = away * (1 + folds * np.sin(int(rng.integers(9, 15)) * round_ + phase))
    view[away < radius * (1 + folds) + thick] = OTHERS
    view[inside < radius] = AIR


def _bronchiole(shape: Shape, middle: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """An airway with folds, and beside it its artery, in one sheath: labels uint8 of `shape`, 0 elsewhere."""
    radius = np.exp(rng.uniform(*np.log(BRONCHIOLE))) / UM / 2  # small ones are more
    thick = rng.uniform(*BRONCHIOLE_WALL) / UM
    artery = radius * rng.uniform(0.5, 0.95)
    wall, angle = max(0.2 * artery, 3), rng.uniform(0, 2 * np.pi)
    apart = radius + thick + artery + wall
    beside = middle[0] + apart * np.sin(angle), middle[1] + apart * np.cos(angle)
    airway, vessel = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    tube(airway, middle, radius, thick, rng, folds=rng.uniform(0.03, 0.12))
    tube(vessel, beside, artery, wall, rng)
    own = np.where(airway > 0, airway, vessel)
    away = [
        ndi.distance_transform_edt(part == 0) if part.any() else np.full(shape, np.inf) for part in (airway, vessel)
    ]
    sheath = np.minimum(*away) < rng.uniform(2, 5)
    if np.isfinite(away).all():
        sheath |= sum(away) < sum(away).min() + 4  # what lies between the two, however far they are apart
    own[sheath & (own == 0)] = OTHERS
    return own


def _septum(labels: np.ndarray, rng: np.random.Generator) -> None:
    """The nearest septum between two lobules, from border to border, with a vein in it."""
    shape, angle = labels.shape, rng.uniform(0, np.pi)
    y, x = np.ogrid[: shape[0], : shape[1]]
    offset = rng.uniform(-SEPTUM_WITHIN, SEPTUM_WITHIN) / UM
    away = (y - shape[0] / 2) * np.sin(angle) + (x - shape[1] / 2) * np.cos(angle) - offset + 7 * field(shape, 30, rng)
    half = rng.uniform(*SEPTUM) / UM / 2
    inside = np.abs(away) < half + 1.5 * field(shape, 8, rng)
    labels[inside] = OTHERS
    places = np.argwhere(np.abs(away) < 1)
    if len(places):
        row, column = places[rng.integers(len(places))]
        tube(labels, (row, column), rng.uniform(0.5, 1.0) * half, 2, rng)
