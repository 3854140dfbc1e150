"""The canvas on disk: same bits as in memory, kills, full disks, stores of other runs."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
import zarr

from diffinfinite_lite.sampling import zarr_canvas
from diffinfinite_lite.sampling.canvas import Plane
from diffinfinite_lite.sampling.cost import Ledger
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.inpainting import Known
from diffinfinite_lite.sampling.plans import PLANS, multidiffusion
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas
from diffinfinite_lite.sampling.store import Store
from diffinfinite_lite.sampling.zarr_canvas import ZarrCanvas
from tests.toys import Arithmetic as Stub

ALPHAS = cosine_alphas()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks that windows straddle, and a buffer that is emptied several times a level."""
    monkeypatch.setattr(zarr_canvas, "CHUNK", 7)
    monkeypatch.setattr(zarr_canvas, "BUFFER", 400)


def labels(height=20, width=13):
    return torch.randint(4, (height, width), generator=torch.Generator().manual_seed(0))


def run(store=None, mask=None, **settings):
    denoiser = Denoiser(Stub(), ALPHAS, omega=0.5, batch_size=3)
    settings = {"channels": 2, "patch": 8, "steps": 4, "seed": 3} | settings
    *_, level = sample(denoiser, labels() if mask is None else mask, store=store, **settings)
    return level


@pytest.mark.parametrize("solver", ["ddpm", "dpm-solver++"])
@pytest.mark.parametrize("plan", [*PLANS, partial(multidiffusion, stride=3)])
def test_same_bits_as_in_memory(tmp_path, plan, solver):
    settings = {"plan": plan, "solver": solver, "margin": 3, "steps": 3}
    disk, memory = run(tmp_path, **settings), run(**settings)
    assert torch.equal(disk.canvas.latents[:], memory.canvas.latents)
    assert torch.equal(disk.canvas.timestep_map[:], memory.canvas.timestep_map)
    for count in ("evaluations", "windows", "labels", "depth"):
        assert getattr(disk.ledger, count) == getattr(memory.ledger, count)


@pytest.mark.parametrize("solver", ["ddpm", "dpm-solver++"])
def test_inpainting_on_disk(tmp_path, solver):
    keep = torch.zeros(20, 13, dtype=torch.bool)
    keep[:9] = keep[:, 10:] = True
    latents = torch.randn(2, 20, 13, generator=torch.Generator().manual_seed(1)).where(keep, torch.nan)
    settings = {"known": Known(latents, keep), "solver": solver, "margin": 3}
    disk, memory = run(tmp_path, **settings), run(**settings)
    assert torch.equal(disk.canvas.latents[:], memory.canvas.latents)
    assert torch.equal(disk.canvas.latents[:][:, keep], latents[:, keep])


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (7, 14), (40, 5)])
def test_any_size_and_bytes_for_labels(tmp_path, size):
    mask = labels(*size)
    disk, memory = run(tmp_path, mask.byte(), margin=2), run(None, mask, margin=2)
    assert torch.equal(disk.canvas.latents[:], memory.canvas.latents)


def test_arrays_are_zarr_version_3_that_anyone_can_open(tmp_path):
    level = run(tmp_path, solver="dpm-solver++")
    names = {path.parent.name for path in tmp_path.glob("*/zarr.json")}
    assert names == {"latents-0", "latents-1", "memory-0", "memory-1", "estimate"}
    opened = zarr.open_array(tmp_path / "latents-0", mode="r")
    assert opened.metadata.zarr_format == 3 and opened.chunks == (2, 7, 7)
    assert np.array_equal(opened[:], level.canvas.z[:].numpy())


@pytest.mark.parametrize("solver", ["ddpm", "dpm-solver++"])
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_an_abandoned_run_goes_on_from_its_last_finished_level(tmp_path, solver, levels):
    denoiser = Denoiser(Stub(), ALPHAS, omega=0.5, batch_size=3)
    settings = {"channels": 2, "patch": 8, "steps": 4, "seed": 3, "solver": solver}
    first = sample(denoiser, labels(), store=tmp_path, **settings)
    for _ in range(levels):
        next(first)
    seen = []
    for level in sample(Denoiser(Stub(), ALPHAS, omega=0.5, batch_size=5), labels(), store=tmp_path, **settings):
        seen.append(level.step)
    undisturbed = run(solver=solver)
    assert seen == list(range(levels, 4))
    assert torch.equal(level.canvas.latents[:], undisturbed.canvas.latents)
    assert level.ledger.evaluations == undisturbed.ledger.evaluations and level.ledger.depth == 4


def test_a_finished_run_gives_its_result_again_without_the_network(tmp_path):
    first, again = run(tmp_path), run(tmp_path)
    assert again.step == 3 and again.timestep == first.timestep
    assert torch.equal(again.canvas.latents[:], first.canvas.latents[:])
    counted = {name: getattr(first.ledger, name) for name in ("evaluations", "calls", "windows", "labels", "depth")}
    assert counted == {name: getattr(again.ledger, name) for name in counted}
    assert isinstance(again.ledger, Ledger)


PROGRAM = """
import sys, time, torch
from tests.sampling.test_zarr_canvas import Stub, labels, ALPHAS
from diffinfinite_lite.sampling import zarr_canvas
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.sample import sample

zarr_canvas.CHUNK, zarr_canvas.BUFFER = 7, 200

class Slow(Stub):
    def __call__(self, z, t, mask):
        time.sleep(0.002)
        return super().__call__(z, t, mask)

Slow.__qualname__ = Stub.__qualname__
torch.set_num_threads(1)
levels = sample(Denoiser(Slow(), ALPHAS, omega=0.5, batch_size=3), labels(), channels=2, patch=8, steps=12, seed=3,
                store=sys.argv[1], solver=sys.argv[2])
print("ready", flush=True)
for level in levels:
    print(level.step, flush=True)
"""


@pytest.mark.parametrize("solver", ["ddpm", "dpm-solver++"])
def test_killed_at_any_moment_and_run_again_it_ends_the_same(tmp_path, solver):
    command = [sys.executable, "-c", PROGRAM, tmp_path / "store", solver]
    rng, resumed = np.random.default_rng(), []
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd())
        try:
            assert process.stdout.readline() == "ready\n"
            resumed.append(int(process.stdout.readline()))
            time.sleep(rng.uniform(0, 0.15))  # a level takes 0.03 s: anywhere within one of the next ones
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    done = json.loads((tmp_path / "store/progress.json").read_text())["progress"]
    assert resumed[0] == 0 < resumed[1] and done["left"] < 12
    disk, memory = run(tmp_path / "store", solver=solver, steps=12), run(solver=solver, steps=12)
    assert torch.equal(disk.canvas.latents[:], memory.canvas.latents)
    assert disk.ledger.evaluations == memory.ledger.evaluations


@pytest.mark.parametrize("writes", [3, 40, 60, 75])
def test_a_full_disk_leaves_a_state_to_go_on_from(tmp_path, monkeypatch, writes):
    put, count = zarr.storage._local._put, iter(range(10**6))

    def full(*args, **kwargs):
        if next(count) >= writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        return put(*args, **kwargs)

    monkeypatch.setattr(zarr.storage._local, "_put", full)
    with pytest.raises(OSError, match=r"of 4 levels are safe; free some and run the same command again") as caught:
        run(tmp_path, solver="dpm-solver++")
    assert caught.value.errno == errno.ENOSPC and "\n" not in str(caught.value)
    monkeypatch.setattr(zarr.storage._local, "_put", put)
    disk, memory = run(tmp_path, solver="dpm-solver++"), run(solver="dpm-solver++")
    assert torch.equal(disk.canvas.latents[:], memory.canvas.latents)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"plan": "torus-grid"}, "plan is random_patch there and torus_grid here"),
        ({"steps": 5}, "steps is 4 there and 5 here"),
        ({"mask": labels() + 1}, "mask is"),
        ({"known": Known(torch.zeros(2, 20, 13), torch.ones(20, 13, dtype=torch.bool))}, "known is None there"),
    ],
)
def test_the_store_of_another_run_is_refused_and_kept(tmp_path, change, message):
    before = run(tmp_path).canvas.latents[:]
    with pytest.raises(ValueError, match=message) as caught:
        run(tmp_path, **change)
    assert "\n" not in str(caught.value)
    assert torch.equal(run(tmp_path).canvas.latents[:], before)


def test_another_network_or_guidance_is_another_run(tmp_path):
    torch.manual_seed(0)
    settings = {"channels": 2, "patch": 8, "steps": 1, "store": tmp_path}

    class Net(torch.nn.Conv2d):
        prediction_type = "epsilon"

        def forward(self, z, t, mask):
            return super().forward(z)

    net = Net(2, 2, 1)
    list(sample(Denoiser(net, ALPHAS), labels(), **settings))
    list(sample(Denoiser(net, ALPHAS, batch_size=1), labels(), **settings))  # batches change nothing
    with pytest.raises(ValueError, match="network is"):
        list(sample(Denoiser(Net(2, 2, 1), ALPHAS), labels(), **settings))
    with pytest.raises(ValueError, match=r"omega is 0.0 there and 1.0 here"):
        list(sample(Denoiser(net, ALPHAS, omega=1.0), labels(), **settings))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"an empty folder or a store at .*, found thesis.txt"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "lock"] == ["thesis.txt"]


def test_a_damaged_progress_file_is_refused(tmp_path):
    run(tmp_path)
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(ValueError, match=r"progress.json that cannot be read"):
        run(tmp_path)


def test_a_store_in_use_is_refused(tmp_path):
    held = Store(tmp_path / "store", {})
    program = f"from diffinfinite_lite.sampling.store import Store; Store({str(tmp_path / 'store')!r}, {{}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "OSError: expected a store that is not in use, but another process works on" in done.stderr
    assert held.progress == {}


def test_record_needs_memory_and_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected record=False with a store"):
        run(tmp_path, record=True)


def test_a_hole_in_a_later_level_is_found_before_the_step(tmp_path):
    def hole(size, patch, generator):
        if generator.initial_seed() not in seeds:
            seeds.append(generator.initial_seed())
        views = list(PLANS["torus-grid"](size, patch, generator))
        yield from views if len(seeds) < 3 else views[1:]

    for store in (None, tmp_path):
        seeds = []
        levels = sample(Denoiser(Stub(), ALPHAS), labels(), channels=2, patch=8, steps=4, plan=hole, store=store)
        next(levels), next(levels)
        with pytest.raises(ValueError, match="sum to 1 at every pixel"):
            next(levels)


def test_plane_slices_like_a_tensor():
    values = torch.arange(60).view(3, 4, 5)
    plane = Plane(lambda *at: values[at], (3, 4, 5))
    for index in (slice(1), (slice(None), slice(-2, None)), (slice(1, 3), slice(0, 9), slice(2, 3))):
        assert torch.equal(plane[index], values[index])


def test_memory_holds_a_few_chunks_only(tmp_path):
    """No read or write of the arrays is larger than one chunk, however large the canvas."""
    sizes = []

    class Watched(ZarrCanvas):
        def _get(self, name, left, part):
            sizes.append((part.height, part.width))
            return super()._get(name, left, part)

        def _set(self, name, left, part, values):
            sizes.append(tuple(values.shape[-2:]))
            super()._set(name, left, part, values)

    canvas = Watched(tmp_path, lambda part: torch.zeros(1, part.height, part.width), 1, (40, 60), 1)
    for window, weight in PLANS["torus-grid"]((40, 60), 16, torch.Generator().manual_seed(0)):
        canvas.add(window, weight, canvas.read(window))
        assert sum(weight.numel() for _, weight, _ in canvas._pending) < zarr_canvas.BUFFER
    canvas.advance(lambda eps, z, memory, part: (z, memory))
    assert max(sizes) <= (7, 7)
