"""An autoencoder without loss has ideal figures; one that blurs, frames or weaves is caught."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, interpolate

from diffinfinite_lite.evaluation import latents
from diffinfinite_lite.metrics.features import HandcraftedFeatures


class Whole:
    """Keeps all pixels: 192 numbers for 8 x 8 px."""

    latent_channels, factor = 192, 8

    def encode(self, images):
        return torch.nn.functional.pixel_unshuffle(images, 8)

    def decode(self, z):
        return torch.nn.functional.pixel_shuffle(z, 8)


class Blurs(Whole):
    """Forgets what is finer than 4 px, and weaves a lattice of 4 px."""

    def decode(self, z):
        images = super().decode(z)
        blurred = interpolate(avg_pool2d(images, 4), scale_factor=4, mode="bilinear")
        blurred[..., ::4] += 0.05
        return blurred


@pytest.fixture(scope="module")
def tiles():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(24, 3, 24, 24, generator=generator)
    fine = torch.rand(24, 3, 96, 96, generator=generator)
    images = interpolate(coarse, scale_factor=4, mode="bilinear") + 0.3 * fine
    return list(((images / images.max() * 255).round() / 127.5 - 1).clamp(-1, 1))


def measured(autoencoder, tiles, monkeypatch):
    for name in ("unpredictable_share", "spectral_slope"):  # 192 channels are too many to fit on a few tiles
        monkeypatch.setattr(latents.latents, name, lambda z: 1.0)
    options = {"generator": np.random.default_rng(0)}
    return latents.measure(autoencoder, tiles[:12], tiles[12:], [HandcraftedFeatures()], **options)[0]


def test_without_loss_all_ratios_are_one(tiles, monkeypatch):
    report = measured(Whole(), tiles, monkeypatch)
    assert report.psnr > 80
    assert report.lattice == {2: pytest.approx(1), 4: pytest.approx(1), 8: pytest.approx(1)}
    assert report.spectrum == pytest.approx([1] * len(report.spectrum))
    ruler = report.rulers[0]
    assert ruler.distance == pytest.approx(1) and ruler.accuracy == ruler.real_accuracy


def test_blur_and_lattice_are_seen(tiles, monkeypatch):
    report = measured(Blurs(), tiles, monkeypatch)
    assert report.lattice[4] > 3 and report.spectrum[-2] < 0.5 and report.rulers[0].distance > 1.5
    assert "lattice of 4 px" in report.table().markdown()


def test_reconstruction_knows_no_border(tiles):
    """Zeros beyond the picture never reach it: a decoder that paints its frame black paints none of the picture."""

    class Framed(Whole):
        def decode(self, z):
            images = super().decode(z).clone()
            images[..., :8, :] = images[..., -8:, :] = images[..., :8] = images[..., -8:] = -1
            return images

    torch.testing.assert_close(latents.reconstruct(Framed(), tiles[0]), tiles[0], atol=0.005, rtol=0)


def test_too_small_a_tile_is_refused():
    with pytest.raises(ValueError, match="more than 64 px"):
        latents.reconstruct(Whole(), torch.zeros(3, 64, 64))


def test_a_folder_becomes_a_report(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for n in range(24):
        small = Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8))
        small.resize((160, 160), Image.Resampling.BICUBIC).save(tmp_path / f"{n}.png")
    monkeypatch.setattr(latents, "efficientnet_features", lambda **_: HandcraftedFeatures())
    report = latents.measure_folder(tmp_path)
    assert (report.tiles, report.others) == (12, 12) and abs(report.ring[0] - 1) > 0.2
    page = latents.write(report, tmp_path / "out")
    assert page.read_text().startswith("### Autoencoder")
    assert json.loads((tmp_path / "out/latents.json").read_text())["tiles"] == 12
    (tmp_path / "0.png").unlink()
    with pytest.raises(ValueError, match="at least 24 tiles of different clusters"):
        latents.measure_folder(tmp_path)
