"""`diffinfinite slide`: options and progress bars of `whole_slide.generate_slide`. No logic of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm


def slide(
    out: Annotated[Path, typer.Option(help="Folder for image.ome.tif, mask.ome.tif, image.dzi, run.json.")],
    store: Annotated[Path, typer.Option(help="Folder for the canvas; the same command again goes on from it.")],
    context: Annotated[str | None, typer.Option(help="adenocarcinoma, squamous or normal.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Index-colour or greyscale picture of labels 0-4.")] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in px, multiples of 8 (1024x1024).")] = None,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    omega: Annotated[float, typer.Option(help="Guidance of eq. 2; 0 uses the conditional model alone.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same picture.")] = 0,
    sampler: Annotated[
        str, typer.Option(help="random-patch, torus-grid, sliding-window, multidiffusion, diffcollage.")
    ] = "random-patch",
    solver: Annotated[str, typer.Option(help="ddim, ddpm or dpm-solver++.")] = "ddim",
    eta: Annotated[float, typer.Option(help="Share of fresh noise of DDIM, 0 to 1.")] = 0.0,
    conditioning: Annotated[str, typer.Option(help="dense (one pass) or per-label (paper).")] = "dense",
    patch: Annotated[int | None, typer.Option(help="Window side in px; that of training by default.")] = None,
    batch_size: Annotated[int, typer.Option(help="Windows per network call; no effect on the result.")] = 16,
    precision: Annotated[str, typer.Option(help="fp32, or bf16 or fp16 for the network alone.")] = "fp32",
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of another model than the shipped one.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler of the workers: tcp://HOST:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="So many processes here instead; GPUs are shared out.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an earlier result.")] = False,
) -> None:
    """Generate a slide of any size: pyramidal OME-TIFFs of picture and mask, and tiles for a browser."""
    from .cli import read_size
    from .pipeline import WEIGHTS
    from .whole_slide import generate_slide

    run = generate_slide(
        context,
        mask,
        read_size(size),
        store=store,
        out=out,
        steps=steps,
        omega=omega,
        seed=seed,
        sampler=sampler,
        solver=solver,
        eta=eta,
        conditioning=conditioning,
        patch=patch,
        batch_size=batch_size,
        precision=precision,
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
    with tqdm(total=total, unit="level" if stage == "sampling" else "band", desc=stage) as bar:
        for item in items:
            if stage == "sampling" and not bar.n:
                bar.initial = bar.n = item.step
            bar.update()
            yield item
