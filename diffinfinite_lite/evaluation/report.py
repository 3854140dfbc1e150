r"""Report card: every number beside the same number for real tiles, and pictures to look at.

For a metric T between real R and synthetic S the card gives T(R, S) with an interval and, at one smaller
size n,

.. math:: \text{matched} = \overline{T(R_A, S_n)}, \quad \text{real} = \overline{T(R_A, R_B)},

means over random halves A, B of R. `real` is what a perfect model would score, `matched` what this one
scores under the same conditions; only these two compare. Features are standardised on R. A second extractor,
which the model was not trained on, is reported beside the first. The inception score needs a network with
classes, and so does not come with handcrafted features. What the pictures themselves say comes last. `evaluate`
measures tiles, `evaluate_run` a generated canvas, `write_report` writes JSON and one HTML page. Which numbers there are
is registered in `metrics.registry`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from ..data.tiles import to_tensor
from ..files import check_folder, move, staged
from ..metrics import fidelity, resampling
from ..metrics.features import (
    Cached,
    FeatureExtractor,
    HandcraftedFeatures,
    Standardiser,
    class_probabilities,
    efficientnet_features,
)
from ..metrics.privacy import COPYING, neighbours
from ..pipelines.pair import Pair
from .inputs import Sources, TileSet, cut_canvas, painted_canvas, read_run, read_tiles
from .page import page
from .rows import (
    MIN_SAMPLES,
    SPACE,
    Draws,
    against_real,
    against_training,
    beside_held_out,
    of_canvas,
    over_pictures,
    rows_on,
)

RESULTS = ("report.json", "report.html")
NAMED = 5  # tiles that a sentence on many of them names
SMALL_SET = 1000  # tiles, under which the bias of the Fréchet distance is large
Tiles = TileSet | Sequence[Tensor]


def evaluate(
    real: Tiles,
    synthetic: Tiles,
    train: Tiles | None = None,
    extractors: Sequence[FeatureExtractor] | None = None,
    *,
    generator: np.random.Generator,
    repeats: int = 50,
) -> dict:
    """Measure synthetic tiles against real ones.

    Parameters
    ----------
    real, synthetic : at least 12 tiles each, all of one size: images (3, H, W) in [-1, 1], or an `inputs.TileSet`,
        which may have masks and clusters as well
    train : what the model was trained on; without it memorisation cannot be measured
    extractors : EfficientNet-Lite0 and handcrafted features by default; pictures and pairs are those of the first
    generator : for splits, resampling and k-means
    repeats : of the resampling behind the intervals

    Returns
    -------
    what `json.dump` takes: ``counts``, ``size``, ``rows`` (one per number, see `rows`), ``nearest`` (synthetic and
    train index, closest first), ``sketch`` (first two principal components), ``notes`` (sentences on what could not be
    measured or compared)

    Raises
    ------
    ValueError : too few images, bad or mixed ones, train and real sharing a cluster or a picture. Without clusters of
        both only tiles with identical features are found.
    """
    real, synthetic = TileSet.of(real), TileSet.of(synthetic)
    train = TileSet.of(train) if train is not None and len(train) else None
    size = _checked(real, synthetic, train)
    counts = _counts(real, synthetic, train)
    result = {"counts": counts, "size": list(size), "rows": [], "nearest": [], "notes": []}
    draws, notes = Draws(generator, repeats), result["notes"]
    extractors = extractors or (efficientnet_features(), HandcraftedFeatures())
    for extractor in dict(zip((each.name for each in extractors), extractors, strict=True)).values():
        sets = _standardised(extractor, real, synthetic, train, notes)
        result["rows"] += _feature_rows(extractor, sets, real, synthetic, draws, notes)
        if "sketch" not in result:
            result["sketch"] = sketch(*sets[:2])
            result["nearest"] = nearest(*sets[1:]) if train is not None else []
    result["rows"] += rows_on(
        "tile", SPACE, partial(over_pictures, real=real.images, synthetic=synthetic.images, draws=draws), notes
    )
    if synthetic.masks:
        result["rows"] += _mask_rows(real, synthetic.masks, draws, notes)
    notes += _cautions(real, synthetic, train)
    return result


def evaluate_run(
    pair: Pair,
    real: Tiles | None = None,
    train: Tiles | None = None,
    extractors: Sequence[FeatureExtractor] | None = None,
    *,
    generator: np.random.Generator,
    repeats: int = 50,
) -> tuple[dict, list[Tensor]]:
    """Measure one generated canvas: its seams and its long range always, its tiles where there are real ones.

    Parameters
    ----------
    pair : of `inputs.read_run`
    real : held-out tiles; the canvas is cut to tiles of their size
    train, extractors, generator, repeats : as in `evaluate`

    Returns
    -------
    result as of `evaluate`, with ``run``, and without ``sketch`` where fidelity was not measured; the cut tiles
    """
    real = TileSet.of(real) if real is not None else None
    tiles = []
    if real is not None:
        tiles = [to_tensor(tile) for tile in cut_canvas(pair.image, tuple(real.images[0].shape[-2:]))]
    if len(tiles) >= MIN_SAMPLES:
        result = evaluate(real, tiles, train, extractors, generator=generator, repeats=repeats)
    else:
        need = "no real tiles were given"
        if real is not None:
            need = f"the canvas gives {len(tiles)} tiles of their size, at least {MIN_SAMPLES} are needed"
        notes = [f"Fidelity and memorisation were not measured: {need}."]
        size, tiles = list(pair.image.shape[:2]), []
        result = {"counts": _counts(real, tiles, train), "size": size, "rows": [], "nearest": [], "notes": notes}
    measure = partial(of_canvas, canvas=painted_canvas(pair))
    result["rows"] += rows_on("canvas", SPACE, measure, result["notes"])
    result["rows"] += _mask_rows(real, [pair.mask], Draws(generator, repeats), result["notes"])
    keys = ("context", "size", "plan", "solver", "steps", "omega", "seed", "patch")
    result["run"] = {key: pair.run[key] for key in keys if key in pair.run}
    return result, tiles


def measure_files(
    sources: Sources, extractor: FeatureExtractor | None = None, *, cache: Path | None = None, seed: int = 0
) -> tuple[dict, dict]:
    """Measure two folders of tiles, or the canvas that a ``run.json`` belongs to.

    Parameters
    ----------
    sources : where the pictures lie
    extractor : EfficientNet-Lite0 by default; handcrafted features are reported beside it
    cache : folder that stores features by content hash

    Returns
    -------
    result of `evaluate` or `evaluate_run`; what `write_report` shows beside it, by name

    Raises
    ------
    ValueError : folders as in `read_tiles`, a run as in `read_run`, images as in `evaluate`.
    """
    pair = read_run(sources.run) if sources.run is not None else None
    extractors = [extractor or efficientnet_features(), HandcraftedFeatures()]
    if cache is not None:
        extractors = [Cached(each, cache) for each in extractors]
    folders = {"real": sources.real, "synthetic": sources.synthetic, "train": sources.train}
    sets = {role: None if folder is None else read_tiles(folder, role) for role, folder in folders.items()}
    shown = {role: tiles and tiles.images for role, tiles in sets.items()}
    generator = np.random.default_rng(seed)
    if pair is None:
        result = evaluate(*sets.values(), extractors, generator=generator)
    else:
        result, shown["synthetic"] = evaluate_run(pair, sets["real"], sets["train"], extractors, generator=generator)
        shown["pair"] = pair
    result["notes"] = [note for tiles in sets.values() if tiles for note in tiles.notes] + result["notes"]
    return result, shown


def copies(result: Mapping) -> list[str]:
    """Sentences where numbers say that training tiles were copied, for the terminal; empty where none does.

    These are C_T below -3, and A whose interval ends below the A of held-out real tiles.

    Parameters
    ----------
    result : of `evaluate` or `evaluate_run`

    >>> row = {"name": "A", "features": "Handcrafted", "value": 0.1, "high": 0.2, "real": 0.4}
    >>> copies({"rows": [row]})
    ['copies: on Handcrafted 90% of the synthetic tiles are nearly training tiles, of held-out real ones 60% (A)']
    """
    found = []
    for row in result["rows"]:
        if row["name"] == "C_T" and row["value"] < COPYING:
            found.append(
                f"copies: on {row['features']} the synthetic tiles are nearer to the training tiles than held-out real "
                f"ones (C_T = {row['value']:.1f})"
            )
        if row["name"] == "A" and None not in (row["high"], row["real"]) and row["high"] < row["real"]:
            found.append(
                f"copies: on {row['features']} {1 - row['value']:.0%} of the synthetic tiles are nearly training "
                f"tiles, of held-out real ones {1 - row['real']:.0%} (A)"
            )
    return found


def failures(result: Mapping, limits: Mapping[str, tuple[float | None, float | None]]) -> list[str]:
    """Sentences on the numbers outside their limits, for an exit code; empty if all hold.

    Parameters
    ----------
    result : of `evaluate`
    limits : name of a row -> (lowest, highest) value allowed, None for no limit; judged on every extractor

    Raises
    ------
    ValueError : a name that the report does not have.

    >>> row = {"name": "C_T", "features": "Handcrafted", "value": -9.0}
    >>> failures({"rows": [row]}, {"C_T": (-3, None)})
    ['C_T on Handcrafted is -9, expected at least -3']
    """
    missing = set(limits) - {row["name"] for row in result["rows"]}
    if missing:
        raise ValueError(f"expected names of measured numbers, got {', '.join(sorted(missing))}")
    found = []
    for row in result["rows"]:
        low, high = limits.get(row["name"], (None, None))
        for bound, word, broken in ((low, "least", np.less), (high, "most", np.greater)):
            if bound is not None and broken(row["value"], bound):
                found.append(
                    f"{row['name']} on {row['features']} is {row['value']:.3g}, expected at {word} {bound:.3g}"
                )
    return found


def write_report(
    result: Mapping,
    folder: str | Path,
    real: Sequence[Tensor],
    synthetic: Sequence[Tensor],
    train: Sequence[Tensor] | None = None,
    title: str = "Report card",
    pair: Pair | None = None,
) -> Path:
    """Write ``report.json`` and ``report.html``, one page with its pictures inside; returns the page's path.

    Parameters
    ----------
    result : of `evaluate` or `evaluate_run` on these images
    folder : made if it is missing; an earlier report in it is replaced when the new one is complete
    pair : the canvas of `evaluate_run`
    """
    check_folder(folder, RESULTS)
    folder = Path(folder)
    text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    with staged(folder, "a report") as place:
        (place / "report.json").write_text(text, encoding="utf-8")
        (place / "report.html").write_text(page(result, real, synthetic, train, title, pair), encoding="utf-8")
        move(place, folder, RESULTS)
    return folder / "report.html"


def nearest(synthetic: np.ndarray, train: np.ndarray, count: int = 6) -> list[dict]:
    """The synthetic tiles nearest to a training tile by their features, closest first."""
    distance, index = (found[:, 0] for found in neighbours(train).kneighbors(synthetic))
    order = np.argsort(distance, kind="stable")[:count]
    return [{"synthetic": int(i), "train": int(index[i]), "distance": round(float(distance[i]), 4)} for i in order]


def sketch(real: np.ndarray, synthetic: np.ndarray, limit: int = 400, k: int = 3) -> dict:
    """First two principal components of real, and who lies on the other's manifold (eq. 10) in all dimensions.

    Returns
    -------
    ``real``, ``synthetic``: at most `limit` points of each set; ``on_synthetic``, ``on_real``: a truth value for each
    of them; ``k`` and ``dimensions``
    """
    axes = np.linalg.svd(real - real.mean(0), full_matrices=False)[2][:2]
    shown = {"k": k, "dimensions": real.shape[1]}
    for name, other, points, centres in (
        ("real", "on_synthetic", real, synthetic),
        ("synthetic", "on_real", synthetic, real),
    ):
        points = points[:limit]
        radius = fidelity.radii(centres, k)
        inside = [(block <= radius).any(1) for block in fidelity.distances(points, centres)]
        shown[name] = np.round((points - real.mean(0)) @ axes.T, 3).tolist()
        shown[other] = np.concatenate(inside).tolist()
    return shown


def _checked(real: TileSet, synthetic: TileSet, train: TileSet | None) -> tuple[int, int]:
    """The size of all images, if there are enough of them and no cluster is in real and train."""
    for name, tiles in (("real", real), ("synthetic", synthetic)):
        if len(tiles) < MIN_SAMPLES:
            raise ValueError(f"expected at least {MIN_SAMPLES} {name} images, got {len(tiles)}")
    if train is not None and len(train) == 1:
        raise ValueError("expected at least 2 train images, got 1")
    shared = set(real.clusters or ()) & set(train.clusters or ()) if train is not None else ()
    if shared:
        which = _listed(f"{cluster} ({_first_of(cluster, real)})" for cluster in sorted(shared))
        expected = "expected real tiles of other clusters than train"
        raise ValueError(f"{expected}, got {len(shared)} in both, a leak: {which}")
    sizes = {tuple(tiles.images[0].shape[-2:]) for tiles in (real, synthetic, train) if tiles is not None}
    if len(sizes) > 1:
        raise ValueError(f"expected real, synthetic and train images of one size, got {sorted(sizes)}")
    return sizes.pop()


def _standardised(
    extractor: FeatureExtractor, real: TileSet, synthetic: TileSet, train: TileSet | None, notes: list[str]
) -> list[np.ndarray]:
    """Features of real, synthetic and, where there are some, training tiles, in units of real ones.

    Raises
    ------
    ValueError : features that are not finite, or real tiles among the training tiles.
    """
    sets = {"real": real, "synthetic": synthetic} | ({"train": train} if train is not None else {})
    features = {role: extractor(tiles.images) for role, tiles in sets.items()}
    resampling.check(1, **features)
    scaled = [Standardiser.fit(features["real"])(x) for x in features.values()]
    for role, x in zip(("real", "synthetic", "training"), scaled, strict=False):
        if not np.ptp(x, axis=0).any():
            same = f"All {role} tiles have the same features on {extractor.name}"
            notes.append(f"{same}: no distance means anything here.")
    if copies := _identical(scaled[1], scaled[0]):  # a perfect score by copying what it is judged by
        tiles = "synthetic tile has" if len(copies) == 1 else "synthetic tiles have"
        which = _listed(f"{synthetic.name(i)} (real: {real.name(j)})" for i, j in copies)
        notes.append(f"{len(copies)} {tiles} the same features as a real one ({extractor.name}): {which}.")
    if train is not None and (leaked := _identical(scaled[0], scaled[2])):
        which = _listed(f"{real.name(i)} (in train: {train.name(j)})" for i, j in leaked)
        raise ValueError(f"expected real tiles that are not in train, got {len(leaked)} that are, a leak: {which}")
    return scaled


def _identical(tiles: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """Which tiles have, up to rounding, the features of one of the others, and of which."""
    distance, index = (found[:, 0] for found in neighbours(others).kneighbors(tiles))
    return [(int(i), int(index[i])) for i in np.flatnonzero(distance < 1e-6)]


def _first_of(cluster: str, tiles: TileSet) -> str:
    """The name of a cluster's first tile."""
    return tiles.name(list(tiles.clusters or ()).index(cluster))


def _listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are.

    >>> _listed("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _feature_rows(
    extractor: FeatureExtractor,
    sets: Sequence[np.ndarray],
    real: TileSet,
    synthetic: TileSet,
    draws: Draws,
    notes: list[str],
) -> list[dict]:
    """All rows on the features of one extractor: `sets` of real, synthetic and perhaps training tiles."""
    name, given = extractor.name, {"real": sets[0], "synthetic": sets[1], "draws": draws}
    rows = rows_on("features", name, partial(against_real, **given), notes)
    if classes := class_probabilities(extractor):
        seen = {"real": classes(real.images), "synthetic": classes(synthetic.images)}
        rows += rows_on("classes", name, partial(against_real, **seen, draws=draws), notes)
    if len(sets) == 3:
        given["train"] = sets[2]
        rows += rows_on("training", name, partial(against_training, **given), notes)
        rows += rows_on("held-out", name, partial(beside_held_out, **given, notes=notes, on=name), notes)
    return rows


def _mask_rows(real: TileSet | None, masks: Sequence[np.ndarray], draws: Draws, notes: list[str]) -> list[dict]:
    measure = partial(over_pictures, real=real.masks if real is not None else None, synthetic=masks, draws=draws)
    return rows_on("mask", SPACE, measure, notes)


def _cautions(real: TileSet, synthetic: TileSet, train: TileSet | None) -> list[str]:
    """Sentences on what could not be measured or compared with these sets."""
    notes = []
    if train is None:
        notes.append("No training tiles were given: memorisation (A, C_T) was not measured.")
    elif not (real.clusters and train.clusters):
        notes.append(
            "Clusters were not given: a leak between real and train was looked for among identical features only."
        )
    if min(len(real), len(synthetic)) < SMALL_SET:
        notes.append("Under 1,000 tiles FD is biased upward: compare Matched with Real, and equal counts only.")
    return notes


def _counts(*sets: TileSet | Sequence | None) -> dict[str, int]:
    names = ("real", "synthetic", "train")
    return {name: 0 if tiles is None else len(tiles) for name, tiles in zip(names, sets, strict=True)}
