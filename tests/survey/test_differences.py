"""Pairs with one hidden change: what differs is known exactly, also in the files that the page shows."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffinfinite_lite.labels import CELL_PX
from diffinfinite_lite.pipelines.edit import REACH
from diffinfinite_lite.survey import differences as d
from diffinfinite_lite.survey import spot

SIZE = (128, 320)


@pytest.fixture(scope="module")
def made():
    seen = []

    def progress(jobs, total):
        for job in jobs:
            seen.append((job, total))
            yield job

    found = d.make_differences(2, size=SIZE, steps=2, draft_steps=2, seed=3, device="cpu", progress=progress)
    assert seen == [(0, 2), (1, 2)]
    return found


def test_rounds_share_a_picture_and_change_it_in_different_places(made):
    one, other = made
    assert (one.before == other.before).all() and (one.mask == other.mask).all()
    assert not (one.blob & other.blob).any()
    assert one.visible * one.blob.sum() ** 0.5 >= other.visible * other.blob.sum() ** 0.5 > 0
    for change in made:
        assert set(change.edited[change.blob]) == {change.label} and change.label in d.KINDS
        assert (change.edited == change.mask)[~change.blob].all()


def test_beyond_margin_and_reach_all_pixels_are_equal(made):
    """The open cells are the blob's and the margin's; the decoder reaches `REACH` latents farther; that is all."""
    for change in made:
        far = d.MARGIN // CELL_PX + 1 + REACH
        rows, columns = np.nonzero(d.cells(change.blob))
        box = np.zeros(d.cells(change.blob).shape, bool)
        (top, bottom), (left, right) = ((max(n.min() - far, 0), n.max() + far + 1) for n in (rows, columns))
        box[top:bottom, left:right] = True
        assert not d.cells(change.changed)[~box].any() and (~box).any()
        assert change.changed[change.blob].mean() > 0.5  # and the blob itself did change


def test_the_files_are_equal_where_the_pixels_are(made):
    """JPEG codes blocks of 8 px one by one: a block that has not changed is decoded alike."""
    for change in made:
        before, after = (np.asarray(Image.open(io.BytesIO(spot._file(p)[1]))) for p in (change.before, change.after))
        same = ~d.cells(change.changed).repeat(CELL_PX, 0).repeat(CELL_PX, 1)
        assert same.any() and (before[same] == after[same]).all()
        assert (before != after).any()


def test_the_same_seed_makes_the_same_rounds(made):
    again = d.make_differences(1, size=SIZE, steps=2, draft_steps=2, seed=3, device="cpu")[0]
    assert any((again.after == change.after).all() for change in made)
    other = d.make_differences(1, size=SIZE, steps=2, draft_steps=2, seed=4, device="cpu")[0]
    assert not (other.before == again.before).all()


@given(st.integers(0, 2**32), st.sampled_from(tuple(d.KINDS)), st.floats(16, 40))
@settings(max_examples=40, deadline=None)
def test_a_blob_lies_where_it_may_and_can_be_told_in_words(seed, label, radius):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 6, (4, 6), np.uint8).repeat(64, 0).repeat(64, 1)
    taken = np.zeros(mask.shape, bool)
    taken[:, :64] = True
    blob = d.draw_blob(mask, label, radius, taken, rng)
    assert blob.any() and not (blob & ((mask == label) | taken)).any()
    before, after = (np.array(spot.in_words(m)) for m in (mask, np.where(blob, label, mask).astype(np.uint8)))
    differ = before != after
    fields = blob.reshape(4, 64, 6, 64).mean(axis=(1, 3))
    assert not differ[fields == 0].any()
    assert differ[fields > 0.1].all()
    assert (blob.sum() < 420) or differ.any()


def test_words_describe_a_change():
    mask = np.ones((8, 8), np.uint8)
    edited = mask.copy()
    edited[2:4] = 2
    image = np.zeros((8, 8, 3), np.uint8)
    assert d.Difference(image, image, mask, edited, 2, 0.1).describe() == "necrosis, where carcinoma was"
    opened = d.Difference(image, image, np.where(mask == 1, 4, mask), edited, 2, 0.1)
    assert opened.describe() == "necrosis, where the label was others"  # where others was, says nothing
    assert "where nothing was labelled" in d.Difference(image, image, mask * 0, edited, 2, 0.1).describe()


def test_a_change_that_changes_no_label_shows_nothing_and_is_never_the_most_visible():
    """Where a mask is all of one label, an island of it is no change; its mean over no pixel would win every `max`."""
    mask, image = np.ones((8, 8), np.uint8), np.zeros((8, 8, 3), np.uint8)
    edited = mask.copy()
    edited[2:4] = 3
    nothing = d.Difference(image, image, mask, mask, 1, 0.0)
    something = d.Difference(image, image + 1, mask, edited, 3, 0.1)
    assert nothing.visible == 0
    assert max((nothing, something), key=lambda change: change.visible) is something


@pytest.mark.parametrize(
    ("rounds", "size", "message"),
    [(0, SIZE, "at least one round, got 0"), (1, (64, 320), "at least 128 px a side, got 64 x 320")],
)
def test_refusals(rounds, size, message):
    with pytest.raises(ValueError, match=message):
        d.make_differences(rounds, size=size)
