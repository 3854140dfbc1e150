"""The autoencoder protocol, for our own and for diffusers' models."""

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from diffinfinite_lite.models.autoencoder import DiffusersAutoencoder, LiteAutoencoder


def kl():
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def tiny():
    return AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4)


@pytest.mark.parametrize("build", [kl, tiny])
def test_diffusers_model_saved_to_disk_satisfies_the_protocol(build, tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    vae = DiffusersAutoencoder(type(model).from_pretrained(tmp_path)).eval()
    images = torch.rand(2, 3, 64, 48) * 2 - 1
    latents = vae.encode(images)
    assert latents.shape == (2, vae.latent_channels, 8, 6)
    assert vae.factor == 8
    assert vae.decode(latents).shape == images.shape


def test_scaling_factor_makes_the_round_trip_of_diffusers():
    model = kl().eval()
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
