"""Which labels the shipped model knows under which context: pictures that are all of one label, told apart in pixels.

`python benchmarks/labels.py` writes reports/labels.json, and with `--sheet FILE` a picture of the first tile of each
label by context. Two labels of one context are painted from the same noise, so that a model that hardly knows one of
them paints nearly the same picture twice. Differences are means over pixels, channels and seeds, in grey levels. The
sentences on labels that are hardly known stand in `pipelines.cautions`.
"""

from __future__ import annotations

import json
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import typer
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.devices import bf16_helps
from diffinfinite_lite.labels import LABELS, PROMPTS
from diffinfinite_lite.models.pretrained import expected_hashes
from diffinfinite_lite.pipelines.cautions import Caution

OUT = Path("reports/labels.json")
MASKS = "mask"  # the network that takes no part: masks are given
FASTEST = "bf16" if bf16_helps() else "fp32"
TILE = 224  # px


def differences(pictures: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Of every two labels, the mean difference of their pictures (N, H, W, 3) in grey levels, both ways round.

    >>> black, grey = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 7, np.uint8)
    >>> differences({"stroma": black, "air": grey})
    {'stroma': {'air': 7.0}, 'air': {'stroma': 7.0}}
    """
    found: dict[str, dict[str, float]] = {name: {} for name in pictures}
    for a, b in combinations(pictures, 2):
        difference = np.abs(pictures[a].astype(float) - pictures[b].astype(float)).mean()
        found[a][b] = found[b][a] = round(float(difference), 1)
    return found


def main(
    seeds: int = 4, steps: int = 20, solver: str = "dpm-solver++", precision: str = FASTEST, sheet: Path | None = None
) -> None:
    """Paint the tiles and compare them."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", Caution)
    settings, rows, shown = {"steps": steps, "solver": solver, "precision": precision}, {}, []
    for context in PROMPTS:
        pictures = {
            name: np.stack(
                [
                    generate(context, np.full((TILE, TILE), label, np.uint8), seed=seed, **settings).image
                    for seed in range(seeds)
                ]
            )
            for label, name in enumerate(LABELS)
        }
        rows[context] = differences(pictures)
        print(context, rows[context], flush=True)
        shown.append(np.hstack([tiles[0] for tiles in pictures.values()]))
        if sheet:
            Image.fromarray(np.vstack(shown)).save(sheet)
    weights = {network: sha256 for network, sha256 in expected_hashes().items() if network != MASKS}
    result = {"seeds": seeds, **settings, "weights": weights, "grey levels": rows}
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
