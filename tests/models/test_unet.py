"""The conditioned U-Net: what a condition reaches, and the few-queries attention."""

import pytest
import torch

from diffinfinite_lite.labels import CONDITIONS, condition_map
from diffinfinite_lite.models.unet import MaskAttention, MaskUNet


@pytest.fixture
def unet():
    torch.manual_seed(0)
    model = MaskUNet(4, (16, 24, 32))
    for parameter in model.parameters():  # several layers start at zero: give every path a say
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize("size", [(16, 16), (28, 28), (17, 5)])
def test_any_size_from_four(unet, size):
    out = unet(torch.randn(2, 4, *size), torch.tensor([3, 900]), torch.randint(CONDITIONS, (2, *size)))
    assert out.shape == (2, 4, *size)
    assert torch.isfinite(out).all()


def test_samples_of_a_batch_do_not_see_each_other(unet):
    z, t, c = torch.randn(3, 4, 16, 16), torch.tensor([1, 500, 999]), torch.randint(CONDITIONS, (3, 16, 16))
    alone = torch.cat([unet(z[i : i + 1], t[i : i + 1], c[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(unet(z, t, c), alone, atol=1e-5, rtol=1e-5)


def test_time_and_condition_matter(unet):
    z, null = torch.randn(1, 4, 16, 16), torch.zeros(1, 16, 16, dtype=torch.int64)
    base = unet(z, torch.tensor([500]), null)
    assert (unet(z, torch.tensor([600]), null) - base).abs().max() > 1e-3
    assert (unet(z, torch.tensor([500]), null + 1) - base).abs().max() > 1e-3


def test_few_queries_equal_one_query_per_pixel():
    torch.manual_seed(0)
    layer = MaskAttention(16, heads=4)
    torch.nn.init.normal_(layer.out.weight)
    x, condition = torch.randn(2, 16, 6, 5), torch.randint(CONDITIONS, (2, 6, 5))
    key, value = layer.key_value(layer.norm(x)).flatten(2).transpose(1, 2).chunk(2, dim=2)
    heads = [part.unflatten(2, (4, 4)).transpose(1, 2) for part in (layer.query(condition).flatten(1, 2), key, value)]
    weights = (heads[0] @ heads[1].transpose(-1, -2) / 2).softmax(dim=-1)
    answer = (weights @ heads[2]).transpose(1, 2).flatten(2).transpose(1, 2).reshape(2, 16, 6, 5)
    torch.testing.assert_close(layer(x, condition), x + layer.out(answer), atol=1e-5, rtol=1e-5)


def test_unknown_context_and_label_are_refused():
    with pytest.raises(ValueError, match="got 'bone'"):
        condition_map(torch.zeros(2), "bone")
    with pytest.raises(ValueError, match="got 0 to 6"):
        condition_map(torch.arange(7))
