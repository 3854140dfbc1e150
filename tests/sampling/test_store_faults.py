"""Every file of a stopped run's store is damaged in every way: it ends with the same bits, or names the file."""

import itertools
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from diffinfinite_lite.sampling import zarr_canvas
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas
from diffinfinite_lite.sampling.store import Store, digest

STEPS = 3
SETTINGS = {"channels": 2, "patch": 8, "steps": STEPS, "solver": "dpm-solver++"}
ADVICE = "back and run the same command again, or start again with a new folder for the store"
# Arrays that count: with one step left, and in the end.
STATE = {"stopped": ("latents-1", "memory-1"), "finished": ("latents-0",)}


class Stub:
    """A network that can be stopped in the middle of a level."""

    prediction_type = "epsilon"

    def __init__(self, calls=10**6):
        self.calls = calls

    def __call__(self, z, t, mask):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return 0.7 * z + 0.1 * (z.roll(1, -1) + mask[:, None].roll(1, -2))


@pytest.fixture(scope="module", autouse=True)
def small():
    """Four chunks an array, three of them cut by the border, and a buffer that is emptied several times a level."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_canvas, "CHUNK", 7)
        patch.setattr(zarr_canvas, "BUFFER", 100)
        yield


def levels(store, seed=3, calls=10**6):
    mask = torch.arange(12 * 13).view(12, 13) % 4
    return sample(Denoiser(Stub(calls), cosine_alphas(), batch_size=2), mask, store=store, seed=seed, **SETTINGS)


def finish(store, **settings):
    *_, level = levels(store, **settings)
    return level.canvas.latents[:], level.ledger.windows, level.ledger.evaluations


def stop(store, level, seed=3):
    """A run that was stopped in the middle of a level."""
    going = levels(store, seed)
    for _ in range(level):
        found = next(going)
    calls = found.ledger.calls
    del going, found
    shutil.rmtree(store)
    with pytest.raises(KeyboardInterrupt):
        list(levels(store, seed, calls=calls + calls // level - 1))
    assert json.loads((store / "progress.json").read_text())["progress"]["left"] == STEPS - level
    assert any((store / "estimate/c").rglob("*"))
    return store


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A run that was stopped in its last level, one and two levels earlier, with another seed, and to its end."""
    root = tmp_path_factory.mktemp("stores")
    levels(root / "initial")
    next(levels(root / "older"))
    return {
        "initial": root / "initial",
        "older": root / "older",
        "stopped": stop(root / "stopped", 2),
        "other": stop(root / "other", 2, seed=4),
        "right": finish(root / "finished"),
        "finished": root / "finished",
    }


def files(store):
    return sorted(path.relative_to(store) for path in store.rglob("*") if path.is_file())


def flip(place):
    def change(file):
        content = bytearray(file.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1 << int(7 * place)
        file.write_bytes(content)

    return change


def cut(share):
    return lambda file: file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def lengthen(file):
    file.write_bytes(file.read_bytes() + bytes(4))


def zero(file):
    file.write_bytes(bytes(file.stat().st_size))


FAULTS = {
    "a byte": flip(0.37),
    "last byte": flip(1.0),
    "empty": cut(0),
    "cut": cut(0.5),
    "longer": lengthen,
    "zeros": zero,
    "missing": Path.unlink,
}


def changes(which, stores):
    """Every fault of every file: what it is called, the files that it concerns, and a function that makes it."""
    names = files(stores[which])
    for name, (fault, change) in itertools.product(names, FAULTS.items()):
        if (stores[which] / name).stat().st_size or fault in ("longer", "missing"):
            yield f"{fault}: {name}", [name], lambda store, name=name, change=change: change(store / name)
    for a, b in itertools.combinations(names, 2):
        if a.parts[0] == b.parts[0] or {a.name, b.name} == {"zarr.json"}:
            yield f"swapped: {a} and {b}", [a, b], lambda store, a=a, b=b: swap(store / a, store / b)
    for name, source in itertools.product(names, ("older", "initial", "other")):
        if name.parts[0] in (*STATE[which], "progress.json"):
            if (foreign := stores[source] / name).exists():
                yield f"{source}: {name}", [name], partial(copy, foreign, name)
            for array in ("latents-0", "latents-1", "memory-0", "memory-1"):
                foreign = stores[which] / Path(array, *name.parts[1:])
                if source == "other" and array != name.parts[0] and foreign.is_file():
                    yield f"{array} as {name}", [name], partial(copy, foreign, name)


def copy(foreign, name, store):
    shutil.copy(foreign, store / name)


def swap(a, b):
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def contents(store):
    return {name: (store / name).read_bytes() for name in files(store)}


@pytest.mark.parametrize("which", ["stopped", "finished"])
def test_after_every_fault_of_every_file_the_result_is_right_or_the_file_is_named(tmp_path, stores, which):
    """Right are also faults of what nothing reads: other arrays, and what lies in a file past the canvas's border."""
    intact, refused, went_on, number = contents(stores[which]), set(), set(), 0
    store = shutil.copytree(stores[which], tmp_path / "0")
    for number, (fault, concerned, change) in enumerate(changes(which, stores)):
        change(store)
        try:
            result = finish(store)
        except (ValueError, OSError) as error:
            message = str(error).replace(f"another one at {store}:", f"another one at {store / 'progress.json'}:")
            assert "\n" not in message, fault
            assert any(str(store / name) in message for name in concerned), (fault, message)
            assert ADVICE in message or "or take a new folder" in message, (fault, message)
            refused |= set(concerned)
            for name in concerned:
                (store / name).write_bytes(intact[name])
        else:
            assert torch.equal(result[0], stores["right"][0]) and result[1:] == stores["right"][1:], fault
            went_on |= set(concerned)
            store = shutil.copytree(stores[which], tmp_path / f"{number + 1}")
    counts = {name for name in intact if name.parts[0] in STATE[which] and name.name != "zarr.json"}
    metadata = {name for name in intact if name.name == "zarr.json"}
    assert number > 200 and metadata <= went_on
    assert counts <= refused <= counts | metadata | {Path("progress.json")}  # metadata when swapped with a chunk


def test_one_flip_at_each_byte_of_the_progress_changes_nothing_or_is_refused(stores, tmp_path):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    file = store / "progress.json"
    content = file.read_bytes()
    found = json.loads(content)
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        try:
            assert Store(store, found["settings"]).progress == found["progress"]
        except ValueError as error:
            refused += 1
            assert str(file) in str(error) and ADVICE in str(error) and "\n" not in str(error)
    assert refused > len(content.split())


def edit(store, checksum, **values):
    """Progress with other values, with a checksum that fits, or as an earlier version wrote it, without one."""
    file = store / "progress.json"
    found = json.loads(file.read_text())
    found.pop("checksum")
    found["progress"] |= values
    if not checksum:
        found["progress"].pop("checksums")
    file.write_text(json.dumps(found | ({"checksum": digest(found)} if checksum else {})))


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"left": 4}, "left = 4, which is not from 0 to 3"),
        ({"left": -1}, "left = -1, which is not from 0 to 3"),
        ({"left": 1.0}, "left = 1.0, which is not from 0 to 3"),
        ({"left": "1"}, 'left = "1", which is not from 0 to 3'),
        ({"left": True}, "left = true, which is not from 0 to 3"),
        ({"chunk": 0}, "chunk = 0, which is no side of a chunk"),
        ({"chunk": None}, "chunk = null, which is no side of a chunk"),
        ({"chunk": 2**40}, "chunk = 1099511627776, which is no side of a chunk"),
        ({"note": [1]}, "note = [1], which is no note"),
        ({"note": None}, "note = null, which is no note"),
        ({"note": {"windows": "many"}}, 'note = {"windows": "many"}, which is no note'),
        ({"note": {"windows": -1}}, 'note = {"windows": -1}, which is no note'),
    ],
)
def test_values_out_of_range_are_refused_by_name(stores, tmp_path, values, message, checksum):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    edit(store, checksum, **values)
    with pytest.raises(ValueError, match=r"progress.json as it was written") as caught:
        levels(store)
    assert message in str(caught.value) and ADVICE in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [{"chunk": 6}, {"chunk": 8}, {"left": 2}, {"left": 0}])
def test_values_in_range_that_do_not_fit_the_arrays_are_refused(stores, tmp_path, values):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    edit(store, True, **values)
    with pytest.raises(ValueError, match="as it was written, got") as caught:
        finish(store)
    assert str(store) in str(caught.value) and ADVICE in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '{"hash": 1, "settings": [], "progress": {}}', "[" * 10**5]
)
def test_a_progress_file_of_another_kind_is_refused(stores, tmp_path, text):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    (store / "progress.json").write_text(text)
    with pytest.raises(ValueError, match=r"progress.json that cannot be read: put a copy of .*progress.json back"):
        levels(store)


def test_a_store_of_an_earlier_version_goes_on_and_is_verified_from_the_next_level_on(stores, tmp_path):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    edit(store, checksum=False)
    assert torch.equal(finish(store)[0], stores["right"][0])
    assert json.loads((store / "progress.json").read_text())["progress"]["checksums"].keys() == {"latents-0"}
    zero(store / "latents-0/c/0/1/0")
    with pytest.raises(ValueError, match="latents-0/c/0/1/0"):
        levels(store)


@pytest.mark.parametrize("name", ["latents-1/c/0/1/0", "memory-1/c/0/0/1"])
@pytest.mark.parametrize("fault", ["cut", "empty", "longer", "missing"])
def test_chunks_of_an_earlier_version_have_to_be_whole(stores, tmp_path, fault, name):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    edit(store, checksum=False)
    FAULTS[fault](store / name)
    with pytest.raises(ValueError, match=f"{name} .* as it was written, got (no such file|[0-9]+ bytes): put a copy"):
        levels(store)


def test_a_chunk_that_is_damaged_while_the_run_goes_on_is_named(tmp_path):
    going = levels(tmp_path)
    level = next(going)
    zero(tmp_path / "latents-0/c/0/1/1")
    with pytest.raises(ValueError, match=r"latents-0/c/0/1/1 \(latent pixels 7 to 11 down, 7 to 12 across\) as it was"):
        level.canvas.latents[:]
    with pytest.raises(ValueError, match=r"latents-0/c/0/1/1 \(latent pixels 7 to 11 down, 7 to 12 across\) as it was"):
        next(going)


def test_a_refused_store_is_left_as_it_is(stores, tmp_path):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    zero(store / "memory-1/c/0/1/1")
    (store / "latents-0/c/0/0/0.1234.partial").write_bytes(b"half")
    before = contents(store)
    with pytest.raises(ValueError, match="memory-1/c/0/1/1"):
        levels(store)
    assert contents(store) == before
    with pytest.raises(ValueError, match="seed is 3 there and 5 here"):
        levels(store, seed=5)
    assert contents(store) == before


@pytest.mark.parametrize(
    "names", [["thesis.txt"], ["lock"], ["progress.json"], ["a.partial", "latents-0/c/0/0/0.partial"], ["estimate/c/0"]]
)
def test_a_folder_with_foreign_files_is_left_untouched_to_the_byte(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    with pytest.raises(ValueError, match=r"expected (an empty folder or )?a store at .*progress.json"):
        levels(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before
    assert contents(tmp_path) == {Path(name): b"mine" for name in names}


def test_files_of_others_within_a_store_stay(stores, tmp_path):
    store = shutil.copytree(stores["stopped"], tmp_path / "store")
    mine = ["notes.txt", "labels.raw", "mine/c/a.partial", "latents-0/notes.txt"]
    for name in mine:
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(b"mine")
    assert torch.equal(finish(store)[0], stores["right"][0])
    assert all((store / name).read_bytes() == b"mine" for name in mine)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "store").write_bytes(b"mine")
    with pytest.raises(NotADirectoryError, match=r"expected a folder for the store, got a file at .*store"):
        levels(tmp_path / "store")
    assert (tmp_path / "store").read_bytes() == b"mine"
