"""From which ω on guidance of eq. 2 paints blots: tiles of the shipped model over ω, beside real tiles.

`python benchmarks/guidance.py` writes reports/guidance.json, and with `--sheet FILE` a picture of the first tile of
each context by ω. Every ω paints the same masks from the same noise. Blots are flat, deeply coloured patches whose
colours run into the ends of the scale; so the share of saturated pixels (a channel at 0 or 255) says where they begin,
and the Fréchet distance how far the tiles are from real ones in all. The bound stands in `pipelines.cautions`.
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
from diffinfinite_lite.labels import CONTEXTS
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import Standardiser, efficientnet_features
from diffinfinite_lite.models.pretrained import expected_hashes
from diffinfinite_lite.pipelines.cautions import Caution

OUT = Path("reports/guidance.json")
TILE = 224  # px
OMEGAS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)


def saturated(tiles: np.ndarray) -> np.ndarray:
    """Share of the pixels of each tile (N, H, W, 3) that have a channel at 0 or 255."""
    return ((tiles == 0) | (tiles == 255)).any(axis=3).mean(axis=(1, 2))


def real_tiles() -> np.ndarray:
    """Held-out real tiles, one a cluster, of the training stain: their upper left corners, uint8 (N, TILE, TILE, 3)."""
    (name,) = catalog.training_sets("tiles")
    tiles = catalog.load(name, "test", normalised=True, one_per_cluster=True)
    return np.stack([to_rgb(tile.image)[:TILE, :TILE] for tile in tiles])


def measure(tiles: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Saturated pixels on average, the most of them in one tile, and the Fréchet distance from real tiles."""
    features = efficientnet_features()
    a, b = (features([to_tensor(tile) for tile in some]) for some in (real, tiles))
    scaled = Standardiser.fit(a)
    return {
        "saturated": round(float(saturated(tiles).mean()), 5),
        "most saturated tile": round(float(saturated(tiles).max()), 5),
        "Fréchet distance": round(float(fidelity.frechet_distance(scaled(a), scaled(b))), 1),
    }


def main(per_context: int = 8, steps: int = 20, solver: str = "dpm-solver++", sheet: Path | None = None) -> None:
    """Paint the tiles and measure them."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", Caution)
    jobs = [(context, seed) for context in CONTEXTS for seed in range(per_context)]
    masks = {job: generate(job[0], size=(TILE, TILE), seed=job[1], steps=1).mask for job in jobs}
    settings, real, rows, shown = {"steps": steps, "solver": solver}, real_tiles(), {}, []
    halves = len(real) // 2
    rows["real"] = measure(real[halves:], real[:halves])
    for omega in OMEGAS:
        pictures = [generate(context, masks[context, n], seed=n, omega=omega, **settings).image for context, n in jobs]
        rows[f"{omega:g}"] = measure(np.stack(pictures), real)
        shown.append(np.concatenate(pictures[::per_context], axis=0))
        print(omega, rows[f"{omega:g}"], flush=True)
    result = {"tiles": len(jobs), "real tiles": len(real), **settings, "weights": expected_hashes(), "by omega": rows}
    OUT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if sheet:
        Image.fromarray(np.concatenate(shown, axis=1)).save(sheet)


if __name__ == "__main__":
    typer.run(main)
