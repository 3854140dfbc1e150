"""One's own pictures, one's own autoencoder, several processes: the training commands end to end, at one step each."""

import json
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from diffinfinite_lite.cli import app
from diffinfinite_lite.data.stain import TARGET
from diffinfinite_lite.models import checkpoint, pretrained
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.draft import Draft
from diffinfinite_lite.models.pretrained import load_lite, load_models, load_students
from diffinfinite_lite.pipelines.generate import generate
from diffinfinite_lite.training import data as training_data
from diffinfinite_lite.training import recipes
from diffinfinite_lite.training.distillation import Distillation
from tests.toys import tiny_model

CONCENTRATIONS = np.random.default_rng(0).gamma(1.5, 0.5, (300, 260, 2))


def run(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    if result.exception:
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three H&E-like pictures at 0.5 um/px, one with a mask, one annotated in QuPath; a class map; a broken file."""
    folder = tmp_path_factory.mktemp("own")
    rgb = (255 * np.exp(-CONCENTRATIONS @ np.array(TARGET.stains))).clip(0, 255).astype(np.uint8)
    (folder / "squamous").mkdir()
    for name in ("a", "b", "squamous/c"):
        Image.fromarray(np.roll(rgb, 7 * len(name), axis=0)).save(folder / f"{name}.png")
    mask = np.zeros(rgb.shape[:2], np.uint8)
    mask[:, 130:] = 1
    Image.fromarray(mask).save(folder / "squamous/c_mask.png")
    (folder / "broken.png").write_bytes(b"no picture")
    corners = [[0, 0], [260, 0], [260, 80], [0, 80], [0, 0]]
    region = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}}
    region["properties"] = {"classification": {"name": "Desmoplasia"}}
    (folder / "b.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [region]}))
    (folder / "classes.json").write_text('{"Desmoplasia": "stroma"}')
    return folder


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.data.pictures.PictureWarning")
def test_own_pictures_become_a_model_that_samples(pictures, tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "UPDATE_BATCH", 4)
    runs, weights = tmp_path / "runs", tmp_path / "weights"
    data = ("--data", pictures, "--class-map", pictures / "classes.json")
    tiny = ("--networks", "tiny")
    run("train", "autoencoder", *data, *tiny, "--out", runs, "--steps", 1, "--device", "cpu")
    setting = training_data.Setting(runs, data=pictures, class_map={"Desmoplasia": "stroma"})
    images, masks, contexts = training_data.training_tiles(setting)
    assert images.shape == (12, 224, 224, 3), "300 x 260 px is four overlapping tiles of 224 px"
    assert contexts.count("squamous") == 4
    assert sorted(masks.unique().tolist()) == [0, 1, 3], "of the mask file and of the GeoJSON file"
    run("train", "decoder", *data, "--out", runs, "--steps", 1, "--device", "cpu")
    run("train", "image", *data, *tiny, "--out", runs, "--steps", 1, "--device", "cpu")
    run("train", "update", *data, "--out", runs, "--steps", 2, "--device", "cpu")
    assert len(checkpoint.load(runs / "update/latents.safetensors")[0]["q0"]) == 8 * 12, "in all orientations"
    run("train", "adopt", "mask", "--weights", tiny_weights, "--out", runs)
    run("train", "export", "--out", runs, "--weights", weights)
    out = tmp_path / "out"
    run("sample", "--context", "normal", "--size", "64x64", "--steps", 1, "--weights", weights, "--out", out)
    used = json.loads((out / "run.json").read_text())["weights"]
    assert used["image"] == checkpoint.sha256(weights / "image.safetensors")
    assert used["image"] != checkpoint.sha256(tiny_weights / "image.safetensors")
    exported, config = checkpoint.load(weights / "image.safetensors")
    before, after = (checkpoint.load(runs / name / "ema.safetensors")[0] for name in ("image", "update"))
    assert config["patch"] == 224 and not (weights / "image_update.safetensors").exists()
    assert exported.keys() == after.keys() and all(torch.equal(exported[key], after[key]) for key in after)
    assert {value.dtype for value in exported.values()} == {torch.float16}
    assert any(not torch.equal(before[key], after[key]) for key in after)
    run("train", "card", "--out", runs, "--weights", weights)
    assert "| `train update`, 2 steps in " in (weights / "MODEL_CARD.md").read_text(encoding="utf-8")
    plain, sharpened = checkpoint.load(runs / "autoencoder/ema.safetensors")[0], load_lite(weights)
    own = checkpoint.load(weights / "decoder.safetensors")[0]
    for key, value in sharpened.state_dict().items():
        assert torch.equal(value, (own if key.startswith("decoder.") else plain)[key].float()), key


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.data.pictures.PictureWarning")
def test_draft_and_detail_become_a_model_in_two_stages(pictures, tiny_weights, tmp_path):
    runs, weights = tmp_path / "runs", tmp_path / "weights"
    data = ("--data", pictures, "--out", runs, "--steps", 1, "--device", "cpu")
    tiny = ("--networks", "tiny")
    run("train", "autoencoder", *data, *tiny)
    with pytest.raises(FileNotFoundError, match=r"expected a draft model in .*: run diffinfinite train draft"):
        run("train", "detail", *data)
    run("train", "draft", *data, *tiny)
    with pytest.raises(FileNotFoundError, match=r"expected an image model in .*: run diffinfinite train image"):
        run("train", "detail", *data)  # not the shipped one, whose latents are others
    run("train", "image", *data, *tiny)
    run("train", "detail", *data)
    tensors = checkpoint.load(runs / "detail/latents.safetensors")[0]
    assert tensors["z0"].shape == (8 * 12, 8, 28, 28) and tensors["h0"].shape == (8 * 12, 3, 28, 28)
    first, turned = tensors["h0"][0], tensors["h0"][5 * 12]
    assert torch.equal(turned, torch.rot90(first, 1, (1, 2)).flip(2)) and not torch.equal(turned, first)
    run("train", "adopt", "mask", "--weights", tiny_weights, "--out", runs)
    for gain, expected in ((None, 1.0), (1.05, 1.05)):
        run("train", "export", "--out", runs, "--weights", weights, *(("--gain", gain) if gain else ()))
        assert load_models(weights).image.gain == expected
    with pytest.raises(ValueError, match=r"^expected a gain from 0\.9 to 1\.1, got 2\.0$"):
        run("train", "export", "--out", runs, "--weights", tmp_path / "pale", "--gain", 2.0)
    assert not (tmp_path / "pale").exists()
    found = {path.stem for path in weights.glob("*.safetensors")}
    assert found == {"appearance", "autoencoder", "draft", "image", "mask"}
    pair = generate("squamous", size=(64, 64), steps=1, draft_steps=1, weights=weights, device="cpu")
    assert pair.draft.shape == (3, 16, 16) and set(pair.run["weights"]) == found, "with the margin of its autoencoder"


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.data.pictures.PictureWarning")
def test_students_follow_their_teachers_into_the_model(pictures, tmp_path, monkeypatch):
    """One step, resumed by another, exported and sampled; a teacher that was trained on has another student."""
    runs, weights = tmp_path / "runs", tmp_path / "weights"
    before = tiny_model(tmp_path)
    data = ("--data", pictures, "--out", runs, "--device", "cpu")
    for name in ("autoencoder", "image", "mask"):
        run("train", "adopt", name, "--weights", before, "--out", runs)
    run("train", "draft", *data, "--networks", "tiny", "--steps", 1)
    with pytest.raises(FileNotFoundError, match=r"expected a detail model in .*: run diffinfinite train detail"):
        run("train", "detail-student", "--out", runs, "--steps", 1)
    run("train", "detail", *data, "--steps", 1)
    run("train", "export", "--out", runs, "--weights", weights)
    with pytest.raises(ValueError, match="expected a model with students for the quality fast, got one without"):
        generate("normal", size=(64, 64), quality="fast", weights=weights, device="cpu")
    monkeypatch.setattr(recipes, "Distillation", partial(Distillation, alone=1, ramp=1))  # step 2 has a critic
    words = ("--omega", 0.5, "--out", runs, "--device", "cpu")
    run("train", "draft-student", *words, "--steps", 2)
    run("train", "detail-student", *words, "--steps", 1)
    first = checkpoint.load(runs / "detail_student/state.safetensors")[0]
    with pytest.raises(ValueError, match=r"detail_student/state\.safetensors .*omega is 0\.5 there and 0\.0 here"):
        run("train", "detail-student", "--out", runs, "--device", "cpu", "--steps", 2)
    run("train", "detail-student", *words, "--steps", 2)
    second, teacher = (checkpoint.load(path)[0] for path in (runs / "detail_student/state.safetensors", _detail(runs)))
    for key, value in teacher.items():  # a copy of the teacher's average, moved by as much as two steps can
        assert (second[f"model.network.{key}"] - value.float()).abs().max() < 5e-4, key
    moved = [key for key in second if key.startswith("model.critic.heads") and not torch.equal(second[key], first[key])]
    assert moved, "and the critic learns once it is there"
    run("train", "export", "--out", runs, "--weights", weights)
    found = {path.stem for path in weights.glob("*.safetensors")}
    assert {"draft_student", "image_student"} < found
    students = load_students(weights)
    assert isinstance(students.image, Detail) and isinstance(students.draft, Draft)
    assert students.image.config["omega"] == 0.5 and students.image.config["patch"] == 64
    own = checkpoint.load(runs / "detail_student/ema.safetensors")[0]
    assert torch.equal(students.image.enter.weight, own["network.enter.weight"].float())
    pair = generate("squamous", size=(64, 64), quality="fast", weights=weights, device="cpu")
    assert (pair.run["steps"], pair.run["draft_steps"], pair.run["sequential_depth"]) == (4, 4, 8)
    run("train", "detail", *data, "--steps", 2)
    with pytest.raises(ValueError, match=r"runs/detail_student to follow from the one in .*runs/detail, but that was"):
        run("train", "export", "--out", runs, "--weights", weights)


def _detail(runs):
    return runs / "detail/ema.safetensors"


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.data.pictures.PictureWarning")
def test_an_adopted_encoder_that_sees_no_borders_gets_decoder_and_detail(pictures, tmp_path):
    """As the next weights are made: the shipped encoder, mirrored pictures, a new decoder, detail trained on."""
    before = tiny_model(tmp_path)
    runs, weights, other = (tmp_path / name for name in ("runs", "weights", "other"))
    data = ("--data", pictures, "--steps", 1, "--device", "cpu")
    with pytest.raises(ValueError, match=r"expected borders of an autoencoder out of reflected, zero, got 'reflected'"):
        recipes.adopt("image", runs, before, "reflected")
    assert not runs.exists()
    for name in ("autoencoder", "image", "mask"):
        words = ("--borders", "reflected") if name == "autoencoder" else ()
        run("train", "adopt", name, *words, "--weights", before, "--out", runs)
    taken, origin = (read(runs / "autoencoder/ema.safetensors") for read in (checkpoint.load, checkpoint.read_origin))
    left = checkpoint.load(before / "autoencoder.safetensors")
    assert taken[1] == left[1] | {"borders": "reflected"}
    assert origin == {"adopted": checkpoint.sha256(before / "autoencoder.safetensors")}
    assert all(torch.equal(taken[0][key], left[0][key]) for key in left[0]), "the standardisation, too"
    run("train", "adopt", "autoencoder", "--weights", before, "--out", other)
    run("train", "decoder", *data, "--out", other)  # where the encoder still sees zeros: no crop of it has a border
    shutil.copytree(other / "decoder", runs / "decoder")
    run("train", "decoder", *data, "--out", runs)  # goes on, here with nothing left to do
    assert "borders" in checkpoint.read_config(runs / "decoder/ema.safetensors")
    run("train", "draft", *data, "--networks", "tiny", "--out", runs)
    run("train", "detail", *data, "--out", runs)
    run("train", "export", "--out", runs, "--weights", weights)
    autoencoder = load_lite(weights)
    assert autoencoder.borders == "reflected" and autoencoder.config["upsampling"] == "nearest"
    images = recipes.cached_tiles(training_data.Setting(runs, data=pictures))[0]
    with torch.no_grad():
        z = autoencoder.encode(images[:1].permute(0, 3, 1, 2).float() / 127.5 - 1)
    seen = checkpoint.load(runs / "detail/latents.safetensors")[0]["z0"][:1].float()
    torch.testing.assert_close(seen, z, atol=0.02, rtol=0.02)
    pair = generate("squamous", size=(64, 64), steps=1, draft_steps=1, weights=weights, device="cpu")
    assert pair.run["margin"] == 32 and pair.latents.shape == (8, 16, 16) and pair.image.shape == (64, 64, 3)
    assert generate("squamous", size=(64, 64), steps=1, weights=before, device="cpu").margin == 0


def test_a_decoder_that_was_taken_over_is_what_a_new_one_begins_with(trained_on, tmp_path, monkeypatch):
    """It lies in a file of its own, beside an earlier one in the autoencoder's."""
    seen = []

    class Seen(Exception):
        pass

    def begin(frozen, *_):
        seen.append(frozen)
        raise Seen

    monkeypatch.setattr(recipes, "smoothed", begin)
    monkeypatch.setattr(recipes, "real_pictures", lambda setting: None)
    recipes.adopt("autoencoder", tmp_path, trained_on, "reflected")
    with pytest.raises(Seen):
        next(recipes.decoder(training_data.Setting(tmp_path, device="cpu"), 1))
    found, taken = seen[0].state_dict(), load_lite(trained_on).state_dict()
    assert seen[0].borders == "reflected" and all(torch.equal(found[key], taken[key]) for key in taken)


@pytest.mark.parametrize("model", ["trained_on", "student_weights"])
def test_detail_begins_with_the_shipped_model_where_nothing_was_trained(model, request, tmp_path, monkeypatch):
    """One of a single stage, or of two, of which it knows what it has learnt of drafts; whose students are left."""
    shipped = request.getfixturevalue(model)
    monkeypatch.setattr(pretrained, "WEIGHTS", shipped)
    monkeypatch.setattr(recipes, "ORIENTATIONS", 1)
    monkeypatch.setattr(recipes, "_stage_batch", lambda setting: 10)
    images = torch.randint(256, (4, 224, 224, 3), dtype=torch.uint8)
    pictures = training_data.Annotated(images, torch.ones(4, 28, 28, dtype=torch.uint8), [[0, 1], [2], [3]])
    monkeypatch.setattr(recipes, "annotated_sets", lambda setting: [pictures])
    runs, weights = tmp_path / "runs", tmp_path / "weights"
    checkpoint.save(runs / "tiles.safetensors", {"images": images}, {"contexts": ["normal"] * 4})
    run("train", "draft", "--networks", "tiny", "--out", runs, "--steps", 1, "--device", "cpu")
    run("train", "detail", "--out", runs, "--steps", 1, "--device", "cpu")
    run("train", "export", "--out", runs, "--weights", weights)
    hashes = json.loads((weights / "hashes.json").read_text())
    kept = {"autoencoder", "mask", *(["decoder"] if model == "trained_on" else [])}
    assert hashes.keys() == {"appearance", "draft", "image"} | kept
    assert all(hashes[name] == pretrained.expected_hashes(shipped)[name] for name in kept)
    before, after = load_models(shipped).image.state_dict()["enter.weight"], load_models(weights).image
    assert torch.allclose(after.state_dict()["enter.weight"][:, : before.shape[1]], before, atol=2e-3)


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.data.pictures.PictureWarning")
def test_a_model_in_two_stages_that_was_taken_over_is_gone_on_with(pictures, two_stage_weights, tmp_path):
    """Its image model reads drafts already: trained on as a single stage, and then with drafts."""
    runs, weights = tmp_path / "runs", tmp_path / "weights"
    data = ("--data", pictures, "--out", runs, "--steps", 1, "--device", "cpu")
    for name in ("autoencoder", "image", "mask"):
        run("train", "adopt", name, "--weights", two_stage_weights, "--out", runs)
    run("train", "image", *data)
    run("train", "export", "--out", runs, "--weights", weights)
    settings = {"size": (64, 64), "steps": 1, "weights": weights, "device": "cpu"}
    assert generate("squamous", **settings).run["draft_steps"] == 0, "a draft is nothing that is taken over"
    run("train", "draft", *data, "--networks", "tiny")
    run("train", "detail", *data)
    run("train", "export", "--out", runs, "--weights", weights)
    taken, ours = load_models(two_stage_weights).image.state_dict(), load_models(weights).image.state_dict()
    assert torch.allclose(ours["enter.weight"], taken["enter.weight"], atol=2e-3)
    pair = generate("squamous", draft_steps=1, **settings)
    assert pair.draft.shape == (3, 8, 8) and pair.run["sequential_depth"] == 2


@pytest.mark.filterwarnings("ignore::diffinfinite_lite.data.pictures.PictureWarning")
def test_a_diffusers_autoencoder_takes_the_place_of_ours(pictures, tiny_weights, tmp_path):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    AutoencoderKL(block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4, **kinds).save_pretrained(
        tmp_path / "sd/vae"
    )
    runs, weights = tmp_path / "runs", tmp_path / "weights"
    brought = ("--data", pictures, "--vae", tmp_path / "sd")
    run("train", "image", *brought, "--networks", "tiny", "--out", runs, "--steps", 1)
    run("train", "adopt", "mask", "--weights", tiny_weights, "--out", runs)
    run("train", "export", "--out", runs, "--weights", weights)
    assert not (weights / "autoencoder.safetensors").exists()
    assert generate("normal", size=(64, 64), steps=1, weights=weights).image.shape == (64, 64, 3)


def test_orientations_are_the_eight_of_a_square():
    picture = torch.arange(9).view(1, 3, 3)
    seen = {tuple(recipes.turned(picture, n).flatten().tolist()) for n in range(8)}
    assert len(seen) == 8 and torch.equal(recipes.turned(picture, 0), picture)
    coloured = picture[..., None].repeat(1, 1, 1, 3)
    assert all(torch.equal(recipes.turned(coloured, n)[..., 1], recipes.turned(picture, n)) for n in range(8))


@pytest.mark.parametrize(("turn_stride", "orientations"), [(1, 8), (4, 2)])
def test_pictures_are_encoded_in_their_orientations_with_what_they_show(turn_stride, orientations, monkeypatch):
    """Of each the same of latents, thumbnail and conditions; near-duplicates together see all eight."""
    values = torch.arange(8 * 9, dtype=torch.uint8).view(8, 3, 3)  # 24 px of nine values each
    images = values.repeat_interleave(8, 1).repeat_interleave(8, 2)[..., None].repeat(1, 1, 1, 3)
    monkeypatch.setattr(recipes, "encode_tiles", lambda encoder, x, compute, batch: x[:, ::8, ::8, 0])
    part = training_data.Annotated(images, values, [[0, 1, 2, 3], [4, 5, 6], [7]], turn_stride=turn_stride)
    tensors, clusters = recipes._in_orientations(part, None, None)
    assert torch.equal(tensors["z"], tensors["c"])
    assert torch.allclose(tensors["h"][:, 0].float(), tensors["c"].float() / 127.5 - 1, atol=1e-2)
    for cluster, places in zip(part.clusters, clusters, strict=True):
        assert len(places) == orientations * len(cluster)
        found = {(int(tensors["z"][p].min()) // 9, tuple(tensors["z"][p].flatten().tolist())) for p in places}
        assert len(found) == len(places) and {picture for picture, _ in found} == set(cluster)
    first = [tensors["z"][p] - tensors["z"][p].min() for p in clusters[0]]
    assert len({tuple(x.flatten().tolist()) for x in first}) == 8


def test_an_update_needs_an_image_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected an image model in .*: run diffinfinite train image"):
        run("train", "update", "--out", tmp_path / "runs", "--steps", 1)


def test_own_masks_take_the_place_of_layouts(tmp_path):
    """Labelled well enough and under a context's name; the others are left out, and none at all is refused."""
    data = tmp_path / "own"
    for folder, labelled in (("squamous", 400), ("elsewhere", 400), ("normal", 100)):
        (data / folder).mkdir(parents=True)
        Image.fromarray(np.full((400, 400, 3), 200, np.uint8)).save(data / folder / "a.png")
        mask = np.zeros((400, 400), np.uint8)
        mask[:labelled] = 3
        Image.fromarray(mask).save(data / folder / "a_mask.png")
    cells, prompts = training_data.own_masks(training_data.Setting(tmp_path, data=data))
    assert cells.shape == prompts.shape == (4, 48, 48), "400 px is four overlapping patches of 384 px"
    assert cells.unique().tolist() == [3]
    assert prompts.unique().tolist() == [13]
    shutil.rmtree(data / "squamous")
    with pytest.raises(ValueError, match=r"expected masks of at least 384 px with 60% labelled .* found none"):
        run("train", "mask", "--data", data, "--out", tmp_path / "runs", "--steps", 1)


def test_a_folder_without_an_autoencoder_is_named(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"expected an AutoencoderKL or AutoencoderTiny of diffusers at .*own"):
        run("train", "image", "--data", pictures, "--vae", pictures, "--out", tmp_path, "--steps", 1)


def test_image_needs_an_autoencoder(tmp_path):
    with pytest.raises(FileNotFoundError, match="run diffinfinite train autoencoder"):
        next(recipes.image(training_data.Setting(tmp_path), 1))


TWO = """
import sys, torch
from torch import nn
from diffinfinite_lite.training.loop import Optimisation, batch_generator, fit

model = nn.Linear(3, 1)
nn.init.ones_(model.weight), nn.init.zeros_(model.bias)
model.config = {}
alone = sys.argv[2] == "alone"

def one(generator):
    return (model(torch.randn(4, 3, generator=generator)) - 1).square().mean()

def loss(step, generator):  # alone: the mean over what the two processes draw
    if alone:
        return {"loss": sum(one(batch_generator(0, step, process)) for process in (0, 1)) / 2}
    return {"loss": one(generator)}

for progress in fit(model, loss, Optimisation(4, peak_lr=0.1), out=sys.argv[1]):
    pass
"""


def test_two_processes_train_like_one_on_both_batches(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    subprocess.run([*launch, script, tmp_path / "two", "two"], check=True, capture_output=True, timeout=120)
    subprocess.run([sys.executable, script, tmp_path / "one", "alone"], check=True, capture_output=True, timeout=120)
    two, one = (checkpoint.load(tmp_path / name / "state.safetensors")[0] for name in ("two", "one"))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value)
    assert len((tmp_path / "two/log.csv").read_text().splitlines()) == 5, "one process keeps the log"
