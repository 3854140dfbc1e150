"""Masks under the brush: every tool against pixels counted by hand, and fifty steps back and forth."""

import numpy as np
import pytest

from diffinfinite_lite.widgets.drawing import STEPS_BACK, Drawing


@pytest.fixture
def drawing():
    return Drawing(np.full((40, 60), 4, np.uint8))


def test_a_stroke_paints_its_brush_and_stays_inside(drawing):
    drawing.stroke([(10, 20), (30, 20), (90, 20)], 1, 5)
    assert (drawing.mask[20, 10:60] == 1).all() and (drawing.mask[15:26, 20] == 1).all()
    assert drawing.mask[10, 20] == drawing.mask[20, 4] == 4


def test_a_click_is_a_dot_and_the_eraser_leaves_nothing_known(drawing):
    drawing.stroke([(30, 10)], 3, 1)
    assert (drawing.mask == 3).sum() == 5
    drawing.stroke([(30, 10)], 0, 0)
    assert drawing.mask[10, 30] == 0 and (drawing.mask == 3).sum() == 4


def test_a_polygon_holds_the_pixels_whose_centres_it_holds(drawing):
    drawing.polygon([(2, 3), (12, 3), (12, 8), (2, 8)], 2)
    assert (drawing.mask[3:8, 2:12] == 2).all() and (drawing.mask == 2).sum() == 50


def test_a_fill_takes_the_region_it_lies_in(drawing):
    drawing.stroke([(30, 0), (30, 39)], 3, 0)
    drawing.fill([5.5, 7], 1)
    assert (drawing.mask[:, :30] == 1).all() and (drawing.mask[:, 31:] == 4).all()


def test_fifty_steps_back_and_forth_again(drawing):
    seen = []
    for x in range(STEPS_BACK + 5):
        seen.append(drawing.mask.copy())
        drawing.stroke([(x, 0)], 1, 0)
    seen.append(drawing.mask.copy())
    assert drawing.steps_back == STEPS_BACK == 50
    for _ in range(60):
        drawing.undo()
    assert np.array_equal(drawing.mask, seen[5]) and drawing.steps_back == 0
    for _ in range(60):
        drawing.redo()
    assert np.array_equal(drawing.mask, seen[-1]) and drawing.steps_forth == 0


def test_a_stroke_after_undo_is_the_new_future_and_no_change_is_no_step(drawing):
    drawing.stroke([(5, 5)], 1, 0)
    drawing.undo()
    drawing.clear(4)
    assert drawing.steps_forth == 1
    drawing.clear(3)
    assert drawing.steps_forth == 0 and (drawing.mask == 3).all()


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda d: d.stroke([], 1, 1), "expected 1 to 20000 points"),
        (lambda d: d.stroke([(1, float("nan"))], 1, 1), "expected 1 to 20000 points"),
        (lambda d: d.stroke("ab", 1, 1), "expected 1 to 20000 points"),
        (lambda d: d.stroke([(1, 1)], 9, 1), "expected a label 0 to 5, got 9"),
        (lambda d: d.stroke([(1, 1)], 1, 500), "expected a brush of 0 to 128 px"),
        (lambda d: d.polygon([(1, 1), (2, 2)], 1), "expected at least 3 corners"),
        (lambda d: d.fill((99, 1), 1), "expected a point inside of 40x60 px"),
        (lambda d: d.load(np.zeros((8, 8), np.uint8)), "expected a mask of the size 40x60"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence_and_changes_nothing(drawing, use, sentence):
    with pytest.raises(ValueError, match=sentence):
        use(drawing)
    assert (drawing.mask == 4).all() and drawing.steps_back == 0
