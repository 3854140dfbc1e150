r"""Hann-blended decoding (paper Fig. 13): latents of any size to an image, tile by tile, without seams.

Tiles overlap by half. With :math:`h_j` the Hann window of tile :math:`j` and :math:`\Psi` the decoder,

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

from diffinfinite_lite.windows import hann


class Decoder(Protocol):
    """What is asked of an autoencoder."""

    def decode(self, z: Tensor) -> Tensor:
        """Latents float (B, C, h, w) to images float (B, 3, f h, f w) in [-1, 1], for some whole number f."""


@torch.no_grad()
def decode_stream(
    autoencoder: Decoder, z: Tensor, *, tile: int = 64, batch_size: int = 4
) -> Iterator[Tensor]:
    """Image of a latent canvas as bands of rows, from top to bottom.

    Parameters
    ----------
    autoencoder : see `Decoder`
    z : float (C, h, w), latents
    tile : side of a tile in latent pixels; a smaller canvas is one tile
    batch_size : tiles per call of the decoder

    Yields
    ------
    float (3, rows, f w); the bands' rows add up to f h.

    Raises
    ------
    ValueError : z is not (C, h, w), tile below 2 or batch_size below 1.
    """
    if z.ndim != 3 or 0 in z.shape:
        raise ValueError(f"latents must have the shape (C, h, w), got {tuple(z.shape)}")
    if tile < 2 or batch_size < 1:
        raise ValueError(f"tile must be at least 2 and batch_size at least 1, got {tile} and {batch_size}")
    height, width = min(tile, z.shape[1]), min(tile, z.shape[2])
    tops, lefts = _starts(z.shape[1], height, tile // 2), _starts(z.shape[2], width, tile // 2)
    blend = total = None  # running sums over the rows of the current tiles, (3, F, f w) and (F, f w)
    for top, following in zip(tops, [*tops[1:], z.shape[1]], strict=True):
        crops = torch.stack([z[:, top : top + height, left : left + width] for left in lefts])
        images = torch.cat([autoencoder.decode(part) for part in crops.split(batch_size)])
        factor = images.shape[-1] // width
        if blend is None:
            blend = images.new_zeros(images.shape[1], factor * height, factor * z.shape[2])
            total = torch.zeros_like(blend[0])
        window = hann(*images.shape[-2:]).to(images)
        for left, image in zip(lefts, images, strict=True):
            columns = slice(factor * left, factor * (left + width))
            blend[..., columns] += window * image
            total[:, columns] += window
        done = factor * (following - top)
        yield blend[:, :done] / total[:done]
        blend, total = (
            torch.cat([x[..., done:, :], torch.zeros_like(x[..., :done, :])], dim=-2) for x in (blend, total)
        )


def decode(autoencoder: Decoder, z: Tensor, *, tile: int = 64, batch_size: int = 4) -> Tensor:
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
    return torch.cat(list(decode_stream(autoencoder, z, tile=tile, batch_size=batch_size)), dim=1)


def _starts(n: int, tile: int, stride: int) -> list[int]:
    """First pixels of tiles along an axis, the last one flush with the border."""
    return [*range(0, n - tile, stride), n - tile]
