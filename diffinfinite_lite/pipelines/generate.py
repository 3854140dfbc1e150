r"""The main job: a context prompt or a mask becomes a mask-image pair (paper Fig. 2).

    context -> masks.generate_mask -> mask
    mask, context -> labels.conditions -> loop.sample -> latents -> decode.decode -> image
    image, mask, latents and what it took -> Pair

What can be wrong with the arguments is refused before the first network runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.tiles import to_rgb
from ..devices import choose_device, fitting_batch, lower_precision
from ..labels import CELL_PX, LABELS, conditions
from ..models import pretrained
from ..models.autoencoder import Autoencoder
from ..models.pretrained import Models, guided, provenance
from ..sampling.cost import costs, peak_memory, timed
from ..sampling.decode import count_tiles, decode_stream
from ..sampling.denoiser import Denoiser, Estimator
from ..sampling.inpainting import Known
from ..sampling.loop import Level
from ..sampling.plans import TRAITS
from ..sampling.sample import Method, sample
from ..sampling.solvers import cosine_alphas
from .cautions import find_cautions, say
from .config import SamplingConfig, check_content, check_memory, configure, takes_settings
from .masks import generate_mask
from .pair import Pair
from .progress import Progress, silent

BORDER = 4  # latent pixels, see `border_width`
TILE = 152  # of the decoder, latent pixels: with their border 1024 k px take k tiles
OVERLAP = 24  # of these tiles, twice the decoder's reach
BYTES_PER_PX = 30  # of memory: measured from 1,536 to 3,072 px, the pair, its latents and what writes them to files
MAX_FRAMES = 150  # of the animated timestep map


@takes_settings
def generate(
    context: str | None = None,
    mask: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    *,
    config: SamplingConfig | None = None,
    known: Known | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    progress: Progress = silent,
    **overrides: Any,
) -> Pair:
    """Generate a mask-image pair.

    Parameters
    ----------
    context : "adenocarcinoma", "squamous" or "normal". Alone, it generates the mask as well; beside a mask it says
        which kind of tissue the labels mean.
    mask : uint8 (H, W), labels 0 unknown, 1 carcinoma, 2 necrosis, 3 stroma, 4 others.
    size : (H, W) in px, multiples of 8 from 64; that of the mask where there is one, else (1024, 1024) by default.
    config : how to sample, see `SamplingConfig`; its defaults by default.
    known : latents to keep, see `edit.inpaint` and `edit.resynthesise`; needs a mask.
    device : "cpu", "cuda", ...; a GPU is used where torch sees one.
    weights : folder of a model, as `diffinfinite train export` writes it; the shipped one by default.
    progress : wraps the items of each stage, for example ``lambda items, n, stage: tqdm(items, stage, n)``; see
        `progress.STAGES`.
    overrides : single fields of `SamplingConfig`, for example ``steps=20, seed=3``.

    Raises
    ------
    ValueError
        Naming what was expected and what came.
    """
    config = configure(config, overrides, weights)
    device = choose_device(device)
    mask, size = check_content(context, mask, size)
    check_memory(size, BYTES_PER_PX, "a smaller picture needs less, and `diffinfinite slide` a fraction of it")
    if known is not None and mask is None:
        raise ValueError("expected a mask beside the latents to keep, got none")
    clock: dict[str, float] = {}
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with timed(clock, "weights"):
        models = pretrained.load_models(weights, device)
        denoiser = make_denoiser(models, config, weights, device)
    if mask is None:
        with timed(clock, "mask"):
            assert context is not None  # check_content demands one of the two
            settings: dict[str, Any] = {"seed": config.seed, "precision": config.precision, "device": device}
            mask = generate_mask(models.mask, context, size, **settings, progress=progress)
    shares = [round(float((mask == label).mean()), 4) for label in range(len(LABELS))]
    cautions = say(find_cautions(context, size, config, shares, weights))
    with timed(clock, "sampling"):
        labels = conditions(mask, context).to(device)
        known = known and Known(known.latents.to(device), known.keep.to(device))
        frames_a_level = max(1, MAX_FRAMES // config.steps)
        levels = sample_levels(denoiser, labels, models, config, known=known, record=frames_a_level)
        level, frames = follow(progress(levels, config.steps, "sampling"))
    latents = level.canvas.latents
    with timed(clock, "decoding"):
        image = picture(models.autoencoder, latents, config, border_width(config, size), progress)
    run = record_run(context, size, config, device=device, weights=weights, shares=shares, cautions=cautions)
    run |= costs(level.ledger, config.window, config.steps, clock) | peak_memory(device)
    return Pair(image, mask, frames, run, latents.cpu().numpy().copy())


def make_denoiser(models: Models, config: SamplingConfig, weights: str | Path | None, device: str) -> Denoiser:
    """The image model as the settings want it: guided, in batches that fit the device, in their precision.

    Raises
    ------
    ValueError
        If the model has no earlier version for autoguidance, or there is no compiler for torch.compile.
    """
    network = guided(models.image, config.autoguidance, weights)
    batch_size = config.batch_size
    if batch_size is None:
        batch_size = fitting_batch(network, models.autoencoder.latent_channels, config.window, device)
    return Denoiser(
        network,
        cosine_alphas().to(device),
        omega=config.omega,
        conditioning=config.conditioning,
        batch_size=batch_size,
        precision=config.precision,
        compiled=config.compiled,
    )


def sample_levels(
    denoiser: Estimator, labels: Tensor, models: Models, config: SamplingConfig, **options: Any
) -> Iterator[Level]:
    """`sample.sample` as the settings want it.

    Parameters
    ----------
    denoiser : a `Denoiser`, or what takes its place
    labels : conditions (h, w) at latent resolution, see `labels.conditions`
    options : of `sample.sample` that are no settings: known, record, store
    """
    method = Method(
        patch=config.window,
        plan=config.find_plan(),
        solver=config.solver,
        steps=config.steps,
        eta=config.eta,
        seed=config.seed,
    )
    return sample(denoiser, labels, method, channels=models.autoencoder.latent_channels, **options)


def follow(levels: Iterable[Level]) -> tuple[Level, list[np.ndarray]]:
    """Run all levels; the last of them, and the timestep maps int16 (h, w) that were recorded on the way."""
    frames: list[np.ndarray] = []
    for level in levels:
        maps = level.frames
        if maps is None:  # nothing was open at this level: its map is the one after it
            maps = level.canvas.timestep_map[None]
        frames += list(maps.short().cpu().numpy())
    return level, frames


def border_width(config: SamplingConfig, size: tuple[int, int]) -> int:
    """By how many latents the decoder has to continue a canvas of (H, W) px on all sides.

    Where windows wrap around, a canvas has no edge while it is sampled, so that its outermost latents are not those of
    a training tile: beside the decoder's zero padding they would turn into a grey frame. Everywhere else they are, and
    continuing them would draw a dotted one.
    """
    return BORDER if TRAITS[config.plan].wraps and max(size) > config.window * CELL_PX else 0


def picture(
    autoencoder: Autoencoder, latents: Tensor, config: SamplingConfig, border: int, progress: Progress = silent
) -> np.ndarray:
    """The picture of a canvas, uint8 (H, W, 3); floats of it are in memory part by part."""
    height, width = latents.shape[1:]
    image = np.empty((height * CELL_PX, width * CELL_PX, 3), np.uint8)
    tiles = {"tile": TILE, "overlap": OVERLAP, "border": border}
    with lower_precision(latents.device, config.precision):
        parts = decode_stream(autoencoder, latents, batch_size=1, **tiles)
        for top, left, part in progress(parts, count_tiles((height, width), **tiles), "decoding"):
            pixels = to_rgb(part)
            image[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return image


def record_run(
    context: str | None,
    size: tuple[int, int],
    config: SamplingConfig,
    *,
    device: str,
    weights: str | Path | None,
    shares: Sequence[float],
    cautions: Sequence[str] = (),
) -> dict:
    """What ``run.json`` says of a run but its cost: what was painted, how, on what and with which weights.

    Parameters
    ----------
    shares : of each label in the mask
    cautions : of `find_cautions`, recorded as "warnings" where there are any
    """
    said = {"warnings": list(cautions)} if cautions else {}
    return {
        "context": context,
        "size": list(size),
        **config.to_run(),
        "device": str(device),
        "labels": dict(zip(LABELS, shares, strict=True)),
        **provenance(weights),
        **said,
    }
