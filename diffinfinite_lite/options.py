"""Options that several commands share: one wording, one type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="Folder for the result.")]
Context = Annotated[str | None, typer.Option(help="adenocarcinoma, squamous or normal.")]
Mask = Annotated[Path | None, typer.Option(help="Index-colour or greyscale picture of labels 0-4.")]
Size = Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in px, multiples of 8 (1024x1024).")]
Steps = Annotated[int, typer.Option(help="Denoising steps.")]
Omega = Annotated[float, typer.Option(help="Guidance of eq. 2; 0 uses the conditional model alone.")]
Autoguidance = Annotated[float, typer.Option(help="Guidance by an earlier version, 0.75 for more variety.")]
Seed = Annotated[int, typer.Option(help="Same seed, same picture.")]
Sampler = Annotated[
    str, typer.Option(help="mixture, random-patch (paper), torus-grid, sliding-window, multidiffusion or diffcollage.")
]
Solver = Annotated[str, typer.Option(help="ddim, ddpm or dpm-solver++.")]
Eta = Annotated[float | None, typer.Option(help="Share of fresh noise of ddim, 0 to 1 (0).")]
Conditioning = Annotated[str, typer.Option(help="dense (one pass) or per-label (paper).")]
Patch = Annotated[int | None, typer.Option(help="Window side in px; that of training by default.")]
Stride = Annotated[
    int | None,
    typer.Option(help="px between windows of mixture (3/4 of the patch), sliding-window (1/2), multidiffusion (1/4)."),
]
BatchSize = Annotated[int | None, typer.Option(help="Windows per network call; by default what memory holds.")]
Precision = Annotated[str, typer.Option(help="fp32, or bf16 or fp16 for the networks.")]
Compile = Annotated[bool, typer.Option("--compile", help="torch.compile: a minute first, then faster; for GPUs.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of another model than the shipped one.")]
Force = Annotated[bool, typer.Option(help="Overwrite an earlier result.")]
Runs = Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")]
TotalSteps = Annotated[int | None, typer.Option(help="Total steps; the recipe's own number by default.")]
Data = Annotated[Path | None, typer.Option(help="Folder of your own pictures; the public sets by default.")]
ClassMap = Annotated[Path | None, typer.Option(help="JSON: QuPath class to label, for *.geojson beside pictures.")]
Mpp = Annotated[float, typer.Option(help="Micrometres per pixel of the pictures in --data.")]


def read_class_map(path: Path | None) -> dict[str, int | str] | None:
    """Labels (0 to 4, or their names) by QuPath class name, from a JSON file."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a JSON file such as {{\"Tumor\": 1}}, got {path}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON file such as {{\"Tumor\": 1}}, got {found} in {path}")
    return found


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


def read_limit(text: str) -> tuple[str, tuple[float | None, float | None]]:
    """Name, lowest and highest value of an option such as C_T:-3:3; a side may be empty."""
    parts = text.split(":")
    try:
        low, high = (float(part) if part else None for part in parts[1:])
    except ValueError:
        raise ValueError(f"expected a limit such as C_T:-3:3 or recall:0.5:, got {text!r}") from None
    return parts[0], (low, high)
