r"""Thumbnails: pictures at an eighth of their size as latents, the only three channels that any eye can read.

    z = (mean of 8 x 8 px - mean) / std,   z in R^(3 x H/8 x W/8)

They lie on the same grid as the autoencoder's latents, so that a canvas of thumbnails has the windows, the mask and the
plan of the picture that is painted under it. Unlike learned latents they are pictures: they may be turned and mirrored,
have no ring at their border, and the draft model's state can be looked at while it is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..labels import CELL_PX


class Thumbnails(nn.Module):
    """An `autoencoder.Autoencoder` without weights.

    Parameters
    ----------
    mean, std : of the colours of training thumbnails, in [-1, 1], red, green, blue

    >>> thumbnails = Thumbnails((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    >>> z = thumbnails.encode(torch.ones(1, 3, 16, 24))
    >>> z.shape, float(z.max()), thumbnails.decode(z).shape
    (torch.Size([1, 3, 2, 3]), 2.0, torch.Size([1, 3, 16, 24]))
    """

    latent_channels, factor = 3, CELL_PX
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to standardised thumbnails (B, 3, H/8, W/8)."""
        return (F.avg_pool2d(images, CELL_PX) - self.mean) / self.std

    def small(self, latents: Tensor) -> Tensor:
        """Standardised thumbnails (..., 3, h, w) to pictures of their own size, about [-1, 1]."""
        return latents * self.std + self.mean

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised thumbnails (B, 3, h, w) to blurred pictures (B, 3, 8h, 8w), about [-1, 1]."""
        return F.interpolate(self.small(latents), scale_factor=self.factor, mode="bicubic")
