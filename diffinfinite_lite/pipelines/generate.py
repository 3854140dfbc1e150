r"""The main job: a context prompt or a mask becomes a mask-image pair (paper Fig. 2).

context -> masks.generate_mask -> condition map -> samplers.sample -> decode.decode -> Pair
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from ..devices import choose_device, fitting_batch, lower_precision
from ..labels import CELL_PX, LABELS, conditions
from ..models import pretrained
from ..models.pretrained import WEIGHTS, guided, provenance
from ..sampling.cost import costs, peak_memory, timed
from ..sampling.decode import decode
from ..sampling.denoiser import Denoiser
from ..sampling.inpainting import Known
from ..sampling.sample import sample
from ..sampling.solvers import cosine_alphas
from .config import check_mask, check_method, check_size, window_and_stride
from .masks import generate_mask
from .pair import Pair

BORDER = 4  # latent pixels of the repeated rim, without which zero padding would draw a grey frame; see `rim`
TILE = 152  # of the decoder, latent pixels: with their border 1024 k px take k tiles
OVERLAP = 24  # of these tiles, twice the decoder's reach
MAX_FRAMES = 150  # of the animated timestep map


def generate(
    context: str | None = None,
    mask: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    *,
    steps: int = 50,
    omega: float = 0.0,
    autoguidance: float = 0.0,
    seed: int = 0,
    sampler: str = "mixture",
    solver: str = "ddim",
    eta: float | None = None,
    conditioning: str = "dense",
    patch: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    compiled: bool = False,
    known: Known | None = None,
    device: str | None = None,
    weights: Path = WEIGHTS,
    progress: Callable[[Iterable, int], Iterable] = lambda levels, _: levels,
) -> Pair:
    """Generate a mask-image pair.

    Parameters
    ----------
    context : "adenocarcinoma", "squamous" or "normal". Alone, it generates the mask as well; beside a mask it says
        which kind of tissue the labels mean.
    mask : uint8 (H, W), labels 0 unknown, 1 carcinoma, 2 necrosis, 3 stroma, 4 others.
    size : (H, W) in px, multiples of 8 from 64; that of the mask where there is one, else (1024, 1024) by default.
    steps : denoising steps S, 1 to 1000.
    omega : guidance of eq. 2, at least 0.
    autoguidance : strength s of `guidance`; with 0.75 samples vary more, and take longer.
    sampler : name of a plan, see `windows`; "random-patch" is the paper's, "mixture" paints the best tissue.
    solver : ddim, ddpm or dpm-solver++.
    eta : share of fresh noise of ddim, 0 to 1, 0 by default; the other solvers have none to set.
    conditioning : "dense" or "per-label".
    patch : side of a window in px, that of training by default.
    stride : px between windows of mixture, sliding-window and multidiffusion, each with a default of its own.
    batch_size : windows a network call, by default what `devices.fitting_batch` says.
    precision : "fp32", or "bf16" or "fp16" for the networks, where the hardware is faster at it.
    compiled : spend a minute or more on ``torch.compile`` first, which pays on a GPU and for much tissue.
    known : latents to keep, see `edit.inpaint` and `edit.resynthesise`; needs a mask.
    device : "cpu", "cuda", ...; a GPU is used where torch sees one.
    weights : folder of a model, as `diffinfinite train export` writes it; the shipped one by default.
    progress : wraps the iterator over levels, for example ``lambda levels, n: tqdm(levels, total=n)``.

    Raises
    ------
    ValueError
        Naming what was expected and what came.
    """
    device = choose_device(device)
    if mask is None:
        if context is None:
            raise ValueError("expected a context or a mask, got neither")
        if known is not None:
            raise ValueError("expected a mask beside the latents to keep, got none")
        size = check_size(size or (1024, 1024))
    else:
        mask = check_mask(mask, size)
        size = mask.shape
    window, apart = window_and_stride(patch, stride, weights)
    plan = check_method(sampler, apart, solver, steps, eta)  # here, and not after minutes of making a mask
    clock: dict[str, float] = {}
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with timed(clock, "weights"):
        autoencoder, unet, mask_model = (model.to(device) for model in pretrained.load_models(weights))
        unet = guided(unet, autoguidance, weights)
    if batch_size is None:
        batch_size = fitting_batch(unet, autoencoder.latent_channels, window, device)
    how = {"batch_size": batch_size, "precision": precision, "compiled": compiled}
    denoiser = Denoiser(unet, cosine_alphas().to(device), omega=omega, conditioning=conditioning, **how)
    if mask is None:
        with timed(clock, "mask"):
            mask = generate_mask(mask_model, context, size, seed=seed, precision=precision, device=device)
    frames = []
    with timed(clock, "sampling"):
        levels = sample(
            denoiser,
            conditions(mask, context).to(device),
            channels=autoencoder.latent_channels,
            patch=window,
            plan=plan,
            solver=solver,
            steps=steps,
            eta=eta,
            seed=seed,
            known=known and Known(known.latents.to(device), known.keep.to(device)),
            record=max(1, MAX_FRAMES // max(steps, 1)),
        )
        for level in progress(levels, steps):
            maps = level.canvas.timestep_map[None] if level.frames is None else level.frames  # None: all was known
            frames += list(maps.short().cpu().numpy())
    latents = level.canvas.latents
    border = rim(sampler, size, window)
    with timed(clock, "decoding"), lower_precision(latents.device, precision):
        picture = decode(autoencoder, latents, tile=TILE, overlap=OVERLAP, batch_size=1, border=border)
    image = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    run = {
        "context": context,
        "size": list(size),
        "steps": steps,
        "omega": omega,
        "autoguidance": autoguidance,
        "seed": seed,
        "sampler": sampler,
        "solver": solver,
        "eta": eta,
        "conditioning": conditioning,
        "precision": precision,
        "compiled": compiled,
        "patch": window * CELL_PX,
        "stride": stride,
        "device": str(device),
        "labels": {name: round(float((mask == n).mean()), 4) for n, name in enumerate(LABELS)},
        **costs(level.ledger, window, steps, clock),
        **peak_memory(device),
        **provenance(weights),
    }
    return Pair(image, mask, frames, run, latents.cpu().numpy().copy())


def rim(sampler: str, size: tuple[int, int], window: int) -> int:
    """Border of the decoder: `BORDER` where windows (latents) wrap around a canvas (px), which has no edge then, or 0.

    Elsewhere outermost latents are those of training tiles: without zero padding they turn into a dotted rim.
    """
    return BORDER if sampler in ("random-patch", "torus-grid") and max(size) > window * CELL_PX else 0
