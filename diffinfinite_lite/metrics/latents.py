r"""What an autoencoder's latents are like, for the model that has to paint them. Arrays (N, C, h, w) in, numbers out.

*Unpredictable share.* Part of each number of a latent z follows from the eight latents around it. With B the linear
map that predicts z best from them,

.. math:: \frac{\sum |z - B\,\mathcal{N}(z)|^2}{\sum |z - \bar z|^2},

1 for white noise, near 0 for a smooth picture: what a model over them has to invent, position by position.

*Slope.* Mean power in the lowest ring of frequencies over that at Nyquist: 1 for white noise, large where layout and
detail are set apart, as in pictures.

*Ring.* Root mean square by distance from the tile's border over that inside. Anything but 1 says where the border was.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .spectra import power, rings

RING = 4  # latents from the border that are looked at one by one
MAX_PLACES = 40_000  # that the prediction is fitted on


def unpredictable_share(latents: np.ndarray) -> float:
    """Share of the variance that the eight neighbours do not explain by a linear map, from 0 to 1.

    Half of the tiles fit the map, the other half is judged.

    Raises
    ------
    ValueError : fewer than 2 tiles, smaller than 3 x 3, or fewer places than the map has numbers.

    >>> noise = np.random.default_rng(0).normal(size=(8, 2, 16, 16))
    >>> bool(0.95 < unpredictable_share(noise) < 1.1)
    True
    """
    latents = _checked(latents, 3)
    fitted, judged = (_neighbours(half) for half in (latents[::2], latents[1::2]))
    if len(fitted[0]) < 2 * fitted[0].shape[1]:
        wanted = f"at least {2 * fitted[0].shape[1]} places to fit {fitted[0].shape[1]} numbers"
        raise ValueError(f"expected {wanted}, got {len(fitted[0])}")
    solved = np.linalg.lstsq(fitted[0], fitted[1], rcond=None)[0]
    left = ((judged[1] - judged[0] @ solved) ** 2).sum()
    return float(left / ((judged[1] - judged[1].mean(0)) ** 2).sum())


def _neighbours(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eight neighbours of each place in all channels and a 1, (places, 8 C + 1); the place itself, (places, C)."""
    channels = latents.shape[1]
    seen = sliding_window_view(latents, (3, 3), axis=(2, 3)).transpose(0, 2, 3, 4, 5, 1).reshape(-1, 9, channels)
    seen = seen[:: max(1, len(seen) // MAX_PLACES)]
    around = np.delete(seen, 4, axis=1).reshape(len(seen), -1)
    return np.hstack([around, np.ones((len(seen), 1))]), seen[:, 4]


def spectral_slope(latents: np.ndarray) -> float:
    """Mean power of the lowest ring of frequencies over that of the highest.

    >>> noise = np.random.default_rng(0).normal(size=(32, 2, 16, 16))
    >>> bool(0.7 < spectral_slope(noise) < 1.4)
    True
    """
    found = rings(power(_checked(latents, 16)))
    return float(found[2] / found[-1])  # ring 1 holds what the window spreads of ring 0, which is taken away


def border_ring(latents: np.ndarray) -> list[float]:
    """Root mean square at distances 0, 1, 2 and 3 from the border over that further inside.

    >>> z = np.ones((1, 1, 12, 12))
    >>> z[..., 0, :] = z[..., -1, :] = z[..., :, 0] = z[..., :, -1] = 2
    >>> border_ring(z)
    [2.0, 1.0, 1.0, 1.0]
    """
    latents = _checked(latents, 2 * RING + 1, least=1)
    height, width = latents.shape[2:]
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in (height, width))
    distance = np.minimum(rows[:, None], columns)
    square = (latents**2).mean((0, 1))
    inside = square[distance >= RING].mean()
    return [float(np.sqrt(square[distance == n].mean() / inside)) for n in range(RING)]


def _checked(latents: np.ndarray, side: int, least: int = 2) -> np.ndarray:
    latents = np.asarray(latents, dtype=np.float64)
    if latents.ndim != 4 or len(latents) < least or min(latents.shape[2:]) < side:
        wanted = f"latents (N, C, h, w) of at least {least} tiles of {side} x {side}"
        raise ValueError(f"expected {wanted}, got {latents.shape}")
    if not np.isfinite(latents).all():
        raise ValueError("expected finite latents, got NaN or infinity")
    return latents
