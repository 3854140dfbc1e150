r"""Hann-blended decoding (paper Fig. 13): latents of any size to an image, tile by tile, without seams.

Tiles overlap, by half if not told otherwise. With :math:`h_j` the Hann window of tile :math:`j` and
:math:`\Psi` the decoder,

.. math:: x_i = \frac{\sum_j h_j(i)\,\Psi(z[I_j])_i}{\sum_j h_j(i)},

so that a tile counts least at its edge, where its decoder saw zero padding and not the neighbour. The
window is taken at pixel centres and nowhere zero: the image's own border, which a single tile covers, needs
no exception, and neither does an image of a single tile. Rows of tiles are decoded from top to bottom and
rows of pixels are handed out as soon as no later tile touches them, so that memory grows with the width of
the image only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from diffinfinite_lite.outofcore import Plane
from diffinfinite_lite.windows import hann


class Decoder(Protocol):
    """What is asked of an autoencoder."""

    def decode(self, z: Tensor) -> Tensor:
        """Latents float (B, C, h, w) to images float (B, 3, f h, f w) in [-1, 1], for some whole number f."""


@torch.no_grad()
def decode_stream(
    autoencoder: Decoder,
    z: Tensor | Plane,
    *,
    tile: int = 64,
    overlap: int | None = None,
    batch_size: int = 4,
    border: int = 0,
) -> Iterator[Tensor]:
    """Image of a latent canvas as bands of rows, from top to bottom.

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

    Yields
    ------
    float (3, rows, f w); the bands' rows add up to f h.

    Raises
    ------
    ValueError : z is not (C, h, w), tile below 2, overlap not below it, batch_size below 1 or border below 0.
    """
    if z.ndim != 3 or 0 in z.shape:
        raise ValueError(f"latents must have the shape (C, h, w), got {tuple(z.shape)}")
    if tile < 2 or batch_size < 1 or border < 0:
        got = f"{tile}, {batch_size} and {border}"
        raise ValueError(f"tile must be at least 2, batch_size at least 1 and border at least 0, got {got}")
    overlap = tile - tile // 2 if overlap is None else overlap
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must be at least 0 and below the tile's {tile}, got {overlap}")
    whole = [n + 2 * border for n in z.shape[1:]]
    height, width = (min(tile, n) for n in whole)
    tops, lefts = (_starts(n, extent, tile - overlap) for n, extent in zip(whole, (height, width), strict=True))
    blend = total = None  # running sums over the rows of the current tiles, (3, F, f w) and (F, f w)
    for top, following in zip(tops, [*tops[1:], whole[0]], strict=True):
        for places in (lefts[k : k + batch_size] for k in range(0, len(lefts), batch_size)):
            crops = [_crop(z, top - border, left - border, height, width) for left in places]
            images = autoencoder.decode(torch.stack(crops)).float()  # sums of half precision would band
            factor = images.shape[-1] // width
            if blend is None:
                blend = images.new_zeros(images.shape[1], factor * height, factor * whole[1])
                total = torch.zeros_like(blend[0])
                window = hann(*images.shape[-2:]).to(images)
            for left, image in zip(places, images, strict=True):
                columns = slice(factor * left, factor * (left + width))
                blend[..., columns] += window * image
                total[:, columns] += window
        done = factor * (following - top)
        # of the band, what is not border; bands end where the next tiles begin, so that some are border only
        first, last = (max(factor * (edge - top), 0) for edge in (border, border + z.shape[1]))
        inside = slice(first, min(last, done)), slice(factor * border, factor * (border + z.shape[2]))
        if first < min(last, done):
            yield blend[(slice(None), *inside)] / total[inside]
        for sums in (*blend, total):  # one by one, which needs less memory
            sums[:-done] = sums[done:].clone()
            sums[-done:] = 0


def decode(autoencoder: Decoder, z: Tensor | Plane, **settings: int) -> Tensor:
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
    return torch.cat(list(decode_stream(autoencoder, z, **settings)), dim=1)


def _starts(n: int, tile: int, stride: int) -> list[int]:
    """First pixels of tiles along an axis, the last one flush with the border."""
    return [*range(0, n - tile, stride), n - tile]


def _crop(z: Tensor | Plane, top: int, left: int, height: int, width: int) -> Tensor:
    """Crop of the canvas continued on all sides by its outermost latents, float (C, height, width)."""
    rows, columns = (
        torch.arange(start, start + extent).clamp(0, n - 1)
        for start, extent, n in zip((top, left), (height, width), z.shape[1:], strict=True)
    )
    part = z[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    return part[:, (rows - rows[0])[:, None], columns - columns[0]]
