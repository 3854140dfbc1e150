r"""Slide files: a picture or a mask that comes in parts becomes a tiled pyramid that slide viewers open.

The levels are those of `pyramid`, from full size down to one tile. Parts are first laid out in a temporary file beside
the slide, one byte a channel and pixel; while the tiles of a level are written, its half goes to the next such file. So
memory does not depend on the size of the picture.

The file is two formats at once. It is an OME-TIFF: pixel size and objective stand in its XML, and the levels lie in
sub-directories (SubIFDs), which Bio-Formats, QuPath and tifffile follow. It is also a plain pyramidal TIFF: its first
directory names the first of the same sub-directories as the next one in the file, and each of them the level after it,
which OpenSlide follows. OpenSlide takes the pixel size from the resolution tags. It knows an objective's power in
formats of vendors alone; of this one it hands out the XML as ``openslide.comment``, with the power in it.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from itertools import chain, islice, pairwise
from math import prod
from pathlib import Path
from typing import Any, BinaryIO
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from ..extras import extra
from ..labels import LABEL_COLOURS
from .dzi import PyramidLevel
from .passport import NAMESPACE, xmp
from .pyramid import halve, level_shapes, pyramid

with extra("slides"):
    import zarr
    from tifffile import TiffFile, TiffWriter, tiffcomment


Part = tuple[int, int, np.ndarray]  # first row, first column, pixels
Passport = Mapping[str, Any]
TILE = 512  # px
QUALITY = 90  # of JPEG
XMP_TAG, BYTES = 700, 1  # of TIFF: the tag of an XMP packet, and the type of what is in it
EYEPIECE = 10  # um/px times magnification: scanners have 0.5 um/px at 20 x


def write_image(
    path: str | Path, parts: Iterable[Part], size: tuple[int, int], *, mpp: float, passport: Passport | None = None
) -> None:
    """Write a picture as a pyramid of JPEG tiles, all or nothing.

    Parameters
    ----------
    path : ending in .ome.tif
    parts : top, left, uint8 (rows, columns, 3), which cover the picture without overlap
    size : (H, W)
    mpp : micrometres per pixel
    passport : of the picture, see `passport`

    Raises
    ------
    ValueError
        If the parts do not add up to the size.
    """
    jpeg: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": QUALITY}}
    write_pyramid(path, parts, (*size, 3), mpp, passport, **jpeg)


def write_mask(
    path: str | Path, parts: Iterable[Part], size: tuple[int, int], *, mpp: float, passport: Passport | None = None
) -> None:
    """Write labels as a pyramid of losslessly compressed tiles with their colours; see `write_image`.

    Parameters
    ----------
    parts : top, left, uint8 (rows, columns), labels 0 to 5
    """
    colours = np.zeros((3, 256), np.uint16)
    colours[:, : len(LABEL_COLOURS)] = np.transpose(LABEL_COLOURS) * 257  # TIFF has 16 bits a channel
    write_pyramid(path, parts, size, mpp, passport, photometric="palette", colormap=colours, compression="zlib")


def write_pyramid(
    path: str | Path,
    parts: Iterable[Part],
    shape: tuple[int, ...],
    mpp: float,
    passport: Passport | None = None,
    **options: Any,
) -> None:
    """Write parts as a tiled pyramid, all or nothing.

    Parameters
    ----------
    parts : top, left, uint8 (rows, columns, 3) of a picture or (rows, columns) of a mask
    shape : (H, W, 3) or (H, W)
    mpp : micrometres per pixel
    passport : of the picture, see `passport`
    options : of `tifffile.TiffWriter.write`: compression and colours
    """
    path, shapes = Path(path), level_shapes(shape, TILE)
    about: dict[str, Any] = {"axes": "YXS"[: len(shape)]}
    for axis in "XY":
        about |= {f"PhysicalSize{axis}": mpp, f"PhysicalSize{axis}Unit": "µm"}
    tags = []
    if passport is not None:
        about["Description"] = passport["notice"]
        about["CommentAnnotation"] = {"Namespace": NAMESPACE, "Value": json.dumps(passport)}
        # of what the file is, or the same run would write another file each time
        about["UUID"] = str(uuid5(NAMESPACE_URL, f"{NAMESPACE}{path.name}{json.dumps(passport)}"))
        tags = [(XMP_TAG, BYTES, len(packet := xmp(passport)), packet, True)]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pyramid-") as folder:
        partial = Path(folder, "partial")
        _lay_out(parts, shape, Path(folder, "level-0"))
        with TiffWriter(partial, bigtiff=True, ome=True) as file:
            for level, shape in enumerate(shapes):
                tiles = _tiles(Path(folder, f"level-{level}"), shape, Path(folder, f"level-{level + 1}"))
                file.write(
                    tiles,
                    shape=shape,
                    dtype=np.uint8,
                    tile=(TILE, TILE),
                    resolution=(10_000 / (mpp * 2**level),) * 2,
                    resolutionunit="CENTIMETER",
                    metadata=None if level else about,
                    extratags=[] if level else tags,
                    subifds=None if level else len(shapes) - 1,
                    subfiletype=1 if level else 0,
                    maxworkers=1,  # more would read ahead
                    **options,
                )
                tiles.close()  # and with it its files
        _name_objective(partial, EYEPIECE / mpp)
        _chain_directories(partial)
        os.replace(partial, path)


@contextmanager
def read_levels(path: str | Path) -> Iterator[Iterator[PyramidLevel]]:
    """All levels of a slide file from full size to one pixel, as `dzi.write_dzi` takes them.

    Those that the file has are read region by region, while the context lasts; smaller ones are made of its last.
    """
    with TiffFile(path) as file:
        series = file.series[0]
        # Any, since the types of Zarr allow a region to be a single number
        stored: list[Any] = [zarr.open_array(series.aszarr(level=n), mode="r") for n in range(len(series.levels))]
        yield chain(stored, islice(pyramid(stored[-1][:]), 1, None))


def to_bytes(band: np.ndarray) -> np.ndarray:
    """Floats (3, rows, W) in [-1, 1] to bytes (rows, W, 3); the floats are overwritten.

    >>> to_bytes(np.array([-2, -1, 0, 1], np.float32).reshape(1, 4, 1)).ravel().tolist()
    [0, 0, 128, 255]
    """
    np.clip(band, -1, 1, out=band)
    band += 1
    band *= 127.5
    return np.rint(band, out=band).astype(np.uint8).transpose(1, 2, 0)


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


def _tiles(rows: Path, shape: tuple[int, ...], half: Path) -> Generator[np.ndarray, None, None]:
    """Tiles of a level in reading order from its file, which is removed; the level at half size goes to ``half``."""
    halved = (0, -(-shape[1] // 2), *shape[2:])  # the number of rows is not needed to place a part
    with open(rows, "rb") as level_file, open(half, "wb") as half_file:
        for top in range(0, shape[0], TILE):
            for left in range(0, shape[1], TILE):
                tile = _read(level_file, shape, top, left)
                _write(half_file, halved, top // 2, left // 2, halve(tile))
                missing = [(0, TILE - n) for n in tile.shape[:2]]
                yield np.pad(tile, [*missing, (0, 0)][: tile.ndim], mode="edge")
    rows.unlink()


def _write(file: BinaryIO, shape: tuple[int, ...], top: int, left: int, part: np.ndarray) -> None:
    """Write a part to its place in a file of plain rows."""
    for row, pixels in enumerate(part, start=top):
        file.seek((row * shape[1] + left) * prod(shape[2:]))
        file.write(pixels.tobytes())


def _read(file: BufferedReader, shape: tuple[int, ...], top: int, left: int) -> np.ndarray:
    """One tile out of a file of plain rows; at the right and lower border it is smaller than `TILE`."""
    height, width = min(TILE, shape[0] - top), min(TILE, shape[1] - left)
    pixels = np.empty((height, width, *shape[2:]), np.uint8)
    for row in range(height):
        file.seek(((top + row) * shape[1] + left) * prod(shape[2:]))
        file.readinto(memoryview(pixels[row]))
    return pixels


def _name_objective(path: Path, power: float) -> None:
    """Put the magnification into the XML of an OME-TIFF; tifffile (2026.3) has no words for an objective."""
    with TiffFile(path) as file:
        xml = file.ome_metadata or ""
    objective = f'<Objective ID="Objective:0" NominalMagnification="{power:g}"/>'
    instrument = f'<Instrument ID="Instrument:0">{objective}</Instrument>'
    used = '<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0"/>'
    xml = xml.replace("<Image ", f"{instrument}<Image ", 1).replace("<Pixels ", f"{used}<Pixels ", 1)
    tiffcomment(path, xml.encode())


def _chain_directories(path: Path) -> None:
    """Name in each directory of a BigTIFF the next level's as the one that follows, see the module.

    tifffile (2026.3) writes a level either as a sub-directory or as a directory of its own, and OpenSlide 4 follows the
    latter only: without this it finds one level. So the offset of the next directory is filled in afterwards: it is
    stored behind the entries of a directory, which are 20 bytes each and follow their number in 8 bytes.
    """
    with TiffFile(path) as file:
        first, order = file.pages.first, file.byteorder
        directories = [first.offset, *(first.subifds or ())]
    with open(path, "r+b") as file:
        for directory, following in pairwise(directories):
            file.seek(directory)
            (entries,) = struct.unpack(f"{order}Q", file.read(8))
            file.seek(directory + 8 + 20 * entries)
            file.write(struct.pack(f"{order}Q", following))
