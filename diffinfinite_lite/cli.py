"""The command line: `diffinfinite sample`, `slide`, `endless`, `edit`, `inpaint`, `info`, `workbench`, `evaluate`,
`latents`, `train`, `data`, `survey`.

A command reads its files, calls one function of the library, and says what came out. How `sample`, `slide`, `edit` and
`inpaint` can be told to sample are the fields of `SamplingConfig`, see `sampling_app`. Whatever is wrong with a command
is one sentence and exit code 1; `diffinfinite --debug` shows the traceback. What takes long to import is imported when
a command needs it, so that help and lists of data come at once.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from tqdm import tqdm

from . import __version__
from .errors import explain
from .files import check_folder, read_json

if TYPE_CHECKING:
    from .pipelines.config import SamplingConfig
    from .pipelines.endless import Endless
    from .sampling.windows import Window

STOPPED = 130  # exit code after Ctrl-C, of which typer says nothing
DEBUG = "DIFFINFINITE_DEBUG"  # environment variable, which the processes that a command starts inherit
RENAMED_OPTIONS = {"--sampler": "--plan", "--scheduler": "--cluster"}

Out = Annotated[Path, typer.Option(help="Folder for the result.")]
Context = Annotated[str | None, typer.Option(help="adenocarcinoma, squamous or normal.")]
MASK_HELP = "Index-colour or greyscale picture of labels 0-5, or QuPath's .geojson."
Mask = Annotated[Path | None, typer.Option(help=MASK_HELP)]
Size = Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in px, multiples of 8 (1024x1024).")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU is used where there is one.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of another model than the shipped one.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an earlier result.")]
Runs = Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")]


class _Command(typer.core.TyperCommand):
    """A command that says what an option of an earlier version is called now."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        for old, new in RENAMED_OPTIONS.items():
            if any(arg == old or arg.startswith(f"{old}=") for arg in args):
                ctx.fail(f"No such option: {old}. It is called {new} now.")
        return super().parse_args(ctx, args)


def refuse_empty(args: Sequence[str]) -> None:
    """Refuse options with nothing after them, as an unset variable of a shell leaves them.

    No option of ours takes an empty value, and an empty path would be the current folder.

    >>> refuse_empty(["sample", "--out", ""])
    Traceback (most recent call last):
    ValueError: expected a value after --out, got an empty one
    """
    for before, arg in zip(("", *args), args, strict=False):
        option, equals, value = arg.partition("=")
        if not arg.strip():
            raise ValueError(f"expected a value after {before or 'diffinfinite'}, got an empty one")
        if option.startswith("--") and equals and not value.strip():
            raise ValueError(f"expected a value after {option}, got an empty one")


class _Group(typer.core.TyperGroup):
    """The commands of `diffinfinite`; those that sample get their options when one of them is called."""

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple:
        refuse_empty(args)
        name, command, rest = super().resolve_command(ctx, args)
        return name, typer.main.get_command(sampling_app(name)) if name in SAMPLING else command, rest


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Mask-image pairs of lung tissue of any size.",
)
train_app = typer.Typer(no_args_is_help=True, help="Train the models; run the same command again to resume.")
data_app = typer.Typer(no_args_is_help=True, help="Public sets of real tiles.")
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")
survey_app = typer.Typer(no_args_is_help=True, help="Real or synthetic? A live survey for a class, and games.")
app.add_typer(survey_app, name="survey")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


def sampling_options(config: type[SamplingConfig], *, unset: bool = False) -> list[inspect.Parameter]:
    """The fields of a configuration as parameters that typer makes options of.

    Parameters
    ----------
    unset : every default is None, which leaves a setting to the command; else it is that of the field
    """
    types, parameters = get_type_hints(config), []
    for field in fields(config):
        about, choices = field.metadata.get("help", ""), field.metadata.get("choices")
        flag = f"--{(field.metadata.get('flag') or field.name).replace('_', '-')}"
        kind = types[field.name]
        if kind is bool:
            flag = f"{flag}/--no-{flag.removeprefix('--')}"
        if choices:
            about = f"{about} One of {', '.join(choices)}."
        annotation = Annotated[kind | None if unset else kind, typer.Option(flag, help=about)]
        default = None if unset else field.default
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    return parameters


def sampling_app(name: str, config: type[SamplingConfig] | None = None) -> typer.Typer:
    """One of the commands in `SAMPLING` with an option for every field of a configuration, `SamplingConfig` by default.

    `edit` leaves to the run whatever is not set, `endless` to its own defaults.
    """
    if config is None:
        from .pipelines.config import SamplingConfig as config

    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    options = sampling_options(config, unset=name in ("edit", "endless"))
    single.command(name, cls=_Command)(_with_options(SAMPLING[name], options))
    return single


def _with_options(function: Callable, options: list[inspect.Parameter]) -> Callable:
    """The function with these keywords in place of its ``**settings``, as typer reads them off the signature."""

    @wraps(function)
    def command(**values: Any) -> None:
        function(**values)

    own = inspect.signature(function, eval_str=True)
    named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = own.replace(parameters=named + options)
    return command


def sample(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for image.png, mask.png, mask.geojson, timesteps.webp, run.json.")],
    context: Context = None,
    mask: Mask = None,
    size: Size = None,
    like: Annotated[
        Path | None, typer.Option(help="Picture of this library to make once more; other options change it.")
    ] = None,
    device: Device = None,
    weights: Weights = None,
    force: Force = False,
    **settings: Any,
) -> None:
    """Generate a mask-image pair."""
    from .data.mask_files import read_mask
    from .pipelines.config import check_content
    from .pipelines.generate import generate
    from .pipelines.pair import RESULTS, check_disk
    from .pipelines.passport import repeat

    check_folder(out, RESULTS, force=force)
    shape = read_size(size)
    labels, config = read_mask(mask, size=shape) if mask else None, None
    if like:
        told = repeat(like, labels, weights)
        config, context, shape = told.config, context or told.context, shape or told.size
        labels, device = told.mask, device or told.device
        settings = {name: value for name, value in settings.items() if _is_chosen(ctx, name)}
    labels, shape = check_content(context, labels, shape)
    check_disk(out, shape)
    options = {"config": config, "device": device, "weights": weights, "progress": _part_bar}
    pair = generate(context, labels, shape, **options, **settings)
    pair.save(out, force=force)
    _report_cost(out, pair.run)


def slide(
    out: Annotated[Path, typer.Option(help="Folder for image.ome.tif, mask.ome.tif, image.dzi, run.json.")],
    store: Annotated[
        Path, typer.Option(help="Folder for the canvas (file of the cache, for --region); the same command goes on.")
    ],
    ctx: typer.Context,
    context: Context = None,
    mask: Mask = None,
    size: Size = None,
    region: Annotated[
        str | None, typer.Option(help="X,Y,W,H in px: this part of the endless slide (see `endless`) instead.")
    ] = None,
    mpp: Annotated[float, typer.Option(help="Micrometres per pixel, written to the files.")] = 0.5,
    cluster: Annotated[str | None, typer.Option(help="Dask scheduler of the workers: tcp://HOST:8786.")] = None,
    workers: Annotated[int | None, typer.Option(help="So many processes here instead; GPUs are shared out.")] = None,
    device: Device = None,
    weights: Weights = None,
    force: Force = False,
    **settings: Any,
) -> None:
    """Generate a slide of any size: pyramidal OME-TIFFs of picture and mask, and tiles for a browser."""
    from .pipelines.slide import generate_slide

    if region is not None:
        if any(given is not None for given in (mask, size, cluster, workers)):
            raise ValueError("expected --region without --mask, --size, --cluster and --workers, got one of them")
        from .pipelines.region import check_region, write_region

        check_region(read_region(region), out, mpp, force=force)
        place, told = read_region(region), {name: value for name, value in settings.items() if _is_chosen(ctx, name)}
        part = write_region(
            _open_endless(context, store, device, weights, told), place, out, mpp=mpp, force=force, progress=_tile_bar
        )
        typer.echo(f"{out}: {place.height} x {place.width} px; {part['network_evaluations']} network evaluations")
        return
    files = {"store": store, "out": out, "mpp": mpp, "force": force}
    machines = {"cluster": cluster, "workers": workers, "device": device, "weights": weights}
    run = generate_slide(context, mask, read_size(size), **files, **machines, progress=_part_bar, **settings)
    _report_cost(out, run)
    typer.echo(f"{store} holds the canvas and may be deleted")


def edit(
    run: Annotated[Path, typer.Option(help="Folder that `diffinfinite sample` wrote.")],
    mask: Annotated[Path, typer.Option(help="The run's mask.png, or its mask.geojson out of QuPath, changed.")],
    out: Out,
    context: Context = None,
    margin: Annotated[int, typer.Option(help="px around changed labels that are computed again as well.")] = 32,
    device: Device = None,
    weights: Weights = None,
    force: Force = False,
    **settings: Any,
) -> None:
    """Compute again what a changed mask concerns, and keep the rest of the picture exactly.

    Whatever is not said here is as in the run.
    """
    from .data.mask_files import read_mask
    from .pipelines.edit import resynthesise
    from .pipelines.pair import RESULTS, Pair, check_disk

    check_folder(out, RESULTS, force=force)
    before = Pair.read(run)
    labels = read_mask(mask, size=before.mask.shape)
    check_disk(out, labels.shape)
    changed = {name: value for name, value in settings.items() if value is not None}
    options = {"margin": margin, "device": device, "weights": weights, "progress": _part_bar}
    pair = resynthesise(before, labels, context, **options, **changed)
    pair.save(out, force=force)
    _report_cost(out, pair.run)


def inpaint(
    image: Annotated[Path, typer.Option(help="Picture, real or generated.")],
    keep: Annotated[Path, typer.Option(help="Greyscale picture: 0 is a hole, anything else is kept exactly.")],
    mask: Annotated[Path, typer.Option(help=MASK_HELP)],
    out: Out,
    context: Context = None,
    margin: Annotated[int, typer.Option(help="px around a hole whose latents are computed again as well.")] = 8,
    device: Device = None,
    weights: Weights = None,
    force: Force = False,
    **settings: Any,
) -> None:
    """Fill the holes of a picture and keep its known pixels exactly."""
    from .data.mask_files import read_keep, read_mask
    from .data.pictures import read_rgb
    from .pipelines.edit import inpaint as fill_holes
    from .pipelines.pair import RESULTS, check_disk

    check_folder(out, RESULTS, force=force)
    known = read_keep(keep)
    labels = read_mask(mask, size=known.shape)
    check_disk(out, labels.shape)
    options = {"margin": margin, "device": device, "weights": weights, "progress": _part_bar}
    pair = fill_holes(read_rgb(image), known, labels, context, **options, **settings)
    pair.save(out, force=force)
    _report_cost(out, pair.run)


def endless(
    context: Annotated[str, typer.Option(help="adenocarcinoma, squamous or normal.")],
    store: Annotated[Path, typer.Option(help="File of the cache; what is in it is not painted again.")],
    cache: Annotated[float, typer.Option(help="Gigabytes that this file may grow to.")] = 2.0,
    port: Annotated[
        int, typer.Option(help="Of the page on this machine; 0 takes a free one.", min=0, max=65535)
    ] = 8765,
    mpp: Annotated[float, typer.Option(help="Micrometres per pixel, for the scale bar.")] = 0.5,
    device: Device = None,
    weights: Weights = None,
    **settings: Any,
) -> None:
    """Look at a slide without edges in the browser; whatever comes into view is painted then.

    The plan is mixture. Of what is not said here: 4 steps of dpm-solver++.
    """
    from .widgets.endless import serve

    told = {name: value for name, value in settings.items() if value is not None}
    slide = _open_endless(context, store, device, weights, told, cache)
    with serve(slide, port=port, mpp=mpp) as server:
        typer.echo(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)")
        server.serve_forever()


def _open_endless(
    context: str | None, store: Path, device: str | None, weights: Path | None, settings: dict, gigabytes: float = 2.0
) -> Endless:
    from .pipelines.endless import Endless, default_config

    if context is None:
        raise ValueError("expected a --context for the endless slide, got none")
    if not 0 < gigabytes < math.inf:  # not a number is refused as well
        raise ValueError(f"expected --cache to be a number of gigabytes above 0, got {gigabytes:g}")
    limit = int(gigabytes * 10**9)
    options = {"limit": limit, "device": device, "weights": weights}
    return Endless(context, default_config(weights), store=store, **options, **settings)


SAMPLING = {"endless": endless, "sample": sample, "slide": slide, "edit": edit, "inpaint": inpaint}
for _name, _function in SAMPLING.items():
    app.command(_name)(_with_options(_function, []))


def _is_chosen(ctx: typer.Context, name: str) -> bool:
    """Whether an option was typed, and has not just its default."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _picture_bar(pictures: Iterable, total: int) -> Iterable:
    return tqdm(pictures, total=total, unit="picture", desc="painting")


def _round_bar(rounds: Iterable, total: int) -> Iterable:
    return tqdm(rounds, total=total, unit="round", desc="painting")


def _part_bar(items: Iterable, total: int, part: str) -> Iterator:
    """Progress of a part of the work; one that goes on from level 30 begins there, so that the estimate is right."""
    from .pipelines.progress import PARTS

    with tqdm(total=total, unit=PARTS[part], desc=part) as bar:
        for item in items:
            if part == "sampling" and item.number > bar.n:
                bar.initial = bar.n = item.number
            bar.update()
            yield item


def _tile_bar(items: Iterable, total: int, stage: str) -> Iterable:
    return tqdm(items, total=total, unit="tile", desc=stage)


def _report_cost(out: Path, run: dict) -> None:
    """Say where the result is and what it has cost."""
    seconds, (height, width) = run["seconds"], run["size"]
    parts = [name for name in ("mask", "network", "canvas", "decoding", "pyramids") if name in seconds]
    typer.echo(
        f"{out}: {height} x {width} px; {', '.join(f'{name} {seconds[name]:.1f} s' for name in parts)}; "
        f"{run['peak_memory_mb']} MB at most\n"
        f"{run['network_evaluations']} network evaluations (as {run['whole_patches']:g} whole patches), "
        f"{run['windows_per_level']:g} windows a level, {run['labels_per_window']:g} labels a window, "
        f"{run['sequential_depth']} levels one after the other"
    )


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="Picture, .dzi, .geojson or folder that this library made.")],
) -> None:
    """Say how a picture was made: model, settings, versions."""
    from .pipelines.passport import describe, read_passport

    typer.echo(describe(read_passport(file)))


@app.command("evaluate")
def evaluate_folders(
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    real: Annotated[Path | None, typer.Option(help="Folder of held-out real tiles.")] = None,
    synthetic: Annotated[Path | None, typer.Option(help="Folder of synthetic tiles of the same size.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of a pair or slide, or its run.json, instead of --synthetic.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Folder of the training tiles, for A and C_T.")] = None,
    features: Annotated[
        str, typer.Option(help="efficientnet-lite0, handcrafted, vgg-16 or inception-v3.")
    ] = "efficientnet-lite0",
    weights: Annotated[Path | None, typer.Option(help="File of weights for --features.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of --features to read off.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder that stores features by content hash.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(help="NAME:LOWEST:HIGHEST, a side may be empty; outside it exit code 1."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of splits and resampling.")] = 0,
) -> None:
    """Report card on two folders of tiles, or on a generated canvas."""
    from .evaluation.inputs import Sources
    from .evaluation.report import RESULTS, copies, failures, measure_files, write_report
    from .metrics.extractors import extractor

    check_folder(out, RESULTS)
    if cache is not None:
        check_folder(cache)
    check_seed(seed)
    limits = dict(read_limit(text) for text in limit or ())
    sources = Sources(real, synthetic, run, train)
    result, shown = measure_files(sources, extractor(features, weights, layer), cache=cache, seed=seed)
    broken = failures(result, limits)
    typer.echo(write_report(result, out, **shown))
    for note in (*result["notes"], *copies(result)):
        typer.echo(note, err=True)
    if broken:
        raise ValueError("; ".join(broken))


@app.command("workbench")
def open_workbench(
    port: Annotated[int, typer.Option(help="Where it listens.", min=0, max=65535)] = 5006,
    address: Annotated[str, typer.Option(help="Of this machine; 0.0.0.0 lets others in.")] = "localhost",
    workers: Annotated[int, typer.Option(help="Pictures painted at a time; others wait in a queue.", min=1)] = 1,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    device: Device = None,
    weights: Weights = None,
) -> None:
    """Explore, compare and paint in the browser, until Ctrl-C."""
    from .models.pretrained import expected_hashes
    from .widgets.workbench import serve

    expected_hashes(weights)  # refuses a folder that holds no model
    serve(port=port, address=address, workers=workers, weights=weights, device=device, show=browser)


@app.command("latents")
def measure_latents(
    real: Annotated[Path, typer.Option(help="Folder of real tiles of one size.")],
    out: Annotated[Path, typer.Option(help="Folder for latents.json and latents.md.")],
    vae: Annotated[
        str | None, typer.Option(help="AutoencoderKL or AutoencoderTiny: a folder or a name on the Hugging Face hub.")
    ] = None,
    weights: Weights = None,
    device: Device = None,
    seed: Annotated[int, typer.Option(help="Of the split of the tiles.")] = 0,
) -> None:
    """What an autoencoder costs: its latents, and its reconstructions by several rulers.

    Half of the tiles are reconstructed and compared with the other half; with a manifest.csv by cluster.
    """
    from .devices import choose_device
    from .evaluation.latents import RESULTS, measure_folder, write

    check_folder(out, RESULTS)
    check_seed(seed)
    if vae is not None and weights is not None:
        raise ValueError("expected one autoencoder, got both --vae and --weights")
    report = measure_folder(real, vae=vae, weights=weights, device=choose_device(device), seed=seed)
    typer.echo(report.table().markdown())
    typer.echo(write(report, out))


RECIPES = {
    "autoencoder": "Pictures to latents and back.",
    "decoder": "A decoder against critics; the latents stay. Of the autoencoder in --out, or else of the shipped one.",
    "image": "Latents under a label map (Alg. 1).",
    "update": "Train the image model on, 256 patches a step: for a GPU.",
    "draft": "Thumbnails under a label map and an appearance, the first stage.",
    "detail": "Train the image model on to paint under a draft, the second stage.",
    "draft-student": "The draft in 4 steps, from the model in --out, for samples of the quality fast.",
    "detail-student": "The detail in 4 steps, from the model in --out, for samples of the quality fast.",
    "mask": "Label maps under a context prompt; from simulated layouts, or the masks in --data.",
}
_RUNS = Path("runs")
_STUDENTS = ("draft-student", "detail-student")
_READING = tuple(name for name in RECIPES if name not in _STUDENTS)  # students see what their teachers have read
OWN_OPTIONS = {
    "vae": ("image",),
    "networks": ("autoencoder", "image", "draft", "mask"),
    "omega": _STUDENTS,
    **dict.fromkeys(("data", "mpp", "class_map"), _READING),
}  # of some recipes alone
Data = Annotated[Path | None, typer.Option(help="Folder of your own pictures; the public sets by default.")]
Mpp = Annotated[float, typer.Option(help="Micrometres per pixel of your own pictures.")]
ClassMap = Annotated[Path | None, typer.Option(help="JSON: QuPath class to label, for *.geojson beside pictures.")]


def _training_command(name: str) -> Callable:
    """The command that runs one recipe of `training.recipes`, with the options of `OWN_OPTIONS` that are its."""

    def train(
        out: Runs = _RUNS,
        steps: Annotated[int | None, typer.Option(help="Total steps; the recipe's own number by default.")] = None,
        data: Data = None,
        mpp: Mpp = 0.5,
        class_map: ClassMap = None,
        networks: Annotated[
            str, typer.Option(help="full (as shipped), small (to try on a CPU) or tiny (to see that it runs).")
        ] = "full",
        vae: Annotated[
            str | None,
            typer.Option(help="AutoencoderKL or AutoencoderTiny: a folder or a name on the Hugging Face hub."),
        ] = None,
        omega: Annotated[float, typer.Option(help="Guidance that the student is to have without asking twice.")] = 0.0,
        device: Device = None,
    ) -> None:
        from .devices import choose_device
        from .training import recipes
        from .training.data import Setting, launched

        recipes.total_steps(steps, 1)  # refused before anything is read
        here, first = launched(choose_device(device))
        own = {"data": data, "mpp": mpp, "class_map": read_class_map(class_map)}
        setting = Setting(out, **own, networks=networks, vae=vae, omega=omega, device=here)
        bar = None
        for progress, total in getattr(recipes, name.replace("-", "_"))(setting, steps):
            bar = bar or tqdm(total=total, initial=progress.step - 1, unit="step", desc=name, disable=not first)
            bar.update(progress.step - bar.n)
            shown = {k: f"{v:.3f}" for k, v in progress.losses.items() if not k.startswith("tenth")}  # the log has all
            bar.set_postfix(shown, refresh=False)

    signature = inspect.signature(train, eval_str=True)
    options = [each for each in signature.parameters.values() if name in OWN_OPTIONS.get(each.name, RECIPES)]
    train.__signature__ = signature.replace(parameters=options)
    return train


for _name, _about in RECIPES.items():
    train_app.command(_name, help=_about)(_training_command(_name))


@train_app.command()
def export(
    out: Runs = _RUNS,
    weights: Annotated[Path | None, typer.Option(help="Folder for the model; the package itself by default.")] = None,
    gain: Annotated[
        float, typer.Option(help="Factor on the image model's clean estimates, against pale tissue; see ADR 28.")
    ] = 1.0,
) -> None:
    """Write the trained weights in half precision, with their hashes."""
    from .models.pretrained import model_folder
    from .training.recipes import export as copy

    check_folder(model_folder(weights))
    for name, digest in copy(out, model_folder(weights), gain).items():
        typer.echo(f"{name}: {digest}")


@train_app.command()
def adopt(
    network: Annotated[str, typer.Argument(help="autoencoder, image or mask.")],
    out: Runs = _RUNS,
    weights: Weights = None,
    borders: Annotated[
        str | None, typer.Option(help="reflected: the autoencoder sees pictures mirrored at their borders from now on.")
    ] = None,
) -> None:
    """Take a network over from the shipped model (or --weights); `train image` goes on from an image model."""
    from .training.recipes import adopt as take

    check_folder(out)
    for name, digest in take(network, out, weights, borders).items():
        typer.echo(f"{name}: {digest}")


@train_app.command()
def card(
    weights: Annotated[Path, typer.Option(help="Folder that `diffinfinite train export` wrote; the card goes there.")],
    out: Runs = _RUNS,
    report: Annotated[Path | None, typer.Option(help="report.json of `diffinfinite evaluate`.")] = None,
    about: Annotated[
        Path | None, typer.Option(help="Text file: whose pictures, what their owners allow, who answers for it.")
    ] = None,
) -> None:
    """Write the model card of an own model: networks, data, training, figures, hashes."""
    from .training.card import CARD, read_about, read_report, write_card

    check_folder(weights, [CARD])
    written = write_card(weights, out, report=read_report(report), about=read_about(about))
    typer.echo(f"{written.path}\nSHA-256 of hashes.json, to be said elsewhere, too: {written.digest}")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder of your own pictures, as train --data takes it.")],
    mpp: Mpp = 0.5,
    class_map: ClassMap = None,
) -> None:
    """Say what a model would learn from a folder of pictures, and what is wrong with files in it."""
    from .data.inventory import take_inventory
    from .training.data import MPP, PATCH_PX

    found = take_inventory(folder, PATCH_PX, MPP, class_map=read_class_map(class_map), mpp=mpp)
    typer.echo("\n".join(found.sentences()))


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


@survey_app.command("make")
def survey_make(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and survey.json, which has their truth.")],
    small: Annotated[int, typer.Option(help="Real small pictures; there are as many synthetic ones.")] = 18,
    large: Annotated[int, typer.Option(help="Real large pictures; there are as many synthetic ones.")] = 12,
    steps: Annotated[int, typer.Option(help="Denoising steps of the synthetic ones.")] = 15,
    seed: Annotated[int, typer.Option(help="Of the choice and of the paintings.")] = 0,
    device: Device = None,
    force: Force = False,
) -> None:
    """Make the pictures of a survey: of lung where the public sets are here, else of the embedded slide."""
    from .survey.deck import INDEX, write_deck
    from .survey.fields import describe_fields, survey_fields
    from .survey.leaks import chapter_9, classify, sentence, shares
    from .survey.pictures import make_items

    check_folder(out, [INDEX], force=force)
    check_seed(seed)
    fields = survey_fields(small, large, steps=steps, seed=seed, device=device, progress=_picture_bar)
    items = make_items(fields)
    about, lead = describe_fields(fields), sentence(shares(classify(items)), chapter_9())
    typer.echo(f"{write_deck(items, about, lead, out, force=force)}: {len(items)} pictures. {lead}")


@survey_app.command("serve")
def survey_serve(
    pictures: Annotated[Path, typer.Option(help="Folder that `diffinfinite survey make` wrote.")],
    database: Annotated[
        str | None, typer.Option(help="SQLAlchemy address such as postgresql+psycopg://HOST/NAME; else a file.")
    ] = None,
    host: Annotated[str, typer.Option(help="Network to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 is any free one.", min=0, max=65535)] = 8000,
    address: Annotated[str | None, typer.Option(help="How others reach it, if not by host and port.")] = None,
) -> None:
    """Serve a survey to a class: participants join by a code, answers are stored one by one."""
    from .survey.serve import serve

    serve(pictures, database=database, host=host, port=port, address=address, say=typer.echo)


@survey_app.command("learn")
def survey_learn(
    pictures: Annotated[Path, typer.Option(help="Folder that `diffinfinite survey make` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for learning.html and its pictures.")],
) -> None:
    """Make a page that trains the eye: the survey's pictures, made harder until three of four are right."""
    from .survey.deck import read_deck
    from .survey.learning import PAGE, write_page

    check_folder(out, [PAGE])
    deck = read_deck(pictures)
    typer.echo(f"{write_page(deck.items, deck.about, out)}: {len(deck.items)} pictures")


@survey_app.command("spot")
def survey_spot(
    out: Annotated[Path, typer.Option(help="Folder for spot.html and its pictures.")],
    rounds: Annotated[int, typer.Option(help="Pairs with one hidden change each.")] = 10,
    size: Size = None,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 12,
    seed: Annotated[int, typer.Option(help="Of pictures and changes.")] = 0,
    device: Device = None,
) -> None:
    """Make a page to spot the difference: two pictures, one place painted again under another label."""
    from .survey.differences import SIZE, make_differences
    from .survey.spot import PAGE, write_page

    check_folder(out, [PAGE])
    check_seed(seed)
    shape = read_size(size) or SIZE
    made = make_differences(rounds, size=shape, steps=steps, seed=seed, device=device, progress=_round_bar)
    typer.echo(f"{write_page(made, out)}: rounds: {len(made)}")


def read_class_map(path: Path | None) -> dict[str, int | str] | None:
    """Labels (0 to 5, or their names) by QuPath class name, from a JSON file."""
    if path is None:
        return None
    try:
        found = read_json(path)
    except OSError as error:
        raise ValueError(f'expected a JSON file such as {{"Tumor": 1}}, got {path}: {error.strerror}') from error
    except ValueError as error:
        raise ValueError(f'expected a JSON file such as {{"Tumor": 1}}, got {path}: {error}') from error
    if not isinstance(found, dict):
        raise ValueError(f'expected a JSON file such as {{"Tumor": 1}}, got {found} in {path}')
    return found


def read_size(text: str | None) -> tuple[int, int] | None:
    """(H, W) of an option such as 1024x1024.

    >>> read_size("512x1024")
    (512, 1024)
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"expected a size such as 1024x1024 (height x width in px), got {text!r}")
    return int(parts[0]), int(parts[1])


def read_region(text: str) -> Window:
    """The region of an option such as -512,0,1024,1024: X, Y, width and height in px.

    >>> read_region("-512,0,1024,768")
    Window(top=0, left=-512, height=768, width=1024)
    """
    from .sampling.windows import Window

    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected a region such as -512,0,1024,1024 (X,Y,W,H in px), got {text!r}") from None
    return Window(top, left, height, width)


def check_seed(seed: int) -> None:
    """Refuse a seed that `SamplingConfig` would."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"expected a seed from 0 to 2**64 - 1, got {seed}")


def read_limit(text: str) -> tuple[str, tuple[float | None, float | None]]:
    """Name, lowest and highest value of an option such as C_T:-3:3; a side may be empty."""
    parts = text.split(":")
    try:
        low, high = (float(part) if part else None for part in parts[1:])
        if any(bound is not None and math.isnan(bound) for bound in (low, high)):
            raise ValueError  # nothing is outside such a limit
    except ValueError:
        raise ValueError(f"expected a limit such as C_T:-3:3 or recall:0.5:, got {text!r}") from None
    return parts[0], (low, high)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a sentence, without the line of code that it comes from."""
    print(f"diffinfinite: {message}", file=sys.stderr)


def main() -> None:
    """Entry point: one sentence and exit code 1 where something is wrong."""
    warnings.showwarning = _warn
    try:
        code = app(standalone_mode=False)  # so that typer leaves it to us to say what is wrong with the options
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # typer has shown the help
            sys.exit(2)
        if os.environ.get(DEBUG):
            raise
        sys.exit(f"diffinfinite: {explain(error)}")
    if code == STOPPED:
        print("diffinfinite: stopped by the user; nothing half-written was left", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
