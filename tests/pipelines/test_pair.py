"""A pair as a notebook shows it, and its files at sizes that their formats do not take."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite import generate, resynthesise
from diffinfinite_lite.evaluation.inputs import read_run
from diffinfinite_lite.labels import FIVE_CODES, LABELS, from_five_codes
from diffinfinite_lite.pipelines.pair import LONGEST_SHOWN, WEBP_SIDE, Pair
from diffinfinite_lite.pipelines.passport import MASK, hash_mask, repeat
from tests.toys import tiny_model


def test_timesteps_of_a_long_canvas_fit_their_format(tmp_path):
    """The field's case 32: a canvas of more than 8 * 16,383 px, whose frames would be longer than a WebP may be."""
    levels = [np.full((1, WEBP_SIDE + 1), n) for n in (1, 0)]
    levels[0][0, 0] = 0
    Pair(np.zeros((8, 16, 3), np.uint8), np.zeros((8, 16), np.uint8), levels, {}).save(tmp_path / "out")
    with Image.open(tmp_path / "out" / "timesteps.webp") as picture:
        assert picture.size == (WEBP_SIDE // 2 + 1, 1) and picture.n_frames == 2
        first = np.asarray(picture.convert("L"))
    assert first[0, 0] == 0 and (first[0, 1:] == 127).all()


def test_a_pair_is_shown_as_picture_and_mask_of_a_size_that_a_page_can_hold():
    mask = np.zeros((16, LONGEST_SHOWN + 16), np.uint8)
    mask[:, -32:] = 3
    pair = Pair(np.repeat(mask[..., None] * 60, 3, axis=-1), mask, [], {"context": "squamous"})
    shown = pair.show()
    html = shown._repr_html_()
    assert re.findall('alt="(.*?)"', html) == [
        "Tissue generated as squamous",
        "The mask it was painted under: unknown, stroma",
    ]
    files = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall('base64,(.*?)"', html)]
    assert [file.size for file in files] == [(LONGEST_SHOWN // 2 + 8, 8)] * 2
    assert np.unique(np.asarray(files[1])).tolist() == [0, 3]  # labels, not shades between them
    whole = Image.open(io.BytesIO(shown._repr_png_()))
    assert whole.size == (2 * (LONGEST_SHOWN // 2 + 8) + 8, 8) and "8 x 1032 px" in repr(shown)


@pytest.fixture(scope="module")
def old_weights(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("five"), codes=FIVE_CODES)


@pytest.mark.parametrize("context", ["squamous", "normal"])
def test_a_run_of_five_codes_is_read_repeated_and_edited(tmp_path, old_weights, context):
    """Its others were air and, in normal lung, its stroma septa: the same network paints the same picture again."""
    options = {"steps": 2, "seed": 1, "weights": old_weights, "device": "cpu"}
    five = np.kron(np.arange(80).reshape(8, 10) % FIVE_CODES, np.ones((8, 8), int)).astype(np.uint8)
    six = from_five_codes(five, context)
    made = generate(context, six, **options)
    told = {"labels": dict.fromkeys(LABELS[:FIVE_CODES], 0.2), MASK: hash_mask(five)}
    Pair(made.image, five, [], made.run | told, made.latents).save(tmp_path / "old")  # as that version wrote it

    with pytest.warns(UserWarning, match="when air had no label: its others are read as air"):
        pair = Pair.read(tmp_path / "old")
    with pytest.warns(UserWarning, match="when air had no label"):
        assert np.array_equal(read_run(tmp_path / "old").mask, six)
    assert np.array_equal(pair.mask, six) and pair.run["labels"] == made.run["labels"]
    with pytest.warns(UserWarning, match="when air had no label"):
        again = repeat(tmp_path / "old", weights=old_weights)
    assert np.array_equal(again.mask, six)
    painted = generate(again.context, again.mask, config=again.config, weights=old_weights, device="cpu")
    assert np.array_equal(painted.image, made.image)

    assert resynthesise(pair, six, weights=old_weights, device="cpu").run["recomputed"] == 0
    pair.save(tmp_path / "new")
    assert np.array_equal(Pair.read(tmp_path / "new").mask, six), "what was brought to six codes stays so"


def test_a_run_of_today_is_read_as_it_is(tmp_path, tiny_weights, recwarn):
    mask = np.full((64, 64), LABELS.index("others"), np.uint8)
    generate("squamous", mask, steps=1, weights=tiny_weights, device="cpu").save(tmp_path / "out")
    assert np.array_equal(Pair.read(tmp_path / "out").mask, mask)
    assert not [each for each in recwarn if "air" in str(each.message)]
