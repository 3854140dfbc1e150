"""The benchmark scripts at their smallest: they run, and what they count is right."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas
from tests import toys

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def sampling():
    spec = importlib.util.spec_from_file_location("sampling", FOLDER / "sampling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Stub(torch.nn.Module):
    prediction_type = "v_prediction"

    def forward(self, z, t, mask):
        return 0.1 * z.roll(1, -1) + 0.05 * mask[:, None].to(z.dtype) % 5


def test_published_loop_gives_what_the_library_gives_for_more_evaluations(sampling):
    """Same windows, same noise, per-label composition: the slow loop and the fast one make the same picture."""
    conditions = sampling.mosaic(32, 16)
    latents, evaluations = sampling.published_loop(Stub(), conditions, 3, 16, 2)
    denoiser = Denoiser(Stub(), cosine_alphas(), omega=1.0, conditioning="per-label", batch_size=8)
    *_, level = sample(denoiser, conditions, channels=3, patch=16, plan="random-patch", steps=2)
    assert torch.equal(latents, level.canvas.latents)
    assert evaluations == 2 * level.ledger.labels
    assert evaluations > level.ledger.evaluations  # the null call is shared between labels


def test_masks_hold_as_many_labels_a_window_as_the_bar_asks_for(sampling):
    denoiser = Denoiser(Stub(), cosine_alphas(), batch_size=64)
    *_, level = sample(denoiser, sampling.mosaic(256, 16), channels=1, patch=16, plan="torus-grid", steps=2)
    assert level.ledger.labels / level.ledger.windows > 2.5


def test_time_is_that_of_all_networks_of_a_pair(sampling, tiny_weights, two_stage_weights):
    for weights, parts in ((tiny_weights, ["image", "mask"]), (two_stage_weights, ["image", "draft", "mask"])):
        assert [part for part, _ in sampling.networks_of_a_pair(weights)] == parts
        found = sampling.pair_end_to_end(128, 2, weights)
        assert list(found["bare_seconds"]) == parts and found["seconds"]["total"] > 0
        assert found["given_mask_over_bare"] > 0 and sampling.named(found).endswith(" and mask")


def test_both_stages_and_the_margin_are_in_the_growth(sampling, tiny_weights, tmp_path, monkeypatch):
    """Counted, not timed: a stage more, and a canvas that is larger by the margin."""
    sizes = []
    whole = sampling.sample_stages

    def counted(stages, denoisers, labels):
        for level in whole(stages, denoisers, labels):
            sizes.append((level.stage.name, level.canvas.latents.shape[-1]))
            yield level

    monkeypatch.setattr(sampling, "sample_stages", counted)
    sampling.growth(4, [16, 24], tiny_weights)
    assert sizes == [("detail", 16)] * 8 + [("detail", 24)] * 5
    sizes.clear()
    sampling.growth(4, [16, 24], toys.tiny_model(tmp_path, draft=True, borders="reflected"))
    assert set(sizes) == {(name, side + 8) for name in ("draft", "detail") for side in (16, 24)}


def test_gpu_script_needs_torch_and_numpy_only(tmp_path):
    """Run on the CPU in a process that cannot import what a bare machine with a card does not have."""
    absent = ["diffusers", "safetensors", "scipy", "skimage", "PIL", "matplotlib", "zarr", "dask", "typer", "tqdm"]
    start = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({absent!r}));"
        f"sys.argv = ['gpu.py', '--device', 'cpu', '--quick', '--no-compile', '--out', {str(tmp_path / 'gpu.json')!r}];"
        f"runpy.run_path({str(FOLDER / 'gpu.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", start], text=True, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["precision"] for row in rows] == ["fp32", "bf16", "fp16"]
    for row in rows[:2]:  # fp16 is for cards: a processor may refuse it
        assert row["finite"] and row["evaluations"] == 2 * 2 * 2 * 2  # windows of 2 x 2, two labels a pixel, two steps
        assert row["evaluations_per_second"] > 0 and row["samples_per_second"] > 0
    assert "| fp32 | no |" in (tmp_path / "gpu.md").read_text()


def test_gpu_script_without_a_card_says_so(tmp_path):
    script, hidden = [sys.executable, FOLDER / "gpu.py"], os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(script, text=True, capture_output=True, check=False, cwd=tmp_path, env=hidden)
    assert done.returncode != 0 and "expected a CUDA card, found none" in done.stderr
