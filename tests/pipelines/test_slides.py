"""Slide files: pyramids that tifffile and OpenSlide open, their pixels, and a slide from end to end."""

import json
import re
import shutil

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.labels import LABEL_COLOURS
from diffinfinite_lite.pipelines import slide, slide_files
from diffinfinite_lite.pipelines.dzi import write_dzi
from diffinfinite_lite.pipelines.passport import make_passport
from diffinfinite_lite.pipelines.pyramid import halve, halve_mask, halve_picture, pyramid
from diffinfinite_lite.pipelines.slide_files import read_levels, write_image, write_mask

SIZE = (1301, 700)
LEVELS = [(1301, 700), (651, 350), (326, 175)]


def smooth(height, width):
    rows, columns = np.mgrid[:height, :width]
    across = (rows + columns) * 255 // (height + width)
    return np.stack([rows * 255 // height, columns * 255 // width, across], -1).astype(np.uint8)


def coarse(picture):
    """Means of blocks of 8 x 8 px."""
    height, width = picture.shape[:2]
    return picture.reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3))


def cut(picture, rows, columns):
    """The picture in parts of so many rows and columns."""
    for top in range(0, picture.shape[0], rows):
        for left in range(0, picture.shape[1], columns):
            yield top, left, picture[top : top + rows, left : left + columns]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    write_image(folder / "image.ome.tif", cut(smooth(*SIZE), 300, 511), SIZE, mpp=0.25)
    labels = np.random.default_rng(0).integers(0, 5, (27, 15)).astype(np.uint8).repeat(50, 0).repeat(50, 1)
    write_mask(folder / "mask.ome.tif", cut(labels[: SIZE[0], : SIZE[1]], 33, 700), SIZE, mpp=0.25)
    np.save(folder / "labels.npy", labels[: SIZE[0], : SIZE[1]])
    return folder


def test_the_same_run_writes_the_same_file(tmp_path):
    """Each time it had had another UUID: a slide that went on was not the file of one that never stopped."""
    files = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        for write, pixels in ((write_image, smooth(64, 96)), (write_mask, smooth(64, 96)[..., 0] % 6)):
            path = tmp_path / folder / f"{write.__name__}.ome.tif"
            write(path, [(0, 0, pixels)], (64, 96), mpp=0.5, passport=make_passport({"seed": seed}))
            files.append(path)
    contents = [file.read_bytes() for file in files]
    assert contents[:2] == contents[2:4] and contents[0] != contents[4]
    uuids = [re.search(rb'UUID="urn:uuid:([-0-9a-f]{36})"', content)[1] for content in contents]
    assert len(set(uuids)) == 4


@pytest.mark.parametrize("name", ["image", "mask"])
def test_openslide_and_tifffile_see_all_levels_and_the_pixel_size(folder, name):
    path = folder / f"{name}.ome.tif"
    with OpenSlide(path) as slide:
        assert slide.level_dimensions == tuple((width, height) for height, width in LEVELS)
        assert slide.properties["openslide.mpp-x"] == slide.properties["openslide.mpp-y"] == "0.25"
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        assert file.is_ome and file.is_bigtiff and [level.shape[:2] for level in series.levels] == LEVELS
        assert all(level.keyframe.is_tiled and level.keyframe.tile == (512, 512) for level in series.levels)
        about = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert about["PhysicalSizeX"] == about["PhysicalSizeY"] == 0.25 and about["PhysicalSizeXUnit"] == "µm"
    assert sorted(p.name for p in folder.iterdir()) == ["image.ome.tif", "labels.npy", "mask.ome.tif"]


def test_levels_are_chained_whatever_tifffile_does(folder, tmp_path):
    """On a machine with another tifffile OpenSlide once found fewer levels than were written."""
    path = shutil.copy(folder / "image.ome.tif", tmp_path)
    with tifffile.TiffFile(path) as file:
        directories, levels = [file.pages.first.offset, *file.pages.first.subifds], len(file.series[0].levels)
    with open(path, "r+b") as file:
        for here in directories:
            file.seek(here)
            file.seek(here + 8 + 20 * int.from_bytes(file.read(8), "little"))
            file.write(bytes(8))  # each directory is the last one
    with OpenSlide(path) as slide:
        assert slide.level_count == 1 < levels
    slide_files._chain_directories(path)
    with OpenSlide(path) as slide:
        assert slide.level_count == levels


def test_pixels_of_the_picture(folder):
    picture = smooth(*SIZE)
    with tifffile.TiffFile(folder / "image.ome.tif") as file, OpenSlide(folder / "image.ome.tif") as slide:
        for k, level in enumerate(file.series[0].levels):
            assert np.abs(level.asarray().astype(int) - picture).max() < 16  # JPEG
            height, width = picture.shape[:2]
            seen = np.asarray(slide.read_region((0, 0), k, (width, height)))
            assert np.abs(seen[..., :3].astype(int) - picture).max() < 16 and (seen[..., 3] == 255).all()
            picture = halve_picture(picture)


def test_labels_are_exact_at_every_level_and_have_their_colours(folder):
    labels = np.load(folder / "labels.npy")
    with tifffile.TiffFile(folder / "mask.ome.tif") as file, OpenSlide(folder / "mask.ome.tif") as slide:
        for k, level in enumerate(file.series[0].levels):
            assert np.array_equal(level.asarray(), labels)
            seen = np.asarray(slide.read_region((0, 0), k, labels.shape[::-1]))[..., :3]
            assert np.array_equal(seen, np.array(LABEL_COLOURS)[labels])
            labels = halve_mask(labels)


def test_levels_are_read_from_the_file_and_go_on_to_one_pixel(folder):
    with tifffile.TiffFile(folder / "image.ome.tif") as file:
        smallest = [level.asarray() for level in file.series[0].levels]
    expected = [*smallest, *list(pyramid(smallest[-1]))[1:]]
    with read_levels(folder / "image.ome.tif") as levels:
        for level, whole in zip(levels, expected, strict=True):
            assert level.shape == whole.shape
            assert np.array_equal(level[100:130, 200:290], whole[100:130, 200:290])


def test_deep_zoom_tiles_cover_the_slide(folder, tmp_path):
    with read_levels(folder / "image.ome.tif") as levels:
        write_dzi(levels, tmp_path, "image", quality=90)
    assert 'Height="1301"' in (text := (tmp_path / "image.dzi").read_text()) and 'Width="700"' in text
    picture, levels = smooth(*SIZE), range(11, -1, -1)
    for level in levels:
        covered = 0
        for path in (tmp_path / f"image_files/{level}").iterdir():
            left, top = (max(0, 254 * int(n) - 1) for n in path.stem.split("_"))
            tile = np.asarray(Image.open(path).convert("RGB")).astype(int)
            expected = picture[top : top + len(tile), left : left + tile.shape[1]]
            assert tile.shape == expected.shape
            assert level < 8 or np.abs(tile - expected).max() < 24  # JPEG; on smaller levels the picture is steep
            covered += tile[top > 0 :, left > 0 :].size
        assert covered >= picture.size
        picture = halve(picture)
    assert Image.open(tmp_path / "image_files/0/0_0.jpeg").size == (1, 1)


def test_one_deep_zoom_of_a_mask_and_of_its_file(folder, tmp_path):
    """The viewer of a page and a slide file halve a mask in the same way."""
    with read_levels(folder / "mask.ome.tif") as levels:
        write_dzi(levels, tmp_path, "file")
    write_dzi(pyramid(np.load(folder / "labels.npy")), tmp_path, "array")
    for path in (tmp_path / "array_files").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "file_files" / path.relative_to(tmp_path / "array_files")).read_bytes()


def test_one_tile_is_a_pyramid_of_one_level(tmp_path):
    write_image(tmp_path / "small.ome.tif", [(0, 0, smooth(64, 512))], (64, 512), mpp=0.5)
    with OpenSlide(tmp_path / "small.ome.tif") as slide:
        assert slide.level_dimensions == ((512, 64),)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([(0, 0, smooth(10, 20))], "expected parts that add up to 11x20 px, got -20 px"),
        ([(0, 0, smooth(11, 20)), (0, 0, smooth(1, 7))], r"add up to 11x20 px, got \+7 px"),
        ([(0, 0, smooth(11, 20)), (11, 0, smooth(5, 20))], "expected parts within 11x20 px, got one up to 16x20"),
        ([(0, 1, smooth(11, 20))], "got one up to 11x21"),
        ([(0, 0, smooth(11, 20)[..., 0])], r"parts uint8 \(rows, columns, 3\), got uint8 of shape \(11, 20\)"),
        ([(0, 0, smooth(11, 20) / 255)], "got float64"),
    ],
)
def test_parts_that_do_not_fit_are_refused_and_leave_nothing(tmp_path, parts, message):
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / "image.ome.tif", parts, (11, 20), mpp=0.5)
    assert not list(tmp_path.iterdir())


SETTINGS = {"context": "squamous", "size": (64, 136), "steps": 2, "seed": 3}


@pytest.fixture(scope="module")
def finished(one_stage, tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    seen = []
    run = slide.generate_slide(
        **SETTINGS, store=root / "store", out=root / "out",
        progress=lambda items, total, part: (seen.append((part, total)) or item for item in items),
    )  # fmt: skip
    return root, run, seen


def test_slide_is_the_pair_of_the_same_seed(finished):
    root, run, seen = finished
    pair = generate(**SETTINGS)
    with tifffile.TiffFile(root / "out/image.ome.tif") as file:
        assert np.abs(coarse(file.asarray()) - coarse(pair.image)).max() < 4  # JPEG loses what is fine
    assert np.array_equal(tifffile.imread(root / "out/mask.ome.tif"), pair.mask)
    assert seen == [("mask", 20)] * 20 + [("sampling", 2)] * 2 + [("decoding", 1)]
    assert json.loads((root / "out/run.json").read_text()) == run
    for key in ("network_evaluations", "windows", "sequential_depth", "labels", "weights", "size"):
        assert run[key] == pair.run[key]
    assert run["peak_memory_mb"] > 0 and {"network", "canvas", "decoding", "pyramids"} <= run["seconds"].keys()


def test_results_are_kept_unless_forced_and_need_no_network_again(finished):
    root, run, _ = finished
    with pytest.raises(FileExistsError, match=r"found image.ome.tif \(--force overwrites\)"):
        slide.generate_slide(**SETTINGS, store=root / "store", out=root / "out")
    before, steps = tifffile.imread(root / "out/image.ome.tif"), []
    again = slide.generate_slide(
        **SETTINGS, store=root / "store", out=root / "out", force=True,
        progress=lambda items, total, part: (steps.append(getattr(item, "step", part)) or item for item in items),
    )  # fmt: skip
    assert steps[-2:] == [1, "decoding"]  # the last level again
    assert np.array_equal(tifffile.imread(root / "out/image.ome.tif"), before)
    assert again["network_evaluations"] == run["network_evaluations"]


def test_killed_while_results_get_their_names(finished, monkeypatch, tmp_path):
    root, _, _ = finished
    names, replace = iter(slide.RESULTS), slide.os.replace

    def die(source, target):
        if target.parent == tmp_path and next(names) == "image.dzi":
            raise SystemExit("killed")
        replace(source, target)

    monkeypatch.setattr(slide.os, "replace", die)
    with pytest.raises(SystemExit):
        slide.generate_slide(**SETTINGS, store=root / "store", out=tmp_path)
    monkeypatch.setattr(slide.os, "replace", replace)
    assert not (tmp_path / "run.json").exists()
    slide.generate_slide(**SETTINGS, store=root / "store", out=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(slide.RESULTS)


def test_the_store_of_another_seed_is_refused_and_nothing_is_written(finished, tmp_path):
    root, _, _ = finished
    with pytest.raises(ValueError, match="seed is 3 there and 4 here"):
        slide.generate_slide(**SETTINGS | {"seed": 4}, store=root / "store", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_mask_from_a_file(tmp_path):
    mask = np.random.default_rng(0).integers(0, 5, (8, 9)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    places = {"store": tmp_path / "store", "out": tmp_path / "out"}
    run = slide.generate_slide(None, tmp_path / "mask.png", steps=1, **places)
    assert np.array_equal(tifffile.imread(tmp_path / "out/mask.ome.tif"), mask)
    assert run["size"] == [64, 72] and sum(run["labels"].values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": None}, "expected a context or a mask, got neither"),
        ({"size": (100, 64)}, "got 100x64"),
        ({"patch": 100}, "got 100"),
        ({"workers": 0}, "a number of workers from 1, got cluster=None and workers=0"),
        ({"plan": "quilt"}, "got 'quilt'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        slide.generate_slide(**SETTINGS | change, store=tmp_path / "store", out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*/*"))


def test_a_full_disk_while_writing(finished, monkeypatch, tmp_path):
    root, _, _ = finished

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(slide_files, "_chain_directories", full)
    with pytest.raises(OSError, match=r"no space left for .*: all 2 levels are safe in .*store; free some and run"):
        slide.generate_slide(**SETTINGS, store=root / "store", out=tmp_path)
    monkeypatch.undo()
    slide.generate_slide(**SETTINGS, store=root / "store", out=tmp_path)
    shutil.rmtree(tmp_path)
