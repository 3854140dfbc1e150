"""What the report card measures: sets of tiles and a generated canvas, from memory or strictly read from disk."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from ..data.folders import read_folder
from ..data.mask_files import read_mask
from ..data.pictures import Note, as_block, read_rgb
from ..data.tiles import Tile, to_tensor
from ..files import read_json
from ..labels import CELL_PX
from ..metrics.tissue import PaintedCanvas
from ..pipelines.config import check_memory, in_six_codes, rename_keys
from ..pipelines.pair import Pair
from ..sampling.plans import find_plan
from ..sampling.seams import window_lines

MEASURING_PER_PX = 100  # bytes of memory


@dataclass(frozen=True)
class TileSet:
    """Tiles that are measured together.

    Attributes
    ----------
    images : (3, H, W) in [-1, 1], all of one size; a tensor (N, 3, H, W) will do
    masks : integer masks (H, W) of labels 0 to 5 of the tiles that have one
    clusters : cluster or patient of each tile, or None where they are not known
    notes : sentences on files that were left out
    names : file of each tile, from its folder; None for tiles from memory
    """

    images: Sequence[Tensor]
    masks: Sequence[np.ndarray] = ()
    clusters: Sequence[str] | None = None
    notes: list[str] = field(default_factory=list)
    names: Sequence[str] | None = None

    def name(self, index: int) -> str:
        """What to call a tile: its file, or its number.

        >>> TileSet([], names=["a.png"]).name(0), TileSet([]).name(3)
        ('a.png', 'tile 3')
        """
        return self.names[index] if self.names else f"tile {index}"

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, tiles: TileSet | Sequence[Tensor]) -> TileSet:
        """A set as it is, or a set of images alone."""
        return tiles if isinstance(tiles, cls) else cls(tiles)


@dataclass(frozen=True)
class Sources:
    """Where the pictures of a report lie: two folders of tiles, or the canvas that a ``run.json`` belongs to.

    Attributes
    ----------
    real, synthetic, train : folders, see `read_tiles`; of a run, `real` and `train` may be missing
    run : file, in place of `synthetic`

    Raises
    ------
    ValueError : neither or both of `synthetic` and `run`, or tiles without real ones.
    """

    real: Path | None = None
    synthetic: Path | None = None
    run: Path | None = None
    train: Path | None = None

    def __post_init__(self) -> None:
        if (self.run is None) == (self.synthetic is None) or (self.run is None and self.real is None):
            given = [name for name in ("real", "synthetic", "run") if getattr(self, name) is not None]
            raise ValueError(f"expected real and synthetic folders, or a run, got {', '.join(given) or 'none of them'}")


def read_tiles(folder: str | Path, role: str) -> TileSet:
    """Tiles to measure, with their masks where there are some, see `folders.read_folder`.

    A ``manifest.csv`` in the folder or the one above it, with columns ``file`` (path from the manifest) and
    ``cluster``, says which tiles are near-duplicates, or come from one patient.

    Parameters
    ----------
    folder : searched with its subfolders
    role : "real", "synthetic" or "train", for messages

    Raises
    ------
    ValueError : no pictures, or none that can be read; tiles of several sizes; a manifest without some of the tiles.
        Each names the first file it is about.
    """
    root, notes = Path(folder), []
    try:
        tiles = list(read_folder(root, notes=notes))
    except ValueError as error:
        raise ValueError(f"{role}: {error}") from error
    sizes = {}
    for tile in tiles:
        sizes.setdefault(tuple(tile.mask.shape), tile.name)
    if len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise ValueError(
            f"expected {role} tiles of one size, got {one[0]} x {one[1]} px ({first}) "
            f"and {other[0]} x {other[1]} px ({second})"
        )
    masks = [tile.mask.numpy() for tile in tiles if tile.labelled]
    notes = _sentences(role, len(tiles), notes)
    images, names = [tile.image for tile in tiles], [tile.name for tile in tiles]
    return TileSet(images, masks, _clusters(root, tiles), notes, names)


def read_run(file: str | Path) -> Pair:
    """The pair or slide that a ``run.json`` belongs to, with the picture and the mask beside it.

    Parameters
    ----------
    file : the ``run.json``, or the folder that it is in

    Raises
    ------
    ValueError : no result of this library, a picture and a mask that do not fit it, or more px than memory takes.
    """
    file = Path(file)
    if file.is_dir():
        file = file / "run.json"
    if not file.is_file():
        raise ValueError(f"expected the run.json of a generated canvas, got {file}")
    try:
        run = read_json(file)
        run = rename_keys(run) if isinstance(run, dict) else run
    except ValueError as error:
        raise ValueError(f"expected a run.json, got {file} ({error})") from error
    missing = [key for key in ("size", "plan", "patch") if not isinstance(run, dict) or key not in run]
    if missing:
        raise ValueError(f"expected a run.json with {', '.join(missing)} in it, got {file}")
    size = run["size"]
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        raise ValueError(f"expected a run.json with a height and a width in px, got {size!r} in {file}")
    check_memory((size[0], size[1]), MEASURING_PER_PX, "cut it to tiles and give these to --synthetic")
    image, mask = _beside(file)
    if image.shape[:2] != tuple(run["size"]) or mask.shape != image.shape[:2]:
        raise ValueError(
            f"expected a picture and a mask of {run['size']} px, got {list(image.shape[:2])} and {list(mask.shape)}"
        )
    run, mask = in_six_codes(run, mask)
    return Pair(image, mask, [], run)


def _beside(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask beside a ``run.json``: those of a pair, or of a slide."""
    endings = (".png", ".ome.tif")
    for ending in endings:
        picture, mask = (file.with_name(f"{name}{ending}") for name in ("image", "mask"))
        if picture.exists() or mask.exists():
            return read_rgb(picture), read_mask(mask)
    expected = " or ".join(f"image{ending} and mask{ending}" for ending in endings)
    raise ValueError(f"expected {expected} beside {file}, found neither")


def painted_canvas(pair: Pair) -> PaintedCanvas:
    """A generated pair as the metrics see it: with the lines where its windows met, by the plan that its run names."""
    height, width = (side // CELL_PX for side in pair.mask.shape)
    patch, stride, margin = pair.run["patch"], pair.run.get("stride"), pair.margin
    plan = find_plan(pair.run["plan"], stride and stride // CELL_PX)
    lines = window_lines(plan, (height + 2 * margin, width + 2 * margin), patch // CELL_PX)
    rows, columns = (  # those of the canvas that lie within the picture
        tuple(CELL_PX * (line - margin) for line in axis if 0 < line - margin < side)
        for axis, side in ((lines.rows, height), (lines.columns, width))
    )
    return PaintedCanvas(to_tensor(pair.image), pair.mask, patch, rows, columns, lines.fixed)


def cut_canvas(image: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Tiles (h, w, 3) of a canvas (H, W, 3), side by side from the top left corner; what is left over is left out.

    >>> len(cut_canvas(np.zeros((100, 70, 3)), (32, 32)))
    6
    """
    height, width = size
    tops, lefts = (range(0, n - side + 1, side) for n, side in zip(image.shape, size, strict=False))
    return [image[top : top + height, left : left + width] for top in tops for left in lefts]


def _sentences(role: str, good: int, notes: list[Note]) -> list[str]:
    """What was left out of a folder and what was done to its files, for the report."""
    bad = [note for note in notes if note.text.startswith("is left out")]
    said = [f"Of {role}, {line}." for line in as_block(note for note in notes if note not in bad).splitlines()]
    if bad:
        first = f"{bad[0].file}, which {bad[0].text}"
        said.insert(0, f"Of {role}, {len(bad)} of {good + len(bad)} files could not be read, first {first}.")
    return said


def _clusters(root: Path, tiles: list[Tile]) -> list[str] | None:
    for home in (root, root.resolve().parent):
        manifest = home / "manifest.csv"
        if not manifest.is_file():
            continue
        with manifest.open(encoding="utf-8", newline="") as rows:
            read = list(csv.DictReader(rows))
        if not read or not {"file", "cluster"} <= set(read[0]):
            return None
        known = {entry["file"]: entry["cluster"] for entry in read}
        names = [(root.resolve() / tile.name).relative_to(home.resolve()).as_posix() for tile in tiles]
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(f"expected every tile in {manifest}, got {len(missing)} that are not, first {missing[0]}")
        return [known[name] for name in names]
    return None
