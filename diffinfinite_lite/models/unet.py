r"""The image model: a U-Net that predicts v from (z_t, t, condition map) (paper App. E).

Every level has two residual blocks, a cross-attention layer whose *queries come from the mask* and whose keys and
values come from the features, and a normalisation. Time and label enter every residual block as scale and shift;
the label does so pixel by pixel.

The condition of a pixel is one integer: 0 is unknown (the null label), and 6 k + l stands for label l = 1..5 under
context prompt k (0 none, 1 adenocarcinoma, 2 squamous, 3 normal); see `condition_map`. An image has only a few
distinct conditions, so there are only a few distinct queries: attention is computed once per condition that the
model knows and gathered by pixel, which equals the pixel-wise computation (tested) at a fraction of its price.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..labels import CONDITIONS


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W): no statistics over positions, so windows stay comparable."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two convolutions; time and per-pixel label scale and shift the features in between."""

    def __init__(self, c_in: int, c_out: int, time_dim: int):
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(c_in), ChannelNorm(c_out, elementwise_affine=False)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.time = nn.Linear(time_dim, 2 * c_out)
        self.label = nn.Embedding(CONDITIONS, 2 * c_out)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.normal_(self.label.weight, std=0.02)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        scale, shift = (self.time(time)[:, None, None] + self.label(condition)).permute(0, 3, 1, 2).chunk(2, dim=1)
        h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))


class MaskAttention(nn.Module):
    """Cross-attention with the mask as query and the features as key and value (App. E)."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(channels)
        self.query = nn.Embedding(CONDITIONS, channels)
        self.key_value = nn.Conv2d(channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        b, c, h, w = x.shape
        key, value = (
            self.key_value(self.norm(x)).flatten(2).unflatten(1, (2, self.heads, -1)).transpose(-1, -2).unbind(1)
        )
        query = self.query.weight.to(key.dtype).unflatten(1, (self.heads, -1)).transpose(0, 1)
        answers = F.scaled_dot_product_attention(query.expand(b, -1, -1, -1), key, value)  # (B, heads, conditions, c)
        answers = answers.transpose(1, 2).flatten(2)
        picked = answers.gather(1, condition.reshape(b, -1, 1).expand(-1, -1, c))
        return x + self.out(picked.transpose(1, 2).reshape(b, c, h, w))


class Tier(nn.Module):
    """One level, downwards or upwards: residual block, residual block, cross-attention."""

    def __init__(self, c_in: int, skips: tuple[int, int], c_out: int, time_dim: int):
        super().__init__()
        self.block1 = ResidualBlock(c_in + skips[0], c_out, time_dim)
        self.block2 = ResidualBlock(c_out + skips[1], c_out, time_dim)
        self.attention = MaskAttention(c_out)

    def forward(
        self, x: Tensor, time: Tensor, condition: Tensor, skips: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        first = self.block1(x if skips is None else torch.cat([x, skips[1]], 1), time, condition)
        second = self.block2(first if skips is None else torch.cat([first, skips[0]], 1), time, condition)
        return first, self.attention(second, condition)


class MaskUNet(nn.Module):
    """Predicts v (Salimans and Ho 2022) of latents under a condition map.

    Parameters
    ----------
    latent_channels : channels of z.
    widths : channels per level; each level halves the resolution.
    """

    prediction_type = "v_prediction"
    gain = 1.0  # factor on its clean estimates, see `Denoiser`

    def __init__(self, latent_channels: int = 8, widths: Sequence[int] = (128, 192, 256)):
        super().__init__()
        self.config: dict[str, Any] = {"latent_channels": latent_channels, "widths": list(widths)}
        self.latent_channels = latent_channels
        dim = 4 * widths[0]
        self.time = nn.Sequential(nn.Linear(widths[0], dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())
        self.enter = nn.Conv2d(latent_channels, widths[0], 3, padding=1)
        ins = [widths[0], *widths[:-1]]
        self.down = nn.ModuleList(Tier(i, (0, 0), o, dim) for i, o in zip(ins, widths, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(c, c, 3, stride=2, padding=1) for c in widths[:-1])
        self.middle = ResidualBlock(widths[-1], widths[-1], dim)
        self.up = nn.ModuleList(Tier(c, (c, c), c, dim) for c in reversed(widths))
        self.grow = nn.ModuleList(
            nn.Conv2d(b, a, 3, padding=1) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        last = nn.Conv2d(widths[0], latent_channels, 3, padding=1)
        self.leave = nn.Sequential(ChannelNorm(widths[0]), nn.SiLU(), last)
        nn.init.zeros_(last.weight)

    def forward(self, z_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Predict v.

        Parameters
        ----------
        z_t : float (B, C, h, w), any h and w of at least 4.
        t : int (B,), training timesteps.
        condition : int64 (B, h, w), see `condition_map`; 0 is the null label.

        Returns
        -------
        float (B, C, h, w)
        """
        x, time = self.inputs(z_t, t)
        conditions = self._on_levels(condition)
        skips = self._descend(x, time, conditions)
        x = self.middle(skips[-1][1], time, conditions[-1])
        for level, tier in zip(reversed(range(len(skips))), self.up, strict=True):
            x = self.mix(f"up{level}", tier(x, time, conditions[level], skips[level])[1])
            if level:
                size = skips[level - 1][0].shape[-2:]
                x = F.interpolate(self.grow[len(skips) - 1 - level](x), size=size, mode="nearest")
        return self.leave(x)

    def taps(self, z_t: Tensor, t: Tensor, condition: Tensor) -> list[Tensor]:
        """What it sees in a state: its features on the way down, a map (B, width, h', w') of each level, finest first.

        Parameters as of `forward`.
        """
        x, time = self.inputs(z_t, t)
        return [last for _, last in self._descend(x, time, self._on_levels(condition))]

    @property
    def last_kernel(self) -> Tensor:
        """The weights of its last convolution."""
        return self.get_parameter("leave.2.weight")

    def inputs(self, z_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the first convolution, float (B, C, h, w), and the embedding of time, float (B, D)."""
        return z_t, self.time(self.phases(t))

    def phases(self, t: Tensor) -> Tensor:
        """Sines and cosines of timesteps int (B,), float (B, widths[0])."""
        half = self.config["widths"][0] // 2
        frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=t.device))
        phases = t[:, None].float() * frequencies
        return torch.cat([phases.sin(), phases.cos()], dim=1)

    def _on_levels(self, condition: Tensor) -> list[Tensor]:
        """The condition map at the resolution of each level."""
        conditions = [condition]
        for _ in self.shrink:
            conditions.append(conditions[-1][:, ::2, ::2])
        return conditions

    def _descend(self, x: Tensor, time: Tensor, conditions: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Features after the first block and at the end of each level on the way down."""
        x = self.enter(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for level, tier in enumerate(self.down):
            first, x = tier(x, time, conditions[level])
            x = self.mix(f"down{level}", x)
            skips.append((first, x))
            if level < len(self.shrink):
                x = self.shrink[level](x)
        return skips

    def mix(self, place: str, x: Tensor) -> Tensor:
        """What happens after a level besides, by its name ("down0", "up2", ...): here nothing."""
        return x
