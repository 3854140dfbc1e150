"""A slide's store that was damaged while its run was stopped, its labels, and folders that would delete each other."""

import json
import shutil

import numpy as np
import pytest
import tifffile

from diffinfinite_lite.pipelines import slide

MASK = np.random.default_rng(0).integers(0, 5, (8, 16)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
SETTINGS = {"context": "squamous", "mask": MASK, "steps": 3, "solver": "dpm-solver++"}


def stop_after_two_levels(levels, total, part):
    for number, level in enumerate(levels):
        if number == 1:
            raise KeyboardInterrupt
        yield level


@pytest.fixture(scope="module")
def stopped(one_stage, tmp_path_factory):
    root = tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        slide.generate_slide(**SETTINGS, store=root / "store", out=root / "out", progress=stop_after_two_levels)
    assert json.loads((root / "store/progress.json").read_text())["progress"]["left"] == 1
    return root / "store"


def set_left(store, left):
    file = store / "progress.json"
    found = json.loads(file.read_text())
    found["progress"]["left"] = left
    file.write_text(json.dumps(found))


def cut(file):
    file.write_bytes(file.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda store: (store / "latents-1/c/0/0/0").unlink(), r"latents-1/c/0/0/0 \(latent pixels .*no such file"),
        (lambda store: cut(store / "latents-1/c/0/0/0"), r"latents-1/c/0/0/0 \(latent pixels .*1000 bytes"),
        (lambda store: shutil.rmtree(store / "memory-1"), r"memory-1/c/0/0/0 \(latent pixels .*no such file"),
        (lambda store: set_left(store, 7), r"progress.json as it was written"),
    ],
    ids=["missing", "cut", "no memory", "left"],
)
def test_a_damaged_store_is_one_sentence_and_no_picture(stopped, tmp_path, change, message):
    store = shutil.copytree(stopped, tmp_path / "store")
    change(store)
    with pytest.raises(ValueError, match=message) as caught:
        slide.generate_slide(**SETTINGS, store=store, out=tmp_path / "out")
    assert "\n" not in str(caught.value) and "start again with a new folder for the store" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_labels_of_an_earlier_call_are_written_again(stopped, tmp_path):
    store = shutil.copytree(stopped, tmp_path / "store")
    (store / "labels.raw").write_bytes(b"other")
    slide.generate_slide(**SETTINGS, store=store, out=tmp_path / "out")
    assert np.array_equal(tifffile.imread(tmp_path / "out/mask.ome.tif"), MASK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "got 8191 bytes"),
        (lambda file: file.write_bytes(bytes(8192)), "got other labels in row 3 of pixels"),
        (lambda file: file.write_bytes(file.read_bytes()[::-1]), "got other labels in row 3 of pixels"),
        (lambda file: file.unlink(), "got No such file"),
    ],
)
def test_labels_that_were_damaged_are_refused_when_they_are_read(tmp_path, change, message):
    rows = slide._Rows(tmp_path / "labels.raw", MASK)
    assert np.array_equal(rows[3:40], MASK[3:40]) and len(rows) == 64
    change(tmp_path / "labels.raw")
    with pytest.raises(ValueError, match=message) as caught:
        rows[3:40]
    assert str(tmp_path / "labels.raw") in str(caught.value) and "run the same command again" in str(caught.value)


@pytest.mark.parametrize(
    ("out", "store"), [("a", "a"), ("a/b", "a"), ("a", "a/b/c"), ("a/../c/b", "c"), ("link/b", "a"), ("new/x", "new")]
)
def test_result_and_store_are_never_one_in_the_other(tmp_path, out, store):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="expected folders for result and store of which neither is in the other"):
        slide.generate_slide("normal", size=(64, 64), store=tmp_path / store, out=tmp_path / out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "link"]


def test_folders_side_by_side_are_fine(tmp_path):
    for out, store in [("a", "b"), ("a", "ab"), ("a/x", "a/y")]:
        slide.check_folders(tmp_path / out, tmp_path / store)
