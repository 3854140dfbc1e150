"""A pair's files at sizes that their formats do not take."""

import numpy as np
from PIL import Image

from diffinfinite_lite.pipelines.pair import WEBP_SIDE, Pair


def test_timesteps_of_a_long_canvas_fit_their_format(tmp_path):
    """The field's case 32: a canvas of more than 8 * 16,383 px, whose frames would be longer than a WebP may be."""
    levels = [np.full((1, WEBP_SIDE + 1), n) for n in (1, 0)]
    levels[0][0, 0] = 0
    Pair(np.zeros((8, 16, 3), np.uint8), np.zeros((8, 16), np.uint8), levels, {}).save(tmp_path / "out")
    with Image.open(tmp_path / "out" / "timesteps.webp") as picture:
        assert picture.size == (WEBP_SIDE // 2 + 1, 1) and picture.n_frames == 2
        first = np.asarray(picture.convert("L"))
    assert first[0, 0] == 0 and (first[0, 1:] == 127).all()
