r"""The main job: a context prompt or a mask becomes a mask-image pair (paper Fig. 2).

context -> masks.generate_mask -> condition map -> samplers.sample -> decode.decode -> Pair
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from . import checkpoint, lowbit
from .autoencoder import Autoencoder, load_diffusers
from .autoguidance import Autoguided
from .decode import decode
from .denoise import Denoiser, fitting_batch, lower_precision
from .masks import generate_mask
from .noise import cosine_alphas, make_solver
from .pair import Pair
from .record import choose_device, costs, peak_memory, timed
from .samplers import Known, find_plan, sample
from .sharpen import load_lite
from .tiles import LABELS
from .train import pool_mask
from .unet import MaskUNet, condition_map
from .windows import Plan

WEIGHTS = Path(__file__).parent / "weights"
FACTOR = 8
SMALLEST = 64
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
    autoguidance : strength s of `autoguidance`; with 0.75 samples vary more, and take longer.
    sampler : name of a plan, see `windows`; "random-patch" is the paper's, "mixture" paints the best tissue.
    solver : ddim, ddpm or dpm-solver++.
    eta : share of fresh noise of ddim, 0 to 1, 0 by default; the other solvers have none to set.
    conditioning : "dense" or "per-label".
    patch : side of a window in px, that of training by default.
    stride : px between windows of mixture, sliding-window and multidiffusion, each with a default of its own.
    batch_size : windows a network call, by default what `denoise.fitting_batch` says.
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
        autoencoder, unet, mask_model = (model.to(device) for model in load_models(weights))
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
            scheduler=solver,
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
        "patch": window * FACTOR,
        "stride": stride,
        "device": str(device),
        "labels": {name: round(float((mask == n).mean()), 4) for n, name in enumerate(LABELS)},
        **costs(level.ledger, window, steps, clock),
        **peak_memory(device),
        **provenance(weights),
    }
    return Pair(image, mask, frames, run, latents.cpu().numpy().copy())


def conditions(mask: np.ndarray, context: str | None) -> torch.Tensor:
    """What the image model is told of labels (H, W) and a context: int64 (H/8, W/8), see `condition_map`."""
    return condition_map(pool_mask(torch.from_numpy(mask)[None].long(), FACTOR)[0], context or "none")


def check_method(sampler: str, stride: int | None, solver: str, steps: int, eta: float | None) -> Plan:
    """The plan; what `samplers.sample` would refuse is refused.

    Raises
    ------
    ValueError
        For an unknown sampler or solver, steps outside 1 to 1000, an eta or stride (latent pixels) where none belongs.
    """
    make_solver(solver, steps, cosine_alphas(), eta)
    return find_plan(sampler, stride)


def rim(sampler: str, size: tuple[int, int], window: int) -> int:
    """Border of the decoder: `BORDER` where windows (latents) wrap around a canvas (px), which has no edge then, or 0.

    Elsewhere outermost latents are those of training tiles: without zero padding they turn into a dotted rim.
    """
    return BORDER if sampler in ("random-patch", "torus-grid") and max(size) > window * FACTOR else 0


def window_and_stride(patch: int | None, stride: int | None = None, weights: Path = WEIGHTS) -> tuple[int, int | None]:
    """Side and distance of windows in latent pixels, from px; the side is that of training by default.

    Raises
    ------
    ValueError
        If one is no multiple of 8 px, the patch under 32, or the stride over the patch, which would leave gaps.
    """
    if patch is not None and (patch % FACTOR or patch < 4 * FACTOR):
        raise ValueError(f"expected a patch that is a multiple of {FACTOR} px from {4 * FACTOR}, got {patch}")
    patch = patch or trained_patch(weights)
    if stride is not None and (stride % FACTOR or not 0 < stride <= patch):
        raise ValueError(f"expected a stride in multiples of {FACTOR} px up to the patch of {patch}, got {stride}")
    return patch // FACTOR, stride and stride // FACTOR


def provenance(weights: Path) -> dict:
    """What a result was made with: hashes of the weights (checked by `load_models`) and versions."""
    return {
        "weights": expected_hashes(weights),
        "versions": {name: version(name) for name in ("diffinfinite_lite", "torch", "diffusers", "numpy")},
        "python": platform.python_version(),
    }


def expected_hashes(weights: Path = WEIGHTS) -> dict[str, str]:
    """SHA-256 of every weight file of a model by name.

    Raises
    ------
    ValueError
        If the folder holds no exported model.
    """
    if not (weights / "hashes.json").is_file():
        raise ValueError(f"expected a model in {weights} (diffinfinite train export writes one), found no hashes.json")
    return json.loads((weights / "hashes.json").read_text())


def trained_patch(weights: Path = WEIGHTS) -> int:
    """Side of the patches that the image model was trained on, px."""
    expected_hashes(weights)  # refuses a folder that holds no model
    return checkpoint.load(weights / "image.safetensors")[1]["patch"]


def load_models(weights: Path = WEIGHTS) -> tuple[Autoencoder, MaskUNet, MaskUNet]:
    """Autoencoder, image model and mask model of a folder, hashes checked.

    Raises
    ------
    ValueError
        If a file is missing, was changed or cut short.
    """
    return _load_models(Path(weights))


@cache  # by the folder alone, whether it was named or not
def _load_models(weights: Path) -> tuple[Autoencoder, MaskUNet, MaskUNet]:
    for name, expected in expected_hashes(weights).items():
        path = weights / f"{name}.safetensors"
        if not path.is_file():
            raise ValueError(f"expected weights at {path}, found none: install or export the model again")
        found = checkpoint.sha256(path)
        if found != expected:
            what = f"expected {path.name} with SHA-256 {expected[:12]}..., got {found[:12]}..."
            raise ValueError(f"{what}: the file was changed or cut short")
    files, image = expected_hashes(weights), checkpoint.load_unet(weights / "image.safetensors")
    if "image_update" in files:
        lowbit.load_update(image, weights / "image_update.safetensors")
    return (
        load_diffusers(vae) if (vae := image.config.get("vae")) else load_lite(weights, sharpened="decoder" in files),
        image,
        checkpoint.load_unet(weights / "mask.safetensors"),
    )


def guided(image: MaskUNet, strength: float, weights: Path = WEIGHTS) -> MaskUNet | Autoguided:
    """The image model of a folder, guided by what it was before its update if the strength is not 0.

    A ValueError refuses a strength that is negative or not a number, and a model that never had an update.
    """
    if strength == 0:
        return image
    if "image_update" not in expected_hashes(weights):
        raise ValueError(f"expected a model with an earlier version of itself for autoguidance {strength}, got none")
    earlier = checkpoint.load_unet(weights / "image.safetensors").to(next(image.parameters()).device)
    return Autoguided(image, earlier, strength)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size in px, refused with a ValueError where latents cannot have it."""
    if len(size) != 2 or any(side % FACTOR or side < SMALLEST for side in size):
        raise ValueError(
            f"expected a height and width in multiples of {FACTOR} px from {SMALLEST}, got {'x'.join(map(str, size))}"
        )
    return tuple(size)


def check_mask(mask: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The mask as uint8 (H, W), refused with a ValueError where it is none, or not of the size asked for."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"expected a mask of whole-number labels (H, W), got shape {mask.shape} of {mask.dtype}")
    if mask.min() < 0 or mask.max() >= len(LABELS):
        raise ValueError(f"expected labels 0 to {len(LABELS) - 1} in the mask, got {mask.min()} to {mask.max()}")
    if size is not None and tuple(size) != mask.shape:
        raise ValueError(f"expected a mask of the size {size[0]}x{size[1]}, got {mask.shape[0]}x{mask.shape[1]}")
    check_size(mask.shape)
    return mask.astype(np.uint8)
