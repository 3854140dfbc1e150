r"""Sharpening: the upper decoder learns from a critic while the encoder, and so every latent, stays as it is.

    L = |x' - x| + w softplus(D(x) - D(x')) + 0.2 sum_k |f_k(x') - f_k(x)| / |f_k(x)|
        + sum_k |mean f_k(x') - mean f_k(x)| / |f_k(x)| + 0.05 |log P(x') - log P(x)|
    L_D = softplus(D(x') - D(x))

An autoencoder trained on pixel differences alone blurs chromatin: the mean of all sharp answers is a soft one. A patch
critic D that has seen real tiles objects to softness (Isola et al. 2017, Esser et al. 2021). It is shown a crop x and
its reconstruction x' and asked which is real (Jolicoeur-Martineau 2018), so that what both share, such as the stain,
cancels. The weight w makes its pull on the pixels of x' as strong as that of the first term.

Single pictures leave a bias that all of them share untouched: it is small in each and decides a Fréchet distance. So
features f_k are also compared in their means over a batch, and so are spectra P, power by spatial frequency, where
layers that double the resolution leave too little below and far too much at the highest frequency (Durall et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import checkpoint
from .autoencoder import LiteAutoencoder
from .train import Loss, autocast, random_crops

UPPER = 4  # first trained layer of the decoder: its first doubling of the resolution


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
    """An autoencoder, all of it frozen but the decoder from `UPPER` on, and the critic that this learns from."""

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.config = autoencoder.config
        self.autoencoder, self.critic = autoencoder, Critic()
        autoencoder.requires_grad_(False)
        autoencoder.decoder[UPPER:].requires_grad_(True)

    def trained_parameters(self):
        return [*self.autoencoder.decoder[UPPER:].parameters(), *self.critic.parameters()]


def load_lite(weights: Path, *, sharpened: bool) -> LiteAutoencoder:
    """Our own autoencoder from the folder of a model.

    Parameters
    ----------
    sharpened : put the upper decoder of ``decoder.safetensors``, trained after the rest, in its place.
    """
    model = checkpoint.load_weights(weights / "autoencoder.safetensors", LiteAutoencoder)
    if sharpened:
        upper = checkpoint.load(weights / "decoder.safetensors")[0]
        model.load_state_dict(model.state_dict() | {key: value.float() for key, value in upper.items()})
    return model


def log_spectrum(images: Tensor) -> Tensor:
    """Mean log power by spatial frequency, (B, 3, n, n) to (3, rings), over all directions and the batch."""
    side = images.shape[-1]
    hann = torch.hann_window(side, periodic=False, device=images.device)
    power = torch.fft.rfft2(images * hann[:, None] * hann).abs().square() / side**2
    rows, columns = torch.fft.fftfreq(side, 1 / side), torch.arange(side // 2 + 1)
    ring = (rows[:, None] ** 2 + columns**2).sqrt().round().long().flatten().to(images.device)
    count = ring.bincount()
    sums = power.new_zeros(*power.shape[:2], len(count)).index_add(2, ring, power.flatten(2))
    return (sums / count + 1e-6).log().mean(dim=0)


def sharpening_loss(
    model: Sharpener,
    images: Tensor,
    perceptual: Callable[[Tensor], list[Tensor]],
    *,
    size: int = 112,
    batch: int = 8,
    adversarial: float = 1.0,
    ramp: int = 200,
    bf16: bool = True,
    device: str = "cpu",
) -> Loss:
    """The losses above, for the decoder alone; the latents, and what was trained on them, stay valid.

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
        found = [(a - b, b.abs().mean()) for a, b in zip(perceptual(y), wanted, strict=True)]
        seen = sum(difference.abs().mean() / scale for difference, scale in found)
        bias = sum(difference.mean((0, 2, 3)).abs().mean() / scale for difference, scale in found)
        spectrum = (log_spectrum(y) - log_spectrum(x)).abs().mean()
        pixels = (y - x).abs().mean()
        # the gradient of the L1 term on y has length 1 / sqrt(number of values), whatever the pictures
        weight = adversarial * min(1.0, step / ramp) / (pull * y.numel() ** 0.5 + 1e-8)
        return {
            "loss": pixels + weight * fooled + 0.2 * seen + bias + 0.05 * spectrum + judged,
            "l1": pixels,
            "perceptual": seen,
            "bias": bias,
            "spectrum": spectrum,
            "fooled": fooled,
            "judged": judged,
            "mse": (y.detach() - x).square().mean(),
        }

    return loss
