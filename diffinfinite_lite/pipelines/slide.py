r"""A slide of any size: a context or a mask becomes a pyramidal OME-TIFF, its mask as another, and tiles for a browser.

The stages are those of `generate.generate`, but nothing is ever held as a whole:

    labels (few cells, or rows of a file) -> conditions, 1 byte a latent pixel
    -> samplers.sample on a canvas on disk (`zarr_canvas`), on one machine or many (`distributed`)
    -> decode.decode_stream, part by part -> slides

The same call goes on where an earlier one stopped, however that ended: sampling from its last finished level, writing
from the start. Results take their names when all of them are complete.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch

from ..data.mask_files import read_mask
from ..devices import choose_device, fitting_batch, lower_precision
from ..labels import CELL_PX, LABELS, conditions
from ..models import pretrained
from ..models.pretrained import WEIGHTS, guided, provenance
from ..sampling.canvas import Plane
from ..sampling.cost import costs, peak_memory, timed
from ..sampling.decode import decode_stream
from ..sampling.denoiser import Denoiser
from ..sampling.distributed import Workers
from ..sampling.loop import sample
from ..sampling.solvers import cosine_alphas
from ..sampling.store import room
from .config import check_mask, check_method, check_size, window_and_stride
from .generate import OVERLAP, rim
from .masks import generate_cells, upsample
from .pair import check_out
from .slide_files import Part, to_bytes, write_deep_zoom, write_image, write_mask

RESULTS = ("image.ome.tif", "mask.ome.tif", "image.dzi", "image_files", "run.json")
UNFINISHED = ".unfinished"  # folder in which results wait for each other
MPP = 0.5  # um/px of what the shipped model was trained on
BAND = 32  # rows of px of the mask at a time
TILE = 64  # of the decoder, latent pixels: smaller than those of `generate`, for less memory
Progress = Callable[[Iterable, int, str], Iterable]


def generate_slide(
    context: str | None = None,
    mask: np.ndarray | str | Path | None = None,
    size: tuple[int, int] | None = None,
    *,
    store: str | Path,
    out: str | Path,
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
    device: str | None = None,
    weights: Path = WEIGHTS,
    mpp: float = MPP,
    scheduler: str | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress = lambda items, total, stage: items,
) -> dict:
    """Generate a slide of any size, resumably, and write it to files.

    Parameters
    ----------
    context, size, steps, omega, autoguidance, seed, sampler, solver, eta, conditioning, patch, stride, batch_size,
    precision, compiled, weights : as in `generate.generate`
    mask : labels (H, W), or the path of a picture of labels, which is read as it is needed
    store : folder for the canvas, of which a finished run may be deleted: new, or of this very run
    out : folder for `RESULTS`
    mpp : micrometres per pixel, written to the files
    device : of every machine; where there are several GPUs, local workers take turns
    scheduler, workers : see `distributed.Workers`; by default this process does everything
    force : overwrite results in ``out``
    progress : wraps the levels of the stage "sampling" and the bands of the stage "writing"

    Returns
    -------
    What run.json holds: settings, versions, weight hashes, cost; all of it for the whole run, but the seconds of
    stages, other than network and canvas, for this call.

    Raises
    ------
    ValueError : wrong argument, or the store of another run.
    FileExistsError : results are in ``out`` and ``force`` is not set.
    OSError : a full disk, a store in use, a scheduler that does not answer; says how to go on.
    """
    out, store = Path(out), Path(store)
    asked, device = device, choose_device(device)
    window, apart = window_and_stride(patch, stride, weights)
    if mask is None and context is None:
        raise ValueError("expected a context or a mask, got neither")
    labels = None if mask is None else check_mask(_read(mask), size)
    size = check_size(size or (1024, 1024)) if labels is None else labels.shape
    plan = check_method(sampler, apart, solver, steps, eta)
    # what a killed call was just giving their names is no earlier result
    check_out(out, force=force or (out / UNFINISHED).exists(), results=RESULTS)
    clock: dict[str, float] = {}
    with timed(clock, "weights"):
        autoencoder, unet, mask_model = (model.to(device) for model in pretrained.load_models(weights))
        guided(unet, autoguidance, weights)  # refused here, and not after minutes of making a mask
    choice = {"omega": omega, "conditioning": conditioning, "batch_size": batch_size}
    choice |= {"precision": precision, "compiled": compiled}
    build = partial(_denoiser, asked, None if weights == WEIGHTS else weights, window, autoguidance, choice)
    with timed(clock, "mask"):
        if labels is None:
            labels = generate_cells(mask_model, context, size, seed=seed, precision=precision, device=device)
        conditions, shares = _conditions(labels, size, context)
    with timed(clock, "sampling"), ExitStack() as stack:
        denoiser = build()
        if scheduler is not None or workers is not None:
            denoiser = stack.enter_context(Workers(denoiser, build, scheduler=scheduler, workers=workers))
        levels = sample(
            denoiser,
            conditions,
            channels=autoencoder.latent_channels,
            patch=window,
            plan=plan,
            scheduler=solver,
            steps=steps,
            eta=eta,
            seed=seed,
            store=store,
        )
        if mask is not None:
            labels = _Rows(store / "labels.raw", labels)
        for level in progress(levels, steps, "sampling"):
            latents, ledger = level.canvas.latents, level.ledger
    run = {
        "context": context,
        "size": list(size),
        "mpp": mpp,
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
        "scheduler": scheduler,
        "workers": workers,
        "labels": dict(zip(LABELS, shares, strict=True)),
        **provenance(weights),
    }
    border = rim(sampler, size, window)
    there = Plane(lambda *at: latents[at].to(device), latents.shape)
    with room(out, f"all {steps} levels are safe in {store}"):
        place = out / UNFINISHED
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        with (
            timed(clock, "decoding"),
            lower_precision(torch.device(device), precision),
            tempfile.TemporaryDirectory(dir=place) as waiting,
        ):
            settings = {"tile": TILE, "overlap": OVERLAP, "border": border, "strips": StripFiles(waiting)}
            parts = decode_stream(autoencoder, there, **settings)
            beyond = (max(n + 2 * border - TILE, 0) for n in latents.shape[1:])
            parts = progress(parts, prod(1 - n // (OVERLAP - TILE) for n in beyond), "writing")
            pixels = ((top, left, to_bytes(part.cpu().numpy())) for top, left, part in parts)
            write_image(place / "image.ome.tif", pixels, size, mpp=mpp)
        with timed(clock, "pyramids"):
            write_mask(place / "mask.ome.tif", _bands(labels, size), size, mpp=mpp)
            write_deep_zoom(place / "image.ome.tif", place, "image")
        run |= costs(ledger, window, steps, clock) | peak_memory(device)
        (place / "run.json").write_text(json.dumps(run, indent=1) + "\n")
        for name in RESULTS:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            os.replace(place / name, out / name)
        place.rmdir()
    return run


def _denoiser(
    device: str | None, weights: Path | None, window: int, autoguidance: float, choice: dict, number: int = 0
) -> Denoiser:
    """The denoiser of this machine, here or in worker ``number``: each of several GPUs gets its turn."""
    device = choose_device(device)
    if device == "cuda":
        device = f"cuda:{number % torch.cuda.device_count()}"
    autoencoder, unet, _ = pretrained.load_models(weights or WEIGHTS)
    unet = guided(unet.to(device), autoguidance, weights or WEIGHTS)
    if choice["batch_size"] is None:
        choice = choice | {"batch_size": fitting_batch(unet, autoencoder.latent_channels, window, device)}
    return Denoiser(unet, cosine_alphas().to(device), **choice)


def _read(mask: np.ndarray | str | Path) -> np.ndarray:
    if isinstance(mask, np.ndarray):
        return mask
    return read_mask(mask)


class _Rows:
    """Labels (H, W) put into a file, of which only the rows asked for are in memory."""

    def __init__(self, path: Path, labels: np.ndarray) -> None:
        self._path, (self._height, self._width) = path, labels.shape
        path.write_bytes(np.ascontiguousarray(labels))

    def __len__(self) -> int:
        return self._height

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self._height)
        found = np.fromfile(self._path, np.uint8, (last - first) * self._width, offset=first * self._width)
        return found.reshape(-1, self._width)


class StripFiles:
    """`decode.Strips` in files."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def __setitem__(self, column: int, strip: torch.Tensor) -> None:
        np.save(self._folder / f"{column}.npy", strip.cpu().numpy())

    def pop(self, column: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self._folder / f"{column}.npy"))  # the next strip takes its name


def _bands(labels: np.ndarray | _Rows, size: tuple[int, int]) -> Iterator[Part]:
    """Labels of every pixel, uint8 (rows, W), from top to bottom."""
    return ((top, 0, upsample(labels, size, slice(top, top + BAND))) for top in range(0, size[0], BAND))


def _conditions(labels: np.ndarray, size: tuple[int, int], context: str | None) -> tuple[torch.Tensor, list[float]]:
    """What the image model is told, uint8 (H/8, W/8), and the share of each label."""
    cells, counts = [], np.zeros(len(LABELS))
    for *_, band in _bands(labels, size):
        counts += np.bincount(band.ravel(), minlength=len(LABELS))
        cells.append(conditions(band, context).byte())
    return torch.cat(cells), [round(float(share), 4) for share in counts / counts.sum()]
