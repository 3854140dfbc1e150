"""The public sets of Table 2 in the formats they are published in, for those who have downloaded them.

===================  =======================================  ======  =======  =========  ============================
set                  format                                   px      µm/px    licence    tumour
===================  =======================================  ======  =======  =========  ============================
NCT-CRC-HE-100K      a folder of .tif for each of 9 tissues   224     0.5      CC BY 4.0  TUM
CRC-VAL-HE-7K        the same                                 224     0.5      CC BY 4.0  TUM
PatchCamelyon        HDF5: x (N, 96, 96, 3), y (N, 1, 1, 1)   96      0.972    CC0 1.0    y = 1: in the central 32 px
===================  =======================================  ======  =======  =========  ============================

Both colorectal sets: Kather, Halama and Marx (2018), doi:10.5281/zenodo.1214456. PatchCamelyon: Veeling et al. (2018),
doi:10.5281/zenodo.2546921, cut from Camelyon16. They test a lung model out of domain and are never trained on here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from diffinfinite_lite.data.folders import SUFFIXES
from diffinfinite_lite.data.pictures import read_rgb
from diffinfinite_lite.data.tiles import Tile, readable, to_tensor

TISSUES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Labelled:
    """A tile and the name that its set gives the whole of it."""

    tile: Tile
    label: str

    @property
    def carcinoma(self) -> bool:
        """Whether that name means tumour."""
        return self.label in ("TUM", "tumour")


def nct_crc_he_100k(folder: str | Path, limit: int | None = None) -> Iterator[Labelled]:
    """Tiles of NCT-CRC-HE-100K, the folder of its zip file, tissue by tissue.

    Parameters
    ----------
    folder : holds ADI, BACK, DEB, LYM, MUC, MUS, NORM, STR and TUM, or some of them
    limit : at most so many of each tissue, evenly spaced over the sorted names

    Yields
    ------
    Labelled; damaged files are skipped, named and counted in warnings. The names do not tell patients apart: `cluster`
    is the file's own name, so that these tiles can be tested on, but not split.

    Raises
    ------
    ValueError : no such folder or no tile in it.
    """
    yield from _colorectal(folder, limit, "NCT-CRC-HE-100K")


def crc_val_he_7k(folder: str | Path, limit: int | None = None) -> Iterator[Labelled]:
    """Tiles of CRC-VAL-HE-7K; parameters, yields and errors as for `nct_crc_he_100k`."""
    yield from _colorectal(folder, limit, "CRC-VAL-HE-7K")


def _colorectal(folder: str | Path, limit: int | None, source: str) -> Iterator[Labelled]:
    root = Path(folder)
    found = {tissue: sorted(p for p in (root / tissue).glob("*") if p.suffix.lower() in SUFFIXES) for tissue in TISSUES}
    chosen = [path for paths in found.values() for path in _spread(paths, limit)]
    if not chosen:
        raise ValueError(f"expected folders such as TUM with .tif files in {root}, got none")

    def read(path: Path) -> Tile:
        rgb = read_rgb(path)
        provenance = {"source": source, "licence": "CC BY 4.0", "mpp": 0.5}
        name = f"{path.parent.name}/{path.name}"
        return Tile(to_tensor(rgb), _unknown(rgb), name=name, cluster=path.stem, **provenance)

    for tile in readable(chosen, read, lambda path: f"{path.parent.name}/{path.name}"):
        yield Labelled(tile, tile.name.split("/")[0])


def pcam(folder: str | Path, split: str = "test", limit: int | None = None) -> Iterator[Labelled]:
    """Tiles of PatchCamelyon, read one at a time out of its unpacked HDF5 files.

    Parameters
    ----------
    folder : holds ``camelyonpatch_level_2_split_SPLIT_x.h5``, ``..._y.h5`` and, where slides are to be told apart,
        ``..._meta.csv``
    split : train, valid or test
    limit : at most so many tiles, evenly spaced over the file

    Yields
    ------
    Labelled "tumour" or "normal"; `cluster` is the slide where the file of that name is there, else the row.

    Raises
    ------
    ValueError : a file that is missing, still packed or not of this format; h5py not installed; unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"expected a split out of {', '.join(SPLITS)}, got {split!r}")
    try:
        import h5py
    except ImportError:
        raise ValueError("expected h5py to read PatchCamelyon, got none: pip install h5py") from None
    stem = Path(folder) / f"camelyonpatch_level_2_split_{split}"
    slides = _slides(Path(f"{stem}_meta.csv"))
    with _open(h5py, Path(f"{stem}_x.h5")) as images, _open(h5py, Path(f"{stem}_y.h5")) as labels:
        x, y = images.get("x"), labels.get("y")
        if x is None or y is None or x.shape[1:] != (96, 96, 3) or len(x) != y.size:
            got = [None if part is None else part.shape for part in (x, y)]
            raise ValueError(f"expected x (N, 96, 96, 3) and y (N, 1, 1, 1) in {stem}_*.h5, got {got[0]} and {got[1]}")
        if slides is not None and len(slides) != len(x):
            raise ValueError(f"expected {len(x)} rows in {stem}_meta.csv, got {len(slides)}")
        for row in _spread(list(range(len(x))), limit):
            provenance = {"source": "PatchCamelyon", "licence": "CC0 1.0", "mpp": 0.972}
            cluster = slides[row] if slides is not None else str(row)
            tile = Tile(to_tensor(x[row]), _unknown(x[row]), name=f"{split}/{row}", cluster=cluster, **provenance)
            yield Labelled(tile, "tumour" if int(y[row].item()) else "normal")


def _open(h5py, path: Path):
    if not path.is_file():
        packed = path.with_name(path.name + ".gz")
        hint = f"{packed.name}: unpack it first (gunzip)" if packed.is_file() else "none"
        raise ValueError(f"expected the file {path}, got {hint}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"expected an HDF5 file, got {path} ({error})") from error


def _slides(path: Path) -> list[str] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as rows:
        read = list(csv.DictReader(rows))
    if not read or "wsi" not in read[0]:
        raise ValueError(f"expected a column wsi in {path}, got {', '.join(read[0]) if read else 'nothing'}")
    return [row["wsi"] for row in read]


def _spread(items: list, limit: int | None) -> list:
    """At most so many of the items, evenly spaced.

    >>> _spread(list("abcdefgh"), 3)
    ['a', 'd', 'h']
    """
    if limit is None or limit >= len(items):
        return items
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, limit)]


def _unknown(rgb: np.ndarray) -> torch.Tensor:
    return torch.zeros(rgb.shape[:2], dtype=torch.uint8)
