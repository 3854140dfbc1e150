"""What sampling costs beside the bare network and beside the published way of looping; every figure but one is a ratio.

`make bench` writes reports/bench.json and reports/bench.md. All of it comes from one run on one machine:

* overhead: the share of a run that is not network, by plan and size; and the run over *bare*, the same number of
  evaluations of the network and nothing else, in its best batch size;
* published loop: Alg. 2 as it is coded, one window and one label at a time, two evaluations a label;
* distance: Fréchet distance to real test tiles of what that loop paints and of what torus-grid and dense conditioning
  paint, both in the paper's single stage, or the library's defaults, draft and all, for the same masks and seeds (left
  out where LC25000 is not on the machine);
* growth: the exponent of time over area, levels of all stages and decoding together;
* pair: prompt to saved files with 20 steps of DPM-Solver++ a stage over the bare evaluations of all its networks;
* live: seconds, and no ratio, from a new seed in the workbench to the picture of its patch, mask and all; in a process
  of its own, as a notebook's kernel is.

Overhead and the published loop are about the loop, not about pictures: they run it over bare latents of the image
model. Everything else goes the way that `generate` goes, so that stages and a sampled margin are in it.

Half windows (DiffCollage) count by their pixels. Run it on an idle machine: load at the start is in the file.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import typer
from torch import Tensor, nn

from diffinfinite_lite import generate
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_tensor
from diffinfinite_lite.evaluation.inputs import cut_canvas
from diffinfinite_lite.labels import CONTEXTS, PROMPTS, condition_map
from diffinfinite_lite.metrics.features import Standardiser, efficientnet_features
from diffinfinite_lite.metrics.fidelity import frechet_distance
from diffinfinite_lite.metrics.resampling import bootstrap
from diffinfinite_lite.models.pretrained import has_draft, load_draft, load_models, sampled_margin, trained_patch
from diffinfinite_lite.pipelines.config import configure
from diffinfinite_lite.pipelines.generate import picture
from diffinfinite_lite.pipelines.masks import generate_mask, scales
from diffinfinite_lite.pipelines.stages import DETAIL, find_stages, last_levels, make_denoiser, sample_stages
from diffinfinite_lite.sampling.cost import peak_memory
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.noise import coordinate_noise, level_generator
from diffinfinite_lite.sampling.plans import PLANS, random_patch
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas, ddim_step, trailing_timesteps
from diffinfinite_lite.sampling.windows import Window

BARS = {
    "outside_network": 0.10,
    "evaluations_saved": 4.0,
    "time_saved": 6.0,
    "exponent": 1.05,
    "pair_over_bare": 1.2,
    "live_seconds": 3.0,
}
ALPHAS = cosine_alphas()


def mosaic(side: int, cell: int) -> Tensor:
    """Condition map of random labels in squares: windows of that size hold 2.7 labels on average, as borders do."""
    squares = np.random.default_rng(0).integers(1, 5, (-(-side // cell),) * 2)
    labels = squares.repeat(cell, 0).repeat(cell, 1)[:side, :side]
    return condition_map(torch.from_numpy(labels), PROMPTS[1])


@torch.no_grad()
def bare(network: nn.Module, evaluations: float, batch: int, patch: int, channels: int) -> float:
    """Seconds for so many evaluations and nothing else, measured on up to 256 of them."""
    z, condition = torch.randn(batch, channels, patch, patch), torch.ones(batch, patch, patch, dtype=torch.int64)
    calls = max(1, min(256, round(evaluations)) // batch)
    levels = [torch.full((batch,), round(1000 * (call + 0.5) / calls)) for call in range(calls)]  # as a run's are
    network(z, levels[0], condition)
    began = time.perf_counter()
    for t in levels:
        network(z, t, condition)
    return (time.perf_counter() - began) / (calls * batch) * evaluations


def best_batch(network: nn.Module, patch: int, channels: int, candidates=(4, 8, 16, 32)) -> int:
    """The batch size with the shortest time an evaluation."""
    return min(candidates, key=lambda batch: bare(network, 64, batch, patch, channels))


def overhead(network: nn.Module, channels: int, patch: int, batch: int, side: int, plan: str, steps: int) -> dict:
    """One run and what of it is not network."""
    conditions, denoiser = mosaic(side, patch), Denoiser(network, ALPHAS, batch_size=batch)
    began = time.perf_counter()
    *_, level = sample(denoiser, conditions, channels=channels, patch=patch, plan=plan, steps=steps)
    total, ledger = time.perf_counter() - began, level.ledger
    alone = bare(network, ledger.pixels / patch**2, batch, patch, channels)
    return {
        "plan": plan,
        "px": 8 * side,
        "windows_per_level": ledger.windows / steps,
        "evaluations": ledger.evaluations,
        "seconds": total,
        "outside_network": (total - ledger.network_seconds) / total,
        "over_bare": total / alone,
    }


@torch.no_grad()
def published_loop(network: nn.Module, conditions: Tensor, channels: int, patch: int, steps: int) -> tuple[Tensor, int]:
    """Alg. 2 as it is coded: each window, each of its labels, conditional and null call, step, first writer.

    Returns
    -------
    Latents (C, H, W), the library's own where windows and noise are (tested), and evaluations made.
    """
    size, timesteps, evaluations = tuple(conditions.shape), trailing_timesteps(steps), 0
    y = coordinate_noise(0, 0, channels, Window(0, 0, *size))
    for m, t in enumerate(timesteps):
        alpha, following = ALPHAS[t], ALPHAS[timesteps[m + 1]] if m + 1 < steps else torch.tensor(1.0)
        replica = y.clone()
        for window, weight in random_patch(size, patch, level_generator(0, m)):
            at = (slice(None), *window.index(size))
            crop, cut = replica[at], conditions[at[1:]]
            for n in cut.unique():
                calls = [network(crop[None], torch.tensor([t]), own[None])[0] for own in (cut * (cut == n), cut * 0)]
                evaluations += len(calls)
                velocity = 2 * calls[0] - calls[1]  # omega = 1
                eps = alpha**0.5 * velocity + (1 - alpha) ** 0.5 * crop
                y[at] = torch.where((cut == n) & (weight > 0), ddim_step(crop, eps, alpha, following), y[at])
    return y, evaluations


def against_published_loop(network: nn.Module, channels: int, patch: int, batch: int, side: int, steps: int) -> dict:
    """Evaluations and seconds of the published loop over those of torus-grid with dense conditioning, omega = 1."""
    conditions = mosaic(side, patch)
    began = time.perf_counter()
    _, theirs = published_loop(network, conditions, channels, patch, steps)
    slow = time.perf_counter() - began
    denoiser = Denoiser(network, ALPHAS, omega=1.0, batch_size=batch)
    began = time.perf_counter()
    *_, level = sample(denoiser, conditions, channels=channels, patch=patch, plan="torus-grid", steps=steps)
    fast = time.perf_counter() - began
    return {
        "px": 8 * side,
        "steps": steps,
        "labels_per_window": level.ledger.labels / level.ledger.windows,
        "evaluations": [theirs, level.ledger.evaluations],
        "seconds": [slow, fast],
        "evaluations_saved": theirs / level.ledger.evaluations,
        "time_saved": slow / fast,
    }


def distance(px: int, steps: int, weights: Path | None = None) -> dict | None:
    """The same masks painted by each way, one canvas a context: Fréchet distances of their tiles with 95% intervals.

    The published way comes from the library, which paints the same pictures with fewer evaluations (tested). Sides are
    no multiple of the patch, as in the other figures: where they are, windows of torus-grid do not overlap at all.
    """
    if not catalog.available("lc25000-lung"):
        return None
    extractor, side = efficientnet_features(), trained_patch(weights)
    real = extractor(tile.image for tile in catalog.load("lc25000-lung", "test", normalised=True))
    standardise = Standardiser.fit(real)
    model = load_models(weights).mask
    real, masks = standardise(real), [(c, generate_mask(model, c, (px, px))) for c in CONTEXTS]
    ways: dict[str, dict] = {
        "published": {"plan": "random-patch", "conditioning": "per-label", "draft_steps": 0},
        "ours": {"plan": "torus-grid", "conditioning": "dense", "draft_steps": 0},
        "default": {"plan": "mixture", "conditioning": "dense"},
    }
    found: dict = {"px": px, "steps": steps, "tiles": len(masks) * (px // side) ** 2}
    for name, way in ways.items():
        settings = {"steps": steps, "omega": 1.0, "solver": "dpm-solver++", "weights": weights, **way}
        pictures = (generate(c, mask, **settings).image for c, mask in masks)
        tiles = [to_tensor(tile.copy()) for picture in pictures for tile in cut_canvas(picture, (side, side))]
        to_real, generator = partial(frechet_distance, real), np.random.default_rng(0)
        found[name] = vars(bootstrap(to_real, standardise(extractor(tiles)), generator=generator))
    return found


def growth(batch: int, sides: list[int], weights: Path | None = None) -> dict:
    """Seconds of 20 levels a stage and decoding by size, and the exponent over area; larger canvases: fewer levels."""
    models, rows = load_models(weights), []
    for side in sides:
        steps = max(1, 8 * sides[0] // side)
        settings = {"plan": "torus-grid", "steps": steps, "draft_steps": steps if has_draft(weights) else 0}
        config = configure(None, settings | {"batch_size": batch}, weights)
        stages = find_stages(models, config, PROMPTS[1], weights, "cpu")
        denoisers = {stage.name: make_denoiser(stage, config, "cpu") for stage in stages}
        began = time.perf_counter()
        last = last_levels(sample_stages(stages, denoisers, mosaic(side, config.window)))
        sampled = time.perf_counter() - began
        picture(models.autoencoder, last[DETAIL].canvas.latents, config, sampled_margin(weights))
        decoding = time.perf_counter() - began - sampled
        rows.append({"px": 8 * side, "level": sampled / steps, "decoding": decoding})
    areas = np.log([row["px"] ** 2 for row in rows])

    def exponent(seconds: list[float]) -> float:
        return float(np.polyfit(areas, np.log(seconds), 1)[0])

    return {
        "rows": rows,
        "exponent": exponent([20 * row["level"] + row["decoding"] for row in rows]),
        "exponent_levels": exponent([row["level"] for row in rows]),
        "exponent_decoding": exponent([row["decoding"] for row in rows]),
    }


def networks_of_a_pair(weights: Path | None) -> list[tuple[str, nn.Module]]:
    """Every network that `generate` asks for a pair, by the part of the work that it does."""
    models, drafting = load_models(weights), load_draft(weights)
    image = [("image", models.image), *([("draft", drafting.network)] if drafting else [])]
    return [*image, *(("mask", scale.network) for scale in scales(models.mask))]


def pair_end_to_end(px: int, steps: int, weights: Path | None = None) -> dict:
    """A prompt to saved files, over the bare evaluations of its networks."""
    networks = networks_of_a_pair(weights)
    shapes: list[list] = [[] for _ in networks]
    hooks = [
        network.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[0].shape))
        for (_, network), seen in zip(networks, shapes, strict=True)
    ]
    settings = {"steps": steps, "solver": "dpm-solver++", "batch_size": 32, "device": "cpu"}  # where the hooks are
    settings |= {"draft_steps": steps if has_draft(weights) else 0, "weights": weights}
    small = max(64, 8 * (sampled_margin(weights) + 1))  # px
    warm = {name: 1 for name in ("steps", "draft_steps") if settings[name]}
    generate("adenocarcinoma", size=(small, small), **settings | warm)  # imports are the process's, not the pair's
    for seen in shapes:
        seen.clear()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        pair = generate("adenocarcinoma", size=(px, px), **settings)
        made = time.perf_counter() - began
        pair.save(folder)
        total = time.perf_counter() - began
    for hook in hooks:
        hook.remove()
    alone: dict[str, float] = {}
    for (part, network), seen in zip(networks, shapes, strict=True):
        _, channels, patch, _ = seen[0]
        batch = best_batch(network, patch, channels)
        seconds = bare(network, sum(shape[0] for shape in seen), batch, patch, channels)
        alone[part] = alone.get(part, 0.0) + seconds
    return {
        "px": px,
        "steps": steps,
        "seconds": {**pair.run["seconds"], "saving": total - made, "total": total},
        "bare_seconds": alone,
        "pair_over_bare": total / sum(alone.values()),
        "given_mask_over_bare": (total - pair.run["seconds"]["mask"]) / (sum(alone.values()) - alone["mask"]),
    }


def live(px: int, steps: int, seeds: int, weights: Path | None = None) -> dict:
    """Turn the seed in a workbench, whose call of `generate` this is; the slowest of so many seeds counts."""
    from diffinfinite_lite.widgets.session import Session  # its plotting packages belong to no other figure's memory
    from diffinfinite_lite.widgets.studio import Studio

    parts: dict = {}
    session = Session(Studio(weights), lambda **shown: parts.update(shown), f"size={px}x{px}&steps={steps}")
    slowest = {}

    def turn(action: dict) -> float:
        began = time.perf_counter()
        session.handle(action)
        session.job.wait()
        if session.job.phase != "done" or parts.get("fault"):
            raise RuntimeError(f"expected a new picture, got none: {session.job.error or parts.get('fault')}")
        return time.perf_counter() - began

    turn({"do": "open"})
    for number, omega in enumerate((0.0, 1.0)):
        turn({"do": "set", "name": "omega", "value": f"{omega:g}"})
        seconds = [turn({"do": "set", "name": "seed", "value": str(1 + number * seeds + n)}) for n in range(seeds)]
        slowest[f"{omega:g}"] = max(seconds)
    return {"px": px, "steps": steps, "seeds": seeds, "seconds_by_omega": slowest}


def alone(measure: Callable[..., dict], *arguments: object) -> dict:
    """What a measurement finds in a fresh process, which no other one has used."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def named(pair: dict) -> str:
    """The networks of a pair as a sentence has them.

    >>> named({"bare_seconds": {"image": 1.0, "draft": 1.0, "mask": 1.0}})
    'image, draft and mask'
    """
    *first, last = pair["bare_seconds"]
    return f"{', '.join(first)} and {last}"


def table(result: dict) -> str:
    """The figures as Markdown, each beside its bar."""
    lines = [
        "# What sampling costs",
        "",
        f"`python benchmarks/sampling.py{' --quick' if result['quick'] else ''}` on {result['machine']}, "
        f"{result['threads']} threads, load {result['load']:.1f} at the start, batches of {result['batch']}, patch "
        f"{result['patch']} px, {result['minutes']:.1f} minutes, {result['peak_memory_mb']} MB at most.",
        "",
        "| plan | px | windows a level | evaluations | seconds | outside the network (at most 10%) | run / bare |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["overhead"]:
        lines.append(
            f"| {row['plan']} | {row['px']} | {row['windows_per_level']:.0f} | {row['evaluations']} "
            f"| {row['seconds']:.1f} | {row['outside_network']:.1%} | {row['over_bare']:.2f} |"
        )
    loop, grown, pair, live = (result[name] for name in ("published_loop", "growth", "pair", "live"))
    far = result["distance"]

    def shown(way: dict) -> str:
        return f"{way['value']:.1f} ({way['low']:.1f} to {way['high']:.1f})"

    lines += [
        "",
        "| | measured | bar |",
        "|---|---|---|",
        f"| published loop at {loop['px']} px, {loop['labels_per_window']:.1f} labels a window: evaluations over ours "
        f"| {loop['evaluations_saved']:.1f} | at least {BARS['evaluations_saved']:g} |",
        f"| the same, seconds over ours | {loop['time_saved']:.1f} | at least {BARS['time_saved']:g} |",
        *(
            f"| Fréchet distance of {far['tiles']} tiles from canvases of {far['px']} px, ω = 1: published way "
            f"{shown(far['published'])}, {name} | {shown(far[way])} | {bar} |"
            for way, name, bar in (
                ("ours", "ours", "not above that interval"),
                ("default", "mixture with dense conditioning, the default of `generate`", "none"),
            )
            if far
        ),
        f"| exponent of time over area, {grown['rows'][0]['px']} to {grown['rows'][-1]['px']} px (levels alone "
        f"{grown['exponent_levels']:.2f}, decoding {grown['exponent_decoding']:.2f}) "
        f"| {grown['exponent']:.2f} | at most {BARS['exponent']:g} |",
        f"| pair of {pair['px']} px, {pair['steps']} steps, saved, over bare networks of {named(pair)} "
        f"| {pair['pair_over_bare']:.2f} | at most {BARS['pair_over_bare']:g} |",
        f"| the same with a given mask, over those but the mask's | {pair['given_mask_over_bare']:.2f} "
        f"| at most {BARS['pair_over_bare']:g} |",
        *(
            f"| live: seconds for a new patch of {live['px']} px in the workbench, {live['steps']} steps, ω = {omega}, "
            f"the slowest of {live['seeds']} | {seconds:.2f} | at most {BARS['live_seconds']:g} |"
            for omega, seconds in live["seconds_by_omega"].items()
        ),
        "",
        "Seconds of the pair: " + ", ".join(f"{k} {v:.1f}" for k, v in pair["seconds"].items()) + "; bare "
        + ", ".join(f"{k} {v:.1f}" for k, v in pair["bare_seconds"].items()) + ".",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(quick: bool = False, weights: Path | None = None, out: Path = Path("reports/bench.json")) -> None:
    """Measure everything, write the figures as JSON and beside it as Markdown; --quick tries it on small canvases."""
    began, load = time.perf_counter(), os.getloadavg()[0]
    autoencoder, network, _ = load_models(weights)
    channels, patch = autoencoder.latent_channels, trained_patch(weights) // autoencoder.factor
    batch = best_batch(network, patch, channels)
    small, medium, sides = (32, 48, [32, 64]) if quick else (128, 256, [64, 128, 256, 512])
    runs = [(small, plan, 1 if quick else 2) for plan in ("random-patch", "torus-grid", "sliding-window")]
    runs += [(small, plan, 1) for plan in PLANS if plan not in [done for _, done, _ in runs]]
    runs += [(medium, plan, 1 if quick else 2) for plan in ("random-patch", "torus-grid")]
    result = {
        "quick": quick,
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "load": load,
        "torch": torch.__version__,
        "batch": batch,
        "patch": patch * autoencoder.factor,
        "overhead": [overhead(network, channels, patch, batch, *run) for run in runs],
        "published_loop": against_published_loop(network, channels, patch, batch, medium, 1),
        "distance": distance(*((480, 1) if quick else (1024, 20)), weights),
        "growth": growth(batch, sides, weights),
        "pair": pair_end_to_end(*((128, 2) if quick else (1024, 20)), weights),
        "live": alone(live, *((64, 2, 1) if quick else (224, 10, 3)), weights),
        "bars": BARS,
    }
    result |= peak_memory("cpu") | {"minutes": (time.perf_counter() - began) / 60}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(table(result))
    typer.echo(table(result))


if __name__ == "__main__":
    typer.run(main)
