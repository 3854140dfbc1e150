r"""The lite autoencoder: pictures of tissue in, latents of one eighth the size and unit variance out, and back.

    z = standardise(encode(x)),   x' = decode(z),   z in R^(8 x H/8 x W/8)

Norm-free residual convolutions (group norm took half of a training step on CPU); most of the work happens at a
quarter and an eighth of the resolution. The latents are standardised by running statistics that are part of the
model (a batch norm without scale and shift), so that what `encode` returns *is* the unit-variance latent of the
diffusion model. A little noise on the latents during training makes the decoder forgive a sampler's small errors.

Anything with ``encode``, ``decode``, ``latent_channels`` and ``factor`` is an `Autoencoder`; `DiffusersAutoencoder`
wraps `AutoencoderKL` and `AutoencoderTiny` into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

from torch import Tensor, nn
from torch.nn import functional as F

from ..labels import CELL_PX


class Autoencoder(Protocol):
    """What the rest of the library needs of an autoencoder."""

    latent_channels: int
    factor: int

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to latents (B, C, H/f, W/f) of about unit variance."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) to images (B, 3, f h, f w), about [-1, 1]."""

    def to(self, device: str) -> Self:
        """The autoencoder on a device."""


class Block(nn.Module):
    """Residual block of two convolutions, (B, C, H, W) to the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]  # None only without a bias

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class LiteAutoencoder(nn.Module):
    """Convolutional autoencoder with f = 8.

    Parameters
    ----------
    latent_channels : channels of the latent.
    widths : channels at 1/2, 1/4 and 1/8 of the resolution.
    encoder_blocks, decoder_blocks : residual blocks at each of these.
    noise : standard deviation of the noise added to unit-variance latents in training.
    """

    factor = CELL_PX

    def __init__(
        self,
        latent_channels: int = 8,
        widths: Sequence[int] = (48, 96, 160),
        encoder_blocks: Sequence[int] = (1, 2, 2),
        decoder_blocks: Sequence[int] = (2, 3, 3),
        noise: float = 0.05,
    ):
        super().__init__()
        self.config = {
            "latent_channels": latent_channels,
            "widths": list(widths),
            "noise": noise,
            "encoder_blocks": list(encoder_blocks),
            "decoder_blocks": list(decoder_blocks),
        }
        self.latent_channels, self.noise = latent_channels, noise
        a, b, c = widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, a, 3, padding=1),
            *(Block(a) for _ in range(encoder_blocks[0])),
            nn.Conv2d(a, b, 4, stride=2, padding=1),
            *(Block(b) for _ in range(encoder_blocks[1])),
            nn.Conv2d(b, c, 4, stride=2, padding=1),
            *(Block(c) for _ in range(encoder_blocks[2])),
            nn.SiLU(),
            nn.Conv2d(c, latent_channels, 3, padding=1),
        )
        self.standardise = nn.BatchNorm2d(latent_channels, affine=False, momentum=0.02)
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, c, 3, padding=1),
            *(Block(c) for _ in range(decoder_blocks[0])),
            nn.Conv2d(c, 4 * b, 3, padding=1),
            nn.PixelShuffle(2),
            *(Block(b) for _ in range(decoder_blocks[1])),
            nn.Conv2d(b, 4 * a, 3, padding=1),
            nn.PixelShuffle(2),
            *(Block(a) for _ in range(decoder_blocks[2])),
            nn.Conv2d(a, 4 * 16, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(16, 3, 3, padding=1),
        )

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to latents (B, C, H/8, W/8) of unit variance.

        Raises
        ------
        ValueError
            If a side is not a multiple of 8 px.
        """
        if images.shape[-1] % self.factor or images.shape[-2] % self.factor:
            raise ValueError(f"expected sides that are multiples of 8 px, got {tuple(images.shape[-2:])}")
        return self.standardise(self.encoder(images))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) to images (B, 3, 8h, 8w), about [-1, 1] (not clipped)."""
        return self.decoder(latents)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruction."""
        return self.decode(self.encode(images))


class DiffusersAutoencoder(nn.Module):
    """`AutoencoderKL` or `AutoencoderTiny` of diffusers as an `Autoencoder`.

    Parameters
    ----------
    model : an instance from diffusers; the mean of the posterior is used, scaled by its ``scaling_factor``.

    Examples
    --------
    >>> import torch
    >>> from diffusers import AutoencoderTiny
    >>> vae = DiffusersAutoencoder(AutoencoderTiny(encoder_block_out_channels=(8, 8, 8, 8),
    ...     decoder_block_out_channels=(8, 8, 8, 8)))
    >>> tuple(vae.decode(vae.encode(torch.zeros(1, 3, 64, 64))).shape)
    (1, 3, 64, 64)
    """

    model: Any  # its configuration and outputs are types that diffusers makes at run time

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        config = self.model.config
        self.latent_channels: int = config.latent_channels
        levels = getattr(config, "block_out_channels", None) or config.encoder_block_out_channels
        self.factor: int = 2 ** (len(levels) - 1)
        self.scale: float = config.scaling_factor

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to latents (B, C, H/f, W/f)."""
        out = self.model.encode(images)
        latents = out.latent_dist.mean if hasattr(out, "latent_dist") else out.latents
        return latents * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, h, w) to images (B, 3, f h, f w)."""
        return self.model.decode(latents / self.scale).sample


def load_diffusers(source: str) -> DiffusersAutoencoder:
    """An `AutoencoderKL` or `AutoencoderTiny` from a folder or, where there is internet, from the Hugging Face hub.

    Parameters
    ----------
    source : such as "stabilityai/stable-diffusion-2-base" (its ``vae`` subfolder is found) or "madebyollin/taesd".

    Raises
    ------
    ValueError
        If there is no such autoencoder, or it does not reduce the sides by 8.
    """
    import diffusers  # takes a second, and only those who bring their own autoencoder need it

    known = (diffusers.AutoencoderKL, diffusers.AutoencoderTiny)
    reasons = []
    for subfolder in (None, "vae"):
        try:
            name = diffusers.AutoencoderKL.load_config(source, subfolder=subfolder)["_class_name"]
            build = {each.__name__: each for each in known}[name]
            model = DiffusersAutoencoder(build.from_pretrained(source, subfolder=subfolder)).eval()
        except (OSError, KeyError) as error:
            reasons.append(str(error).splitlines()[0])
            continue
        if model.factor != LiteAutoencoder.factor:
            raise ValueError(f"expected an autoencoder that reduces sides by 8, got one by {model.factor} in {source}")
        return model
    raise ValueError(f"expected an AutoencoderKL or AutoencoderTiny of diffusers at {source}, got: {reasons[0]}")
