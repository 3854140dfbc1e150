r"""Slide files: a picture that comes in bands of rows becomes a tiled pyramid that slide viewers open.

Level k of a pyramid has every side divided by :math:`2^k` (rounded up), down to one tile. A picture's pixel is the
mean of the four below it, a mask's the most frequent of four labels, where two are level the upper left one: no label
is made up and none is favoured for its number. While a level is written its half goes to a temporary file, from which
the next one is read, so that memory grows with the width of a picture only.

The file is an OME-TIFF (pixel size in its XML and its resolution tags; levels in sub-directories, which Bio-Formats,
QuPath and tifffile follow) and a plain pyramidal TIFF at the same time: its first directory is chained to the very
same sub-directories, which OpenSlide follows.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from openslide import OpenSlide
from openslide.deepzoom import DeepZoomGenerator
from tifffile import TiffFile, TiffWriter

from .tiles import LABEL_COLOURS

TILE = 512
QUALITY = 90  # of JPEG


def write_image(path: str | Path, bands: Iterable[np.ndarray], size: tuple[int, int], *, mpp: float) -> None:
    """Write a picture as a pyramid of JPEG tiles, all or nothing.

    Parameters
    ----------
    path : ending in .ome.tif
    bands : uint8 arrays (rows, W, 3), from top to bottom
    size : (H, W)
    mpp : micrometres per pixel

    Raises
    ------
    ValueError
        If the bands do not add up to the size.
    """
    write_pyramid(
        path, bands, (*size, 3), mean, mpp, photometric="rgb", compression="jpeg", compressionargs={"level": QUALITY}
    )


def write_mask(path: str | Path, bands: Iterable[np.ndarray], size: tuple[int, int], *, mpp: float) -> None:
    """Write labels as a pyramid of losslessly compressed tiles with their colours; see `write_image`.

    Parameters
    ----------
    bands : uint8 arrays (rows, W), labels 0..4, from top to bottom
    """
    colours = np.zeros((3, 256), np.uint16)
    colours[:, : len(LABEL_COLOURS)] = np.transpose(LABEL_COLOURS) * 257
    write_pyramid(path, bands, size, most_frequent, mpp, photometric="palette", colormap=colours, compression="zlib")


def write_pyramid(
    path: str | Path,
    bands: Iterable[np.ndarray],
    shape: tuple[int, ...],
    halve: Callable[[np.ndarray], np.ndarray],
    mpp: float,
    **options: object,
) -> None:
    """Write bands of rows as a tiled pyramid; ``halve`` makes a level of the one before, ``options`` are tifffile's."""
    path, shapes = Path(path), [shape]
    while max(shapes[-1][:2]) > TILE:
        height, width, *rest = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2), *rest))
    about = {"axes": "YXS"[: len(shape)]}
    for axis in "XY":
        about |= {f"PhysicalSize{axis}": mpp, f"PhysicalSize{axis}Unit": "µm"}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pyramid-") as folder:
        partial = Path(folder, "partial")
        with TiffWriter(partial, bigtiff=True, ome=True) as file:
            for level, shape in enumerate(shapes):
                half = Path(folder, f"level-{level + 1}")
                tiles = _tiles(bands, shape, halve, half)
                file.write(
                    tiles,
                    shape=shape,
                    dtype=np.uint8,
                    tile=(TILE, TILE),
                    resolution=(10_000 / (mpp * 2**level),) * 2,
                    resolutionunit="CENTIMETER",
                    metadata=None if level else about,
                    subifds=None if level else len(shapes) - 1,
                    subfiletype=1 if level else 0,
                    maxworkers=1,  # more would read ahead
                    **options,
                )
                tiles.close()  # and with it the file of halves
                bands = _bands(half, shapes[level + 1]) if level + 1 < len(shapes) else ()
        _chain(partial)
        os.replace(partial, path)


def write_deep_zoom(slide: str | Path, folder: str | Path, name: str) -> None:
    """Write ``NAME.dzi`` and its tiles in ``NAME_files`` (Deep Zoom, for browsers) from a finished slide file."""
    folder = Path(folder)
    with OpenSlide(slide) as opened:
        zoom = DeepZoomGenerator(opened, tile_size=254, overlap=1)
        shutil.rmtree(folder / f"{name}_files", ignore_errors=True)
        for level, (columns, rows) in enumerate(zoom.level_tiles):
            place = folder / f"{name}_files" / str(level)
            place.mkdir(parents=True)
            for row in range(rows):
                for column in range(columns):
                    tile = zoom.get_tile(level, (column, row))
                    tile.save(place / f"{column}_{row}.jpeg", quality=QUALITY)
        (folder / f"{name}.dzi").write_text(zoom.get_dzi("jpeg"))


def to_bytes(band: np.ndarray) -> np.ndarray:
    """Floats (3, rows, W) in [-1, 1] to bytes (rows, W, 3); the floats are overwritten.

    >>> to_bytes(np.array([-2, -1, 0, 1], np.float32).reshape(1, 4, 1)).ravel().tolist()
    [0, 0, 128, 255]
    """
    np.clip(band, -1, 1, out=band)
    band += 1
    band *= 127.5
    return np.rint(band, out=band).astype(np.uint8).transpose(1, 2, 0)


def mean(pixels: np.ndarray) -> np.ndarray:
    """Half of a picture (H, W, 3): means of 2 x 2 pixels; an odd last row or column counts twice.

    >>> mean(np.array([[[0], [4], [9]]], np.uint8))[..., 0].tolist()
    [[2, 9]]
    """
    return ((np.sum(_four(pixels), axis=0, dtype=np.uint16) + 2) // 4).astype(np.uint8)


def most_frequent(labels: np.ndarray) -> np.ndarray:
    """Half of a mask (H, W): the most frequent of 2 x 2 labels, of two that are level the first in reading order.

    >>> most_frequent(np.array([[4, 1, 3, 2], [2, 1, 2, 3]], np.uint8)).tolist()
    [[1, 3]]
    """
    four = np.stack(_four(labels))
    votes = (four[:, None] == four).sum(axis=1)
    return np.take_along_axis(four, votes.argmax(axis=0)[None], axis=0)[0]


def _four(pixels: np.ndarray) -> list[np.ndarray]:
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0))[: pixels.ndim], mode="edge")
    return [pixels[row::2, column::2] for row in (0, 1) for column in (0, 1)]


def _tiles(
    bands: Iterable[np.ndarray], shape: tuple[int, ...], halve: Callable, half: Path
) -> Iterator[np.ndarray]:
    """Tiles of a level in reading order; on the way, the level at half size goes to the file ``half``."""
    with open(half, "wb") as file:
        for rows in _regrouped(bands, shape):
            tiles = [rows[:, left : left + TILE] for left in range(0, rows.shape[1], TILE)]
            file.write(np.concatenate([halve(tile) for tile in tiles], axis=1).tobytes())
            for tile in tiles:
                missing = [(0, TILE - n) for n in tile.shape[:2]]
                yield np.pad(tile, [*missing, (0, 0)][: tile.ndim], mode="edge")


def _regrouped(bands: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Bands of any height as bands of `TILE` rows; the last one has what is left, and comes when all is there."""
    held, rows, total = [], 0, 0
    for band in bands:
        if band.shape[1:] != shape[1:] or band.dtype != np.uint8:
            raise ValueError(f"expected bands uint8 (rows, {shape[1:]}), got {band.dtype} of shape {band.shape}")
        total += len(band)
        if total > shape[0]:
            raise ValueError(f"expected {shape[0]} rows in all bands, got {total} or more")
        while len(band):
            if rows == TILE:
                yield np.concatenate(held)
                held, rows = [], 0
            held.append(band[: TILE - rows])
            rows, band = rows + len(held[-1]), band[TILE - rows :]
    if total != shape[0]:
        raise ValueError(f"expected {shape[0]} rows in all bands, got {total}")
    yield np.concatenate(held)


def _bands(path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Rows of a raw file, `TILE` at a time; the file is removed in the end."""
    with open(path, "rb") as file:
        for top in range(0, shape[0], TILE):
            rows = min(TILE, shape[0] - top)
            yield np.fromfile(file, np.uint8, rows * int(np.prod(shape[1:]))).reshape(rows, *shape[1:])
    path.unlink()


def _chain(path: Path) -> None:
    """Let the first directory of a BigTIFF go on at its first sub-directory; these are chained already."""
    with TiffFile(path) as file:
        first, order = file.pages.first, file.byteorder
        start, below = first.offset, first.subifds
    if below:
        with open(path, "r+b") as file:
            file.seek(start)
            (entries,) = struct.unpack(f"{order}Q", file.read(8))
            file.seek(start + 8 + 20 * entries)
            file.write(struct.pack(f"{order}Q", below[0]))
