"""A picture in two stages: settings, cost, edits, stores and machines know both; without a draft it is one stage."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from typer.testing import CliRunner

from diffinfinite_lite import Pair, SamplingConfig, generate, generate_slide, inpaint, resynthesise
from diffinfinite_lite.cli import app
from diffinfinite_lite.data.tiles import to_tensor
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.draft import CODE
from diffinfinite_lite.models.pretrained import load_draft, load_models, load_students
from diffinfinite_lite.pipelines import stages
from diffinfinite_lite.pipelines.appearance import find_codes, settled
from diffinfinite_lite.pipelines.cautions import Caution
from diffinfinite_lite.sampling.inpainting import Known
from diffinfinite_lite.sampling.plans import PLANS

pytestmark = pytest.mark.filterwarnings("ignore::diffinfinite_lite.pipelines.cautions.Caution")
SIZE = (96, 128)
SETTINGS = {"steps": 2, "draft_steps": 3, "seed": 7, "device": "cpu", "batch_size": 4}


def stripes(size=SIZE):
    mask = np.ones(size, np.uint8)
    mask[:, size[1] // 2 :] = 3
    return mask


def spotted():
    mask = stripes()
    mask[16:40, 16:40] = 2
    return mask


def stored(folder, name):
    """Latents in the store of a stage that is finished."""
    assert json.loads((folder / name / "progress.json").read_text())["progress"]["left"] == 0
    return np.asarray(zarr.open_array(folder / name / "latents-0", mode="r"))


@pytest.fixture(scope="module")
def paint(two_stage_weights):
    def paint(**settings):
        arguments = {"context": "squamous", "mask": stripes(), "weights": two_stage_weights} | SETTINGS | settings
        return generate(**arguments)

    return paint


@pytest.fixture(scope="module")
def pair(paint):
    return paint()


def test_both_stages_are_sampled_counted_and_recorded(paint):
    seen = []

    def progress(items, total, part):
        for item in items:
            if part == "sampling":
                seen.append((total, item.number, item.stage.name, item.preview()))
            yield item

    pair = paint(progress=progress)
    assert [entry[:3] for entry in seen] == [(5, k, "draft" if k < 3 else "detail") for k in range(5)]
    previews = [preview for *_, preview in seen]
    assert all(p.shape == (12, 16, 3) and p.dtype == np.uint8 for p in previews[:3]) and previews[3:] == [None, None]
    assert not np.array_equal(previews[0], previews[2])
    run, costs = pair.run, pair.run["stages"]
    assert (run["draft_steps"], run["steps"], run["sequential_depth"]) == (3, 2, 5)
    for count in ("network_evaluations", "network_calls", "windows", "sequential_depth"):
        assert run[count] == costs["draft"][count] + costs["detail"][count] > 0
    assert costs["draft"]["windows_per_level"] == costs["detail"]["windows_per_level"] == run["windows_per_level"]
    tops = [frame.max() for frame in pair.timesteps]
    assert tops == sorted(tops, reverse=True) and tops[0] in (5, 4) and tops[-1] == 0, "one timeline"
    assert pair.draft.shape == (3, 12, 16) and pair.latents.shape == (8, 12, 16)


@pytest.mark.parametrize("plan", PLANS)
def test_any_plan_samples_both(paint, plan):
    assert paint(plan=plan, patch=64).image.shape == (*SIZE, 3)


def test_same_seed_same_picture_another_draft_another_picture(paint, pair):
    assert np.array_equal(paint().image, pair.image)
    for other in ({"seed": 8}, {"draft_steps": 2}, {"draft_noise": 0.4}, {"appearance": 3}):
        assert not np.array_equal(paint(**other).image, pair.image), other
    assert np.array_equal(paint(draft_noise=0.4).draft, pair.draft), "the draft itself has no noise on it"


def test_without_a_draft_the_model_is_a_single_stage(paint, pair, two_stage_weights):
    single = paint(draft_steps=0)
    assert single.draft is None and "stages" not in single.run and single.run["draft_steps"] == 0
    assert not np.array_equal(single.image, pair.image)
    assert paint(draft_steps=None).run["draft_steps"] == 40, "a model that has a draft uses it"
    names = [
        stage.name
        for stage in stages.find_stages(
            load_models(two_stage_weights), SamplingConfig(patch=64), None, two_stage_weights, "cpu"
        )
    ]
    assert names == ["detail"]


@pytest.mark.parametrize(
    ("settings", "draft", "detail"),
    [({"solver": "ddim"}, 1.0, None), ({"eta": 0.5}, 0.5, 0.5), ({"eta": 0.0}, 0.0, 0.0), ({}, None, None)],
)
def test_fresh_noise_of_a_draft_unless_said_otherwise(two_stage_weights, settings, draft, detail):
    config = SamplingConfig(**({"solver": "ddim"} if "eta" in settings else {}), patch=64, draft_steps=2, **settings)
    found = stages.find_stages(load_models(two_stage_weights), config, None, two_stage_weights, "cpu")
    assert [stage.method.eta for stage in found] == [draft, detail]


def test_appearances_are_seeds_numbers_pictures_and_morphs(paint, pair, two_stage_weights, tmp_path):
    drafting = load_draft(two_stage_weights)
    seven, same = find_codes(None, 7, "squamous", drafting)
    assert torch.equal(seven, same) and torch.equal(seven, find_codes("7", 0, "squamous", drafting)[0])
    assert not torch.equal(seven, find_codes("7", 0, "normal", drafting)[0])
    assert np.array_equal(paint(appearance="7").image, pair.image), "that of the picture's own seed"
    text = SamplingConfig(appearance=[0.5] * CODE).appearance
    assert find_codes(text, 0, None, drafting)[0].tolist() == [0.5] * CODE
    left, right = find_codes("3 to 4", 0, "normal", drafting)
    assert torch.equal(left, find_codes("3", 0, "normal", drafting)[0]) and not torch.equal(left, right)
    tile = np.random.default_rng(0).integers(0, 255, (100, 130, 3)).astype(np.uint8)
    Image.fromarray(tile).save(tmp_path / "tile.png")
    imitated = paint(appearance=tmp_path / "tile.png")
    (tmp_path / "tile.png").unlink()
    recorded = imitated.run["appearance"]
    assert len(recorded.split(",")) == CODE and settled(recorded, drafting) == recorded
    again = generate(
        "squamous", stripes(), config=SamplingConfig.from_run(imitated.run), weights=two_stage_weights, device="cpu"
    )
    assert np.array_equal(again.image, imitated.image), "without the picture"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"appearance": "0.5,1"}, "two of these with ' to ' between them, got '0.5,1'"),
        ({"appearance": " to 3"}, "expected appearance to be a seed, 16 numbers, a picture, or two of these"),
        ({"appearance": "1 to 2 to 3"}, "expected an appearance, or two with ' to ' between them, got '1 to 2 to 3'"),
        ({"appearance": "none.png"}, "none.png"),
        ({"appearance": 3, "draft_steps": 0}, "expected steps of the draft for an appearance, got none and '3'"),
        ({"appearance": object()}, "expected an appearance that is a seed, numbers or a picture, got <object"),
        ({"draft_steps": -1}, "expected draft_steps to be a whole number from 0 to 1000, got -1"),
        ({"draft_noise": 0.7}, "expected draft_noise to be a number from 0 to 0.5, got 0.7"),
    ],
)
def test_settings_that_cannot_be_are_refused(paint, settings, message):
    with pytest.raises((ValueError, OSError), match=message):
        paint(**settings)


def test_a_model_without_a_draft_refuses_one(tiny_weights):
    for settings in ({"draft_steps": 2}, {"appearance": 3}):
        with pytest.raises(ValueError, match=r"expected a model with a draft for .*, got one without"):
            generate("normal", size=(64, 64), weights=tiny_weights, steps=1, device="cpu", **settings)


def test_an_edit_draws_the_draft_anew_under_the_change_alone(pair, two_stage_weights, tmp_path):
    pair.save(tmp_path)
    read = Pair.read(tmp_path)
    assert np.array_equal(read.draft, pair.draft)
    edited = resynthesise(read, spotted(), margin=8, weights=two_stage_weights, device="cpu", batch_size=4)
    open_ = np.zeros((12, 16), bool)
    open_[1:6, 1:6] = True
    for before, after in ((pair.draft, edited.draft), (pair.latents, edited.latents)):
        assert np.array_equal(after[:, ~open_], before[:, ~open_])
        assert not np.isclose(after[:, open_], before[:, open_]).all(axis=0).any()
    assert edited.run["stages"]["draft"]["windows"] <= pair.run["stages"]["draft"]["windows"]
    with pytest.raises(ValueError, match="expected a pair with its draft for draft_steps 3, got one without"):
        resynthesise(replace(pair, draft=None), spotted(), weights=two_stage_weights, device="cpu")


def test_a_pair_of_a_single_stage_is_edited_as_one(paint, two_stage_weights):
    single = paint(draft_steps=0)
    earlier = replace(single, run={key: single.run[key] for key in single.run if key != "draft_steps"})
    for pair in (single, earlier):
        edited = resynthesise(pair, spotted(), margin=8, weights=two_stage_weights, device="cpu")
        assert edited.draft is None and edited.run["draft_steps"] == 0


def test_a_hole_is_filled_in_both_stages(two_stage_weights):
    image = np.random.default_rng(1).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    keep = np.ones(SIZE, bool)
    keep[30:50, 40:70] = False
    filled = inpaint(image, keep, stripes(), margin=0, weights=two_stage_weights, **SETTINGS)
    assert np.array_equal(filled.image[keep], image[keep])
    thumbnails = load_draft(two_stage_weights).network.thumbnails
    small = thumbnails.encode(to_tensor(image)[None])[0].numpy()
    known = np.ones((12, 16), bool)
    known[3:7, 5:9] = False
    np.testing.assert_array_equal(filled.draft[:, known], small[:, known])
    assert not np.isclose(filled.draft[:, ~known], small[:, ~known]).all(axis=0).any()
    assert "warnings" not in filled.run


def test_tissue_under_a_given_draft_is_called_a_copy(paint, pair):
    draft = {"draft": Known(torch.from_numpy(pair.draft), torch.ones(12, 16, dtype=torch.bool))}
    with pytest.warns(Caution, match="100% is painted under the draft of a given picture: a copy of it"):
        copied = paint(known=draft, seed=99)
    assert np.array_equal(copied.draft, pair.draft) and "copy" in copied.run["warnings"][0]
    assert copied.run["stages"]["draft"]["network_evaluations"] == 0
    with pytest.raises(ValueError, match="expected latents to keep of the stages detail, got those of draft"):
        paint(known=draft, draft_steps=0)


def test_a_slide_is_the_picture_and_goes_on_from_either_stage(paint, two_stage_weights, tmp_path, monkeypatch):
    settings = {"plan": "random-patch", "patch": 64}
    pair = paint(**settings)
    slide = {"out": tmp_path / "out", "store": tmp_path / "store", "weights": two_stage_weights, "force": True}

    class Killed(Exception):
        pass

    for last in (1, 3):  # within the draft, and after the first level of the detail

        def killed(items, total, part, last=last):
            for item in items:
                yield item
                if part == "sampling" and item.number == last:
                    raise Killed

        with pytest.raises(Killed):
            generate_slide("squamous", stripes(), progress=killed, **settings, **slide, **SETTINGS)
    run = generate_slide("squamous", stripes(), **settings, **slide, **SETTINGS)
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"draft", "detail", "labels.raw"}
    for name, expected in (("detail", pair.latents), ("draft", pair.draft)):
        assert np.array_equal(stored(tmp_path / "store", name), expected), name
    assert run["stages"]["draft"]["network_evaluations"] == pair.run["stages"]["draft"]["network_evaluations"]
    assert tifffile.imread(tmp_path / "out/image.ome.tif").shape == (*SIZE, 3)
    with pytest.raises(ValueError, match="found detail but no"):
        generate_slide("squamous", stripes(), **settings, **slide, **SETTINGS | {"draft_steps": 0})


def test_a_store_of_a_single_stage_is_no_store_of_two(two_stage_weights, tmp_path):
    slide = {"out": tmp_path / "out", "store": tmp_path / "store", "weights": two_stage_weights, "force": True}
    generate_slide("squamous", stripes(), **slide, **SETTINGS | {"draft_steps": 0})
    with pytest.raises(ValueError, match=r"expected an empty folder or the store of a run in 2 stages at .*, found"):
        generate_slide("squamous", stripes(), **slide, **SETTINGS)


def test_workers_sample_both_stages(paint, two_stage_weights, tmp_path):
    slide = {"out": tmp_path / "out", "store": tmp_path / "store", "weights": two_stage_weights}
    run = generate_slide("squamous", stripes(), workers=1, **slide, **SETTINGS)
    np.testing.assert_allclose(stored(tmp_path / "store", "detail"), paint().latents, atol=1e-4)
    assert run["stages"]["draft"]["windows"] > 0


def test_the_command_line_takes_an_appearance(two_stage_weights, tmp_path):
    words = ["sample", "--context", "normal", "--size", "64x64", "--steps", "1", "--draft-steps", "1"]
    words += ["--appearance", "3 to 4", "--weights", str(two_stage_weights), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["appearance"], run["draft_steps"]) == ("3 to 4", 1) and (tmp_path / "draft.npy").exists()


def test_fast_is_the_students_and_says_what_they_did(student_weights, two_stage_weights, paint, tmp_path):
    """Whatever is said of solver, steps and guidance; plans, edits and slides are the loop's and go on as they did."""
    fast = {"weights": student_weights, "quality": "fast"}
    pair = paint(**fast, omega=2.0, steps=9, solver="dpm-solver++")
    run = pair.run
    assert [run[name] for name in ("quality", "solver", "steps", "draft_steps", "omega")] == ["fast", "ddim", 4, 4, 0.0]
    assert run["network_evaluations"] == 2 * 4 * run["windows_per_level"], "one a level, no second one for guidance"
    students, same = load_students(student_weights), {"solver": "ddim", "steps": 4, "draft_steps": 4, "eta": 0.0}
    assert paint(weights=student_weights, **same).run["quality"] == "best"
    assert not np.array_equal(paint(weights=student_weights, **same).image, pair.image)
    (teachers := tmp_path / "teachers").mkdir()  # a model whose own networks are these students
    for name in json.loads((student_weights / "hashes.json").read_text()):
        if not name.endswith("_student"):
            taken = name + "_student" if name in ("image", "draft") else name
            shutil.copy(student_weights / f"{taken}.safetensors", teachers / f"{name}.safetensors")
    hashes = {path.stem: checkpoint.sha256(path) for path in teachers.glob("*.safetensors")}
    (teachers / "hashes.json").write_text(json.dumps(hashes))
    expected = paint(weights=teachers, **same)
    assert np.array_equal(expected.latents, pair.latents) and np.array_equal(expected.draft, pair.draft)
    assert students.image.config["steps"] == 4
    again = generate("squamous", stripes(), config=SamplingConfig.from_run(run), weights=student_weights, device="cpu")
    assert np.array_equal(again.image, pair.image)
    edited = resynthesise(pair, spotted(), margin=8, weights=student_weights, device="cpu", batch_size=4)
    assert edited.run["quality"] == "fast" and not np.array_equal(edited.image, pair.image)
    single = paint(**fast, draft_steps=0)
    assert single.draft is None and single.run["steps"] == 4
    slide = {"out": tmp_path / "out", "store": tmp_path / "store", "force": True}
    generate_slide("squamous", stripes(), **slide, **SETTINGS | fast)
    assert np.array_equal(stored(tmp_path / "store", "detail"), pair.latents)
    with pytest.raises(ValueError, match="expected a model with students for the quality fast, got one without in"):
        paint(weights=two_stage_weights, quality="fast")
