import pytest
import torch
from torch import nn

from diffinfinite_lite.autoguidance import Autoguided
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
