"""Gaussian noise that belongs to a place, and windows that belong to a level.

Noise is a function of (seed, stream, place) and a level's windows are a function of (seed, level): a sample does not
depend on the batch size, on how a canvas is cut into chunks, on where a run stopped, or on which machine computes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .windows import Size, Window

BLOCK = 64  # side of the squares in which noise is drawn, latent pixels; part of what a seed means


def coordinate_noise(seed: int, stream: int, channels: int, window: Window) -> Tensor:
    """Standard Gaussian noise as a pure function of seed, stream and place.

    Every `BLOCK` x `BLOCK` square of the latent plane has its own counter-based generator (Philox), keyed
    by seed and stream and counted by the square's place: any part of the plane can be computed alone, in
    any order, on any machine, with the same bits.

    Parameters
    ----------
    seed, stream : whole numbers, 0 .. 2**64 - 1; a stream is one use of noise, such as one level
    channels : C
    window : part of the plane, not wrapping; it may lie at negative places

    Returns
    -------
    float32 (C, h, w)

    Raises
    ------
    ValueError : seed out of range.

    >>> plane = coordinate_noise(1, 0, 4, Window(0, 0, 100, 100))
    >>> bool((coordinate_noise(1, 0, 4, Window(60, 5, 9, 9)) == plane[:, 60:69, 5:14]).all())
    True
    """
    _check_seed(seed)
    noise = np.empty((channels, window.height, window.width), np.float32)
    for row, inside_rows, from_rows in _blocks(window.top, window.height):
        for column, inside_columns, from_columns in _blocks(window.left, window.width):
            place = [0, 0, row % 2**64, column % 2**64]  # a canvas without edges goes on to the left and above
            philox = np.random.Philox(key=np.array([seed, stream], np.uint64), counter=np.array(place, np.uint64))
            block = np.random.Generator(philox).standard_normal((channels, BLOCK, BLOCK), dtype=np.float32)
            noise[:, inside_rows, inside_columns] = block[:, from_rows, from_columns]
    return torch.from_numpy(noise)


def _blocks(start: int, extent: int) -> Iterator[tuple[int, slice, slice]]:
    """Blocks an interval meets: number, slice of the interval, slice of the block."""
    for block in range(start // BLOCK, -(-(start + extent) // BLOCK)):
        first, last = max(start, block * BLOCK), min(start + extent, (block + 1) * BLOCK)
        yield block, slice(first - start, last - start), slice(first - block * BLOCK, last - block * BLOCK)


def wrapping_noise(seed: int, stream: int, channels: int, window: Window, size: Size) -> Tensor:
    """`coordinate_noise` of a window that may go on at the other border of a canvas (H, W).

    >>> plane = coordinate_noise(1, 0, 2, Window(0, 0, 5, 7))
    >>> bool((wrapping_noise(1, 0, 2, Window(4, 6, 2, 2), (5, 7)) == plane[:, [4, 0]][:, :, [6, 0]]).all())
    True
    """

    def pieces(start: int, extent: int, n: int) -> Iterator[tuple[int, int]]:
        inside = min(extent, n - start)
        yield start, inside
        if inside < extent:
            yield 0, extent - inside

    columns = list(pieces(window.left, window.width, size[1]))
    rows = [
        torch.cat([coordinate_noise(seed, stream, channels, Window(top, left, h, w)) for left, w in columns], dim=2)
        for top, h in pieces(window.top, window.height, size[0])
    ]
    return torch.cat(rows, dim=1)


class NoiseField:
    """The Gaussian noise of one run, by level and place.

    Parameters
    ----------
    seed : whole number, 0 .. 2**64 - 1
    channels : C of the latents
    device : of the canvas
    """

    def __init__(self, seed: int, channels: int, device: torch.device) -> None:
        self._seed, self._channels, self._device = seed, channels, device

    def entering(self, state: int, part: Window) -> Tensor:
        """Noise that enters state number ``state`` of the canvas (0: the start), float32 (C, h, w)."""
        return coordinate_noise(self._seed, 2 * state, self._channels, part).to(self._device)

    def on_known(self, state: int, part: Window) -> Tensor:
        """Noise on the known latents of that state (`inpainting`), float32 (C, h, w)."""
        return coordinate_noise(self._seed, 2 * state + 1, self._channels, part).to(self._device)


def level_generator(seed: int, level: int) -> torch.Generator:
    """Generator for one level's windows, a function of (seed, level): a run can resume anywhere.

    Parameters
    ----------
    seed : whole number, 0 .. 2**64 - 1
    level : 0 .. S - 1

    Raises
    ------
    ValueError : seed out of range.
    """
    _check_seed(seed)
    state = int(np.random.SeedSequence((seed, level)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**64:
        raise ValueError(f"expected a seed from 0 to 2**64 - 1, got {seed}")
