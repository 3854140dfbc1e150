r"""Tiles: a picture, its mask and where they come from; reading one and cutting it.

A tile is an image :math:`x \in [-1, 1]^{3 \times H \times W}` and a mask of labels 0..5, 0 meaning unknown.
An unlabelled tile has a mask of zeros; `losses.image_loss` mixes labelled with unlabelled ones (eq. 9).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..labels import LABELS
from .mask_files import read_mask
from .pictures import Note, PictureWarning, as_block, colours, open_picture


@dataclass(frozen=True)
class Tile:
    """One picture with its mask and provenance.

    Attributes
    ----------
    image : float tensor (3, H, W) in [-1, 1].
    mask : uint8 tensor (H, W), labels 0 to 5; all 0 where nothing is known.
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


def read_tile(
    path: str | Path,
    mask: str | Path | np.ndarray | None = None,
    *,
    classes: int = len(LABELS),
    notes: list[Note] | None = None,
    **provenance,
) -> Tile:
    """Picture and mask to a `Tile`.

    Parameters
    ----------
    path : see `pictures.read_rgb`
    mask : file (see `mask_files.read_mask`), array (H, W) of labels 0 to 5, or None
    classes : code of a mask file, 6 (ours), 5 or 10, see `mask_files.read_mask`
    notes : takes what was done to the files; None: a `PictureWarning` says it.
    provenance : fields of `Tile`; the name defaults to the file's.

    Raises
    ------
    ValueError
        For files that cannot be read, and for a mask of another size than the picture.
    """
    opened = open_picture(path, "picture", notes)
    rgb = colours(opened, notes)
    labels = np.zeros(rgb.shape[:2], np.uint8) if mask is None else mask
    if not isinstance(labels, np.ndarray):
        labels = read_mask(labels, classes, notes)
    if labels.shape != rgb.shape[:2]:
        turned = ", which was turned upright as its orientation tag says" if opened.turned else ""
        raise ValueError(f"expected a mask of {rgb.shape[:2]}, got {labels.shape} for {path}{turned}")
    return Tile(to_tensor(rgb), torch.from_numpy(labels.astype(np.uint8)), **{"name": Path(path).name, **provenance})


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
        raise ValueError(f"expected a tile of at least {size} x {size} px, got {height} x {width} for {tile.name}")
    for top in _patch_offsets(height, size):
        for left in _patch_offsets(width, size):
            rows, cols = slice(top, top + size), slice(left, left + size)
            place = {"mpp": wanted, "name": f"{tile.name}@{top},{left}"}
            yield replace(tile, image=image[:, rows, cols].clone(), mask=mask[rows, cols].clone(), **place)


def _patch_offsets(length: int, size: int) -> list[int]:
    """First pixels of patches side by side along one axis; the last one is moved back to end at the border."""
    return sorted({min(start, length - size) for start in range(0, length, size)})


def readable(items: Iterable, read: Callable[[Any], Any], name: Callable[[Any], str] = str) -> Iterator:
    """Yield ``read(item)`` for every item; those that cannot be read are left out.

    One `PictureWarning` names them all with their reasons, after the last item.

    Raises
    ------
    ValueError
        At the end, if not one could be read.
    """
    good, notes = 0, []
    for item in items:
        try:
            tile = read(item)
        except (ValueError, OSError) as error:
            notes.append(Note(name(item), str(error)))
            continue
        good += 1
        yield tile
    refuse_all_bad(good, notes)
    if notes:
        left_out = f"left out {len(notes)} of {good + len(notes)} files"
        warnings.warn(f"{left_out}:\n{as_block(notes)}", PictureWarning, stacklevel=2)


def refuse_all_bad(good: int, bad: list[Note]) -> None:
    """Raise ValueError with the first reason where no file could be read."""
    if bad and not good:
        first = f"{bad[0].file}: {bad[0].text}"
        raise ValueError(f"expected readable pictures, got {len(bad)} unreadable ones, first {first}")
