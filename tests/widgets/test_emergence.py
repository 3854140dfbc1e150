"""A picture while it comes about, as the chapters' player shows it."""

import numpy as np

from diffinfinite_lite.pipelines.generate import generate
from diffinfinite_lite.widgets.emergence import emerging
from diffinfinite_lite.widgets.player import player

MASK = np.repeat([[1], [3]], 48, axis=0).repeat(96, axis=1).astype(np.uint8)


def test_from_noise_to_the_picture_that_generate_paints(tiny_weights):
    settings = {"plan": "random-patch", "steps": 3, "seed": 2, "weights": str(tiny_weights), "device": "cpu"}
    frames, pictures = emerging("squamous", MASK, **settings)
    assert len(pictures) == 4 and {picture.pixels.shape for picture in pictures} == {(96, 96, 3)}
    assert frames[0].min() == frames[0].max() == 3 and frames[-1].max() == 0
    assert all(np.ptp(frame) <= 1 for frame in frames)
    levels = [int(frame.max()) for frame in frames]
    assert levels == sorted(levels, reverse=True) and set(levels) == {3, 2, 1, 0}
    whole = generate("squamous", MASK, **settings).image.astype(int)
    assert np.abs(pictures[-1].pixels - whole).max() <= 1
    assert player(frames, pictures, name="e", title="Toy").count("data-step") == 1 + len(pictures)
