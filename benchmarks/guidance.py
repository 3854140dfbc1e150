"""From which ω on guidance of eq. 2 paints blots: tiles of the shipped model over ω, beside real tiles.

`python benchmarks/guidance.py` writes reports/guidance.json, and with `--sheet FILE` a picture of the first tile of
each context by ω. Every ω paints the same masks from the same noise. Blots are flat patches in colours that stained
tissue does not have. So the share of pixels in such colours says where they begin, that of pixels with a channel at 0
whether colours run out of the scale, and the Fréchet distance how far the tiles are from real ones in all. Foreign
colours are those in whose neighbourhood (16 levels a channel) none of the pixels of half of the real tiles lies; the
other half says how many of them real tiles have. The bound stands in `pipelines.cautions`.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb, to_tensor
from diffinfinite_lite.devices import bf16_helps
from diffinfinite_lite.evaluation.inputs import cut_canvas
from diffinfinite_lite.labels import CONTEXTS
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import Standardiser, efficientnet_features
from diffinfinite_lite.models.pretrained import expected_hashes, load_models
from diffinfinite_lite.pipelines.cautions import Caution
from diffinfinite_lite.pipelines.masks import generate_mask

OUT = Path("reports/guidance.json")
FASTEST = "bf16" if bf16_helps() else "fp32"
TILE = 224  # px
OMEGAS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0)


def colour_cells(tiles: np.ndarray) -> np.ndarray:
    """Which of 16 x 16 x 16 colours each pixel of tiles (N, H, W, 3) has: integers (N, H, W)."""
    levels = tiles.astype(int) // 16
    return levels[..., 0] * 256 + levels[..., 1] * 16 + levels[..., 2]


def real_tiles() -> np.ndarray:
    """Held-out real tiles, one a cluster, of the training stain: their upper left corners, uint8 (N, TILE, TILE, 3)."""
    (name,) = catalog.training_sets("tiles")
    tiles = catalog.load(name, "test", normalised=True, one_per_cluster=True)
    return np.stack([to_rgb(tile.image)[:TILE, :TILE] for tile in tiles])


def measure(tiles: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Pixels in foreign colours, pixels with a channel at 0, and the Fréchet distance from real tiles."""
    features = efficientnet_features()
    a, b = (features([to_tensor(tile) for tile in some]) for some in (real, tiles))
    scaled = Standardiser.fit(a)
    known = np.bincount(colour_cells(real).ravel(), minlength=16**3) > 0
    foreign = (~known[colour_cells(tiles)]).mean(axis=(1, 2))
    return {
        "foreign colours": round(float(foreign.mean()), 6),
        "foreign colours, worst tile": round(float(foreign.max()), 6),
        "a channel at 0": round(float((tiles == 0).any(axis=3).mean()), 6),
        "Fréchet distance": round(float(fidelity.frechet_distance(scaled(a), scaled(b))), 1),
    }


def main(
    per_context: int = 4,
    steps: int = 20,
    solver: str = "dpm-solver++",
    precision: str = FASTEST,
    sheet: Path | None = None,
) -> None:
    """Paint the tiles and measure them."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", Caution)
    side, jobs = 3 * TILE, []
    for context in CONTEXTS:
        mask = generate_mask(load_models().mask, context, (side, side), seed=0)
        jobs += [(context, tile) for tile in cut_canvas(mask, (TILE, TILE))[:per_context]]
    settings, real, rows, shown = {"steps": steps, "solver": solver, "precision": precision}, real_tiles(), {}, []
    known, others = real[::2], real[1::2]
    rows["real"] = measure(others, known)
    print("real", rows["real"], flush=True)
    for omega in OMEGAS:
        pictures = [
            generate(context, tile, seed=n, omega=omega, **settings).image for n, (context, tile) in enumerate(jobs)
        ]
        rows[f"{omega:g}"] = measure(np.stack(pictures), known)
        shown.append(np.concatenate(pictures[::per_context], axis=0))
        print(omega, rows[f"{omega:g}"], flush=True)
        if sheet:
            Image.fromarray(np.concatenate(shown, axis=1)).save(sheet)
    result = {"tiles": len(jobs), "real tiles": len(known), **settings, "weights": expected_hashes(), "by omega": rows}
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
