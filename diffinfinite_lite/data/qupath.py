"""QuPath annotations: the polygons a pathologist drew, as a mask of labels.

QuPath exports GeoJSON: features whose geometry is a polygon, or several, with holes, in pixels of the picture
(x to the right, y down), and whose class name is a property. A class map turns names into labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from skimage.draw import polygon


def geojson_mask(path: str | Path, shape: tuple[int, int], class_map: Mapping[str, int]) -> np.ndarray:
    """QuPath's exported annotations to a mask; later polygons are painted over earlier ones.

    Parameters
    ----------
    path : GeoJSON file: a FeatureCollection, a list of features or one feature, in px of the picture.
    shape : (height, width) of the picture in px.
    class_map : QuPath class name to label 0 to 4; map a class to 0 to leave it unknown.

    Returns
    -------
    uint8 array (height, width)
        Labels 0 to 4. Lines, points and annotations without a class are left out.

    Raises
    ------
    ValueError
        If the file is no GeoJSON, or a class is not in the map, or is mapped to something that is not a
        label.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        features = content if isinstance(content, list) else content.get("features", [content])
        found = [(f["geometry"], (f.get("properties") or {}).get("classification")) for f in features]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"expected GeoJSON annotations, got {path} ({error!r})") from error
    mask = np.zeros(shape, np.uint8)
    for geometry, kind in found:
        name = kind.get("name") if isinstance(kind, dict) else kind
        if not name or not geometry or geometry.get("type") not in ("Polygon", "MultiPolygon"):
            continue
        label = class_map.get(name)
        if label not in range(5):
            raise ValueError(
                f"expected a class map that gives {name!r} a label 0 to 4, got {label!r} for {path}"
            )
        try:
            rings = geometry["coordinates"]
            for outline, *holes in [rings] if geometry["type"] == "Polygon" else rings:
                mask[_inside(outline, holes, shape)] = label
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ValueError(f"expected polygons of (x, y) corners, got {path} ({error!r})") from error
    return mask


def _inside(outline: Sequence, holes: Sequence, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels whose centre lies in a ring of (x, y) corners, outside its holes."""
    rows, cols = _fill(outline, shape)
    if holes and rows.size:
        top, left = rows.min(), cols.min()
        kept = np.zeros((np.ptp(rows) + 1, np.ptp(cols) + 1), bool)
        kept[rows - top, cols - left] = True
        for hole in holes:
            y, x = _fill(hole, shape)
            y, x = y - top, x - left
            here = (y >= 0) & (x >= 0) & (y < kept.shape[0]) & (x < kept.shape[1])
            kept[y[here], x[here]] = False
        rows, cols = np.nonzero(kept)
        rows, cols = rows + top, cols + left
    return rows, cols


def _fill(ring: Sequence, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    corners = np.asarray(ring, float) - 0.5
    return polygon(corners[:, 1], corners[:, 0], shape)
