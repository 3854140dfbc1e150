r"""The main job: a context prompt or a mask becomes a mask-image pair (paper Fig. 2).

    context -> masks.generate_mask -> mask
    mask, context -> labels.conditions -> stages.sample_stages (a draft, then latents) -> decode.decode -> image
    image, mask, latents and what it took -> Pair

What can be wrong with the arguments is refused before the first network runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.tiles import to_rgb
from ..devices import choose_device, lower_precision
from ..labels import CELL_PX, LABELS, conditions
from ..models import pretrained
from ..models.autoencoder import Autoencoder
from ..models.pretrained import provenance, sampled_margin
from ..sampling.cost import peak_memory, timed
from ..sampling.decode import count_tiles, decode_stream
from ..sampling.inpainting import Known
from ..sampling.plans import TRAITS
from .cautions import find_cautions, find_copies, say
from .config import SamplingConfig, check_content, check_memory, configure, takes_settings
from .margin import enlarged
from .masks import generate_mask
from .pair import Pair
from .passport import MARGIN, MASK, hash_mask
from .progress import Progress, silent
from .stages import (
    DETAIL,
    DRAFT,
    cost_of,
    count_levels,
    find_stages,
    follow,
    make_denoiser,
    sample_stages,
    settle,
)

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
    known: Mapping[str, Known] | None = None,
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
    mask : uint8 (H, W), labels 0 unknown, 1 carcinoma, 2 necrosis, 3 stroma, 4 others, 5 air.
    size : (H, W) in px, multiples of 8 from 64; that of the mask where there is one, else (1024, 1024) by default.
    config : how to sample, see `SamplingConfig`; its defaults by default.
    known : latents to keep, by the name of the stage (`stages.NAMES`), see `edit.inpaint` and `edit.resynthesise`;
        of the canvas with its margin (`Pair.latents`); needs a mask.
    device : "cpu", "cuda", ...; a GPU is used where torch sees one.
    weights : folder of a model, as `diffinfinite train export` writes it; the shipped one by default.
    progress : wraps the items of each part of the work, for example ``lambda items, n, part: tqdm(items, part, n)``;
        see `progress.PARTS`. Levels of "sampling" are `stages.StageLevel`, whose ``preview()`` shows the draft while it
        emerges.
    overrides : single fields of `SamplingConfig`, for example ``steps=20, seed=3``.

    Raises
    ------
    ValueError
        Naming what was expected and what came.
    """
    mask, size = check_content(context, mask, size)
    config = configure(config, overrides, weights, size)
    device = choose_device(device)
    margin = sampled_margin(weights)
    instead = "a smaller picture needs less, and `diffinfinite slide` a fraction of it"
    check_memory(enlarged(size, margin), BYTES_PER_PX, instead)
    if known is not None and mask is None:
        raise ValueError("expected a mask beside the latents to keep, got none")
    given = {} if mask is None else {MASK: hash_mask(mask)}
    clock: dict[str, float] = {}
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with timed(clock, "weights"):
        models = pretrained.load_models(weights, device)
        config = settle(config, weights, device)
        stages = find_stages(models, config, context, weights, device)
        denoisers = {stage.name: make_denoiser(stage, config, device) for stage in stages}
    if mask is None:
        with timed(clock, "mask"):
            assert context is not None  # check_content demands one of the two
            settings = {name: getattr(config, name) for name in ("seed", "masks", "precision")}
            mask = generate_mask(models.mask, context, size, **settings, device=device, progress=progress)
    shares = [round(float((mask == label).mean()), 4) for label in range(len(LABELS))]
    cautions = say(find_cautions(context, size, config, shares, weights) + find_copies(known))
    with timed(clock, "sampling"):
        labels, levels = conditions(mask, context).to(device), count_levels(stages)
        kept = {name: Known(part.latents.to(device), part.keep.to(device)) for name, part in (known or {}).items()}
        sampled = sample_stages(stages, denoisers, labels, known=kept, record=max(1, MAX_FRAMES // levels))
        last, frames = follow(progress(sampled, levels, "sampling"))
    latents = last[DETAIL].canvas.latents
    with timed(clock, "decoding"):
        image = picture(models.autoencoder, latents, config, margin, progress)
    run = record_run(
        context, size, config, device=device, weights=weights, shares=shares, cautions=cautions, margin=margin
    )
    run |= given | cost_of(last, config.window, clock) | peak_memory(device)
    draft = last[DRAFT].canvas.latents.cpu().numpy().copy() if DRAFT in last else None
    return Pair(image, mask, frames, run, latents.cpu().numpy().copy(), draft)


def border_width(config: SamplingConfig, size: tuple[int, int], margin: int) -> int:
    """By how many latents the decoder has to continue a canvas of (H, W) px on all sides: by none with a margin.

    A sampled margin is what the decoder should see. The autoencoder of a model without one saw zeros beyond its
    pictures. Where windows wrap around, a canvas has no edge while it is sampled, so that its outermost latents are not
    those of a training tile: beside the decoder's zero padding they would turn into a grey frame. Everywhere else they
    are, and continuing them would draw a dotted one.
    """
    edgeless = TRAITS[config.plan].wraps and max(size) > config.window * CELL_PX
    return BORDER if edgeless and not margin else 0


def picture(
    autoencoder: Autoencoder, latents: Tensor, config: SamplingConfig, margin: int, progress: Progress = silent
) -> np.ndarray:
    """The picture of a canvas with its margin, uint8 (H, W, 3); floats of it are in memory part by part."""
    height, width = latents.shape[1:]
    size = (height - 2 * margin) * CELL_PX, (width - 2 * margin) * CELL_PX
    image = np.empty((*size, 3), np.uint8)
    tiles: dict[str, Any] = {"tile": TILE, "overlap": OVERLAP, "border": border_width(config, size, margin)}
    with lower_precision(latents.device, config.precision):
        parts = decode_stream(autoencoder, latents, batch_size=1, margin=margin, **tiles)
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
    margin: int = 0,
) -> dict:
    """What ``run.json`` says of a run but its cost: what was painted, how, on what and with which weights.

    Parameters
    ----------
    shares : of each label in the mask
    cautions : of `find_cautions`, recorded as "warnings" where there are any
    margin : latents that the canvas had around the picture, recorded in px where there are any
    """
    said: dict[str, Any] = {"warnings": list(cautions)} if cautions else {}
    said |= {MARGIN: margin * CELL_PX} if margin else {}
    return {
        "context": context,
        "size": list(size),
        **config.to_run(),
        "device": str(device),
        "labels": dict(zip(LABELS, shares, strict=True)),
        **provenance(weights),
        **said,
    }
