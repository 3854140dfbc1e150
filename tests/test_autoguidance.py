import numpy as np
import pytest
import torch
from torch import nn

from diffinfinite_lite import generate
from diffinfinite_lite.autoguidance import STRENGTH, Autoguided, with_strength
from diffinfinite_lite.denoise import Denoiser
from diffinfinite_lite.noise import cosine_alphas
from diffinfinite_lite.unet import MaskUNet


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
@pytest.mark.parametrize(("strength", "t", "asked"), [(1.0, 100, 0), (0.0, 500, 0), (1.0, 500, 1)])
def test_the_weaker_network_is_asked_only_where_it_counts(pair, inputs, strength, t, asked):
    z, condition = inputs
    Autoguided(*pair, strength=strength, interval=(250, 750))(z, torch.full((3,), t), condition)
    assert (pair[0].calls, pair[1].calls) == (1, asked)


def test_a_run_with_other_guidance_is_another_run(pair):
    def settings(strength, interval):
        return Denoiser(Autoguided(*pair, strength=strength, interval=interval), cosine_alphas()).settings

    one = settings(1.0, (250, 750))
    assert one == settings(1.0, (250, 750))
    assert one != settings(0.5, (250, 750)) and one != settings(1.0, (250, 700))


def test_another_strength_keeps_networks_interval_and_gain(pair):
    one = Autoguided(*pair, strength=1.0, interval=(100, 200), gain=1.02)
    other = with_strength(one, 0.25)
    assert (other.strength, other.interval, other.gain) == (0.25, (100, 200), 1.02)
    assert other.better is one.better and other.weaker is one.weaker and one.strength == 1.0
    assert with_strength(one, None) is one


@pytest.mark.parametrize("strength", [-0.5, float("nan"), float("inf")])
def test_bad_strength(pair, strength):
    with pytest.raises(ValueError, match=f"expected a strength of autoguidance of at least 0, got {strength}"):
        with_strength(Autoguided(*pair), strength)


def test_a_model_without_an_earlier_version_has_no_strength_to_set(pair):
    with pytest.raises(ValueError, match="expected a model with an earlier version of itself"):
        with_strength(pair[0], 1.0)


def test_the_strength_changes_the_picture_and_stands_in_the_record():
    mask = np.ones((64, 64), np.uint8)
    guided, default, named = (
        generate("squamous", mask, steps=4, autoguidance=strength) for strength in (1.5, None, STRENGTH)
    )
    assert np.array_equal(default.image, named.image) and not np.array_equal(default.image, guided.image)
    assert [pair.run["autoguidance"] for pair in (guided, default, named)] == [1.5, STRENGTH, STRENGTH]
