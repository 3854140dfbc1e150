"""The autoencoder protocol, for our own and for diffusers' models."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from diffinfinite_lite.metrics.latents import border_ring
from diffinfinite_lite.models.autoencoder import DiffusersAutoencoder, LiteAutoencoder
from diffinfinite_lite.models.pretrained import WEIGHTS, load_lite


def kl(diffusers):
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def tiny(diffusers):
    return diffusers.AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4)


@pytest.mark.parametrize("build", [kl, tiny])
def test_diffusers_model_saved_to_disk_satisfies_the_protocol(build, diffusers, tmp_path):
    model = build(diffusers)
    model.save_pretrained(tmp_path)
    vae = DiffusersAutoencoder(type(model).from_pretrained(tmp_path)).eval()
    images = torch.rand(2, 3, 64, 48) * 2 - 1
    latents = vae.encode(images)
    assert latents.shape == (2, vae.latent_channels, 8, 6)
    assert vae.factor == 8
    assert vae.decode(latents).shape == images.shape


def test_scaling_factor_makes_the_round_trip_of_diffusers(diffusers):
    model = kl(diffusers).eval()
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    vae = DiffusersAutoencoder(model)
    expected = model.decode(model.encode(images).latent_dist.mean).sample
    torch.testing.assert_close(vae.decode(vae.encode(images)), expected, atol=1e-4, rtol=1e-4)


def test_training_standardises_latents():
    torch.manual_seed(0)
    model = LiteAutoencoder(widths=(8, 8, 8)).train()
    latents = model.encode(torch.rand(4, 3, 64, 64) * 2 - 1)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.var((0, 2, 3), unbiased=False), torch.ones(8), atol=2e-2, rtol=0)


def test_side_that_eight_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"multiples of 8 px, got \(60, 64\)"):
        LiteAutoencoder(widths=(8, 8, 8)).encode(torch.zeros(1, 3, 60, 64))


def smooth(**options):
    torch.manual_seed(0)
    return LiteAutoencoder(widths=(8, 12, 16), decoder_blocks=(1, 1, 1), upsampling="nearest", **options).eval()


def test_a_margin_is_read_and_not_painted():
    """With a margin the picture is, but for what lies further away, that of the middle of a larger one."""
    decoder = smooth().decoder
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1)
    z = torch.randn(1, 8, 24, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = decoder(z)[..., 64:-64, 64:-64]
        found, bare = decoder(z[..., 4:-4, 4:-4], 4), decoder(z[..., 8:-8, 8:-8])
    assert found.shape == bare.shape == whole.shape == (1, 3, 64, 32)
    errors = [float((picture - whole).square().mean() ** 0.5) for picture in (found, bare)]
    assert errors[0] < 0.1 * errors[1]


def test_reflected_borders_leave_no_ring():
    """White noise is the same everywhere: so must its latents be, if the encoder does not see where it ends."""
    picture = torch.rand(8, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ring = {}
    for borders in ("zero", "reflected"):
        torch.manual_seed(0)
        model = LiteAutoencoder(widths=(16, 16, 16), borders=borders).eval()
        with torch.no_grad():
            z = model.encode(picture)
        assert z.shape == (8, 8, 16, 16)
        z = z - z[..., 4:-4, 4:-4].mean((0, 2, 3), keepdim=True)
        rms = [float(torch.cat([z[..., 0, :], z[..., :, 0]]).square().mean() ** 0.5), float(z[..., 4:-4, 4:-4].std())]
        ring[borders] = abs(rms[0] / rms[1] - 1)
    assert ring["reflected"] < 0.1 < ring["zero"]


def texture(height, width, seed):
    """A picture of purple blots on pink, the same everywhere but for chance, float (1, 3, H, W) in [-1, 1]."""
    noise = torch.randn(1, 1, height + 64, width + 64, generator=torch.Generator().manual_seed(seed))
    coarse, fine = (avg_pool2d(noise, k, 1, k // 2)[..., 32 : 32 + height, 32 : 32 + width] * k for k in (17, 5))
    nuclei = torch.sigmoid(3 * (coarse - 0.5))
    pink, purple = (torch.tensor(c).view(1, 3, 1, 1) for c in ([0.75, 0.3, 0.6], [-0.1, -0.5, 0.2]))
    return (pink + nuclei * (purple - pink) + 0.1 * fine).clamp(-1, 1)


@pytest.mark.parametrize(("size", "count"), [((224, 224), 16), ((512, 512), 4), ((256, 2048), 2)])
def test_the_shipped_encoder_leaves_no_ring_where_pictures_are_reflected(size, count):
    """Tiles, whole pictures and slides: rms at distances 0 to 3 from the border within 3% of that inside."""
    shipped, rings = load_lite(WEIGHTS), {}
    for name in ("zero", "reflected"):
        model = LiteAutoencoder(**shipped.config | {"borders": name}).eval()
        model.load_state_dict(shipped.state_dict())
        with torch.no_grad():
            z = torch.cat([model.encode(texture(*size, seed)) for seed in range(count)])
        z = z - z[..., 4:-4, 4:-4].mean((0, 2, 3), keepdim=True)  # of this texture, not of tissue
        rings[name] = border_ring(z.numpy())
    assert max(abs(value - 1) for value in rings["reflected"]) < 0.03, rings
    assert rings["zero"][0] > 1.3, rings


def test_a_picture_too_small_to_mirror_is_refused():
    with pytest.raises(ValueError, match=r"at least 40 px to mirror, got \(32, 64\)"):
        smooth(borders="reflected").encode(torch.zeros(1, 3, 32, 64))


def test_unknown_borders_are_refused():
    with pytest.raises(ValueError, match=r"borders out of reflected, zero, got 'nearest' and 'wrapped'"):
        smooth(borders="wrapped")
