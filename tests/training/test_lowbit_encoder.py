"""Updates of a network in four bits a weight: exact where they can be, and rounded with an eye on the answers."""

import pytest
import torch
from torch import nn

from diffinfinite_lite.models import lowbit
from diffinfinite_lite.training.lowbit_encoder import HIGHEST, LOWEST, compress, pack, quantise, second_moments


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 8, 3, stride=2, padding=1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8 * 16, 5))


def correlated(count):
    """Inputs (count, 3, 8, 8) whose neighbours are alike, as in pictures."""
    return nn.functional.avg_pool2d(torch.randn(count, 3, 12, 12), 5, stride=1)


def trained_on(network):
    """The weights that a longer training might have ended with: every tensor moved a little."""
    return {key: value + 0.05 * torch.randn_like(value) for key, value in network.state_dict().items()}


def test_multiples_survive_packing():
    for count in (1, 2, 7, 1000):
        multiples = torch.randint(LOWEST, HIGHEST + 1, (count,))
        packed = pack(multiples)
        assert len(packed) == (count + 1) // 2
        assert torch.equal(lowbit.unpack(packed, (count,)).long(), multiples)


def test_what_is_a_multiple_already_comes_back_exactly():
    """A row of 4, -3, 0, 0 has a root mean square of 2.5, so that the step of 0.4 of it is 1."""
    change = 0.25 * torch.tensor([4.0, -3.0, 0.0, 0.0]).repeat(3, 8)
    multiples, scale = quantise(change, torch.eye(32))
    assert torch.equal(multiples * scale, change)


def test_without_correlation_every_weight_is_rounded_by_itself():
    torch.manual_seed(0)
    change = torch.randn(20, 300)
    multiples, scale = quantise(change, torch.eye(300))
    assert torch.equal(multiples, (change / scale).round().clamp(LOWEST, HIGHEST).to(torch.int8))


def test_correlated_inputs_are_answered_better_than_by_rounding():
    torch.manual_seed(0)
    change, mixing = torch.randn(30, 200), torch.randn(200, 40)
    inputs = mixing @ torch.randn(40, 5000) + 0.1 * torch.randn(200, 5000)
    multiples, scale = quantise(change, inputs @ inputs.T / 5000)
    rounded = (change / scale).round().clamp(LOWEST, HIGHEST)

    def error(found):
        return float(((change - scale * found) @ inputs).square().mean())

    assert error(multiples) < 0.25 * error(rounded)


def test_second_moments_are_those_of_what_a_layer_is_multiplied_with(network):
    inputs = correlated(6)
    moments = second_moments(network, [lambda: network(inputs)])
    assert set(moments) == {"0.weight", "2.weight", "4.weight"}
    seen = nn.functional.unfold(inputs, 3, padding=1).transpose(1, 2).reshape(-1, 27)
    assert torch.allclose(moments["0.weight"], seen.T @ seen / len(seen), rtol=1e-4, atol=1e-5)
    answers = network[0](inputs).permute(0, 2, 3, 1).reshape(-1, 16) - network[0].bias
    weight = network[0].weight.flatten(1)
    assert torch.allclose(weight @ moments["0.weight"] @ weight.T, answers.T @ answers / len(answers), atol=1e-4)
    assert not network[0]._forward_pre_hooks, "the network is left as it was"
    with torch.autocast("cpu", torch.bfloat16):  # as training is where the processor helps
        halved = second_moments(network, [lambda: network(inputs)])
    assert torch.equal(halved["0.weight"], moments["0.weight"]), "sums of half precision are not positive definite"


def test_an_updated_network_answers_like_the_longer_trained_one(network):
    inputs, before, after = correlated(64), network.state_dict(), trained_on(network)
    before = {key: value.clone() for key, value in before.items()}
    network.load_state_dict(after)
    moments = second_moments(network, [lambda: network(inputs)])
    update = compress({key: after[key] - before[key] for key in after}, moments)
    assert update["0.bias"].dtype == torch.float16 and update["4.weight.multiples"].dtype == torch.uint8
    with torch.no_grad():
        wanted = network(inputs)
        network.load_state_dict(before)
        old = network(inputs)
        network.load_state_dict(lowbit.add(before, update))
        found = network(inputs)
    assert (found - wanted).square().mean() < 0.02 * (old - wanted).square().mean()
