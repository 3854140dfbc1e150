"""Folders of pictures: which mask or annotation belongs to which picture, and what was left out.

In a folder and its subfolders, linked ones included, a picture ``NAME.*`` goes with ``NAME_mask.*`` or ``NAME-mask.*``,
else with QuPath's ``NAME.geojson``, whatever the case of the names' ends. ``image.*`` goes with ``mask.*``: these are
the names of this library's own results, whose ``run.json`` also says their context and pixel size. A slide
(``image.ome.tif``) goes with ``mask.ome.tif``, and its tiles for a browser are left alone. A folder called after a
context (adenocarcinoma, squamous, normal) in any case gives its pictures that context.

Whatever looks like data and is not used is named at the end with its reason, in one block.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ..files import read_json
from ..labels import CONTEXTS, FIVE_CODES, LABELS, are_five_codes, from_five_codes
from .pictures import Note, PictureWarning, as_block
from .qupath import UnknownClasses, geojson_mask
from .tiles import Tile, read_tile, refuse_all_bad

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
# no pictures
_QUIET = (".csv", ".dzi", ".html", ".json", ".md", ".npy", ".safetensors", ".txt", ".xmp", ".yaml", ".yml", "")
_MASK = re.compile(r"(.*)[_-]mask", re.IGNORECASE)
_OWN = ("timesteps.webp",)  # of a result, neither picture nor mask


@dataclass
class Found:
    """What lies in a folder.

    Attributes
    ----------
    pictures : with the mask file or the annotation of each, or None; in the order of their paths
    notes : what is not used, by path from the folder
    """

    pictures: list[tuple[Path, Path | None]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def read_folder(
    folder: str | Path,
    *,
    classes: int = len(LABELS),
    class_map: Mapping[str, int | str] | None = None,
    notes: list[Note] | None = None,
    **provenance,
) -> Iterator[Tile]:
    """Tiles of a folder of pictures, with their masks or annotations where there are some.

    Parameters
    ----------
    folder : searched with its subfolders, in the order of the paths.
    classes : code of the mask files, 6 (ours), 5 or 10, see `mask_files.read_mask`.
    class_map : QuPath class name to label (0 to 5, or a name out of `LABELS`); without one, annotations are not used.
    notes : takes what was left out and what was done to files; None: one `PictureWarning` says all of it at the end.
    provenance : fields of `Tile`, such as ``mpp=0.25, source="our clinic", licence="not to be passed on"``. What a
        result of this library says of itself (context, pixel size) counts more.

    Yields
    ------
    Tile named by its path from the folder. Files that cannot be read are left out.

    Raises
    ------
    ValueError
        If there is no such folder or no picture in it, no picture can be read, or the class map names no label.
    """
    for name, label in (class_map or {}).items():
        if label not in LABELS and (label not in range(len(LABELS)) or isinstance(label, bool)):
            raise ValueError(f"expected a class map to labels 0 to 5 or their names, got {label!r} for {name}")
    codes = {n: LABELS.index(label) if label in LABELS else label for n, label in (class_map or {}).items()}
    root, found = Path(folder), find(folder)
    if not found.pictures:
        listed = f"; it holds\n{as_block(found.notes)}" if found.notes else ""
        raise ValueError(f"expected a folder with pictures ({', '.join(SUFFIXES)}), got {root}{listed}")
    good, bad, done, unknown = 0, [], found.notes, {}
    for path, mask in found.pictures:
        name = path.relative_to(root).as_posix()
        run = _run_beside(path)
        known = {"name": name, "cluster": name, "context": context_of(name)} | provenance | _fields_of_run(run)
        said: list[Note] = []
        try:
            tile = _in_six_codes(_read(path, mask, classes, codes, said, known), run, said)
        except UnknownClasses as error:
            bad.append(Note(name, "is left out, since the class map has no label for some of its classes"))
            for kind in error.names:
                unknown.setdefault(kind, name)
            continue
        except (ValueError, OSError) as error:
            bad.append(Note(name, f"is left out: {error}"))
            continue
        done += [Note(name if note.file == path.name else f"{name} ({note.file})", note.text) for note in said]
        good += 1
        yield tile
    refuse_all_bad(good, bad)
    missing = [Note(f"class {kind!r}", f"is not in the class map, first in {name}") for kind, name in unknown.items()]
    everything = bad + done + missing
    if notes is not None:
        notes += everything
    elif everything:
        left = f": {len(bad)} of {good + len(bad)} pictures left out" if bad else ""
        warnings.warn(f"{root}{left}\n{as_block(everything)}", PictureWarning, stacklevel=2)


def find(folder: str | Path) -> Found:
    """Pictures of a folder and its subfolders with their masks or annotations, without opening any."""
    root, found = Path(folder), Found()
    for files in _walk(root, found.notes).values():
        _pair(files, root, found)
    found.pictures.sort(key=lambda pair: pair[0])
    found.notes.sort()
    return found


def files_read(folder: str | Path) -> list[Path]:
    """All files that `read_folder` takes something from, sorted: pictures, masks, annotations, runs of results."""
    files: set[Path] = set()
    for path, mask in find(folder).pictures:
        files |= {path} | ({mask} if mask else set())
        if (run := _run_of(path)) is not None:
            files.add(run)
    return sorted(files)


def context_of(name: str) -> str:
    """The context that a path from the data folder says, or "".

    >>> context_of("clinic/Normal/a.png"), context_of("normal.png")
    ('normal', '')
    """
    return next((part.lower() for part in Path(name).parts[:-1] if part.lower() in CONTEXTS), "")


def _read(
    path: Path, mask: Path | None, classes: int, codes: Mapping[str, int], notes: list[Note], known: dict
) -> Tile:
    if mask is None or mask.suffix.lower() != ".geojson":
        return read_tile(path, mask, classes=classes, notes=notes, **known)
    tile = read_tile(path, notes=notes, **known)
    if not codes:
        notes.append(Note(path.name, f"is used without a mask: {mask.name} needs a class map"))
        return tile
    if any("orientation tag" in note.text for note in notes):
        raise ValueError(
            f"expected annotations of an upright picture, got {path.name} with an orientation tag, which leaves open "
            f"which way {mask.name} was drawn: save the picture upright"
        )
    labels = geojson_mask(mask, tuple(tile.mask.shape), codes, notes)
    return replace(tile, mask=torch.from_numpy(labels))


def _run_beside(path: Path) -> dict:
    """What the ``run.json`` of a result beside its picture holds; empty where there is none."""
    file = _run_of(path)
    if file is None:
        return {}
    try:
        run = read_json(file)
    except (OSError, ValueError):
        return {}
    return run if isinstance(run, dict) and "steps" in run else {}  # else it is a file of somebody else's


def _in_six_codes(tile: Tile, run: dict, notes: list[Note]) -> Tile:
    """A result's mask in today's labels, said where it was painted when air had none."""
    if not are_five_codes(run.get("labels")) or tile.mask.max() >= FIVE_CODES:
        return tile
    notes.append(Note(Path(tile.name).name, "was painted when air had no label: its others are read as air"))
    return replace(tile, mask=torch.from_numpy(from_five_codes(tile.mask.numpy(), run.get("context"))))


def _fields_of_run(run: dict) -> dict:
    """Fields of `Tile` that the run of a result says of its picture."""
    if not run:
        return {}
    said = {"source": "synthetic, of this library"}
    if run.get("context") in CONTEXTS:
        said["context"] = run["context"]
    if isinstance(run.get("mpp"), int | float) and run["mpp"] > 0:
        said["mpp"] = run["mpp"]
    return said


def _run_of(path: Path) -> Path | None:
    """The ``run.json`` beside the picture of a result, if there is one."""
    file = path.with_name("run.json")
    return file if _ends(path)[0] == "image" and file.is_file() else None


def _walk(root: Path, notes: list[Note]) -> dict[Path, list[Path]]:
    """Files of every folder below root; each folder once, by its own path before any link to it."""
    files, seen, folders, links = {}, set(), [root], []
    while folders or links:
        links = links if folders else sorted(links)
        folder = folders.pop() if folders else links.pop(0)
        real = folder.resolve()
        if real in seen:
            notes.append(Note(folder.relative_to(root).as_posix(), "is a link to a folder that is read already"))
            continue
        seen.add(real)
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            if folder != root:
                notes.append(Note(folder.relative_to(root).as_posix(), f"cannot be opened ({error.strerror})"))
            continue
        names = {entry.name for entry in entries}
        files[folder] = []
        for entry in entries:
            name = entry.relative_to(root).as_posix()
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if entry.name.endswith("_files") and f"{entry.name.removesuffix('_files')}.dzi" in names:
                    continue  # a Deep Zoom pyramid of a picture that lies beside it
                (links if entry.is_symlink() else folders).append(entry)
            elif entry.is_file():
                files[folder].append(entry)
            else:
                notes.append(Note(name, "is a link to nothing" if entry.is_symlink() else "is no file"))
    return files


def _pair(files: list[Path], root: Path, found: Found) -> None:
    """Sort the files of one folder into pictures with their masks, and what is not used."""
    pictures, labels = [], []  # labels: (name of the picture that a file belongs to, file), masks before annotations
    own, others = any(file.name == "run.json" for file in files), []
    for file in sorted(files, key=lambda file: _ends(file)[1] == ".geojson"):
        stem, suffix = _ends(file)
        if suffix == ".geojson":
            if not (own and file.name == "mask.geojson" and labels):  # of a result that has it as a picture, too
                labels.append(("image" if stem.lower() == "mask" else stem, file))
        elif suffix not in SUFFIXES:
            if suffix == ".json" and file.name != "run.json":
                others.append(file)
            elif suffix not in _QUIET or _MASK.fullmatch(stem):  # a mask as an array, say
                found.notes.append(Note(_path(file, root), f"is no picture that can be read ({', '.join(SUFFIXES)})"))
        elif named := _MASK.fullmatch(stem):
            labels.append((named[1], file))
        elif stem.lower() == "mask":
            labels.append(("image", file))
        elif not (own and file.name in _OWN):
            pictures.append(file)
    names = {name for picture in pictures for name in _names(picture)}
    for file in others:
        if file.stem in names:
            found.notes.append(Note(_path(file, root), "is not used: annotations of QuPath end in .geojson"))
    used: dict[Path, Path] = {}  # by picture
    for name, file in labels:
        fits = [p for p in pictures if name in _names(p)]
        if not fits and name not in names:
            fits = [p for p in pictures if _folded(name) in [_folded(n) for n in _names(p)]]
        for picture in fits:
            first = used.setdefault(picture, file)
            if first is not file:
                found.notes.append(Note(_path(file, root), f"is not used, since {first.name} is"))
        if not fits:
            what = "an annotation" if file.suffix.lower() == ".geojson" else "a mask"
            found.notes.append(Note(_path(file, root), f"is {what} without a picture of that name"))
    found.pictures += [(picture, used.get(picture)) for picture in pictures]


def _names(picture: Path) -> tuple[str, str]:
    """What a mask may call its picture: a.png goes with a_mask.png and with a.png_mask.png."""
    return _ends(picture)[0], picture.name


def _folded(name: str) -> str:
    """A name without what file systems may change: case, and the way an accent is put together."""
    return unicodedata.normalize("NFC", name).casefold()


def _path(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _ends(file: Path) -> tuple[str, str]:
    """Name without its end, and the end in lower case; ``.ome.tif`` is one end.

    >>> _ends(Path("image.ome.tif")), _ends(Path("a.b.PNG"))
    (('image', '.tif'), ('a.b', '.png'))
    """
    stem = file.stem
    if file.suffix.lower() in (".tif", ".tiff") and stem.lower().endswith(".ome"):
        stem = stem[:-4]
    return stem, file.suffix.lower()
