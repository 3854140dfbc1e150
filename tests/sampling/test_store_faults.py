"""Every file of a store that was stopped is damaged in every way: the run ends with the same bits, or names the file."""

import itertools
import json
import shutil
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
STATE = ("latents-1", "memory-1")  # of the level at which the run was stopped, with one step left


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


def changes(folder, stores):
    """Every fault of every file: its name, the files that it concerns, and a function that makes it."""
    names = files(folder)
    for name, (fault, change) in itertools.product(names, FAULTS.items()):
        if (folder / name).stat().st_size or not fault.endswith(("byte", "cut", "empty", "zeros")):
            yield f"{fault}: {name}", [name], lambda store, name=name, change=change: change(store / name)
    for a, b in itertools.combinations(names, 2):
        if a.parts[0] == b.parts[0] or {a.name, b.name} == {"zarr.json"}:
            yield f"swapped: {a} and {b}", [a, b], lambda store, a=a, b=b: swap(store / a, store / b)
    for source, name in itertools.product(("older", "initial", "other"), names):
        foreign = stores[source] / name
        if foreign.exists():
            yield f"{source}: {name}", [name], lambda store, name=name, foreign=foreign: shutil.copy(foreign, store / name)
    for a, b in itertools.permutations(["latents-0", "latents-1", "memory-0", "memory-1"], 2):
        for name in (name for name in names if name.parts[0] == a and name.name != "zarr.json"):
            source = Path(b, *name.parts[1:])
            if (folder / source).exists():
                yield f"{source} as {name}", [name], lambda store, source=source, name=name: shutil.copy(
                    store / source, store / name
                )


def swap(a, b):
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def contents(store):
    return {name: (store / name).read_bytes() for name in files(store)}


@pytest.mark.parametrize("which", ["stopped", "finished"])
def test_after_every_fault_of_every_file_the_result_is_right_or_the_file_is_named(tmp_path, stores, which):
    intact, refused, went_on, number = contents(stores[which]), set(), set(), 0
    store = shutil.copytree(stores[which], tmp_path / "0")
    for number, (fault, concerned, change) in enumerate(changes(stores[which], stores)):
        change(store)
        try:
            result = finish(store)
        except (ValueError, OSError) as error:
            message = str(error).replace(f"another one at {store}:", f"another one at {store / 'progress.json'}:")
            assert "\n" not in message and any(str(store / name) in message for name in concerned)
            assert ADVICE in message or "or take a new folder" in message, (fault, message)
            refused |= set(concerned)
            for name in concerned:
                (store / name).write_bytes(intact[name])
        else:
            assert torch.equal(result[0], stores["right"][0]) and result[1:] == stores["right"][1:], fault
            went_on |= set(concerned)
            store = shutil.copytree(stores[which], tmp_path / f"{number + 1}")
    state = {"stopped": STATE, "finished": ("latents-0",)}[which]
    counts = {name for name in intact if name.parts[0] in state and name.name != "zarr.json"}
    assert counts <= refused <= counts | {Path("progress.json")}
    assert not went_on & counts
