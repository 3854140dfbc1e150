"""Pairs of pictures with one hidden change: a mask is edited in one place, and only that place is painted again.

`pipelines.edit.resynthesise` keeps all pixels that cannot have seen the change, bit for bit. So what differs between
the two pictures is known exactly, and no annotator had to look: the truth of a game, or of a test of change detection.

A change is a blob of one label in tissue of others, of the kinds in `KINDS`. Where it lies, how large and how round it
is follows from the seed. Not every edit can be seen: where the mean difference in the blob is below `VISIBLE`, another
place is tried, then another kind, and the most visible one is taken. Open spaces are white, which jumps at the eye:
they are half as wide, and never stand in for another kind. Necrosis is hidden where the model knows it, under the
context squamous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from ..labels import CELL_PX, CONTEXTS, LABELS
from ..pipelines.cautions import UNKNOWN_LABELS
from ..pipelines.edit import resynthesise
from ..pipelines.generate import generate
from ..pipelines.pair import Pair

CARCINOMA, NECROSIS, STROMA, AIR = (LABELS.index(name) for name in ("carcinoma", "necrosis", "stroma", "air"))
KINDS = {
    CARCINOMA: "an island of carcinoma",
    AIR: "a vessel or another open space",
    STROMA: "stroma",
    NECROSIS: "necrosis",
}  # what is hidden, in the order of the rounds
SIZE = (256, 384)  # px; two of them fit one above the other on a phone
LARGEST, SMALLEST = 40, 24  # px, mean radius of a blob in the first and in the last round
MARGIN = 16  # px around the blob that may adapt
VISIBLE = 18.0  # grey levels, mean difference in the blob
TWICE = 2  # changes to one picture
Progress = Callable[[Iterable, int], Iterable]


@dataclass(frozen=True)
class Difference:
    """Two pictures, uint8 (H, W, 3), that differ in one place, and their masks, uint8 (H, W).

    Attributes
    ----------
    label : what was painted into the place, one of `KINDS`.
    recomputed : share of the latents that was computed again.
    """

    before: np.ndarray
    after: np.ndarray
    mask: np.ndarray
    edited: np.ndarray
    label: int
    recomputed: float

    @cached_property
    def changed(self) -> np.ndarray:
        """Pixels that are not equal, bool (H, W): the blob, its margin, and what the decoder mixes with them."""
        return np.asarray((self.before != self.after).any(axis=-1))

    @cached_property
    def blob(self) -> np.ndarray:
        """Where the label was changed, bool (H, W)."""
        return self.mask != self.edited

    @property
    def visible(self) -> float:
        """Mean difference in the blob, grey levels: how much there is to see; 0 where no label was changed."""
        if not self.blob.any():
            return 0.0
        return float(np.abs(self.before.astype(int) - self.after).mean(axis=-1)[self.blob].mean())

    def describe(self) -> str:
        """What was hidden where, in words."""
        labels, counts = np.unique(self.mask[self.blob], return_counts=True)
        old = LABELS[labels[counts.argmax()]]
        odd = {LABELS[0]: "nothing was labelled", "others": "the label was others"}
        return f"{KINDS[self.label]}, where {odd.get(old, f'{old} was')}"


def make_differences(
    rounds: int = 10,
    *,
    size: tuple[int, int] = SIZE,
    steps: int = 12,
    draft_steps: int | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress = lambda jobs, _: jobs,
) -> list[Difference]:
    """Pairs with one hidden change each, from the easiest on: by how much differs, and how large it is.

    Parameters
    ----------
    rounds : how many; two rounds share a picture and hide their changes in different places.
    size : (H, W) in px, multiples of 8 from 128.
    steps : of DPM-Solver++.
    draft_steps : those of the draft, as many as `generate` takes by default.
    seed : of pictures and changes: the same seed makes the same rounds.
    device : "cpu", "cuda", ...; a GPU is used where torch sees one.
    progress : wraps the numbers of the rounds, for example ``lambda jobs, n: tqdm(jobs, total=n)``.

    Raises
    ------
    ValueError
        If there are to be no rounds, or the size is too small to hide anything in.
    """
    if rounds < 1:
        raise ValueError(f"expected at least one round, got {rounds}")
    if min(size) < 128:
        raise ValueError(f"expected pictures of at least 128 px a side, got {size[0]} x {size[1]}")
    made: list[Difference] = []
    taken = np.zeros(size, bool)  # of the present picture, by an earlier change
    how = {"steps": steps, "draft_steps": draft_steps, "solver": "dpm-solver++", "device": device}
    for number in progress(range(rounds), rounds):
        rng = np.random.default_rng([seed, number])
        if number % TWICE == 0:
            context = CONTEXTS[number // TWICE % len(CONTEXTS)]
            pair = generate(context, size=size, seed=seed + number, **how)
            taken = np.zeros(size, bool)
        kinds = known_kinds(context)
        wanted = kinds[number % len(kinds)]
        other = int(rng.choice([kind for kind in kinds if kind not in (wanted, AIR)]))
        radius = min(LARGEST + (SMALLEST - LARGEST) * number / max(rounds - 1, 1), min(size) / 5)
        made.append(_change(pair, (wanted, wanted, other), radius, taken, rng, device))
        taken |= made[-1].blob
    return sorted(made, key=lambda d: -d.visible * d.blob.sum() ** 0.5)


def known_kinds(context: str) -> list[int]:
    """Labels of `KINDS` that the shipped model knows how to paint under a context.

    >>> [LABELS[kind] for kind in known_kinds("normal")]
    ['carcinoma', 'air', 'stroma']
    >>> NECROSIS in known_kinds("squamous")
    True
    """
    return [kind for kind in KINDS if (context, LABELS[kind]) not in UNKNOWN_LABELS]


def draw_blob(mask: np.ndarray, label: int, radius: float, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A blob, bool (H, W), away from the border, from pixels of the label and from places taken.

    It lies in labelled tissue where that has room for it: an edit of what nobody has labelled shows little.

    Parameters
    ----------
    mask : uint8 (H, W).
    radius : px, mean; the outline wavers by a quarter of it.
    taken : bool (H, W).

    >>> mask = np.full((128, 128), 1, np.uint8)
    >>> blob = draw_blob(mask, 4, 20, np.zeros(mask.shape, bool), np.random.default_rng(0))
    >>> bool(0.6 < blob.sum() / (np.pi * 20**2) < 1.5)
    True
    """
    allowed = (mask != label) & ~taken
    for free in (allowed & (mask != 0), allowed):
        depth = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1]
        if depth.max() >= radius / 2:
            break
    good = np.argwhere(depth >= min(depth.max(), 1.25 * radius))
    top, left = good[rng.integers(len(good))]
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    angle = np.arctan2(rows - top, columns - left)
    waves = sum(rng.normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    outline = radius * (1 + 0.25 * np.clip(waves / 1.5, -1, 1))
    return np.asarray((np.hypot(rows - top, columns - left) < outline) & allowed)


def _change(
    pair: Pair, kinds: Sequence[int], radius: float, taken: np.ndarray, rng: np.random.Generator, device: str | None
) -> Difference:
    """The first of some kinds of change that is `VISIBLE`, or else the most visible one."""
    found: list[Difference] = []
    for label in kinds:
        blob = draw_blob(pair.mask, label, radius / 2 if label == AIR else radius, taken, rng)
        edited = np.where(blob, label, pair.mask).astype(np.uint8)
        again = resynthesise(pair, edited, margin=MARGIN, device=device)
        found.append(Difference(pair.image, again.image, pair.mask, edited, label, again.run["recomputed"]))
        if found[-1].visible >= VISIBLE:
            break
    return max(found, key=lambda d: d.visible)


def cells(region: np.ndarray) -> np.ndarray:
    """Squares of `CELL_PX` that hold any of a region (H, W), as bool (H / 8, W / 8)."""
    height, width = (n // CELL_PX for n in region.shape)
    return np.asarray(region.reshape(height, CELL_PX, width, CELL_PX).any(axis=(1, 3)))
