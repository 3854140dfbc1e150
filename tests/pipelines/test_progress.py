"""Progress: every part of the work is counted to its end, and whoever counts may stop the run in any of them."""

import numpy as np
import pytest

from diffinfinite_lite import generate
from diffinfinite_lite.pipelines.masks import STEPS
from diffinfinite_lite.pipelines.progress import PARTS

OPTIONS = {"size": (64, 72), "steps": 3, "device": "cpu"}


class Stopped(Exception):
    pass


def test_every_part_is_counted_to_its_end(tiny_weights):
    seen = []
    watched = lambda items, total, part: (seen.append((part, total)) or item for item in items)  # noqa: E731
    pair = generate("normal", weights=tiny_weights, progress=watched, **OPTIONS)
    assert seen == [("mask", STEPS)] * STEPS + [("sampling", 3)] * 3 + [("decoding", 1)]
    assert np.array_equal(generate("normal", weights=tiny_weights, **OPTIONS).image, pair.image)
    assert set(dict(seen)) == set(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_a_run_can_be_stopped_in_any_part(part, tiny_weights):
    """The field's case 12: masks and decoding went on after Cancel."""

    def watched(items, total, name):
        for item in items:
            if name == part:
                raise Stopped
            yield item

    with pytest.raises(Stopped):
        generate("normal", weights=tiny_weights, progress=watched, **OPTIONS)
