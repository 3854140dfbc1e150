"""An own model: networks taken over, held-out tiles processed alike, and a card that says what files know."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from diffinfinite_lite import cli
from diffinfinite_lite.data import stain
from diffinfinite_lite.data.stain import TARGET
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.pretrained import expected_hashes, load_models
from diffinfinite_lite.training import recipes
from diffinfinite_lite.training.card import CARD, NOBODY, training_of, write_card
from diffinfinite_lite.training.data import Setting, held_out_tiles, stain_profile, training_tiles

SECRET = "patient-4711"
REPORT = {
    "counts": {"real": 21, "synthetic": 20, "train": 0},
    "rows": [{"name": "told apart", "features": "Handcrafted", "value": 0.9, "low": 0.8, "high": 1.0, "real": 0.5}],
    "notes": [f"Of real, 1 of 22 files could not be read, first {SECRET}.png.", "No training tiles were given."],
}


def draw(path, seed, *, darker=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    amounts = darker * np.random.default_rng(seed).gamma(1.5, 0.5, (224, 224, 2))
    Image.fromarray((255 * np.exp(-amounts @ np.array(TARGET.stains))).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def model(trained_on, tmp_path_factory):
    """Folders of training pictures, held-out ones, runs and weights of a tiny model."""
    home = tmp_path_factory.mktemp("own")
    for seed in range(3):
        draw(home / f"train/{SECRET}-{seed}.png", seed)
    Image.fromarray(np.full((224, 224), 3, np.uint8)).save(home / f"train/{SECRET}-0_mask.png")
    draw(home / "held-out/other.png", 7)
    options = {"data": home / "train", "class_map": {"Muscle": "stroma"}, "networks": "tiny", "device": "cpu"}
    setting = Setting(home / "runs", **options)
    for network in ("autoencoder", "mask"):
        recipes.adopt(network, setting.runs, trained_on)
    steps = [progress.step for progress, _ in recipes.image(setting, 3)]
    assert steps == [1, 2, 3]
    recipes.export(setting.runs, home / "weights")
    return setting, home / "weights"


def test_what_was_taken_over_is_the_other_models(model, trained_on):
    setting, weights = model
    ours, others = load_models(weights), load_models(trained_on)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(ours.autoencoder.encode(images), others.autoencoder.encode(images))
    z = torch.randn(1, 8, 8, 8)
    assert torch.equal(ours.autoencoder.decode(z), others.autoencoder.decode(z))
    assert all(torch.equal(value, ours.mask.state_dict()[key]) for key, value in others.mask.state_dict().items())
    assert ours.image.config["widths"] == list(setting.size.image)


def test_only_what_can_be_taken_over_is(model, trained_on, tmp_path):
    setting, _ = model
    with pytest.raises(ValueError, match="expected a network out of autoencoder, image, mask, got 'draft'"):
        recipes.adopt("draft", tmp_path)
    with pytest.raises(FileExistsError, match=r"expected no mask in .*runs, found one"):
        recipes.adopt("mask", setting.runs)
    shutil.copytree(trained_on, tmp_path / "changed")
    (tmp_path / "changed/mask.safetensors").write_bytes(b"another")
    with pytest.raises(ValueError, match="the file was changed or cut short"):
        recipes.adopt("mask", tmp_path / "runs", tmp_path / "changed")
    assert not (tmp_path / "runs").exists()


def test_an_image_model_that_was_taken_over_is_gone_on_from(model, tmp_path):
    first, weights = model
    setting = Setting(tmp_path / "runs", data=first.data, class_map=first.class_map, device="cpu")
    recipes.adopt("image", setting.runs, weights)
    assert training_of(setting.runs, "image").adopted == expected_hashes(weights)["image"]
    with pytest.raises(ValueError, match=r"expected the autoencoder in .* whose latents the image model"):
        next(recipes.image(setting, 1))
    recipes.adopt("autoencoder", setting.runs, weights)
    before = load_models(weights).image.state_dict()
    for steps in (1, 3):  # the second call goes on from the first one's checkpoint
        made = [progress.step for progress, _ in recipes.image(setting, steps)]
        assert made == ([1] if steps == 1 else [2, 3])
    after = checkpoint.load(setting.runs / "image/ema.safetensors")[0]
    assert 0 < max(float((after[key].float() - before[key]).abs().max()) for key in before) < 3 * 2e-4 * 1.1
    record = training_of(setting.runs, "image")
    assert record.begun_from == expected_hashes(weights)["image"] and "begun from a file" in record.sentence()


def test_an_image_model_is_taken_over_as_it_is(trained_on, tmp_path):
    hashes, place = expected_hashes(trained_on), tmp_path / "runs/image/ema.safetensors"
    assert recipes.adopt("image", tmp_path / "runs", trained_on) == {"image": hashes["image"]}
    assert checkpoint.read_origin(place) == {"adopted": hashes["image"], "latents of": hashes["autoencoder"]}
    (tensors, config), (theirs, their_config) = map(checkpoint.load, (place, trained_on / "image.safetensors"))
    assert config == their_config and config["patch"] == 64
    assert tensors.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in tensors.items())


def test_networks_of_another_width_are_not_gone_on_with(model):
    setting, _ = model
    wider = Setting(setting.runs, data=setting.data, class_map=setting.class_map, networks="small", device="cpu")
    with pytest.raises(ValueError, match="networks is tiny there and small here"):
        next(recipes.image(wider, 4))
    with pytest.raises(ValueError, match="expected networks out of full, small, tiny, got 'huge'"):
        Setting(setting.runs, networks="huge")


def test_held_out_tiles_go_the_way_of_training_tiles(model, tmp_path):
    setting, _ = model
    images, _, _ = training_tiles(setting)
    shutil.copy(setting.data / f"{SECRET}-1.png", tmp_path / "again.png")
    with pytest.raises(ValueError, match=rf"got again.png, which it learnt from as {SECRET}-1.png"):
        held_out_tiles(setting, tmp_path)
    rgb = np.asarray(Image.open(tmp_path / "again.png"))
    (tmp_path / "again.png").unlink()
    Image.fromarray(rgb).save(tmp_path / "again.tif")  # another file: what it becomes is what it became in training
    (tile,) = held_out_tiles(setting, tmp_path)
    assert np.array_equal(to_rgb(tile.image), images[1].numpy())
    assert np.array_equal(to_rgb(tile.image), stain.normalise(rgb, stain_profile(setting)))


def test_public_tiles_have_no_single_stain(tmp_path):
    checkpoint.save(tmp_path / "tiles.safetensors", {}, {"contexts": []})
    with pytest.raises(ValueError, match=r"expected tiles of one's own pictures in .*, got those of the public sets"):
        stain_profile(Setting(tmp_path, device="cpu"))


def test_a_card_says_what_files_know(model, trained_on):
    setting, weights = model
    path, digest = write_card(weights, setting.runs, report=REPORT, about="Pictures of **somebody**, CC0.")
    text = path.read_text("utf8")
    assert path == weights / CARD and text.endswith(f"    {digest}\n")
    assert digest == checkpoint.sha256(weights / "hashes.json")
    for name, value in expected_hashes(weights).items():
        assert f"| `{name}.safetensors` | `{value}` |" in text
    assert "Pictures of **somebody**, CC0." in text and NOBODY not in text
    assert f"`train image`, 3 steps in {training_of(setting.runs, 'image').minutes:.1f} minutes" in text
    assert f"taken over from a file with SHA-256 `{expected_hashes(trained_on)['mask'][:12]}`" in text
    assert "- 3 tiles of 224 px, out of 4 files" in text and "class map: Muscle = stroma" in text
    assert "unknown 66.7%, carcinoma 0.0%, necrosis 0.0%, stroma 33.3%" in text
    assert "| told apart | Handcrafted | 0.9 | 0.8 to 1 | 0.5 |" in text and "No training tiles were given." in text
    assert "Taken over, and not of this tissue: autoencoder, decoder, mask." in text
    assert SECRET not in text, "names of pictures may be those of patients"
    image = load_models(weights).image
    count = sum(value.numel() for value in image.state_dict().values())
    assert re.search(rf"\| `image` \| .* \| {count:,} \| 16, 24, 32 \|", text)


def test_a_card_says_what_nobody_has_said_or_measured(model):
    setting, weights = model
    text = write_card(weights, setting.runs).path.read_text("utf8")
    assert NOBODY in text and "**None. Nobody has measured it**" in text


def test_a_card_is_not_written_for_another_model(model, trained_on, tmp_path):
    setting, weights = model
    with pytest.raises(ValueError, match=r"expected image in .* to be what .* exports, got another: export again"):
        write_card(shutil.copytree(trained_on, tmp_path / "other"), setting.runs)
    with pytest.raises(ValueError, match=r"expected the runs that .* was exported from, got .*, which has no image"):
        write_card(weights, tmp_path / "nothing")
    changed = shutil.copytree(weights, tmp_path / "changed")
    content = bytearray((changed / "image.safetensors").read_bytes())
    content[-1] ^= 1
    (changed / "image.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="the file was changed or cut short"):
        write_card(changed, setting.runs)


def test_the_commands_say_the_same(model, tmp_path):
    setting, weights = model
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / "about.md").write_text("Somebody's.")
    options = ["--report", tmp_path / "report.json", "--about", tmp_path / "about.md"]
    done = _run("train", "card", "--weights", weights, "--out", setting.runs, *options)
    assert (weights / CARD).read_text("utf8").count("Somebody's.") == 1
    assert checkpoint.sha256(weights / "hashes.json") in done
    assert "3 pictures, 1 with labels, are 3 training tiles" in _run("data", "check", setting.data)
    (tmp_path / "report.json").write_text("{}")
    for option, name, message in (
        ("--report", "report.json", "got another JSON file"),
        ("--report", "none.json", "No such file"),
        ("--about", "none.md", "expected a text file"),
    ):
        with pytest.raises(ValueError, match=message):
            _run("train", "card", "--weights", weights, "--out", setting.runs, option, tmp_path / name)


def _run(*words):
    result = CliRunner().invoke(cli.app, list(map(str, words)))
    if result.exception:
        raise result.exception
    return result.output
