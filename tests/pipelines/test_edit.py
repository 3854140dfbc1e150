"""Local re-synthesis and inpainting: what is kept is kept exactly, what is open changes, and it costs less."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from diffinfinite_lite import Pair, generate
from diffinfinite_lite.data.tiles import to_tensor
from diffinfinite_lite.models import pretrained
from diffinfinite_lite.models.autoencoder import LiteAutoencoder
from diffinfinite_lite.pipelines.edit import REACH, inpaint, resynthesise
from diffinfinite_lite.pipelines.generate import BORDER
from diffinfinite_lite.sampling.decode import decode
from diffinfinite_lite.sampling.solvers import cosine_alphas
from tests.toys import Averages

ALPHAS = cosine_alphas()
SIZE = (128, 448)
SETTINGS = {"steps": 3, "patch": 64, "seed": 5, "plan": "torus-grid"}


class Network(nn.Module):
    """Sees a picture that depends on state, label and neighbours, by pixel-wise arithmetic that no batch changes."""

    prediction_type = "epsilon"

    def forward(self, z, t, mask):
        alpha, label = ALPHAS[t[0]], mask[:, None] % 5
        picture = 0.1 * label + 0.1 * label.roll(1, -2) + 0.2 * z.roll(1, -1)
        return (z - alpha**0.5 * picture) / (1 - alpha) ** 0.5


def small_autoencoder():
    torch.manual_seed(0)
    autoencoder = LiteAutoencoder(3, widths=(4, 4, 4)).eval()
    for weights in autoencoder.parameters():
        nn.init.normal_(weights, std=0.2)
    return autoencoder


@pytest.fixture(autouse=True)
def stub_models(request, monkeypatch, one_stage):
    autoencoder = small_autoencoder() if "small_decoder" in request.fixturenames else Averages()
    models = pretrained.Models(autoencoder, Network(), nn.Identity())
    monkeypatch.setattr(pretrained, "load_models", lambda weights=None, device="cpu": models)


@pytest.fixture
def small_decoder():
    """Asks for the shipped autoencoder's architecture."""


def stripes(size=SIZE):
    mask = np.ones(size, np.uint8)
    mask[:, size[1] // 2 :] = 3
    return mask


def spotted(mask):
    mask = mask.copy()
    mask[32:64, 32:56] = 2
    return mask


def open_latents(size=SIZE, margin=32):
    """Latents of the spot of `spotted` and a margin around it."""
    cells = np.zeros((size[0] // 8, size[1] // 8), bool)
    m = margin // 8
    cells[4 - min(m, 4) : 8 + m, 4 - min(m, 4) : 7 + m] = True
    return cells


def test_an_edit_changes_its_neighbourhood_and_nothing_else(small_decoder):
    pair = generate("squamous", stripes(), **SETTINGS)
    edited = resynthesise(pair, spotted(pair.mask))
    open_ = open_latents()
    assert np.array_equal(edited.mask, spotted(pair.mask))
    assert np.array_equal(edited.latents[:, ~open_], pair.latents[:, ~open_])
    assert not np.isclose(edited.latents[:, 4:8, 4:7], pair.latents[:, 4:8, 4:7]).any()
    far = np.ones(SIZE, bool)
    far[: 8 * (12 + REACH), : 8 * (11 + REACH)] = False
    assert far.any() and np.array_equal(edited.image[far], pair.image[far])
    assert not np.array_equal(edited.image[32:64, 32:56], pair.image[32:64, 32:56])
    # where kept pixels were put back, decoding everything would have given the same up to rounding
    whole = decode(pretrained.load_models().autoencoder, torch.from_numpy(edited.latents), border=BORDER)
    whole = ((whole.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.abs(whole.astype(int) - edited.image).max() <= 1


def test_an_edit_costs_what_it_concerns():
    pair = generate(mask=stripes(), **SETTINGS)
    edited = resynthesise(pair, spotted(pair.mask), margin=0)
    assert 0 < edited.run["network_evaluations"] < pair.run["network_evaluations"] / 2
    assert edited.run["recomputed"] == pytest.approx(open_latents(margin=0).mean(), abs=1e-4)
    assert {key: edited.run[key] for key in SETTINGS} == {key: pair.run[key] for key in SETTINGS}


def test_no_edit_is_no_work():
    pair = generate("normal", stripes(), **SETTINGS)
    mask = pair.mask.copy()
    mask[0, 0] = 2  # one pixel of 64 outvotes nobody
    same = resynthesise(pair, mask)
    assert np.array_equal(same.image, pair.image) and np.array_equal(same.latents, pair.latents)
    assert same.run["network_evaluations"] == same.run["sequential_depth"] == 0
    assert len(same.timesteps) == SETTINGS["steps"] and same.timesteps[-1].max() == 0


def test_another_context_concerns_everything():
    pair = generate("normal", stripes(), **SETTINGS)
    other = resynthesise(pair, pair.mask, context="squamous")
    assert other.run["recomputed"] == 1.0
    assert np.array_equal(other.image, generate("squamous", stripes(), **SETTINGS).image)


def test_a_saved_pair_is_edited_like_one_in_memory(tmp_path):
    pair = generate("normal", stripes(), **SETTINGS)
    pair.save(tmp_path)
    read = Pair.read(tmp_path)
    assert np.array_equal(read.latents, pair.latents) and read.run == pair.run
    one, two = (resynthesise(p, spotted(pair.mask)) for p in (pair, read))
    assert np.array_equal(one.image, two.image)
    replace(one, latents=None, timesteps=[]).save(tmp_path, force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.png", "mask.geojson", "mask.png", "run.json"]
    with pytest.raises(ValueError, match="result of `diffinfinite sample`"):
        Pair.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"latents": None}, {}, "pair with its latents"),
        ({}, {"mask": stripes((64, 64))}, "mask of the size 128x448, got 64x64"),
        ({}, {"mask": np.full(SIZE, 7)}, "labels 0 to 5"),
        ({}, {"margin": 5}, "multiple of 8 px from 0, got 5"),
        ({}, {"steps": 0}, "from 1 to 1000, got 0"),
        ({"weights": "other"}, {}, "expected the autoencoder 0123.* that made the pair"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(change, arguments, message):
    pair = generate(mask=stripes(), **SETTINGS)
    if change.pop("weights", None):
        pair = replace(pair, run=pair.run | {"weights": {"autoencoder": "0123" * 16}})
    with pytest.raises(ValueError, match=message):
        resynthesise(replace(pair, **change), **{"mask": spotted(pair.mask)} | arguments)


def picture(size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def ragged(size=SIZE):
    """Known but for a slanted band, whose edges fall into blocks of 8 px."""
    row, column = np.indices(size)
    return np.abs(column - 100 - row // 3) > 30


@pytest.mark.parametrize("omega", [0.0, 2.0])
@pytest.mark.parametrize("solver", ["ddim", "dpm-solver++"])
def test_known_pixels_and_latents_are_kept_exactly(omega, solver):
    image, keep = picture(), ragged()
    made = inpaint(image, keep, stripes(), "squamous", omega=omega, solver=solver, **SETTINGS)
    assert np.array_equal(made.image[keep], image[keep])
    assert not np.array_equal(made.image[~keep], image[~keep])
    blocks = keep.reshape(16, 8, 56, 8).all(axis=(1, 3))
    safe = blocks & np.roll(blocks, 2, 1) & np.roll(blocks, -2, 1)  # two latents from the hole is beyond the margin
    latents = Averages().encode(to_tensor(image)[None])[0].numpy()
    assert safe.any() and np.array_equal(made.latents[:, safe], latents[:, safe])
    assert 0 < made.run["recomputed"] < 1


def test_one_seed_shows_what_guidance_and_labels_do():
    image, keep = picture(), ragged()
    fills = [
        inpaint(image, keep, mask, omega=omega, **SETTINGS).image
        for mask, omega in [(stripes(), 0.0), (stripes(), 0.0), (stripes(), 3.0), (spotted(4 - stripes()), 0.0)]
    ]
    assert np.array_equal(fills[0], fills[1])
    for other in fills[2:]:
        assert np.array_equal(other[keep], fills[0][keep]) and not np.array_equal(other[~keep], fills[0][~keep])


def test_what_lies_in_a_hole_is_not_looked_at():
    keep, other = ragged(), picture()
    other[~keep] = 255 - other[~keep]
    one, two = (inpaint(image, keep, stripes(), **SETTINGS) for image in (picture(), other))
    assert np.array_equal(one.image, two.image)


def test_all_known_and_nothing_known():
    everything = np.ones(SIZE, bool)
    made = inpaint(picture(), everything, stripes(), **SETTINGS)
    assert np.array_equal(made.image, picture()) and made.run["network_evaluations"] == 0
    made = inpaint(picture(), ~everything, stripes(), **SETTINGS)
    assert np.array_equal(made.image, generate(mask=stripes(), **SETTINGS).image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": picture()[..., 0]}, r"uint8 \(H, W, 3\), got uint8 of shape \(128, 448\)"),
        ({"image": picture() / 255}, "got float64"),
        ({"keep": ragged().astype(int)}, "keep to be bool of 128 x 448 px, got int64"),
        ({"keep": ragged((64, 64))}, "got bool of 64 x 64 px"),
        ({"mask": stripes((64, 64))}, "mask of the size 128x448, got 64x64"),
        ({"margin": -8}, "got -8"),
        ({"omega": -1.0}, "omega"),
    ],
)
def test_inpainting_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        inpaint(**{"image": picture(), "keep": ragged(), "mask": stripes()} | SETTINGS | arguments)


def test_latents_to_keep_need_a_mask():
    with pytest.raises(ValueError, match="expected a mask beside the latents to keep"):
        generate("normal", size=SIZE, known=object())


def test_reach_is_the_shipped_decoders(small_decoder):
    latents = torch.zeros(1, 3, 41, 41)
    latents[..., 20, 20] = torch.nan
    touched = small_autoencoder().decode(latents)[0].isnan().any(dim=0)
    rows = touched.any(dim=1).nonzero().flatten()
    assert 8 * (20 - REACH) <= rows.min() < 8 * (21 - REACH)
    assert 8 * (20 + REACH) <= rows.max() < 8 * (21 + REACH)
