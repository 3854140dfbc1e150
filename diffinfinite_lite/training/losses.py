r"""What the networks are trained to make small.

Autoencoder: absolute differences of pixels and of neighbouring pixels' differences, so that edges count.

Image model (Alg. 1, eq. 9): the network sees a noisy latent :math:`z_t = \sqrt{a} z + \sqrt{1 - a} \epsilon` and is
compared with :math:`v = \sqrt{a} \epsilon - \sqrt{1 - a} z`; labelled and unlabelled latents are drawn sample by
sample.

How a decoder is sharpened after that is in `sharpening`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..devices import Compute
from ..models.autoencoder import LiteAutoencoder
from .loop import Loss


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
