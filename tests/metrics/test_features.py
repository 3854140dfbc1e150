"""Feature extractors: the network against what it is known to say, gradients, bad input, the cache."""

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from diffinfinite_lite.metrics.features import (
    Cached,
    HandcraftedFeatures,
    ModuleFeatures,
    Standardiser,
    efficientnet_features,
    imagenet_input,
)
from diffinfinite_lite.models.efficientnet import EfficientNetLite0


@pytest.fixture(scope="module")
def network():
    return EfficientNetLite0.pretrained()


@pytest.fixture
def images():
    return torch.rand(3, 3, 48, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1


def photograph(picture):
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    return nn.functional.interpolate(image, (224, 224), mode="bilinear", antialias=True)


def test_the_network_names_photographs(network):
    """The strongest check of weights, padding and scaling there is: ImageNet's espresso and its cats."""
    coffee, cat = photograph(data.coffee()[:400, 100:500]), photograph(data.chelsea()[:300, 100:400])
    assert network(coffee).softmax(1)[0, 967] > 0.9
    assert network(cat).softmax(1)[0, [281, 282, 285]].sum() > 0.8


@pytest.mark.parametrize("size", [31, 32, 33, 64])
def test_same_padding_is_tensorflows(network, size):
    """Output extent is ceil(n / stride); a stride-2 convolution pads less before than after."""
    taps = network.taps(torch.zeros(1, 3, size, size), (0, 2, 4, 10, 15))
    assert [t.shape[1] for t in taps] == [16, 24, 40, 112, 320]
    assert [t.shape[2] for t in taps] == [-(-size // s) for s in (2, 4, 8, 16, 32)]
    stem, x = network.stem, torch.randn(1, 3, size, size)
    total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
    padded = nn.functional.pad(x, (total // 2, total - total // 2) * 2)
    torch.testing.assert_close(stem(x), nn.functional.relu6(stem.norm(stem.conv(padded))))


def test_taps_are_the_blocks_in_order(network, images):
    early, late = network.taps(images, (4, 10))
    torch.testing.assert_close(network.taps(images, (10, 4)), [late, early])
    torch.testing.assert_close(network.features(images)[:, :40], early.mean((2, 3)))
    assert network.features(images).shape == (3, 152)
    with pytest.raises(ValueError, match="blocks between 0 and 15"):
        network.taps(images, (16,))


def test_gradients_flow_to_images_and_not_to_weights(network, images):
    """What a perceptual loss needs."""
    moved = images.clone().requires_grad_()
    sum(tap.square().mean() for tap in network.taps(moved)).backward()
    assert moved.grad.abs().sum() > 0 and all(p.grad is None for p in network.parameters())


def test_always_in_inference_mode(network, images):
    before = network.features(images)
    network.train()
    torch.testing.assert_close(network.features(images), before)


def test_refuses_other_weights(tmp_path):
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="SHA-256"):
        EfficientNetLite0.pretrained(tmp_path / "w.pth")


@pytest.mark.parametrize("extractor", [efficientnet_features(), HandcraftedFeatures()], ids=lambda e: e.name)
def test_extractors(extractor, images):
    rows = extractor(images)
    assert rows.shape == (3, {"Handcrafted": 43}.get(extractor.name, 152)) and rows.dtype == np.float64
    np.testing.assert_allclose(rows[[2, 0]], extractor([images[2], images[0]]), rtol=1e-4, atol=1e-4)
    assert np.isfinite(extractor(torch.zeros(1, 3, 16, 16))).all()  # a constant image
    np.testing.assert_allclose(extractor(images * 1.2), extractor((images * 1.2).clamp(-1, 1)))


def test_batch_size_does_not_matter(network, images):
    one, all_ = (ModuleFeatures(network.features, "x", batch_size=b)(images) for b in (1, 16))
    np.testing.assert_allclose(one, all_, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "bad, words",
    [
        ([], "at least one image"),
        ([torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)], "one size"),
        ([torch.zeros(1, 8, 8)], "RGB"),
        ([torch.zeros(4, 8, 8)], "RGB"),
        ([torch.full((3, 8, 8), 200.0)], r"\[-1, 1\]"),
        ([torch.full((3, 8, 8), torch.nan)], "finite"),
        ([torch.zeros(3, 8, 8, dtype=torch.uint8)], "floats"),
    ],
)
def test_bad_images(bad, words):
    with pytest.raises(ValueError, match=words):
        HandcraftedFeatures()(bad)


def test_handcrafted_features_see_colour_and_texture(images):
    smooth = nn.functional.avg_pool2d(images, 5, 1, 2)
    red = images / 2 + torch.tensor([0.4, -0.2, -0.2]).view(3, 1, 1)
    plain, blurred, tinted = (HandcraftedFeatures()(x).mean(0) for x in (images, smooth, red))
    assert (blurred[9:11] < plain[9:11] - 1).all()  # log energies of gradient and Laplacian
    assert abs(tinted[1:3] - plain[1:3]).max() > 0.5  # mean of a and b


def test_any_module(images):
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
    rows = ModuleFeatures(module, "mine", imagenet_input)(images)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = module(((images + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)).mean((2, 3))
    np.testing.assert_allclose(rows, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert ModuleFeatures(lambda x: x.mean((2, 3)), "colour")(images).shape == (3, 3)


def test_cache(tmp_path, images):
    calls = []

    class Counting(HandcraftedFeatures):
        def __call__(self, images):
            calls.append(len(images))
            return super().__call__(images)

    cached = Cached(Counting(), tmp_path)
    first = cached(images[:2])
    np.testing.assert_array_equal(cached(images)[:2], first)
    np.testing.assert_array_equal(cached(images), HandcraftedFeatures()(images))
    assert calls == [2, 1] and len(list(tmp_path.glob("*.npy"))) == 3


def test_standardiser_floors_dead_channels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 8)) * [1, 2, 3, 4, 5, 6, 7, 1e-9] + 5
    scaled = Standardiser.fit(x)(x)
    np.testing.assert_allclose(scaled[:, :7].std(0), 1)
    assert scaled[:, 7].std() < 1e-6
    assert (Standardiser.fit(np.ones((4, 2)))(np.ones((4, 2))) == 0).all()
    with pytest.raises(ValueError, match="N >= 2"):
        Standardiser.fit(np.ones((1, 2)))
