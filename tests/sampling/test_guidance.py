import json

import numpy as np
import pytest
import torch
from torch import nn

from diffinfinite_lite import generate
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.pretrained import guided, load_models
from diffinfinite_lite.models.unet import MaskUNet
from diffinfinite_lite.pipelines import slide
from diffinfinite_lite.sampling.guidance import Autoguided


class Counted(nn.Module):
    """A small random network that counts its calls."""

    prediction_type = "v_prediction"

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.network, self.calls = MaskUNet(2, (8, 16)).eval(), 0
        nn.init.normal_(self.network.leave[-1].weight)

    def forward(self, *inputs):
        self.calls += 1
        return self.network(*inputs)


@pytest.fixture
def pair():
    return Counted(0), Counted(1)


@pytest.fixture
def inputs():
    return torch.randn(3, 2, 8, 8), torch.randint(0, 5, (3, 8, 8))


@torch.no_grad()
def test_within_the_interval_it_goes_on_from_the_weaker_to_the_better_one(pair, inputs):
    (z, condition), t = inputs, torch.tensor([100, 300, 700])
    better, weaker = (network(z, t, condition) for network in pair)
    found = Autoguided(*pair, strength=0.5, interval=(250, 700))(z, t, condition)
    assert torch.equal(found[[0, 2]], better[[0, 2]]), "100 lies before, 700 is the first beyond"
    assert torch.allclose(found[1], 1.5 * better[1] - 0.5 * weaker[1], atol=1e-6)
    assert not torch.allclose(found[1], better[1], atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize(("t", "asked"), [(100, 0), (500, 1), (750, 0)])
def test_the_weaker_network_is_asked_only_where_it_counts(pair, inputs, t, asked):
    z, condition = inputs
    Autoguided(*pair, strength=1.0, interval=(250, 750))(z, torch.full((3,), t), condition)
    assert (pair[0].calls, pair[1].calls) == (1, asked)


@pytest.mark.parametrize("strength", [-0.5, float("nan"), float("inf")])
def test_bad_strength(strength):
    with pytest.raises(ValueError, match=f"expected autoguidance to be a number of at least 0, got {strength}"):
        generate("squamous", np.ones((64, 64), np.uint8), steps=1, autoguidance=strength)


def test_the_model_guided_by_what_it_was(trained_on):
    image = load_models(trained_on).image
    assert guided(image, 0, trained_on) is image
    both = guided(image, 0.5, trained_on)
    assert both.better is image and both.strength == 0.5 and both.gain == image.gain == 1.02
    stored = checkpoint.load(trained_on / "image.safetensors")[0]
    assert all(torch.equal(weight, stored[name].float()) for name, weight in both.weaker.state_dict().items())


def test_a_model_without_an_update_has_no_earlier_version(tmp_path, tiny_weights):
    (tmp_path / "hashes.json").write_text(json.dumps(dict.fromkeys(("autoencoder", "image", "mask"), 64 * "0")))
    with pytest.raises(ValueError, match=r"expected a model with an earlier version of itself for autoguidance 1\.5"):
        guided(load_models(tiny_weights).image, 1.5, tmp_path)


def test_the_strength_changes_the_picture_and_stands_in_the_record(trained_on):
    mask = np.ones((64, 64), np.uint8)
    settings = ({}, {"autoguidance": 0}, {"autoguidance": 1.5})
    plain, zero, more = (generate("squamous", mask, steps=4, weights=trained_on, **setting) for setting in settings)
    assert np.array_equal(plain.image, zero.image) and not np.array_equal(plain.image, more.image)
    assert [pair.run["autoguidance"] for pair in (plain, zero, more)] == [0, 0, 1.5]


def test_a_slide_does_not_go_on_from_a_store_with_another_strength(tmp_path, trained_on):
    how = {"size": (64, 64), "steps": 1, "store": tmp_path / "store", "weights": trained_on}
    slide.generate_slide("normal", **how, out=tmp_path / "one")
    with pytest.raises(ValueError, match=r"autoguidance is 0\.0 there and 1\.5 here"):
        slide.generate_slide("normal", **how, out=tmp_path / "other", autoguidance=1.5)
