"""Deep Zoom: tiles as OpenSlide cuts them, labels without loss, and regions read only as they are needed."""

import re

import numpy as np
import pytest
from openslide import ImageSlide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from diffinfinite_lite.labels import LABEL_COLOURS
from diffinfinite_lite.pipelines.dzi import OVERLAP, TILE, write_dzi
from diffinfinite_lite.pipelines.pyramid import pyramid

SHAPE = (300, 523)


@pytest.fixture(scope="module")
def picture():
    """Smooth, so that JPEG keeps it; different everywhere, so that a misplaced tile is seen."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([rows * 255 // SHAPE[0], columns * 255 // SHAPE[1], np.full(SHAPE, 128)], -1).astype(np.uint8)


@pytest.fixture(scope="module")
def mask():
    return (np.add.outer(np.arange(SHAPE[0]) // 40, np.arange(SHAPE[1]) // 40) % 6).astype(np.uint8)


@pytest.mark.parametrize("shape", [SHAPE, (254, 254), (255, 509), (1, 3), (1, 1)])
def test_tiles_are_those_of_openslide(shape, picture, tmp_path):
    picture = picture[: shape[0], : shape[1]]
    oracle = DeepZoomGenerator(ImageSlide(Image.fromarray(picture)), TILE, OVERLAP)
    write_dzi(pyramid(picture), tmp_path, "p")
    levels = sorted(int(folder.name) for folder in (tmp_path / "p_files").iterdir())
    assert levels == list(range(oracle.level_count))
    for level in levels:
        columns, rows = oracle.level_tiles[level]
        tiles = {path.stem for path in (tmp_path / "p_files" / str(level)).iterdir()}
        assert tiles == {f"{column}_{row}" for column in range(columns) for row in range(rows)}
        for name in tiles:
            tile = Image.open(tmp_path / "p_files" / str(level) / f"{name}.jpeg")
            address = tuple(map(int, name.split("_")))
            assert tile.size == oracle.get_tile_dimensions(level, address)
            if level == levels[-1]:
                expected = oracle.get_tile(level, address)
                assert np.abs(np.asarray(tile).astype(int) - np.asarray(expected)).max() < 12  # JPEG
    ours, theirs = (tmp_path / "p.dzi").read_text(), oracle.get_dzi("jpeg")
    for attribute in ("xmlns", "Format", "Overlap", "TileSize", "Width", "Height"):
        value = re.compile(f'{attribute}="([^"]+)"')
        assert value.search(ours)[1] == value.search(theirs)[1]


def test_mask_tiles_hold_the_labels_in_their_colours(mask, tmp_path):
    about = write_dzi(pyramid(mask), tmp_path, "m")
    whole = np.zeros(SHAPE, np.uint8)
    for path in (tmp_path / "m_files/10").iterdir():
        column, row = map(int, path.stem.split("_"))
        tile = Image.open(path)
        top, left = max(0, row * TILE - 1), max(0, column * TILE - 1)
        whole[top : top + tile.height, left : left + tile.width] = np.asarray(tile)
        assert np.array_equal(np.reshape(tile.getpalette()[:18], (6, 3)), LABEL_COLOURS)
    assert np.array_equal(whole, mask)
    assert about["Format"] == "png" and about["Size"] == {"Width": "523", "Height": "300"}


def test_only_the_regions_of_tiles_are_read(mask, tmp_path):
    """A level may be a file: whatever is written of it is one tile at most."""

    class Read:
        def __init__(self, level):
            self.level, self.shape = level, level.shape

        def __getitem__(self, region):
            part = self.level[region]
            assert max(part.shape) <= TILE + 2 * OVERLAP
            return part

    write_dzi(map(Read, pyramid(mask)), tmp_path, "read")
    write_dzi(pyramid(mask), tmp_path, "array")
    for path in (tmp_path / "array_files").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "read_files" / path.relative_to(tmp_path / "array_files")).read_bytes()


def test_earlier_tiles_are_removed(picture, tmp_path):
    write_dzi(pyramid(picture), tmp_path, "p")
    write_dzi(pyramid(picture[:100, :100]), tmp_path, "p")
    assert sorted(int(folder.name) for folder in (tmp_path / "p_files").iterdir()) == list(range(8))


def test_levels_that_do_not_reach_one_pixel_are_refused(picture, tmp_path):
    with pytest.raises(ValueError):
        write_dzi([picture], tmp_path, "p")
