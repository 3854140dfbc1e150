"""Cells drawn by hand: disks of known sizes in known colours."""

import math

import numpy as np
import pytest

from diffinfinite_lite.metrics.cells import LEAST_NUCLEI, nuclear_areas, nuclear_variation, red_cells_green

PINK, BLUE = (230, 180, 220), (80, 50, 140)


def disks(radii, side=224):
    """Nuclei of these radii on a grid."""
    rgb, (rows, columns) = np.full((side, side, 3), PINK, np.uint8), np.ogrid[:side, :side]
    for n, radius in enumerate(radii):
        y, x = 30 + 40 * (n // 5), 30 + 40 * (n % 5)
        rgb[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = BLUE
    return rgb


def test_areas_are_those_that_were_drawn():
    found = np.sort(nuclear_areas(disks([6, 8, 10])))
    np.testing.assert_allclose(found, np.pi * np.array([6, 8, 10]) ** 2, rtol=0.15)


def test_nuclei_that_touch_are_parted_and_those_at_the_border_or_outside_do_not_count():
    rgb, (rows, columns) = np.full((96, 96, 3), PINK, np.uint8), np.ogrid[:96, :96]
    for y, x in ((40, 36), (40, 50), (0, 80)):
        rgb[(rows - y) ** 2 + (columns - x) ** 2 <= 64] = BLUE
    assert len(nuclear_areas(rgb)) == 2
    left = np.zeros((96, 96), bool)
    left[:, :43] = True
    assert len(nuclear_areas(rgb, left)) == 1


def test_variation_is_that_of_one_picture_and_never_between_pictures():
    even = [disks([6] * LEAST_NUCLEI), disks([10] * LEAST_NUCLEI)]
    mixed = [disks([5, 11] * (LEAST_NUCLEI // 2))] * 2
    assert nuclear_variation(even, [None, None]) < 0.05
    areas = np.pi * np.array([5, 11]) ** 2
    assert nuclear_variation(mixed, [None, None]) == pytest.approx(areas.std() / areas.mean(), rel=0.15)
    assert math.isnan(nuclear_variation([disks([6] * (LEAST_NUCLEI - 1))], [None]))


def test_green_of_red_cells_is_theirs_alone():
    rgb = np.full((64, 64, 3), PINK, np.uint8)
    rgb[16:48, 16:48] = (220, 60, 110)
    assert red_cells_green([rgb]) == 60
    rgb[16:48, 16:48] = (220, 40, 100)
    assert red_cells_green([rgb]) == 40
    assert math.isnan(red_cells_green([np.full((64, 64, 3), 250, np.uint8)])) and math.isnan(red_cells_green([]))
