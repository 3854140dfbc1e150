"""What a folder holds is counted as training will count it, and what is wrong with a file is said in a sentence."""

import json

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite.data.inventory import take_inventory

SQUARE = [[0, 0], [60, 0], [60, 60], [0, 60], [0, 0]]


def annotate(path, name):
    region = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [SQUARE]}}
    path.write_text(json.dumps(region | {"properties": {"classification": {"name": name}}}))


@pytest.fixture
def folder(tmp_path):
    """One picture of two tiles half stroma, one annotated; one too small; one of a class without a label."""
    (tmp_path / "normal").mkdir()
    rgb = np.random.default_rng(0).integers(90, 200, (128, 64, 3), np.uint8)
    for name, side in (("normal/a", 128), ("b", 128), ("small", 40), ("c", 128)):
        Image.fromarray(rgb[:side]).save(tmp_path / f"{name}.png")
    mask = np.zeros((128, 64), np.uint8)
    mask[:64] = 3
    Image.fromarray(mask).save(tmp_path / "normal/a_mask.png")
    annotate(tmp_path / "b.geojson", "Tumour nest")
    annotate(tmp_path / "c.geojson", "Muscle")
    return tmp_path


def test_a_folder_is_counted_as_it_will_be_trained_on(folder):
    found = take_inventory(folder, 64, 0.5, class_map={"Tumour nest": "carcinoma"})
    assert (found.pictures, found.labelled, found.tiles) == (2, 2, 4)
    assert found.sizes == {(128, 64): 2} and found.contexts == {"none": 1, "normal": 1}
    assert found.labels["stroma"] == 0.25 and found.labels["carcinoma"] == pytest.approx(60 * 60 / 2 / 128 / 64)
    assert sum(found.labels.values()) == pytest.approx(1)
    said = found.sentences()
    assert said[0] == "2 pictures, 2 with labels, are 4 training tiles"
    notes = {note.file: note.text for note in found.notes}
    assert notes.keys() == {"small.png", "c.png", "class 'Muscle'"}
    assert notes["small.png"].startswith("is left out: expected a tile of at least 64 x 64 px, got 40 x 64")


def test_a_coarser_scale_makes_fewer_tiles(folder):
    classes = {"Tumour nest": 1, "Muscle": 3}
    assert take_inventory(folder, 32, 0.5, class_map=classes, mpp=0.25).tiles == 3 * 2
    assert take_inventory(folder, 32, 0.5, class_map=classes, mpp=0.5).tiles == 3 * 8 + 2 * 2


def test_a_folder_of_pictures_that_are_too_small_is_refused(folder):
    with pytest.raises(ValueError, match=r"expected pictures of at least 500 px at 0.5 µm/px, got none in .*: b.png"):
        take_inventory(folder, 500, 0.5, class_map={"Tumour nest": 1, "Muscle": 3})
