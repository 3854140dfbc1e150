"""A margin around the picture: latents that are sampled, seen by the decoder, and cut off (docs/adr/0025).

Models whose autoencoder knows no borders are sampled on a canvas that is so many latents larger on all sides
(`models.pretrained.sampled_margin`). Its labels, and those of a given picture, go on there as their mirror image; its
latents never do.

So a picture is written down together with what would lie around it, and read back without (`encode_around`,
`decode_within`); without a margin these are ``encode`` and ``decode``.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..labels import CELL_PX
from ..models.autoencoder import Autoencoder

Array = TypeVar("Array", Tensor, np.ndarray)


def mirrored(cells: Tensor, margin: int) -> Tensor:
    """A map (h, w) continued on all sides by its mirror image, (h + 2 margin, w + 2 margin).

    >>> mirrored(torch.tensor([[1, 2], [3, 4]]), 1).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    """
    if not margin:
        return cells
    rows, columns = (torch.from_numpy(np.pad(np.arange(n), margin, mode="symmetric")) for n in cells.shape)
    return cells[rows.to(cells.device)[:, None], columns.to(cells.device)]


def without(canvas: Array, margin: int) -> Array:
    """The picture's part of a canvas (..., H, W).

    >>> without(np.arange(5)[None].repeat(5, 0), 2).tolist()
    [[2]]
    """
    height, width = canvas.shape[-2:]
    return canvas[..., margin : height - margin, margin : width - margin]


def enlarged(size: tuple[int, int], margin: int) -> tuple[int, int]:
    """The size in px of the canvas of a picture of (H, W) px.

    >>> enlarged((64, 96), 4)
    (128, 160)
    """
    return size[0] + 2 * margin * CELL_PX, size[1] + 2 * margin * CELL_PX


def encode_around(autoencoder: Autoencoder, images: Tensor, margin: int) -> Tensor:
    """Latents (B, C, H/8 + 2 margin, W/8 + 2 margin) of pictures (B, 3, H, W) that go on as their mirror image.

    Parameters
    ----------
    margin : of the model, see `models.pretrained.sampled_margin`

    >>> from ..models.thumbnails import Thumbnails
    >>> encode_around(Thumbnails((0, 0, 0), (1, 1, 1)), torch.zeros(1, 3, 64, 96), 4).shape
    torch.Size([1, 3, 16, 20])
    """
    return autoencoder.encode(pad(images, (margin * CELL_PX,) * 4, mode="reflect") if margin else images)


def decode_within(autoencoder: Autoencoder, latents: Tensor, margin: int) -> Tensor:
    """Pictures (B, 3, H, W), about [-1, 1], of latents with their margin, which the decoder sees and nobody else.

    All at one go; `generate.picture` takes large ones part by part.

    >>> from ..models.thumbnails import Thumbnails
    >>> decode_within(Thumbnails((0, 0, 0), (1, 1, 1)), torch.zeros(1, 3, 16, 20), 4).shape
    torch.Size([1, 3, 64, 96])
    """
    return without(autoencoder.decode(latents), margin * CELL_PX)


def read_back(autoencoder: Autoencoder, images: Tensor, margin: int) -> Tensor:
    """Pictures (B, 3, H, W) written down as latents and read back: what a model that errs nowhere makes of them."""
    return decode_within(autoencoder, encode_around(autoencoder, images, margin), margin)
