"""The endless slide: tiles and regions are the same bits by any way, and a region is a slide like any other."""

import json
import shutil

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

from diffinfinite_lite import cli
from diffinfinite_lite.data.mask_files import read_mask
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.masks import TwoScaleMask
from diffinfinite_lite.pipelines import endless, region
from diffinfinite_lite.pipelines.endless import TILE_PX, Endless
from diffinfinite_lite.pipelines.passport import read_passport
from diffinfinite_lite.pipelines.pyramid import halve
from diffinfinite_lite.pipelines.slide import RESULTS
from diffinfinite_lite.sampling.windows import Window

SETTINGS = {"steps": 2, "device": "cpu", "seed": 4, "stride": 64}
PLACES = [(-1, -1), (-1, 0), (0, -1), (0, 0)]


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(endless, "STEPS", 2)  # of the mask
        yield


@pytest.fixture(scope="module")
def whole(tiny_weights, tmp_path_factory):
    """A slide on disk, and four of its tiles around the middle, in reading order."""
    store = tmp_path_factory.mktemp("endless") / "cache"
    slide = Endless("squamous", weights=tiny_weights, store=store, **SETTINGS)
    return store, slide, {(kind, *at): slide.tile(kind, 0, *at) for at in PLACES for kind in endless.KINDS}


def test_another_order_of_panning_and_a_tile_alone_are_the_same_bits(whole, tiny_weights):
    _, _, tiles = whole
    other = Endless("squamous", weights=tiny_weights, **SETTINGS)
    for at in PLACES[::-1]:
        for kind in endless.KINDS[::-1]:
            assert np.array_equal(other.tile(kind, 0, *at), tiles[kind, *at])
    alone = Endless("squamous", weights=tiny_weights, **SETTINGS)
    assert np.array_equal(alone.tile("image", 0, 0, -1), tiles["image", 0, -1])


def test_zoomed_out_four_tiles_are_one(whole):
    _, slide, tiles = whole
    for kind in endless.KINDS:
        for row, column in PLACES:
            quarter = slice(TILE_PX // 2) if row == 0 else slice(TILE_PX // 2, TILE_PX)
            across = slice(TILE_PX // 2) if column == 0 else slice(TILE_PX // 2, TILE_PX)
            found = slide.tile(kind, 1, row, column)[quarter, across]
            assert np.array_equal(found, halve(tiles[kind, row, column]))


def test_after_a_restart_nothing_is_computed_again(whole, tiny_weights):
    store, _, tiles = whole
    again = Endless("squamous", weights=tiny_weights, store=store, **SETTINGS)
    for (kind, *at), pixels in tiles.items():
        assert np.array_equal(again.tile(kind, 0, *at), pixels)
    assert again.ledger.evaluations == 0
    other = Endless("normal", weights=tiny_weights, store=store, **SETTINGS)  # the file is shared, nothing in it is
    assert not np.array_equal(other.tile("mask", 0, 0, 0), tiles["mask", 0, 0])
    assert other.ledger.evaluations > 0


def test_a_region_is_written_as_a_slide_and_is_what_the_viewer_shows(whole, tmp_path, monkeypatch):
    _, slide, tiles = whole
    place = Window(-100, -30, 180, 90)
    written = {}
    write = region.write_image

    def keep(path, parts, size, **options):
        parts = list(parts)
        written.update({(top, left): pixels for top, left, pixels in parts})
        write(path, parts, size, **options)

    monkeypatch.setattr(region, "write_image", keep)
    run = region.write_region(slide, place, tmp_path / "out", mpp=0.5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(RESULTS)
    assert run["region"] == [-30, -100, 90, 180] and run["size"] == [180, 90]
    assert np.array_equal(written[0, 0], tiles["image", -1, -1][-100:, -30:])  # before JPEG
    assert np.array_equal(written[100, 30], tiles["image", 0, 0][:80, :60])
    mask = tifffile.imread(tmp_path / "out/mask.ome.tif")
    assert np.array_equal(mask[100:, 30:], tiles["mask", 0, 0][:80, :60]) and mask.shape == (180, 90)
    assert np.array_equal(read_mask(tmp_path / "out/mask.geojson"), mask)
    assert tifffile.imread(tmp_path / "out/image.ome.tif").shape == (180, 90, 3)
    assert read_passport(tmp_path / "out/image.ome.tif")["run"]["region"] == run["region"]
    assert json.loads((tmp_path / "out/run.json").read_text()) == run
    with pytest.raises(FileExistsError):
        region.write_region(slide, place, tmp_path / "out", mpp=0.5)


def test_the_command_writes_a_region(whole, tiny_weights, tmp_path):
    store, _, tiles = whole
    command = ["slide", "--region", "0,0,64,72", "--context", "squamous", "--store", store, "--out", tmp_path / "out"]
    options = ["--weights", tiny_weights, "--steps", 2, "--stride", 64, "--seed", 4, "--device", "cpu"]
    result = CliRunner().invoke(cli.app, [str(each) for each in command + options])
    assert result.exit_code == 0, result.output
    assert "0 network evaluations" in result.output  # all of it was in the cache
    assert np.array_equal(tifffile.imread(tmp_path / "out/mask.ome.tif"), tiles["mask", 0, 0][:72, :64])


def test_a_mask_of_two_scales_is_the_same_whatever_was_asked_for_first(tiny_weights, tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(tiny_weights, weights)
    torch.manual_seed(1)
    model = TwoScaleMask((16, 24), (16, 24))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    checkpoint.save(weights / "mask.safetensors", model.state_dict(), model.config)
    hashes = json.loads((weights / "hashes.json").read_text())
    hashes["mask"] = checkpoint.sha256(weights / "mask.safetensors")
    (weights / "hashes.json").write_text(json.dumps(hashes))
    places = [(0, 0), (-1, 0), (-1, -1)]
    one, other = (Endless("squamous", weights=weights, **SETTINGS) for _ in range(2))
    forth = {at: one.tile("mask", 0, *at) for at in places}
    back = {at: other.tile("mask", 0, *at) for at in places[::-1]}
    assert all(np.array_equal(forth[at], back[at]) for at in places)
    assert len({tile.tobytes() for tile in forth.values()}) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": "lung"}, "expected a context among adenocarcinoma, squamous, normal, got 'lung'"),
        ({"plan": "torus-grid", "stride": None}, "expected the plan mixture"),
        ({"steps": 50}, "expected at most 12 steps"),
        ({"masks": "layout"}, "expected masks by the model, as a layout ends somewhere, got 'layout'"),
        ({"steps": 0}, "steps to be a whole number from 1"),
    ],
)
def test_what_cannot_be_endless_is_refused(tiny_weights, settings, message):
    with pytest.raises(ValueError, match=message):
        Endless(**{"context": "normal", "weights": tiny_weights, **SETTINGS, **settings})


def test_regions_without_extent_and_tiles_out_of_reach_are_refused(whole, tmp_path):
    _, slide, _ = whole
    with pytest.raises(ValueError, match="at least 8 px a side, got 0 x 9"):
        region.write_region(slide, Window(0, 0, 9, 0), tmp_path / "out", mpp=0.5)
    for kind, zoom in (("image", 4), ("image", -1), ("tissue", 0)):
        with pytest.raises(ValueError, match="expected one of image, mask and a zoom from 0 to 3"):
            slide.tile(kind, zoom, 0, 0)
    assert not (tmp_path / "out").exists()
