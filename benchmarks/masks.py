"""Masks beside real ones: shares, neighbours, sizes, thickness, lumens and what goes on, a column each.

    python benchmarks/masks.py --tiles 60 --fields 12

The columns are pseudo-annotations of LC25000's training tiles (*real*), of fields of the slides HE1 and HE3 of
lung-scc-atlas (*slides*, squamous alone), the authors' experts' sparse masks (*experts*, all contexts), simulated
*layouts*, the *mask model*, and any other mask model that is given (``--other``). Pseudo-annotations see no necrosis of
adenocarcinoma and no lymphocytes, leave a quarter unknown and take lymphocytes for tumour on the slides: they are a
ruler of sizes, not the truth.

What is small is compared in windows of a tile, 28 cells of 4 um; what goes on, in fields of 1 mm. Borders that
annotators left unknown are filled by their neighbours, those of masks that are drawn are not opened. Writes
reports/masks.json, and a sheet of masks to look at beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.annotate import annotate
from diffinfinite_lite.data.pictures import read_rgb
from diffinfinite_lite.data.stain import normalise, profiles
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.labels import CELL_PX, CONTEXTS, LABELS, colour_mask, pool_mask
from diffinfinite_lite.metrics.architecture import adjacency, continuity, filled, lumens, thickness
from diffinfinite_lite.metrics.spatial import boundary_density, regions
from diffinfinite_lite.models.pretrained import load_mask, load_models, model_folder, provenance
from diffinfinite_lite.pipelines.masks import generate_cells

SETS = {"adenocarcinoma": "lung_aca", "squamous": "lung_scc", "normal": "lung_n"}
TILE, FIELD, UM = 28, 127, 4.0  # cells of a tile of 224 px and of a field of 1016 px; um of a cell
STITCHED, OVERLAP = 4, 1  # deep-zoom tiles a side of a field of a slide, px that they share
TISSUE = 0.6  # share of a field's tiles that hold tissue
SMALLEST, SELDOM = 5, 0.005  # cells of a region that counts; share of a border that is not reported
SHOWN = 6  # masks in a row of the sheet
LAYOUTS = 24  # fields of these, which take no time
SIZE = FIELD * CELL_PX + CELL_PX  # px of a generated field
Masks = list[np.ndarray]


def cells_of(rgb: np.ndarray, context: str) -> np.ndarray:
    """The pseudo-annotation of a picture in cells, uint8 (h, w)."""
    labels = torch.from_numpy(annotate(rgb, context).astype(np.int64))
    return pool_mask(labels[None])[0].numpy().astype(np.uint8)


def real_tiles(context: str, count: int) -> Masks:
    """Those of training tiles, one a cluster."""
    one = {"normalised": True, "one_per_cluster": True, "limit": count, "generator": np.random.default_rng(1)}
    tiles = catalog.load("lc25000-lung", "train", SETS[context], **one)
    return [cells_of(to_rgb(tile.image), context) for tile in tiles]


def slide_fields(count: int) -> Masks:
    """Those of fields of HE1 and HE3 that hold tissue."""
    rows = catalog.select("lung-scc-atlas", "train", None, "image")
    root, profile = catalog.locate("lung-scc-atlas"), profiles(catalog.REGISTRY / "stains.json")["lung-scc-atlas"]
    kinds = {}
    for entry in rows:
        slide, name = entry.file.split("/")
        x, y = name.removesuffix(".jpeg").split("_")
        kinds[slide, int(x), int(y)] = entry
    found = []
    for slide, x, y in sorted({(s, STITCHED * (x // STITCHED), STITCHED * (y // STITCHED)) for s, x, y in kinds}):
        under = [[kinds.get((slide, x + i, y + j)) for i in range(STITCHED)] for j in range(STITCHED)]
        if sum(entry is not None and entry.label == "tissue" for row in under for entry in row) < TISSUE * STITCHED**2:
            continue
        field = np.full((FIELD * CELL_PX, FIELD * CELL_PX, 3), 255, np.uint8)
        side = FIELD * CELL_PX // STITCHED
        for j, row in enumerate(under):
            for i, entry in enumerate(row):
                if entry is not None:
                    tile = read_rgb(root / entry.file)[OVERLAP * (y + j > 0) :, OVERLAP * (x + i > 0) :][:side, :side]
                    field[j * side : j * side + tile.shape[0], i * side : i * side + tile.shape[1]] = tile
        found.append(cells_of(normalise(field, profile), "squamous"))
        if len(found) == count:
            break
    return found


def expert_masks() -> Masks:
    """The sparse masks that experts drew, in cells."""
    tiles = catalog.load("diffinfinite-lung", "train", kind="real image")
    return [pool_mask(tile.mask[None])[0].numpy().astype(np.uint8) for tile in tiles]


def windows(fields: Iterable[np.ndarray], side: int = TILE) -> Masks:
    """Fields cut to windows without an overlap, without those that are all unknown."""
    cut = (
        field[top : top + side, left : left + side]
        for field in fields
        for top in range(0, field.shape[0] - side + 1, side)
        for left in range(0, field.shape[1] - side + 1, side)
    )
    return [window for window in cut if window.any()]


def small_numbers(masks: Masks) -> dict:
    """Shares, neighbours, sizes and thickness in windows of a tile."""
    whole = [filled(mask) for mask in masks]
    counts = np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=len(LABELS))
    beside, pieces = adjacency(whole), [r for mask in whole for r in regions(mask, SMALLEST) if r.label]
    pairs = [(a, b) for a, b in zip(*np.triu_indices(len(LABELS), 1), strict=True) if beside[a, b] >= SELDOM]
    by_label = {name: [r for r in pieces if r.label == n] for n, name in enumerate(LABELS) if n}
    return {
        "windows": len(masks),
        "unknown": round(counts[0] / counts.sum(), 3),
        "share": {name: round(counts[n] / counts[1:].sum(), 3) for n, name in enumerate(LABELS) if n},
        "neighbours": {f"{LABELS[a]}-{LABELS[b]}": round(beside[a, b], 3) for a, b in pairs},
        "border": round(float(np.mean([boundary_density(mask) for mask in whole])), 3),
        "thickness, um": {name: _um(thickness(whole, n)) for n, name in enumerate(LABELS) if n},
        "area, 1000 um2": {name: _median([r.area * UM**2 / 1000 for r in rs]) for name, rs in by_label.items()},
        "perimeter, um": {name: _median([r.perimeter * UM for r in rs]) for name, rs in by_label.items()},
    }


def large_numbers(masks: Masks) -> dict:
    """Lumens and what goes on, in fields of 1 mm."""
    whole = [filled(mask) for mask in masks]
    found = lumens(whole)
    return {
        "fields": len(masks),
        "lumens a mm2": round(found.count / (sum(mask.size for mask in whole) * (UM / 1000) ** 2), 1),
        "lumens closed": _plain(found.closed),
        "closed lumens a gland": _plain(found.per_gland),
        "lumen, um2": _plain(found.area * UM**2, 0),
        "thickness, um": {name: _um(thickness(whole, n)) for n, name in enumerate(LABELS) if n},
        "goes on": {name: _plain(continuity(whole, n)) for n, name in enumerate(LABELS) if n},
    }


def distance(real: dict, other: dict) -> dict:
    """How far a column is from the real one: half the differences of shares and of neighbours, ratios of sizes."""

    def spread(key: str) -> float:
        names = real[key].keys() | other[key].keys()
        return round(sum(abs(real[key].get(n, 0) - other[key].get(n, 0)) for n in names) / 2, 3)

    def ratio(key: str) -> float | None:
        pairs = [(real[key][n], other[key].get(n)) for n in real[key] if real["share"].get(n, 0) >= 0.02]
        logs = [abs(math.log(b / a)) for a, b in pairs if a and b]
        return round(math.exp(float(np.mean(logs))), 2) if logs else None

    low, high = sorted((real["border"], other["border"]))
    sizes = {f"{key}, times": ratio(key) for key in ("thickness, um", "area, 1000 um2", "perimeter, um")}
    return {
        "share": spread("share"),
        "neighbours": spread("neighbours"),
        "border, times": round(high / low, 2),
        **sizes,
    }


def sheet(rows: Sequence[Masks], side: int, zoom: int) -> np.ndarray:
    """Rows of `SHOWN` masks, the middle of each, on white."""
    wide = side * zoom + 6
    paper = np.full((len(rows) * wide, SHOWN * wide, 3), 255, np.uint8)
    for number, masks in enumerate(rows):
        for place, mask in enumerate(masks[:SHOWN]):
            shown = colour_mask(_middle(mask, side)).repeat(zoom, 0).repeat(zoom, 1)
            top, left = number * wide, place * wide
            paper[top : top + side * zoom, left : left + side * zoom] = shown
    return paper


def _middle(mask: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(n - side, 0) // 2 for n in mask.shape)
    cut = mask[top : top + side, left : left + side]
    return np.pad(cut, [(0, side - n) for n in cut.shape])


def _plain(value: float, digits: int = 3) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


def _um(cells: float) -> float | None:
    return _plain(cells * UM, 1)


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 2) if values else None


def main(
    tiles: Annotated[int, typer.Option(help="Real tiles of each context.")] = 60,
    fields: Annotated[int, typer.Option(help="Fields of 1 mm of each context, slides and model.")] = 12,
    weights: Annotated[Path | None, typer.Option(help="Folder of the model; the shipped one by default.")] = None,
    other: Annotated[Path | None, typer.Option(help="File of another mask model, a column of its own.")] = None,
    out: Annotated[Path, typer.Option(help="Report to write; the sheet lies beside it.")] = Path("reports/masks.json"),
) -> None:
    """Compare masks, print a table and write the report."""
    model, rows, small, large = load_models(weights).mask, [], [], []

    def drawn(network: torch.nn.Module, count: int, masks: str = "model") -> Callable[[str], Masks]:
        def draw(context: str) -> Masks:
            return [
                generate_cells(network, context, (SIZE, SIZE), seed=seed, masks=masks, opened=False)
                for seed in range(count)
            ]

        return draw

    made = {"layouts": drawn(model, LAYOUTS, "layout"), "mask model": drawn(model, fields)}
    if other is not None:
        made["other model"] = drawn(load_mask(other), fields)
    for context in CONTEXTS:
        columns = {"real": real_tiles(context, tiles)}
        whole = {"slides": slide_fields(fields)} if context == "squamous" else {}
        whole |= {name: draw(context) for name, draw in made.items()}
        columns |= {name: windows(masks) for name, masks in whole.items()}
        real = small_numbers(columns["real"])
        for name, masks in columns.items():
            row = {"context": context, "column": name, **(real if name == "real" else small_numbers(masks))}
            row |= {"from real": distance(real, row)} if name != "real" else {}
            row |= {"in fields": large_numbers(whole[name])} if name in whole else {}
            rows.append(row)
            print(json.dumps(row), flush=True)
        drawn_ones = [whole[name] for name in made]
        small.append(sheet([columns["real"], *drawn_ones], TILE, 6))
        large.append(sheet([*([whole["slides"]] if "slides" in whole else []), *drawn_ones], FIELD, 2))
    rows.append({"context": "all", "column": "experts", **small_numbers(windows(expert_masks()))})
    command = f"python benchmarks/masks.py --tiles {tiles} --fields {fields}"
    command += f" --other {other.name}" if other else ""
    settings = {"tiles": tiles, "fields": fields, "weights folder": model_folder(weights).name} | provenance(weights)
    out.write_text(json.dumps({"command": command, "settings": settings, "rows": rows}, indent=1) + "\n", "utf8")
    Image.fromarray(np.vstack(small)).save(out.with_name(f"{out.stem}_tiles.png"))
    Image.fromarray(np.vstack(large)).save(out.with_name(f"{out.stem}_fields.png"))


if __name__ == "__main__":
    typer.run(main)
