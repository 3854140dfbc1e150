r"""Real and synthetic fields of the same tissue and stain, to ask "real or synthetic?" about.

A rater can tell two sources apart by anything in which they differ, so all but being real is made equal:

- *tissue*: each synthetic field is painted under the mask of a real one, turned and mirrored, in its growth pattern.
  Then each field is matched with one of the other kind whose brightness, contrast, redness and share of glass are close
  to its own (`match_fields`): small synthetic fields with one of several real tiles, large real fields with one of
  `CANDIDATES` paintings of every mask, and both with one of the published patches;
- *stain*: every source, the model included, is normalised from what its own fields show to one target (`stain`);
- *frame*: all fields are cut to one size at random offsets, so that no camera, codec or decoder grid stays aligned with
  the border, and no border of the model's canvas is seen;
- *resampling, blur and codec*: one `pictures.Processing` for every picture, whatever its source. Nothing is done to one
  side alone: a blur of the real half empties the top of its spectrum, and that is a mark as good as a stamp.

There are three arms: real fields; fields painted by the model of this course; and patches that the paper's authors
published of theirs, a second model, which is counted apart. Large real fields are the eight patches of the paper's
repository and fields of the slide HE2 of `lung-scc-atlas`, on which nothing was trained. Larger fields of other organs
are not used: their tissue would give them away.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..data import catalog, stain
from ..data.annotate import annotate
from ..data.mask_files import read_mask
from ..data.pictures import read_rgb
from ..data.tiles import to_rgb
from ..labels import CONTEXTS
from ..pipelines.generate import generate
from .pictures import PROCESSING, SIDES, Field, Processing, low_level_features

MARGIN, EDGE = 16, 4  # px that a painted canvas is larger; px of its border that are never shown
MODEL = "the model of this course"
PUBLISHED = "the model of the paper's authors"
SLIDE = "the embedded slide"
LUNG_SETS = ("lc25000-lung", "diffinfinite-lung", "lung-scc-atlas")  # what `lung_fields` needs
MATCHED = slice(0, 4)  # of `pictures.FEATURES`: brightness, contrast, redness, glass
MAX_GLASS = 0.5  # share of a field of the embedded slide
SLIDE_LARGE = 8  # large fields that it has besides 18 small ones, however they are drawn
CANDIDATES = 3  # fields to choose from for each one wanted
MAX_SMALL, MAX_LARGE = 48, 24  # that the test clusters of all three growth patterns and the slide can give
ATLAS, TEST_SLIDE = "lung-scc-atlas", "HE2"
Progress = Callable[[Iterable, int], Iterable]
Job = tuple[str, str | None, np.ndarray | None]  # size, context, mask


def lung_fields(
    small: int = 18,
    large: int = 12,
    *,
    steps: int = 15,
    draft_steps: int | None = None,
    seed: int = 0,
    device: str | None = None,
    weights: str | Path | None = None,
    progress: Progress = lambda jobs, _: jobs,
) -> list[Field]:
    """Real lung fields of the catalog, and as many synthetic ones: half of them painted here, half of them published.

    Parameters
    ----------
    small, large : real fields of each size: LC25000 test tiles, one a cluster; the real DiffInfinite patches and fields
        of the slide HE2, half and half.
    steps : of DPM-Solver++.
    draft_steps : those of the draft, as many as `generate` takes by default.
    weights : folder of another checkpoint of this course's model than the shipped one.

    Returns
    -------
    list of 2 * (small + large) fields, not yet processed (`pictures.process`).

    Raises
    ------
    FileNotFoundError
        If the sets are not on this machine.
    ValueError
        If there are not so many real fields.
    """
    rng = np.random.default_rng(seed)
    _check_counts(small, large)
    published = {"small": small // 2, "large": large // 2}
    reals = _large_fields(large, rng)
    tiles = _test_tiles(rng, 1 + (1 + CANDIDATES) * -(-small // len(CONTEXTS)))
    jobs: list[Job] = []
    for _, mask in reals[published["large"] :]:
        jobs += CANDIDATES * [("large", None, mask)]
    for i in range(small - published["small"]):
        context = CONTEXTS[i % len(CONTEXTS)]
        jobs.append(("small", context, annotate(tiles[context].pop(), context)))
    pool = [Field(_cut(rgb, "small", rng), True, "lc25000-lung", context)
            for context, left in tiles.items() for rgb in left]  # fmt: skip
    painted = list(_painted(jobs, rng, (steps, draft_steps), device, progress, weights))
    patches = _published_patches(rng)
    fields = equalise_stain([*(field for field, _ in reals), *pool, *painted, *patches])
    return _three_arms(fields, published, rng)


def survey_fields(small: int = 18, large: int = 12, **settings: Any) -> list[Field]:
    """`lung_fields` where the public sets are here; else `slide_fields`, of which at most `SLIDE_LARGE` are large.

    Parameters
    ----------
    small, large : real fields of each size; there are as many synthetic ones
    settings : steps, draft_steps, seed, device and progress of both

    Warns
    -----
    UserWarning
        If there are fewer large fields than were wanted.
    """
    if all(map(catalog.available, LUNG_SETS)):
        return lung_fields(small, large, **settings)
    if large > SLIDE_LARGE:
        warnings.warn(
            f"expected {', '.join(LUNG_SETS)} for {large} large fields, but not all of them are here: the embedded "
            f"slide has {SLIDE_LARGE}",
            stacklevel=2,
        )
    return slide_fields(small, min(large, SLIDE_LARGE), **settings)


def slide_fields(
    small: int = 18,
    large: int = SLIDE_LARGE,
    *,
    steps: int = 15,
    draft_steps: int | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress = lambda jobs, _: jobs,
) -> list[Field]:
    """The same without any data set: real fields are cut from the one embedded slide, which is skin and not lung.

    Raises
    ------
    FileNotFoundError
        If the slide is not installed.
    ValueError
        If it has not so many fields of tissue.
    """
    rng = np.random.default_rng(seed)
    tile = catalog.embedded_sample()
    slide = to_rgb(tile.image)
    slide = stain.normalise(slide, stain.fit_profile([slide]))[rng.integers(1, 8) :, rng.integers(1, 8) :]
    free, real = np.ones(tuple(n // SIDES["small"] for n in slide.shape[:2]), bool), []
    for size, count in (("large", large), ("small", small)):
        cells = SIDES[size] // SIDES["small"]
        places = [(r, c) for r in range(0, free.shape[0] - cells + 1) for c in range(0, free.shape[1] - cells + 1)]
        for r, c in [places[i] for i in rng.permutation(len(places))]:
            top, left, side = SIDES["small"] * r, SIDES["small"] * c, SIDES[size]
            rgb = slide[top : top + side, left : left + side]
            place = free[r : r + cells, c : c + cells]
            if count and place.all() and low_level_features(rgb)[3] < MAX_GLASS:
                real.append(Field(rgb, True, SLIDE))
                count, place[:] = count - 1, False
        if count:
            raise ValueError(f"expected {count} more {size} fields of tissue than the embedded slide has")
    jobs = [(size, CONTEXTS[i % 3], None) for size, n in (("large", large), ("small", small)) for i in range(n)]
    return equalise_stain([*real, *_painted(jobs, rng, (steps, draft_steps), device, progress)])


def describe_fields(fields: Sequence[Field], processing: Processing = PROCESSING) -> list[str]:
    """Where the fields come from and what was done to them, in sentences for the page of the survey."""
    counts = {size: sum(f.size == size for f in fields) for size in SIDES}
    sizes = " and ".join(f"{counts[size]} {size} ones of {side} px" for size, side in SIDES.items() if counts[size])
    sentences = [f"{len(fields)} pictures, half of them real: {sizes}, all at about half a micrometre a pixel."]
    for origin in sorted({f.origin for f in fields if f.real}):
        if origin == SLIDE:
            sentences.append(
                "This page was built without the data sets. Its real pictures come from the one slide that is always "
                "installed (CMU-1 of the OpenSlide test data, CC0), and that is SKIN, while the model paints lung: the "
                "tissue gives the answer away, and a result says nothing about the model."
            )
        else:
            known = catalog.sets()[origin]
            sentences.append(f"Real, from {origin}: {known.title}. {known.citation}. Licence: {known.licence}.")
    made = {origin: sum(f.origin == origin for f in fields) for origin in (MODEL, PUBLISHED)}
    sentences.append("Synthetic: " + ", ".join(f"{n} of {origin}" for origin, n in made.items() if n) + ".")
    if made[PUBLISHED]:
        sentences.append(
            "Our pictures were painted under masks of real fields, turned and mirrored. Small real pictures were "
            "chosen from others, our large ones from three paintings of each mask, and the published ones from all "
            "that were published, so that real and synthetic ones are alike in brightness, contrast, redness and glass."
        )
    else:
        sentences.append("Synthetic pictures were painted under masks that the model drew from context prompts.")
    sentences.append(
        f"All sources were normalised to one stain and cut at random offsets. Then every picture, real or not, went "
        f"through the same: {processing.describe()}; the files have equal length and no metadata."
    )
    return sentences


def equalise_stain(fields: Sequence[Field]) -> list[Field]:
    """All fields in the target stain, each source from the profile of its own fields, in the order given."""
    profiles = {
        origin: stain.fit_profile([f.rgb for f in fields if f.origin == origin])
        for origin in {f.origin for f in fields}
    }
    return [replace(f, rgb=stain.normalise(f.rgb, profiles[f.origin])) for f in fields]


def match_fields(wanted: Sequence[Field], pool: Sequence[Field]) -> list[Field]:
    """For each field wanted another one out of a pool, of the same context and as close as possible in four features.

    Brightness, contrast, redness and glass are divided by their standard deviations. Of all ways to give each wanted
    field another one of the pool, that with the smallest sum of squared differences is taken.

    Raises
    ------
    ValueError
        If the pool has too few fields of a context.
    """
    chosen = []
    for context in sorted({f.context for f in wanted}):
        ours, theirs = ([f for f in fields if f.context == context] for fields in (wanted, pool))
        if len(ours) > len(theirs):
            raise ValueError(f"expected at least {len(ours)} fields of {context or 'any context'}, got {len(theirs)}")
        a, b = (np.array([low_level_features(f.rgb)[MATCHED] for f in fields]) for fields in (ours, theirs))
        scale = np.vstack([a, b]).std(axis=0) + 1e-9
        cost = (((a[:, None] - b) / scale) ** 2).sum(axis=-1)
        chosen += [theirs[j] for j in linear_sum_assignment(cost)[1]]
    return chosen


def _check_counts(small: int, large: int) -> None:
    if not (1 <= small <= MAX_SMALL and 1 <= large <= MAX_LARGE):
        limits = f"1 to {MAX_SMALL} small and 1 to {MAX_LARGE} large fields"
        raise ValueError(f"expected {limits}, got {small} and {large}")


def _three_arms(fields: Sequence[Field], published: dict[str, int], rng: np.random.Generator) -> list[Field]:
    """Of all fields those that are shown: each synthetic one has a real partner, and no field is used twice."""

    def those(size: str, origin: str | None = None) -> list[Field]:
        """Of a size, those of an origin, or all real ones."""
        return [f for f in fields if f.size == size and (f.real if origin is None else f.origin == origin)]

    count, large, ours = published["large"], those("large"), those("small", MODEL)
    chosen = [*large, *match_fields(large[:count], those("large", PUBLISHED)),
              *match_fields(large[count:], those("large", MODEL))]  # fmt: skip
    pool = those("small")
    partners = match_fields(ours, pool)
    left = [f for f in pool if all(f is not other for other in partners)]
    others = [left[i] for i in rng.permutation(len(left))[: published["small"]]]
    chosen += [*ours, *partners, *others]
    return [*chosen, *match_fields([replace(f, context="") for f in others], those("small", PUBLISHED))]


def _large_fields(count: int, rng: np.random.Generator) -> list[tuple[Field, np.ndarray]]:
    """Large real fields and their masks in random order: of the published patches and of the slide, half and half."""
    patches = catalog.select("diffinfinite-lung", kind="real image")
    root, profiles = catalog.locate("diffinfinite-lung"), stain.profiles()
    found = []
    for entry in [patches[i] for i in rng.permutation(len(patches))[: -(-count // 2)]]:
        rgb = stain.normalise(read_rgb(root / entry.file), profiles[entry.profile])
        found.append(
            (Field(_cut(rgb, "large", rng), True, entry.set), read_mask(root / entry.mask, int(entry.classes)))
        )
    for rgb in _slide_windows(count - len(found), SIDES["large"], rng):
        rgb = stain.normalise(rgb, profiles[ATLAS])
        found.append((Field(rgb, True, ATLAS), annotate(rgb, "squamous")))
    return [found[i] for i in rng.permutation(len(found))]


def _slide_windows(count: int, side: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Windows of tissue of `TEST_SLIDE`, uint8 (side, side, 3), stitched of its tiles; no two overlap."""
    root, slide = catalog.locate(ATLAS), next(s for s in catalog.slides(ATLAS) if s.name == TEST_SLIDE)
    tissue = {e.file for e in catalog.select(ATLAS, label="tissue")}
    starts = [(r, c) for r in range(0, slide.height - side, side) for c in range(0, slide.width - side, side)]
    windows = []
    for top, left in [starts[i] for i in rng.permutation(len(starts))]:
        if len(windows) == count:
            break
        rows, columns = (range(a // slide.tile, (a + side) // slide.tile + 1) for a in (top, left))
        names = {(r, c): f"{slide.name}/{c}_{r}.jpeg" for r in rows for c in columns}
        if not tissue.issuperset(names.values()):
            continue
        window = np.zeros((side, side, 3), np.uint8)
        for (r, c), name in names.items():
            tile = read_rgb(root / name)
            y, x = (n * slide.tile - slide.overlap * (n > 0) for n in (r, c))  # where the tile begins on the slide
            inside = [slice(max(o, 0), max(o, 0) + n) for o, n in ((y - top, tile.shape[0]), (x - left, tile.shape[1]))]
            target = window[inside[0], inside[1]]
            cut = tile[max(top - y, 0) :, max(left - x, 0) :][: target.shape[0], : target.shape[1]]
            target[: cut.shape[0], : cut.shape[1]] = cut
        if low_level_features(window)[3] < MAX_GLASS:
            windows.append(window)
    if len(windows) < count:
        raise ValueError(f"expected {count} windows of tissue on slide {slide.name}, got {len(windows)}")
    return windows


def _published_patches(rng: np.random.Generator) -> list[Field]:
    """Of every patch that the paper's authors published a large and a small field, from one half of them each."""
    rows, root, profiles = (
        catalog.select("diffinfinite-lung", kind="synthetic image"),
        catalog.locate("diffinfinite-lung"),
        stain.profiles(),
    )
    fields = []
    for i, place in enumerate(rng.permutation(len(rows))):
        rgb = stain.normalise(read_rgb(root / rows[place].file), profiles[rows[place].profile])
        fields.append(Field(_cut(rgb, ("small", "large")[i % 2], rng), False, PUBLISHED))
    return fields


def _test_tiles(rng: np.random.Generator, per_context: int) -> dict[str, list[np.ndarray]]:
    """LC25000 test tiles in random order, at most one a cluster and so many of a context."""
    name, profiles, tiles = "lc25000-lung", stain.profiles(), {context: [] for context in CONTEXTS}
    root, rows, seen = catalog.locate(name), catalog.select(name, "test"), set()
    for entry in [rows[i] for i in rng.permutation(len(rows))]:
        context = entry.context
        if entry.cluster not in seen and len(tiles[context]) < per_context:
            seen.add(entry.cluster)
            rgb = stain.normalise(read_rgb(root / entry.file), profiles[entry.profile])
            tiles[context].append(rgb)
    return tiles


def _painted(
    jobs: list[Job],
    rng: np.random.Generator,
    steps: tuple[int, int | None],
    device: str | None,
    progress: Progress,
    weights: str | Path | None = None,
) -> Iterator[Field]:
    """Synthetic fields for (size, context, mask of a real field or None: then the mask is generated, too).

    Parameters
    ----------
    steps : of the tissue, and of its draft
    """
    for size, context, mask in progress(jobs, len(jobs)):
        side = SIDES[size] + MARGIN
        if mask is not None:
            missing = [(0, max(0, side - n)) for n in mask.shape]  # a mask that is too small is mirrored at its border
            mask = np.pad(mask, missing, mode="symmetric")[:side, :side]
            mask = np.ascontiguousarray(np.rot90(mask, rng.integers(1, 4))[:, :: rng.choice([-1, 1])])
        pair = generate(context, mask, (side, side), steps=steps[0], draft_steps=steps[1], solver="dpm-solver++",
                        seed=int(rng.integers(2**32)), device=device, weights=weights)  # fmt: skip
        inner = pair.image[EDGE:-EDGE, EDGE:-EDGE]
        yield Field(_cut(inner, size, rng), False, MODEL, context or "")


def _cut(rgb: np.ndarray, size: str, rng: np.random.Generator) -> np.ndarray:
    """A field of the named size at a random offset."""
    top, left = (int(rng.integers(n - SIDES[size] + 1)) for n in rgb.shape[:2])
    return rgb[top : top + SIDES[size], left : left + SIDES[size]]
