r"""Pyramids: a picture or a mask at full size, at half, at a quarter and so on, which viewers zoom in and out of.

Level k has every side divided by :math:`2^k`, rounded up. A pixel of a picture is the mean of the four pixels below it.
A pixel of a mask is the most frequent of the four labels below it, and where two are equally frequent the first of them
in reading order: the mean of labels 1 and 3 would be label 2, which is another tissue, and taking every second pixel
would drop thin structures by chance. An odd last row or column counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def halve_picture(pixels: np.ndarray) -> np.ndarray:
    """A picture uint8 (H, W, C) at half size, (ceil(H / 2), ceil(W / 2), C): means of 2 x 2 pixels.

    >>> halve_picture(np.array([[[0], [4], [9]]], np.uint8))[..., 0].tolist()
    [[2, 9]]
    """
    # means are rounded, a half upwards
    return ((np.stack(_blocks(pixels)).sum(axis=0, dtype=np.uint16) + 2) // 4).astype(np.uint8)


def halve_mask(labels: np.ndarray) -> np.ndarray:
    """A mask uint8 (H, W) at half size, (ceil(H / 2), ceil(W / 2)): the most frequent of 2 x 2 labels.

    >>> halve_mask(np.array([[4, 1, 3, 2], [2, 1, 2, 3]], np.uint8)).tolist()
    [[1, 3]]
    """
    a, b, c, d = _blocks(labels)
    # In reading order. A label that occurs twice is never outvoted by one that comes later, so the first label with a
    # second vote wins; without any, all four differ and the first one stands.
    return np.select([(a == b) | (a == c) | (a == d), (b == c) | (b == d), c == d], [a, b, c], a)


def halve(pixels: np.ndarray) -> np.ndarray:
    """`halve_picture` of a picture (H, W, C), `halve_mask` of a mask (H, W)."""
    return halve_mask(pixels) if pixels.ndim == 2 else halve_picture(pixels)


def pyramid(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """All levels of a picture or a mask that fits in memory, from full size to one pixel.

    >>> [level.shape for level in pyramid(np.zeros((3, 5), np.uint8))]
    [(3, 5), (2, 3), (1, 2), (1, 1)]
    """
    yield pixels
    while max(pixels.shape[:2]) > 1:
        pixels = halve(pixels)
        yield pixels


def level_shapes(shape: tuple[int, ...], largest: int) -> list[tuple[int, ...]]:
    """Shapes of the levels of a picture (H, W, C) or mask (H, W), down to the first whose sides are at most `largest`.

    >>> level_shapes((3, 5), 2)
    [(3, 5), (2, 3), (1, 2)]
    """
    shapes = [shape]
    while max(shapes[-1][:2]) > largest:
        height, width, *channels = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2), *channels))
    return shapes


def _blocks(pixels: np.ndarray) -> list[np.ndarray]:
    """Upper left, upper right, lower left and lower right pixel of every block of 2 x 2."""
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0))[: pixels.ndim], mode="edge")
    return [pixels[row::2, column::2] for row in (0, 1) for column in (0, 1)]
