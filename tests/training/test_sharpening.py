"""A decoder learns from pixels, features and critics, and from nothing that depends on where a crop was cut."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diffinfinite_lite.devices import Compute
from diffinfinite_lite.models.autoencoder import LiteAutoencoder
from diffinfinite_lite.training.data import Pictures
from diffinfinite_lite.training.loop import Optimisation, fit
from diffinfinite_lite.training.sharpening import (
    Sharpener,
    Sharpening,
    feature_errors,
    latents_and_crop,
    log_spectrum,
    sharpening_loss,
    smoothed,
)

SMALL = Sharpening(crop=32, batch=2, alone=0, ramp=1)


def features(x):
    """Two maps of three channels, at full and half resolution."""
    return [x, F.avg_pool2d(x, 2)]


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 28, 28, generator=generator)
    images = (255 * F.interpolate(coarse, scale_factor=4, mode="bilinear")).byte().permute(0, 2, 3, 1)
    return Pictures({"a": images}, {"a": [[0, 1, 2], [3]]}, {"a": 1.0})


def tiny(**options):
    torch.manual_seed(0)
    model = LiteAutoencoder(widths=(8, 12, 16), decoder_blocks=(1, 1, 1), noise=0.0, **options).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1)
    return model


def sharpener():
    model = tiny()
    return Sharpener(model, model.new_decoder(), [3, 3])


def test_clusters_are_drawn_and_not_pictures(pictures):
    flat = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 40, 40, 3) * 60
    crops = Pictures({"a": flat}, pictures.clusters, {"a": 1.0}).crops(16, 400, 8, torch.Generator().manual_seed(0))
    assert crops.shape == (400, 3, 16, 16)
    share = float((crops[:, 0, 0, 0] > 0.4).float().mean())
    assert share == pytest.approx(0.5, abs=0.1), "one picture of four, but one cluster of two"


def test_sets_are_drawn_by_their_shares():
    sets = {name: torch.full((1, 20, 20, 3), value, dtype=torch.uint8) for name, value in (("a", 0), ("b", 255))}
    both = Pictures(sets, {"a": [[0]], "b": [[0]]}, {"a": 0.2, "b": 0.8})
    crops = both.crops(8, 400, 4, torch.Generator().manual_seed(0))
    assert float((crops[:, 0, 0, 0] > 0).float().mean()) == pytest.approx(0.8, abs=0.08)


def test_beyond_the_picture_lies_its_mirror_image():
    row = torch.arange(24, dtype=torch.uint8).view(1, 1, 24, 1).expand(1, 24, 24, 3)
    whole = Pictures({"a": row}, {"a": [[0]]}, {"a": 1.0}).crops(40, 1, 8, torch.Generator().manual_seed(0))[0, 0]
    levels = ((whole + 1) * 127.5).round()
    line = max((levels[20], levels[:, 20]), key=lambda values: float(values.std())).tolist()
    mirrored = [*range(8, 0, -1), *range(24), *range(22, 14, -1)]
    assert line in (mirrored, mirrored[::-1])


def test_latents_do_not_know_where_the_crop_was_cut():
    """A crop with its neighbours gives the latents of the whole picture, up to what lies further away than SEEN."""
    model = tiny()
    whole = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    z, x = latents_and_crop(model, whole[..., 40:200, 48:208], Compute())
    assert torch.equal(x, whole[..., 80:160, 88:168])
    exact = model.standardise(model.encoder(whole))[..., 7:23, 8:24]
    with torch.no_grad():
        plain = model.encode(x)
    inside = (z - exact)[..., 3:-3, 3:-3].square().mean().sqrt()
    assert inside < 0.1 * (plain - exact[..., 3:-3, 3:-3]).square().mean().sqrt()


def test_the_fit_gives_back_a_decoder_that_is_smooth_already(pictures):
    """Whatever a shuffling layer does that nearest-neighbour upsampling can do as well, is found exactly."""
    model = tiny()
    with torch.no_grad():  # shuffles four times the same: that is nearest-neighbour upsampling of a convolution
        for layer in (m for m in model.decoder if isinstance(m, nn.Conv2d) and m.out_channels > 24):
            kernel = torch.zeros_like(layer.weight)
            kernel[:, :, 1, 1] = layer.weight[:, :, 1, 1]
            layer.weight.copy_(kernel.view(-1, 4, *kernel.shape[1:])[:, :1].expand(-1, 4, -1, -1, -1).flatten(0, 1))
            layer.bias.copy_(layer.bias.view(-1, 4)[:, :1].expand(-1, 4).flatten())
    fitted = smoothed(model, pictures, Compute())
    with torch.no_grad():
        z = model.encode(pictures.crops(80, 2, 0, torch.Generator().manual_seed(3)))
        wanted, found = model.decode(z), fitted(z)
    inside = (found - wanted)[..., 32:-32, 32:-32]
    assert inside.square().mean() < 1e-3 * wanted[..., 32:-32, 32:-32].var()


def test_only_decoder_and_critics_learn(pictures, tmp_path):
    model = sharpener()
    frozen = {k: v.clone() for k, v in model.autoencoder.state_dict().items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    loss = sharpening_loss(model, pictures, features, SMALL, Compute())
    list(fit(model, loss, Optimisation(2, 1e-3), out=tmp_path, parameters=model.trained_parameters()))
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    for part in ("decoder.", "critic.", "projected.heads."):
        assert all(key in changed for key in before if key.startswith(part)), part
    assert not any(key.startswith(("projected.mix", "projected.blend")) for key in changed)
    assert all(torch.equal(v, frozen[k]) for k, v in model.autoencoder.state_dict().items())


def test_critics_wait_until_the_decoder_has_learnt_something(pictures):
    model = sharpener()
    loss = sharpening_loss(model, pictures, features, Sharpening(32, 2, alone=3, ramp=2), Compute())
    before, after = (loss(step, torch.Generator().manual_seed(0)) for step in (3, 4))
    assert "judged_pixel" not in before
    assert after["judged_pixel"].item() == pytest.approx(math.log(2), abs=0.1)
    before["loss"].backward()
    assert all(p.grad is None for p in model.critic.parameters())


def test_the_step_follows_the_gradient_of_all_terms(pictures):
    """Without critics the gradient that is carried through the decoder is that of the loss itself."""
    model = sharpener()
    loss = sharpening_loss(model, pictures, features, Sharpening(32, 2, alone=9), Compute())
    losses = loss(1, torch.Generator().manual_seed(0))
    losses["loss"].backward()
    found = model.decoder.stages[0][0].bias.grad.clone()
    generator = torch.Generator().manual_seed(0)
    crops = pictures.crops(32 + 2 * 8 * 5, 2, 32, generator)
    z, x = latents_and_crop(model.autoencoder, crops, Compute())
    y = model.decoder(z, 3)
    places, means = feature_errors(features(x), features(y))
    value = (y - x).abs().mean() + 0.05 * (places + means + (log_spectrum(y) - log_spectrum(x)).abs().mean())
    assert float(value.detach()) == pytest.approx(float(losses["loss"].detach()), rel=1e-5)
    wanted = torch.autograd.grad(value, model.decoder.stages[0][0].bias)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["pixel", "feature"])
def test_a_critic_learns_which_picture_is_real(pictures, tmp_path, name):
    model = sharpener()
    loss = sharpening_loss(model, pictures, features, SMALL, Compute())
    groups = model.trained_parameters()[1:]
    steps = fit(model, loss, Optimisation(24, 4e-3), out=tmp_path, parameters=groups)
    judged = [step.losses[f"judged_{name}"] for step in steps]
    assert judged[0] == pytest.approx(math.log(2), abs=0.15)
    assert sum(judged[-5:]) / 5 < 0.4


def test_errors_of_features_see_a_bias_that_is_small_in_each_place():
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randn(2, 3, 32, 32, generator=generator)
    noise = torch.randn(wanted.shape, generator=generator)
    places, means = feature_errors([wanted], [wanted + noise - noise.mean((2, 3), keepdim=True)])
    assert places > 0.5 and means < 1e-5
    shifted = feature_errors([wanted], [wanted + 0.1])
    assert float(shifted[0]) == pytest.approx(float(shifted[1])) == pytest.approx(0.1 / float(wanted.abs().mean()))


def test_log_spectrum_of_white_noise_is_flat_and_of_a_wave_is_a_peak():
    generator, side = torch.Generator().manual_seed(0), 32
    noise = log_spectrum(torch.randn(64, 3, side, side, generator=generator))
    assert noise.shape == (3, 24)  # to 16 * sqrt(2) in the corners, where a ring has few places and its log is low
    assert float(noise[:, 2:20].std()) < 0.1
    wave = torch.cos(2 * math.pi * 6 * torch.arange(side) / side).expand(1, 3, side, side)
    assert log_spectrum(wave).argmax(dim=1).tolist() == [6, 6, 6]
