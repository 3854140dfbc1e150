"""QuPath annotations: the polygons a pathologist drew, as a mask of labels.

QuPath exports GeoJSON: features whose geometry is a polygon, several of them, with holes, or a collection of
geometries, in pixels of the picture (x to the right, y down), and whose class name is a property. A derived class such
as "Tumor: Positive" is written as that name by QuPath up to 0.3 and as a list of names since 0.4. A class map turns
names into labels: that of the derived class if the map has it, else that of the class it derives from.

What is written here is dropped onto a picture in QuPath, corrected there, exported and read again: one annotation for
every region, in the classes and colours that QuPath begins a project with (`CLASSES`; air, which is none of them, as a
class that QuPath adds), unknown pixels in none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.draw import polygon

from ..files import read_json
from ..labels import LABELS
from .outlines import outlines
from .pictures import MAX_PIXELS, Note, tell

# QuPath's name and colour for each label
CLASSES = {
    1: ("Tumor", (200, 0, 0)),
    2: ("Necrosis", (50, 50, 50)),
    3: ("Stroma", (150, 200, 150)),
    4: ("Other", (255, 200, 0)),
    5: ("Air", (80, 168, 222)),
}
CLASS_MAP = {name: label for label, (name, _) in CLASSES.items()} | {name: label for label, name in enumerate(LABELS)}
FARTHEST = 2**31  # px of a corner from the origin
DEEPEST = 8  # collections within collections; QuPath writes one at most


class UnknownClasses(ValueError):
    """Classes of annotations that a class map gives no label.

    Attributes
    ----------
    names : of the classes
    """

    def __init__(self, names: Sequence[str], path: str | Path) -> None:
        self.names = list(names)
        listed = ", ".join(map(repr, names))
        super().__init__(f"expected a class map with a label 0 to {len(LABELS) - 1} for {listed}, got none for {path}")


def geojson_mask(
    path: str | Path, shape: tuple[int, int], class_map: Mapping[str, int], notes: list[Note] | None = None
) -> np.ndarray:
    """QuPath's exported annotations to a mask; later polygons are painted over earlier ones.

    Parameters
    ----------
    path : GeoJSON file: a FeatureCollection, a list of features or one feature, in px of the picture.
    shape : (height, width) of the picture in px.
    class_map : QuPath class name to label 0 to 5; map a class to 0 to leave it unknown.
    notes : takes what was left out: lines and points, annotations without a class or outside the picture; None: a
        `PictureWarning` says it.

    Returns
    -------
    uint8 array (height, width), labels 0 to 5.

    Raises
    ------
    UnknownClasses
        If classes are not in the map, or are mapped to something that is not a label; all of them are named.
    ValueError
        If the file is no GeoJSON.
    """
    drawn, unclassified, thin = [], 0, 0
    for name, geometry in _annotations(path):
        if not name:
            unclassified += 1
            continue
        try:
            polygons = _polygons(geometry)
        except (KeyError, TypeError, IndexError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"expected polygons of (x, y) corners, got {path} ({_reason(error)})") from error
        thin += not polygons
        drawn += [(name, rings) for rings in polygons]
    if not drawn and not unclassified and not thin:
        tell(notes, path, "has no annotations")
    labels = {name: _label(name, class_map) for name, _ in drawn}
    unknown = sorted(name for name, label in labels.items() if label is None)
    if unknown:
        raise UnknownClasses(unknown, path)
    mask, outside, small = np.zeros(shape, np.uint8), 0, 0
    for name, (outline, *holes) in drawn:
        rows, cols = _inside(outline, holes, shape)
        within = _touches(outline, shape)
        outside, small = outside + (not within), small + (within and not rows.size)
        mask[rows, cols] = labels[name]
    left_out = {
        "without a class": unclassified,
        "lines or points": thin,
        "outside of the picture": outside,
        "around no pixel (coordinates are px of the picture)": small,
    }
    for what, count in left_out.items():
        if count:
            tell(notes, path, f"annotations left out, {what}: {count}")
    return mask


def write_geojson(
    path: str | Path, bands: Iterable[np.ndarray], size: tuple[int, int], members: Mapping[str, Any] | None = None
) -> None:
    """Write a mask as annotations, which `geojson_mask` reads to the same labels with the class map `CLASS_MAP`.

    Parameters
    ----------
    path : ending in .geojson
    bands : labels uint8 (rows, W), from top to bottom, see `outlines.outlines`
    size : (H, W) of the picture in px, which GeoJSON has no place for: written beside the features, as are
    members : whatever else is to be said, JSON-able
    """
    head = {"type": "FeatureCollection", "size": [int(side) for side in size], **(members or {})}
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{json.dumps(head)[:-1]}, "features": [')
        before = "\n"
        for label, polygon in outlines(bands):
            closed = [[*ring, ring[0]] for ring in polygon]  # as GeoJSON wants it
            name, colour = CLASSES[label]
            feature = {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": closed},
                "properties": {"objectType": "annotation", "classification": {"name": name, "color": colour}},
            }
            file.write(f"{before}{json.dumps(feature)}")
            before = ",\n"
        file.write("\n]}\n")


def annotated_size(path: str | Path) -> tuple[int, int] | None:
    """(H, W) of the picture that `write_geojson` wrote annotations of; None where a file does not say it."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"expected GeoJSON annotations, got {path} ({_reason(error)})") from error
    size = content.get("size") if isinstance(content, dict) else None
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        return None
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(f"expected annotations of at most {MAX_PIXELS:,} px, got {path} of {height} x {width} px")
    return height, width


def _annotations(path: str | Path) -> Iterator[tuple[str, object]]:
    """Class name ("" for none) and geometry of every feature of a file."""
    try:
        content = read_json(path)
        features = content if isinstance(content, list) else content.get("features", [content])
        for feature in features:
            if feature["type"] != "Feature":
                raise ValueError(f"got {feature['type']!r} for a feature")
            yield _class_name((feature.get("properties") or {}).get("classification")), feature["geometry"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"expected GeoJSON annotations, got {path} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """What is wrong with a file, in words for somebody who did not write this reader."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UnicodeDecodeError):
        return "which is no text in UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON from line {error.lineno}, column {error.colno} on"
    if isinstance(error, KeyError):
        return f"a part of it has no {error}"
    if isinstance(error, (AttributeError, TypeError, IndexError)):
        return "a part of it is of another type than GeoJSON has there"
    return " ".join(str(error).split())[:200]


def _class_name(classification: object) -> str:
    """The name of a class; a derived one as QuPath shows it, "Tumor: Positive"."""
    if classification is None:
        return ""
    if isinstance(classification, str):
        return classification
    names = classification.get("names") or [classification.get("name") or ""]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"got {names!r} for the name of a class")
    return ": ".join(names)


def _label(name: str, class_map: Mapping[str, int]) -> int | None:
    """The label of a class, or else of the class that it derives from; None if there is none.

    >>> _label("Tumor: Positive", {"Tumor": 1})
    1
    """
    parts = name.split(": ")
    for length in range(len(parts), 0, -1):
        key = ": ".join(parts[:length])
        if key in class_map:
            return class_map[key] if class_map[key] in range(len(LABELS)) else None
    return None


def _polygons(geometry: object, depth: int = 0) -> list[list[np.ndarray]]:
    """Polygons of a geometry, each a list of rings (n, 2) of (x, y) corners, outline first; none for lines, points."""
    kind = geometry["type"] if geometry is not None else "Point"
    if kind == "GeometryCollection":
        if depth == DEEPEST:
            raise ValueError(f"more than {DEEPEST} collections within each other")
        return [rings for part in geometry["geometries"] for rings in _polygons(part, depth + 1)]
    if kind not in ("Polygon", "MultiPolygon"):
        if kind not in ("Point", "MultiPoint", "LineString", "MultiLineString"):
            raise ValueError(f"geometry {kind!r}")
        return []
    parts = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    return [[_ring(ring) for ring in rings] for rings in parts if len(rings)]


def _ring(ring: Sequence) -> np.ndarray:
    """Corners (n, 2) of a ring in px, a third coordinate dropped."""
    corners = np.array([corner[:2] for corner in ring], float)
    if corners.shape[1:] != (2,) or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError("fewer than three finite corners in a ring")
    if np.abs(corners).max() > FARTHEST:
        raise ValueError(f"a corner more than {FARTHEST:,} px away")
    return corners


def _touches(outline: np.ndarray, shape: tuple[int, int]) -> bool:
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    return right > 0 and bottom > 0 and left < shape[1] and top < shape[0]


def _inside(outline: np.ndarray, holes: Sequence, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels whose centre lies in a ring of (x, y) corners, outside its holes."""
    rows, cols = _fill(outline, shape)
    if holes and rows.size:
        top, left = rows.min(), cols.min()
        inside = np.zeros((np.ptp(rows) + 1, np.ptp(cols) + 1), bool)
        inside[rows - top, cols - left] = True
        for hole in holes:
            y, x = _fill(hole, shape)
            y, x = y - top, x - left
            within = (y >= 0) & (x >= 0) & (y < inside.shape[0]) & (x < inside.shape[1])
            inside[y[within], x[within]] = False
        rows, cols = np.nonzero(inside)
        rows, cols = rows + top, cols + left
    return rows, cols


def _fill(corners: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, shape)  # pixel (0, 0) has its centre at (0.5, 0.5)
