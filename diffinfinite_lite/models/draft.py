r"""The draft model: a picture at an eighth of its size, under a label map and an *appearance*.

It plans what the image model cannot see from inside a window of noise: light, stain and layout. It is the image model's
network over thumbnails (`thumbnails`) with two things more. Self-attention at the coarser levels lets one corner of
a window know what the opposite one holds, which the cross-attention with the mask does not (its queries are labels).
And the time embedding carries an appearance code (`appearance`), so that two pictures under one mask need not be twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .thumbnails import Thumbnails
from .unet import ChannelNorm, MaskUNet

CODE = 16  # numbers of an appearance
CODE_WIDTH = 256  # features between a code and the time embedding


class SelfAttention(nn.Module):
    """Every position of a feature map (B, C, h, w) reads every other one.

    Written as two products: on maps of 14 x 14 its backward pass is cheaper than `scaled_dot_product_attention`'s.
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # None only without a bias

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        query, key, value = qkv.unbind(1)  # (B, heads, h w, c)
        scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        answers = scores.softmax(dim=-1).to(value.dtype) @ value
        return x + self.out(answers.transpose(-1, -2).reshape(x.shape))


class Draft(MaskUNet):
    """Predicts v of standardised thumbnails under a condition map and an appearance.

    Parameters
    ----------
    widths : channels per level, as of `MaskUNet`
    mean, std : see `Thumbnails`
    """

    beside = CODE + 1  # channels that it reads beside its state, see `inputs`

    def __init__(
        self,
        widths: Sequence[int] = (128, 192, 256),
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
    ):
        super().__init__(Thumbnails.latent_channels, widths)
        self.config: dict[str, Any] = {"widths": list(widths), "mean": list(mean), "std": list(std)}
        self.thumbnails = Thumbnails(mean, std)
        self.code = embedding(CODE + 1, CODE_WIDTH, 4 * widths[0])
        coarser = [(f"{way}{level}", widths[level]) for level in range(1, len(widths)) for way in ("down", "up")]
        self.attention = nn.ModuleDict({place: SelfAttention(width) for place, width in coarser})

    def inputs(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """See `MaskUNet.inputs`.

        Parameters
        ----------
        z_t : float (B, 3, h, w), noisy thumbnails; or (B, 3 + `beside`, h, w): beside them an appearance code and a
            channel that is 1 where it is known and 0 where it is not, each the same or nearly so at all pixels. The
            network reads their mean.
        """
        z_t, read = z_t[:, : self.latent_channels], z_t[:, self.latent_channels :].mean(dim=(2, 3))
        if not read.shape[1]:
            read = z_t.new_zeros(len(z_t), self.beside)
        code, known = read[:, :CODE], read[:, CODE:]
        return z_t, self.time(self.phases(t)) + self.code(torch.cat([code * known, known], dim=1))

    def mix(self, place: str, x: Tensor) -> Tensor:
        """Self-attention after the coarser levels."""
        return self.attention[place](x) if place in self.attention else x


def embedding(numbers: int, width: int, time_dim: int) -> nn.Sequential:
    """Numbers that are known beside the timestep, to what is added to its embedding: nothing at first."""
    last = nn.Linear(width, time_dim)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(numbers, width), nn.SiLU(), last)
