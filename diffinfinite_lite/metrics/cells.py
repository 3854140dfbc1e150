r"""Cells: what single ones look like, read off H&E pictures at about 0.5 um/px by classical image analysis.

Two numbers that rulers over whole tiles hardly see and pathologists do at once. *Red cells* absorb green light: paler
or bluer ones are no longer red. *Nuclei of a clone* vary in size; how much is what pleomorphism means, and a generator
that smudges and splits nuclei has too much of it. Neither is a diagnosis: nuclei are connected dark blue regions,
parted at their waists, and what is found on real pictures is the measure of what is found on others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage as ndi
from skimage.color import hed_from_rgb
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import clear_border, watershed

from ..data.annotate import measures
from ..data.stain import optical_density

SMALLEST_NUCLEUS = 30  # px, about 3 um across; what is smaller is a fragment or a speck
LEAST_RADIUS = 4  # px between the middles of two nuclei
LEAST_NUCLEI = 10  # of a picture, under which their sizes have no spread


def red_cells_green(pictures: Iterable[np.ndarray]) -> float:
    """Median green, 0 to 255, of all pixels of red cells (`annotate.measures`) in pictures uint8 (H, W, 3).

    nan where there are none.

    >>> blood = np.full((64, 64, 3), (220, 60, 110), np.uint8)
    >>> red_cells_green([blood])
    60.0
    """
    found = [rgb[::2, ::2, 1][measures(rgb, keratin=True)["red"]] for rgb in pictures]
    green = np.concatenate(found) if found else np.zeros(0)
    return float(np.median(green)) if len(green) else float("nan")


def nuclear_areas(rgb: np.ndarray, region: np.ndarray | None = None) -> np.ndarray:
    """Areas in px of the nuclei of a picture uint8 (H, W, 3) that its border does not cut.

    Parameters
    ----------
    region : bool (H, W), where the middles of nuclei have to lie

    >>> rows, columns = np.ogrid[:64, :64]
    >>> rgb = np.full((64, 64, 3), (230, 180, 220), np.uint8)
    >>> rgb[(rows - 20) ** 2 + (columns - 20) ** 2 < 64] = (80, 50, 140)
    >>> rgb[(rows - 45) ** 2 + (columns - 45) ** 2 < 64] = (80, 50, 140)
    >>> len(nuclear_areas(rgb))
    2
    """
    stain = ndi.gaussian_filter(optical_density(rgb, white=255) @ hed_from_rgb[:, 0].astype(np.float32), 1)
    if np.ptp(stain) == 0:
        return np.zeros(0)
    dark = ndi.binary_fill_holes(ndi.binary_opening(stain > threshold_otsu(stain), iterations=2))
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(dark), 1)
    middles = peak_local_max(depth, min_distance=LEAST_RADIUS, labels=dark.astype(int), exclude_border=False)
    seeds = np.zeros(dark.shape, int)
    seeds[tuple(middles.T)] = np.arange(1, len(middles) + 1)
    parts = clear_border(watershed(-depth, seeds, mask=dark))
    areas = np.bincount(parts.ravel(), minlength=len(middles) + 1)[1:]
    inside = np.ones(len(middles), bool) if region is None else region[tuple(middles.T)]
    return areas[inside & (areas >= SMALLEST_NUCLEUS)].astype(float)


def nuclear_variation(pictures: Iterable[np.ndarray], regions: Iterable[np.ndarray | None]) -> float:
    """Standard deviation over mean of `nuclear_areas` within a picture, the median over pictures.

    Pictures with fewer than `LEAST_NUCLEI` nuclei do not count; nan where none counts. In a tumour a picture of 0.1 mm
    is as good as one clone.

    Parameters
    ----------
    regions : of each picture, see `nuclear_areas`
    """
    found = (nuclear_areas(rgb, region) for rgb, region in zip(pictures, regions, strict=True))
    spreads = [areas.std() / areas.mean() for areas in found if len(areas) >= LEAST_NUCLEI]
    return float(np.median(spreads)) if spreads else float("nan")
