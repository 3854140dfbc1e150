r"""The main job: a context prompt or a mask becomes a mask-image pair (paper Fig. 2).

    context -> masks.generate_mask -> condition map -> samplers.sample -> decode.decode -> Pair
"""

from __future__ import annotations

import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from . import checkpoint
from .autoencoder import LiteAutoencoder
from .decode import decode
from .denoise import Denoiser
from .masks import generate_mask
from .noise import cosine_alphas
from .samplers import sample
from .tiles import LABEL_COLOURS, LABELS
from .train import pool_mask
from .unet import MaskUNet, condition_map

WEIGHTS = Path(__file__).parent / "weights"
FACTOR = 8
SMALLEST = 64
RESULTS = ("image.png", "mask.png", "timesteps.webp", "run.json")
MAX_FRAMES = 150  # of the animated timestep map


@dataclass(frozen=True)
class Pair:
    """A generated picture and the mask it was generated under.

    Attributes
    ----------
    image : uint8 (H, W, 3)
    mask : uint8 (H, W), labels 0..4
    timesteps : list of int arrays (H/8, W/8), noise levels still to go for each latent pixel, over the run
    run : what `run.json` holds: settings, versions, weight hashes, cost
    """

    image: np.ndarray
    mask: np.ndarray
    timesteps: list[np.ndarray]
    run: dict

    def show(self):
        """Picture and mask side by side with the legend, as a matplotlib figure."""
        import matplotlib.pyplot as plt
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        colours = np.array(LABEL_COLOURS) / 255
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.4), layout="constrained")
        left.imshow(self.image)
        right.imshow(self.mask, cmap=ListedColormap(colours), vmin=0, vmax=len(LABELS) - 1,
                     interpolation="nearest")
        present = np.unique(self.mask)
        figure.legend(handles=[Patch(color=colours[n], label=LABELS[n]) for n in present],
                      loc="outside lower center", ncols=len(present), frameon=False)
        for axis in (left, right):
            axis.set_axis_off()
        plt.close(figure)
        return figure

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write image.png, mask.png, timesteps.webp and run.json, all or nothing.

        Raises
        ------
        FileExistsError
            If the folder holds one of these files and ``force`` is not set.
        """
        folder = check_out(folder, force=force)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            Image.fromarray(self.image).save(Path(partial, "image.png"))
            _indexed(self.mask).save(Path(partial, "mask.png"), pnginfo=_legend())
            _animate(self.timesteps, Path(partial, "timesteps.webp"))
            Path(partial, "run.json").write_text(json.dumps(self.run, indent=1) + "\n")
            for name in RESULTS:
                os.replace(Path(partial, name), folder / name)


def generate(context: str | None = None, mask: np.ndarray | None = None, size: tuple[int, int] | None = None, *,
             steps: int = 50, omega: float = 0.0, seed: int = 0, sampler: str = "random-patch", solver: str = "ddim",
             eta: float = 0.0, conditioning: str = "dense", patch: int | None = None, batch_size: int = 16,
             device: str | None = None, progress: Callable[[Iterable, int], Iterable] = lambda levels, _: levels) -> Pair:
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
    frames, map_now = [], None
    with _timed(clock, "sampling"):
        levels = sample(denoiser, conditions, channels=autoencoder.latent_channels, patch=window, plan=sampler,
                        scheduler=solver, steps=steps, eta=eta if solver == "ddim" else None, seed=seed, record=True)
        for level in progress(levels, steps):
            kept = max(1, MAX_FRAMES // steps)
            chosen = np.unique(np.linspace(0, len(level.frames) - 1, kept + 1).round().astype(int)[1:])
            frames += [frame[:conditions.shape[0], :conditions.shape[1]] for frame in level.frames[chosen].cpu().numpy()]
            map_now = level
    with _timed(clock, "decoding"):
        picture = decode(autoencoder, map_now.canvas.latents)
    image = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    ledger = map_now.ledger
    run = {
        "context": context, "size": list(size), "steps": steps, "omega": omega, "seed": seed, "sampler": sampler,
        "solver": solver, "eta": eta, "conditioning": conditioning, "patch": window * FACTOR, "device": str(device),
        "labels": {name: round(float((mask == n).mean()), 4) for n, name in enumerate(LABELS)},
        "network_evaluations": ledger.evaluations, "windows": ledger.windows,
        "windows_per_level": round(ledger.windows / steps, 2),
        "seconds": {**{k: round(v, 2) for k, v in clock.items()}, "network": round(ledger.network_seconds, 2)},
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "weights": {name: checkpoint.sha256(WEIGHTS / f"{name}.safetensors") for name in expected_hashes()},
        "versions": {name: version(name) for name in ("diffinfinite_lite", "torch", "diffusers", "numpy")},
        "python": platform.python_version(),
    }
    return Pair(image, mask, frames, run)


def check_out(folder: str | Path, *, force: bool = False) -> Path:
    """The folder for a result, made if needed, refused before any work if it cannot take it.

    Raises
    ------
    FileExistsError
        If it holds an earlier result and ``force`` is not set.
    OSError
        If it cannot be written to.
    """
    folder = Path(folder)
    existing = [name for name in RESULTS if (folder / name).exists()]
    if existing and not force:
        raise FileExistsError(f"expected no earlier result in {folder}, found {existing[0]} (--force overwrites)")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return folder


def choose_device(device: str | None) -> str:
    """The device asked for, or a GPU where torch sees one, else the CPU."""
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"expected a device that torch sees, got {device!r} where there is no CUDA GPU")
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
            raise ValueError(f"expected {path.name} with SHA-256 {expected[:12]}..., got {found[:12]}...: "
                             "the file was changed or cut short")

    def network(latent_channels, widths, **_):
        return MaskUNet(latent_channels, widths).to(memory_format=torch.channels_last)

    return (checkpoint.load_weights(WEIGHTS / "autoencoder.safetensors", LiteAutoencoder),
            checkpoint.load_weights(WEIGHTS / "image.safetensors", network),
            checkpoint.load_weights(WEIGHTS / "mask.safetensors", network))


def read_mask(path: str | Path) -> np.ndarray:
    """Labels (H, W) of an index-colour or greyscale mask file.

    Raises
    ------
    ValueError
        If the file is a colour picture, or no picture.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a mask picture, got {Path(path).name}: {error}") from error
    if picture.mode not in ("P", "L", "I;16", "I"):
        raise ValueError(f"expected an index-colour or greyscale mask with labels 0 to {len(LABELS) - 1}, "
                         f"got {Path(path).name} in mode {picture.mode}")
    return np.asarray(picture)


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    if len(size) != 2 or any(side % FACTOR or side < SMALLEST for side in size):
        raise ValueError(f"expected a height and width in multiples of {FACTOR} px from {SMALLEST}, "
                         f"got {'x'.join(map(str, size))}")
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


@contextmanager
def _timed(clock: dict[str, float], stage: str):
    began = time.perf_counter()
    yield
    clock[stage] = time.perf_counter() - began


def _indexed(mask: np.ndarray) -> Image.Image:
    picture = Image.fromarray(mask, mode="P")
    picture.putpalette([value for colour in LABEL_COLOURS for value in colour])
    return picture


def _legend() -> PngInfo:
    legend = PngInfo()
    legend.add_text("labels", json.dumps({n: {"name": name, "colour": LABEL_COLOURS[n]} for n, name in enumerate(LABELS)}))
    return legend


def _animate(frames: list[np.ndarray], path: Path) -> None:
    """Noise levels to go as brightness, one latent pixel as 4 px at most, 12 frames a second."""
    top = max(int(frame.max()) for frame in frames) + 1
    zoom = max(1, min(4, 512 // max(frames[0].shape)))
    pictures = [Image.fromarray(np.kron((frame * 255 // top).astype(np.uint8), np.ones((zoom, zoom), np.uint8)))
                for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=83, loop=0, lossless=True)
