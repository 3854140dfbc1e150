r"""Critics: networks that learn to tell what was made from what is real, and what another network learns from them.

A critic D is shown a real x and a fake x' under the same circumstances, so that what both share cancels
(Jolicoeur-Martineau 2018), and both sides learn from the difference d = D(x) - D(x'), S = softplus:

.. math:: L_D = S(-d) + 0.02\,d^2, \qquad L = S(d).

The square keeps a critic that is always right from growing surer and surer, which teaches nothing.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Critic(nn.Module):
    """Patch discriminator of five convolutions, (B, 3, H, W) to logits (B, 1, H/8, W/8).

    No norm and no spectral bound: under one it stayed undecided, see docs/adr/0006-model-choices.md.
    """

    def __init__(self, width: int = 48):
        super().__init__()
        widths = [3, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class ProjectedCritic(nn.Module):
    """Discriminator of feature maps, finest first, to as many maps of logits, (B, P) with all of their places in a row.

    Each map is mixed to `width` channels, and the coarser ones are added to it, by weights that are drawn once and
    never trained: so the critic cannot stick to the few channels that tell most, and a fine map is judged by what lies
    round it, too. Only the three small layers on top learn.

    Parameters
    ----------
    channels : of each map.
    """

    def __init__(self, channels: list[int], width: int = 64):
        super().__init__()
        self.mix = nn.ModuleList(nn.Conv2d(n, width, 1, bias=False) for n in channels)
        self.blend = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in channels[1:])
        self.mix.requires_grad_(False)
        self.blend.requires_grad_(False)
        for layer in (*self.mix, *self.blend):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
        self.heads = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(width, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1)),
                *(nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1)),
            )
            for _ in channels
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        coarse, logits = None, []
        for number in reversed(range(len(features))):
            x = self.mix[number](features[number])
            if coarse is not None:
                x = (x + self.blend[number](F.interpolate(coarse, x.shape[-2:], mode="bilinear"))) * 0.5**0.5
            logits.append(self.heads[number](x).flatten(1))
            coarse = x
        return torch.cat(logits, dim=1)


def judged(critic: nn.Module, real: Tensor | list[Tensor], fake: Tensor | list[Tensor]) -> tuple[Tensor, Tensor]:
    """How little a critic is fooled, for what painted the fake one alone, and how badly it judges, for itself alone."""

    def detached(maps: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        return maps.detach() if isinstance(maps, Tensor) else [each.detach() for each in maps]

    learning = [p for p in critic.parameters() if p.requires_grad]
    truth = critic(real)
    difference = (truth - critic(detached(fake))).float()
    told = F.softplus(-difference).mean() + 0.02 * difference.square().mean()
    for parameter in learning:
        parameter.requires_grad_(False)
    fooled = F.softplus(truth.detach() - critic(fake)).float().mean()
    for parameter in learning:
        parameter.requires_grad_(True)
    return fooled, told


def balanced(painted: Tensor, kernel: Tensor, own: Tensor, pull: Tensor) -> Tensor:
    """A critic's gradient, scaled to move a network as far as that of the other terms does (Esser et al. 2021).

    How far is measured on the last kernel, but on what was painted it gets no longer than the other one either: a good
    critic's wishes differ from place to place and cancel on the way back, those of one that has learnt nothing yet do
    not (docs/adr/0016).

    Parameters
    ----------
    painted : what the network painted, with its graph
    kernel : the weights of its last convolution
    own, pull : gradients of the other terms and of the critic on what was painted

    Returns
    -------
    ``pull`` times a number
    """

    def step(gradient: Tensor) -> Tensor:
        return torch.autograd.grad(painted, kernel, gradient, retain_graph=True)[0].norm()

    return pull * (step(own) / (step(pull) + 1e-12)).clamp(max=own.norm() / (pull.norm() + 1e-12))
