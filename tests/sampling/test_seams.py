"""Where windows meet: lines of every plan in closed form, and which plans have fixed ones."""

import pytest

from diffinfinite_lite.sampling.plans import PLANS, find_plan
from diffinfinite_lite.sampling.seams import Lines, window_lines


def test_lines_in_closed_form():
    assert window_lines(find_plan("sliding-window"), (16, 24), 8) == Lines((4, 8, 12), (4, 8, 12, 16, 20), True)
    assert window_lines(find_plan("sliding-window", stride=8), (16, 8), 8) == Lines((8,), (), True)
    assert window_lines(find_plan("random-patch"), (16, 25), 8) == Lines((8,), (8, 16, 24), False)
    assert 6 in window_lines(find_plan("multidiffusion"), (16, 16), 8).rows


@pytest.mark.parametrize("name", PLANS)
def test_a_single_window_meets_none(name):
    assert window_lines(find_plan(name), (8, 8), 8) == window_lines(find_plan(name), (8, 8), 16) == Lines((), (), True)


@pytest.mark.parametrize("name", PLANS)
def test_plans_that_draw_their_windows_have_no_fixed_lines(name):
    found = window_lines(find_plan(name), (24, 32), 8)
    assert found.fixed == (name not in ("random-patch", "torus-grid"))
    assert set(found.rows) <= set(range(1, 24)) and set(found.columns) <= set(range(1, 32))
