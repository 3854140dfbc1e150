r"""How a decoder learns: from pixels, features, spectra, and from two critics; the encoder, and so every latent, stays.

.. math::

    L = |x' - x| + w_p\,S(D_p(x) - D_p(x')) + w_f\,S(D_f(x) - D_f(x'))
        + 0.05 \sum_k \frac{|f_k(x') - f_k(x)| + |\overline{f_k}(x') - \overline{f_k}(x)|}{|f_k(x)|}
        + 0.05\,|\log P(x') - \log P(x)|, \qquad S = \operatorname{softplus}.

A decoder trained on pixel differences alone blurs chromatin: the mean of all sharp answers is a soft one. A critic that
has seen real tiles objects to softness (Isola et al. 2017, Esser et al. 2021). It is shown a crop x and its
reconstruction x' and says which is real (`critics`), so that what both share, such as the stain, cancels. There are
two. `Critic` looks at pixels. `ProjectedCritic` looks at features f_k of a frozen, pretrained
network through fixed random mixtures of their channels and scales (Sauer et al. 2021): it need not learn first what an
edge is. The weights w make the gradient of each half as long as that of the other terms (`critics.balanced`). Features
are compared place by place, and in their means over each crop: a bias that all pictures
share is small in each place and decides a Fréchet distance. Spectra P (power by spatial frequency) are compared because
layers that double the resolution leave too little power below and far too much at the highest frequency (Durall et al.
2020).

No crop knows where its border was: encoder and decoder see more than the crop, of its real neighbours, or, beyond the
picture, of its mirror image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import Compute
from ..models.autoencoder import MIRRORED, Grow, LiteAutoencoder, SmoothDecoder
from .critics import Critic, ProjectedCritic, balanced, judged
from .data import Pictures
from .loop import Loss

SEEN, MARGIN = 2, 3  # latents round a crop that the encoder sees and that are cut off, then those the decoder sees
FITTED = 8  # batches of 8 crops that the upsampling of a new decoder is fitted on
RIDGE = 1e-4  # of that fit, over the mean square of the inputs


@dataclass(frozen=True)
class Sharpening:
    """What the decoder sees in a step.

    Attributes
    ----------
    crop : side of what is compared, px; a multiple of 8.
    batch : crops a step.
    alone : steps before the critics come; they would only see that the decoder has not learnt anything yet.
    ramp : steps over which their weight then grows from 0 to `pull`.
    pull : length of the gradient of each critic on the decoder's last kernel, over that of the other terms.
    """

    crop: int = 144
    batch: int = 4
    alone: int = 400
    ramp: int = 200
    pull: float = 0.5


class Sharpener(nn.Module):
    """A frozen autoencoder, the smooth decoder that is to take the place of its own, and the critics it learns from.

    Parameters
    ----------
    autoencoder : its decoder is left alone.
    decoder : learns.
    channels : of the feature maps.
    """

    def __init__(self, autoencoder: LiteAutoencoder, decoder: SmoothDecoder, channels: list[int]):
        super().__init__()
        self.config = {**autoencoder.config, "upsampling": "nearest"}
        self.decoder, self.critic, self.projected = decoder, Critic(), ProjectedCritic(channels)
        self._autoencoder = [autoencoder.requires_grad_(False).eval()]  # in a list: no part of the checkpoints

    @property
    def autoencoder(self) -> LiteAutoencoder:
        """The frozen one."""
        return self._autoencoder[0]

    def trained_parameters(self) -> list[dict]:
        """Groups of parameters for the optimiser: the decoder's, and the critics'."""
        critics = [p for critic in (self.critic, self.projected) for p in critic.parameters() if p.requires_grad]
        return [{"params": list(self.decoder.parameters())}, {"params": critics, "betas": (0.5, 0.99)}]


def latents_and_crop(autoencoder: LiteAutoencoder, pictures: Tensor, compute: Compute) -> tuple[Tensor, Tensor]:
    """Latents of pictures that know no border, and what the decoder has to paint from them with `MARGIN`.

    Parameters
    ----------
    pictures : (B, 3, H, W) in [-1, 1], with `SEEN` + `MARGIN` latents of neighbours on each side

    Returns
    -------
    latents (B, C, H/8 - 2 SEEN, W/8 - 2 SEEN), pictures (B, 3, H - 16 (SEEN + MARGIN), ...)
    """
    cut = autoencoder.factor * (SEEN + MARGIN)
    with torch.no_grad(), compute.autocast():
        z = autoencoder.standardise(autoencoder.encoder(pictures))[..., SEEN:-SEEN, SEEN:-SEEN].float()
    return z, pictures[..., cut:-cut, cut:-cut]


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


def feature_errors(wanted: list[Tensor], got: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Differences of feature maps place by place, and of their means over each picture, each over their size."""
    places, means = got[0].new_zeros(()), got[0].new_zeros(())
    for a, b in zip(got, wanted, strict=True):
        error, scale = a - b, b.abs().mean()
        places, means = places + error.abs().mean() / scale, means + error.mean((2, 3)).abs().mean() / scale
    return places, means


def sharpening_loss(
    model: Sharpener,
    pictures: Pictures,
    features: Callable[[Tensor], list[Tensor]],
    sharpening: Sharpening,
    compute: Compute,
) -> Loss:
    """The losses above, for the decoder alone: latents, and what was trained on them, stay valid.

    Decoder and critics step at the same time. The gradient of every term on the pixels is computed once, on a leaf, and
    their sum then goes through the decoder once.

    Parameters
    ----------
    features : images (B, 3, H, W) to feature maps, finest first, such as `EfficientNetLite0.taps`.
    """
    autoencoder = model.autoencoder
    side = sharpening.crop + 2 * autoencoder.factor * (SEEN + MARGIN)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        crops = pictures.crops(side, sharpening.batch, autoencoder.factor * MIRRORED, generator)
        crops = crops.to(compute.device, memory_format=torch.channels_last)
        z, x = latents_and_crop(autoencoder, crops, compute)
        noise = torch.randn(z.shape, generator=generator).to(compute.device)
        with compute.autocast():
            painted = model.decoder(z + autoencoder.noise * noise, MARGIN).float()
            with torch.no_grad():
                wanted = features(x)
            y = painted.detach().requires_grad_()
            got = features(y)
        pixels = (y - x).abs().mean()
        perceptual, means = feature_errors([f.float() for f in wanted], [f.float() for f in got])
        spectrum = (log_spectrum(y) - log_spectrum(x)).abs().mean()
        value = pixels + 0.05 * (perceptual + means + spectrum)
        own = gradient = torch.autograd.grad(value, y, retain_graph=True)[0]
        parts = {"l1": pixels, "perceptual": perceptual, "means": means, "spectrum": spectrum}
        judging = value.new_zeros(())
        if step > sharpening.alone:
            weight = sharpening.pull * min(1.0, (step - sharpening.alone) / sharpening.ramp)
            looks = (("pixel", model.critic, x, y), ("feature", model.projected, wanted, got))
            for name, critic, real, fake in looks:
                with compute.autocast():
                    fooled, told = judged(critic, real, fake)
                pull = torch.autograd.grad(fooled, y, retain_graph=True)[0]
                gradient = gradient + weight * balanced(painted, model.decoder.last_kernel, own, pull)
                judging = judging + told
                parts |= {f"fooled_{name}": fooled, f"judged_{name}": told}
        through = (painted * gradient).sum()
        parts["mse"] = (y - x).square().mean()
        return {"loss": value.detach() + judging + through - through.detach(), **parts}

    return loss


@torch.no_grad()
def smoothed(autoencoder: LiteAutoencoder, pictures: Pictures, compute: Compute) -> SmoothDecoder:
    """A smooth decoder to begin with: that of the autoencoder, with its upsampling fitted by least squares.

    The residual blocks are its own. Each doubling by shuffled channels is replaced by the `Grow` that comes nearest to
    what it gave, on what reaches it here, layer by layer.
    """
    decoder = autoencoder.new_decoder().to(compute.device)
    if isinstance(autoencoder.decoder, SmoothDecoder):
        decoder.load_state_dict(autoencoder.decoder.state_dict())
        return decoder
    shuffling = _stages(autoencoder.decoder)
    generator = torch.Generator().manual_seed(0)
    side = 128 + 2 * autoencoder.factor * SEEN
    x = []
    for _ in range(FITTED):
        crops = pictures.crops(side, 8, autoencoder.factor * MIRRORED, generator).to(compute.device)
        x.append(autoencoder.standardise(autoencoder.encoder(crops))[..., SEEN:-SEEN, SEEN:-SEEN])
    wanted = x
    for stage, old in zip(decoder.stages, shuffling, strict=True):
        start = 0
        if isinstance(stage[0], Grow):
            start = 2  # the old stage begins with a convolution and a shuffle
            _fit(stage[0], x, [old[:2](batch) for batch in wanted])
        for new_layer, old_layer in zip(stage[start // 2 :], old[start:], strict=True):
            if isinstance(new_layer, nn.Conv2d) and new_layer.weight.shape != old_layer.weight.shape:
                new_layer.weight.zero_()
                new_layer.weight[:, : old_layer.in_channels] = old_layer.weight
                new_layer.bias.copy_(old_layer.bias)
            else:
                new_layer.load_state_dict(old_layer.state_dict())
        x, wanted = [stage(batch) for batch in x], [old(batch) for batch in wanted]
    return decoder


def _stages(decoder: nn.Sequential) -> list[nn.Sequential]:
    """A shuffling decoder in parts that begin with the convolution before a shuffle."""
    layers = list(decoder)
    starts = [0, *(n - 1 for n, layer in enumerate(layers) if isinstance(layer, nn.PixelShuffle)), len(layers)]
    return [nn.Sequential(*layers[a:b]) for a, b in pairwise(starts)]


def _fit(grow: Grow, inputs: list[Tensor], outputs: list[Tensor]) -> None:
    """The kernel and bias with the least squared error; channels that have no output keep their random start."""
    columns = grow.conv.in_channels * 9 + 1
    square = torch.zeros(columns, columns, dtype=torch.float64)
    product = torch.zeros(columns, outputs[0].shape[1], dtype=torch.float64)
    unfold = partial(F.unfold, kernel_size=3)
    for x, y in zip(inputs, outputs, strict=True):
        for one, wanted in zip(x, y, strict=True):  # inside only: at the border there are zeros
            seen = unfold(F.interpolate(one[None], scale_factor=2.0, mode="nearest"))[0]
            seen = torch.cat([seen, seen.new_ones(1, seen.shape[1])])[:, ::3]
            target = wanted[:, 1:-1, 1:-1].flatten(1)[:, ::3]
            square += (seen @ seen.T).cpu()
            product += (seen @ target.T).cpu()
    square.diagonal()[:-1] += RIDGE * square.diagonal()[:-1].mean()
    solved = torch.linalg.solve(square, product).float().T
    fitted = len(solved)
    grow.conv.weight[:fitted] = solved[:, :-1].view(fitted, -1, 3, 3).to(grow.conv.weight)
    grow.conv.bias[:fitted] = solved[:, -1].to(grow.conv.weight)  # type: ignore[index]  # None only without a bias
