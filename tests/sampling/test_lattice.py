"""The canvas without edges: bit for bit the same by any way, and the loop's own canvas away from that one's edges."""

import random

import pytest
import torch

from diffinfinite_lite.sampling.cache import Cache
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.lattice import Labels, Lattice
from diffinfinite_lite.sampling.plans import find_plan
from diffinfinite_lite.sampling.sample import Method, sample
from diffinfinite_lite.sampling.windows import Window

PATCH, STRIDE, STEPS = 8, 6, 3
MASK = torch.randint(4, (128, 128), generator=torch.Generator().manual_seed(1))


def labels(window):
    rows, columns = torch.arange(window.height) + window.top, torch.arange(window.width) + window.left
    return MASK[rows[:, None] % 128, columns % 128]


def lattice(network, alphas, cache=None, solver="ddim", eta=1.0, **more):
    method = Method(PATCH, "mixture", solver=solver, steps=STEPS, eta=eta, seed=more.pop("seed", 2))
    denoiser, more = Denoiser(network, alphas, omega=0.5, batch_size=1), {"stride": STRIDE, **more}
    return Lattice(denoiser, Labels(labels, 1), method, channels=2, cache=cache or Cache(), **more)


@pytest.mark.parametrize(("solver", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("dpm-solver++", None)])
def test_far_from_its_edges_the_loops_canvas_is_the_same(toy_network, alphas, solver, eta):
    """On a canvas of a whole number of strides the mixture's windows lie where those of the lattice do."""
    side = PATCH + 19 * STRIDE
    *_, last = sample(
        Denoiser(toy_network, alphas, omega=0.5, batch_size=1), MASK[:side, :side], channels=2, patch=PATCH,
        plan=find_plan("mixture", STRIDE), solver=solver, steps=STEPS, eta=eta, seed=2,
    )  # fmt: skip
    inside = slice(STEPS * PATCH, side - STEPS * PATCH)
    extent = inside.stop - inside.start
    found = lattice(toy_network, alphas, solver=solver, eta=eta).latents(
        Window(inside.start, inside.start, extent, extent)
    )
    torch.testing.assert_close(found, last.canvas.latents[:, inside, inside], rtol=0, atol=1e-5)


def test_two_ways_of_panning_and_a_whole_region_are_the_same_bits(toy_network, alphas):
    places = [(row, column) for row in range(-3, 2) for column in range(-2, 3)]
    whole = lattice(toy_network, alphas).latents(Window(-30, -20, 50, 50))
    orders = [places, places[::-1], random.Random(0).sample(places, len(places))]
    for order in orders:
        plane = lattice(toy_network, alphas)
        for row, column in order:
            tile = plane.latents(Window(10 * row, 10 * column, 10, 10))
            expected = whole[:, 10 * row + 30 :, 10 * column + 20 :][:, :10, :10]
            assert torch.equal(tile, expected)
    alone = lattice(toy_network, alphas).latents(Window(-13, 7, 3, 5))
    assert torch.equal(alone, whole[:, 17:20, 27:32])


def test_another_seed_is_another_plane_and_places_differ(toy_network, alphas):
    first, other = (lattice(toy_network, alphas, seed=seed).latents(Window(0, 0, 6, 6)) for seed in (2, 3))
    assert not torch.equal(first, other)
    plane = lattice(toy_network, alphas)
    assert not torch.equal(plane.latents(Window(-128, 0, 6, 6)), plane.latents(Window(0, 0, 6, 6)))  # labels are alike


def test_what_is_remembered_is_not_computed_again(toy_network, alphas, tmp_path):
    """The estimates of a window, counted: a cone where nothing is remembered, none where all is."""
    plane = lattice(toy_network, alphas, Cache(tmp_path / "cache"))
    before = plane.latents(Window(0, 0, STRIDE, STRIDE))
    # a cell is covered by 2 x 2 windows, which lie on 3 x 3 cells, and so on: one ring a level, unguided or twice
    cone = sum((2 + 2 * k) ** 2 for k in range(STEPS))
    assert plane._denoiser.ledger.windows == cone
    again = lattice(toy_network, alphas, Cache(tmp_path / "cache"))  # as after a restart
    assert torch.equal(again.latents(Window(0, 0, STRIDE, STRIDE)), before)
    assert again._denoiser.ledger.windows == 0
    other = lattice(toy_network, alphas, Cache(tmp_path / "cache"), seed=9)  # shares the file, and nothing in it
    other.latents(Window(0, 0, STRIDE, STRIDE))
    assert other._denoiser.ledger.windows == cone


def test_one_lattice_is_shown_to_the_next(toy_network, alphas):
    """What stands beside a lattice may be another one: a draft without edges under detail without edges."""

    class Doubled:
        identity = "doubled"

        def __init__(self, before):
            self._before = before

        def crops(self, windows, size):
            assert size == self._before.size
            return [2 * crop for crop in self._before.crops(windows)]

    class Adds:
        prediction_type = "epsilon"

        def __call__(self, z, t, condition):
            return z[:, :2] + z[:, 2:]

    first = lattice(toy_network, alphas)
    second = lattice(Adds(), alphas, beside=Doubled(first))
    whole = second.latents(Window(-5, -5, 12, 12))
    assert torch.equal(lattice(Adds(), alphas, beside=Doubled(first)).latents(Window(0, 0, 4, 4)), whole[:, 5:9, 5:9])
    assert not torch.equal(whole, lattice(toy_network, alphas).latents(Window(-5, -5, 12, 12)))


def test_a_stride_beyond_the_patch_leaves_holes_and_is_refused(toy_network, alphas):
    with pytest.raises(ValueError, match="expected a stride from 1 to the patch of 8 latent pixels, got 9"):
        lattice(toy_network, alphas, stride=9)


def test_other_labels_do_not_find_what_was_remembered_for_these(toy_network, alphas):
    cache, denoiser = Cache(), Denoiser(toy_network, alphas, batch_size=1)
    settings = {"stride": STRIDE, "channels": 2, "cache": cache}
    method = Method(PATCH, "mixture", steps=2)

    def all_of(label):
        return Labels(lambda window: torch.full((window.height, window.width), label), label)

    these, others = (Lattice(denoiser, all_of(label), method, **settings) for label in (1, 2))
    assert not torch.equal(these.latents(Window(0, 0, 4, 4)), others.latents(Window(0, 0, 4, 4)))
