"""The out-of-domain columns of Table 2: which tiles go in, with which labels, and what is done to their stain."""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from diffinfinite_lite.data.stain import profiles
from diffinfinite_lite.data.tiles import Tile, to_rgb, to_tensor

SPEC = importlib.util.spec_from_file_location("tables_benchmark", Path(__file__).parents[2] / "benchmarks/tables.py")
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)

SHIPPED = {
    "osteosarcoma": (1024, ["Viable-1.jpg", "Non-Viable-1.jpg", "Non-Tumor-1.jpg"]),
    "crc-val-he-7k-sample": (224, ["TUM-1.tif", "STR-1.tif"]),
}


def shipped(name, normalised=False, **_):
    """Tiles of these names, each pixel its own place, so that a crop shows."""
    side, names = SHIPPED[name]
    assert normalised
    place = torch.linspace(-1, 1, side)
    image = torch.stack([place[:, None].expand(side, side), place.expand(side, side), torch.zeros(side, side)])
    return (Tile(image, torch.zeros(side, side, dtype=torch.uint8), name=each) for each in names)


@pytest.fixture
def colon(tmp_path):
    rng = np.random.default_rng(0)
    for tissue in ("STR", "TUM"):
        (tmp_path / "colon" / tissue).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (224, 224, 3), np.uint8)).save(tmp_path / "colon" / tissue / "a.tif")
    return tmp_path / "colon"


@pytest.fixture
def lymph(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 96, 96, 3), dtype=np.uint8)
    for part, values in (("x", pixels), ("y", np.array([0, 1, 1, 0, 1, 0], np.uint8).reshape(6, 1, 1, 1))):
        with h5py.File(tmp_path / f"camelyonpatch_level_2_split_test_{part}.h5", "w") as file:
            file[part] = values
    return tmp_path, pixels


@pytest.fixture(autouse=True)
def without_network(monkeypatch):
    """Features are the images themselves."""
    monkeypatch.setattr(benchmark.catalog, "load", shipped)
    monkeypatch.setattr(benchmark, "dense_features", list)


def test_the_sets_that_are_always_there():
    found = benchmark.out_of_domain(None, None, None)
    assert list(found) == ["osteosarcoma", "CRC-7K sample"]
    images, truth = found["osteosarcoma"]
    assert truth == [True, False]  # dead tumour is neither carcinoma nor free of it: left out
    whole = next(shipped("osteosarcoma", normalised=True)).image
    torch.testing.assert_close(images[0], whole[:, 256:768, 256:768])
    assert found["CRC-7K sample"][1] == [True, False]
    assert [image.shape[-1] for image in found["CRC-7K sample"][0]] == [224, 224]


def test_full_sets_in_their_published_formats(colon, lymph, monkeypatch):
    """Colon tiles get the sample's stain, of one laboratory; lymph nodes come from several and are left as they are."""
    seen = []
    monkeypatch.setattr(benchmark, "normalise", lambda rgb, stain: seen.append(stain) or 255 - rgb)
    folder, pixels = lymph
    found = benchmark.out_of_domain(colon, colon, folder)
    assert list(found)[2:] == ["NCT-100K", "CRC-7K", "PCam"]
    for name in ("NCT-100K", "CRC-7K"):
        images, truth = found[name]
        assert truth == [False, True]
        rgb = np.array(Image.open(colon / "TUM" / "a.tif"))
        torch.testing.assert_close(images[1], to_tensor(255 - rgb))
    assert seen == [profiles()["crc-val-he-7k-sample"]] * 4
    images, truth = found["PCam"]
    assert truth == [False, True, True, False, True, False]
    np.testing.assert_array_equal([to_rgb(image) for image in images], pixels)


def test_a_set_that_was_not_given_is_no_column(colon):
    assert list(benchmark.out_of_domain(None, colon, None))[2:] == ["CRC-7K"]
    with pytest.raises(ValueError, match="folders such as TUM"):
        benchmark.out_of_domain(colon / "nowhere", None, None)
