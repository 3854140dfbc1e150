r"""Hann-blended decoding (paper Fig. 13): latents of any size to an image, tile by tile, without seams.

Tiles overlap, by half if not told otherwise. With :math:`h_j` the Hann window of tile :math:`j` and
:math:`\Psi` the decoder,

.. math:: x_i = \frac{\sum_j h_j(i)\,\Psi(z[I_j])_i}{\sum_j h_j(i)},

so that a tile counts least at its edge, where its decoder saw zero padding and not the neighbour. The
window is taken at pixel centres and nowhere zero: the image's own border, which a single tile covers, needs
no exception, and neither does an image of a single tile. Pixels are handed out as soon as no later tile
touches them. What the tiles below will still touch are the bottom strips of a row of tiles; where these are
kept on disk, memory does not depend on the image's size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from .canvas import Plane
from .windows import hann


class Decoder(Protocol):
    """What is asked of an autoencoder."""

    def decode(self, z: Tensor) -> Tensor:
        """Latents float (B, C, h, w) to images float (B, 3, f h, f w) in [-1, 1], for some whole number f."""


class Strips(Protocol):
    """What waits for the next row of tiles, by column: a dict, or files where there is much of it."""

    def __setitem__(self, column: int, strip: Tensor) -> None:
        """Keep float (3, rows, columns)."""

    def pop(self, column: int) -> Tensor:
        """Hand it out, once."""


@torch.no_grad()
def decode_stream(
    autoencoder: Decoder,
    z: Tensor | Plane,
    *,
    tile: int = 64,
    overlap: int | None = None,
    batch_size: int = 4,
    border: int = 0,
    margin: int = 0,
    strips: Strips | None = None,
) -> Iterator[tuple[int, int, Tensor]]:
    """Image of a latent canvas in parts that do not overlap, in reading order.

    Parameters
    ----------
    autoencoder : see `Decoder`
    z : float (C, h, w), latents, or what slices to them: of a canvas on disk a row of tiles is in memory at a time
    tile : side of a tile in latent pixels; a smaller canvas is one tile
    overlap : latent pixels that neighbouring tiles share at least; half a tile as in the paper by default. Twice the
        decoder's reach suffices: then no pixel is within reach of the edges of both its tiles
    batch_size : tiles per call of the decoder
    border : latents by which the canvas is continued on all sides, repeating its outermost ones, and cropped again;
        without it the decoder's zero padding draws a frame
    margin : outermost latents on all sides that are read and not painted, where a canvas was sampled larger than its
        picture
    strips : see `Strips`; a dict by default

    Yields
    ------
    top, left, float (3, rows, columns) : a part and the image's pixel where it begins.

    Raises
    ------
    ValueError : z is not (C, h, w), tile below 2, overlap not below it, batch_size below 1, border or margin below 0,
        or nothing within the margin.
    """
    overlap = tile - tile // 2 if overlap is None else overlap
    _check(z, tile, overlap, batch_size, border, margin)
    painted, cut = [n - 2 * margin for n in z.shape[1:]], border + margin
    whole = [n + 2 * border for n in z.shape[1:]]
    height, width = (min(tile, n) for n in whole)
    tops, lefts = (_starts(n, extent, tile - overlap) for n, extent in zip(whole, (height, width), strict=True))
    strips = {} if strips is None else strips
    factor, carried = 0, torch.empty(0)  # pixels a latent, from the first tile on; what waits for the next one
    places = [(top, left) for top in tops for left in lefts]
    after = dict(zip(tops, [*tops[1:], whole[0]], strict=True)), dict(zip(lefts, [*lefts[1:], whole[1]], strict=True))
    for some in (places[k : k + batch_size] for k in range(0, len(places), batch_size)):
        crops = [_crop(z, top - border, left - border, height, width) for top, left in some]
        images = autoencoder.decode(torch.stack(crops)).float()  # sums of half precision would band
        if not factor:
            factor = images.shape[-1] // width
            window = hann(*images.shape[-2:]).to(images)
            sums = _sum_of_windows(whole[0], height, tops, factor), _sum_of_windows(whole[1], width, lefts, factor)
        for (top, left), image in zip(some, images, strict=True):
            down, across = (factor * (ends[start] - start) for ends, start in zip(after, (top, left), strict=True))
            blend = window * image
            if left:
                blend[..., : carried.shape[-1]] += carried
            if top:
                waited = strips.pop(left).to(blend)
                blend[:, : waited.shape[1], :across] += waited
            carried = blend[..., across:].clone()
            if top != tops[-1]:
                strips[left] = blend[:, down:, :across].clone()
            # of the rest, what is painted; parts end where the next tile begins, so that some are cut off as a whole
            edges = ((top, down, painted[0]), (left, across, painted[1]))
            rows, columns = (
                slice(max(factor * (cut - start), 0), min(factor * (cut + n - start), finished))
                for start, finished, n in edges
            )
            if rows.start < rows.stop and columns.start < columns.stop:
                y, x = (factor * start + part.start for start, part in ((top, rows), (left, columns)))
                part = blend[:, rows, columns]
                weight = sums[0][y : y + part.shape[1], None] * sums[1][x : x + part.shape[2]]
                yield y - factor * cut, x - factor * cut, part / weight.to(part)


def count_tiles(size: tuple[int, int], *, tile: int, overlap: int, border: int = 0) -> int:
    """How many tiles `decode_stream` takes for latents of a size (h, w).

    >>> count_tiles((100, 64), tile=64, overlap=24)
    2
    """
    whole = [n + 2 * border for n in size]
    return math.prod(len(_starts(n, min(tile, n), tile - overlap)) for n in whole)


def decode(autoencoder: Decoder, z: Tensor | Plane, **settings: Any) -> Tensor:
    """Image of a latent canvas, Hann-blended; see `decode_stream` for parameters and errors.

    Returns
    -------
    float (3, f h, f w)

    >>> class Repeat:
    ...     def decode(self, z):
    ...         return z.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    >>> decode(Repeat(), torch.ones(3, 5, 9), tile=4).shape
    torch.Size([3, 10, 18])
    """
    rows: dict[int, list[Tensor]] = {}
    for top, _, part in decode_stream(autoencoder, z, **settings):
        rows.setdefault(top, []).append(part)
    return torch.cat([torch.cat(rows.pop(top), dim=2) for top in sorted(rows)], dim=1)


def _check(z: Tensor | Plane, tile: int, overlap: int, batch_size: int, border: int, margin: int) -> None:
    """Refuse latents and tiles that cannot be, see `decode_stream`."""
    if z.ndim != 3 or 0 in z.shape:
        raise ValueError(f"expected latents (C, h, w), got {tuple(z.shape)}")
    if tile < 2 or batch_size < 1 or border < 0 or margin < 0:
        got = f"{tile}, {batch_size}, {border} and {margin}"
        wanted = "a tile of at least 2, a batch_size of at least 1, a border and a margin of at least 0"
        raise ValueError(f"expected {wanted}, got {got}")
    if not 0 <= overlap < tile:
        raise ValueError(f"expected an overlap from 0 to below the tile's {tile}, got {overlap}")
    if min(z.shape[1:]) <= 2 * margin:
        raise ValueError(f"expected latents within a margin of {margin}, got {tuple(z.shape)}")


def _starts(n: int, tile: int, stride: int) -> list[int]:
    """First pixels of tiles along an axis, the last one flush with the border."""
    return [*range(0, n - tile, stride), n - tile]


def _sum_of_windows(n: int, extent: int, starts: list[int], factor: int) -> Tensor:
    """Along an axis, the windows of all tiles added up, float (factor n,); of a picture it is the product of both."""
    total, window = torch.zeros(factor * n), hann(1, factor * extent)[0]
    for start in starts:
        total[factor * start : factor * (start + extent)] += window
    return total


def _crop(z: Tensor | Plane, top: int, left: int, height: int, width: int) -> Tensor:
    """Crop of the canvas continued on all sides by its outermost latents, float (C, height, width)."""
    rows, columns = (
        torch.arange(start, start + extent).clamp(0, n - 1)
        for start, extent, n in zip((top, left), (height, width), z.shape[1:], strict=True)
    )
    part = z[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    return part[:, (rows - rows[0])[:, None], columns - columns[0]]
