"""Which plans leave a lattice where their windows meet: canvases of the shipped model by each plan.

`python benchmarks/lattices.py` writes reports/lattices.json. Of every plan the same masks are painted from the same
noise, one a context, and the steps between neighbouring pixels at the lines where windows met are compared with those
elsewhere (`metrics.spatial.seam_statistic`; 1 is no lattice). Plans whose windows move are measured at the lines of a
fixed grid. The sentences stand in `pipelines.cautions`.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
import typer

from diffinfinite_lite import generate
from diffinfinite_lite.devices import bf16_helps
from diffinfinite_lite.evaluation.inputs import painted_canvas
from diffinfinite_lite.labels import CONTEXTS
from diffinfinite_lite.metrics.spatial import seam_statistic
from diffinfinite_lite.models.pretrained import expected_hashes, load_models
from diffinfinite_lite.pipelines.cautions import Caution
from diffinfinite_lite.pipelines.masks import generate_mask
from diffinfinite_lite.sampling.plans import PLANS

OUT = Path("reports/lattices.json")
FASTEST = "bf16" if bf16_helps() else "fp32"


def main(side: int = 448, steps: int = 20, solver: str = "dpm-solver++", precision: str = FASTEST) -> None:
    """Paint the canvases and measure them."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", Caution)
    settings = {"steps": steps, "solver": solver, "precision": precision}
    masks = {context: generate_mask(load_models().mask, context, (side, side), seed=0) for context in CONTEXTS}
    rows: dict[str, dict[str, float]] = {}
    for plan in PLANS:
        rows[plan] = {}
        for context, mask in masks.items():
            canvas = painted_canvas(generate(context, mask, plan=plan, seed=0, **settings))
            rows[plan][context] = round(seam_statistic(canvas.image.numpy(), canvas.rows, canvas.columns).ratio, 2)
        print(plan, rows[plan], flush=True)
    result = {"px": side, **settings, "weights": expected_hashes(), "seam ratio": rows}
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
