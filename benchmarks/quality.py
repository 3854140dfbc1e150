"""How good the shipped model is: reconstructions and generated tiles against LC25000's test clusters.

`make eval` writes reports/quality.json and quality.md, reports/card/ (the report card) and a contact sheet for each
context: generated tiles in the upper half, real test tiles in the lower. The sheets show third-party tiles and are not
committed. What stands between the marks of docs/model_card.md is written from the same numbers. Tiles are generated in
two ways for the same masks: each as a sample of its own, which is what a real tile can be compared with, and cut from
canvases of 5 x 5 tiles, whose tissue is meant to go on from tile to tile; the difference is the price of painting
by windows. No more than six canvases a context are painted, however many tiles are asked for: theirs are as many as
real test tiles, more could not be compared, and a canvas takes longer than its tiles do one by one. Fréchet and
kernel distance compare with all test tiles; whatever counts neighbours (precision, recall, A, C_T) with one tile per
cluster, since rotated copies of one picture would falsify it. Each figure stands beside the same figure of as many real
training tiles.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image
from skimage.metrics import structural_similarity
from sklearn.metrics import jaccard_score
from torch import Tensor
from tqdm import tqdm

import diffinfinite_lite
from diffinfinite_lite import generate
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.annotate import annotate
from diffinfinite_lite.data.tiles import Tile, to_rgb, to_tensor
from diffinfinite_lite.devices import bf16_helps, choose_device
from diffinfinite_lite.evaluation.downstream import dense_features, fit_segmenter, segmentation_table, table_score
from diffinfinite_lite.evaluation.inputs import TileSet, cut_canvas
from diffinfinite_lite.evaluation.report import evaluate, write_report
from diffinfinite_lite.labels import CELL_PX, CONTEXTS, conditions
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import HandcraftedFeatures, Standardiser, efficientnet_features
from diffinfinite_lite.metrics.registry import METRICS
from diffinfinite_lite.models.pretrained import expected_hashes, guided, load_models
from diffinfinite_lite.pipelines.masks import generate_mask
from diffinfinite_lite.sampling.decode import decode
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.plans import multidiffusion
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas

OUT, CARD = Path("reports"), Path("docs/model_card.md")
PARTS = Path("runs/eval")  # what was made so far
LIBRARY = Path(diffinfinite_lite.__file__).parent
SOURCE = [path.read_text("utf8") for path in sorted(LIBRARY.rglob("*.py"))]  # of this very process
MARKS = "<!-- figures: make eval -->", "<!-- end -->"
TILE, ACROSS, CANVASES = 224, 5, 6  # px; tiles along a canvas; canvases of a context at most
FASTEST = "bf16" if bf16_helps() else "fp32"  # bf16 takes seven times longer where the processor only imitates it
DRAWS = 20  # of each random subset; means and 95% intervals over them
SHOWN = {  # the name of a number in the report -> its metric
    "Fréchet distance": METRICS["FD"],
    "kernel distance (KID)": METRICS["KD"],
    **{name: METRICS[name] for name in ("precision", "recall", "told apart")},
}


@torch.no_grad()
def reconstruct(images: list[Tensor]) -> list[Tensor]:
    """Each image through encoder and decoder, and through the same rounding to bytes as a generated one."""
    autoencoder = load_models().autoencoder
    return [to_tensor(to_rgb(autoencoder.decode(autoencoder.encode(x[None]))[0].clamp(-1, 1))) for x in images]


def similarity(images: list[Tensor], others: list[Tensor]) -> dict:
    """PSNR (dB) and SSIM, means over pictures."""
    errors = [float((a - b).square().mean()) for a, b in zip(images, others, strict=True)]
    ssim = [structural_similarity(to_rgb(a), to_rgb(b), channel_axis=2) for a, b in zip(images, others, strict=True)]
    return {
        "psnr": float(np.mean([10 * np.log10(4 / e) for e in errors])),
        "ssim": float(np.mean(ssim)),
        "pictures": len(images),
    }


def remembered(name: str, make: Callable[[], dict[str, np.ndarray]], **settings) -> dict[str, np.ndarray]:
    """Arrays as `make` returns them, or as an interrupted or shorter run with the same settings has left them.

    They are those of the weights and the source files that are here: after any change all is made again.
    """
    key = hashlib.sha256(json.dumps([name, settings, expected_hashes(), SOURCE], sort_keys=True).encode())
    path = PARTS / f"{name}-{key.hexdigest()[:16]}.npz"
    if not path.exists():
        PARTS.mkdir(parents=True, exist_ok=True)
        partial_file = path.with_suffix(f".{os.getpid()}.partial")  # by process: two may share the work
        with open(partial_file, "wb") as file:
            np.savez_compressed(file, **make())
        partial_file.replace(path)
    with np.load(path) as arrays:
        return dict(arrays)


def make_tiles(context: str, count: int, plan: str, **settings) -> tuple[dict[str, list[Tensor]], list]:
    """Tiles (3, TILE, TILE) "generated" one by one and "cut from canvases", and their masks (TILE, TILE).

    Masks have seeds 0, 1, ...; the first `CANVASES` of them are painted as canvases too.
    """
    tiles: dict[str, list[Tensor]] = {"generated": [], "cut from canvases": []}
    masks: list[np.ndarray] = []
    side = TILE * min(ACROSS, int(np.ceil(count**0.5)))

    def make(seed: int) -> dict[str, np.ndarray]:
        mask = make_mask(context, (side, side), seed, settings["precision"])
        made = {"masks": np.stack(cut_canvas(mask, (TILE, TILE))), **one_by_one(mask, context, seed, **settings)}
        if seed < CANVASES:
            canvas = generate(context, mask, seed=seed, plan=plan, **settings)
            made["cut from canvases"] = np.stack(cut_canvas(canvas.image, (TILE, TILE)))
        return made

    bar = tqdm(total=count, desc=context, unit="tile")
    for seed in range(count):
        if len(masks) >= count:
            break
        made = remembered(f"{context}-{side}-{seed}", partial(make, seed), plan=plan, **settings)
        for name in tiles.keys() & made.keys():
            tiles[name] += [to_tensor(tile) for tile in made[name]]
        masks += list(made["masks"])
        bar.update(min(len(masks), count) - bar.n)
    bar.close()
    return {name: made[:count] for name, made in tiles.items()}, masks[:count]


def make_mask(context: str, size: tuple[int, int], seed: int, precision: str) -> np.ndarray:
    """Labels (H, W), as `generate` makes them from a context."""
    device = choose_device(None)
    return generate_mask(load_models(device=device).mask, context, size, seed=seed, precision=precision, device=device)


def one_by_one(
    mask: np.ndarray,
    context: str,
    seed: int,
    *,
    steps: int,
    solver: str,
    omega: float,
    autoguidance: float,
    precision: str,
) -> dict[str, np.ndarray]:
    """A tile for each square of a mask that knows nothing of its neighbours: windows side by side that never move.

    Returns
    -------
    uint8 (N, TILE, TILE, 3) as "generated"
    """
    device = choose_device(None)
    autoencoder, unet, _ = load_models(device=device)
    alphas, window = cosine_alphas().to(device), TILE // CELL_PX
    levels = sample(
        Denoiser(guided(unet, autoguidance), alphas, omega=omega, batch_size=16, precision=precision),
        conditions(mask, context).to(device),
        channels=autoencoder.latent_channels,
        patch=window,
        plan=partial(multidiffusion, stride=window),
        solver=solver,
        steps=steps,
        seed=seed,
    )
    for level in levels:
        canvas = level.canvas.latents
    tiles = [z for row in canvas.split(window, dim=1) for z in row.split(window, dim=2)]
    # without a border: the model learnt latents of whole tiles, whose outermost ones expect the decoder's zero padding
    return {"generated": np.stack([to_rgb(decode(autoencoder, z).clamp(-1, 1)) for z in tiles])}


def read_real(rng: np.random.Generator) -> dict[str, list[Tile]]:
    """Stain-normalised LC25000: all test tiles, twice as many of train, and one tile per cluster of both."""
    read = partial(catalog.load, "lc25000-lung", normalised=True)
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


def solvers(test: list[Tensor], *, omega: float, autoguidance: float, precision: str) -> dict[str, float]:
    """Fréchet distance to test tiles after 20 DPM-Solver++ and after 250 DDIM steps, for the same masks and seed."""
    extractor = efficientnet_features()
    real = extractor(test)
    standardise = Standardiser.fit(real)
    size = (ACROSS * TILE,) * 2
    settings = {"omega": omega, "autoguidance": autoguidance, "precision": precision}
    masks = [(c, make_mask(c, size, 0, precision)) for c in CONTEXTS]
    distances = {}
    for solver, steps in (("dpm-solver++", 20), ("ddim", 250)):
        tiles = []
        for c, mask in tqdm(masks, desc=f"{steps} {solver}", unit="canvas"):
            how = {"solver": solver, "steps": steps, **settings}
            made = remembered(f"{c}-{steps}", partial(one_by_one, mask, c, 0, **how), **how)
            tiles += [to_tensor(tile) for tile in made["generated"]]
        distances[solver] = fidelity.frechet_distance(standardise(real), standardise(extractor(tiles)))
    return {**distances, "tiles": len(tiles)}


def compare(real: dict[str, list[Tile]], sets: dict[str, list[Tensor]], rng: np.random.Generator) -> list[dict]:
    """All fidelity figures, one row for each pair of extractor and number; see `beside_real` and `read_real`."""
    rows = []
    for extractor in (efficientnet_features(), HandcraftedFeatures()):
        seen = {name: extractor([tile.image for tile in tiles]) for name, tiles in real.items()}
        standardise = Standardiser.fit(seen["test"])
        seen = {name: standardise(features) for name, features in seen.items()}
        for tiles, images in sets.items():
            made = standardise(extractor(images))
            for number, metric in SHOWN.items():
                test, train = ("test clusters", "train clusters") if metric.one_per_cluster else ("test", "train")
                row = beside_real(metric.seeded(rng), seen[test], seen[train], made, rng)
                rows.append({"features": extractor.name, "tiles": tiles, "number": number, **row})
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


def sensitivity(steps: int) -> dict:
    """Carcinoma becomes stroma in the right half of a mask, same seed: mean change of the picture by place.

    "elsewhere" is what lies more than a window away from the change, 0 if nothing leaks.
    """
    mask = np.full((448, 1120), 1, np.uint8)
    changed = mask.copy()
    changed[:, 784:] = 3
    before, after = (
        generate("squamous", m, steps=steps, solver="dpm-solver++", plan="sliding-window").image.astype(float)
        for m in (mask, changed)
    )
    difference = np.abs(before - after).mean(axis=2)
    return {"changed": float(difference[:, 784:].mean()), "elsewhere": float(difference[:, : 784 - TILE - 64].mean())}


def sheet(path: Path, made: list[Tensor], real: list[Tensor], columns: int = 8) -> None:
    """Two rows of generated tiles over two rows of real ones, not chosen."""
    rows = [
        np.hstack([to_rgb(x) for x in tiles[i * columns : (i + 1) * columns]]) for tiles in (made, real) for i in (0, 1)
    ]
    Image.fromarray(np.vstack(rows)).save(path)


def table(result: dict) -> str:
    """The figures as Markdown, with the settings and the command that computes them."""
    settings = result["settings"]
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings["options"].items())
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
    cost = result["solvers"]
    lines += [
        "",
        f"Solvers, {cost['tiles']} tiles of the same masks and seed: Fréchet distance {cost['dpm-solver++']:.1f} after "
        f"20 DPM-Solver++ steps and {cost['ddim']:.1f} after 250 DDIM steps, "
        f"{cost['dpm-solver++'] / cost['ddim'] - 1:+.1%}.",
    ]
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
    ]
    return "\n".join(lines) + "\n"


def bars(result: dict) -> list[tuple[str, str, str, bool | None]]:
    """What the project asks of its model: name, measured, wanted, and whether that is reached, None without a bar."""
    ruler = "EfficientNetLite0"
    rows = {(row["tiles"], row["number"]): row for row in result["fidelity"] if row["features"] == ruler}
    memory = {row["name"]: row for row in result["card"] if row["features"] == ruler}
    tiles, patches = (result["autoencoder"][name] for name in ("lc25000 test", "diffinfinite real"))
    ratios = [rows[name, "Fréchet distance"]["ratio"] for name in ("reconstructed", "generated", "cut from canvases")]
    precision, recall = (rows["generated", name]["ratio"] for name in ("precision", "recall"))
    told, cost = rows["generated", "told apart"]["generated"], result["solvers"]
    iou, a, c = result["faithfulness"], memory["A"], memory["C_T"]["value"]
    steps = cost["dpm-solver++"] / cost["ddim"] - 1
    over = "over real to real"
    return [
        (
            "reconstruction, LC25000 test tiles",
            f"{tiles['psnr']:.1f} dB, SSIM {tiles['ssim']:.3f}",
            "at least 30 dB",
            tiles["psnr"] >= 30,
        ),
        (
            f"reconstruction, {patches['pictures']} real DiffInfinite patches",
            f"{patches['psnr']:.1f} dB, SSIM {patches['ssim']:.3f}",
            "at least 27 dB",
            patches["psnr"] >= 27,
        ),
        (f"Fréchet distance of reconstructions, {over}", f"{ratios[0]:.1f}", "at most 1.5", ratios[0] <= 1.5),
        (f"Fréchet distance of generated tiles, {over}", f"{ratios[1]:.1f}", "at most 3", ratios[1] <= 3),
        (f"Fréchet distance of tiles cut from canvases, {over}", f"{ratios[2]:.1f}", "", None),
        (f"precision, {over}", f"{precision:.2f}", "at least 0.9", precision >= 0.9),
        (f"recall, {over}", f"{recall:.2f}", "at least 0.7", recall >= 0.7),
        ("told from real by logistic regression", f"{told:.1%}", "", None),
        (
            "mean IoU of a segmenter, generated pairs / real tiles",
            f"{iou['generated']:.2f} / {iou['real']:.2f}",
            "within 0.10",
            iou["real"] - iou["generated"] <= 0.1,
        ),
        (
            "authenticity A, generated / unseen real",
            f"{a['value']:.3f} / {a['real']:.3f}",
            "no lower than real",
            a["value"] >= a["real"],
        ),
        ("C_T", f"{c:.1f}", "-3 to 3", -3 <= c <= 3),
        (
            "Fréchet distance, 20 DPM-Solver++ steps over 250 DDIM steps",
            f"{steps:+.1%}",
            "at most +10%",
            steps <= 0.1,
        ),
    ]


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
    """The image model of a run by the hashes of its files, and of its update where it has one."""
    return " and ".join(f"`{weights[name][:12]}`" for name in ("image", "image_update") if name in weights)


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
    autoguidance: float = 0.0,
    precision: str = FASTEST,
    out: Path = OUT,
) -> None:
    """Generate, measure, write; what an interrupted run has generated is used.

    The defaults are the published figures, which go to the model card as well; those of other settings need --out.
    """
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    sampling = {"steps": steps, "solver": solver, "plan": plan, "omega": omega}
    sampling |= {"autoguidance": autoguidance, "precision": precision}
    real_tiles = read_real(rng)
    single_test, single_train = real_tiles["test clusters"], real_tiles["train clusters"]
    patches = [tile.image for tile in catalog.load("diffinfinite-lung", kind="real image", normalised=True)]
    real = [tile.image for tile in real_tiles["test"]]
    reconstructed = reconstruct(real)
    result = {
        "autoencoder": {
            "lc25000 test": similarity(real, reconstructed),
            "diffinfinite real": similarity(patches, reconstruct(patches)),
        }
    }
    sets: dict[str, list[Tensor]] = {"reconstructed": reconstructed, "generated": [], "cut from canvases": []}
    masks: list[np.ndarray] = []
    for context in CONTEXTS:
        images, labels = make_tiles(context, per_context, **sampling)
        shown = [images["generated"][i] for i in rng.permutation(len(labels))[:16]]
        sheet(out / f"sheet-{context}.png", shown, [t.image for t in single_test if t.context == context])
        for name, tiles in images.items():
            sets[name] += tiles
        masks += labels
    order = rng.permutation(len(masks))
    made, masks = [sets["generated"][i] for i in order], [masks[i] for i in order]
    result["settings"] = {
        "options": {"per_context": per_context, **sampling},
        "weights": expected_hashes(),
        "cut": len(sets["cut from canvases"]),
    }
    result["fidelity"] = compare(real_tiles, sets, rng)
    result["solvers"] = solvers(real, omega=omega, autoguidance=autoguidance, precision=precision)
    result["sensitivity"] = sensitivity(steps)
    shown = len(single_test)
    result["faithfulness"] = faithfulness(single_train, single_test, made[:shown], masks[:shown])
    real_masks = [annotate(to_rgb(tile.image), tile.context) for tile in single_test]
    tested, trained = (
        TileSet([t.image for t in tiles], labels, [t.cluster for t in tiles])
        for tiles, labels in ((single_test, real_masks), (single_train, ()))
    )
    card = evaluate(tested, TileSet(made, masks), trained, generator=rng)
    title = "The shipped model against LC25000 test clusters"
    write_report(card, out / "card", tested.images, made, trained.images, title=title)
    result["card"] = card["rows"]
    (out / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "quality.md").write_text(table(result))
    if out == OUT and CARD.exists():  # not where somebody measures in a folder of their own
        CARD.write_text(fill(CARD.read_text("utf8"), figures(result)), "utf8")
    typer.echo(table(result))


if __name__ == "__main__":
    typer.run(main)
