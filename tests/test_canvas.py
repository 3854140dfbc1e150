"""The canvas: frozen state, accumulated estimate, timestep map."""

import pytest
import torch

from diffinfinite_lite.canvas import Canvas
from diffinfinite_lite.windows import Window


def test_state_is_frozen_until_the_canvas_advances():
    z = torch.randn(2, 6, 6)
    canvas = Canvas(z.clone(), steps=2)
    window = Window(4, 5, 3, 3)
    before = canvas.read(window).clone()
    canvas.add(window, torch.ones(3, 3), torch.ones(2, 3, 3))
    assert torch.equal(canvas.read(window), before) and torch.equal(canvas.z, z)
    canvas.advance(lambda eps, state: state - eps)
    assert torch.equal(canvas.read(window), before - 1)
    assert canvas.eps.eq(0).all() and canvas.coverage.eq(0).all()


def test_timestep_map_counts_down_with_at_most_two_values():
    canvas = Canvas(torch.zeros(1, 4, 4), steps=2)
    weight = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    canvas.add(Window(0, 0, 2, 2), weight, torch.ones(1, 2, 2))
    assert canvas.steps_left[:2, :2].tolist() == [[1, 2], [2, 1]]
    assert canvas.steps_left.unique().tolist() == [1, 2]
    canvas.advance(lambda eps, state: state)
    assert canvas.steps_left.unique().tolist() == [1]


def test_weights_accumulate():
    canvas = Canvas(torch.zeros(1, 2, 2), steps=1)
    for weight in (1.0, -1.0, 1.0):
        canvas.add(Window(0, 0, 2, 2), torch.full((2, 2), weight), torch.full((1, 2, 2), 3 + weight))
    assert canvas.eps.unique().tolist() == [6.0] and canvas.coverage.unique().tolist() == [1.0]


def test_visible_part():
    canvas = Canvas(torch.arange(12.0).view(1, 3, 4), steps=1, visible=(2, 3))
    assert canvas.latents.tolist() == [[[0, 1, 2], [4, 5, 6]]] and canvas.timestep_map.shape == (2, 3)


def test_bad_input():
    with pytest.raises(ValueError, match="shape"):
        Canvas(torch.zeros(4, 4), steps=1)
    canvas = Canvas(torch.zeros(1, 1, 1), steps=0)
    with pytest.raises(ValueError, match="finished"):
        canvas.advance(lambda eps, state: state)
