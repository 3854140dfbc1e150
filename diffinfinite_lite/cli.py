"""The command line: `diffinfinite sample`, `slide`, `train`, `data`. No logic of its own, one sentence per error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from .slide_command import slide

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Mask-image pairs of lung tissue of any size.",
)
train_app = typer.Typer(no_args_is_help=True, help="Train the models; run the same command again to resume.")
data_app = typer.Typer(no_args_is_help=True, help="Public sets of real tiles.")
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")
app.command()(slide)


@app.callback()
def _settings(debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False) -> None:
    if debug:
        os.environ["DIFFINFINITE_DEBUG"] = "1"


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="Folder for image.png, mask.png, timesteps.webp, run.json.")],
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
    precision: Annotated[str, typer.Option(help="fp32, or bf16 or fp16 for the networks.")] = "fp32",
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of another model than the shipped one.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an earlier result.")] = False,
) -> None:
    """Generate a mask-image pair."""
    from .pair import check_out, read_mask
    from .pipeline import WEIGHTS, generate

    check_out(out, force=force)
    pair = generate(
        context,
        read_mask(mask) if mask else None,
        read_size(size),
        steps=steps,
        omega=omega,
        seed=seed,
        sampler=sampler,
        solver=solver,
        eta=eta,
        conditioning=conditioning,
        patch=patch,
        batch_size=batch_size,
        device=device,
        weights=weights or WEIGHTS,
        precision=precision,
        progress=_bar,
    )
    pair.save(out, force=force)
    _cost(out, pair)


@app.command()
def edit(
    run: Annotated[Path, typer.Option(help="Folder that `diffinfinite sample` wrote.")],
    mask: Annotated[Path, typer.Option(help="The run's mask.png, changed.")],
    out: Annotated[Path, typer.Option(help="Folder for the result.")],
    margin: Annotated[int, typer.Option(help="px around changed labels that are computed again as well.")] = 32,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an earlier result.")] = False,
) -> None:
    """Compute again what a changed mask concerns, and keep the rest of the picture exactly."""
    from .edit import resynthesise
    from .pair import Pair, check_out, read_mask

    check_out(out, force=force)
    pair = resynthesise(Pair.read(run), read_mask(mask), margin=margin, device=device, progress=_bar)
    pair.save(out, force=force)
    _cost(out, pair)


@app.command()
def inpaint(
    image: Annotated[Path, typer.Option(help="Picture, real or generated.")],
    keep: Annotated[Path, typer.Option(help="Greyscale picture: 0 is a hole, anything else is kept exactly.")],
    mask: Annotated[Path, typer.Option(help="Index-colour or greyscale picture of labels 0-4.")],
    out: Annotated[Path, typer.Option(help="Folder for the result.")],
    context: Annotated[str | None, typer.Option(help="adenocarcinoma, squamous or normal.")] = None,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    omega: Annotated[float, typer.Option(help="Guidance of eq. 2.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same picture.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an earlier result.")] = False,
) -> None:
    """Fill the holes of a picture and keep its known pixels exactly."""
    from .edit import inpaint as fill
    from .pair import check_out, read_mask
    from .tiles import read_rgb

    check_out(out, force=force)
    known, labels = read_mask(keep) != 0, read_mask(mask)
    settings = {"steps": steps, "omega": omega, "seed": seed, "device": device, "progress": _bar}
    pair = fill(read_rgb(image), known, labels, context, **settings)
    pair.save(out, force=force)
    _cost(out, pair)


def _bar(levels, total):
    return tqdm(levels, total=total, unit="level", desc="sampling")


def _cost(out: Path, pair) -> None:
    """What the run has cost, from its ledger."""
    run, seconds = pair.run, pair.run["seconds"]
    height, width = run["size"]
    stages = [name for name in ("mask", "network", "canvas", "decoding") if name in seconds]
    typer.echo(
        f"{out}: {height} x {width} px; {', '.join(f'{name} {seconds[name]:.1f} s' for name in stages)}; "
        f"{run['peak_memory_mb']} MB at most\n"
        f"{run['network_evaluations']} network evaluations (as {run['whole_patches']:g} whole patches), "
        f"{run['windows_per_level']:g} windows a level, {run['labels_per_window']:g} labels a window, "
        f"{run['sequential_depth']} levels one after the other"
    )


@app.command("evaluate")
def evaluate_folders(
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    real: Annotated[Path | None, typer.Option(help="Folder of held-out real tiles.")] = None,
    synthetic: Annotated[Path | None, typer.Option(help="Folder of synthetic tiles of the same size.")] = None,
    run: Annotated[Path | None, typer.Option(help="run.json of a generated canvas, instead of --synthetic.")] = None,
    train: Annotated[Path | None, typer.Option(help="Folder of the training tiles, for A and C_T.")] = None,
    features: Annotated[
        str, typer.Option(help="efficientnet-lite0, handcrafted, vgg-16, inception-v3 or FILE.py:FUNCTION.")
    ] = "efficientnet-lite0",
    weights: Annotated[Path | None, typer.Option(help="File of weights for --features.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of --features to read off.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps features by content hash.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="NAME:LOWEST:HIGHEST, a side may be empty; outside it exit code 1."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of splits and resampling.")] = 0,
) -> None:
    """Report card on two folders of tiles, or on a generated canvas."""
    from .report import failures, measure_files, write_report

    limits = dict(_limit(text) for text in limit or ())
    result, shown = measure_files(real, synthetic, run, train, features, weights, layer, cache, seed)
    broken = failures(result, limits)
    typer.echo(write_report(result, out, **shown))
    for note in result["notes"]:
        typer.echo(note, err=True)
    if broken:
        raise ValueError("; ".join(broken))


def _limit(text: str) -> tuple[str, tuple[float | None, float | None]]:
    parts = text.split(":")
    try:
        low, high = (float(part) if part else None for part in parts[1:])
    except ValueError:
        raise ValueError(f"expected a limit such as C_T:-3:3 or recall:0.5:, got {text!r}") from None
    return parts[0], (low, high)


def read_size(text: str | None) -> tuple[int, int] | None:
    """(H, W) of an option such as 1024x1024."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"expected a size such as 1024x1024 (height x width in px), got {text!r}")
    return int(parts[0]), int(parts[1])


def _train(name: str, steps: int | None, runs: Path, device: str | None = None, **settings) -> None:
    from accelerate import PartialState

    from . import recipes
    from .pipeline import choose_device

    first = PartialState(cpu=choose_device(device) == "cpu").is_main_process
    bar = None
    for progress, total in getattr(recipes, name)(recipes.Setting(runs, **settings), steps):
        bar = bar or tqdm(total=total, initial=progress.step - 1, unit="step", desc=name, disable=not first)
        bar.update(progress.step - bar.n)
        bar.set_postfix({k: f"{v:.3f}" for k, v in progress.losses.items()}, refresh=False)


_OUT = Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")]
_STEPS = Annotated[int | None, typer.Option(help="Total steps; the recipe's own number by default.")]
_DATA = Annotated[Path | None, typer.Option(help="Folder of your own pictures; the public sets by default.")]
_MPP = Annotated[float, typer.Option(help="Micrometres per pixel of the pictures in --data.")]
_DEVICE = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")]
_RUNS = Path("runs")


@train_app.command()
def autoencoder(
    out: _OUT = _RUNS, steps: _STEPS = None, data: _DATA = None, mpp: _MPP = 0.5, device: _DEVICE = None
) -> None:
    """Pictures to latents and back."""
    _train("autoencoder", steps, out, device, data=data, mpp=mpp)


@train_app.command()
def decoder(
    out: _OUT = _RUNS, steps: _STEPS = None, data: _DATA = None, mpp: _MPP = 0.5, device: _DEVICE = None
) -> None:
    """Sharpen the decoder against a critic; the latents stay."""
    _train("decoder", steps, out, device, data=data, mpp=mpp)


@train_app.command()
def image(
    out: _OUT = _RUNS,
    steps: _STEPS = None,
    data: _DATA = None,
    mpp: _MPP = 0.5,
    vae: Annotated[
        str | None, typer.Option(help="AutoencoderKL or AutoencoderTiny: a folder or a name on the Hugging Face hub.")
    ] = None,
    device: _DEVICE = None,
) -> None:
    """Latents under a label map (Alg. 1)."""
    _train("image", steps, out, device, data=data, mpp=mpp, vae=vae)


@train_app.command()
def mask(out: _OUT = _RUNS, steps: _STEPS = None, device: _DEVICE = None) -> None:
    """Label maps under a context prompt."""
    _train("mask", steps, out, device)


@train_app.command()
def export(
    out: _OUT = _RUNS,
    weights: Annotated[Path | None, typer.Option(help="Folder for the model; the package itself by default.")] = None,
) -> None:
    """Write the trained weights in half precision, with their hashes."""
    from .pipeline import WEIGHTS
    from .recipes import export as copy

    for name, digest in copy(out, weights or WEIGHTS).items():
        typer.echo(f"{name}: {digest}")


@data_app.command("list")
def data_list() -> None:
    """The sets with their licences, and whether they are on this machine."""
    from .catalog import SETS, available

    for name, entry in SETS.items():
        typer.echo(f"{name:24s} {'here' if available(name) else 'not fetched':12s} {entry.licence}")


@data_app.command("fetch")
def data_fetch(name: str) -> None:
    """Fetch one set, file by file; goes on where it stopped."""
    from .catalog import fetch

    typer.echo(f"{name}: {fetch(name)}")


def main() -> None:
    """Entry point: one sentence and a non-zero exit code where something is wrong."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit("diffinfinite: stopped by the user; nothing half-written was left")
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("DIFFINFINITE_DEBUG"):
            raise
        sys.exit(f"diffinfinite: {error}")


if __name__ == "__main__":
    main()
