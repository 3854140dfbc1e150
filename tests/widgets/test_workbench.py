"""The live controls: driven from Python here, by a browser in test_workbench_live.py."""

import numpy as np
import pytest

from diffinfinite_lite.widgets import workbench


@pytest.fixture(scope="module")
def box():
    box = workbench.explore((64, 64), steps=2, device="cpu")
    box.worker.wait(60)
    return box


def test_a_turned_slider_gives_another_picture_under_the_same_mask(box):
    before, mask = box.children[1].value, box.children[2].value
    assert 'alt="Generated adenocarcinoma tissue"' in before
    box.controls["omega"].value = 2.0
    box.worker.wait(60)
    assert box.children[1].value != before
    assert box.children[2].value == mask
    assert "network evaluations" in box.children[0].children[-1].value
    box.controls["omega"].value = 0.0
    box.worker.wait(60)
    assert box.children[1].value == before


def test_cancel_keeps_the_last_picture(box):
    before = box.children[1].value
    box.controls["seed"].value += 1
    box.worker.cancel()
    box.worker.wait(60)
    assert box.children[1].value == before
    box.controls["seed"].value -= 1
    box.worker.wait(60)


def test_an_error_is_shown_as_its_sentence():
    said = []
    worker = workbench.Worker(lambda pair: said.append("done"), said.append, lambda done, total: None)
    worker.start(context="skin", size=(64, 64), steps=1)
    worker.wait(60)
    assert said and said[0].startswith("expected a context among")


def test_the_newest_run_wins():
    seeds = []
    worker = workbench.Worker(lambda pair: seeds.append(pair.run["seed"]), pytest.fail, lambda done, total: None)
    for seed in range(4):
        worker.start(context="normal", size=(64, 64), steps=2, seed=seed)
    worker.wait(60)
    assert seeds == [3]


def test_the_draft_is_seen_level_by_level_before_the_picture(two_stage_weights):
    seen = []
    worker = workbench.Worker(seen.append, pytest.fail, lambda done, total: None, seen.append)
    worker.start(context="normal", size=(64, 64), steps=1, draft_steps=2, weights=two_stage_weights, device="cpu")
    worker.wait(60)
    assert [getattr(item, "shape", None) for item in seen] == [(8, 8, 3), (8, 8, 3), None]
    assert seen[-1].image.shape == (64, 64, 3) and 'alt="Draft"' in workbench.picture(seen[0], "Draft")


def test_a_stroke_paints_its_brush_and_stays_inside():
    mask = np.full((40, 60), 4, np.uint8)
    painted = workbench.stroke(mask, np.array([10, 30, 90]), np.array([20, 20, 20]), 1, 5)
    assert (painted[20, 10:60] == 1).all()
    assert (painted[16:25, 20] == 1).all()
    assert painted[10, 20] == 4 and mask.max() == mask.min() == 4


def test_strokes_of_the_mouse_reach_the_mask():
    page = workbench.paint((64, 96))
    assert set(np.unique(page.mask())) == {4}
    page.strokes.event(data={"xs": [[10, 50]], "ys": [[64 - 30, 64 - 30]]})
    assert (page.mask()[30, 10:50] == 1).all()
