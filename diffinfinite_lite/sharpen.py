r"""Sharpening: the decoder learns from a critic while the encoder, and so every latent, stays as it is.

    L = |x' - x| + 0.2 sum_k |f_k(x') - f_k(x)| / |f_k(x)| + w softplus(D(x) - D(x'))
    L_D = softplus(D(x') - D(x))

An autoencoder trained on pixel differences alone blurs chromatin: the mean of all sharp answers is a soft one. A patch
critic D that has seen real tiles objects to softness (Isola et al. 2017, Esser et al. 2021). It is shown a crop x and
its reconstruction x' and asked which is real (Jolicoeur-Martineau 2018), so that what both share, such as the stain,
cancels. The weight w makes its pull on the pixels of x' as strong as that of the first term.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .train import Loss, autocast, random_crops


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


class Sharpener(nn.Module):
    """An autoencoder whose encoder is frozen, and the critic that its decoder learns from."""

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.config = autoencoder.config
        self.autoencoder, self.critic = autoencoder, Critic()
        autoencoder.encoder.requires_grad_(False)

    def trained_parameters(self):
        return [*self.autoencoder.decoder.parameters(), *self.critic.parameters()]


def sharpening_loss(
    model: Sharpener,
    images: Tensor,
    perceptual: Callable[[Tensor], list[Tensor]],
    *,
    size: int = 128,
    batch: int = 8,
    adversarial: float = 1.0,
    ramp: int = 200,
    bf16: bool = True,
    device: str = "cpu",
) -> Loss:
    """L1 + perceptual + adversarial loss for the decoder alone; the latents, and what was trained on them, stay valid.

    Decoder and critic step together: the critic is frozen while it judges for the decoder.
    """
    autoencoder, critic = model.autoencoder, model.critic

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = random_crops(images, size, batch, generator).to(device, memory_format=torch.channels_last)
        with autocast(device, bf16):
            with torch.no_grad():
                z = autoencoder.eval().encode(x)
            y = autoencoder.decode(z + autoencoder.noise * torch.randn(z.shape, generator=generator).to(device))
            real = critic(x)
            critic.requires_grad_(False)
            fooled = F.softplus(real.detach() - critic(y)).float().mean()
            pull = torch.autograd.grad(fooled, y, retain_graph=True)[0].float().norm()
            critic.requires_grad_(True)
            judged = F.softplus(critic(y.detach()) - real).float().mean()
        y = y.float()
        with torch.no_grad():
            wanted = perceptual(x)
        seen = sum((a - b).abs().mean() / b.abs().mean() for a, b in zip(perceptual(y), wanted, strict=True))
        pixels = (y - x).abs().mean()
        # the gradient of the L1 term on y has length 1 / sqrt(number of values), whatever the pictures
        weight = adversarial * min(1.0, step / ramp) / (pull * y.numel() ** 0.5 + 1e-8)
        return {
            "loss": pixels + 0.2 * seen + weight * fooled + judged,
            "l1": pixels,
            "perceptual": seen,
            "fooled": fooled,
            "judged": judged,
            "mse": (y.detach() - x).square().mean(),
        }

    return loss
