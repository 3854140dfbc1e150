"""Extractors by name: the right layer of the right network, weights from files only, one sentence per mistake."""

import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diffinfinite_lite.metrics import extractors
from diffinfinite_lite.metrics.extractors import VGG16, Tap, extractor
from diffinfinite_lite.metrics.features import Cached, ModuleFeatures, class_probabilities, imagenet_input


@pytest.fixture
def images():
    return torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def small_vgg(monkeypatch, tmp_path):
    """VGG-16 with all its layers and few channels, its weights in a file."""
    monkeypatch.setattr(extractors, "_VGG_WIDTHS", ((2, 2), (2, 3), (3, 3, 3), (4, 4, 4), (4, 4, 4)))
    monkeypatch.setattr(extractors, "_VGG_HIDDEN", 6)
    torch.manual_seed(0)
    network = VGG16().eval()
    torch.save(network.state_dict(), tmp_path / "vgg.pth")
    return network, tmp_path / "vgg.pth"


def test_vgg_is_the_published_architecture():
    """138,357,544 parameters under torchvision's names, and 4,096 numbers in the second fully connected layer."""
    with torch.device("meta"):
        network = VGG16()
        assert sum(p.numel() for p in network.parameters()) == 138_357_544
        assert Tap(network.eval(), "classifier.3")(torch.zeros(1, 3, 224, 224)).shape == (1, 4096)
    names = {key.rpartition(".")[0] for key in network.state_dict()}
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    assert names == {f"features.{i}" for i in convolutions} | {f"classifier.{i}" for i in (0, 3, 6)}


def test_vgg_features_by_hand(small_vgg, images):
    network, path = small_vgg
    found = extractor("vgg-16", path)(images)
    big = F.interpolate(images, (224, 224), mode="bilinear", antialias=True, align_corners=False)
    x = F.adaptive_avg_pool2d(network.features(imagenet_input(big)), 7).flatten(1)
    first, second = network.classifier[0], network.classifier[3]
    np.testing.assert_allclose(found, second(F.relu(first(x))).detach().numpy(), rtol=1e-4, atol=1e-6)
    middle = extractor("vgg-16", path, "features.4")
    np.testing.assert_allclose(
        middle(images), network.features[:5](imagenet_input(big)).mean((2, 3)).detach(), rtol=1e-4
    )
    for each in (extractor("vgg-16", path), middle):  # its classes come last, wherever it is read off
        found = class_probabilities(each)
        assert found.name == f"{each.name}-classes"
        np.testing.assert_allclose(found(images), network(imagenet_input(big)).softmax(1).detach(), rtol=1e-4)


def test_the_name_tells_weights_and_layer_apart(small_vgg, images, tmp_path):
    network, path = small_vgg
    other = tmp_path / "other.pth"
    torch.save({k: v + 0.1 for k, v in network.state_dict().items()}, other)
    names = {extractor("vgg-16", p, layer).name for p in (path, other) for layer in (None, "features.4")}
    assert len(names) == 4 and all(name.startswith("VGG16-") for name in names)
    one, two = (Cached(extractor("vgg-16", p), tmp_path / "cache")(images) for p in (path, other))
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 4 and not np.allclose(one, two)


def test_inception_through_torchvision(monkeypatch, images, tmp_path):
    """A stand-in for torchvision: what is asked of it, what goes in and which layer comes out."""

    class Inception(nn.Module):
        def __init__(self):
            super().__init__()
            self.Mixed_7c, self.avgpool, self.fc = nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(5, 2)

        def forward(self, x):
            assert x.shape[-2:] == (299, 299) and x.min() < -0.5  # not in [0, 1]
            return self.fc(self.avgpool(self.Mixed_7c(x)).flatten(1))

    asked = {}
    models = types.ModuleType("torchvision.models")
    models.inception_v3 = lambda **options: asked.update(options) or Inception()
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    network = Inception()
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    found = extractor("inception-v3", tmp_path / "inception.pth")(images)
    assert asked == {"weights": None, "transform_input": False, "init_weights": False}
    big = F.interpolate(images, (299, 299), mode="bilinear", antialias=True, align_corners=False)
    np.testing.assert_allclose(found, network.Mixed_7c(big).mean((2, 3)).detach(), rtol=1e-4, atol=1e-5)
    classes = class_probabilities(extractor("inception-v3", tmp_path / "inception.pth"))(images)
    np.testing.assert_allclose(classes, network(big).softmax(1).detach(), rtol=1e-4)


def test_inception_is_the_published_architecture():
    """27,161,264 parameters with the auxiliary head, 2,048 numbers in the last pooling and 1,000 classes."""
    pytest.importorskip("torchvision")  # an extra that this package does without
    with torch.device("meta"):
        network = extractors._inception().eval()
        assert sum(p.numel() for p in network.parameters()) == 27_161_264
        image = torch.zeros(2, 3, 299, 299)
        assert Tap(network, "avgpool")(image).shape == (2, 2048, 1, 1) and network(image).shape == (2, 1000)


def test_tap_is_the_layers_output():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))
    x = torch.randn(5, 3)
    torch.testing.assert_close(Tap(network, "1")(x), network[:2](x))
    torch.testing.assert_close(Tap(network, "2.0")(x), network(x))
    with pytest.raises(ValueError, match=r"a layer out of .*got 'fc'"):
        Tap(network, "fc")


def test_a_network_of_ones_own_is_read_off_at_a_layer(images):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert ModuleFeatures(network, "mine")(images).shape == (2, 2)
    middle = ModuleFeatures(Tap(network, "0"), "mine-0")
    np.testing.assert_allclose(middle(images), network[0](images).mean((2, 3)).detach(), rtol=1e-4, atol=1e-5)
    assert class_probabilities(middle) is None  # nobody knows what its output means


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("resnet",), "out of efficientnet-lite0, handcrafted, vgg-16, inception-v3, got 'resnet'"),
        (("mine.py:network",), "got 'mine.py:network'"),  # no file is run
        (("vgg-16",), "a file of weights for vgg-16, got none"),
        (("vgg-16", "nowhere.pth"), "got none at nowhere.pth"),
        (("handcrafted", None, "fc"), "neither weights nor a layer"),
    ],
)
def test_bad_names_are_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        extractor(*arguments)


def test_other_weights_are_a_sentence(small_vgg, tmp_path, monkeypatch):
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("x.pth", "text.pth"):
        with pytest.raises(ValueError, match="weights of this network") as caught:
            extractor("vgg-16", tmp_path / name)
        assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ValueError, match="expected torchvision for inception-v3"):
        extractor("inception-v3", tmp_path / "x.pth")


def test_code_in_a_file_of_weights_is_not_run(tmp_path):
    """A pickle that would write a file when loaded is refused."""
    writer = (
        "import pickle, sys\n"
        "class Evil:\n    def __reduce__(self):\n        return exec, (f\"open({sys.argv[1] + '.ran'!r}, 'w')\",)\n"
        "pickle.dump(Evil(), open(sys.argv[1], 'wb'))\n"
    )
    path = tmp_path / "evil.pth"
    subprocess.run([sys.executable, "-c", writer, str(path)], check=True)
    with pytest.raises(ValueError, match="weights of this network"):
        extractor("vgg-16", path)
    assert not path.with_name("evil.pth.ran").exists()
