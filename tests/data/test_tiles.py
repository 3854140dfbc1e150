"""Tiles: what one is, reading one with its mask, and cutting it."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffinfinite_lite.data.pictures import Note
from diffinfinite_lite.data.tiles import Tile, cut, read_tile, readable, to_rgb, to_tensor


def blank(height=64, width=64, value=0, **fields):
    mask = torch.full((height, width), value, dtype=torch.uint8)
    return Tile(torch.zeros(3, height, width), mask, **fields)


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def save(array, path, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_image_round_trip(rgb):
    image = to_tensor(rgb)
    assert image.shape == (3, 48, 64) and image.min() >= -1 and image.max() <= 1
    assert np.array_equal(to_rgb(image), rgb)


def test_tile_checks_shapes():
    with pytest.raises(ValueError, match=r"mask \(H, W\)"):
        Tile(torch.zeros(3, 8, 8), torch.zeros(8, 9))


def test_picture_and_mask_become_a_tile(tmp_path, rgb):
    labels = (rgb[..., 0] % 6).astype(np.uint8)
    tile = read_tile(save(rgb, tmp_path / "a.png"), save(labels, tmp_path / "m.png"), mpp=0.25)
    assert tile.name == "a.png" and tile.mpp == 0.25
    assert np.array_equal(to_rgb(tile.image), rgb) and np.array_equal(tile.mask.numpy(), labels)
    assert not read_tile(tmp_path / "a.png").labelled


def test_mask_of_another_size(tmp_path, rgb):
    with pytest.raises(ValueError, match=r"mask of \(48, 64\)"):
        read_tile(save(rgb, tmp_path / "a.png"), np.zeros((4, 4), np.uint8))


def test_mask_that_does_not_fit_the_upright_picture_is_named(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    notes = []
    path = save(rgb, tmp_path / "a.jpg", exif=exif)
    with pytest.raises(ValueError, match=r"mask of \(64, 48\), got \(48, 64\) for .*a\.jpg, which was turned upright"):
        read_tile(path, np.zeros((48, 64), np.uint8), notes=notes)
    assert notes == [Note("a.jpg", "was turned upright as its orientation tag says")]


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


def test_what_cannot_be_read_is_named_once_at_the_end():
    def read(item):
        if item % 2:
            raise ValueError(f"expected an even number, got {item}")
        return item

    with pytest.warns(UserWarning) as warned:
        assert list(readable([1, 2, 3], read)) == [2]
    assert str(warned[0].message) == (
        "left out 2 of 3 files:\n1: expected an even number, got 1\n3: expected an even number, got 3"
    )
    assert len(warned) == 1
    with pytest.raises(ValueError, match="got 2 unreadable ones, first 1: expected an even number"):
        list(readable([1, 3], read))
