"""How good the shipped model is: reconstructions and generated tiles against LC25000's test clusters.

`make eval` writes reports/quality.json, reports/card/ (the report card) and a contact sheet for each context: generated
tiles in the upper half, real test tiles in the lower. The sheets show third-party tiles and are not committed.
Train and real tiles are one per cluster, since rotated copies of one picture would falsify every neighbour.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image
from skimage.metrics import structural_similarity
from torch import Tensor
from tqdm import tqdm

from diffinfinite_lite import catalog, fidelity, generate
from diffinfinite_lite.features import HandcraftedFeatures, Standardiser, efficientnet_features
from diffinfinite_lite.pipeline import load_models
from diffinfinite_lite.report import evaluate, write_report
from diffinfinite_lite.tiles import Tile, to_rgb, to_tensor
from diffinfinite_lite.unet import CONTEXTS

OUT = Path("reports")
TILE = 224


def one_per_cluster(split: str) -> list[Tile]:
    """The first tile of each cluster, stain-normalised."""
    first: dict[str, Tile] = {}
    for tile in catalog.load("lc25000-lung", split, normalised=True):
        first.setdefault(tile.cluster, tile)
    return list(first.values())


@torch.no_grad()
def reconstruct(images: list[Tensor]) -> list[Tensor]:
    """Each image through encoder and decoder, and through the same rounding to bytes as a generated one."""
    autoencoder = load_models()[0]
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


def distances(real: list[Tensor], train: list[Tensor], others: dict[str, list[Tensor]]) -> dict:
    """Fréchet distance of each set to real test tiles, over that of as many real train tiles to the same."""
    result = {}
    for extractor in (efficientnet_features(), HandcraftedFeatures()):
        reference = extractor(real)
        standardise = Standardiser.fit(reference)
        base, known = standardise(reference), standardise(extractor(train))
        row = {}
        for name, images in others.items():
            n = min(len(images), len(known))
            synthetic = fidelity.frechet_distance(base, standardise(extractor(images[:n])))
            matched = fidelity.frechet_distance(base, known[:n])
            row[name] = {"n": n, "frechet": synthetic, "real_to_real": matched, "ratio": synthetic / matched}
        result[extractor.name] = row
    return result


def sheet(context: str, made: list[Tensor], real: list[Tensor], columns: int = 8) -> None:
    """Two rows of generated tiles over two rows of real ones, not chosen."""
    rows = [
        np.hstack([to_rgb(x) for x in tiles[i * columns : (i + 1) * columns]]) for tiles in (made, real) for i in (0, 1)
    ]
    Image.fromarray(np.vstack(rows)).save(OUT / f"sheet-{context}.png")


def table(result: dict) -> str:
    """The figures as Markdown, with the settings and the command that computes them."""
    settings = result["settings"]
    lines = [
        "# Figures of the shipped model",
        "",
        f"`python benchmarks/quality.py --per-context {settings['per_context']} --steps {settings['steps']} "
        f"--omega {settings['omega']:g}`, image weights `{settings['weights']['image'][:12]}`.",
        "",
        "| reconstruction of | PSNR, dB | SSIM | pictures |",
        "|---|---|---|---|",
    ]
    for name, row in result["autoencoder"].items():
        lines.append(f"| {name} | {row['psnr']:.2f} | {row['ssim']:.3f} | {row['pictures']} |")
    lines += [
        "",
        "Fréchet distance to one real test tile per cluster, beside that of as many real training tiles to the same:",
        "",
        "| features | tiles | n | distance | real to real | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for features, rows in result["distances"].items():
        for name, row in rows.items():
            lines.append(
                f"| {features} | {name} | {row['n']} | {row['frechet']:.1f} | {row['real_to_real']:.1f} "
                f"| {row['ratio']:.2f} |"
            )
    lines += [
        "",
        "All numbers of the report card (value with 95% interval; the same for real tiles where it exists):",
        "",
        "| features | number | value | interval | real |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        interval = f"{row['low']:.3g} to {row['high']:.3g}" if row.get("low") is not None else ""
        real = f"{row['real']:.3g}" if isinstance(row.get("real"), float) else ""
        lines.append(f"| {row['features']} | {row['name']} | {row['value']:.3g} | {interval} | {real} |")
    return "\n".join(lines) + "\n"


def main(per_context: int = 36, steps: int = 25, omega: float = 0.0) -> None:
    """Generate, measure, write. 400 tiles per context is the figure to publish; the default takes minutes."""
    OUT.mkdir(exist_ok=True)
    test, train = one_per_cluster("test"), one_per_cluster("train")
    rng = np.random.default_rng(0)
    order = rng.permutation(len(train))
    train_images = [train[i].image for i in order]
    real = [tile.image for tile in test]
    patches = [tile.image for tile in catalog.load("diffinfinite-lung", kind="real image", normalised=True)]

    reconstructed = reconstruct(real)
    result = {
        "autoencoder": {
            "lc25000 test": similarity(real, reconstructed),
            "diffinfinite real": similarity(patches, reconstruct(patches)),
        }
    }
    made: list[Tensor] = []
    for context in CONTEXTS[1:]:
        pairs = [
            generate(context, size=(TILE, TILE), steps=steps, omega=omega, seed=seed)
            for seed in tqdm(range(per_context), desc=context)
        ]
        tiles = [to_tensor(pair.image) for pair in pairs]
        sheet(context, tiles, [t.image for t in test if t.context == context])
        made += tiles
    made = [made[i] for i in rng.permutation(len(made))]
    result["settings"] = {
        "per_context": per_context,
        "steps": steps,
        "omega": omega,
        "weights": pairs[0].run["weights"],
    }
    result["distances"] = distances(real, train_images, {"reconstructed": reconstructed, "generated": made})
    card = evaluate(
        real,
        made,
        train_images,
        generator=rng,
        real_clusters=[t.cluster for t in test],
        train_clusters=[train[i].cluster for i in order],
    )
    write_report(card, OUT / "card", real, made, train_images, title="The shipped model against LC25000 test clusters")
    result["rows"] = card["rows"]
    (OUT / "quality.json").write_text(json.dumps(result, indent=1) + "\n")
    (OUT / "quality.md").write_text(table(result))
    typer.echo(json.dumps({k: result[k] for k in ("autoencoder", "distances", "settings")}, indent=1))
    for row in card["rows"]:
        typer.echo(f"{row['features']:24s}{row['name']:18s}{row['value']:10.3f}   real {row['real']}")


if __name__ == "__main__":
    typer.run(main)
