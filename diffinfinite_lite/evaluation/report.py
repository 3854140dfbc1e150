r"""Report card: every number beside the same number for real tiles, and the pictures it speaks of.

For a metric T between real R and synthetic S the card gives T(R, S) with an interval and, at one smaller
size n,

.. math:: \text{matched} = \overline{T(R_A, S_n)}, \quad \text{real} = \overline{T(R_A, R_B)},

means over random halves A, B of R. `real` is what a perfect model would score, `matched` what this one
scores under the same conditions; only these two compare. Features are standardised on R. A second extractor,
which the model was not trained on, is reported beside the first. The inception score needs a network with
classes, and so does not come with handcrafted features. Rows of `spatial_rows` follow. `evaluate` measures
tiles, `evaluate_run` a generated canvas, `write_report` writes JSON and one HTML page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ..data.tiles import to_tensor
from ..metrics import privacy, resampling
from ..metrics.extractors import extractor as named_extractor
from ..metrics.features import Cached, FeatureExtractor, HandcraftedFeatures, Standardiser, efficientnet_features
from ..pipelines.pair import Pair
from .inputs import cut_canvas, read_run, read_tiles
from .page import page
from .rows import class_probabilities, fidelity_rows, inception_row, nearest, privacy_rows, sketch
from .spatial_rows import canvas_rows, mask_rows, tile_rows

FEWEST = 12


def evaluate(
    real: Sequence[Tensor],
    synthetic: Sequence[Tensor],
    train: Sequence[Tensor] | None = None,
    extractor: FeatureExtractor | None = None,
    *,
    generator: np.random.Generator,
    control: FeatureExtractor | None = None,
    real_clusters: Sequence[str] | None = None,
    train_clusters: Sequence[str] | None = None,
    real_masks: Sequence[np.ndarray] | None = None,
    synthetic_masks: Sequence[np.ndarray] | None = None,
    repeats: int = 50,
) -> dict:
    """Measure synthetic tiles against real ones.

    Parameters
    ----------
    real : held-out images (3, H, W) in [-1, 1], at least 12
    synthetic : images of the same size, at least 12
    train : what the model was trained on; without it memorisation cannot be measured
    extractor, control : EfficientNet-Lite0 and handcrafted features by default
    generator : for splits, resampling and k-means
    real_clusters, train_clusters : cluster or patient of each tile, to refuse a leak; without both of them only tiles
        with identical features are found
    real_masks, synthetic_masks : integer masks (H, W) of labels 0 to 4, where there are some
    repeats : of the resampling behind the intervals

    Returns
    -------
    what `json.dump` takes: ``counts``, ``size``, ``rows`` (one per number: name, features, value, low, high,
    matched, real, better, about), ``nearest`` (synthetic and train index, closest first), ``sketch`` (first
    two principal components), ``notes`` (sentences on what could not be measured or compared)

    Raises
    ------
    ValueError : too few images, bad or mixed ones, train and real sharing a cluster or a picture.
    """
    for name, images in (("real", real), ("synthetic", synthetic)):
        if len(images) < FEWEST:
            raise ValueError(f"expected at least {FEWEST} {name} images, got {len(images)}")
    if train is not None and len(train) == 1:
        raise ValueError("expected at least 2 train images, got 1")
    shared = set(real_clusters or ()) & set(train_clusters or ())
    if shared:
        raise ValueError(f"expected real tiles of other clusters than train, got {len(shared)} in both: a leak")
    sizes = {
        tuple(images[0].shape[-2:]) for images in (real, synthetic, train) if images is not None and len(images)
    }
    if len(sizes) > 1:
        raise ValueError(f"expected real, synthetic and train images of one size, got {sorted(sizes)}")
    counts = _counts(real, synthetic, train)
    result = {"counts": counts, "size": list(sizes.pop()), "rows": [], "nearest": [], "notes": []}
    first, second = extractor or efficientnet_features(), control or HandcraftedFeatures()
    for each in [first] if first.name == second.name else [first, second]:
        sets = [each(images) for images in (real, synthetic)]
        sets += [each(train)] if counts["train"] else []
        resampling.check(1, real=sets[0], synthetic=sets[1])
        sets = [Standardiser.fit(sets[0])(x) for x in sets]
        _say_identical(each.name, sets, result["notes"])
        copies = _same(sets[0], sets[2]) if len(sets) == 3 else 0
        if copies:
            raise ValueError(f"expected real tiles that are not in train, got {copies} that are: a leak")
        result["rows"] += fidelity_rows(each.name, *sets[:2], generator, repeats)
        if classes := class_probabilities(each):
            result["rows"].append(inception_row(each.name, classes(real), classes(synthetic), generator, repeats))
        if len(sets) == 3:
            result["rows"] += privacy_rows(each.name, *sets, generator, repeats, result["notes"])
        if each is first:
            result["sketch"] = sketch(*sets[:2])
            result["nearest"] = nearest(sets[1], sets[2]) if len(sets) == 3 else []
    result["rows"] += tile_rows(real, synthetic, result["notes"])
    if synthetic_masks:
        result["rows"] += mask_rows(real_masks, synthetic_masks, generator, repeats)
    if not counts["train"]:
        result["notes"].append("No training tiles were given: memorisation (A, C_T) was not measured.")
    elif not (real_clusters and train_clusters):
        result["notes"].append(
            "Clusters were not given: a leak between real and train was looked for among identical features only."
        )
    if min(counts["real"], counts["synthetic"]) < 1000:
        result["notes"].append(
            "Under 1,000 tiles FD is biased upward: compare Matched with Real, and equal counts only."
        )
    return result


def evaluate_run(
    pair: Pair,
    real: Sequence[Tensor] | None = None,
    train: Sequence[Tensor] | None = None,
    extractor: FeatureExtractor | None = None,
    *,
    generator: np.random.Generator,
    real_masks: Sequence[np.ndarray] | None = None,
    **options,
) -> tuple[dict, list[Tensor]]:
    """Measure one generated canvas: its seams and its long range always, its tiles where there are real ones.

    Parameters
    ----------
    pair : of `inputs.read_run`
    real : held-out tiles; the canvas is cut to tiles of their size
    train, extractor, generator, real_masks, options : as in `evaluate`

    Returns
    -------
    result as of `evaluate`, with ``run``, and without ``sketch`` where fidelity was not measured; the cut tiles
    """
    tiles = []
    if real is not None:
        tiles = [to_tensor(tile) for tile in cut_canvas(pair.image, tuple(real[0].shape[-2:]))]
    if len(tiles) >= FEWEST:
        result = evaluate(real, tiles, train, extractor, generator=generator, **options)
    else:
        need = "no real tiles were given"
        if real is not None:
            need = f"the canvas gives {len(tiles)} tiles of their size, at least {FEWEST} are needed"
        notes = [f"Fidelity and memorisation were not measured: {need}."]
        size, tiles = list(pair.image.shape[:2]), []
        result = {"counts": _counts(real, tiles, train), "size": size, "rows": [], "nearest": [], "notes": notes}
    result["rows"] += canvas_rows(pair, result["notes"]) + mask_rows(real_masks, [pair.mask], generator)
    keys = ("context", "size", "plan", "solver", "steps", "omega", "seed", "patch")
    result["run"] = {key: pair.run[key] for key in keys if key in pair.run}
    return result, tiles


def measure_files(
    real: Path | None,
    synthetic: Path | None,
    run: Path | None = None,
    train: Path | None = None,
    features: str = "efficientnet-lite0",
    weights: Path | None = None,
    layer: str | None = None,
    cache: Path | None = None,
    seed: int = 0,
) -> tuple[dict, dict]:
    """Measure two folders of tiles, or the canvas that a ``run.json`` belongs to.

    Parameters
    ----------
    real, synthetic, train : folders, see `inputs.read_tiles`; of a run, `real` and `train` may be missing
    run : file, instead of `synthetic`
    features, weights, layer : see `extractors.extractor`
    cache : folder that keeps features by content hash

    Returns
    -------
    result of `evaluate` or `evaluate_run`; what `write_report` shows beside it, by name

    Raises
    ------
    ValueError : neither or both of `synthetic` and `run`, folders as in `read_tiles`, images as in `evaluate`.
    """
    if (run is None) == (synthetic is None) or (run is None and real is None):
        given = [k for k, v in (("real", real), ("synthetic", synthetic), ("run", run)) if v is not None]
        raise ValueError(f"expected real and synthetic folders, or a run, got {', '.join(given) or 'none of them'}")
    pair = read_run(run) if run is not None else None
    first, second = named_extractor(features, weights, layer), HandcraftedFeatures()
    if cache is not None:
        first, second = Cached(first, cache), Cached(second, cache)
    roles = {"real": real, "synthetic": synthetic, "train": train}
    read = {role: read_tiles(folder, role) for role, folder in roles.items() if folder is not None}
    shown = {role: read[role].images if role in read else None for role in roles}
    clusters = {f"{role}_clusters": read[role].clusters for role in ("real", "train") if role in read}
    masks = {f"{role}_masks": read[role].masks for role in ("real", "synthetic") if role in read}
    options = {"generator": np.random.default_rng(seed), "control": second, **clusters, **masks}
    if pair is None:
        result = evaluate(*shown.values(), first, **options)
    else:
        result, shown["synthetic"] = evaluate_run(pair, shown["real"], shown["train"], first, **options)
        shown["pair"] = pair
    result["notes"] = [note for folder in read.values() for note in folder.notes] + result["notes"]
    return result, shown


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
    folder : made if it is missing; an earlier report in it is replaced
    pair : the canvas of `evaluate_run`
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    path = folder / "report.html"
    path.write_text(page(result, real, synthetic, train, title, pair), encoding="utf-8")
    return path


def _counts(*sets: Sequence | None) -> dict[str, int]:
    names = ("real", "synthetic", "train")
    return {name: 0 if images is None else len(images) for name, images in zip(names, sets, strict=True)}


def _same(queries: np.ndarray, references: np.ndarray) -> int:
    """How many queries have, up to rounding, the features of a reference."""
    return int((privacy.nearest_neighbours(queries, references).distance < 1e-6).sum())


def _say_identical(name: str, sets: Sequence[np.ndarray], notes: list[str]) -> None:
    for which, features in zip(("real", "synthetic", "training"), sets, strict=False):
        if not np.ptp(features, axis=0).any():
            notes.append(f"All {which} tiles have the same features on {name}: no distance means anything here.")
    if same := _same(sets[1], sets[0]):  # a perfect score by copying what it is judged by
        tiles = "synthetic tile has" if same == 1 else "synthetic tiles have"
        notes.append(f"{same} {tiles} the same features as a real one ({name}).")
