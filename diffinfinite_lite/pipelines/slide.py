r"""A slide of any size: a context or a mask becomes a pyramidal OME-TIFF, its mask as another, and tiles for a browser.

The steps are those of `generate.generate`, but no array of the slide's size is ever in memory:

    labels (few cells, or rows of a file) -> conditions, 1 byte a latent pixel
    -> stages.sample_stages on canvases on disk (`zarr_canvas`), on one machine or many (`distributed`)
    -> decode.decode_stream, part by part -> slide_files

The same call goes on where an earlier one stopped, however that ended: sampling from its last finished level, writing
from the start. Results take their names when all of them are complete.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.mask_files import read_mask
from ..data.qupath import write_geojson
from ..devices import choose_device, lower_precision
from ..files import check_folder, check_space, same_disk
from ..labels import CELL_PX, LABELS, conditions
from ..models import pretrained
from ..models.autoencoder import Autoencoder
from ..sampling.canvas import Plane
from ..sampling.cost import peak_memory, timed
from ..sampling.decode import count_tiles, decode_stream
from ..sampling.denoiser import Denoiser, Estimator
from ..sampling.distributed import Workers
from ..sampling.store import check_store, explain_full_disk
from .cautions import find_cautions, say
from .config import SamplingConfig, check_content, check_mpp, configure, takes_settings
from .dzi import write_dzi
from .generate import OVERLAP, border_width, record_run
from .margin import enlarged
from .masks import LabelRows, generate_cells, upsample
from .passport import MASK, TEXT, hash_mask, make_passport
from .progress import Progress, silent
from .slide_files import QUALITY, Part, read_levels, to_bytes, write_image, write_mask
from .stages import (
    DETAIL,
    Stage,
    cost_of,
    count_levels,
    find_stages,
    last_levels,
    make_denoiser,
    sample_stages,
    settle,
    stage_store,
)

RESULTS = ("image.ome.tif", "mask.ome.tif", "mask.geojson", "image.dzi", "image.xmp", "image_files", "run.json")
UNFINISHED = ".unfinished"  # folder in which results wait for each other
MPP = 0.5  # um/px of what the shipped model was trained on
RESULT_PER_PX = 7  # bytes of disk while results are written: rows of picture and mask, their halves, JPEG twice
BAND = 32  # rows of px of the mask at a time
TILE = 64  # of the decoder, latent pixels: smaller than those of `generate`, for less memory


@takes_settings
def generate_slide(
    context: str | None = None,
    mask: np.ndarray | str | Path | None = None,
    size: tuple[int, int] | None = None,
    *,
    store: str | Path,
    out: str | Path,
    config: SamplingConfig | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    mpp: float = MPP,
    cluster: str | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress = silent,
    **overrides: Any,
) -> dict:
    """Generate a slide of any size, resumably, and write it to files.

    Parameters
    ----------
    context, size, config, weights, overrides : as in `generate.generate`
    mask : labels (H, W), or the path of a picture of labels
    store : folder for the canvas, of which a finished run may be deleted: new, or of this very run
    out : folder for `RESULTS`; neither of the two folders is in the other one
    device : of every machine; where there are several GPUs, local workers take turns
    mpp : micrometres per pixel, written to the files
    cluster, workers : see `distributed.Workers`; by default this process does everything
    force : overwrite results in ``out``
    progress : wraps the items of each part of the work, see `progress.PARTS`; the tiles that are decoded are also
        written

    Returns
    -------
    What run.json holds: settings, versions, weight hashes, cost; all of it for the whole run, but the seconds of
    parts, other than network and canvas, for this call.

    Raises
    ------
    ValueError : wrong argument, the store of another run, or one whose files are damaged.
    FileExistsError : results are in ``out`` and ``force`` is not set.
    OSError : a full disk, a store in use, a cluster that does not answer; says how to go on.
    """
    _check_arguments(store, out, mpp, cluster, workers)
    out, store, config = Path(out), Path(store), configure(config, overrides, weights)
    wanted, device = device, choose_device(device)
    labels: LabelRows | None  # an array until all of them were read, then rows of a file
    labels, size = check_content(context, _read(mask, size), size)
    given = {} if labels is None else {MASK: hash_mask(labels)}
    # if a call was killed while results took their names, those that already have them are no earlier result
    check_folder(out, RESULTS, force=force or (out / UNFINISHED).exists())
    clock: dict[str, float] = {}
    with timed(clock, "weights"):
        models, config = pretrained.load_models(weights, device), settle(config, weights, device)
        stages = find_stages(models, config, context, weights, device)
        builds = {stage.name: partial(local_denoiser, config, wanted, weights, stage.name) for stage in stages}
        denoisers = {name: build() for name, build in builds.items()}
        _check_disk(store, out, stages, size)
    with _machines(denoisers, builds, cluster, workers) as estimators:  # first, since a cluster may not answer
        with timed(clock, "mask"):
            labels = _cells(models, context, size, config, device, progress) if labels is None else labels
            cells, shares = _pool(labels, size, context)
        cautions = say(find_cautions(context, size, config, shares, weights))
        with timed(clock, "sampling"):
            levels = sample_stages(stages, estimators, cells, store=store)
            if mask is not None:
                labels = _Rows(store / "labels.raw", labels)
            last = last_levels(progress(levels, count_levels(stages), "sampling"))
    latents, margin = last[DETAIL].canvas.latents, stages[-1].margin
    run = record_run(
        context, size, config, device=device, weights=weights, shares=shares, cautions=cautions, margin=margin
    )
    run |= {**given, "mpp": mpp, "cluster": cluster, "workers": workers}
    passport = make_passport(run)
    with explain_full_disk(out, f"all {count_levels(stages)} levels are safe in {store}"):
        place = emptied(out / UNFINISHED)
        with timed(clock, "decoding"):
            on_device = Plane(lambda *at: latents[at].to(device), latents.shape)
            pixels = _pixels(place, models.autoencoder, on_device, config, margin, device, progress)
            write_image(place / "image.ome.tif", pixels, size, mpp=mpp, passport=passport)
        with timed(clock, "pyramids"):
            write_mask_and_tiles(place, lambda: _bands(labels, size), size, mpp, passport)
        run |= cost_of(last, config.window, clock) | peak_memory(device)
        (place / "run.json").write_text(json.dumps(run, indent=1) + "\n")
        name_results(place, out)
    return run


def check_folders(out: Path, store: Path) -> None:
    """Refuse folders that are the same or one within the other: the store may be deleted, the result may not.

    >>> check_folders(Path("slide"), Path("slide/store"))
    Traceback (most recent call last):
    ValueError: expected folders for result and store of which neither is in the other, got slide and slide/store
    """
    result, canvas = out.resolve(), store.resolve()
    if result == canvas or result in canvas.parents or canvas in result.parents:
        raise ValueError(
            f"expected folders for result and store of which neither is in the other, got {out} and {store}"
        )


def local_denoiser(
    config: SamplingConfig, device: str | None, weights: str | Path | None, name: str, number: int = 0
) -> Denoiser:
    """A stage's denoiser on this machine, in the calling process or in worker ``number``: GPUs take turns.

    Parameters
    ----------
    device : as `devices.choose_device` takes it
    weights : folder on this machine; None is the model that is shipped with its package
    name : of the stage
    """
    device = choose_device(device)
    if device == "cuda":
        device = f"cuda:{number % torch.cuda.device_count()}"
    stages = find_stages(pretrained.load_models(weights, device), config, None, weights, device)
    return make_denoiser(next(stage for stage in stages if stage.name == name), config, device)


@contextmanager
def _machines(
    denoisers: Mapping[str, Denoiser],
    builds: Mapping[str, Callable[..., Denoiser]],
    cluster: str | None,
    workers: int | None,
) -> Iterator[dict[str, Estimator]]:
    """What estimates the noise of each stage: its denoiser here, or the same workers with their own denoisers."""
    if cluster is None and workers is None:
        yield dict(denoisers)
        return
    first, *others = denoisers
    with Workers(denoisers[first], builds[first], cluster=cluster, workers=workers) as machines:
        more = {name: machines.for_another(denoisers[name], builds[name]) for name in others}
        yield {first: machines, **more}


def _cells(
    models: pretrained.Models,
    context: str | None,
    size: tuple[int, int],
    config: SamplingConfig,
    device: str,
    progress: Progress,
) -> np.ndarray:
    """Cells of a mask that the mask model makes, labels (h, w); see `masks.generate_cells`."""
    assert context is not None  # check_content demands a context where there is no mask
    settings = {name: getattr(config, name) for name in ("seed", "masks", "precision")}
    return generate_cells(models.mask, context, size, **settings, device=device, progress=progress)


def _check_arguments(store: str | Path, out: str | Path, mpp: float, cluster: str | None, workers: int | None) -> None:
    """Refuse folders that cannot take files, micrometres that no file should say, and no workers."""
    check_mpp(mpp)
    if workers is not None and (cluster is not None or workers < 1):
        got = f"got cluster={cluster} and workers={workers}"
        raise ValueError(f"expected the address of a cluster or a number of workers from 1, {got}")
    for folder in (store, out):
        check_folder(folder)
    check_folders(Path(out), Path(store))


def _check_disk(store: Path, out: Path, stages: Sequence[Stage], size: tuple[int, int]) -> None:
    """Refuse a store that is none, and disks that cannot take the results, and new canvases.

    A canvas has its state, a level's estimate, and two numbers more for each latent pixel.
    """
    for stage in stages:
        check_store(stage_store(store, stage, stages))
    pixels, what = math.prod(size), f"of {size[0]} x {size[1]} px"
    new = [stage for stage in stages if not (stage_store(store, stage, stages) / "progress.json").exists()]
    numbers = sum(2 * stage.autoencoder.latent_channels + 2 for stage in new)
    canvas = math.prod(enlarged(size, stages[0].margin)) // CELL_PX**2 * numbers * 4  # float32
    check_space(store, canvas, f"the canvas {what}")
    check_space(out, pixels * RESULT_PER_PX, f"the results {what}")
    if same_disk(store, out):
        check_space(out, canvas + pixels * RESULT_PER_PX, f"canvas and results {what}")


def _read(mask: np.ndarray | str | Path | None, size: tuple[int, int] | None) -> np.ndarray | None:
    """Labels (H, W) of an array or a file."""
    if mask is None or isinstance(mask, np.ndarray):
        return mask
    return read_mask(mask, size=size)


def _pixels(
    place: Path,
    autoencoder: Autoencoder,
    latents: Plane,
    config: SamplingConfig,
    margin: int,
    device: str,
    progress: Progress,
) -> Iterator[Part]:
    """Decode a canvas with its margin tile by tile; what waits for the tiles below waits in files in a folder."""
    _, height, width = latents.shape
    border = border_width(config, ((height - 2 * margin) * CELL_PX, (width - 2 * margin) * CELL_PX), margin)
    with lower_precision(torch.device(device), config.precision), tempfile.TemporaryDirectory(dir=place) as waiting:
        tiles = {"tile": TILE, "overlap": OVERLAP, "border": border}
        parts = decode_stream(autoencoder, latents, margin=margin, **tiles, strips=StripFiles(waiting))
        watched = progress(parts, count_tiles((height, width), **tiles), "decoding")
        yield from ((top, left, to_bytes(part.cpu().numpy())) for top, left, part in watched)


def write_mask_and_tiles(
    place: Path, bands: Callable[[], Iterator[Part]], size: tuple[int, int], mpp: float, passport: dict
) -> None:
    """Write the mask and, from the picture that is in the folder already, the tiles for a browser."""
    write_mask(place / "mask.ome.tif", bands(), size, mpp=mpp, passport=passport)
    write_geojson(place / "mask.geojson", (band for *_, band in bands()), size, {TEXT: passport})
    with read_levels(place / "image.ome.tif") as scales:
        write_dzi(scales, place, "image", quality=QUALITY, passport=passport)


def emptied(folder: Path) -> Path:
    """The folder, new and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def name_results(place: Path, out: Path) -> None:
    """Move all results from the folder where they waited to their names, and remove the folder."""
    for name in RESULTS:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        os.replace(place / name, out / name)
    place.rmdir()


class _Rows:
    """Labels (H, W) in a file, of which only the rows that are read come into memory, with a checksum of each."""

    def __init__(self, path: Path, labels: np.ndarray) -> None:
        self._path, (self._height, self._width) = path, labels.shape
        labels = np.ascontiguousarray(labels)
        path.write_bytes(labels.data)
        self._checksums = [zlib.crc32(row.data) for row in labels]

    def __len__(self) -> int:
        return self._height

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self._height)
        try:
            if (size := self._path.stat().st_size) != self._height * self._width:
                raise self._damaged(f"{size} bytes")
            found = np.fromfile(self._path, np.uint8, (last - first) * self._width, offset=first * self._width)
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        found = found.reshape(-1, self._width)
        for row, labels in enumerate(found, first):
            if zlib.crc32(labels.data) != self._checksums[row]:
                raise self._damaged(f"other labels in row {row} of pixels")
        return found

    def _damaged(self, found: str) -> ValueError:
        return ValueError(
            f"expected {self._path} as it was written, got {found}: run the same command again, which writes it anew "
            "and goes on from the levels that are done"
        )


class StripFiles:
    """`decode.Strips` in files."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def __setitem__(self, column: int, strip: Tensor) -> None:
        np.save(self._folder / f"{column}.npy", strip.cpu().numpy())

    def pop(self, column: int) -> Tensor:
        return torch.from_numpy(np.load(self._folder / f"{column}.npy"))  # the next strip takes its name


def _bands(labels: LabelRows, size: tuple[int, int]) -> Iterator[Part]:
    """Labels of every pixel, uint8 (rows, W), from top to bottom."""
    return ((top, 0, upsample(labels, size, slice(top, top + BAND))) for top in range(0, size[0], BAND))


def _pool(labels: LabelRows, size: tuple[int, int], context: str | None) -> tuple[Tensor, list[float]]:
    """Conditions of the image model, uint8 (H/8, W/8), and the share of each label among the pixels."""
    cells, counts = [], np.zeros(len(LABELS))
    for *_, band in _bands(labels, size):
        counts += np.bincount(band.ravel(), minlength=len(LABELS))
        cells.append(conditions(band, context).byte())
    return torch.cat(cells), [round(float(share), 4) for share in counts / counts.sum()]
