"""Mask files: labels of every pixel, and which pixels are known; one reader of each for the whole library.

A mask is read by what it looks like. An index picture is a list of colours and a number for each pixel; whoever saves
it again may reorder the list, so that its numbers say nothing and only its colours do. These files are labels:

- the colours of `labels.LABEL_COLOURS`, exactly, as an index picture in any order, RGB, or RGBA without transparency;
- grey values 0 to 5, in 8, 16 or 32 bits, also as an index picture in these greys;
- annotations of QuPath (``.geojson``) in the classes of `qupath.CLASSES`, or named after our labels.

Files of the time before air had a label hold the values and colours of 0 to 4, and are read as what they say: 4 is
`others`, even where somebody meant air by it, which no file tells.

Everything else is refused: other colours, even near ones (an edge that an editor has smoothed has labels of nothing);
transparent pixels; and formats such as JPEG, which change values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..labels import FIVE_CODES, LABEL_COLOURS, LABELS, TEN_TO_SIX, colour_labels
from .pictures import Note, Opened, is_grey, open_picture, palette, transparent
from .qupath import CLASS_MAP, CLASSES, UnknownClasses, annotated_size, geojson_mask

_BAND_PX = 2**22  # colours are compared in bands of rows of about so many px, to save memory
_VALUES = ("L", "I", "I;16", "I;16B", "I;16L", "I;16N")  # modes of one value a pixel
_LEGEND = [f"{name} {', '.join(map(str, rgb))}" for name, rgb in zip(LABELS, LABEL_COLOURS, strict=True)]


def read_mask(
    path: str | Path,
    classes: int = len(LABELS),
    notes: list[Note] | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Labels of every pixel of a mask file.

    Parameters
    ----------
    path : PNG, TIFF, BMP, GIF or lossless WebP, or GeoJSON, see above
    classes : 6 for the code of `labels.LABELS`; 5 for that of the paper, the same without air; 10 for the code of
        `labels.TEN_CLASSES`, which is folded into the six and has grey values alone.
    notes : takes what was done to the file, such as turning it upright; None: a `PictureWarning` says it.
    size : (H, W) of the picture in px, which annotations need to be told unless this library wrote them

    Returns
    -------
    uint8 array (H, W), labels 0 to 5.

    Raises
    ------
    ValueError
        If the file is missing, damaged, too large or no such mask. The sentence says how to save it.
    """
    if classes not in (FIVE_CODES, len(LABELS), len(TEN_TO_SIX)):
        raise ValueError(f"expected 6 classes, 5 or 10, got {classes}")
    if Path(path).suffix.lower() == ".geojson":
        return _read_annotations(path, size, notes)
    opened = open_picture(path, "mask", notes)
    values = _values(opened, classes)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        got = f"grey values {low} to {high} in {opened.name}"
        raise ValueError(f"expected labels 0 to {classes - 1}, got {got}: {_saving_advice(classes)}")
    return np.array(TEN_TO_SIX, np.uint8)[values] if classes == len(TEN_TO_SIX) else values.astype(np.uint8, copy=False)


def read_keep(path: str | Path, notes: list[Note] | None = None) -> np.ndarray:
    """Which pixels of a picture are known: bool (H, W), False in holes.

    Black is a hole and everything else is known, in a 1-bit, grey or index picture, or in RGB that is grey.

    Raises
    ------
    ValueError
        If the file is missing, damaged, too large, coloured, transparent, or of a format that changes values.
    """
    opened = open_picture(path, "mask of known pixels", notes)
    picture = opened.picture
    expected = "expected a mask of known pixels in grey, where black is a hole,"
    _check_exact(opened, f"{expected} got", "save it as a greyscale PNG")
    if picture.mode == "1" or picture.mode in _VALUES:
        return np.asarray(picture) != 0
    if picture.mode == "P":
        used, shown = palette(picture)
        known = np.zeros(256, bool)
        known[used] = shown[:, 0] > 0
        if is_grey(shown[:, :3]):
            return known[np.asarray(picture)]
    elif picture.mode == "LA":
        return np.asarray(picture.getchannel("L")) != 0
    elif picture.mode in ("RGB", "RGBA") and not opened.deep:
        colours = np.asarray(picture)[..., :3]
        if is_grey(colours):
            return colours[..., 0] != 0
    raise ValueError(f"{expected} got {opened.name} in {_described(opened)}: save it as a greyscale PNG")


def _read_annotations(path: str | Path, size: tuple[int, int] | None, notes: list[Note] | None) -> np.ndarray:
    """Labels of annotations in the classes of `CLASS_MAP`."""
    said = annotated_size(path)
    if size is None and said is None:
        raise ValueError(f"expected the size of the picture (--size) that {path} annotates, got none: it says none")
    if size is not None and said is not None and tuple(size) != said:
        raise ValueError(f"expected annotations of {size[0]}x{size[1]} px, got {path} of {said[0]}x{said[1]}")
    try:
        return geojson_mask(path, size or said, CLASS_MAP, notes)
    except UnknownClasses as error:
        expected = f"{', '.join(name for name, _ in CLASSES.values())}, or {', '.join(LABELS)}"
        got = ", ".join(map(repr, error.names))
        raise ValueError(f"expected annotations in the classes {expected}, got {got} in {path}") from error


def _values(opened: Opened, classes: int) -> np.ndarray:
    """Labels by colour, or grey values, of any integer type; values outside the code are for the caller."""
    picture, expected = opened.picture, f"expected a mask with labels 0 to {classes - 1}, got"
    _check_exact(opened, expected, _saving_advice(classes))
    if picture.mode in _VALUES:
        return np.asarray(picture)
    if picture.mode == "LA":
        return np.asarray(picture.getchannel("L"))
    if picture.mode == "P":
        used, shown = palette(picture)
        found = _by_colour(shown[:, :3], classes)
        if is_grey(shown[:, :3]) and (found < 0).any():
            found = shown[:, 0]
        _check_colours(shown[:, :3], found, opened, classes)
        table = np.zeros(256, np.uint8)
        table[used] = found
        return table[np.asarray(picture)]
    if picture.mode in ("RGB", "RGBA", "RGBX", "PA") and not opened.deep:
        colours = np.asarray(picture if picture.mode != "PA" else picture.convert("RGBA"))
        labels = np.empty(colours.shape[:2], np.uint8)
        for rows in _bands(colours):
            band = colours[rows, :, :3]
            found = _by_colour(band, classes)
            _check_colours(band, found, opened, classes)
            labels[rows] = found
        return labels
    raise ValueError(f"{expected} {opened.name} in {_described(opened)}: {_saving_advice(classes)}")


def _by_colour(colours: np.ndarray, classes: int) -> np.ndarray:
    """Labels of colours (..., 3), -1 for those that are not in the legend; the code of ten classes has no legend."""
    if classes == len(TEN_TO_SIX):
        return np.full(colours.shape[:-1], -1, np.int8)
    found = colour_labels(colours)
    return np.where(found < classes, found, -1)


def _check_colours(colours: np.ndarray, labels: np.ndarray, opened: Opened, classes: int) -> None:
    if (labels < 0).any():
        other = ", ".join(map(str, colours[labels < 0][0].tolist()))
        got = f"{opened.name} with another colour ({other})"
        raise ValueError(f"expected a mask with labels 0 to {classes - 1}, got {got}: {_saving_advice(classes)}")


def _bands(colours: np.ndarray) -> Iterator[slice]:
    step = max(_BAND_PX // colours.shape[1], 1)
    return (slice(top, top + step) for top in range(0, len(colours), step))


def _check_exact(opened: Opened, expected: str, advice: str) -> None:
    if not opened.exact:
        raise ValueError(f"{expected} {opened.name} in a format that changes values, as JPEG does: {advice}")
    if transparent(opened.picture):
        raise ValueError(f"{expected} {opened.name} with transparent pixels: {advice}")


def _described(opened: Opened) -> str:
    if opened.deep:
        return "colour with 16 bits a channel"
    if opened.picture.mode == "1":
        return "black and white"
    return f"colour (mode {opened.picture.mode})" if opened.picture.mode != "F" else "floating-point numbers"


def _saving_advice(classes: int) -> str:
    legend = "; ".join(_LEGEND[:classes])
    colours = f", or without smoothing in the colours {legend}" if classes != len(TEN_TO_SIX) else ""
    return f"save it as PNG in grey values 0 to {classes - 1}{colours}"
