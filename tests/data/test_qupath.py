"""Annotations exported by QuPath: shapes against hand-made masks, classes of old and new versions, bad files."""

import json

import numpy as np
import pytest

from diffinfinite_lite.data.pictures import Note
from diffinfinite_lite.data.qupath import DEEPEST, UnknownClasses, annotated_size, geojson_mask


def square(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(coordinates, name="Tumor", kind="Polygon"):
    classification = {"name": name, "color": [200, 0, 0]} if name else None
    properties = {"objectType": "annotation", "classification": classification}
    return {
        "type": "Feature",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": properties,
    }


def test_geojson_holes_order_and_kinds(tmp_path):
    ring = [square(2, 3, 12, 13), square(5, 5, 8, 8)]
    content = {
        "type": "FeatureCollection",
        "features": [
            feature(ring),
            feature([[square(20, 0, 24, 4)], [square(30, 0, 60, 4)]], "Stroma", "MultiPolygon"),
            feature([square(2, 3, 4, 5)], "Necrosis"),
            feature([[0, 0], [40, 40]], "Tumor", "LineString"),
            feature([square(0, 0, 40, 40)], None),
        ],
    }
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(content))
    mask = geojson_mask(path, (32, 40), {"Tumor": 1, "Stroma": 3, "Necrosis": 2}, [])
    expected = np.zeros((32, 40), np.uint8)
    expected[3:13, 2:12] = 1
    expected[5:8, 5:8] = 0
    expected[0:4, 20:24] = expected[0:4, 30:40] = 3
    expected[3:5, 2:4] = 2
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("no json", "GeoJSON"),
        ("3", "GeoJSON"),
        (json.dumps(feature([square(0, 0, 4, 4)], "Fat")), "'Fat'"),
        (json.dumps(feature([[1, 2]])), "corners"),
    ],
)
def test_bad_geojson(tmp_path, text, match):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        geojson_mask(path, (8, 8), {"Tumor": 1})


def read(tmp_path, content, class_map=None, shape=(32, 40), encoding="utf-8"):
    path, notes = tmp_path / "a.geojson", []
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    return geojson_mask(path, shape, class_map or {"Tumor": 1}, notes), notes


def classified(classification):
    return feature([square(0, 0, 8, 8)]) | {"properties": {"classification": classification}}


@pytest.mark.parametrize(
    ("classification", "class_map", "label"),
    [
        ("Tumor", {"Tumor": 1}, 1),
        ({"name": "Tumor"}, {"Tumor": 1}, 1),
        ({"names": ["Tumor"]}, {"Tumor": 1}, 1),
        ({"names": ["Tumor", "Positive"]}, {"Tumor": 1}, 1),
        ({"name": "Tumor: Positive"}, {"Tumor": 1}, 1),
        ({"names": ["Tumor", "Positive"]}, {"Tumor": 1, "Tumor: Positive": 2}, 2),
        ({"names": ["Tumor", "Positive", "CD8"]}, {"Tumor": 1, "Tumor: Positive": 2}, 2),
        ({"names": ["Tümor"]}, {"Tümor": 3}, 3),
    ],
)
def test_classes_of_all_versions(tmp_path, classification, class_map, label):
    mask, notes = read(tmp_path, classified(classification), class_map)
    assert mask[:8, :8].min() == mask.max() == label and mask.sum() == 64 * label and not notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_and_without_a_byte_order_mark(tmp_path, encoding):
    mask, _ = read(tmp_path, classified({"name": "Größe"}), {"Größe": 1}, encoding=encoding)
    assert mask.sum() == 64


def collection(depth, geometry):
    for _ in range(depth):
        geometry = {"type": "GeometryCollection", "geometries": [geometry]}
    return feature(None) | {"geometry": geometry}


def test_collections_of_geometries_hold_what_is_in_them(tmp_path):
    polygon = feature([square(0, 0, 8, 8), square(2, 2, 4, 4)])["geometry"]
    for depth in (1, 2, DEEPEST):
        mask, notes = read(tmp_path, collection(depth, polygon))
        assert mask.sum() == 60 and not notes
    with pytest.raises(ValueError, match=f"more than {DEEPEST} collections"):
        read(tmp_path, collection(DEEPEST + 1, polygon))
    (tmp_path / "deep.geojson").write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"GeoJSON annotations, got .*deep"):
        geojson_mask(tmp_path / "deep.geojson", (8, 8), {})


def test_what_is_left_out_is_said(tmp_path):
    content = [
        feature([square(0, 0, 4, 4)], None),
        feature([[0, 0], [40, 40]], "Tumor", "LineString"),
        feature([1, 1], "Tumor", "Point"),
        feature([square(100, 100, 120, 120)]),
        feature([square(0, 0, 2, 2)]),
    ]
    mask, notes = read(tmp_path, content)
    assert mask.sum() == 4
    path = str(tmp_path / "a.geojson")
    assert notes == [
        Note(path, "annotations left out, without a class: 1"),
        Note(path, "annotations left out, lines or points: 2"),
        Note(path, "annotations left out, outside of the picture: 1"),
    ]
    assert read(tmp_path, {"type": "FeatureCollection", "features": []})[1] == [Note(path, "has no annotations")]


def test_all_unknown_classes_are_named_once(tmp_path):
    content = [feature([square(0, 0, 4, 4)], name) for name in ("Fat", "Tumor", "Fat", "Air")]
    with pytest.raises(UnknownClasses, match=r"for 'Air', 'Fat', got none for .*a\.geojson") as caught:
        read(tmp_path, content)
    assert caught.value.names == ["Air", "Fat"]


@pytest.mark.parametrize("corner", [float("nan"), float("inf"), 10**400, "x", None, [1, 2]])
def test_corners_that_are_no_numbers_are_refused(tmp_path, corner):
    with pytest.raises(ValueError, match="corners"):
        read(tmp_path, feature([[[0, 0], [8, corner], [8, 8], [0, 8]]]))


def test_far_corners_are_cut_off(tmp_path):
    mask, _ = read(tmp_path, feature([square(-1e6, -1e6, 1e6, 8)]))
    assert mask[:8].all() and not mask[8:].any()


def test_an_annotation_that_meets_no_pixel_is_said(tmp_path):
    """Degrees or micrometres in place of px had given an empty mask without a word."""
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature([square(0.6, 0.6, 0.9, 0.9)]), feature([square(2, 2, 5, 5)])]))
    notes = []
    mask = geojson_mask(path, (8, 8), {"Tumor": 1}, notes)
    assert mask.sum() == 9
    assert notes == [Note(str(path), "annotations left out, around no pixel (coordinates are px of the picture): 1")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b\x08\x00", "which is no text in UTF-8"),
        (b"[" * 10**5, "nested too deeply"),
        (b'{"type": "Feature",}', "no JSON from line 1, column 20 on"),
        (b'[{"type": "Feature"}]', "a part of it has no 'geometry'"),
        (b"3", "a part of it is of another type than GeoJSON has there"),
        (b'{"features": [null]}', "a part of it is of another type than GeoJSON has there"),
    ],
)
def test_what_is_wrong_is_said_in_words(tmp_path, content, reason):
    """It was the name of an exception, and for a .gz half of its bytes."""
    path = tmp_path / "a.geojson"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        geojson_mask(path, (8, 8), {"Tumor": 1})
    assert str(error.value) == f"expected GeoJSON annotations, got {path} ({reason})"


@pytest.mark.parametrize("size", [[True, True], [64.0, 64], ["64", "64"], [0, 64], [64], {}, None])
def test_a_size_that_is_none(tmp_path, size):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [], "size": size}))
    assert annotated_size(path) is None


def test_a_size_beyond_the_limit_of_pictures(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [], "size": [10**7, 10**7]}))
    with pytest.raises(ValueError, match=r"at most 4,294,967,296 px, got .* of 10000000 x 10000000 px"):
        annotated_size(path)
