r"""Slide files: a picture that comes in parts becomes a tiled pyramid that slide viewers open.

Level k of a pyramid has every side divided by :math:`2^k` (rounded up), down to one tile. A picture's pixel is the
mean of the four below it, a mask's the most frequent of four labels, where two are level the upper left one: no label
is made up and none is favoured for its number. The parts go to a temporary file beside the slide, a byte a channel and
pixel; while a level is written its half goes to the next such file. So memory does not depend on the picture's size.

The file is an OME-TIFF (pixel size in its XML and its resolution tags; levels in sub-directories, which Bio-Formats,
QuPath and tifffile follow) and a plain pyramidal TIFF at the same time: its first directory is chained to the very
same sub-directories, and these to each other, which OpenSlide follows.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..extras import extra
from ..labels import LABEL_COLOURS

with extra("slides"):
    from openslide import OpenSlide
    from openslide.deepzoom import DeepZoomGenerator
    from tifffile import TiffFile, TiffWriter


Part = tuple[int, int, np.ndarray]  # first row, first column, pixels
TILE = 512
QUALITY = 90  # of JPEG


def write_image(path: str | Path, parts: Iterable[Part], size: tuple[int, int], *, mpp: float) -> None:
    """Write a picture as a pyramid of JPEG tiles, all or nothing.

    Parameters
    ----------
    path : ending in .ome.tif
    parts : top, left, uint8 (rows, columns, 3), which cover the picture without overlap
    size : (H, W)
    mpp : micrometres per pixel

    Raises
    ------
    ValueError
        If the parts do not add up to the size.
    """
    write_pyramid(
        path, parts, (*size, 3), mean, mpp, photometric="rgb", compression="jpeg", compressionargs={"level": QUALITY}
    )


def write_mask(path: str | Path, parts: Iterable[Part], size: tuple[int, int], *, mpp: float) -> None:
    """Write labels as a pyramid of losslessly compressed tiles with their colours; see `write_image`.

    Parameters
    ----------
    parts : top, left, uint8 (rows, columns), labels 0..4
    """
    colours = np.zeros((3, 256), np.uint16)
    colours[:, : len(LABEL_COLOURS)] = np.transpose(LABEL_COLOURS) * 257
    write_pyramid(path, parts, size, most_frequent, mpp, photometric="palette", colormap=colours, compression="zlib")


def write_pyramid(
    path: str | Path,
    parts: Iterable[Part],
    shape: tuple[int, ...],
    halve: Callable[[np.ndarray], np.ndarray],
    mpp: float,
    **options: object,
) -> None:
    """Write parts as a tiled pyramid; ``halve`` makes a level of the one before, ``options`` are tifffile's."""
    path, shapes = Path(path), [shape]
    while max(shapes[-1][:2]) > TILE:
        height, width, *rest = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2), *rest))
    about = {"axes": "YXS"[: len(shape)]}
    for axis in "XY":
        about |= {f"PhysicalSize{axis}": mpp, f"PhysicalSize{axis}Unit": "µm"}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pyramid-") as folder:
        partial = Path(folder, "partial")
        _lay_out(parts, shape, Path(folder, "level-0"))
        with TiffWriter(partial, bigtiff=True, ome=True) as file:
            for level, shape in enumerate(shapes):
                tiles = _tiles(Path(folder, f"level-{level}"), shape, halve, Path(folder, f"level-{level + 1}"))
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
                tiles.close()  # and with it its files
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


def _lay_out(parts: Iterable[Part], shape: tuple[int, ...], path: Path) -> None:
    """Write all parts to a file of plain rows."""
    missing = shape[0] * shape[1]
    with open(path, "wb") as file:
        for top, left, part in parts:
            if part.ndim != len(shape) or part.shape[2:] != shape[2:] or part.dtype != np.uint8:
                expected = f"uint8 (rows, columns{', 3' * len(shape[2:])})"
                raise ValueError(f"expected parts {expected}, got {part.dtype} of shape {part.shape}")
            bottom, right = top + part.shape[0], left + part.shape[1]
            if min(top, left) < 0 or bottom > shape[0] or right > shape[1]:
                raise ValueError(f"expected parts within {shape[0]}x{shape[1]} px, got one up to {bottom}x{right}")
            _write(file, shape, top, left, part)
            missing -= part.shape[0] * part.shape[1]
    if missing:
        raise ValueError(f"expected parts that add up to {shape[0]}x{shape[1]} px, got {-missing:+d} px")


def _tiles(rows: Path, shape: tuple[int, ...], halve: Callable, half: Path) -> Iterator[np.ndarray]:
    """Tiles of a level in reading order from its file, which is removed; the level at half size goes to ``half``."""
    halved = (0, -(-shape[1] // 2), *shape[2:])
    with open(rows, "rb") as here, open(half, "wb") as below:
        for top in range(0, shape[0], TILE):
            for left in range(0, shape[1], TILE):
                tile = _read(here, shape, top, left)
                _write(below, halved, top // 2, left // 2, halve(tile))
                missing = [(0, TILE - n) for n in tile.shape[:2]]
                yield np.pad(tile, [*missing, (0, 0)][: tile.ndim], mode="edge")
    rows.unlink()


def _write(file: BinaryIO, shape: tuple[int, ...], top: int, left: int, part: np.ndarray) -> None:
    for row, pixels in enumerate(part, start=top):
        file.seek((row * shape[1] + left) * prod(shape[2:]))
        file.write(pixels.tobytes())


def _read(file: BinaryIO, shape: tuple[int, ...], top: int, left: int) -> np.ndarray:
    """What a tile has of a picture in a file of plain rows."""
    height, width = min(TILE, shape[0] - top), min(TILE, shape[1] - left)
    pixels = np.empty((height, width, *shape[2:]), np.uint8)
    for row in range(height):
        file.seek(((top + row) * shape[1] + left) * prod(shape[2:]))
        file.readinto(memoryview(pixels[row]))
    return pixels


def _chain(path: Path) -> None:
    """Let each directory of a BigTIFF go on at the next level's; not every tifffile chains sub-directories itself."""
    with TiffFile(path) as file:
        first, order = file.pages.first, file.byteorder
        directories = [first.offset, *(first.subifds or ())]
    with open(path, "r+b") as file:
        for here, below in pairwise(directories):
            file.seek(here)
            (entries,) = struct.unpack(f"{order}Q", file.read(8))
            file.seek(here + 8 + 20 * entries)
            file.write(struct.pack(f"{order}Q", below))
