"""Options that several commands share: one wording, one type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="Folder for the result.")]
Context = Annotated[str | None, typer.Option(help="adenocarcinoma, squamous or normal.")]
Mask = Annotated[Path | None, typer.Option(help="Index-colour or greyscale picture of labels 0-4.")]
Size = Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in px, multiples of 8 (1024x1024).")]
Steps = Annotated[int, typer.Option(help="Denoising steps.")]
Omega = Annotated[float, typer.Option(help="Guidance of eq. 2; 0 uses the conditional model alone.")]
Seed = Annotated[int, typer.Option(help="Same seed, same picture.")]
Sampler = Annotated[str, typer.Option(help="random-patch, torus-grid, sliding-window, multidiffusion, diffcollage.")]
Solver = Annotated[str, typer.Option(help="ddim, ddpm or dpm-solver++.")]
Eta = Annotated[float, typer.Option(help="Share of fresh noise of DDIM, 0 to 1.")]
Conditioning = Annotated[str, typer.Option(help="dense (one pass) or per-label (paper).")]
Patch = Annotated[int | None, typer.Option(help="Window side in px; that of training by default.")]
BatchSize = Annotated[int, typer.Option(help="Windows per network call; no effect on the result.")]
Precision = Annotated[str, typer.Option(help="fp32, or bf16 or fp16 for the networks.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of another model than the shipped one.")]
Force = Annotated[bool, typer.Option(help="Overwrite an earlier result.")]

Runs = Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")]
TotalSteps = Annotated[int | None, typer.Option(help="Total steps; the recipe's own number by default.")]
Data = Annotated[Path | None, typer.Option(help="Folder of your own pictures; the public sets by default.")]
Mpp = Annotated[float, typer.Option(help="Micrometres per pixel of the pictures in --data.")]


def read_size(text: str | None) -> tuple[int, int] | None:
    """(H, W) of an option such as 1024x1024.

    >>> read_size("512x1024")
    (512, 1024)
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"expected a size such as 1024x1024 (height x width in px), got {text!r}")
    return int(parts[0]), int(parts[1])
