r"""Stain normalisation: bring the pictures of every source to one committed pair of stain colours.

Beer-Lambert: a pixel of intensity :math:`I` behind white light :math:`I_0` has the optical density
:math:`\mathrm{OD} = -\log(I / I_0) = C\,S`: concentrations :math:`C` times the unit colours :math:`S` of
haematoxylin, eosin and a third, orthogonal direction that keeps what the two stains cannot explain (the red of
erythrocytes). Macenko et al. (2009) read the two stain colours off the data: they are the extreme directions of the
optical densities in the plane of their two largest principal components.

A profile is read off many tiles of one *source* (same laboratory, same scanner), not off each tile: a single tile
may show one stain only, and then its "stains" are noise (docs/adr/0005). White light is balanced per tile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TISSUE_DENSITY = 0.12  # optical density under which a pixel counts as glass
MAX_DENSITY = 2.4  # darker than 9% of the light a camera clips one channel first, and clipping is not eosin
MAX_RESCALE = 1.5  # a pale source gets darker by no more than this, or its noise turns into chromatin
PROFILES = Path(__file__).parents[1] / "registry" / "stains.json"


@dataclass(frozen=True)
class StainProfile:
    """How one source renders the two stains.

    Attributes
    ----------
    stains : tuple of two (R, G, B) unit optical-density colours, haematoxylin first.
    strength : their 95th-percentile concentrations in tissue (dimensionless).
    """

    stains: tuple[tuple[float, float, float], tuple[float, float, float]]
    strength: tuple[float, float]

    def basis(self) -> np.ndarray:
        """Unit colours of haematoxylin, eosin and the residual, shape (3, 3)."""
        pair = np.array(self.stains)
        residual = np.cross(*pair)
        return np.vstack([pair, residual / np.linalg.norm(residual)])


# Normal lung of LC25000 as its camera saw it, eosin a little paler: vivid, and familiar to a pathologist.
TARGET = StainProfile(((0.65, 0.75, 0.12), (0.12, 0.97, 0.22)), (1.4, 1.25))


def optical_density(rgb: np.ndarray, white: float | None = None) -> np.ndarray:
    """Optical density of a picture, white-balanced on its own brightest pixels or against a given white.

    Parameters
    ----------
    rgb : uint8 array (H, W, 3); with `white` also floats of the same range
    white : grey level of glass, 255 in a stain-normalised picture; None takes the picture's own brightest pixels

    Returns
    -------
    float32 array (H, W, 3), dimensionless; without `white` in [0, MAX_DENSITY], with it log((white + 1) / (rgb + 1)).

    Raises
    ------
    ValueError
        If the picture is not (H, W, 3) bytes.

    >>> float(optical_density(np.full((4, 4, 3), 250, np.uint8)).max())
    0.0
    >>> optical_density(np.full((1, 1, 3), 127, np.uint8), white=255)[0, 0].round(3).tolist()
    [0.693..., 0.693..., 0.693...]
    """
    if white is not None and rgb.ndim == 3 and rgb.shape[2] == 3:
        return -np.log((rgb.astype(np.float32) + 1) / (white + 1))
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"expected an RGB picture of bytes (H, W, 3), got shape {rgb.shape} of {rgb.dtype}")
    values = rgb.astype(np.float32)
    if white is None:
        light = values.mean(axis=2)
        brightest = values[light >= 0.93 * np.percentile(light, 99)]
        white = np.clip(np.median(brightest, axis=0), 160, 255)
    return np.clip(np.log(white / np.maximum(values, 1)), 0, MAX_DENSITY)


def fit_profile(pictures: Iterable[np.ndarray]) -> StainProfile:
    """Read the stain colours and strengths off tiles of one source (Macenko et al. 2009, pooled).

    Parameters
    ----------
    pictures : iterable of uint8 arrays (H, W, 3)

    Raises
    ------
    ValueError
        If the pictures show too little tissue to tell the stains.
    """
    pixels = np.concatenate([optical_density(rgb).reshape(-1, 3)[::37] for rgb in pictures])
    pixels = pixels[np.all(pixels > TISSUE_DENSITY, axis=1)]
    if len(pixels) < 500:
        raise ValueError(f"expected at least 500 tissue pixels to read the stains from, got {len(pixels)}")
    plane = np.linalg.eigh(np.cov(pixels.T))[1][:, [2, 1]]
    plane *= np.where(plane.sum(axis=0) < 0, -1, 1)
    angles = np.arctan2(*(pixels @ plane)[:, ::-1].T)
    pair = np.array([plane @ [np.cos(a), np.sin(a)] for a in np.percentile(angles, [1, 99])])
    pair /= np.linalg.norm(pair, axis=1, keepdims=True)
    pair = pair[np.argsort(-pair[:, 0])]  # haematoxylin absorbs more red
    profile = StainProfile(tuple(map(tuple, pair.tolist())), (1.0, 1.0))
    strength = np.percentile((pixels @ np.linalg.inv(profile.basis()))[:, :2], 95, axis=0)
    return StainProfile(profile.stains, tuple(strength.tolist()))


def profiles(file: Path = PROFILES) -> dict[str, StainProfile]:
    """The committed profiles of the catalog's sources, by name such as ``lc25000-lung/lung_aca``."""
    return {
        name: StainProfile(tuple(map(tuple, p["stains"])), tuple(p["strength"]))
        for name, p in json.loads(file.read_text(encoding="utf-8")).items()
    }


def normalise(rgb: np.ndarray, source: StainProfile, target: StainProfile = TARGET) -> np.ndarray:
    """The same tissue in the target's stain colours.

    Parameters
    ----------
    rgb : uint8 array (H, W, 3)
    source, target : the profile of the picture's source and the one wanted.

    Returns
    -------
    uint8 array (H, W, 3)

    >>> glass = np.full((32, 32, 3), 240, np.uint8)
    >>> int(normalise(glass, TARGET).min())
    255
    """
    concentration = optical_density(rgb).reshape(-1, 3) @ np.linalg.inv(source.basis())
    scale = np.array(target.strength) / np.maximum(source.strength, 1e-3)
    concentration[:, :2] *= np.minimum(scale, MAX_RESCALE)
    result = 255 * np.exp(-concentration @ target.basis())
    return np.clip(np.rint(result), 0, 255).astype(np.uint8).reshape(rgb.shape)
