"""The paper's tables, filled by the shipped model: `make eval` writes reports/tables.json and reports/tables.md.

Rows are the paper's: (a) a mask, then a picture, of the size of one tile; (b) large pictures under real masks; (c) a
large mask, then the picture; (b) & (c) half of each; DiffCollage on the network, masks and seeds of (c); beside them
the patches that the authors published and real training tiles. Large pictures are cut to tiles. Everything counts
--tiles tiles a row, so that rows compare; more tiles take longer in proportion. One tile per cluster is real.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import paper_tables
import public_sets
import torch
import typer
from torch import Tensor
from tqdm import tqdm

from diffinfinite_lite import generate
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.annotate import annotate
from diffinfinite_lite.data.stain import normalise, profiles
from diffinfinite_lite.data.tiles import Tile, to_rgb, to_tensor
from diffinfinite_lite.devices import bf16_helps
from diffinfinite_lite.evaluation.downstream import SEEDS, Maps, compare_classifiers, compare_segmenters, dense_features
from diffinfinite_lite.evaluation.downstream import is_carcinoma as carcinoma
from diffinfinite_lite.evaluation.inputs import cut_canvas, painted_canvas
from diffinfinite_lite.labels import CELL_PX, CONTEXTS, LABELS
from diffinfinite_lite.metrics import fidelity, privacy, spatial
from diffinfinite_lite.metrics.features import Standardiser, batches, efficientnet_features
from diffinfinite_lite.metrics.tissue import tissue
from diffinfinite_lite.models.efficientnet import EfficientNetLite0
from diffinfinite_lite.models.pretrained import trained_patch
from diffinfinite_lite.pipelines.pair import Pair

OUT = Path("reports")
FASTEST = "bf16" if bf16_helps() else "fp32"
TILE, SIDE = 224, 4  # px; tiles along a large picture, as 2048 px are four of the paper's patches
Pairs = tuple[list[Tensor], list[np.ndarray]]


def real_tiles(split: str, limit: int | None = None) -> list[Tile]:
    """One real tile per cluster, stain-normalised, in a random order that is always the same."""
    order = np.random.default_rng(0)
    return list(
        catalog.load("lc25000-lung", split, normalised=True, one_per_cluster=True, limit=limit, generator=order)
    )


def cut(pairs: Sequence[Pair]) -> Pairs:
    """Tiles of generated pairs and their masks."""
    images = [to_tensor(np.ascontiguousarray(tile)) for pair in pairs for tile in cut_canvas(pair.image, (TILE, TILE))]
    return images, [tile.copy() for pair in pairs for tile in cut_canvas(pair.mask, (TILE, TILE))]


def make(count: int, side: int, masks: Sequence[tuple[str, np.ndarray]] | None, name: str, **settings) -> list[Pair]:
    """Generated pairs, contexts in turn, seeds 0, 1, ...; under given masks where there are some."""
    made = []
    for seed, context in tqdm(zip(range(count), cycle(CONTEXTS), strict=False), total=count, desc=name):
        if masks is None:
            made.append(generate(context, size=(side, side), seed=seed, **settings))
        else:
            context, mask = masks[seed]
            made.append(generate(context, mask, seed=seed, **settings))
    return made


def real_masks(test: Sequence[Tile], count: int, rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """Large masks of pseudo-annotations: tiles of one context side by side, no tile twice in a mask while they last."""
    found = []
    for _, context in zip(range(count), cycle(CONTEXTS), strict=False):
        pool = [tile for tile in test if tile.context == context]
        order = [i for _ in range(-(-SIDE * SIDE // len(pool))) for i in rng.permutation(len(pool))]
        masks = iter([annotate(to_rgb(pool[i].image), context) for i in order[: SIDE * SIDE]])
        found.append((context, np.block([[next(masks) for _ in range(SIDE)] for _ in range(SIDE)])))
    return found


def fidelity_of(real: np.ndarray, made: np.ndarray) -> dict:
    """IP, IR and FD on standardised features."""
    both = fidelity.precision_recall(real, made)
    return {"IP": both.precision, "IR": both.recall, "FD": fidelity.frechet_distance(real, made)}


def inception(images: Sequence[Tensor]) -> float:
    """Inception score with EfficientNet-Lite0 as the classifier."""
    network = EfficientNetLite0.pretrained()
    with torch.inference_mode():
        return fidelity.inception_score(torch.cat([network(b).softmax(1) for b in batches(images, 16)]).numpy())


def memorisation_of(train: np.ndarray, real: np.ndarray, made: np.ndarray, rng: np.random.Generator) -> dict:
    """A and C_T; cells so large that each holds about 20 test and 20 synthetic tiles."""
    cells = max(1, min(5, len(real) // 20, len(made) // 20))
    score = privacy.data_copying_ct(train, real, made, rng, cells=cells).score
    return {"A": privacy.authenticity(train, made), "C_T": score}


def long_range(pairs: Sequence[Pair]) -> dict:
    """Means over canvases: seam ratio, its p-value, correlation length and correlation beyond a window."""
    found: dict[str, list[float]] = {"seams": [], "p": [], "length": [], "far": []}
    for pair in pairs:
        canvas = painted_canvas(pair)
        seam, cells = spatial.seam_statistic(canvas.image.numpy(), canvas.rows, canvas.columns), tissue(canvas.image)
        length = spatial.autocorrelation_length(cells) * CELL_PX
        patch = canvas.patch // CELL_PX
        found["seams"].append(seam.ratio)
        found["p"].append(seam.p_value)
        found["length"] += [length] if np.isfinite(length) else []
        found["far"] += [spatial.long_range_correlation(cells, patch)] if 4 * patch <= min(cells.shape) else []
    return {name: float(np.mean(values)) if values else None for name, values in found.items()}


def shuffled(pair: Pair) -> Pair:
    """A canvas cut into windows that are put together again in random order."""
    rows, columns = (n // pair.run["patch"] for n in pair.image.shape[:2])
    windows = cut_canvas(pair.image, (pair.run["patch"],) * 2)
    order = iter(np.random.default_rng(pair.run["seed"]).permutation(len(windows)))
    picture = np.vstack([np.hstack([windows[next(order)] for _ in range(columns)]) for _ in range(rows)])
    return Pair(picture, pair.mask, [], pair.run)


def figure_11(c: Sequence[Pair], others: Mapping[str, Sequence[Pair]], peers: int, **options) -> dict[str, dict]:
    """Each plan on the masks and seeds of the first `peers` canvases of (c)."""
    prompts = [(pair.run["context"], pair.mask) for pair in c[:peers]]
    slow = {
        plan: make(peers, TILE * SIDE, prompts, plan, **options | {"plan": plan})
        for plan in ("sliding-window", "multidiffusion")
    }
    made = {"random-patch": c[:peers], paper_tables.SHUFFLED: [shuffled(pair) for pair in c[:peers]]}
    made |= slow | {plan: pairs[:peers] for plan, pairs in others.items()}
    return {name: long_range(pairs) for name, pairs in made.items()}


def out_of_domain(nct: Path | None, crc: Path | None, pcam: Path | None) -> dict[str, tuple[list[Maps], list[bool]]]:
    """Test sets of other organs: osteosarcoma (its central 512 px) and the CRC-VAL sample; full sets where given."""
    viable = [t for t in catalog.load("osteosarcoma", normalised=True) if not t.name.startswith("Non-Viable")]
    middle = [tile.image[:, 256:768, 256:768] for tile in viable]
    sample = list(catalog.load("crc-val-he-7k-sample", normalised=True))
    sets = {
        "osteosarcoma": (dense_features(middle), [t.name.startswith("Viable") for t in viable]),
        "CRC-7K sample": (dense_features([t.image for t in sample]), [t.name.startswith("TUM") for t in sample]),
    }
    stain = profiles()["crc-val-he-7k-sample"]
    for name, folder, load in (
        ("NCT-100K", nct, public_sets.nct_crc_he_100k),
        ("CRC-7K", crc, public_sets.crc_val_he_7k),
        ("PCam", pcam, public_sets.pcam),
    ):
        if folder is not None:
            tiles = list(load(folder, limit=2000 if name == "PCam" else 200))
            images = (t.tile.image for t in tiles)
            if name != "PCam":  # one laboratory's stain, as in the sample
                images = (to_tensor(normalise(to_rgb(image), stain)) for image in images)
            sets[name] = (dense_features(images), [t.carcinoma for t in tiles])
    return sets


def training_sets(real: tuple[list, list], made: tuple[list, list]) -> dict[str, tuple[list, list]]:
    """What Table 2 trains on, by row: tiles and their labels; no row of as many real tiles where there are fewer."""
    count = len(made[0])
    few = {paper_tables.AS_MANY: (real[0][:count], real[1][:count])} if len(real[0]) >= count else {}
    return {"real": real, **few, "synthetic": made, "augmented": (real[0] + made[0], real[1] + made[1])}


def table_2(train: Sequence[Tile], test: Sequence[Tile], synthetic: Pairs, others: dict) -> list[paper_tables.Table]:
    """Classifier and segmenter on real, as many real as synthetic, synthetic and both; `train` in random order."""
    masks = [annotate(to_rgb(t.image), t.context) for t in train]
    real, made = dense_features([t.image for t in train]), dense_features(synthetic[0])
    truth = [t.context != "normal" for t in train]  # LC25000 names the whole tile
    drawn = [carcinoma(mask) for mask in synthetic[1]]
    held_out = dense_features([t.image for t in test])
    sets = training_sets((real, truth), (made, drawn))
    tests = {"test clusters": (held_out, [t.context != "normal" for t in test]), **others}
    began = time.perf_counter()
    classes = compare_classifiers(sets, tests)
    counts = {name: (len(maps), sum(labels)) for name, (maps, labels) in sets.items()}
    expert = list(catalog.load("diffinfinite-lung", "test", kind="real image", normalised=True))
    sets = training_sets((real, masks), (made, synthetic[1]))
    tests = {
        "test clusters, pseudo-annotated": (held_out, [annotate(to_rgb(t.image), t.context) for t in test]),
        f"{len(expert)} expert patches": (dense_features([t.image for t in expert]), [t.mask.numpy() for t in expert]),
    }
    regions = compare_segmenters(sets, tests)
    settings = {"trained": counts, "seeds": len(SEEDS), "seconds": time.perf_counter() - began}
    plain = [{row: {k: vars(v) for k, v in cells.items()} for row, cells in t.items()} for t in (classes, regions)]
    return paper_tables.table2(*plain, settings)


def published(count: int, rng: np.random.Generator) -> list[Tensor]:
    """Random tiles of the synthetic patches that the paper's authors published, stain-normalised."""
    patches = catalog.load("diffinfinite-lung", kind="synthetic image", normalised=True)
    tiles = [tile for patch in patches for tile in cut_canvas(to_rgb(patch.image), (TILE, TILE))]
    return [to_tensor(np.ascontiguousarray(tiles[i])) for i in rng.permutation(len(tiles))[:count]]


def write(tables: Sequence[paper_tables.Table], result: Mapping) -> str:
    """Write all that was measured as JSON and the tables as Markdown; returns the Markdown."""
    weights = result["settings"]["weights"]["image"][:12]
    lines = [
        "# The paper's tables, filled by the shipped model\n",
        f"`{result['command']}`, image weights `{weights}`, windows of {trained_patch()} px.\n",
        *(table.markdown() for table in tables),
    ]
    (OUT / "tables.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (OUT / "tables.md").write_text("\n".join(lines), encoding="utf-8")
    return "\n".join(lines)


def main(
    tiles: int = 32,
    steps: int = 20,
    solver: str = "dpm-solver++",
    precision: str = FASTEST,
    train_tiles: int = 520,
    peers: int = 1,
    nct: Path | None = None,
    crc: Path | None = None,
    pcam: Path | None = None,
) -> None:
    """Generate, measure, write; about ten minutes on two cores, most of them for the peers.

    --tiles a row, a multiple of 16; --train-tiles real ones at most; --peers canvases a plan in Fig. 11;
    --nct, --crc, --pcam: folders of the full public sets.
    """
    if tiles < SIDE * SIDE or tiles % (SIDE * SIDE):
        raise typer.BadParameter(f"expected a multiple of {SIDE * SIDE} tiles, got {tiles}")
    OUT.mkdir(exist_ok=True)
    rng, extractor = np.random.default_rng(0), efficientnet_features()
    test, train = real_tiles("test"), real_tiles("train", train_tiles)
    options = {"steps": steps, "solver": solver, "precision": precision, "plan": "random-patch"}
    large, canvases = TILE * SIDE, tiles // (SIDE * SIDE)
    a = cut(make(tiles, TILE, None, "(a)", **options))
    b_pairs = make(canvases, large, real_masks(test, canvases, rng), "(b)", **options)
    c_pairs = make(canvases, large, None, "(c)", **options)
    prompts = [(pair.run["context"], pair.mask) for pair in c_pairs]
    collage, mixture = (
        make(canvases, large, prompts, name, **options | {"plan": name}) for name in ("diffcollage", "mixture")
    )
    b, c, d = cut(b_pairs), cut(c_pairs), cut(collage)
    images = {
        "DiffInfinite (a)": a[0],
        "DiffCollage": d[0],
        paper_tables.MIXTURE: cut(mixture)[0],
        "DiffInfinite (b)": b[0],
        "DiffInfinite (c)": c[0],
        "DiffInfinite (b) & (c)": b[0][::2] + c[0][1::2],
        paper_tables.PUBLISHED: published(tiles, rng),
        paper_tables.REAL: [tile.image for tile in train[:tiles]],
    }
    real = extractor([tile.image for tile in test])
    standardise = Standardiser.fit(real)
    real, known = standardise(real), standardise(extractor([tile.image for tile in train]))
    seen = {name: standardise(extractor(x)) for name, x in images.items()}
    quality = {name: fidelity_of(real, x) for name, x in seen.items()}
    left = ("DiffInfinite (a)", paper_tables.PUBLISHED, paper_tables.REAL)
    for name in left:
        quality[name]["IS"] = inception(images[name])
    order = rng.permutation(len(real))
    half, others = np.split(real[order], [len(real) // 2])
    compared = {name: x for name, x in seen.items() if name not in left[1:]} | {paper_tables.REAL: others[:tiles]}
    memory = {name: memorisation_of(known, half, x, rng) for name, x in compared.items()}
    peers = min(peers, canvases)
    reach = figure_11(c_pairs, {"diffcollage": collage, "mixture": mixture}, peers, **options)
    shares = {
        "real tiles": [annotate(to_rgb(t.image), t.context) for t in test],
        "generated tiles": a[1],
        "generated large": [pair.mask for pair in c_pairs],
    }
    settings = {
        "tiles": tiles,
        "px": TILE,
        "side": SIDE,
        "real": len(test),
        "train": len(train),
        "features": extractor.name,
        "weights": c_pairs[0].run["weights"],
        "peers": peers,
        **options,
    }
    both = (a[0] + c[0], a[1] + c[1])
    right = [name for name in images if name not in left[:2]]
    found = [
        paper_tables.table1_left({name: quality[name] for name in left}, settings),
        paper_tables.table1_right({name: quality[name] for name in right}, settings),
        *table_2(train, test, both, out_of_domain(nct, crc, pcam)),
        paper_tables.table5(memory, settings),
        paper_tables.figure3(trained_patch() // CELL_PX),
        paper_tables.figure8({n: spatial.label_fractions(m, len(LABELS)).mean(0).tolist() for n, m in shares.items()}),
        paper_tables.figure11(reach, settings),
    ]
    command = f"python benchmarks/tables.py --tiles {tiles} --steps {steps} --solver {solver} --precision {precision}"
    command += f" --train-tiles {train_tiles} --peers {peers}"
    result = {"settings": settings, "command": command, "tables": [vars(table) for table in found]}
    result |= {"fidelity": quality, "memorisation": memory, "long_range": reach}
    typer.echo(write(found, result))


if __name__ == "__main__":
    typer.run(main)
