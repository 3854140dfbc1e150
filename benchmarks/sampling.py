"""What a sample costs, by sampler and size, beside the bare network and beside a one-at-a-time loop.

`make bench` writes reports/bench.json and prints the table. All ratios come from one run on one machine.

* bare: the same number of network evaluations and nothing else, in the same batches;
* naive: one window, one label at a time, a null evaluation for every label (the published loop's way).
"""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
import typer

from diffinfinite_lite.denoise import Denoiser
from diffinfinite_lite.layouts import layout
from diffinfinite_lite.noise import cosine_alphas
from diffinfinite_lite.pipeline import load_models, trained_patch
from diffinfinite_lite.samplers import sample
from diffinfinite_lite.unet import condition_map
from diffinfinite_lite.windows import PLANS


def measure(conditions: torch.Tensor, plan: str, steps: int, **denoising) -> dict:
    """Cost of one run, split into network and the rest, beside the bare network."""
    autoencoder, unet, _ = load_models()
    denoiser = Denoiser(unet, cosine_alphas(), **denoising)
    patch = trained_patch() // autoencoder.factor
    began = time.perf_counter()
    for _level in sample(
        denoiser, conditions, channels=autoencoder.latent_channels, patch=patch, plan=plan, steps=steps
    ):
        pass
    total = time.perf_counter() - began
    ledger = denoiser.ledger
    size = denoiser.batch_size
    z = torch.randn(size, autoencoder.latent_channels, patch, patch)
    condition = torch.zeros(size, patch, patch, dtype=torch.int64)
    began = time.perf_counter()
    with torch.no_grad():
        for _ in range(-(-ledger.evaluations // size)):
            unet(z, torch.full((size,), 500), condition)
    bare = time.perf_counter() - began
    return {
        "plan": plan,
        "px": conditions.shape[0] * autoencoder.factor,
        "steps": steps,
        "windows_per_level": ledger.windows / steps,
        "evaluations": ledger.evaluations,
        "labels_per_window": ledger.labels / ledger.windows,
        "seconds": total,
        "bare_seconds": bare,
        "outside_network": (total - ledger.network_seconds) / total,
    }


def main(px: int = 1024, steps: int = 4, out: Path = Path("reports/bench.json")) -> None:
    """Every plan at one size with dense conditioning, then the naive loop."""
    labels = torch.from_numpy(layout("adenocarcinoma", (px // 8, px // 8), np.random.default_rng(0))).long()
    conditions = condition_map(labels, "adenocarcinoma")
    measure(conditions[:16, :16], "torus-grid", 2)  # warm-up
    rows = [measure(conditions, plan, steps, omega=1.0, batch_size=16) for plan in PLANS]
    naive = measure(conditions, "random-patch", steps, omega=1.0, conditioning="per-label", batch_size=1)
    naive["plan"] = "random-patch, per label, one at a time"
    rows.append(naive)
    typer.echo(
        f"{'sampler':40s}{'windows':>9s}{'NFE':>8s}{'seconds':>9s}{'x bare':>8s}{'x naive':>9s}{'outside net':>13s}"
    )
    for row in rows:
        typer.echo(
            f"{row['plan']:40s}{row['windows_per_level']:9.1f}{row['evaluations']:8d}{row['seconds']:9.1f}"
            f"{row['seconds'] / row['bare_seconds']:8.2f}{naive['seconds'] / row['seconds']:9.1f}"
            f"{row['outside_network']:12.1%}"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        json.dumps(
            {
                "machine": platform.machine(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    typer.run(main)
