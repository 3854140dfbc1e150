"""Loaders of the published formats, on small files of the same formats written here."""

import sys

import h5py
import numpy as np
import public_sets
import pytest
from PIL import Image

from diffinfinite_lite.data.tiles import to_rgb


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (20, 96, 96, 3), dtype=np.uint8)


@pytest.fixture
def colon(tmp_path):
    """Nine folders of 224-px TIFF files, named as on Zenodo."""
    rng = np.random.default_rng(0)
    for tissue in public_sets.TISSUES:
        (tmp_path / tissue).mkdir()
        for code in ("AAAC", "AABD", "AACE"):
            rgb = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
            Image.fromarray(rgb).save(tmp_path / tissue / f"{tissue}-TCGA-{code}.tif")
    return tmp_path


@pytest.fixture
def lymph(tmp_path, pictures):
    stem = f"{tmp_path}/camelyonpatch_level_2_split_test"
    with h5py.File(f"{stem}_x.h5", "w") as file:
        file.create_dataset("x", data=pictures, chunks=(1, 96, 96, 3), compression="gzip")
    with h5py.File(f"{stem}_y.h5", "w") as file:
        file["y"] = (np.arange(20) % 2).astype(np.uint8).reshape(20, 1, 1, 1)
    return tmp_path


@pytest.mark.parametrize("load", [public_sets.nct_crc_he_100k, public_sets.crc_val_he_7k])
def test_colorectal_sets(colon, load):
    found = list(load(colon))
    assert len(found) == 27 and sum(t.carcinoma for t in found) == 3
    assert [t.label for t in found][::3] == list(public_sets.TISSUES)
    tile = found[0].tile
    rgb = np.array(Image.open(colon / "ADI" / "ADI-TCGA-AAAC.tif"))
    np.testing.assert_array_equal(to_rgb(tile.image), rgb)
    assert tile.mpp == 0.5 and tile.licence == "CC BY 4.0" and not tile.labelled
    assert tile.name == "ADI/ADI-TCGA-AAAC.tif" and tile.source == load.__name__.replace("_", "-").upper()


def test_a_limit_is_for_each_tissue(colon):
    found = list(public_sets.crc_val_he_7k(colon, limit=2))
    assert len(found) == 18 and [t.tile.cluster[-4:] for t in found[:2]] == ["AAAC", "AACE"]


def test_some_tissues_are_enough_but_none_is_not(colon, tmp_path):
    for tissue in public_sets.TISSUES[:-1]:
        for path in (colon / tissue).iterdir():
            path.unlink()
    assert {t.label for t in public_sets.nct_crc_he_100k(colon)} == {"TUM"}
    with pytest.raises(ValueError, match="folders such as TUM"):
        list(public_sets.nct_crc_he_100k(tmp_path / "nowhere"))


def test_a_damaged_file_is_named_and_skipped(colon):
    (colon / "TUM" / "TUM-TCGA-AABD.tif").write_bytes(b"II*\0 broken")
    with pytest.warns(UserWarning, match=r"TUM/TUM-TCGA-AABD\.tif|skipped 1 of 27|EXIF"):
        assert len(list(public_sets.crc_val_he_7k(colon))) == 26


def test_patch_camelyon(lymph, pictures):
    found = list(public_sets.pcam(lymph))
    assert [t.carcinoma for t in found] == [False, True] * 10 and {t.label for t in found} == {"normal", "tumour"}
    np.testing.assert_array_equal([to_rgb(t.tile.image) for t in found], pictures)
    assert found[3].tile.mpp == 0.972 and found[3].tile.cluster == "3" and found[3].tile.name == "test/3"
    assert [t.tile.name for t in public_sets.pcam(lymph, limit=2)] == ["test/0", "test/19"]


def test_slides_of_patch_camelyon(lymph):
    rows = [f"{i},10,20,True,True,camelyon16_{i // 10}" for i in range(20)]
    meta = lymph / "camelyonpatch_level_2_split_test_meta.csv"
    meta.write_text("\n".join([",coord_y,coord_x,tumor_patch,center_tumor_patch,wsi", *rows]))
    assert {t.tile.cluster for t in public_sets.pcam(lymph)} == {"camelyon16_0", "camelyon16_1"}
    meta.write_text("\n".join([",wsi", *rows[:3]]))
    with pytest.raises(ValueError, match="20 rows"):
        list(public_sets.pcam(lymph))
    meta.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="column wsi"):
        list(public_sets.pcam(lymph))


def test_bad_patch_camelyon_is_a_sentence(lymph, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="out of train, valid, test, got 'all'"):
        list(public_sets.pcam(lymph, "all"))
    (tmp_path / "camelyonpatch_level_2_split_valid_x.h5.gz").write_bytes(b"")
    with pytest.raises(ValueError, match="unpack it first"):
        list(public_sets.pcam(lymph, "valid"))
    with pytest.raises(ValueError, match="got none"):
        list(public_sets.pcam(lymph, "train"))
    with h5py.File(lymph / "camelyonpatch_level_2_split_test_y.h5", "w") as file:
        file["y"] = np.zeros((3, 1, 1, 1), np.uint8)
    with pytest.raises(ValueError, match=r"x \(N, 96, 96, 3\)"):
        list(public_sets.pcam(lymph))
    (lymph / "camelyonpatch_level_2_split_test_y.h5").write_bytes(b"text")
    with pytest.raises(ValueError, match="an HDF5 file"):
        list(public_sets.pcam(lymph))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match="pip install h5py"):
        list(public_sets.pcam(lymph))
