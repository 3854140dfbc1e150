"""Folders of people's pictures: what belongs together, what was left out, and this library's own results in them."""

import json
import unicodedata

import numpy as np
import pytest
import tifffile
from PIL import Image

from diffinfinite_lite.data.folders import find, read_folder
from diffinfinite_lite.data.pictures import PictureWarning
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.labels import FIVE_CODES, LABELS
from diffinfinite_lite.pipelines.pair import Pair
from diffinfinite_lite.pipelines.slide_files import write_image, write_mask

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def save(path, array=RGB, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def mask(path, label):
    save(path, np.full(RGB.shape[:2], label, np.uint8))


def drawn(path, *classes):
    square = [[[0, 0], [64, 0], [64, 10], [0, 10], [0, 0]]]
    polygon = {"type": "Polygon", "coordinates": square}
    properties = [{"classification": {"name": name}} for name in classes]
    path.write_text(json.dumps([{"type": "Feature", "geometry": polygon, "properties": p} for p in properties]))


def read(folder, **settings):
    notes = []
    tiles = list(read_folder(folder, notes=notes, **settings))
    return {tile.name: tile for tile in tiles}, {note.file: note.text for note in notes}


def test_pictures_with_masks_annotations_and_neither(tmp_path):
    save(tmp_path / "a.png")
    mask(tmp_path / "a_mask.png", 2)
    save(tmp_path / "sub" / "b.jpg")
    save(tmp_path / "c.tif")
    drawn(tmp_path / "c.geojson", "Tumor")
    tiles, notes = read(tmp_path, class_map={"Tumor": "carcinoma"}, mpp=0.25, licence="own")
    assert list(tiles) == ["a.png", "c.tif", "sub/b.jpg"] and not notes
    assert [int(tile.mask.max()) for tile in tiles.values()] == [2, 1, 0]
    assert all(tile.mpp == 0.25 and tile.licence == "own" and tile.cluster == tile.name for tile in tiles.values())


def test_masks_are_found_whatever_the_case_and_the_joint(tmp_path):
    """The field's case 28."""
    masks = ("a_mask.tif", "b_mask.PNG", "c-mask.png", "D_MASK.bmp", "e.jpg_mask.png", "F_Mask.tiff")
    pictures = ("a.png", "b.PNG", "c.webp", "d.Jpg", "e.jpg", "f.tif")
    for label, (picture, name) in enumerate(zip(pictures, masks, strict=True)):
        save(tmp_path / "Normal" / picture)
        mask(tmp_path / "Normal" / name, label % 4 + 1)
    save(tmp_path / "Normal" / "g.png")
    drawn(tmp_path / "Normal" / "g.GeoJSON", "Tumor")
    tiles, notes = read(tmp_path, class_map={"Tumor": 1})
    assert [int(tile.mask.max()) for tile in tiles.values()] == [1, 2, 3, 4, 1, 2, 1] and not notes
    assert {tile.context for tile in tiles.values()} == {"normal"}


def test_accents_fit_however_they_are_put_together(tmp_path):
    """A Mac writes them as a letter and a mark, others as one character."""
    composed, taken_apart = (unicodedata.normalize(form, "Präparat") for form in ("NFC", "NFD"))
    save(tmp_path / f"{composed}.png")
    mask(tmp_path / f"{taken_apart}_mask.png", 3)
    tiles, notes = read(tmp_path)
    assert [tile.labelled for tile in tiles.values()] == [True] and not notes


def test_annotations_that_end_in_json_are_named(tmp_path):
    save(tmp_path / "a.png")
    drawn(tmp_path / "a.json", "Tumor")
    (tmp_path / "classes.json").write_text("{}")
    assert read(tmp_path)[1] == {"a.json": "is not used: annotations of QuPath end in .geojson"}


def test_exact_names_come_first(tmp_path):
    for name, label in (("a", 1), ("A", 2)):
        save(tmp_path / f"{name}.png")
        mask(tmp_path / f"{name}_mask.png", label)
    if len(list(tmp_path.iterdir())) < 4:
        pytest.skip("names differ by more than case on this file system")
    tiles, _ = read(tmp_path)
    assert int(tiles["a.png"].mask.max()) == 1 and int(tiles["A.png"].mask.max()) == 2


def test_everything_not_used_is_named_once_with_its_reason(tmp_path):
    save(tmp_path / "a.png")
    mask(tmp_path / "a_mask.png", 1)
    mask(tmp_path / "a-mask.tif", 2)
    drawn(tmp_path / "a.geojson", "Tumor")
    mask(tmp_path / "lost_mask.png", 1)
    drawn(tmp_path / "lost.geojson", "Tumor")
    save(tmp_path / "fat.png")
    drawn(tmp_path / "fat.geojson", "Tumor", "Fat", "Air")
    save(tmp_path / "fit.png")
    save(tmp_path / "fit_mask.png", np.zeros((4, 4), np.uint8))
    save(tmp_path / "clear.png", np.dstack([RGB, RGB[..., 0]]))
    save(tmp_path / "grey.png", RGB[..., 0])
    (tmp_path / "slide.svs").write_bytes(b"x")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    for quiet in ("manifest.csv", "README", "notes.txt", ".DS_Store"):
        (tmp_path / quiet).write_text("x")
    tiles, notes = read(tmp_path, class_map={"Tumor": 1})
    assert list(tiles) == ["a.png", "clear.png"] and int(tiles["a.png"].mask.max()) == 2  # a-mask before a_mask
    assert set(notes) == {
        "a_mask.png", "a.geojson", "lost_mask.png", "lost.geojson", "fat.png", "fit.png", "clear.png", "grey.png",
        "slide.svs", "broken.png", "link.png", "class 'Fat'", "class 'Air'",
    }  # fmt: skip
    assert notes["a.geojson"] == notes["a_mask.png"] == "is not used, since a-mask.tif is"
    assert notes["lost_mask.png"] == "is a mask without a picture of that name"
    assert notes["lost.geojson"] == "is an annotation without a picture of that name"
    assert "no label for some of its classes" in notes["fat.png"] and "first in fat.png" in notes["class 'Fat'"]
    assert "expected a mask of (48, 64), got (4, 4)" in notes["fit.png"]
    assert notes["link.png"] == "is a link to nothing" and "laid on white" in notes["clear.png"]
    with pytest.warns(PictureWarning) as warned:
        list(read_folder(tmp_path, class_map={"Tumor": 1}))
    assert len(warned) == 1 and "4 of 6 pictures left out" in str(warned[0].message)


def test_annotations_without_a_class_map_leave_the_picture_unlabelled(tmp_path):
    save(tmp_path / "a.png")
    drawn(tmp_path / "a.geojson", "Tumor")
    tiles, notes = read(tmp_path)
    assert not tiles["a.png"].labelled and notes == {"a.png": "is used without a mask: a.geojson needs a class map"}


def test_annotations_of_a_turned_picture_are_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    save(tmp_path / "a.png", exif=exif)
    save(tmp_path / "b.png")
    drawn(tmp_path / "a.geojson", "Tumor")
    tiles, notes = read(tmp_path, class_map={"Tumor": 1})
    assert list(tiles) == ["b.png"] and "expected annotations of an upright picture" in notes["a.png"]


def test_linked_folders_are_read_once(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    save(elsewhere / "deep" / "a.png")
    save(data / "b.png")
    (data / "Adenocarcinoma").symlink_to(elsewhere)
    (data / "again").symlink_to(elsewhere)
    (data / "round").symlink_to(data)
    tiles, notes = read(data)
    assert list(tiles) == ["Adenocarcinoma/deep/a.png", "b.png"]
    assert tiles["Adenocarcinoma/deep/a.png"].context == "adenocarcinoma"
    assert notes == dict.fromkeys(("again", "round"), "is a link to a folder that is read already")


def test_results_of_sample_and_edit_are_pairs(tmp_path):
    """The field's case 26."""
    labels = np.random.default_rng(1).integers(0, 5, (48, 64), dtype=np.uint8)
    levels = [np.full((6, 8), n) for n in (1, 0)]
    pair = Pair(RGB, labels, levels, {"steps": 1, "context": "squamous"}, np.zeros((4, 6, 8), np.float32))
    for name in ("0", "1"):
        pair.save(tmp_path / name)
    assert (tmp_path / "0" / "timesteps.webp").exists()
    tiles, notes = read(tmp_path, mpp=0.3)
    assert list(tiles) == ["0/image.png", "1/image.png"] and not notes
    for tile in tiles.values():
        assert np.array_equal(to_rgb(tile.image), RGB) and np.array_equal(tile.mask.numpy(), labels)
        assert tile.context == "squamous" and tile.mpp == 0.3 and "synthetic" in tile.source


def test_a_result_of_the_time_before_air_is_read_as_it_was_painted(tmp_path):
    labels = np.kron(np.arange(5, dtype=np.uint8), np.ones((48, 12), np.uint8))
    for context in ("squamous", "normal"):
        run = {"steps": 1, "context": context, "labels": dict.fromkeys(LABELS[:FIVE_CODES], 0.2)}
        Pair(RGB[:, :60], labels, [], run).save(tmp_path / context)
    tiles, notes = read(tmp_path)
    assert [tile.mask[0, ::12].tolist() for tile in tiles.values()] == [[0, 1, 2, 4, 5], [0, 1, 2, 3, 5]]
    said = "was painted when air had no label: its others are read as air"
    assert notes == {"normal/image.png": said, "squamous/image.png": said}


def test_results_of_slide_are_pairs(tmp_path):
    labels = np.kron(np.random.default_rng(1).integers(0, 5, (20, 22), dtype=np.uint8), np.ones((32, 32), np.uint8))
    large = np.full((640, 704, 3), (200, 90, 160), np.uint8)
    write_image(tmp_path / "image.ome.tif", [(0, 0, large)], labels.shape, mpp=0.5)
    write_mask(tmp_path / "mask.ome.tif", [(0, 0, labels)], labels.shape, mpp=0.5)
    (tmp_path / "image.dzi").write_text("<Image/>")
    save(tmp_path / "image_files" / "0" / "0_0.jpeg")
    (tmp_path / "run.json").write_text(json.dumps({"steps": 1, "context": None, "mpp": 0.5}))
    tiles, notes = read(tmp_path, mpp=0.25)
    assert list(tiles) == ["image.ome.tif"] and not notes
    tile = tiles["image.ome.tif"]
    assert np.array_equal(tile.mask.numpy(), labels) and tile.mpp == 0.5 and tile.context == ""
    assert np.array_equal(to_rgb(tile.image), tifffile.imread(tmp_path / "image.ome.tif"))


def test_class_map_to_no_label(tmp_path):
    with pytest.raises(ValueError, match="class map to labels 0 to 5 or their names, got 'tumour' for Tumor"):
        list(read_folder(tmp_path, class_map={"Tumor": "tumour"}))


def test_folder_without_pictures(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="folder with pictures"):
            list(read_folder(folder))
    mask(tmp_path / "a_mask.png", 1)
    with pytest.raises(ValueError, match=r"a_mask\.png: is a mask without a picture"):
        list(read_folder(tmp_path))
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(ValueError, match="1 unreadable ones, first broken"):
        list(read_folder(tmp_path))


def test_find_opens_no_file(tmp_path):
    for name in ("b.png", "a.png", "a_mask.png"):
        (tmp_path / name).write_bytes(b"")
    assert find(tmp_path).pictures == [(tmp_path / "a.png", tmp_path / "a_mask.png"), (tmp_path / "b.png", None)]


def test_a_result_with_its_mask_as_annotations_too_is_read_without_a_word(tmp_path):
    """`sample` writes mask.png and mask.geojson; with the former gone, the latter takes its place."""
    mask = np.repeat(np.array([1, 3], np.uint8), 16)[None].repeat(32, 0)
    pair = Pair(np.zeros((32, 32, 3), np.uint8), mask, [], {"steps": 1})
    pair.save(tmp_path / "run")
    notes = []
    (tile,) = read_folder(tmp_path, notes=notes)
    assert np.array_equal(tile.mask.numpy(), mask) and not notes
    (tmp_path / "run" / "mask.png").unlink()
    (tile,) = read_folder(tmp_path, class_map={"Tumor": 1, "Stroma": 3}, notes=notes)
    assert np.array_equal(tile.mask.numpy(), mask) and not notes


def test_a_mask_as_an_array_is_named(tmp_path):
    """Arrays are no pictures and lie in many folders; one that is called a mask had been dropped without a word."""
    save(tmp_path / "a.png")
    np.save(tmp_path / "a_mask.npy", np.ones(RGB.shape[:2], np.uint8))
    np.save(tmp_path / "a.npy", np.ones(3))
    tiles, notes = read(tmp_path)
    assert not tiles["a.png"].labelled and list(notes) == ["a_mask.npy"]
    assert notes["a_mask.npy"].startswith("is no picture that can be read")


@pytest.mark.parametrize("label", [True, 6, -1, None, 1.5, [1], "Carcinoma"])
def test_class_maps_to_what_is_no_label(tmp_path, label):
    with pytest.raises(ValueError, match="expected a class map to labels 0 to 5 or their names"):
        list(read_folder(tmp_path, class_map={"Tumor": label}))
