r"""The lite autoencoder: pictures of tissue in, latents of one eighth the size and unit variance out, and back.

    z = standardise(encode(x)),   x' = decode(z),   z in R^(8 x H/8 x W/8)

Norm-free residual convolutions (group norm took half of a training step on CPU); most of the work happens at a
quarter and an eighth of the resolution. The latents are standardised by running statistics that are part of the
model (a batch norm without scale and shift), so that what `encode` returns *is* the unit-variance latent of the
diffusion model. A little noise on the latents during training makes the decoder forgive a sampler's small errors.

Two things are properties of the weights, written in their file. *Upsampling*: layers that shuffle channels into pixels
print their lattice into everything, so that decoders are trained with nearest-neighbour upsampling and convolutions
(`SmoothDecoder`) today. *Borders*: an encoder that sees zeros beyond the picture puts a ring of larger numbers round
every latent, which an image model then learns to paint at the border of every window; with ``borders="reflected"`` the
picture is continued by its mirror image and the latents of that are cut off again. A decoder has to see as much: so
canvases are sampled with a margin (`margin_of`), since mirrored latents are no latents of mirrored pictures.

Anything with ``encode``, ``decode``, ``latent_channels`` and ``factor`` is an `Autoencoder`; `DiffusersAutoencoder`
wraps `AutoencoderKL` and `AutoencoderTiny` into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..labels import CELL_PX

UPSAMPLING, BORDERS = ("nearest", "shuffle"), ("reflected", "zero")
MIRRORED = 4  # latents by which a picture is continued at its borders, and that are cut off again
MARGIN = 4  # latents that are sampled around a picture for the decoder to see, and not painted
FINE = 24  # channels of a smooth decoder at full resolution


def margin_of(config: Mapping[str, Any]) -> int:
    """Latents by which a canvas has to be larger than its picture on all sides, for an autoencoder's configuration.

    >>> margin_of({"borders": "reflected"}), margin_of({})
    (4, 0)
    """
    return MARGIN if config.get("borders") == "reflected" else 0


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


class Grow(nn.Module):
    """Nearest-neighbour upsampling by 2 and a 3 x 3 convolution, (B, C, H, W) to (B, C', 2H, 2W).

    Of the nine pixels under the kernel, those that come from one cell of the small map have one value. So an output
    pixel sees 2 x 2 cells, through the sums of the weights that fall on each of them; which cells and which sums
    depends on the parity of its row and column alone. That is four 2 x 2 convolutions of the small map, done here as
    one with four times the channels: the same numbers with 4/9 of the products (Odena et al. 2016 for why not to
    transpose or shuffle).

    >>> layer, x = Grow(3, 2), torch.randn(1, 3, 5, 4)
    >>> wanted = layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    >>> torch.testing.assert_close(layer(x), wanted)
    """

    def __init__(self, channels: int, grown: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, grown, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        (b, _, h, w), kernel = x.shape, self.conv.weight
        rows = [(kernel[:, :, :1], kernel[:, :, 1:].sum(2, True)), (kernel[:, :, :2].sum(2, True), kernel[:, :, 2:])]
        both = [torch.cat(pair, dim=2) for pair in rows]  # rows summed, of an even and of an odd row: (C', C, 2, 3)
        kernels = [
            torch.cat((k[..., :1], k[..., 1:].sum(3, True)) if even else (k[..., :2].sum(3, True), k[..., 2:]), dim=3)
            for k in both
            for even in (True, False)
        ]
        out = F.conv2d(x, torch.cat(kernels), self.conv.bias.repeat(4), padding=1)  # type: ignore[union-attr]
        out = out.unflatten(1, (2, 2, -1))
        quarters = [out[:, row, column, :, row : row + h, column : column + w] for row in (0, 1) for column in (0, 1)]
        grown = torch.stack(quarters, dim=-1).unflatten(-1, (2, 2))  # (B, C', H, W, row, column)
        return grown.permute(0, 1, 2, 4, 3, 5).reshape(b, -1, 2 * h, 2 * w)


class SmoothDecoder(nn.Module):
    """Latents to pictures without a lattice: residual blocks at 1/8, 1/4 and 1/2 of the resolution, `Grow` between.

    Parameters
    ----------
    latent_channels, widths, blocks : as in `LiteAutoencoder`.
    """

    def __init__(self, latent_channels: int, widths: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        a, b, c = widths
        first, second, third = ([Block(width) for _ in range(n)] for width, n in zip((c, b, a), blocks, strict=True))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(latent_channels, c, 3, padding=1), *first),
                nn.Sequential(Grow(c, b), *second),
                nn.Sequential(Grow(b, a), *third),
                nn.Sequential(Grow(a, FINE), nn.SiLU(), nn.Conv2d(FINE, 3, 3, padding=1)),
            ]
        )

    @property
    def last_kernel(self) -> Tensor:
        """The weights of its last convolution."""
        return self.get_parameter(f"stages.{len(self.stages) - 1}.2.weight")

    def forward(self, latents: Tensor, margin: int = 0) -> Tensor:
        """Latents (B, C, h, w) to images (B, 3, 8 (h - 2 margin), 8 (w - 2 margin)).

        Parameters
        ----------
        margin : outermost latents that are read and not painted, so that the picture knows no border. They are cut off
            bit by bit on the way: half of what is left after each stage, where it has been used.
        """
        x, left = latents, margin  # what is left of the margin, in cells of the present stage
        for number, stage in enumerate(self.stages):
            if number:
                left *= 2
            x = stage(x.contiguous(memory_format=torch.channels_last))
            cut = left if number == len(self.stages) - 1 else left // 2
            x, left = x[..., cut : x.shape[-2] - cut, cut : x.shape[-1] - cut], left - cut
        return x


def shuffling_decoder(latent_channels: int, widths: Sequence[int], blocks: Sequence[int]) -> nn.Sequential:
    """The decoder of the first weights: each doubling of the resolution shuffles channels into pixels."""
    a, b, c = widths
    return nn.Sequential(
        nn.Conv2d(latent_channels, c, 3, padding=1),
        *(Block(c) for _ in range(blocks[0])),
        nn.Conv2d(c, 4 * b, 3, padding=1),
        nn.PixelShuffle(2),
        *(Block(b) for _ in range(blocks[1])),
        nn.Conv2d(b, 4 * a, 3, padding=1),
        nn.PixelShuffle(2),
        *(Block(a) for _ in range(blocks[2])),
        nn.Conv2d(a, 4 * 16, 3, padding=1),
        nn.PixelShuffle(2),
        nn.SiLU(),
        nn.Conv2d(16, 3, 3, padding=1),
    )


class LiteAutoencoder(nn.Module):
    """Convolutional autoencoder with f = 8.

    Parameters
    ----------
    latent_channels : channels of the latent.
    widths : channels at 1/2, 1/4 and 1/8 of the resolution.
    encoder_blocks, decoder_blocks : residual blocks at each of these.
    noise : standard deviation of the noise added to unit-variance latents in training.
    upsampling : "nearest" for a `SmoothDecoder`, "shuffle" for layers that shuffle channels into pixels.
    borders : what the encoder sees beyond the picture, "reflected" or "zero".
    """

    factor = CELL_PX

    def __init__(
        self,
        latent_channels: int = 8,
        widths: Sequence[int] = (48, 96, 160),
        encoder_blocks: Sequence[int] = (1, 2, 2),
        decoder_blocks: Sequence[int] = (2, 3, 3),
        noise: float = 0.05,
        *,
        upsampling: str = "shuffle",
        borders: str = "zero",
    ):
        super().__init__()
        if upsampling not in UPSAMPLING or borders not in BORDERS:
            wanted = f"upsampling out of {', '.join(UPSAMPLING)} and borders out of {', '.join(BORDERS)}"
            raise ValueError(f"expected {wanted}, got {upsampling!r} and {borders!r}")
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "widths": list(widths),
            "noise": noise,
            "encoder_blocks": list(encoder_blocks),
            "decoder_blocks": list(decoder_blocks),
            "upsampling": upsampling,
            "borders": borders,
        }
        self.latent_channels, self.noise, self.borders = latent_channels, noise, borders
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
        self.decoder: nn.Module = (
            SmoothDecoder(latent_channels, widths, decoder_blocks)
            if upsampling == "nearest"
            else shuffling_decoder(latent_channels, widths, decoder_blocks)
        )

    def new_decoder(self) -> SmoothDecoder:
        """A smooth decoder of random weights for these latents."""
        config = self.config
        return SmoothDecoder(config["latent_channels"], config["widths"], config["decoder_blocks"])

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] to latents (B, C, H/8, W/8) of unit variance.

        Raises
        ------
        ValueError
            If a side is not a multiple of 8 px, or too short to be mirrored.
        """
        if images.shape[-1] % self.factor or images.shape[-2] % self.factor:
            raise ValueError(f"expected sides that are multiples of 8 px, got {tuple(images.shape[-2:])}")
        if self.borders == "zero":
            return self.standardise(self.encoder(images))
        if min(images.shape[-2:]) <= MIRRORED * self.factor:
            least = (MIRRORED + 1) * self.factor
            raise ValueError(f"expected a picture of at least {least} px to mirror, got {tuple(images.shape[-2:])}")
        mirrored = F.pad(images, (MIRRORED * self.factor,) * 4, mode="reflect")
        return self.standardise(self.encoder(mirrored)[..., MIRRORED:-MIRRORED, MIRRORED:-MIRRORED])

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
