"""What a model would learn from a folder of pictures, before anything is trained: counts, labels, what is left out.

`folders.read_folder` decides which files are used. Here they are read as training reads them, so that a folder that
passes is one that training takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..labels import LABELS
from .folders import read_folder
from .pictures import Note, as_block
from .tiles import Tile, cut

ALONE = "none"  # context of pictures in no folder called after one


@dataclass(frozen=True)
class Inventory:
    """What lies in a folder of pictures.

    Attributes
    ----------
    pictures, labelled : pictures that are used, and those of them with a labelled pixel.
    tiles : training tiles that they are cut to.
    sizes : pictures by (H, W) in px.
    contexts : pictures by context, "none" where no folder says one.
    labels : share of each label in all their pixels, by name.
    notes : files that are not used or were changed, each with a sentence.
    """

    pictures: int
    labelled: int
    tiles: int
    sizes: dict[tuple[int, int], int]
    contexts: dict[str, int]
    labels: dict[str, float]
    notes: list[Note]

    def sentences(self) -> list[str]:
        """All of it in words, a line each.

        >>> found = Inventory(2, 1, 8, {(300, 260): 2}, {"none": 2}, {"unknown": 0.75, "stroma": 0.25}, [])
        >>> print("\\n".join(found.sentences()))
        2 pictures, 1 with labels, are 8 training tiles
        sizes in px: 300 x 260 (2)
        contexts: none (2)
        labels: unknown 75.0%, stroma 25.0%
        nothing was left out
        """
        sizes = ", ".join(f"{height} x {width} ({n})" for (height, width), n in self.sizes.items())
        contexts = ", ".join(f"{name} ({n})" for name, n in self.contexts.items())
        labels = ", ".join(f"{name} {share:.1%}" for name, share in self.labels.items() if share)
        return [
            f"{self.pictures} pictures, {self.labelled} with labels, are {self.tiles} training tiles",
            f"sizes in px: {sizes}",
            f"contexts: {contexts}",
            f"labels: {labels}",
            as_block(self.notes) or "nothing was left out",
        ]


def take_inventory(
    folder: str | Path,
    patch: int,
    scale: float,
    *,
    mpp: float = 0.5,
    class_map: Mapping[str, int | str] | None = None,
) -> Inventory:
    """Read all pictures of a folder with their masks, and count.

    Parameters
    ----------
    folder : see `folders.read_folder`.
    patch : side of a training tile, px.
    scale : micrometres per pixel that pictures are brought to.
    mpp : micrometres per pixel of the pictures.
    class_map : QuPath class name to label.

    Raises
    ------
    ValueError
        If no picture can be used, or the class map names no label.
    """
    notes: list[Note] = []
    sizes: Counter = Counter()
    contexts: Counter = Counter()
    labels: Counter = Counter()
    labelled = tiles = 0
    for tile in read_folder(folder, class_map=class_map, notes=notes, mpp=mpp):
        count = _count(tile, patch, scale, notes)
        if not count:
            continue
        tiles += count
        labelled += tile.labelled
        sizes[tuple(tile.mask.shape)] += 1
        contexts[tile.context or ALONE] += 1
        values, pixels = tile.mask.unique(return_counts=True)
        labels.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    if not tiles:
        first = f"{notes[0].file}, which {notes[0].text}"
        raise ValueError(f"expected pictures of at least {patch} px at {scale:g} µm/px, got none in {folder}: {first}")
    total = sum(labels.values())
    shares = {name: labels[number] / total for number, name in enumerate(LABELS)}
    found = sum(sizes.values())
    return Inventory(found, labelled, tiles, dict(sizes.most_common()), dict(contexts.most_common()), shares, notes)


def _count(tile: Tile, patch: int, scale: float, notes: list[Note]) -> int:
    """How many training tiles a picture is cut to; none of one that is too small, of which a note is taken."""
    try:
        return sum(1 for _ in cut(tile, patch, scale))
    except ValueError as error:
        notes.append(Note(tile.name, f"is left out: {error}"))
        return 0
