"""Tiles: reading every kind of file there is, naming what is wrong, cutting, and eq. 9."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from diffinfinite_lite.data.qupath import geojson_mask
from diffinfinite_lite.data.tiles import Tile, cut, read_folder, read_mask, read_rgb, read_tile, to_rgb, to_tensor
from diffinfinite_lite.labels import LABEL_COLOURS, LABELS, TEN_CLASSES, TEN_TO_FIVE


def blank(height=64, width=64, value=0, **fields):
    mask = torch.full((height, width), value, dtype=torch.uint8)
    return Tile(torch.zeros(3, height, width), mask, **fields)


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


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def save(array, path):
    Image.fromarray(array).save(path)
    return path


def test_codes():
    assert len(LABELS) == len(LABEL_COLOURS) == 5 and len(set(LABEL_COLOURS)) == 5
    assert len(TEN_CLASSES) == len(TEN_TO_FIVE) == 10
    assert [LABELS[TEN_TO_FIVE[TEN_CLASSES.index(n)]] for n in ("carcinoma", "necrosis", "connective")] == [
        "carcinoma",
        "necrosis",
        "stroma",
    ]


def test_image_round_trip(rgb):
    image = to_tensor(rgb)
    assert image.shape == (3, 48, 64) and image.min() >= -1 and image.max() <= 1
    assert np.array_equal(to_rgb(image), rgb)


def test_tile_checks_shapes():
    with pytest.raises(ValueError, match=r"mask \(H, W\)"):
        Tile(torch.zeros(3, 8, 8), torch.zeros(8, 9))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_of_any_depth(tmp_path, dtype):
    labels = np.arange(5, dtype=dtype).repeat(5).reshape(5, 5)
    read = read_mask(save(labels, tmp_path / "m.png"))
    assert read.dtype == np.uint8 and np.array_equal(read, labels)


def test_palette_mask(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [3, 4]], np.uint8)).convert("P")
    picture.putpalette([c for colour in LABEL_COLOURS for c in colour])
    picture.putdata([0, 1, 3, 4])
    picture.save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1], [3, 4]]


def test_ten_classes(tmp_path):
    labels = np.arange(10, dtype=np.uint8)[None]
    assert read_mask(save(labels, tmp_path / "m.png"), classes=10)[0].tolist() == list(TEN_TO_FIVE)


def test_bad_masks(tmp_path, rgb):
    with pytest.raises(ValueError, match="labels 0 to 4, got 0 to 9"):
        read_mask(save(np.arange(10, dtype=np.uint8)[None], tmp_path / "ten.png"))
    with pytest.raises(ValueError, match="3 colour channels"):
        read_mask(save(rgb, tmp_path / "colour.png"))
    with pytest.raises(ValueError, match=r"missing\.png"):
        read_mask(tmp_path / "missing.png")
    with pytest.raises(ValueError, match="5 or 10"):
        read_mask(tmp_path / "ten.png", classes=7)


def test_bad_pictures(tmp_path, rgb):
    whole = save(rgb, tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("cut.jpg", "text.png", "missing.png"):
        with pytest.raises(ValueError, match=name):
            read_rgb(tmp_path / name)


def test_mask_of_another_size(tmp_path, rgb):
    with pytest.raises(ValueError, match=r"mask of \(48, 64\)"):
        read_tile(save(rgb, tmp_path / "a.png"), np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("shape", [(64, 64), (65, 127), (128, 200)])
def test_cut_covers(shape):
    covered = np.zeros(shape, int)
    for patch in cut(blank(*shape, name="t"), 64):
        top, left = map(int, patch.name.split("@")[1].split(","))
        covered[top : top + 64, left : left + 64] += 1
        assert patch.image.shape == (3, 64, 64)
    assert covered.min() == 1


def test_cut_resamples_image_and_mask():
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[:, 32:] = 3
    (patch,) = cut(Tile(mask.float().expand(3, -1, -1) / 3, mask, mpp=0.25, licence="CC0"), 32, mpp=0.5)
    assert patch.mpp == 0.5 and patch.licence == "CC0" and patch.mask.dtype == torch.uint8
    assert patch.mask[:, :16].eq(0).all() and patch.mask[:, 16:].eq(3).all()
    assert patch.image[:, :, :15].abs().max() < 1e-6 and (patch.image[:, :, 17:] - 1).abs().max() < 1e-6


def test_cut_too_small():
    with pytest.raises(ValueError, match="at least 65 x 65"):
        list(cut(blank(name="t"), 65))
    with pytest.raises(ValueError, match="positive"):
        list(cut(blank(), 0))


def test_folder(tmp_path, rgb):
    (tmp_path / "sub").mkdir()
    save(rgb, tmp_path / "a.png")
    save(np.full((48, 64), 2, np.uint8), tmp_path / "a_mask.png")
    save(rgb, tmp_path / "sub" / "b.jpg")
    save(rgb, tmp_path / "c.tif")
    (tmp_path / "c.geojson").write_text(json.dumps(feature([square(0, 0, 64, 10)])))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning) as warned:
        tiles = list(read_folder(tmp_path, class_map={"Tumor": "carcinoma"}, mpp=0.25, licence="own"))
    assert [t.name for t in tiles] == ["a.png", "c.tif", "sub/b.jpg"]
    assert [int(t.mask.max()) for t in tiles] == [2, 1, 0] and [t.labelled for t in tiles] == [
        True,
        True,
        False,
    ]
    assert all(t.mpp == 0.25 and t.licence == "own" for t in tiles)
    texts = [str(w.message) for w in warned]
    assert "broken.png" in texts[0] and "skipped 1 of 4" in texts[1]


def test_label_colours_differ_in_grey_print():
    lightness = sorted(rgb2lab(np.array(LABEL_COLOURS, np.uint8)[None])[0, :, 0])
    assert min(np.diff(lightness)) >= 10


def test_class_map_to_no_label(tmp_path):
    with pytest.raises(ValueError, match="class map to labels 0 to 4 or their names, got 'tumour' for Tumor"):
        list(read_folder(tmp_path, class_map={"Tumor": "tumour"}))


def test_folder_without_pictures(tmp_path):
    with pytest.raises(ValueError, match="folder with pictures"):
        list(read_folder(tmp_path))
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(ValueError, match="1 unreadable"), pytest.warns(UserWarning):
        list(read_folder(tmp_path))


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
    mask = geojson_mask(path, (32, 40), {"Tumor": 1, "Stroma": 3, "Necrosis": 2})
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
