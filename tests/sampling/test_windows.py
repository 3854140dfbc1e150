"""Plans: weights, counts, seams."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinfinite_lite.sampling.plans import PLANS, TRAITS, multidiffusion
from diffinfinite_lite.sampling.windows import Window, check_plan, hann


def draw(name, size, patch, seed=0):
    return list(PLANS[name](size, patch, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=40, deadline=None)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), patch=st.integers(1, 12), seed=st.integers(0, 99))
def test_weights_sum_to_one_for_any_size(name, size, patch, seed):
    views = draw(name, size, patch, seed)
    check_plan(views, size)
    for window, weight in views:
        assert weight.shape == (window.height, window.width)
        assert window.height <= min(patch, size[0]) and window.width <= min(patch, size[1])


@pytest.mark.parametrize("name", [name for name, traits in TRAITS.items() if traits.stride])
@settings(max_examples=20, deadline=None)
@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), stride=st.integers(1, 8))
def test_weights_sum_to_one_for_any_stride(name, size, stride):
    check_plan(PLANS[name](size, 8, None, stride=stride), size)


@pytest.mark.parametrize("name", ["random-patch", "torus-grid", "sliding-window"])
def test_first_writer_weights_are_zero_or_one(name):
    assert {float(v) for _, weight in draw(name, (21, 34), 8) for v in weight.unique()} <= {0.0, 1.0}


@pytest.mark.parametrize("name", ["random-patch", "torus-grid"])
@pytest.mark.parametrize("size", [(16, 16), (27, 20)])
def test_no_line_is_a_seam_more_often_than_one_and_a_half_times_the_mean(name, size):
    rows, columns = torch.zeros(size[0] - 1), torch.zeros(size[1] - 1)
    for level in range(600):
        owner = torch.zeros(size)
        for number, (window, weight) in enumerate(draw(name, size, 8, level)):
            index = window.index(size)
            owner[index] = torch.where(weight == 1, torch.tensor(float(number)), owner[index])
        rows += (owner.diff(dim=0) != 0).float().mean(1)
        columns += (owner.diff(dim=1) != 0).float().mean(0)
    for lines in (rows, columns):
        assert lines.max() <= 1.5 * lines.mean()
        assert lines.min() >= 0.5 * lines.mean()


def test_mixture_windows_stay_spread_evenly_and_fade():
    """Equally far apart, deaf to the generator; where another window takes over, a weight ends near zero."""
    first, second = (draw("mixture", (16, 52), 16, seed) for seed in (0, 1))
    lefts = [window.left for window, _ in first]
    assert lefts == [window.left for window, _ in second] == [0, 12, 24, 36]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    inner = first[1][1][0]
    assert inner[0] < 0.05 and inner[-1] < 0.05 and (inner[4:12] == 1).all()
    assert (inner[:4].diff() > 0).all() and torch.allclose(inner, inner.flip(0))
    assert first[0][1][0, 0] == 1, "at the canvas border there is nobody to fade into"


TABLE = {  # patches of 512 px a level on canvases of 1024, 2048 and 4096 px
    "torus-grid": (4, 16, 64),
    "sliding-window": (9, 49, 225),
    "multidiffusion 32": (9, 49, 225),
    "multidiffusion 16": (25, 169, 841),
    "multidiffusion 8": (81, 625, 3249),
    "mixture": (9, 25, 121),
    "diffcollage": (16, 100, 484),
}


@pytest.mark.parametrize(("column", "pixels"), enumerate((1024, 2048, 4096)))
@pytest.mark.parametrize("method", TABLE)
def test_patches_per_level_are_those_of_the_table(method, column, pixels):
    name, _, stride = method.partition(" ")
    plan = partial(PLANS[name], stride=int(stride)) if stride else PLANS[name]
    views = list(plan((pixels // 8, pixels // 8), 64, torch.Generator().manual_seed(0)))
    assert sum(w.height * w.width for w, _ in views) == TABLE[method][column] * 64**2
    if name == "diffcollage":  # its overlaps are half and quarter patches, each an evaluation of its own
        assert len(views) == (2 * (2 * pixels // 512 - 1) - 1) ** 2
    else:
        assert len(views) == TABLE[method][column]


@pytest.mark.parametrize(("pixels", "authors"), [(1024, 8.1), (2048, 35.7), (4096, 142)])
def test_random_patches_need_about_what_the_published_loop_needs(pixels, authors):
    counts = [len(draw("random-patch", (pixels // 8, pixels // 8), 64, seed)) for seed in range(12)]
    assert abs(sum(counts) / 12 / authors - 1) < 0.25


def test_random_patches_start_anywhere_with_the_same_chance():
    first = [draw("random-patch", (6, 4), 2, seed)[0][0] for seed in range(2400)]
    counts = torch.tensor([sum((w.top, w.left) == (r, c) for w in first) for r in range(6) for c in range(4)])
    assert counts.sum() == 2400 and ((counts - 100).abs() < 45).all()  # 4.6 standard deviations


def test_random_patches_add_something_and_never_repeat():
    views = draw("random-patch", (40, 30), 8)
    assert len({window for window, _ in views}) == len(views)
    assert all(weight.any() for _, weight in views)


def test_a_canvas_of_one_window_is_not_periodic():
    for name in PLANS:
        assert [w for w, _ in draw(name, (8, 8), 8)] == [Window(0, 0, 8, 8)]


def test_diffcollage_chain_by_hand():
    views = draw("diffcollage", (4, 8), 4)
    assert [(w.left, w.width, float(weight[0, 0])) for w, weight in views] == [
        (0, 4, 1), (2, 4, 1), (4, 4, 1), (2, 2, -1), (4, 2, -1)
    ]  # fmt: skip


def test_plan_with_a_hole_is_refused():
    plan = partial(multidiffusion, stride=9)
    with pytest.raises(ValueError, match="sum to 1 at every pixel"):
        check_plan(list(plan((8, 20), 4, None)), (8, 20))
    with pytest.raises(ValueError, match="got nan at"):
        check_plan([(Window(0, 0, 8, 8), torch.full((8, 8), torch.nan))], (8, 8))
    with pytest.raises(ValueError, match="fit into"):
        check_plan([(Window(0, 0, 9, 9), torch.ones(9, 9))], (8, 8))
    with pytest.raises(ValueError, match="stride"):
        list(multidiffusion((8, 8), 4, None, stride=0))


def test_wrapped_window_reads_and_writes_the_other_side():
    canvas = torch.arange(20).view(4, 5)
    window = Window(3, 4, 2, 3)
    assert canvas[window.index((4, 5))].tolist() == [[19, 15, 16], [4, 0, 1]]
    canvas[window.index((4, 5))] = -1
    assert (canvas == -1).sum() == 6


def test_hann_is_positive_and_halves_sum_to_one():
    window = hann(1, 16)[0]
    assert (hann(5, 16) > 0).all()
    torch.testing.assert_close(window[:8] + window[8:], torch.ones(8))
