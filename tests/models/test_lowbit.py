"""Reading an update of four bits a weight: only one that fits the network."""

import pytest
import torch
from torch import nn

from diffinfinite_lite.models import lowbit


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 8, 3, stride=2, padding=1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8 * 16, 5))


@pytest.mark.parametrize("strange", ["9.weight.multiples", "9.bias"])
def test_an_update_of_another_network_is_refused(network, strange):
    with pytest.raises(ValueError, match=r"the update of 9\.\w+ does not fit the network"):
        lowbit.add(network.state_dict(), {strange: torch.zeros(4, dtype=torch.uint8)})
    with pytest.raises(ValueError, match=r"the update of 0\.weight does not fit the network"):
        update = {"0.weight.multiples": torch.zeros(4, dtype=torch.uint8), "0.weight.scale": torch.ones(16, 1)}
        lowbit.add(network.state_dict(), update)
