"""What painting in a browser costs: weights of eight bits against the full ones, bytes, and seconds in Chromium.

`python benchmarks/browser.py` writes reports/browser.json.

* quality: tiles of the same masks and seeds from the full model and from the one that a browser downloads
  (`widgets.browser_graphs.round_models`), with the page's solver and steps: how far the pixels are apart, and how far
  both sets are from real test tiles and from each other (Fréchet distance);
* painting: seconds from the click to the finished picture in headless Chromium, on the page of the built book, and the
  processor seconds that Chromium's processes took for it, which depend less on what else the machine does.

Run it on an idle machine: load at the start is in the file.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import typer
from playwright.sync_api import sync_playwright
from tqdm import tqdm

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb, to_tensor
from diffinfinite_lite.labels import CELL_PX, CONTEXTS, conditions
from diffinfinite_lite.metrics.features import Standardiser, efficientnet_features
from diffinfinite_lite.metrics.fidelity import frechet_distance
from diffinfinite_lite.models.pretrained import Models, load_models, sampled_margin
from diffinfinite_lite.pipelines.config import configure
from diffinfinite_lite.pipelines.margin import decode_within, mirrored
from diffinfinite_lite.pipelines.masks import generate_mask
from diffinfinite_lite.pipelines.stages import DETAIL, find_stages, last_levels, make_denoiser, sample_stages
from diffinfinite_lite.sampling.plans import multidiffusion
from diffinfinite_lite.widgets.browser_graphs import round_weights

TILE, ACROSS = 224, 5  # px; tiles along a mask


@torch.no_grad()
def tiles(
    models: Models, network: Callable[[Any], Any], mask: np.ndarray, context: str, seed: int, steps: int
) -> list[np.ndarray]:
    """Tiles uint8 (TILE, TILE, 3) that know nothing of their neighbours, one for each square of a mask.

    Parameters
    ----------
    network : makes of that of a stage what a browser has, or leaves it as it is
    steps : of the picture, and of its draft
    """
    window, margin = TILE // CELL_PX, sampled_margin()
    around = window + 2 * margin  # what a tile is painted with, and loses
    settings = {"steps": steps, "draft_steps": steps, "seed": seed, "patch": CELL_PX * around, "batch_size": 5}
    config, plan = configure(None, settings | {"solver": "dpm-solver++"}), partial(multidiffusion, stride=around)
    stages = [
        replace(stage, margin=0, method=replace(stage.method, plan=plan), network=network(stage.network))
        for stage in find_stages(models, config, context, None, "cpu")
    ]
    squares = _squares(conditions(mask, context), window)
    labels = torch.cat([torch.cat([mirrored(cells, margin) for cells in row], dim=1) for row in squares])
    denoisers = {stage.name: make_denoiser(stage, config, "cpu") for stage in stages}
    canvas = last_levels(sample_stages(stages, denoisers, labels))[DETAIL].canvas.latents
    painted = [z[None] for row in _squares(canvas, around) for z in row]
    return [to_rgb(decode_within(models.autoencoder, z, margin)[0]) for z in painted]


def _squares(canvas: torch.Tensor, side: int) -> list[tuple[torch.Tensor, ...]]:
    """Rows of squares of a canvas (..., H, W)."""
    return [row.split(side, dim=-1) for row in canvas.split(side, dim=-2)]


def quality(masks_a_context: int, steps: int) -> dict:
    """Pictures and Fréchet distances with full weights and with those of eight bits."""
    full = load_models()
    eight = full._replace(autoencoder=round_weights(full.autoencoder))
    models = {"full": (full, lambda network: network), "eight_bits": (eight, cache(round_weights))}
    made: dict[str, list[np.ndarray]] = {name: [] for name in models}
    jobs = [(context, seed) for context in CONTEXTS for seed in range(masks_a_context)]
    for context, seed in tqdm(jobs, unit="mask"):
        mask = generate_mask(full.mask, context, (ACROSS * TILE,) * 2, seed=seed)
        for name, pictures in made.items():
            pictures += tiles(*models[name], mask, context, seed, steps)
    apart = np.abs(np.stack(made["full"]).astype(int) - np.stack(made["eight_bits"]))
    extractor = efficientnet_features()
    real = extractor([tile.image for tile in catalog.load("lc25000-lung", split="test", normalised=True)])
    standardise = Standardiser.fit(real)
    features = {name: standardise(extractor(map(to_tensor, pictures))) for name, pictures in made.items()}
    halves = np.random.default_rng(0).permutation(len(made["full"]))
    halves = np.array_split(halves, 2)
    return {
        "tiles": len(made["full"]),
        "steps": steps,
        "levels_apart": {"mean": float(apart.mean()), "p99": float(np.percentile(apart, 99)), "max": int(apart.max())},
        "frechet": {
            "full to real": frechet_distance(standardise(real), features["full"]),
            "eight bits to real": frechet_distance(standardise(real), features["eight_bits"]),
            "eight bits to full, same seeds": frechet_distance(features["full"], features["eight_bits"]),
            "full to full, halves": frechet_distance(*(features["full"][half] for half in halves)),
        },
    }


def _processor_seconds() -> float:
    """Of all processes below this one, so far."""
    found = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += sum(process.cpu_times()[:2])
    return found


def painting(page: Path, runs: int) -> dict:
    """Seconds from the click to the picture of one window, as the page says, and the load while it was painted.

    Parameters
    ----------
    page : the page of the built book
    """
    status = "document.querySelector('[data-part=status]').textContent"
    rows: list[dict] = []
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = chrome.new_page()
        tab.goto(page.resolve().as_uri())
        tab.select_option("[data-part=build]", "wasm")
        began = time.perf_counter()
        for omega in (0, 1):
            tab.evaluate(f"document.querySelector('[data-part=omega]').value = {omega}")
            for _ in range(runs):
                before = _processor_seconds()
                tab.locator("[data-part=paint]").click()
                tab.wait_for_function("!document.querySelector('[data-part=paint]').disabled", timeout=600_000)
                seconds = float(tab.evaluate(status).split(" in ")[1].split(" s ")[0])
                row = {"omega": omega, "seconds": seconds, "load": os.getloadavg()[0]}
                row["processor seconds"] = round(_processor_seconds() - before, 1)
                if not rows:
                    row["with loading"] = time.perf_counter() - began
                rows.append(row)
        chrome.close()
    return {"steps": 10, "px": TILE, "cores": os.cpu_count(), "runs": rows}


def main(
    masks: int = 3,
    steps: int = 10,
    page: Path = Path("_build/html/paint.html"),
    out: Path = Path("reports/browser.json"),
) -> None:
    """Measure and write the report; without masks only the page is timed, and the rest stays as it was."""
    result = json.loads(out.read_text()) if out.exists() else {}
    if masks:
        result |= {"load": os.getloadavg()[0], "quality": quality(masks, steps)}
    result["painting"] = painting(page, 3)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    typer.run(main)
