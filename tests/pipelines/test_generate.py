"""The main job at its smallest size, and everything that it refuses; with the shipped weights where they matter."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.data.mask_files import read_mask
from diffinfinite_lite.labels import LABELS
from diffinfinite_lite.models import pretrained
from diffinfinite_lite.pipelines import pair as pair_module
from diffinfinite_lite.sampling import plans

SMALL = {"size": (64, 128), "steps": 2}


@pytest.fixture(scope="module")
def pair():
    return generate("squamous", **SMALL, seed=3, draft_steps=2 if pretrained.has_draft() else None)


@pytest.fixture(params=["one stage", "two stages"])
def tiny(request, tiny_weights, two_stage_weights):
    """What to give to `generate` for a tiny model, and how many stages that has."""
    stages = 1 + (request.param == "two stages")
    return {"weights": tiny_weights} if stages == 1 else {"weights": two_stage_weights, "draft_steps": 2}, stages


def test_pair_has_the_size_asked_for(pair):
    assert pair.image.shape == (64, 128, 3)
    assert pair.image.dtype == np.uint8
    assert pair.mask.shape == (64, 128)
    assert pair.mask.max() < len(LABELS)
    assert all(frame.shape == (8, 16) for frame in pair.timesteps)
    assert pair.timesteps[-1].max() == 0  # every pixel arrived


def test_image_is_tissue_and_not_noise(pair):
    """Two steps are few, but the palette must be that of the stain, not grey noise around 128."""
    assert pair.image.std() > 10
    red, green, blue = pair.image.reshape(-1, 3).mean(axis=0)
    assert green < min(red, blue)  # both stains absorb green most


def test_same_seed_same_image_whatever_the_batch_size(tiny):
    many = {"size": (192, 128), "steps": 2, "patch": 64} | tiny[0]  # windows enough to be cut into batches
    one, three = (generate("squamous", **many, seed=3, batch_size=n) for n in (1, 3))
    assert one.run["network_calls"] > three.run["network_calls"]
    assert np.array_equal(one.mask, three.mask)
    assert np.abs(one.image.astype(int) - three.image).max() <= 1  # the network rounds differently in a batch
    assert not np.array_equal(generate("squamous", **many, seed=4, batch_size=3).image, three.image)


def test_run_holds_the_ledger(tiny):
    settings, stages = tiny
    run = generate("squamous", **SMALL, seed=3, **settings).run
    seconds, depth = run["seconds"], 2 * stages
    assert run["steps"] == 2 and run["sequential_depth"] == depth
    assert run["windows"] == run["windows_per_level"] * depth
    assert run["whole_patches"] == run["network_evaluations"] >= run["network_calls"] >= depth
    assert 1 <= run["labels_per_window"] <= len(LABELS)
    assert seconds["network"] + seconds["canvas"] == pytest.approx(seconds["sampling"], abs=0.1)
    assert min(seconds["mask"], seconds["network"]) > 0 and "decoding" in seconds
    assert run["peak_memory_mb"] > 100


def test_windows_smaller_than_a_patch_are_counted_by_their_size(tiny):
    settings, stages = tiny
    settings = settings | ({"draft_steps": 1} if stages == 2 else {})
    run = generate(mask=np.ones((64, 64), np.uint8), steps=1, patch=32, plan="diffcollage", **settings).run
    assert run["network_evaluations"] == 25 * stages and run["whole_patches"] == 16 * stages


@pytest.mark.parametrize("solver", ["ddim", "dpm-solver++"])
def test_half_precision_is_recorded_and_near_single(solver):
    settings = SMALL | {"solver": solver, "mask": np.full((64, 128), 3, np.uint8)}
    single, half = (generate("normal", **settings, precision=precision) for precision in ("fp32", "bf16"))
    assert (single.run["precision"], half.run["precision"]) == ("fp32", "bf16")
    assert half.latents.dtype == np.float32
    assert 0 < np.abs(single.image.astype(int) - half.image).mean() < 4


def test_run_records_what_was_done(pair):
    run = pair.run
    assert run["steps"] == 2
    assert run["network_evaluations"] >= run["windows"] > 0
    assert run["weights"] == pretrained.expected_hashes()
    assert {f"{name}.safetensors" for name in run["weights"]} == {
        p.name for p in pretrained.WEIGHTS.glob("*.safetensors")
    }
    assert sum(run["labels"].values()) == pytest.approx(1, abs=1e-3)


def test_saved_files_open_again_and_are_not_overwritten(pair, tmp_path):
    pair.save(tmp_path / "out")
    results = {*pair_module.RESULTS} - (set() if pretrained.has_draft() else {"draft.npy"})
    assert {p.name for p in (tmp_path / "out").iterdir()} == results
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/image.png")), pair.image)
    mask = Image.open(tmp_path / "out/mask.png")
    assert mask.mode == "P"
    assert json.loads(mask.text["labels"])["1"]["name"] == "carcinoma"
    assert np.array_equal(read_mask(tmp_path / "out/mask.png"), pair.mask)
    assert Image.open(tmp_path / "out/timesteps.webp").n_frames > 1
    assert json.loads((tmp_path / "out/run.json").read_text()) == pair.run
    with pytest.raises(FileExistsError, match="--force"):
        pair.save(tmp_path / "out")
    pair.save(tmp_path / "out", force=True)


def test_models_are_loaded_once_for_each_device_and_never_moved():
    models = pretrained.load_models()
    assert models is pretrained.load_models(pretrained.WEIGHTS, "cpu")
    elsewhere = pretrained.load_models(device="meta")  # a device without memory, which every machine has
    for ours, theirs in zip(models, elsewhere, strict=True):
        assert {weights.device.type for weights in theirs.parameters()} == {"meta"}
        assert {weights.device.type for weights in ours.parameters()} == {"cpu"}


@pytest.mark.parametrize(("plan", "usual", "other"), [("sliding-window", 32, 16), ("multidiffusion", 16, 64)])
def test_stride_is_the_distance_of_windows_in_px(plan, usual, other, tiny_weights):
    settings = {"mask": np.ones((64, 128), np.uint8), "steps": 1, "patch": 64, "plan": plan, "weights": tiny_weights}
    plain, same, changed = (generate(**settings, stride=stride) for stride in (None, usual, other))
    assert np.array_equal(plain.image, same.image) and plain.run["stride"] is None
    assert (changed.run["stride"], changed.run["windows"]) == (other, 64 // other + 1)


def test_all_plans_are_one_on_a_canvas_of_one_window(tiny):
    settings, _ = tiny
    pictures = [generate("normal", size=(64, 64), steps=2, plan=name, **settings).image for name in plans.PLANS]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures[1:])


def test_hand_made_mask_of_squares():
    mask = np.zeros((64, 64), np.uint8)
    mask[:32, :32], mask[32:, 32:] = 1, 3
    pair = generate(mask=mask, steps=2)
    assert np.array_equal(pair.mask, mask)
    assert pair.image.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected a context or a mask, got neither"),
        ({"context": "skin"}, "got 'skin'"),
        ({"context": "normal", "size": (100, 64)}, "multiples of 8 px from 64, got 100x64"),
        ({"context": "normal", "size": (32, 64)}, "got 32x64"),
        ({"context": "normal", "omega": -1.0}, "expected omega to be a number of at least 0, got -1.0"),
        ({"context": "normal", "omega": float("nan")}, "got nan"),
        ({"context": "normal", "steps": 0}, "from 1 to 1000, got 0"),
        ({"context": "normal", "steps": 1001}, "got 1001"),
        ({"context": "normal", "plan": "quilt"}, "got 'quilt'"),
        ({"context": "normal", "solver": "magic"}, "'magic'"),
        ({"context": "normal", "conditioning": "vague"}, "got 'vague'"),
        ({"context": "normal", "patch": 100}, "got 100"),
        ({"context": "normal", "plan": "multidiffusion", "stride": 100}, "a multiple of 8 px from 8 to 8192, got 100"),
        ({"context": "normal", "plan": "multidiffusion", "stride": 232}, "up to the patch of 224 px, got 232"),
        ({"context": "normal", "plan": "multidiffusion", "patch": 64, "stride": 72}, "patch of 64 px, got 72"),
        (
            {"context": "normal", "stride": 64, "plan": "random-patch"},
            "among sliding-window, multidiffusion, mixture for a stride, got 'random-patch'",
        ),
        ({"context": "normal", "precision": "int8"}, "fp32, bf16, fp16, got 'int8'"),
        ({"mask": np.full((64, 64), 7)}, "expected labels 0 to 5 in the mask, got 7 to 7"),
        ({"mask": np.zeros((64, 64, 3), np.uint8)}, r"got shape \(64, 64, 3\)"),
        ({"mask": np.zeros((64, 64), np.uint8), "size": (128, 64)}, "got 64x64"),
        ({"context": "normal", "device": "cuda:99"}, "got 'cuda:99'"),
        ({"context": "normal", "device": "abacus"}, "the device cpu, cuda or cuda:NUMBER, got 'abacus'"),
    ],
)
@pytest.mark.parametrize("stages", [1, 2])
def test_bad_input_is_refused_in_one_sentence(arguments, message, stages, two_stage_weights):
    if stages == 2:  # in place of the shipped model, with its patch
        arguments = {"patch": 224} | arguments | {"weights": two_stage_weights}
    with pytest.raises(ValueError, match=message) as caught:
        generate(**{"size": (64, 64), "steps": 2} | arguments if "mask" not in arguments else arguments)
    assert "\n" not in str(caught.value)


def test_tampered_and_missing_weights_are_refused(tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(pretrained.WEIGHTS, weights)
    path = weights / "mask.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match=r"expected mask.safetensors with SHA-256 .* changed or cut short"):
        pretrained.load_models(weights)
    path.unlink()
    with pytest.raises(ValueError, match="found none: install or export"):
        pretrained.load_models(weights)
    with pytest.raises(ValueError, match=r"found no hashes\.json"):
        generate("normal", size=(64, 64), weights=tmp_path)
