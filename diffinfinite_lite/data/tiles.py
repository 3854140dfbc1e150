r"""Tiles: a picture, its mask and where they come from; reading and cutting.

A tile is an image :math:`x \in [-1, 1]^{3 \times H \times W}` and a mask of labels 0..4, 0 meaning unknown.
An unlabelled tile has a mask of zeros; `losses.image_loss` mixes labelled with unlabelled ones (eq. 9).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..labels import LABELS, TEN_TO_FIVE
from .qupath import geojson_mask

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Tile:
    """One picture with its mask and provenance.

    Attributes
    ----------
    image : float tensor (3, H, W) in [-1, 1].
    mask : uint8 tensor (H, W), labels 0 to 4; all 0 where nothing is known.
    source, licence : where the picture comes from and what its owner allows, for every page that shows it.
    mpp : micrometres per pixel.
    name : unique within the source, such as a file name.
    cluster : tiles of one cluster are near-duplicates, and must stay on one side of a split.
    context : the growth pattern that the whole tile is known to show, or "".
    """

    image: Tensor
    mask: Tensor
    source: str = "own data"
    licence: str = ""
    mpp: float = 0.5
    name: str = ""
    cluster: str = ""
    context: str = ""

    def __post_init__(self):
        if self.image.ndim != 3 or self.image.shape[0] != 3 or self.mask.shape != self.image.shape[1:]:
            raise ValueError(
                f"expected an image (3, H, W) and a mask (H, W), got {tuple(self.image.shape)} and "
                f"{tuple(self.mask.shape)}"
            )

    @property
    def labelled(self) -> bool:
        """Whether any pixel has a label."""
        return bool(self.mask.any())


def to_tensor(rgb: np.ndarray) -> Tensor:
    """Bytes (H, W, 3) to a float32 image (3, H, W) in [-1, 1]."""
    return torch.from_numpy(rgb.astype(np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()


def to_rgb(image: Tensor) -> np.ndarray:
    """Image (3, H, W) in [-1, 1] to bytes (H, W, 3).

    >>> to_rgb(to_tensor(np.full((2, 2, 3), 200, np.uint8)))[0, 0].tolist()
    [200, 200, 200]
    """
    return ((image.detach().cpu().float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def read_rgb(path: str | Path) -> np.ndarray:
    """Picture file to bytes (H, W, 3); `ValueError` naming the file if it is missing or damaged."""
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"expected a readable picture, got {path} ({error})") from error


def read_mask(path: str | Path, classes: int = 5) -> np.ndarray:
    """Mask file (8-bit, 16-bit or palette PNG, one label per pixel) to 5-class labels.

    Parameters
    ----------
    path : file
    classes : 5 for the code of `LABELS`, 10 for the code of `TEN_CLASSES`, which is folded into the five.

    Returns
    -------
    uint8 array (H, W), labels 0 to 4.

    Raises
    ------
    ValueError
        If the file is unreadable, has colour channels, or labels outside the code.
    """
    if classes not in (5, 10):
        raise ValueError(f"expected 5 or 10 classes, got {classes}")
    try:
        with Image.open(path) as picture:
            labels = np.array(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"expected a readable mask, got {path} ({error})") from error
    if labels.ndim != 2:
        raise ValueError(f"expected one label per pixel, got {labels.shape[2]} colour channels in {path}")
    if labels.dtype.kind == "f" or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"expected labels 0 to {classes - 1}, got {labels.min()} to {labels.max()} in {path}"
        )
    code = np.array(TEN_TO_FIVE if classes == 10 else range(5), np.uint8)
    return code[labels.astype(np.int64)]


def read_tile(
    path: str | Path, mask: str | Path | np.ndarray | None = None, *, classes: int = 5, **provenance
) -> Tile:
    """Picture and mask (file or array (H, W) of labels 0 to 4, or None) to a `Tile`.

    `provenance` are the fields of `Tile`; the name defaults to the file's. Raises ValueError for unreadable
    files and for a mask of another size than the picture.
    """
    rgb = read_rgb(path)
    labels = np.zeros(rgb.shape[:2], np.uint8) if mask is None else mask
    if not isinstance(labels, np.ndarray):
        labels = read_mask(labels, classes)
    if labels.shape != rgb.shape[:2]:
        raise ValueError(f"expected a mask of {rgb.shape[:2]}, got {labels.shape} for {path}")
    return Tile(
        to_tensor(rgb), torch.from_numpy(labels.astype(np.uint8)), **{"name": Path(path).name, **provenance}
    )


def cut(tile: Tile, size: int, mpp: float | None = None) -> Iterator[Tile]:
    """Cut a tile into square patches that cover it; the last row and column overlap the ones before where
    needed.

    Parameters
    ----------
    tile : Tile
    size : side of a patch in px, after resampling.
    mpp : micrometres per pixel wanted; None keeps the tile's.

    Yields
    ------
    Tile named ``name@row,column``, in raster order.

    Raises
    ------
    ValueError
        If the resampled tile is smaller than a patch.

    >>> tile = Tile(torch.zeros(3, 100, 64), torch.zeros(100, 64, dtype=torch.uint8), mpp=0.25, name="a")
    >>> [p.name for p in cut(tile, 32, mpp=0.5)]
    ['a@0,0', 'a@18,0']
    """
    image, mask, wanted = tile.image, tile.mask, mpp or tile.mpp
    if size < 1 or wanted <= 0:
        raise ValueError(f"expected a positive patch size and mpp, got {size} and {wanted}")
    if abs(wanted / tile.mpp - 1) > 1e-3:
        shape = [max(round(n * tile.mpp / wanted), 1) for n in mask.shape]
        image = interpolate(image[None], shape, mode="bilinear", antialias=True, align_corners=False)[0]
        mask = interpolate(mask[None, None].float(), shape, mode="nearest-exact")[0, 0].to(mask.dtype)
    height, width = mask.shape
    if min(height, width) < size:
        raise ValueError(
            f"expected a tile of at least {size} x {size} px, got {height} x {width} for {tile.name}"
        )
    for top in _starts(height, size):
        for left in _starts(width, size):
            rows, cols = slice(top, top + size), slice(left, left + size)
            place = {"mpp": wanted, "name": f"{tile.name}@{top},{left}"}
            yield replace(tile, image=image[:, rows, cols].clone(), mask=mask[rows, cols].clone(), **place)


def _starts(length: int, size: int) -> list[int]:  # the last one is moved back to end at the border
    return sorted({min(start, length - size) for start in range(0, length, size)})


def readable(items: Iterable, read, name=str) -> Iterator[Tile]:
    """Yield ``read(item)`` for every item; unreadable ones are skipped, named and counted in warnings.

    Raises ValueError at the end if not one could be read.
    """
    good, bad = 0, []
    for item in items:
        try:
            tile = read(item)
        except (ValueError, OSError) as error:
            bad.append(f"{name(item)}: {error}")
            warnings.warn(f"skipped {bad[-1]}", stacklevel=2)
            continue
        good += 1
        yield tile
    if bad and not good:
        raise ValueError(f"expected readable pictures, got {len(bad)} unreadable ones, first {bad[0]}")
    if bad:
        warnings.warn(f"skipped {len(bad)} of {good + len(bad)} files as unreadable", stacklevel=2)


def read_folder(
    folder: str | Path, *, classes: int = 5, class_map: Mapping[str, int | str] | None = None, **provenance
) -> Iterator[Tile]:
    """Tiles of a folder of pictures, each with ``NAME_mask.png``, QuPath's ``NAME.geojson`` or neither.

    Parameters
    ----------
    folder : searched with its subfolders, in sorted order.
    classes : code of the mask files, 5 or 10.
    class_map : QuPath class name to label (0 to 4, or a name out of `LABELS`); needed for GeoJSON.
    provenance : fields of `Tile`, such as ``mpp=0.25, source="our clinic", licence="not to be passed on"``.

    Yields
    ------
    Tile; unreadable ones are skipped, named and counted in warnings.

    Raises
    ------
    ValueError
        If there is no such folder or no picture in it, or the class map names no label.
    """
    for name, label in (class_map or {}).items():
        if label not in LABELS and label not in range(len(LABELS)):
            raise ValueError(f"expected a class map to labels 0 to 4 or their names, got {label!r} for {name}")
    root = Path(folder)
    pictures = sorted(
        p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and not p.stem.endswith("_mask")
    )
    if not pictures:
        raise ValueError(f"expected a folder with pictures ({', '.join(SUFFIXES)}), got {root}")

    codes = {
        name: LABELS.index(label) if label in LABELS else label for name, label in (class_map or {}).items()
    }

    def read(path: Path) -> Tile:
        mask, drawn = path.with_name(f"{path.stem}_mask.png"), path.with_suffix(".geojson")
        named = {"name": str(path.relative_to(root)), "cluster": str(path.relative_to(root)), **provenance}
        if mask.exists():
            return read_tile(path, mask, classes=classes, **named)
        if drawn.exists():
            with Image.open(path) as picture:
                shape = picture.size[::-1]
            return read_tile(path, geojson_mask(drawn, shape, codes), **named)
        return read_tile(path, **named)

    yield from readable(pictures, read, lambda p: str(p.relative_to(root)))
