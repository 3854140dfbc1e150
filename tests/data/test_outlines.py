"""Outlines: any mask as valid polygons, and back to the same labels."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from diffinfinite_lite.data.mask_files import read_mask
from diffinfinite_lite.data.outlines import outlines
from diffinfinite_lite.data.qupath import CLASS_MAP, CLASSES, geojson_mask, write_geojson
from diffinfinite_lite.labels import LABELS

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 5))


def bands(mask, rows):
    return [mask[top : top + rows] for top in range(0, len(mask), rows)]


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(1, 5))
def test_any_mask_comes_back_from_its_annotations(tmp_path_factory, mask, rows):
    path = tmp_path_factory.getbasetemp() / "mask.geojson"
    write_geojson(path, bands(mask, rows), mask.shape)
    assert np.array_equal(read_mask(path), mask)
    assert np.array_equal(geojson_mask(path, mask.shape, CLASS_MAP, []), mask)


def area(ring):
    x, y = np.array(ring).T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(1, 5))
def test_polygons_are_simple_and_cover_every_pixel_once(mask, rows):
    """No ring meets itself, outlines and holes run in opposite directions, and areas add up to the number of pixels."""
    found = list(outlines(bands(mask, rows)))
    for label in range(1, len(LABELS)):
        polygons = [polygon for of, polygon in found if of == label]
        for outline, *holes in polygons:
            assert area(outline) > 0 and all(area(hole) < 0 for hole in holes)
            for ring in (outline, *holes):
                assert len(set(ring)) == len(ring)
                steps = np.diff([*ring, ring[0]], axis=0)
                assert ((steps == 0).sum(axis=1) == 1).all()  # along pixels, and every corner turns
        assert sum(area(ring) for polygon in polygons for ring in polygon) == (mask == label).sum()


def test_holes_belong_to_the_outline_around_them():
    """A ring in a hole of a ring: two regions of a label with a hole each, and what touches at a corner stays apart."""
    mask = np.zeros((9, 9), np.uint8)
    mask[:] = 1
    mask[1:8, 1:8] = 0
    mask[2:7, 2:7] = 1
    mask[4, 4] = 3
    mask[1, 1] = 1  # joins the inner ring to the outer one at a corner of both
    found = {(label, len(polygon)) for label, polygon in outlines([mask])}
    assert found == {(1, 2), (3, 1)}
    sizes = sorted(area(polygon[0]) for label, polygon in outlines([mask]) if label == 1)
    assert sizes == [25, 81]


def test_what_qupath_takes(tmp_path):
    """A FeatureCollection of annotations in QuPath's classes and colours, rings closed, outlines first."""
    mask = np.repeat(np.arange(6, dtype=np.uint8), 2)[None].repeat(3, 0)
    write_geojson(tmp_path / "m.geojson", [mask], mask.shape, {"more": "said"})
    content = json.loads((tmp_path / "m.geojson").read_text())
    assert content["type"] == "FeatureCollection" and content["size"] == [3, 12] and content["more"] == "said"
    for label, feature in zip(range(1, 6), content["features"], strict=True):
        name, colour = CLASSES[label]
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        assert feature["properties"] == {
            "objectType": "annotation",
            "classification": {"name": name, "color": list(colour)},
        }
        (ring,) = feature["geometry"]["coordinates"]
        left = 2 * label
        assert ring == [[left, 0], [left + 2, 0], [left + 2, 3], [left, 3], [left, 0]]


def test_annotations_as_a_mask_are_told_their_size_and_classes(tmp_path):
    path = tmp_path / "m.geojson"
    mask = np.array([[1, 3]], np.uint8)
    write_geojson(path, [mask], mask.shape)
    with pytest.raises(ValueError, match=r"expected annotations of 4x4 px, got .*m\.geojson of 1x2"):
        read_mask(path, size=(4, 4))
    content = json.loads(path.read_text())
    del content["size"]  # as QuPath exports it
    path.write_text(json.dumps(content))
    assert np.array_equal(read_mask(path, size=(1, 2)), mask)
    with pytest.raises(ValueError, match=r"expected the size of the picture \(--size\)"):
        read_mask(path)
    content["features"][0]["properties"]["classification"]["name"] = "Fat"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"classes Tumor, .* carcinoma.*, got 'Fat' in .*m\.geojson"):
        read_mask(path, size=(1, 2))
    path.write_text("[1")
    with pytest.raises(ValueError, match="expected GeoJSON annotations"):
        read_mask(path)
