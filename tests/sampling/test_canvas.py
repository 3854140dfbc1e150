"""The canvas in memory and its twin on disk: frozen state, accumulated estimate, timestep map."""

import pytest
import torch

from diffinfinite_lite.sampling.canvas import MemoryCanvas
from diffinfinite_lite.sampling.windows import Window
from diffinfinite_lite.sampling.zarr_canvas import ZarrCanvas


@pytest.fixture(params=["memory", "disk"])
def make(request, tmp_path):
    """A canvas of either kind; chunks of 3 x 3, so that windows and canvases are cut."""

    def make(z, steps, visible=None):
        if request.param == "memory":
            return MemoryCanvas(z.clone(), steps, visible)
        size = tuple(z.shape[1:])
        return ZarrCanvas(
            tmp_path / "store", lambda part: z[:, *part.index(size)], len(z), size, steps, visible, chunk=3
        )

    return make


def same(eps, z, memory, part):
    return z, memory


def test_state_is_frozen_until_the_canvas_advances(make):
    z = torch.randn(2, 6, 7)
    canvas = make(z, steps=2)
    window = Window(4, 5, 3, 3)
    before = canvas.read(window).clone()
    assert torch.equal(before, z.roll((-4, -5), (1, 2))[:, :3, :3])
    canvas.add(window, torch.ones(3, 3), torch.ones(2, 3, 3))
    assert torch.equal(canvas.read(window), before) and torch.equal(canvas.z[:], z)
    canvas.advance(lambda eps, z, memory, part: (z - eps, memory))
    assert torch.equal(canvas.read(window), before - 1)
    assert torch.equal(canvas.crops([window, Window(0, 0, 6, 7)])[1], canvas.z[:])
    assert canvas.eps[:].eq(0).all() and canvas.coverage[:].eq(0).all()


def test_timestep_map_counts_down_with_at_most_two_values(make):
    canvas = make(torch.zeros(1, 4, 4), steps=2)
    weight = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    canvas.add(Window(0, 0, 2, 2), weight, torch.ones(1, 2, 2))
    canvas.add(Window(0, 0, 2, 2), weight, torch.ones(1, 2, 2))
    assert canvas.steps_left[:2, :2].tolist() == [[1, 2], [2, 1]]
    assert canvas.steps_left[:].unique().tolist() == [1, 2] and canvas.steps_left[:].dtype == torch.int32
    canvas.advance(same)
    assert canvas.steps_left[:].unique().tolist() == [1]


def test_weights_accumulate(make):
    canvas = make(torch.zeros(1, 2, 2), steps=1)
    for weight in (1.0, -1.0, 1.0):
        canvas.add(Window(0, 0, 2, 2), torch.full((2, 2), weight), torch.full((1, 2, 2), 3 + weight))
    assert canvas.eps[:].unique().tolist() == [6.0] and canvas.coverage[:].unique().tolist() == [1.0]


def test_visible_part(make):
    canvas = make(torch.arange(12.0).view(1, 3, 4), steps=1, visible=(2, 3))
    assert canvas.latents[:].tolist() == [[[0, 1, 2], [4, 5, 6]]] and tuple(canvas.timestep_map[:].shape) == (2, 3)
    assert canvas.latents[:, 1:, -2:].tolist() == [[[5, 6]]] and tuple(canvas.latents.shape) == (1, 2, 3)


def test_parts_tile_the_canvas_and_a_step_knows_where_it_is(make):
    canvas, seen = make(torch.zeros(1, 7, 5), steps=1), torch.zeros(7, 5)
    for part in canvas.parts():
        seen[part.index((7, 5))] += 1
    assert seen.eq(1).all()
    place = torch.arange(35.0).view(1, 7, 5)
    canvas.advance(lambda eps, z, memory, part: (place[:, *part.index((7, 5))].clone(), memory))
    assert torch.equal(canvas.z[:], place)


def test_what_a_solver_remembers_comes_back_at_the_next_level(make):
    canvas, given = make(torch.ones(2, 4, 4), steps=3), []

    def step(eps, z, memory, part):
        given.append(memory if memory is None else memory.unique().tolist())
        return z + 1, z * 10

    for _ in range(3):
        canvas.advance(step)
    levels = len(given) // 3
    assert given == [None] * levels + [[10.0]] * levels + [[20.0]] * levels


def test_bad_input(make):
    canvas = make(torch.zeros(1, 1, 1), steps=1)
    canvas.advance(same)
    with pytest.raises(ValueError, match="finished"):
        canvas.advance(same)
    with pytest.raises(ValueError, match=r"expected latents \(C, H, W\)"):
        MemoryCanvas(torch.zeros(4, 4), steps=1)
