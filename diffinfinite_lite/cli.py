"""The command line: `diffinfinite sample`, `slide`, `edit`, `inpaint`, `evaluate`, `train`, `data`.

No logic of its own, one sentence per error.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from . import options
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
    force: options.Force = False,
) -> None:
    """Generate a mask-image pair."""
    from .data.mask_files import read_mask
    from .models.pretrained import WEIGHTS
    from .pipelines.generate import generate
    from .pipelines.pair import check_out

    check_out(out, force=force)
    pair = generate(
        context,
        read_mask(mask) if mask else None,
        options.read_size(size),
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
        device=device,
        weights=weights or WEIGHTS,
        precision=precision,
        compiled=compiled,
        progress=_bar,
    )
    pair.save(out, force=force)
    _cost(out, pair)


@app.command()
def edit(
    run: Annotated[Path, typer.Option(help="Folder that `diffinfinite sample` wrote.")],
    mask: Annotated[Path, typer.Option(help="The run's mask.png, changed.")],
    out: options.Out,
    margin: Annotated[int, typer.Option(help="px around changed labels that are computed again as well.")] = 32,
    device: options.Device = None,
    weights: options.Weights = None,
    force: options.Force = False,
) -> None:
    """Compute again what a changed mask concerns, and keep the rest of the picture exactly."""
    from .data.mask_files import read_mask
    from .models.pretrained import WEIGHTS
    from .pipelines.edit import resynthesise
    from .pipelines.pair import Pair, check_out

    check_out(out, force=force)
    settings = {"device": device, "weights": weights or WEIGHTS, "progress": _bar}
    pair = resynthesise(Pair.read(run), read_mask(mask), margin=margin, **settings)
    pair.save(out, force=force)
    _cost(out, pair)


@app.command()
def inpaint(
    image: Annotated[Path, typer.Option(help="Picture, real or generated.")],
    keep: Annotated[Path, typer.Option(help="Greyscale picture: 0 is a hole, anything else is kept exactly.")],
    mask: Annotated[Path, typer.Option(help="Index-colour or greyscale picture of labels 0-4.")],
    out: options.Out,
    context: options.Context = None,
    steps: options.Steps = 50,
    omega: options.Omega = 0.0,
    autoguidance: options.Autoguidance = 0.0,
    seed: options.Seed = 0,
    solver: options.Solver = "ddim",
    device: options.Device = None,
    weights: options.Weights = None,
    force: options.Force = False,
) -> None:
    """Fill the holes of a picture and keep its known pixels exactly."""
    from .data.mask_files import read_keep, read_mask
    from .data.pictures import read_rgb
    from .models.pretrained import WEIGHTS
    from .pipelines.edit import inpaint as fill
    from .pipelines.pair import check_out

    check_out(out, force=force)
    known, labels = read_keep(keep), read_mask(mask)
    settings = {"steps": steps, "omega": omega, "autoguidance": autoguidance, "seed": seed, "solver": solver}
    settings |= {"device": device, "weights": weights or WEIGHTS, "progress": _bar}
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
    from .evaluation.report import failures, measure_files, write_report

    limits = dict(options.read_limit(text) for text in limit or ())
    result, shown = measure_files(real, synthetic, run, train, features, weights, layer, cache, seed)
    broken = failures(result, limits)
    typer.echo(write_report(result, out, **shown))
    for note in result["notes"]:
        typer.echo(note, err=True)
    if broken:
        raise ValueError("; ".join(broken))


def _train(name: str, steps: int | None, runs: Path, device: str | None = None, class_map=None, **settings) -> None:
    from accelerate import PartialState

    from .devices import choose_device
    from .training import data, recipes

    first = PartialState(cpu=choose_device(device) == "cpu").is_main_process
    setting = data.Setting(runs, class_map=options.read_class_map(class_map), **settings)
    bar = None
    for progress, total in getattr(recipes, name)(setting, steps):
        bar = bar or tqdm(total=total, initial=progress.step - 1, unit="step", desc=name, disable=not first)
        bar.update(progress.step - bar.n)
        bar.set_postfix({k: f"{v:.3f}" for k, v in progress.losses.items()}, refresh=False)


_RUNS = Path("runs")


def _recipe(name: str, about: str) -> None:
    """A training command with the options that all of them have."""

    @train_app.command(name, help=about)
    def command(
        out: options.Runs = _RUNS,
        steps: options.TotalSteps = None,
        data: options.Data = None,
        mpp: options.Mpp = 0.5,
        class_map: options.ClassMap = None,
        device: options.Device = None,
    ) -> None:
        _train(name, steps, out, device, data=data, mpp=mpp, class_map=class_map)


_recipe("autoencoder", "Pictures to latents and back.")
_recipe("decoder", "Sharpen the decoder against a critic; the latents stay.")
_recipe("update", "Train the image model on, 256 patches a step: for a GPU.")
_recipe("mask", "Label maps under a context prompt; from simulated layouts, or the masks in --data.")


@train_app.command()
def image(
    out: options.Runs = _RUNS,
    steps: options.TotalSteps = None,
    data: options.Data = None,
    mpp: options.Mpp = 0.5,
    class_map: options.ClassMap = None,
    vae: Annotated[
        str | None, typer.Option(help="AutoencoderKL or AutoencoderTiny: a folder or a name on the Hugging Face hub.")
    ] = None,
    device: options.Device = None,
) -> None:
    """Latents under a label map (Alg. 1)."""
    _train("image", steps, out, device, data=data, mpp=mpp, class_map=class_map, vae=vae)


@train_app.command()
def export(
    out: options.Runs = _RUNS,
    weights: Annotated[Path | None, typer.Option(help="Folder for the model; the package itself by default.")] = None,
) -> None:
    """Write the trained weights in half precision, with their hashes."""
    from .models.pretrained import WEIGHTS
    from .training.recipes import export as copy

    for name, digest in copy(out, weights or WEIGHTS).items():
        typer.echo(f"{name}: {digest}")


@data_app.command("list")
def data_list() -> None:
    """The sets with their licences, and whether they are on this machine."""
    from .data.catalog import sets, state

    for name, entry in sets().items():
        typer.echo(f"{name:24s} {state(name):12s} {entry.licence}")


@data_app.command("fetch")
def data_fetch(name: str) -> None:
    """Fetch one set, file by file; goes on where it stopped."""
    from .data.catalog import fetch

    typer.echo(f"{name}: {fetch(name)}")


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a sentence, without the line of code that it comes from."""
    print(f"diffinfinite: {message}", file=sys.stderr)


def main() -> None:
    """Entry point: one sentence and a non-zero exit code where something is wrong."""
    warnings.showwarning = _warn
    try:
        app()
    except SystemExit as end:
        if end.code == 130:  # Ctrl-C, of which typer says nothing
            print("diffinfinite: stopped by the user; nothing half-written was left", file=sys.stderr)
        raise
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("DIFFINFINITE_DEBUG"):
            raise
        sys.exit(f"diffinfinite: {error}")


if __name__ == "__main__":
    main()
