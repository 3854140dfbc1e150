r"""Deep Zoom images (DZI): a picture of any size as many small files, of which a browser fetches those on the screen.

``NAME.dzi`` says how large the picture is. The tiles lie in ``NAME_files/LEVEL/COLUMN_ROW.jpeg`` (masks: ``.png``), 254
px a side and on each inner side one pixel more, which neighbours share, so that a viewer can smooth across the border.
Levels count the other way round than in `pyramid`: level 0 is one pixel, and level :math:`L = \lceil \log_2 \max(h, w)
\rceil` the whole picture.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..data.encoding import encode_for_web
from .passport import xmp

TILE, OVERLAP = 254, 1  # px
NAMESPACE = "http://schemas.microsoft.com/deepzoom/2008"


class PyramidLevel(Protocol):
    """A level of a pyramid: an array, or a file out of which a region is read when it is asked for."""

    shape: tuple[int, ...]

    def __getitem__(self, region: tuple[slice, slice]) -> np.ndarray: ...


def write_dzi(
    levels: Iterable[PyramidLevel],
    folder: str | Path,
    name: str,
    *,
    quality: int = 85,
    passport: Mapping[str, Any] | None = None,
) -> dict:
    """Write ``NAME.dzi`` and the tiles in ``NAME_files``; tiles of an earlier picture of that name are removed.

    Parameters
    ----------
    levels : from full size to one pixel, uint8 (h, w, 3) of a picture, or labels (h, w) of a mask, see `pyramid`
    folder : made if needed
    quality : of JPEG; masks are written as PNG in the colours of `LABEL_COLOURS`, without loss
    passport : of the picture (`passport`), for ``NAME.xmp``; every tile takes its notice

    Returns
    -------
    What the .dzi file says, in the form that OpenSeadragon takes, without the address of the tiles.
    """
    levels, folder, note = iter(levels), Path(folder), "" if passport is None else passport["notice"]
    full = next(levels)
    height, width = full.shape[:2]
    shutil.rmtree(folder / f"{name}_files", ignore_errors=True)
    numbers = range((max(height, width) - 1).bit_length(), -1, -1)
    for number, level in zip(numbers, chain([full], levels), strict=True):
        place = folder / f"{name}_files" / str(number)
        place.mkdir(parents=True)
        for row, rows in enumerate(_regions(level.shape[0])):
            for column, columns in enumerate(_regions(level.shape[1])):
                kind, tile = encode_for_web(np.asarray(level[rows, columns]), quality, note)
                (place / f"{column}_{row}.{kind}").write_bytes(tile)
    (folder / f"{name}.dzi").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Image xmlns="{NAMESPACE}" Format="{kind}" Overlap="{OVERLAP}" '
        f'TileSize="{TILE}"><Size Width="{width}" Height="{height}"/></Image>\n'
    )
    if passport is not None:
        (folder / f"{name}.xmp").write_bytes(xmp(passport))
    size = {"Width": str(width), "Height": str(height)}
    return {"xmlns": NAMESPACE, "Format": kind, "Overlap": str(OVERLAP), "TileSize": str(TILE), "Size": size}


def _regions(length: int) -> list[slice]:
    """Rows or columns of each tile along a side of so many px, the shared ones included.

    >>> _regions(300)
    [slice(0, 255, None), slice(253, 300, None)]
    """
    starts = range(0, length, TILE)
    return [slice(max(0, start - OVERLAP), min(length, start + TILE + OVERLAP)) for start in starts]
