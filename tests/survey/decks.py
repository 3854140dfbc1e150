"""A deck of grey noise for tests of the live service, and raters who answer it."""

from functools import cache
from hashlib import sha256

import numpy as np

from diffinfinite_lite.data.encoding import encode
from diffinfinite_lite.survey.deck import Deck
from diffinfinite_lite.survey.pictures import SIDES, Item

ABOUT, LEAD = ("Grey noise, made up for this test.",), "Nothing tells these pictures apart."


@cache
def small_deck(count=12):
    """So many pictures, every second one real, every third one large, under names in the order of `make_items`."""
    items = []
    for i in range(count):
        size = "large" if i % 3 == 2 else "small"
        rgb = np.random.default_rng(i).integers(0, 256, (SIDES[size], SIDES[size], 1), np.uint8).repeat(3, axis=2)
        data = encode(rgb[::16, ::16].copy(), "jpeg")
        items.append(
            Item(
                f"p{sha256(data).hexdigest()[:11]}",
                size,
                bool(i % 2),
                "our-camera" if i % 2 else "our-network",
                data,
                len(data),
            )
        )
    return Deck(tuple(sorted(items, key=lambda item: item.name)), ABOUT, LEAD)


def truths(store):
    """The truth by the names that participants see."""
    return {store.opaque(item.name): "real" if item.real else "synthetic" for item in store.deck.items}
