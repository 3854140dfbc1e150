"""Masks: cleaning keeps edges and favours no label, upsampling keeps shapes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage.segmentation import find_boundaries

from diffinfinite_lite.data.layouts import layout
from diffinfinite_lite.labels import CONTEXTS, from_five_codes
from diffinfinite_lite.models.masks import TwoScaleMask
from diffinfinite_lite.models.pretrained import load_models
from diffinfinite_lite.pipelines import masks
from diffinfinite_lite.pipelines.generate import generate
from diffinfinite_lite.pipelines.masks import (
    clean,
    generate_cells,
    generate_mask,
    one_hot,
    open_borders,
    specks,
    upsample,
)
from diffinfinite_lite.sampling.noise import coordinate_noise
from diffinfinite_lite.sampling.windows import Window


def scores(labels, sharpness=1.0):
    return one_hot(torch.from_numpy(np.asarray(labels, np.int64))).numpy() * sharpness


def test_clear_map_is_left_alone_up_to_its_border():
    labels = np.ones((16, 16), np.uint8)
    labels[:, 8:] = 3
    assert np.array_equal(clean(scores(labels)), labels)


@pytest.mark.parametrize(("inside", "outside"), [(1, 5), (5, 1)])
def test_specks_take_their_surroundings_whatever_their_number(inside, outside):
    labels = np.full((16, 16), outside, np.uint8)
    labels[5, 5:8] = inside
    assert (clean(scores(labels)) == outside).all()


def test_doubtful_boundary_goes_to_the_nearer_region():
    labels = np.full((16, 16), 1)
    labels[:, 9:] = 4
    values = scores(labels)
    values[:, :, 8] = -0.9  # between the regions a third label wins by a hair
    values[3, :, 8] = -0.8
    assert set(np.unique(clean(values))) == {1, 4}


def test_upsampling_keeps_area_and_labels():
    labels = np.kron(np.array([[1, 3], [4, 2]], np.uint8), np.ones((4, 4), np.uint8))
    large = upsample(labels, (160, 240))
    assert large.shape == (160, 240)
    for label in (1, 2, 3, 4):
        assert abs((large == label).mean() - 0.25) < 0.02


def test_cells_are_square_where_the_largest_mask_is_enlarged(monkeypatch):
    seen = []

    def sample(denoiser, prompts, **settings):
        seen.append((tuple(prompts.shape), settings["seed"]))
        yield SimpleNamespace(canvas=SimpleNamespace(latents=torch.zeros(6, *prompts.shape)))

    monkeypatch.setattr(masks, "sample", sample)
    monkeypatch.setattr(masks, "Denoiser", lambda *_, **settings: None)
    sizes = [(4096, 2048), (1024, 512), (64, 64)]
    made = [masks.generate_cells(None, "normal", size, seed=7) for size in sizes]
    assert [cells.shape for cells in made] == [(512, 256), (128, 64), (8, 8)], "a cell of what comes back is 8 px"
    assert [shape for shape, _ in seen] == [(256, 128), (128, 64), (48, 48)], "never less than what it learnt from"
    noise = [coordinate_noise(seed, 0, 6, Window(0, 0, 32, 32)).flatten() for seed in (7, seen[0][1])]
    assert abs(float(torch.corrcoef(torch.stack(noise))[0, 1])) < 0.05, "the picture starts from its mask's noise"


def test_a_small_mask_is_the_middle_of_one_as_large_as_those_learnt_from(monkeypatch):
    scores = torch.zeros(6, 48, 48)
    scores[4], scores[1, :, 24:] = 1, 2  # walls, and carcinoma in the right half
    level = SimpleNamespace(canvas=SimpleNamespace(latents=scores))
    monkeypatch.setattr(masks, "sample", lambda *_, **settings: [level])
    monkeypatch.setattr(masks, "Denoiser", lambda *_, **settings: None)
    cells = masks.generate_cells(None, "normal", (64, 128))
    assert cells.shape == (8, 16) and (cells[:, :7] == 4).all() and (cells[:, 9:] == 1).all()


@pytest.mark.parametrize("context", [None, *CONTEXTS])
def test_a_model_of_five_codes_draws_the_same_regions_in_six(context):
    """What five channels say is air, and the walls of normal lung; nothing else moves, borders included."""
    five = np.repeat(np.array([1, 3, 4, 2, 0], np.uint8), 10)[None].repeat(40, 0)
    six, same = clean(scores(five)[:5], context), clean(scores(five))
    assert np.array_equal(same, five) and np.array_equal(six, from_five_codes(five, context))
    assert set(np.unique(six)) == {0, 1, 2, 4 if context == "normal" else 3, 5}
    opened = open_borders(six)
    assert (opened[:, 10:20] == six[:, 10:20]).all() and not opened[:, [9, 20, 29, 30]].any()


@pytest.mark.parametrize("context", CONTEXTS)
def test_open_borders_of_layouts(context):
    """Only borders between regions and the specks in between are given up, and no stroma or wall: most stays."""
    labels = layout(context, (96, 96), np.random.default_rng(0))
    opened = open_borders(labels)
    given_up = opened != labels
    assert given_up.any() and (opened[given_up] == 0).all() and not np.isin(labels[given_up], (3, 4)).any()
    borders = find_boundaries(np.where(labels == 0, 1, labels), connectivity=2, mode="thick")
    left = np.where(given_up & borders, 0, labels)
    assert specks(left)[given_up & ~borders].all()
    assert np.isin(opened[specks(opened)], (0, 3, 4)).all()
    assert (opened > 0).mean() >= 0.6


def test_open_borders_leaves_sparse_masks_and_strands_alone():
    apart = np.zeros((9, 12), np.uint8)
    apart[:, :5], apart[:, 7:] = 1, 5
    strand = np.full((9, 12), 3, np.uint8)
    strand[4:6] = 1
    for labels in (apart, strand, np.ones_like(apart)):
        assert np.array_equal(open_borders(labels), labels)


@pytest.mark.parametrize("context", CONTEXTS)
def test_shipped_model_draws_masks_like_layouts(context):
    """Regions of the right labels and of about the right coarseness: specks would have far more boundary."""
    opened, cells = (generate_cells(load_models()[2], context, (384, 384), seed=0, opened=o) for o in (True, False))
    assert (opened > 0).mean() >= 0.6 and np.array_equal(opened, open_borders(cells))
    drawn = [layout(context, cells.shape, np.random.default_rng(seed)) for seed in range(8)]
    assert np.bincount(cells.ravel(), minlength=6).argmax() == np.bincount(np.ravel(drawn), minlength=6).argmax()
    boundary = find_boundaries(cells).mean() / np.mean([find_boundaries(labels).mean() for labels in drawn])
    assert 0.4 < boundary < 1.8


@pytest.fixture(scope="module")
def two_scales():
    """A mask model with random weights."""
    torch.manual_seed(0)
    model = TwoScaleMask((16, 24), (16, 24)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15 / max(parameter[0].numel(), 1) ** 0.25)
    return model


@pytest.mark.parametrize("size", [(64, 64), (264, 512), (104, 1608)])
def test_two_scales_draw_masks_of_any_size_and_one_seed_draws_one(two_scales, size):
    first, again, other = (generate_cells(two_scales, "squamous", size, seed=s, steps=2) for s in (3, 3, 4))
    assert first.shape == (size[0] // 8, size[1] // 8) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_cells_are_drawn_under_the_middle_of_the_squares(monkeypatch):
    """Squares are never fewer than were learnt from; cells are the canvas that was asked for, in whole squares."""
    seen = []

    def sample(denoiser, prompts, *, beside, patch, seed, **settings):
        seen.append((tuple(prompts.shape), patch, seed, beside))
        squares = torch.arange(prompts.numel()).view(1, *prompts.shape).float().expand(6, -1, -1)
        yield SimpleNamespace(canvas=SimpleNamespace(latents=squares))

    monkeypatch.setattr(masks, "sample", sample)
    monkeypatch.setattr(masks, "Denoiser", lambda *_, **settings: None)
    model = TwoScaleMask((16, 24), (16, 24))
    for size in ((240, 1040), (2048, 2048), (16384, 8192)):
        generate_cells(model, "normal", size, seed=7)
    shapes = [shape for shape, *_ in seen]
    assert shapes == [(32, 33), (32, 132), (64, 64), (256, 256), (256, 128), (1024, 512)]
    assert {patch for _, patch, *_ in seen} == {masks.SIDE} and seen[0][3] is None
    (read,) = seen[1][3].crops([Window(0, 0, 4, 132)], (32, 132))
    assert abs(float(read[0, 0, 0]) - 12 * 33) < 1, "the middle 8 x 33 of 32 x 33 squares"
    seeds = {seed for _, _, seed, _ in seen} | {7}
    assert len(seeds) == 3, "no noise is that of another scale, or of the picture"


def test_a_layout_takes_the_place_of_a_model():
    found = generate_mask(None, "squamous", (200, 328), seed=5, masks="layout")
    again = generate_mask(None, "squamous", (200, 328), seed=5, masks="layout")
    assert found.shape == (200, 328) and np.array_equal(found, again)
    cells = generate_cells(None, "squamous", (200, 328), seed=5, masks="layout")
    assert np.array_equal(cells, open_borders(layout("squamous", (25, 41), np.random.default_rng(5))))
    assert not np.array_equal(cells, generate_cells(None, "squamous", (200, 328), seed=6, masks="layout"))


def test_pictures_are_painted_under_layouts_where_that_is_asked_for(tiny_weights):
    settings = {"size": (64, 96), "steps": 1, "seed": 2, "weights": tiny_weights, "device": "cpu"}
    pair = generate("normal", masks="layout", **settings)
    assert pair.run["masks"] == "layout"
    assert np.array_equal(pair.mask, generate_mask(None, "normal", (64, 96), seed=2, masks="layout"))
    assert not np.array_equal(pair.mask, generate("normal", **settings).mask)


def test_unknown_masks_are_refused(tiny_weights):
    with pytest.raises(ValueError, match="expected masks to be one of model, layout, got 'drawn'"):
        generate_cells(None, "normal", (64, 64), masks="drawn")
    with pytest.raises(ValueError, match="expected masks to be one of model, layout, got 'drawn'"):
        generate("normal", size=(64, 64), masks="drawn", weights=tiny_weights)


def test_unknown_context_is_refused():
    with pytest.raises(ValueError, match="expected a context among adenocarcinoma, squamous, normal, got 'skin'"):
        generate_mask(None, "skin", (64, 64))
