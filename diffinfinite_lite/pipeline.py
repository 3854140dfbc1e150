r"""The main job: a context prompt or a mask becomes a mask-image pair (paper Fig. 2).

context -> masks.generate_mask -> condition map -> samplers.sample -> decode.decode -> Pair
"""

from __future__ import annotations

import json
import platform
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from . import checkpoint
from .autoencoder import LiteAutoencoder
from .decode import decode
from .denoise import Denoiser
from .masks import generate_mask
from .noise import cosine_alphas
from .pair import Pair
from .samplers import sample
from .tiles import LABELS
from .train import pool_mask
from .unet import MaskUNet, condition_map

WEIGHTS = Path(__file__).parent / "weights"
FACTOR = 8
SMALLEST = 64
BORDER = 4  # latent pixels
MAX_FRAMES = 150  # of the animated timestep map


def generate(
    context: str | None = None,
    mask: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    *,
    steps: int = 50,
    omega: float = 0.0,
    seed: int = 0,
    sampler: str = "random-patch",
    solver: str = "ddim",
    eta: float = 0.0,
    conditioning: str = "dense",
    patch: int | None = None,
    batch_size: int = 16,
    device: str | None = None,
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
    sampler : name of a plan: random-patch, torus-grid, sliding-window, multidiffusion, diffcollage.
    solver : ddim, ddpm or dpm-solver++.
    conditioning : "dense" or "per-label".
    patch : side of a window in px, that of training by default.
    device : "cpu", "cuda", ...; a GPU is used where torch sees one.
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
        size = _check_size(size or (1024, 1024))
    else:
        mask = _check_mask(mask, size)
        size = mask.shape
    clock: dict[str, float] = {}
    with _timed(clock, "weights"):
        autoencoder, unet, mask_model = (model.to(device) for model in load_models())
    denoiser = Denoiser(unet, cosine_alphas().to(device), omega=omega, conditioning=conditioning, batch_size=batch_size)
    if mask is None:
        with _timed(clock, "mask"):
            mask = generate_mask(mask_model, context, size, seed=seed, device=device)
    conditions = condition_map(pool_mask(torch.from_numpy(mask)[None].long(), FACTOR)[0], context or "none").to(device)
    if patch is not None and (patch % FACTOR or patch < 4 * FACTOR):
        raise ValueError(f"expected a patch that is a multiple of {FACTOR} px from {4 * FACTOR}, got {patch}")
    window = (patch or trained_patch()) // FACTOR
    frames = []
    with _timed(clock, "sampling"):
        levels = sample(
            denoiser,
            conditions,
            channels=autoencoder.latent_channels,
            patch=window,
            plan=sampler,
            scheduler=solver,
            steps=steps,
            eta=eta if solver == "ddim" else None,
            seed=seed,
            record=True,
        )
        for level in progress(levels, steps):
            kept = max(1, MAX_FRAMES // steps)
            chosen = np.unique(np.linspace(0, len(level.frames) - 1, kept + 1).round().astype(int)[1:])
            frames += [
                frame[: conditions.shape[0], : conditions.shape[1]] for frame in level.frames[chosen].cpu().numpy()
            ]
    with _timed(clock, "decoding"):
        picture = _decode_with_border(autoencoder, level.canvas.latents)
    image = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    ledger = level.ledger
    run = {
        "context": context,
        "size": list(size),
        "steps": steps,
        "omega": omega,
        "seed": seed,
        "sampler": sampler,
        "solver": solver,
        "eta": eta,
        "conditioning": conditioning,
        "patch": window * FACTOR,
        "device": str(device),
        "labels": {name: round(float((mask == n).mean()), 4) for n, name in enumerate(LABELS)},
        "network_evaluations": ledger.evaluations,
        "windows": ledger.windows,
        "windows_per_level": round(ledger.windows / steps, 2),
        "seconds": {
            **{k: round(v, 2) for k, v in clock.items()},
            "network": round(ledger.network_seconds, 2),
        },
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "weights": {name: checkpoint.sha256(WEIGHTS / f"{name}.safetensors") for name in expected_hashes()},
        "versions": {name: version(name) for name in ("diffinfinite_lite", "torch", "diffusers", "numpy")},
        "python": platform.python_version(),
    }
    return Pair(image, mask, frames, run)


def choose_device(device: str | None) -> str:
    """The device asked for, or a GPU where torch sees one, else the CPU."""
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"expected a device such as cpu or cuda, got {device!r}") from error
    if asked.type == "cuda" and (asked.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"expected one of the {torch.cuda.device_count()} GPUs that torch sees, got {device!r}")
    return device


def expected_hashes() -> dict[str, str]:
    """SHA-256 of every shipped weight file by name."""
    return json.loads((WEIGHTS / "hashes.json").read_text())


def trained_patch() -> int:
    """Side of the patches that the shipped image model was trained on, px."""
    return checkpoint.load(WEIGHTS / "image.safetensors")[1].get("patch", 128)


@cache
def load_models() -> tuple[LiteAutoencoder, MaskUNet, MaskUNet]:
    """The shipped autoencoder, image model and mask model, hashes checked.

    Raises
    ------
    ValueError
        If a file was changed or cut short.
    """
    for name, expected in expected_hashes().items():
        path = WEIGHTS / f"{name}.safetensors"
        if not path.is_file():
            raise ValueError(f"expected weights at {path}, found none: reinstall the package")
        found = checkpoint.sha256(path)
        if found != expected:
            raise ValueError(
                f"expected {path.name} with SHA-256 {expected[:12]}..., got {found[:12]}...: "
                "the file was changed or cut short"
            )

    def network(latent_channels, widths, **_):
        return MaskUNet(latent_channels, widths).to(memory_format=torch.channels_last)

    return (
        checkpoint.load_weights(WEIGHTS / "autoencoder.safetensors", LiteAutoencoder),
        checkpoint.load_weights(WEIGHTS / "image.safetensors", network),
        checkpoint.load_weights(WEIGHTS / "mask.safetensors", network),
    )


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or any(side % FACTOR or side < SMALLEST for side in size):
        raise ValueError(
            f"expected a height and width in multiples of {FACTOR} px from {SMALLEST}, got {'x'.join(map(str, size))}"
        )
    return tuple(size)


def _check_mask(mask: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    mask = np.asarray(mask)
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"expected a mask of whole-number labels (H, W), got shape {mask.shape} of {mask.dtype}")
    if mask.min() < 0 or mask.max() >= len(LABELS):
        raise ValueError(f"expected labels 0 to {len(LABELS) - 1} in the mask, got {mask.min()} to {mask.max()}")
    if size is not None and tuple(size) != mask.shape:
        raise ValueError(f"expected a mask of the size {size[0]}x{size[1]}, got {mask.shape[0]}x{mask.shape[1]}")
    _check_size(mask.shape)
    return mask.astype(np.uint8)


def _decode_with_border(autoencoder: LiteAutoencoder, latents: torch.Tensor) -> torch.Tensor:
    """Decode with the outermost latents repeated outwards: zero padding would draw a grey frame."""
    padded = torch.nn.functional.pad(latents[None], (BORDER,) * 4, mode="replicate")[0]
    frame = BORDER * FACTOR
    return decode(autoencoder, padded)[:, frame:-frame, frame:-frame]


@contextmanager
def _timed(clock: dict[str, float], stage: str):
    began = time.perf_counter()
    yield
    clock[stage] = time.perf_counter() - began
