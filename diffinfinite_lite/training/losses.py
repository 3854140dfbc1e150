r"""What the networks are trained to make small.

Autoencoder: absolute differences of pixels and of neighbouring pixels' differences, so that edges count.

Image model (Alg. 1, eq. 9): the network sees a noisy latent :math:`z_t = \sqrt{a} z + \sqrt{1 - a} \epsilon` and is
compared with :math:`v = \sqrt{a} \epsilon - \sqrt{1 - a} z`; labelled and unlabelled latents are drawn sample by
sample.

Sharpening: the upper decoder learns from a critic D while the encoder, and so every latent, stays as it is.

    L = |x' - x| + w softplus(D(x) - D(x')) + 0.2 sum_k |f_k(x') - f_k(x)| / |f_k(x)|
        + sum_k |mean f_k(x') - mean f_k(x)| / |f_k(x)| + 0.05 |log P(x') - log P(x)|
    L_D = softplus(D(x') - D(x))

An autoencoder trained on pixel differences alone blurs chromatin: the mean of all sharp answers is a soft one. A
patch critic that has seen real tiles objects to softness (Isola et al. 2017, Esser et al. 2021). It is shown a crop x
and its reconstruction x' and says which is real (Jolicoeur-Martineau 2018), so that what both share, such as the
stain, cancels. The weight w makes the critic's gradient on the pixels of x' as long as that of the first term.
Features f_k are compared one by one and in their means over a batch: a bias that all pictures share is small in each
and decides a Fréchet distance. Spectra P (power by spatial frequency) are compared because layers that double the
resolution leave too little power below and far too much at the highest frequency (Durall et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import Compute
from ..models.autoencoder import LiteAutoencoder
from .loop import Loss

UPPER = 4  # first trained layer of the decoder in sharpening: its first doubling of the resolution


@dataclass(frozen=True)
class Crops:
    """What autoencoder and decoder see in a step.

    Attributes
    ----------
    size : side of a crop, px.
    batch : crops a step.
    """

    size: int = 128
    batch: int = 16


@dataclass(frozen=True)
class Draws:
    """How the image model's batch is drawn from labelled and unlabelled latents (eq. 9).

    The paper's eq. 9 takes the unlabelled set where u >= p_unc, its text calls p_unc the probability of the
    unconditional case. At the paper's p_unc = 0.5 they agree; this code follows the text.

    Attributes
    ----------
    p_unc : probability of an unlabelled latent under the null label.
    patch : side of a crop, latent pixels.
    batch : samples a step.
    single_label : share of the labelled samples that keep one of their labels and lose the others.
    middle : share of the samples whose timestep comes from a triangle over the schedule; of the others it is uniform.
    """

    p_unc: float = 0.5
    patch: int = 16
    batch: int = 32
    single_label: float = 0.25
    middle: float = 0.0


def random_crops(images: Tensor, crops: Crops, generator: torch.Generator) -> Tensor:
    """Random crops in a random one of eight orientations.

    Parameters
    ----------
    images : uint8 (N, H, W, 3)

    Returns
    -------
    float (batch, 3, size, size) in [-1, 1]
    """
    size = crops.size
    indices = torch.randint(len(images), (crops.batch,), generator=generator).tolist()
    found = []
    for index in indices:
        top, left, turn, flip = (
            int(torch.randint(n, (1,), generator=generator))
            for n in (images.shape[1] - size + 1, images.shape[2] - size + 1, 4, 2)
        )
        crop = images[index, top : top + size, left : left + size].permute(2, 0, 1)
        crop = torch.rot90(crop, turn, (1, 2))
        found.append(crop.flip(2) if flip else crop)
    return torch.stack(found).float() / 127.5 - 1


def autoencoder_loss(model: LiteAutoencoder, images: Tensor, crops: Crops, compute: Compute) -> Loss:
    """Absolute differences of pixels and of their finite differences.

    Parameters
    ----------
    images : uint8 (N, H, W, 3)
    """

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = random_crops(images, crops, generator).to(compute.device, memory_format=torch.channels_last)
        with compute.autocast():
            z = model.encode(x)
            y = model.decode(z + model.noise * torch.randn(z.shape, generator=generator).to(compute.device))
        error = y.float() - x
        edges = (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()) / 2
        pixels = error.abs().mean()
        return {"loss": pixels + edges, "l1": pixels, "mse": error.detach().square().mean()}

    return loss


def image_loss(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    alphas_cumprod: Tensor,
    unlabelled: Tensor,
    labelled: Sequence[tuple[Tensor, Tensor]],
    draws: Draws,
    compute: Compute,
) -> Loss:
    """Alg. 1 with eq. 9: v-prediction on labelled and unlabelled latents.

    Parameters
    ----------
    model : (z_t, t, condition) to v, such as `MaskUNet`.
    alphas_cumprod : (T,), the noise schedule.
    unlabelled : (N, C, h, w), the set q0.
    labelled : the set q1 as sources, each latents (N, C, h, w) and conditions (N, h, w); a source is drawn in
        proportion to the square root of its size, or a small expert set would never be seen.
    """
    weights = torch.tensor([len(z) ** 0.5 for z, _ in labelled])

    def crop(z: Tensor, c: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        side = draws.patch
        top, left = (int(torch.randint(n - side + 1, (1,), generator=generator)) for n in z.shape[-2:])
        return z[:, top : top + side, left : left + side], c[top : top + side, left : left + side]

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if torch.rand((), generator=generator) < draws.p_unc:
            z = unlabelled[torch.randint(len(unlabelled), (), generator=generator)]
            return crop(z, torch.zeros(z.shape[-2:], dtype=torch.int64), generator)
        latents, conditions = labelled[int(torch.multinomial(weights, 1, generator=generator))]
        index = torch.randint(len(latents), (), generator=generator)
        z, c = crop(latents[index], conditions[index], generator)
        if torch.rand((), generator=generator) < draws.single_label:
            present = c.unique()
            only = present[torch.randint(len(present), (), generator=generator)]
            c = torch.where(c == only, c, 0)
        return z, c

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        samples, maps = zip(*(draw(generator) for _ in range(draws.batch)), strict=True)
        z, condition = torch.stack(samples).float(), torch.stack(maps)
        u = torch.rand(3, draws.batch, generator=generator)  # the mean of two uniform draws has a triangle's density
        t = (len(alphas_cumprod) * torch.where(u[2] < draws.middle, u[:2].mean(dim=0), u[0])).long()
        noise = torch.randn(z.shape, generator=generator)
        a = alphas_cumprod[t].view(-1, 1, 1, 1)
        z, condition, t, noise, a = (x.to(compute.device) for x in (z, condition, t, noise, a))
        with compute.autocast():
            v = model(a.sqrt() * z + (1 - a).sqrt() * noise, t, condition)
        return {"loss": F.mse_loss(v.float(), a.sqrt() * noise - (1 - a).sqrt() * z)}

    return loss


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

    def __init__(self, autoencoder: LiteAutoencoder):
        super().__init__()
        self.config = autoencoder.config
        self.autoencoder, self.critic = autoencoder, Critic()
        autoencoder.requires_grad_(False)
        autoencoder.decoder[UPPER:].requires_grad_(True)

    def trained_parameters(self) -> list[nn.Parameter]:
        """Those of the upper decoder and of the critic."""
        return [*self.autoencoder.decoder[UPPER:].parameters(), *self.critic.parameters()]


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
    features: Callable[[Tensor], list[Tensor]],
    crops: Crops,
    compute: Compute,
    *,
    ramp: int = 200,
) -> Loss:
    """The sharpening losses above, for the decoder alone: latents, and what was trained on them, stay valid.

    Decoder and critic step at the same time: the critic is frozen while it judges for the decoder.

    Parameters
    ----------
    images : uint8 (N, H, W, 3)
    features : images (B, 3, H, W) to feature maps, such as `EfficientNetLite0.taps`.
    ramp : steps over which the critic's weight grows from 0 to 1.
    """
    autoencoder, critic = model.autoencoder, model.critic

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = random_crops(images, crops, generator).to(compute.device, memory_format=torch.channels_last)
        with compute.autocast():
            with torch.no_grad():
                z = autoencoder.eval().encode(x)
            noise = torch.randn(z.shape, generator=generator).to(compute.device)
            y = autoencoder.decode(z + autoencoder.noise * noise)
            real = critic(x)
            critic.requires_grad_(False)
            fooled = F.softplus(real.detach() - critic(y)).float().mean()
            gradient = torch.autograd.grad(fooled, y, retain_graph=True)[0].float().norm()
            critic.requires_grad_(True)
            judged = F.softplus(critic(y.detach()) - real).float().mean()
        y = y.float()
        perceptual, bias = _feature_errors(features, x, y)
        spectrum = (log_spectrum(y) - log_spectrum(x)).abs().mean()
        pixels = (y - x).abs().mean()
        # the gradient of the L1 term on y has length 1 / sqrt(number of values), whatever the pictures
        weight = min(1.0, step / ramp) / (gradient * y.numel() ** 0.5 + 1e-8)
        return {
            "loss": pixels + weight * fooled + 0.2 * perceptual + bias + 0.05 * spectrum + judged,
            "l1": pixels,
            "perceptual": perceptual,
            "bias": bias,
            "spectrum": spectrum,
            "fooled": fooled,
            "judged": judged,
            "mse": (y.detach() - x).square().mean(),
        }

    return loss


def _feature_errors(features: Callable[[Tensor], list[Tensor]], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Feature differences of y to x place by place and in their means over batch and places, each over their size."""
    with torch.no_grad():
        targets = features(x)
    errors = [(a - b, b.abs().mean()) for a, b in zip(features(y), targets, strict=True)]
    perceptual = sum((error.abs().mean() / scale for error, scale in errors), y.new_zeros(()))
    bias = sum((error.mean((0, 2, 3)).abs().mean() / scale for error, scale in errors), y.new_zeros(()))
    return perceptual, bias
