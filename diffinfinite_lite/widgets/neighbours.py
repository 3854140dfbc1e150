"""Where generated pictures lie among the training tiles, and which tile is nearest to each.

Distances are between standardised features (`metrics.features`), the plane is that of their two largest principal
components. Training tiles are third-party pictures, so that they are there only where their set is on this machine
(``DIFFINFINITE_DATA``); without them the pictures are laid out by themselves, and a sentence says so.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import catalog
from ..data.encoding import data_uri, encode
from ..data.tiles import Tile, to_rgb, to_tensor
from ..extras import extra
from ..metrics.features import Standardiser, efficientnet_features
from ..metrics.privacy import neighbours
from .jobs import Job

with extra("evaluate"):
    from sklearn.decomposition import PCA

SET = "lc25000-lung"  # whose training tiles show one context each
AT_ONCE = 16  # tiles between two looks at whether to stop
THUMB = 112  # px
FEWEST = 3  # pictures that make a plane


@dataclass(frozen=True)
class Picked:
    """A picture of a session: its name, and its pixels uint8 (H, W, 3)."""

    name: str
    image: np.ndarray


@dataclass(frozen=True)
class Training:
    """Training tiles of a context: small pictures, where they come from, and their features (N, D)."""

    thumbs: list[np.ndarray]
    names: list[str]
    licence: str
    features: np.ndarray


_training: dict[str, Training] = {}
_lock = threading.Lock()


def survey(job: Job, pictures: Sequence[Picked], context: str) -> dict:
    """Pictures and training tiles in a plane, and the nearest tile of each picture, as the page shows them.

    Raises
    ------
    ValueError
        If there are too few pictures.
    """
    if len(pictures) < FEWEST:
        raise ValueError(f"expected at least {FEWEST} pictures, got {len(pictures)}: a contact sheet makes twelve")
    training = training_tiles(job, context)
    extractor = efficientnet_features()
    rows = [extractor([to_tensor(picked.image)])[0] for picked in job.follow(pictures, len(pictures), "features")]
    features = np.stack(rows)
    reference = features if training is None else training.features
    standardise = Standardiser.fit(reference)
    plane = PCA(2).fit(standardise(reference))
    found = {
        "names": [picked.name for picked in pictures],
        "images": [_thumb(_centre(picked.image)) for picked in pictures],
        "places": plane.transform(standardise(features)).round(3).tolist(),
        "training": [],
        "nearest": [],
        "note": f"The training tiles are not on this machine: DIFFINFINITE_DATA names a folder that holds {SET}.",
    }
    if training is None:
        return found
    distance, index = neighbours(standardise(training.features)).kneighbors(standardise(features))
    places = plane.transform(standardise(training.features)).round(3)
    found["training"] = places.tolist()
    found["nearest"] = [
        {
            "name": training.names[i],
            "image": _thumb(training.thumbs[i]),
            "distance": round(float(d), 2),
            "place": places[i].tolist(),
        }
        for d, i in zip(distance[:, 0], index[:, 0], strict=True)
    ]
    what = f"Nearest of {len(training.names)} training tiles of {context}, one of each group of near-duplicates"
    found["note"] = f"{what}. {SET}: {training.licence}."
    return found


def training_tiles(job: Job, context: str) -> Training | None:
    """The training tiles of a context with their features, computed once a server; None where they are not here."""
    with _lock:
        known = _training.get(context)
    if known or not catalog.available(SET, "train"):
        return known
    label = next(entry.label for entry in catalog.select(SET, "train") if entry.context == context)
    count = len({entry.cluster for entry in catalog.select(SET, "train", label)})
    tiles = catalog.load(SET, "train", label, normalised=True, one_per_cluster=True)
    extractor, some = efficientnet_features(), list[Tile]()
    thumbs, names, features, licence = list[np.ndarray](), list[str](), list[np.ndarray](), ""
    for tile in job.follow(tiles, count, "training tiles"):
        some.append(tile)
        licence = tile.licence
        if len(some) == AT_ONCE or len(names) + len(some) == count:
            features.append(extractor([one.image for one in some]))
            thumbs += [_centre(to_rgb(one.image))[::2, ::2] for one in some]
            names += [one.name for one in some]
            some = []
    made = Training(thumbs, names, licence, np.concatenate(features))
    with _lock:
        _training[context] = made
    return made


def _centre(image: np.ndarray, side: int = 2 * THUMB) -> np.ndarray:
    """The middle of a picture, at most so many px a side."""
    top, left = (max((n - side) // 2, 0) for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def _thumb(image: np.ndarray) -> str:
    return data_uri(encode(image, "jpeg", quality=85), "jpeg")
