r"""Appearance: what a picture looks like whatever its mask says, light, stain and grain, as 16 numbers.

A small encoder makes them of a clean thumbnail while the draft model learns to use them; no loss of their own tells
them what to hold. They are standardised, and noised on the way, so that neighbouring codes look alike. For sampling
they are drawn from a Gaussian mixture of each context's training tiles:

    appearance = mean_k + factor_k e,   e ~ N(0, 1),   k with probability weight_k
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..labels import PROMPTS, prompt_number
from .draft import CODE
from .thumbnails import Thumbnails

COMPONENTS = 8  # of a context's mixture


class Appearance(nn.Module):
    """Encoder of appearances, and the mixtures from which they are drawn.

    Parameters
    ----------
    components : of the mixture of each of `labels.PROMPTS`

    Attributes
    ----------
    weights : float (prompts, components), adding up to 1 for each prompt.
    means : float (prompts, components, 16).
    factors : float (prompts, components, 16, 16), lower triangles whose products with themselves are the covariances.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, components: int = COMPONENTS):
        super().__init__()
        self.config: dict[str, Any] = {"components": components}
        layers: list[nn.Module] = []
        for c_in, c_out, stride in ((Thumbnails.latent_channels, 64, 1), (64, 96, 2), (96, 128, 2), (128, 128, 1)):
            layers += [nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(2 * 128, CODE)
        self.standardise = nn.BatchNorm1d(CODE, affine=False, momentum=0.01)
        mixture = len(PROMPTS), components
        self.register_buffer("weights", torch.full(mixture, 1 / components))
        self.register_buffer("means", torch.zeros(*mixture, CODE))
        self.register_buffer("factors", torch.eye(CODE).repeat(*mixture, 1, 1))

    def forward(self, thumbnails: Tensor) -> Tensor:
        """Standardised clean thumbnails (B, 3, h, w) to codes float (B, 16) of unit variance."""
        features = self.layers(thumbnails)
        statistics = torch.cat([features.mean(dim=(2, 3)), features.std(dim=(2, 3))], dim=1)
        return self.standardise(self.out(statistics).float())

    def draw(self, context: str, generator: torch.Generator) -> Tensor:
        """A code float (16,) of a context, or of all tissue for "none"."""
        row = prompt_number(context)
        component = int(torch.multinomial(self.weights[row].cpu(), 1, generator=generator))
        noise = torch.randn(CODE, generator=generator)
        return self.means[row, component].cpu() + self.factors[row, component].cpu() @ noise

    def principal_axes(self, context: str) -> tuple[Tensor, Tensor]:
        """Where a context's codes lie: their mean float (16,), and the axes of their spread float (16, 16).

        A row is an axis, the widest first; its length is the standard deviation along it. Mean and covariance are those
        of the whole mixture, covariance = sum_k weight_k (factor_k factor_k^T + mean_k mean_k^T) - mean mean^T.
        """
        row = prompt_number(context)
        weights, means, factors = (part[row].cpu().double() for part in (self.weights, self.means, self.factors))
        weights = weights / weights.sum()
        mean = weights @ means
        apart = means - mean
        spread = torch.einsum("k,kij,klj->il", weights, factors, factors)
        spread += torch.einsum("k,ki,kj->ij", weights, apart, apart)
        variances, directions = torch.linalg.eigh(spread)
        largest = directions.abs().argmax(0)  # an axis may point either way: its largest number is positive
        directions = directions * directions[largest, torch.arange(CODE)].sign()
        axes = (directions * variances.clamp(min=0).sqrt()).T.flip(0)
        return mean.float(), axes.float()
