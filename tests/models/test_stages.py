"""Draft and detail: what they read beside their state, and that it changes nothing where it is not there."""

import pytest
import torch

from diffinfinite_lite.models.appearance import Appearance
from diffinfinite_lite.models.detail import NO_DRAFT, Detail
from diffinfinite_lite.models.draft import CODE, Draft, SelfAttention
from diffinfinite_lite.models.pretrained import load_draft, load_models, load_unet
from diffinfinite_lite.models.thumbnails import Thumbnails
from diffinfinite_lite.models.unet import MaskUNet
from diffinfinite_lite.sampling.noise import level_generator
from tests.toys import tiny_model

T = torch.tensor([300, 700])


@pytest.fixture
def condition():
    return torch.randint(20, (2, 12, 10), generator=torch.Generator().manual_seed(0))


def shaken(network):
    """Weights that are nowhere zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    return network.eval()


def beside(channels, last, size=(12, 10)):
    return torch.cat([torch.randn(2, channels, *size), torch.full((2, 1, *size), last)], dim=1)


@torch.no_grad()
def test_an_image_model_becomes_a_detail_model_that_paints_the_same(condition):
    image = shaken(MaskUNet(8, (32, 32)))
    image.config["patch"] = 64
    detail, z = Detail.begun(image).eval(), torch.randn(2, 8, 12, 10)
    torch.testing.assert_close(detail(z, T, condition), image(z, T, condition))
    torch.testing.assert_close(detail(torch.cat([z, beside(3, 0.2)], 1), T, condition), image(z, T, condition))
    assert detail.config == {"latent_channels": 8, "widths": [32, 32], "patch": 64, "reads_draft": True}


@torch.no_grad()
def test_a_detail_model_that_is_trained_on_begins_with_what_it_knows_of_drafts(condition):
    before, z = shaken(Detail(8, (32, 32))), torch.cat([torch.randn(2, 8, 12, 10), beside(3, 0.2)], 1)
    before.config["patch"] = 64
    after = Detail.begun(before).eval()
    assert torch.equal(after(z, T, condition), before(z, T, condition)) and after.config == before.config
    assert after.enter.weight.data_ptr() != before.enter.weight.data_ptr(), "a copy"


@torch.no_grad()
def test_without_a_draft_detail_is_a_single_stage(condition):
    detail, z = shaken(Detail(8, (32, 32))), torch.randn(2, 8, 12, 10)
    alone = detail(z, T, condition)
    assert torch.equal(detail(torch.cat([z, beside(3, NO_DRAFT)], 1), T, condition), alone), "whatever stands there"
    seen = beside(3, 0.0)
    assert not torch.allclose(detail(torch.cat([z, seen], 1), T, condition), alone)
    blurred = torch.cat([seen[:, :3], torch.full((2, 1, 12, 10), 0.5)], 1)
    assert not torch.allclose(
        detail(torch.cat([z, blurred], 1), T, condition), detail(torch.cat([z, seen], 1), T, condition)
    ), "the level is a condition"


@torch.no_grad()
def test_a_draft_reads_a_code_where_one_is_known(condition):
    draft, z = shaken(Draft((32, 32))), torch.randn(2, 3, 12, 10)
    alone = draft(z, T, condition)
    assert alone.shape == z.shape
    assert torch.equal(draft(torch.cat([z, beside(CODE, 0.0)], 1), T, condition), alone)
    assert not torch.allclose(draft(torch.cat([z, beside(CODE, 1.0)], 1), T, condition), alone)


@torch.no_grad()
def test_self_attention_lets_opposite_corners_meet():
    draft, condition = shaken(Draft((32, 32, 32))), torch.zeros(1, 28, 28, dtype=torch.int64)
    z = torch.randn(1, 3, 28, 28)
    other = z.clone()
    other[..., 0, 0] += 1
    moved = (draft(other, T[:1], condition) - draft(z, T[:1], condition)).abs()
    assert moved[..., -1, -1].max() > 0
    assert sorted(draft.attention) == ["down1", "down2", "up1", "up2"]


@torch.no_grad()
def test_self_attention_is_the_usual_one():
    attention, x = shaken(SelfAttention(16)), torch.randn(2, 16, 5, 7)
    q, k, v = attention.qkv(attention.norm(x)).flatten(2).unflatten(1, (3, 4, -1)).transpose(-1, -2).unbind(1)
    answers = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)
    torch.testing.assert_close(attention(x), x + attention.out(answers))


def test_thumbnails_are_means_of_blocks():
    image = torch.rand(1, 3, 64, 128) * 2 - 1
    thumbnails = Thumbnails((0.7, 0.4, 0.8), (0.3, 0.4, 0.1))
    z = thumbnails.encode(image)
    torch.testing.assert_close(thumbnails.small(z)[0, :, 2, 3], image[0, :, 16:24, 24:32].mean((1, 2)))
    turned = thumbnails.encode(torch.rot90(image, 1, (2, 3)))
    torch.testing.assert_close(turned, torch.rot90(z, 1, (2, 3)))  # as no learned latent does


def test_codes_are_drawn_from_the_mixture_of_their_context():
    appearance = Appearance(components=2)
    appearance.means[2, 1] = 3.0
    appearance.weights[2] = torch.tensor([0.0, 1.0])
    appearance.factors.mul_(0.1)
    drawn = torch.stack([appearance.draw("squamous", level_generator(seed, 0)) for seed in range(200)])
    assert drawn.mean() == pytest.approx(3, abs=0.02) and drawn.std() == pytest.approx(0.1, abs=0.01)
    assert appearance.draw("normal", level_generator(0, 0)).abs().max() < 1
    assert torch.equal(appearance.draw("squamous", level_generator(5, 0)), drawn[5])


def test_a_folder_with_a_draft_is_loaded_as_two_stages(two_stage_weights, tiny_weights):
    drafting = load_draft(two_stage_weights)
    assert isinstance(drafting.network, Draft) and isinstance(load_models(two_stage_weights).image, Detail)
    assert drafting.network.thumbnails.mean.flatten().tolist() == pytest.approx([0.7, 0.45, 0.8])
    assert load_draft(tiny_weights) is None and type(load_models(tiny_weights).image) is MaskUNet
    assert type(load_unet(two_stage_weights / "mask.safetensors")) is MaskUNet


def test_a_draft_needs_an_image_model_that_reads_it(tmp_path):
    weights = tiny_model(tmp_path, draft=True)
    alone = tmp_path / "alone"
    alone.mkdir()
    tiny_model(alone)
    (weights / "image.safetensors").write_bytes((alone / "image.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"expected an image model that reads drafts in .*, got one without"):
        load_draft(weights)
