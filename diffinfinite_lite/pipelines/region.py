"""A region of the endless slide as files: pyramidal OME-TIFF of picture and mask, annotations, tiles for a browser."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..files import check_folder, check_space
from ..labels import LABELS
from ..sampling.cost import peak_memory
from ..sampling.windows import Window
from .config import check_mpp
from .endless import TILE_PX, Endless
from .passport import REGION, make_passport
from .slide import RESULT_PER_PX, RESULTS, UNFINISHED, Progress, emptied, name_results, silent, write_mask_and_tiles
from .slide_files import Part, write_image

SMALLEST = 8  # px, side of a region


def write_region(
    slide: Endless, region: Window, out: str | Path, *, mpp: float, force: bool = False, progress: Progress = silent
) -> dict:
    """Paint a region of an endless slide and write it, all or nothing.

    Parameters
    ----------
    slide : whose cache makes the same call go on where it stopped
    region : in px, anywhere
    out : folder for `slide.RESULTS`
    mpp : micrometres per pixel, written to the files
    force : overwrite results in ``out``
    progress : wraps the tiles of the parts "mask" and "picture"

    Returns
    -------
    What run.json holds: settings, versions, weight hashes, the region, and what it has cost beyond what the cache had.

    Raises
    ------
    ValueError : a region without extent, or no such micrometres.
    FileExistsError : results are in ``out`` and ``force`` is not set.
    OSError : ``out`` takes no files.
    """
    check_region(region, out, mpp, force=force)
    out, size, before, start = Path(out), (region.height, region.width), slide.ledger, time.perf_counter()
    count = len(tile_rows(region)) * len(range(region.left // TILE_PX, -(-(region.left + region.width) // TILE_PX)))
    counts = np.zeros(len(LABELS))
    for *_, labels in progress(slide.parts("mask", region), count, "mask"):
        counts += np.bincount(labels.ravel(), minlength=len(LABELS))
    run = slide.run(size, [round(float(share), 4) for share in counts / counts.sum()])
    run |= {REGION: [region.left, region.top, region.width, region.height], "mpp": mpp}
    passport = make_passport(run)
    place = emptied(out / UNFINISHED)
    pixels = progress(slide.parts("image", region), count, "picture")
    write_image(place / "image.ome.tif", pixels, size, mpp=mpp, passport=passport)
    write_mask_and_tiles(place, lambda: _bands(slide, region), size, mpp, passport)
    run |= {
        "network_evaluations": slide.ledger.evaluations - before.evaluations,
        "seconds": {"all": round(time.perf_counter() - start, 2)},
        **peak_memory(slide.device),
    }
    (place / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    name_results(place, out)
    return run


def check_region(region: Window, out: str | Path, mpp: float, *, force: bool = False) -> None:
    """Refuse what `write_region` would, before a slide is opened, and a disk that cannot take the results.

    >>> check_region(Window(0, 0, 4, 64), "out", 0.5)
    Traceback (most recent call last):
    ValueError: expected a region of at least 8 px a side, got 64 x 4
    """
    check_mpp(mpp)
    if min(region.height, region.width) < SMALLEST:
        raise ValueError(f"expected a region of at least {SMALLEST} px a side, got {region.width} x {region.height}")
    check_folder(out, RESULTS, force=force or (Path(out) / UNFINISHED).exists())
    what = f"the results of {region.width} x {region.height} px"
    check_space(Path(out), region.height * region.width * RESULT_PER_PX, what)


def tile_rows(region: Window) -> range:
    """Rows of tiles that a region meets.

    >>> tile_rows(Window(-1, 0, 258, 9))
    range(-1, 2)
    """
    return range(region.top // TILE_PX, -(-(region.top + region.height) // TILE_PX))


def _bands(slide: Endless, region: Window) -> Iterator[Part]:
    """Labels of whole rows, from top to bottom."""
    for row in tile_rows(region):
        top = max(row * TILE_PX, region.top)
        height = min((row + 1) * TILE_PX, region.top + region.height) - top
        parts = slide.parts("mask", Window(top, region.left, height, region.width))
        yield top - region.top, 0, np.concatenate([labels for *_, labels in parts], axis=1)
