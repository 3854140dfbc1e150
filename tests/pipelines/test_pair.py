"""A pair as a notebook shows it, and its files at sizes that their formats do not take."""

import base64
import io
import re

import numpy as np
from PIL import Image

from diffinfinite_lite.pipelines.pair import LONGEST_SHOWN, WEBP_SIDE, Pair


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
    files = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall("base64,(.*?)\"", html)]
    assert [file.size for file in files] == [(LONGEST_SHOWN // 2 + 8, 8)] * 2
    assert np.unique(np.asarray(files[1])).tolist() == [0, 3]  # labels, not shades between them
    whole = Image.open(io.BytesIO(shown._repr_png_()))
    assert whole.size == (2 * (LONGEST_SHOWN // 2 + 8) + 8, 8) and "8 x 1032 px" in repr(shown)
