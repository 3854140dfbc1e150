"""Networks of five codes: read as if they had learnt six, in every way that a network comes in."""

import json
from functools import partial

import pytest
import torch

from diffinfinite_lite.labels import CONDITIONS, FIVE_CODES, LABELS, PROMPTS, condition_map, from_five_codes
from diffinfinite_lite.models import checkpoint, unet
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.five_codes import TABLES, knows_air
from diffinfinite_lite.models.pretrained import has_air, load_draft, load_models, load_unet
from diffinfinite_lite.models.unet import MaskUNet
from tests.toys import tiny_model

OTHERS, AIR = LABELS.index("others"), LABELS.index("air")


def of_five(network, monkeypatch):
    """A network as that version built it, every layer of which takes part."""
    with monkeypatch.context() as context:
        context.setattr(unet, "CONDITIONS", FIVE_CODES * len(PROMPTS))
        made = network()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


@pytest.fixture
def old(monkeypatch):
    torch.manual_seed(0)
    return of_five(lambda: MaskUNet(4, (16, 24)), monkeypatch)


@pytest.fixture
def written(old, tmp_path):
    checkpoint.save(tmp_path / "image.safetensors", old.state_dict(), old.config)
    return tmp_path / "image.safetensors"


@pytest.mark.parametrize("prompt", PROMPTS)
def test_it_paints_the_same_under_what_it_meant(old, written, prompt):
    """Labels 1 to 3 are what they were, air what others were; others, too, but for normal lung's walls.

    Up to rounding: attention asks for 24 conditions in place of 20, and some processors then sum in another order.
    """
    new, z, t = load_unet(written), torch.randn(1, 4, 12, 12), torch.tensor([400])
    five = torch.randint(FIVE_CODES, (1, 12, 12))
    told = torch.where(five > 0, five + FIVE_CODES * PROMPTS.index(prompt), 0)
    same = partial(torch.testing.assert_close, rtol=0, atol=1e-6)
    with torch.no_grad():
        expected = old(z, t, told)
        six = torch.from_numpy(from_five_codes(five.numpy(), prompt)).long()
        same(new(z, t, condition_map(six, prompt)), expected)
        unmoved = torch.where(five == OTHERS, AIR, five)  # stroma that stays stroma is painted as it was
        same(new(z, t, condition_map(unmoved, prompt)), expected)
        tissue = new(z, t, condition_map(torch.full_like(five, OTHERS), prompt))
        like = new(z, t, condition_map(torch.full_like(five, 3 if prompt == "normal" else AIR), prompt))
        same(tissue, like)
        assert (tissue - expected).abs().max() > 0.01  # another label is far from rounding


def test_a_network_of_today_is_left_alone(tmp_path):
    network = MaskUNet(4, (16, 24))
    checkpoint.save(tmp_path / "image.safetensors", network.state_dict(), network.config)
    state, read = network.state_dict(), load_unet(tmp_path / "image.safetensors").state_dict()
    assert all(torch.equal(read[name], value) for name, value in state.items())
    assert knows_air(state) and {len(value) for name, value in state.items() if name.endswith(TABLES)} == {CONDITIONS}


def test_detail_begins_with_it_and_learns_the_difference(written):
    """Both begin with one row each, which training moves apart."""
    detail = Detail.begun(load_unet(written))
    assert not knows_air(detail.state_dict())
    halves = torch.full((1, 8, 8), OTHERS)
    halves[..., 4:] = AIR
    loss = (detail(torch.randn(1, 4, 8, 8), torch.tensor([100]), condition_map(halves)) - 1).square().mean()
    loss.backward()
    torch.optim.SGD(detail.parameters(), lr=0.1).step()
    assert knows_air(detail.state_dict())


@pytest.mark.parametrize("draft", [False, True])
def test_an_exported_model_of_five_codes_loads(tmp_path, draft):
    weights = tiny_model(tmp_path, draft=draft, codes=FIVE_CODES)
    models = load_models(weights)
    assert models.mask.latent_channels == FIVE_CODES and not has_air(weights)
    networks = [models.image, models.mask, *([load_draft(weights).network] if draft else [])]
    for network in networks:
        tables = [value for name, value in network.state_dict().items() if name.endswith(TABLES)]
        assert tables and all(len(table) == CONDITIONS for table in tables)


def test_an_exported_model_of_today_knows_air(tmp_path):
    weights = tiny_model(tmp_path)
    assert has_air(weights) and load_models(weights).mask.latent_channels == len(LABELS)
    (weights / "hashes.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="among them image and mask"):
        has_air(weights)
