"""`diffinfinite slide`: options and progress bars of `slide.generate_slide`. No logic of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from . import options


def slide(
    out: Annotated[Path, typer.Option(help="Folder for image.ome.tif, mask.ome.tif, image.dzi, run.json.")],
    store: Annotated[Path, typer.Option(help="Folder for the canvas; the same command again goes on from it.")],
    context: options.Context = None,
    mask: options.Mask = None,
    size: options.Size = None,
    steps: options.Steps = 50,
    omega: options.Omega = 0.0,
    autoguidance: options.Autoguidance = 0.0,
    seed: options.Seed = 0,
    sampler: options.Sampler = "mixture",
    solver: options.Solver = "ddim",
    eta: options.Eta = None,
    conditioning: options.Conditioning = "dense",
    patch: options.Patch = None,
    stride: options.Stride = None,
    batch_size: options.BatchSize = None,
    precision: options.Precision = "fp32",
    compiled: options.Compile = False,
    device: options.Device = None,
    weights: options.Weights = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler of the workers: tcp://HOST:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="So many processes here instead; GPUs are shared out.")] = None,
    force: options.Force = False,
) -> None:
    """Generate a slide of any size: pyramidal OME-TIFFs of picture and mask, and tiles for a browser."""
    from .models.pretrained import WEIGHTS
    from .pipelines.slide import generate_slide

    run = generate_slide(
        context,
        mask,
        options.read_size(size),
        store=store,
        out=out,
        steps=steps,
        omega=omega,
        autoguidance=autoguidance,
        seed=seed,
        sampler=sampler,
        solver=solver,
        eta=eta,
        conditioning=conditioning,
        patch=patch,
        stride=stride,
        batch_size=batch_size,
        precision=precision,
        compiled=compiled,
        device=device,
        weights=weights or WEIGHTS,
        scheduler=scheduler,
        workers=workers,
        force=force,
        progress=_bar,
    )
    (height, width), seconds = run["size"], run["seconds"]
    typer.echo(
        f"{out}: {height} x {width} px; network {seconds['network']:.1f} s, canvas {seconds['canvas']:.1f} s, "
        f"decoding {seconds['decoding']:.1f} s, pyramids {seconds['pyramids']:.1f} s; "
        f"{run['peak_memory_mb']} MB at most; {run['network_evaluations']} network evaluations\n"
        f"{store} holds the canvas and may be deleted"
    )


def _bar(items: Iterable, total: int, stage: str) -> Iterator:
    """Progress of a stage; one that goes on from level 30 begins there, so that the estimate is right."""
    with tqdm(total=total, unit="level" if stage == "sampling" else "tile", desc=stage) as bar:
        for item in items:
            if stage == "sampling" and not bar.n:
                bar.initial = bar.n = item.step
            bar.update()
            yield item
