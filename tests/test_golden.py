"""One sample, one slide and one edit of a tiny model made here, pinned before the library was rearranged.

That model knows five labels, as all did then; what was pinned holds to the bit, and masks hold in six codes.

`python -m tests.test_golden` writes the pinned arrays anew: only where a result is meant to change.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile
import torch

from diffinfinite_lite import generate
from diffinfinite_lite.labels import FIVE_CODES, LABELS, from_five_codes
from diffinfinite_lite.pipelines.config import rename_keys
from diffinfinite_lite.pipelines.edit import resynthesise
from diffinfinite_lite.pipelines.slide import generate_slide
from tests.toys import tiny_model

PINNED = Path(__file__).parent / "golden"
SETTINGS = {"steps": 4, "seed": 7, "device": "cpu", "batch_size": 4}
SIZE = (112, 168)  # px; windows of 64 px


def made(folder):
    """All pinned arrays, and the run.json of the sample."""
    weights, found = tiny_model(folder, codes=FIVE_CODES), {}
    pair = generate("squamous", size=SIZE, solver="ddim", omega=1.0, weights=weights, **SETTINGS)
    found |= {"sample.image": pair.image, "sample.mask": pair.mask, "sample.latents": pair.latents}
    method = {"plan": "random-patch", "solver": "ddim", "conditioning": "per-label"}
    random = generate("normal", pair.mask, weights=weights, **method, **SETTINGS)
    found |= {"random.image": random.image, "random.latents": random.latents}
    changed = pair.mask.copy()
    changed[40:80, 40:96] = np.array([1, 2, 3, 5, 0, 1], np.uint8)[changed[40:80, 40:96]]  # 4 was never painted
    edited = resynthesise(pair, changed, margin=8, weights=weights, device="cpu", batch_size=4)
    found |= {"edit.image": edited.image, "edit.latents": edited.latents}
    slide = {"store": folder / "store", "out": folder / "out", "weights": weights, "plan": "torus-grid"}
    generate_slide("adenocarcinoma", size=(160, 112), solver="dpm-solver++", **slide, **SETTINGS)
    found["slide.image"] = tifffile.imread(folder / "out" / "image.ome.tif")
    found["slide.mask"] = tifffile.imread(folder / "out" / "mask.ome.tif")
    return found, pair.run


def test_results_are_those_that_were_pinned(tmp_path):
    """Bit for bit on the kind of processor they were pinned on; elsewhere products are rounded otherwise."""
    found, run = made(tmp_path)
    capability = json.loads((PINNED / "machine.json").read_text())["capability"]
    with np.load(PINNED / "arrays.npz") as file:
        pinned = {name: from_five_codes(file[name], None) if name.endswith("mask") else file[name] for name in file}
        assert set(pinned) == set(found)
        for name in pinned:
            assert found[name].dtype == pinned[name].dtype and found[name].shape == pinned[name].shape, name
            if torch.backends.cpu.get_cpu_capability() == capability:
                np.testing.assert_array_equal(found[name], pinned[name], err_msg=name)
            elif name.endswith("mask"):
                assert (found[name] == pinned[name]).mean() > 0.99, name
            else:
                np.testing.assert_allclose(found[name].astype(float), pinned[name], atol=2 if "image" in name else 1e-3)
    before = rename_keys(json.loads((PINNED / "run.json").read_text()))
    changing = {"seconds", "versions", "python", "peak_memory_mb", "weights"}
    changing |= {"batch_size", "draft_steps", "draft_noise", "appearance", "masks", "quality"}  # these are new
    shares = before["labels"]
    before["labels"] = shares | dict(zip(LABELS[-2:], (0.0, shares["others"]), strict=True))
    assert {k: v for k, v in run.items() if k not in changing} == {k: v for k, v in before.items() if k not in changing}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        arrays, run = made(Path(folder))
    np.savez_compressed(PINNED / "arrays.npz", **arrays)
    (PINNED / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    machine = {"capability": torch.backends.cpu.get_cpu_capability(), "python": sys.version.split()[0]}
    (PINNED / "machine.json").write_text(json.dumps(machine) + "\n")
