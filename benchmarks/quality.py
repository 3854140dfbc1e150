"""How good a model is: reconstructions and generated tiles against LC25000's test clusters.

`make eval` writes reports/quality.json and quality.md, reports/card/ (the report card) and a contact sheet for each
context: generated tiles in the upper half, real test tiles in the lower. The sheets show third-party tiles and are not
committed. What stands between the marks of docs/model_card.md is written from the same numbers. Tiles are generated in
two ways for the same masks, see `painting`: each as a sample of its own, and cut from canvases of 5 x 5 tiles, by the
plan of the settings and by others. No more than six canvases a context are painted, however many tiles are asked for.
Fréchet and kernel distance compare with all test tiles; whatever counts neighbours (precision, recall, A, C_T) with
one tile per cluster, since rotated copies of one picture would falsify it. Each figure stands beside the same figure of
as many real training tiles. Rulers are EfficientNet-Lite0, handcrafted features and, where its file is given, one that
no loss has seen (`independent`).

    python benchmarks/quality.py --weights my-model --per-context 4 --real 40 --other-plans "" --out runs/quick

is a quick report. What is painted is kept and used again, and so are the features of tiles. Few tiles flatter the
Fréchet distance; compare reports of equal counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from independent import NAME as INDEPENDENT
from independent import independent
from painting import ACROSS, TILE, Painter
from PIL import Image
from skimage.metrics import structural_similarity
from sklearn.metrics import jaccard_score
from torch import Tensor
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from diffinfinite_lite import generate
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.annotate import annotate
from diffinfinite_lite.data.tiles import Tile, to_rgb, to_tensor
from diffinfinite_lite.devices import bf16_helps
from diffinfinite_lite.evaluation.downstream import dense_features, fit_segmenter, segmentation_table, table_score
from diffinfinite_lite.evaluation.inputs import TileSet
from diffinfinite_lite.evaluation.report import evaluate, write_report
from diffinfinite_lite.labels import CELL_PX, CONTEXTS
from diffinfinite_lite.metrics import cells, fidelity, privacy, spectra
from diffinfinite_lite.metrics.features import (
    Cached,
    FeatureExtractor,
    HandcraftedFeatures,
    Standardiser,
    efficientnet_features,
)
from diffinfinite_lite.metrics.registry import METRICS
from diffinfinite_lite.models.pretrained import expected_hashes, has_draft, load_models, sampled_margin
from diffinfinite_lite.pipelines.margin import read_back
from diffinfinite_lite.sampling.plans import PLANS

OUT, CARD = Path("reports"), Path("docs/model_card.md")
MARKS = "<!-- figures: make eval -->", "<!-- end -->"
FASTEST = "bf16" if bf16_helps() else "fp32"  # bf16 takes seven times longer where the processor only imitates it
FEATURES = Path("runs/eval/features")  # of every tile that was seen, by its content
DRAWS = 20  # of each random subset; means and 95% intervals over them
ANNOTATED = 32  # masks of real tiles a context, to see what drawn ones cost
PAIRED = 8  # masks of a context that are painted by two seeds and in two contexts
TRAINING = "training tiles, reconstructed"
SHOWN = {  # the name of a number in the report -> its metric
    "Fréchet distance": METRICS["FD"],
    "kernel distance (KID)": METRICS["KD"],
    **{name: METRICS[name] for name in ("precision", "recall", "told apart")},
}


@torch.no_grad()
def reconstruct(images: list[Tensor], weights: Path | None) -> list[Tensor]:
    """Each image through encoder and decoder, and through the same rounding to bytes as a generated one."""
    autoencoder, margin = load_models(weights).autoencoder, sampled_margin(weights)
    return [to_tensor(to_rgb(read_back(autoencoder, x[None], margin)[0].clamp(-1, 1))) for x in images]


def similarity(images: list[Tensor], others: list[Tensor]) -> dict:
    """PSNR (dB) and SSIM, means over pictures."""
    errors = [float((a - b).square().mean()) for a, b in zip(images, others, strict=True)]
    ssim = [structural_similarity(to_rgb(a), to_rgb(b), channel_axis=2) for a, b in zip(images, others, strict=True)]
    return {
        "psnr": float(np.mean([10 * np.log10(4 / e) for e in errors])),
        "ssim": float(np.mean(ssim)),
        "pictures": len(images),
    }


def read_real(rng: np.random.Generator, most: int | None = None) -> dict[str, list[Tile]]:
    """Stain-normalised LC25000: all test tiles, twice as many of train, and one tile per cluster of both.

    Parameters
    ----------
    most : test tiles, and tiles of one a cluster, at most; drawn at random
    """
    read = partial(catalog.load, "lc25000-lung", normalised=True)
    if most is not None:
        some, clusters = partial(read, generator=rng), {"one_per_cluster": True, "limit": most}
        return {
            "test": list(some(split="test", limit=most)),
            "train": list(some(split="train", limit=2 * most)),
            "test clusters": list(some(split="test", **clusters)),
            "train clusters": list(some(split="train", **clusters)),
        }
    test = list(read(split="test"))
    return {
        "test": test,
        "train": list(read(split="train", limit=2 * len(test), generator=rng)),
        "test clusters": list(read(split="test", one_per_cluster=True)),
        "train clusters": list(read(split="train", one_per_cluster=True)),
    }


def beside_real(
    metric: Callable[[np.ndarray, np.ndarray], float],
    test: np.ndarray,
    train: np.ndarray,
    made: np.ndarray,
    rng: np.random.Generator,
) -> dict:
    """The metric of generated against test tiles and of train against test tiles, N the same, over random draws."""
    n = min(len(test), len(train), len(made))

    def draws(pool: np.ndarray) -> np.ndarray:
        pairs = [(rng.permutation(len(test))[:n], rng.permutation(len(pool))[:n]) for _ in range(DRAWS)]
        return np.array([metric(test[i], pool[j]) for i, j in pairs])

    generated, real = draws(made), draws(train)
    low, high = np.percentile(generated, [2.5, 97.5])
    return {
        "n": n,
        "generated": float(generated.mean()),
        "low": float(low),
        "high": float(high),
        "real": float(real.mean()),
        "ratio": float(generated.mean() / real.mean()),
    }


def solvers(test: list[Tensor], painter: Painter, count: int) -> dict[str, float]:
    """Fréchet distance to test tiles after 20 DPM-Solver++ and after 250 DDIM steps, for the same masks and seed.

    Parameters
    ----------
    count : of tiles of a context in the whole report; a tenth of them, and `ACROSS` squared at most, are painted here
    """
    extractor = Cached(efficientnet_features(), FEATURES)
    real = extractor(test)
    standardise = Standardiser.fit(real)
    size = (TILE * min(ACROSS, int(np.ceil((count / 10) ** 0.5))),) * 2
    masks = [(c, painter.draw(c, size, 0)) for c in CONTEXTS]
    distances = {}
    for solver, steps in (("dpm-solver++", 20), ("ddim", 250)):
        tiles, how = [], {"solver": solver, "steps": steps}
        for c, mask in tqdm(masks, desc=f"{steps} {solver}", unit="canvas"):
            make = partial(painter.samples, mask, c, 0, **how)
            tiles += [
                to_tensor(tile) for tile in painter.remembered(f"{c}-{steps}-{size[0]}", make, **how)["generated"]
            ]
        distances[solver] = fidelity.frechet_distance(standardise(real), standardise(extractor(tiles)))
    return {**distances, "tiles": len(tiles)}


@dataclass(frozen=True)
class Ruler:
    """An extractor, standardised on real test tiles, and what it saw in real tiles.

    Attributes
    ----------
    name : of the extractor.
    see : images to standardised features.
    real : those of the sets of `read_real`.
    """

    name: str
    see: Callable[[list[Tensor]], np.ndarray]
    real: dict[str, np.ndarray]

    @classmethod
    def of(cls, extractor: FeatureExtractor, real: dict[str, list[Tile]]) -> Ruler:
        seen = {name: extractor([tile.image for tile in tiles]) for name, tiles in real.items()}
        standardise = Standardiser.fit(seen["test"])
        real_features = {name: standardise(features) for name, features in seen.items()}
        return cls(extractor.name, lambda images: standardise(extractor(images)), real_features)


def compare(ruler: Ruler, sets: dict[str, list[Tensor]], rng: np.random.Generator) -> list[dict]:
    """All fidelity figures by a ruler, one row for each set and number; see `beside_real` and `read_real`."""
    rows = []
    for tiles, images in sets.items():
        made = ruler.see(images)
        for number, metric in SHOWN.items():
            test, train = ("test clusters", "train clusters") if metric.one_per_cluster else ("test", "train")
            row = beside_real(metric.seeded(rng), ruler.real[test], ruler.real[train], made, rng)
            rows.append({"features": ruler.name, "tiles": tiles, "number": number, **row})
    return rows


def faithfulness(train: list[Tile], test: list[Tile], made: list[Tensor], masks: list[np.ndarray]) -> dict:
    """Mean IoU of a segmenter that saw real tiles only: on held-back real tiles, and on generated pairs.

    The real masks are pseudo-annotations, which leave doubtful pixels out; the generated ones name nearly every pixel.
    """

    def annotated(tiles: list[Tile]) -> list[np.ndarray]:
        return [annotate(to_rgb(t.image), t.context) for t in tiles]

    segmenter = fit_segmenter(dense_features([t.image for t in train]), annotated(train))

    def score(images: list[Tensor], labels: list[np.ndarray]) -> float:
        return table_score(segmentation_table(segmenter, dense_features(images), labels), jaccard_score)

    return {
        "real": score([t.image for t in test], annotated(test)),
        "generated": score(made, masks),
        "tiles": [len(test), len(made)],
    }


def sensitivity(painter: Painter, steps: int) -> dict:
    """Carcinoma becomes stroma in the right half of a mask, same seed: mean change of the picture by place.

    "elsewhere" is what lies more than a window a stage away from the change, 0 if nothing leaks.
    """
    mask = np.full((448, 1120), 1, np.uint8)
    changed = mask.copy()
    changed[:, 784:] = 3
    reach = TILE * (2 if has_draft(painter.weights) else 1)
    before, after = (
        generate("squamous", m, steps=steps, solver="dpm-solver++", plan="sliding-window", weights=painter.weights)
        for m in (mask, changed)
    )
    difference = np.abs(before.image.astype(float) - after.image).mean(axis=2)
    return {"changed": float(difference[:, 784:].mean()), "elsewhere": float(difference[:, : 784 - reach - 64].mean())}


def spectrum(real: list[Tensor], sets: dict[str, list[Tensor]]) -> dict[str, dict]:
    """Lattices and fine detail of each set beside real tiles, one of each cluster: see `metrics.spectra`."""
    pictures = [x.numpy() for x in real]
    base = spectra.power(pictures)
    return {
        name: {
            "grid": spectra.grid_energy(base, spectra.power(x.numpy() for x in images)),
            "auc": spectra.fine_auc(pictures, (x.numpy() for x in images)),
        }
        for name, images in sets.items()
    }


def anatomy(real: list[Tile], made: dict[str, list[Tensor]]) -> dict[str, dict[str, float]]:
    """Red cells and, in tumours, nuclei: of generated tiles beside real ones, by `metrics.cells`.

    Parameters
    ----------
    made : at most as many tiles of each context are looked at as there are real ones
    """
    pictures: dict[str, dict[str, list[np.ndarray]]] = {"real": {}, "generated": {}}
    for context in CONTEXTS:
        own = [to_rgb(tile.image) for tile in real if tile.context == context]
        pictures["real"][context] = own
        pictures["generated"][context] = [to_rgb(x) for x in made[context][: len(own)]]
    found: dict[str, dict[str, float]] = {"red cells": {}, "nuclei": {}}
    for name, by_context in pictures.items():
        found["red cells"][name] = cells.red_cells_green(rgb for part in by_context.values() for rgb in part)
        tumours = [(rgb, c) for c in CONTEXTS if c != "normal" for rgb in by_context[c]]
        regions = [annotate(rgb, c) == 1 for rgb, c in tumours]
        found["nuclei"][name] = cells.nuclear_variation([rgb for rgb, _ in tumours], regions)
    return found


def masks_cost(
    painter: Painter, made: dict[str, list[Tensor]], real: list[Tile], rulers: list[Ruler], rng: np.random.Generator
) -> dict:
    """What drawn masks cost: the Fréchet distance under them, and under pseudo-annotations of as many real tiles.

    Parameters
    ----------
    made : tiles of each context under drawn masks
    real : tiles, one of each cluster, held out of training; of each context `ANNOTATED` are taken
    """
    annotated, drawn = [], []
    for context in tqdm(CONTEXTS, desc="annotated", unit="context"):
        own = [tile for tile in real if tile.context == context][: min(ANNOTATED, len(made[context]))]
        annotated += [
            to_tensor(x) for x in painter.under(context, [annotate(to_rgb(tile.image), context) for tile in own])
        ]
        drawn += made[context][: len(own)]
    found: dict[str, dict[str, float]] = {}
    for ruler in rulers:
        test, n = ruler.real["test"], len(drawn)
        some = [test[rng.permutation(len(test))[:n]] for _ in range(DRAWS)]
        found[ruler.name] = {
            name: float(np.mean([fidelity.frechet_distance(real_part, features) for real_part in some]))
            for name, features in (("drawn", ruler.see(drawn)), ("annotated", ruler.see(annotated)))
        }
    return {"tiles": len(drawn), "features": found}


def appearance(painter: Painter, masks: dict[str, list[np.ndarray]], real: list[Tile], rulers: list[Ruler]) -> dict:
    """How far two seeds, and two contexts, lie apart under one mask, over how far real tiles do; by each ruler.

    Parameters
    ----------
    masks : of each context; `PAIRED` of them are painted
    real : tiles, one of each cluster
    """
    of_real = {c: [tile.image for tile in real if tile.context == c] for c in CONTEXTS}
    others = {CONTEXTS[0]: CONTEXTS[1], CONTEXTS[1]: CONTEXTS[0]}
    drawn = {
        c: painter.twice(c, others.get(c), masks[c][:PAIRED]) for c in tqdm(CONTEXTS, desc="twice", unit="context")
    }
    found: dict[str, dict[str, float]] = {}
    for ruler in rulers:
        seen = {
            c: {name: ruler.see([to_tensor(tile) for tile in tiles]) for name, tiles in parts.items()}
            for c, parts in drawn.items()
        }
        tiles = {c: ruler.see(images) for c, images in of_real.items()}
        seeds = [
            fidelity.appearance_difference(p["first"], p["other seed"], tiles[c], tiles[c]) for c, p in seen.items()
        ]
        contexts = [
            fidelity.appearance_difference(seen[c]["first"], seen[c]["other context"], tiles[c], tiles[other])
            for c, other in others.items()
        ]
        found[ruler.name] = {"seeds": float(np.mean(seeds)), "contexts": float(np.mean(contexts))}
    return {"masks": min(PAIRED, *(len(some) for some in masks.values())), "features": found}


def drafts_near_training(drafts: list[np.ndarray], real: dict[str, list[Tile]]) -> dict:
    """Whether drafts are thumbnails of training tiles, in any orientation: `privacy.suspicious_share`."""

    def small(tiles: list[Tile]) -> np.ndarray:
        return avg_pool2d(torch.stack([tile.image for tile in tiles]), CELL_PX).permute(0, 2, 3, 1).numpy()

    train = small(real["train clusters"])
    unseen, _ = privacy.nearest_ratio(train, small(real["test clusters"]))
    ratio, index = privacy.nearest_ratio(train, np.stack(drafts) / 127.5 - 1)
    share, limit = privacy.suspicious_share(unseen, ratio)
    worst = int(ratio.argmin())
    nearest = {"draft": worst, "training cluster": real["train clusters"][int(index[worst])].cluster}
    return {"share": share, "limit": limit, "smallest": float(ratio[worst]), "unseen": float(unseen.min()), **nearest}


def sheet(path: Path, made: list[Tensor], real: list[Tensor], columns: int = 8) -> None:
    """Two rows of generated tiles over two rows of real ones, not chosen; shorter ones where there are few tiles."""
    columns = max(1, min(columns, len(made) // 2, len(real) // 2))
    rows = [
        np.hstack([to_rgb(x) for x in tiles[i * columns : (i + 1) * columns]]) for tiles in (made, real) for i in (0, 1)
    ]
    Image.fromarray(np.vstack(rows)).save(path)


def table(result: dict) -> str:
    """The figures as Markdown, with the settings and the command that computes them."""
    settings = result["settings"]
    named_options = {name.replace("_", "-"): value for name, value in settings["options"].items()}
    options = " ".join(f"--no-{k}" if v is False else f"--{k} {v}" for k, v in named_options.items())
    lines = [
        "# Figures of the shipped model",
        "",
        f"`python benchmarks/quality.py {options}`, image weights {named(settings['weights'])}.",
        "",
        "| reconstruction of | PSNR, dB | SSIM | pictures |",
        "|---|---|---|---|",
    ]
    for name, row in result["autoencoder"].items():
        lines.append(f"| {name} | {row['psnr']:.2f} | {row['ssim']:.3f} | {row['pictures']} |")
    lines += [
        "",
        "Against test tiles, beside as many real training tiles against the same (means over "
        f"{DRAWS} random draws of n; 95% interval):",
        "",
        "| features | tiles | number | n | value | interval | real | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["fidelity"]:
        lines.append(
            f"| {row['features']} | {row['tiles']} | {row['number']} | {row['n']} | {row['generated']:.3g} "
            f"| {row['low']:.3g} to {row['high']:.3g} | {row['real']:.3g} | {row['ratio']:.2f} |"
        )
    lines += [
        "",
        "Memorisation, one tile per cluster (A: at least that of unseen real tiles; C_T: between -3 and 3):",
        "",
        "| features | number | value | unseen real tiles |",
        "|---|---|---|---|",
    ]
    for row in result["card"]:
        if row["name"] in ("A", "C_T"):
            lines.append(f"| {row['features']} | {row['name']} | {row['value']:.3g} | {row['real']:.3g} |")
    space = [row for row in result["card"] if row["features"] == "Space"]
    if space:
        lines += ["", "Tissue and masks in space:", "", "| number | generated | real tiles |", "|---|---|---|"]
        for row in space:
            pair = ("–" if row[key] is None else f"{row[key]:.3g}" for key in ("value", "real"))
            lines.append("| " + " | ".join([row["name"], *pair]) + " |")
    iou = result["faithfulness"]
    lines += [
        "",
        f"Label faithfulness: a segmenter trained on real tiles has a mean IoU of {iou['real']:.2f} on real test tiles "
        f"with pseudo-annotations and of {iou['generated']:.2f} on generated pairs.",
    ]
    change = result["sensitivity"]
    lines += [
        "",
        "Carcinoma relabelled as stroma in part of a mask, same seed: the picture changes by "
        f"{change['changed']:.1f} grey levels there and by {change['elsewhere']:.1f} more than a window away.",
        *(line for part, write in PARTS_OF_A_REPORT.items() if part in result for line in ("", *write(result[part]))),
    ]
    return "\n".join(lines) + "\n"


def _solver_lines(found: dict) -> list[str]:
    return [
        f"Solvers, {found['tiles']} tiles of the same masks and seed: Fréchet distance {found['dpm-solver++']:.1f} "
        f"after 20 DPM-Solver++ steps and {found['ddim']:.1f} after 250 DDIM steps, "
        f"{found['dpm-solver++'] / found['ddim'] - 1:+.1%}.",
    ]


def _spectrum_lines(found: dict) -> list[str]:
    return [
        "Lattices of 2, 4 and 8 px over those of real tiles, and how often a tile has more power above 0.6 of Nyquist "
        "than a real one (0.5: as often as not):",
        "",
        "| tiles | 2 px | 4 px | 8 px | finer than real |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(f"{value:.2f}" for value in (*row["grid"].values(), row["auc"])) + " |"
            for name, row in found.items()
        ),
    ]


def _anatomy_lines(found: dict) -> list[str]:
    red, nuclei = found["red cells"], found["nuclei"]
    return [
        f"Red cells have a median green of {red['generated']:.0f} (real tiles {red['real']:.0f}); the area of nuclei "
        f"of one tumour tile varies by {nuclei['generated']:.2f} of its mean (real tiles {nuclei['real']:.2f}).",
    ]


def _masks_lines(found: dict) -> list[str]:
    return [
        f"What masks cost, {found['tiles']} tiles: Fréchet distance under masks that the model draws, and under "
        "pseudo-annotations of real tiles that no training saw:",
        "",
        "| features | drawn masks | real tiles' | ratio |",
        "|---|---|---|---|",
        *(
            f"| {name} | {row['drawn']:.3g} | {row['annotated']:.3g} | {row['drawn'] / row['annotated']:.2f} |"
            for name, row in found["features"].items()
        ),
    ]


def _appearance_lines(found: dict) -> list[str]:
    return [
        f"Appearance, {found['masks']} masks a context: how far two pictures of one mask lie apart, over how far two "
        "real clusters do (0: twins):",
        "",
        "| features | two seeds | two contexts |",
        "|---|---|---|",
        *(f"| {name} | {row['seeds']:.2f} | {row['contexts']:.2f} |" for name, row in found["features"].items()),
    ]


def _draft_lines(found: dict) -> list[str]:
    return [
        f"Drafts beside training thumbnails in eight orientations: {found['share']:.1%} are nearer to one of them "
        f"alone than any unseen real thumbnail is (chance allows {found['limit']:.1%}); the nearest has "
        f"{found['smallest']:.2f} of the distance to the second nearest, of unseen real ones {found['unseen']:.2f}.",
    ]


PARTS_OF_A_REPORT: dict[str, Callable[[dict], list[str]]] = {  # what not every report has
    "solvers": _solver_lines,
    "spectrum": _spectrum_lines,
    "anatomy": _anatomy_lines,
    "masks": _masks_lines,
    "appearance": _appearance_lines,
    "drafts": _draft_lines,
}


Bar = tuple[str, str, str, bool | None]  # name, measured, wanted, and whether that is reached, None without a bar
OVER = "over real to real"


def limited(name: str, measured: str, value: float, wanted: str, low: float, high: float) -> Bar:
    """A bar that is reached within two limits."""
    return name, measured, wanted, low <= value <= high


def bars(result: dict) -> list[Bar]:
    """What the project asks of its model; no bar of what was not measured."""
    return [
        *_reconstruction_bars(result),
        *_distance_bars(result),
        *_classifier_bars(result),
        *_memory_bars(result),
        *_picture_bars(result),
    ]


def _fidelity(result: dict, ruler: str = "EfficientNetLite0") -> dict[tuple[str, str], dict]:
    """Rows of a ruler by tiles and number; none where it was not at hand."""
    return {(row["tiles"], row["number"]): row for row in result["fidelity"] if row["features"].startswith(ruler)}


def _reconstruction_bars(result: dict) -> list[Bar]:
    tiles, patches = (result["autoencoder"][name] for name in ("lc25000 test", "diffinfinite real"))
    found = [
        limited(
            name, f"{part['psnr']:.1f} dB, SSIM {part['ssim']:.3f}", part["psnr"], f"at least {least} dB", least, np.inf
        )
        for name, part, least in (
            ("reconstruction, LC25000 test tiles", tiles, 30),
            (f"reconstruction, {patches['pictures']} real DiffInfinite patches", patches, 27),
        )
    ]
    for ruler, most in (("EfficientNetLite0", 1.15), (INDEPENDENT, 1.25)):
        if row := _fidelity(result, ruler).get((TRAINING, "Fréchet distance")):
            name = f"Fréchet distance of reconstructed training tiles, {OVER}, {ruler}"
            found.append(limited(name, f"{row['ratio']:.2f}", row["ratio"], f"at most {most:g}", 0, most))
    return found


def _distance_bars(result: dict) -> list[Bar]:
    rows, number = _fidelity(result), "Fréchet distance"
    single = rows["generated", number]["ratio"]
    found: list[Bar] = []
    for tiles, what, most in (
        ("generated", "generated tiles", 1.8),
        ("cut from canvases", "tiles cut from canvases", 2.1),
    ):
        ratio = rows[tiles, number]["ratio"]
        found.append(limited(f"{number} of {what}, {OVER}", f"{ratio:.1f}", ratio, f"at most {most:g}", 0, most))
    for (tiles, measured), row in rows.items():
        if tiles.startswith("cut from canvases, ") and measured == number:
            ratio = row["ratio"] / single
            name = f"{number} of tiles cut from canvases by {tiles.split(', ')[1]}, over that of generated tiles"
            found.append(limited(name, f"{ratio:.2f}", ratio, "at most 1.15", 0, 1.15))
    for ruler, most in (("Handcrafted", 4.0), (INDEPENDENT, None)):
        if row := _fidelity(result, ruler).get(("generated", number)):
            name, measured = f"{number} of generated tiles, {OVER}, {ruler}", f"{row['ratio']:.1f}"
            reached = None if most is None else row["ratio"] <= most
            found.append((name, measured, "" if most is None else f"at most {most:g}", reached))
    return found


def _classifier_bars(result: dict) -> list[Bar]:
    rows, iou = _fidelity(result), result["faithfulness"]
    found = []
    for name, least in (("precision", 0.9), ("recall", 0.5)):
        ratio = rows["generated", name]["ratio"]
        found.append(limited(f"{name}, {OVER}", f"{ratio:.2f}", ratio, f"at least {least:g}", least, np.inf))
    for tiles, most in (("generated", 0.8), ("reconstructed", 0.65)):
        told = rows[tiles, "told apart"]["generated"]
        name = f"told from real by logistic regression, {tiles}"
        found.append(limited(name, f"{told:.1%}", told, f"at most {most:.0%}", 0, most))
    name = "mean IoU of a segmenter, generated pairs / real tiles"
    measured, gap = f"{iou['generated']:.2f} / {iou['real']:.2f}", iou["real"] - iou["generated"]
    return [*found, limited(name, measured, round(gap, 9), "within 0.08", -np.inf, 0.08)]


def _memory_bars(result: dict) -> list[Bar]:
    memory = {row["name"]: row for row in result["card"] if row["features"] == "EfficientNetLite0"}
    a, c = memory["A"], memory["C_T"]["value"]
    measured = f"{a['value']:.3f} / {a['real']:.3f}"
    name = "authenticity A, generated / unseen real"
    found = [limited(name, measured, a["value"], "no lower than real", a["real"], np.inf)]
    found.append(limited("C_T", f"{c:.1f}", c, "-3 to 3", -3, 3))
    if drafts := result.get("drafts"):
        name, most = "drafts nearer to one training tile alone than any unseen tile is", drafts["limit"]
        found.append(limited(name, f"{drafts['share']:.1%}", drafts["share"], f"at most {most:.1%}", 0, most))
    return found


def _picture_bars(result: dict) -> list[Bar]:
    """What single pictures look like, and what they cost."""
    found: list[Bar] = []
    if "spectrum" in result:
        row = result["spectrum"]["generated"]
        worst = max(row["grid"].values())
        found.append(limited("grid energy over real, the worst period", f"{worst:.2f}", worst, "at most 1.05", 0, 1.05))
        name, auc = "finer than a real tile, above 0.6 of Nyquist", row["auc"]
        found.append(limited(name, f"{auc:.2f}", auc, "0.35 to 0.65", 0.35, 0.65))
    if "anatomy" in result:
        for name, part in (
            ("red cells' median green", "red cells"),
            ("spread of nuclear area in a tumour tile", "nuclei"),
        ):
            ratio = result["anatomy"][part]["generated"] / result["anatomy"][part]["real"]
            found.append(limited(f"{name}, over real", f"{ratio:.2f}", ratio, "0.9 to 1.1", 0.9, 1.1))
    if "masks" in result:
        row = result["masks"]["features"]["EfficientNetLite0"]
        ratio = row["drawn"] / row["annotated"]
        name = "Fréchet distance under drawn masks, over that under real tiles' own"
        found.append(limited(name, f"{ratio:.2f}", ratio, "at most 1.2", 0, 1.2))
    if "appearance" in result:
        row = result["appearance"]["features"]["EfficientNetLite0"]
        for name in ("seeds", "contexts"):
            what = f"difference of two {name} under one mask, over that of two real clusters"
            found.append(limited(what, f"{row[name]:.2f}", row[name], "at least 0.9", 0.9, np.inf))
    if cost := result.get("solvers"):
        steps = cost["dpm-solver++"] / cost["ddim"] - 1
        name = "Fréchet distance, 20 DPM-Solver++ steps over 250 DDIM steps"
        found.append(limited(name, f"{steps:+.1%}", steps, "at most +10%", -np.inf, 0.1))
    return found


def figures(result: dict) -> str:
    """What stands between the marks of the model card: how the tiles were made, and `bars` as Markdown."""
    options, found = result["settings"]["options"], bars(result)
    count, marks = options["per_context"], {None: "–", True: "✓ ", False: "✗ "}
    reached = [row[3] for row in found if row[3] is not None]
    lines = [
        f"Measured on {count * len(CONTEXTS):,} generated tiles of {TILE} px, {count} of each context, made one by "
        f"one ({options['steps']} {options['solver']} steps, ω = {options['omega']:g}, {options['precision']}), and on "
        f"{result['settings']['cut']:,} cut from canvases ({options['plan']}) of the same masks. Image weights "
        f"{named(result['settings']['weights'])}. The model reaches {sum(reached)} of {len(reached)} bars (✓ reached, "
        "✗ missed, – no bar):",
        "",
        "| | measured | wanted |",
        "|---|---|---|",
        *(f"| {name} | {measured} | {marks[bar]}{wanted} |" for name, measured, wanted, bar in found),
    ]
    return "\n".join(lines)


def named(weights: dict[str, str]) -> str:
    """The image model of a run by the hash of its file."""
    return f"`{weights['image'][:12]}`"


def fill(card: str, text: str) -> str:
    """The model card with `text` between its marks.

    Raises
    ------
    ValueError : a card without both marks, the first before the second, or with several pairs.
    """
    between = re.compile(f"(?<={re.escape(MARKS[0])}).*?(?={re.escape(MARKS[1])})", re.DOTALL)
    filled, count = between.subn(lambda _: f"\n\n{text}\n\n", card)
    if count != 1:
        raise ValueError(f"expected {MARKS[0]} and {MARKS[1]} once in the model card, got {count} such pairs")
    return filled


def main(
    per_context: int = 400,
    steps: int = 20,
    solver: str = "dpm-solver++",
    plan: str = "mixture",
    omega: float = 0.0,
    precision: str = FASTEST,
    draft_steps: int | None = None,
    draft_noise: float | None = None,
    other_plans: str = "random-patch",
    other_solvers: bool = True,
    most: Annotated[int | None, typer.Option("--real", help="Real test tiles at most; by default all.")] = None,
    resnet: Annotated[Path | None, typer.Option("--independent", help="open-nsfw.onnx, see independent.py.")] = None,
    weights: Path | None = None,
    out: Path = OUT,
) -> None:
    """Generate, measure, write; what an interrupted run has generated is used.

    The defaults are the published figures, which go to the model card as well; those of other settings or --weights
    need --out. --per-context 4 --real 40 is a quick report, which shows that all is measured and not how good the model
    is: --real is how many test tiles, and tiles of one a cluster, are read at most. --other-plans, with commas, or
    "all": by which canvases are painted besides --plan; each costs as much as that. --no-other-solvers leaves out what
    250 DDIM steps would paint.
    """
    out.mkdir(parents=True, exist_ok=True)
    rng, drawn = np.random.default_rng(0), np.random.default_rng(1)
    options = {"steps": steps, "solver": solver, "plan": plan, "omega": omega, "precision": precision}
    options |= {k: v for k, v in (("draft_steps", draft_steps), ("draft_noise", draft_noise)) if v is not None}
    painter, plans = Painter(options, weights), [plan, *further_plans(plan, other_plans)]
    real_tiles = read_real(rng, most)
    single_test, single_train = real_tiles["test clusters"], real_tiles["train clusters"]
    patches = [tile.image for tile in catalog.load("diffinfinite-lung", kind="real image", normalised=True)]
    real = [tile.image for tile in real_tiles["test"]]
    reconstructed = reconstruct(real, weights)
    result: dict = {
        "autoencoder": {
            "lc25000 test": similarity(real, reconstructed),
            "diffinfinite real": similarity(patches, reconstruct(patches, weights)),
        }
    }
    sets: dict[str, list[Tensor]] = {"reconstructed": reconstructed, "generated": [], "cut from canvases": []}
    more: dict[str, list[Tensor]] = {}
    made, drawn_masks, drafts = {}, {}, []
    for context in CONTEXTS:
        images, drawn_masks[context] = painter.sets(context, per_context, plans)
        drafts += images.pop("drafts", [])
        tiles = {name: [to_tensor(tile) for tile in part] for name, part in images.items()}
        made[context] = tiles["generated"]
        shown = [made[context][i] for i in rng.permutation(len(drawn_masks[context]))[:16]]
        sheet(out / f"sheet-{context}.png", shown, [t.image for t in single_test if t.context == context])
        for name, part in tiles.items():
            (sets if name in sets else more).setdefault(name, []).extend(part)
    labels = [mask for context in CONTEXTS for mask in drawn_masks[context]]
    order = rng.permutation(len(labels))
    mixed, masks = [sets["generated"][i] for i in order], [labels[i] for i in order]
    result["settings"] = {
        "options": {"per_context": per_context, **options, "other_plans": other_plans or '""'},
        "weights": expected_hashes(weights),
        "cut": len(sets["cut from canvases"]),
    }
    extra = {"real": most, "independent": resnet and resnet.name, "other_solvers": None if other_solvers else False}
    result["settings"]["options"] |= {name: value for name, value in extra.items() if value is not None}
    kept = [Cached(each, FEATURES) for each in (efficientnet_features(), HandcraftedFeatures())]
    rulers = [Ruler.of(each, real_tiles) for each in kept]
    result["fidelity"] = [row for ruler in rulers for row in compare(ruler, sets, rng)]
    # what the published figures did not have from the start draws from a generator of its own
    more[TRAINING] = reconstruct([tile.image for tile in real_tiles["train"]], weights)
    rulers += [Ruler.of(Cached(independent(resnet), FEATURES), real_tiles)] if resnet else []
    for ruler, own in zip(rulers, [more, more, sets | more], strict=False):
        result["fidelity"] += compare(ruler, own, drawn)
    if other_solvers:
        result["solvers"] = solvers(real, painter, per_context)
    result["sensitivity"] = sensitivity(painter, steps)
    count = len(single_test)
    result["faithfulness"] = faithfulness(single_train, single_test, mixed[:count], masks[:count])
    result["spectrum"] = spectrum([tile.image for tile in single_test], sets)
    result["anatomy"] = anatomy(single_test, made)
    result["masks"] = masks_cost(painter, made, single_test, rulers, drawn)
    result["appearance"] = appearance(painter, drawn_masks, single_test, rulers)
    if drafts:
        result["drafts"] = drafts_near_training(drafts, real_tiles)
    real_masks = [annotate(to_rgb(tile.image), tile.context) for tile in single_test]
    tested, trained = (
        TileSet([t.image for t in tiles], labels, [t.cluster for t in tiles])
        for tiles, labels in ((single_test, real_masks), (single_train, ()))
    )
    card = evaluate(tested, TileSet(mixed, masks), trained, generator=rng)
    title = "The shipped model against LC25000 test clusters"
    write_report(card, out / "card", tested.images, mixed, trained.images, title=title)
    result["card"] = card["rows"]
    (out / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "quality.md").write_text(table(result))
    if out == OUT and CARD.exists():  # not where somebody measures in a folder of their own
        CARD.write_text(fill(CARD.read_text("utf8"), figures(result)), "utf8")
    typer.echo(table(result))


def further_plans(plan: str, others: str) -> list[str]:
    """The names in ``--other-plans``, without the plan itself.

    >>> further_plans("mixture", "mixture,random-patch"), len(further_plans("mixture", "all"))
    (['random-patch'], 5)
    """
    names = list(PLANS) if others == "all" else [name for name in others.split(",") if name]
    if wrong := [name for name in names if name not in PLANS]:
        raise typer.BadParameter(f"expected plans among {', '.join(PLANS)}, got {wrong[0]!r}")
    return [name for name in names if name != plan]


if __name__ == "__main__":
    typer.run(main)
