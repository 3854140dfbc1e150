"""No run goes on with what was made of something else, and no two runs write one folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite.files import held
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.training import fingerprint, recipes
from diffinfinite_lite.training.data import Setting

pytestmark = pytest.mark.filterwarnings("ignore::diffinfinite_lite.data.pictures.PictureWarning")


def draw(path, seed, side=224):
    rgb = np.random.default_rng(seed).integers(90, 200, (side, side, 3), np.uint8)
    Image.fromarray(rgb).save(path)


@pytest.fixture
def small(monkeypatch):
    """The recipes with small batches."""
    monkeypatch.setattr(recipes, "UPDATE_BATCH", 2)


@pytest.fixture
def data(tmp_path):
    """Two pictures, one with a mask and one annotated."""
    folder = tmp_path / "data" / "normal"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("a", "b")):
        draw(folder / f"{name}.png", seed)
    Image.fromarray(np.full((224, 224), 3, np.uint8)).save(folder / "a_mask.png")
    ring = [[0, 0], [100, 0], [100, 100], [0, 0]]
    (folder / "b.geojson").write_text(
        f'{{"type": "Feature", "geometry": {{"type": "Polygon", "coordinates": [{ring}]}}, '
        '"properties": {"classification": {"name": "Tumor"}}}'
    )
    return folder.parent


def setting(tmp_path, data, **changed):
    options = {"data": data, "class_map": {"Tumor": 1}, "networks": "tiny", "device": "cpu"} | changed
    return Setting(tmp_path / "runs", **options)


def train(recipe, setting, steps=1):
    return [progress.step for progress, _ in recipe(setting, steps)]


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def change_picture(data):
    draw(data / "normal/b.png", 7)


def change_mask(data):
    Image.fromarray(np.full((224, 224), 4, np.uint8)).save(data / "normal/a_mask.png")


def change_annotation(data):
    path = data / "normal/b.geojson"
    path.write_text(path.read_text().replace("100", "90"))


def add_picture(data):
    draw(data / "normal/c.png", 3)


def remove_picture(data):
    (data / "normal/a.png").unlink()


def rename_context(data):
    (data / "normal").rename(data / "squamous")


CHANGES = {
    "normal/b.png has changed": change_picture,
    "normal/a_mask.png has changed": change_mask,
    "normal/b.geojson has changed": change_annotation,
    "normal/c.png is new": add_picture,
    "normal/a.png is gone, normal/a_mask.png is gone": remove_picture,
    "normal/a.png is gone": rename_context,
}


@pytest.mark.parametrize("said", CHANGES)
def test_changed_files_stop_the_run_and_are_named(small, data, tmp_path, said):
    given = setting(tmp_path, data)
    assert train(recipes.autoencoder, given) == [1]
    before = contents(tmp_path / "runs")
    CHANGES[said](data)
    with pytest.raises(ValueError, match=rf"tiles\.safetensors .*{said}.*choose another --out") as caught:
        train(recipes.autoencoder, given, 2)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "runs") == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"mpp": 0.25}, "mpp is 0.5 there and 0.25 here"), ({"class_map": {"Tumor": 4}}, "Tumor has changed")],
)
def test_changed_settings_stop_the_run(small, data, tmp_path, changed, said):
    train(recipes.autoencoder, setting(tmp_path, data))
    with pytest.raises(ValueError, match=said):
        train(recipes.autoencoder, setting(tmp_path, data, **changed), 2)


def test_what_changes_nothing_goes_on(small, data, tmp_path):
    """A file that is not used, a touched one, more steps."""
    given = setting(tmp_path, data)
    train(recipes.autoencoder, given)
    (data / "notes.txt").write_text("of no picture")
    (data / "normal/a.png").touch()
    assert train(recipes.autoencoder, given, 3) == [2, 3]


def test_another_version_of_the_code_stops_the_run(small, data, tmp_path, monkeypatch):
    given = setting(tmp_path, data)
    train(recipes.autoencoder, given)
    monkeypatch.setattr(fingerprint, "code", lambda: "0" * 32)
    with pytest.raises(ValueError, match="the code is another"):
        train(recipes.autoencoder, given, 2)


def test_the_version_of_the_code_does_not_depend_on_what_is_said_about_it():
    source = '"""A module."""\n\nrate = 2\n\n\ndef f():\n    """What it does."""\n    return rate\n'
    said = '"""Another."""\n# why\nrate = 2\ndef f():\n    """Longer.\n\n    Text."""\n\n    return rate\n'
    assert fingerprint._statements(source) == fingerprint._statements(said)
    assert fingerprint._statements(source) != fingerprint._statements(source.replace("rate = 2", "rate = 3"))


def test_an_autoencoder_that_was_trained_on_stops_all_that_follows(small, data, tmp_path):
    given = setting(tmp_path, data)
    for recipe in (recipes.autoencoder, recipes.image, recipes.update):
        train(recipe, given)
    train(recipes.autoencoder, given, 2)
    for recipe, file in ((recipes.image, "image/latents"), (recipes.update, "update/latents")):
        with pytest.raises(ValueError, match=rf"{file}\.safetensors .*the autoencoder is another"):
            train(recipe, given, 2)
    with pytest.raises(ValueError, match=r"runs/image to follow from the one in .*runs/autoencoder, but that was"):
        recipes.export(given.runs, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_detail_follows_from_its_image_model_and_the_thumbnails_of_its_draft(small, data, tmp_path):
    given = setting(tmp_path, data)
    for recipe in (recipes.autoencoder, recipes.image, recipes.draft, recipes.detail):
        train(recipe, given)
    train(recipes.draft, given, 2)  # of the same pictures: their standardisation is the same
    assert train(recipes.detail, given, 2) == [2]
    draft, kept = given.runs / "draft/ema.safetensors", tmp_path / "draft.safetensors"
    shutil.copy(draft, kept)
    tensors, config = checkpoint.load(draft)
    checkpoint.save(draft, tensors, config | {"draft": config["draft"] | {"mean": [0.0] * 3}}, {"tiles": "others"})
    with pytest.raises(ValueError, match=r"detail/state\.safetensors .*mean of thumbnails has changed"):
        train(recipes.detail, given, 3)
    with pytest.raises(ValueError, match=r"expected the draft in .*runs/draft to take thumbnails as .*runs/detail"):
        recipes.export(given.runs, tmp_path / "weights")
    shutil.copy(kept, draft)
    train(recipes.image, given, 2)
    with pytest.raises(ValueError, match=r"detail/state\.safetensors .*the image is another"):
        train(recipes.detail, given, 3)
    with pytest.raises(ValueError, match=r"runs/detail to follow from the one in .*runs/image, but that was"):
        recipes.export(given.runs, tmp_path / "weights")


def test_a_checkpoint_without_a_fingerprint_is_not_gone_on_from(small, data, tmp_path):
    given = setting(tmp_path, data)
    train(recipes.autoencoder, given)
    state = given.runs / "autoencoder/state.safetensors"
    checkpoint.save(state, *checkpoint.load(state))
    with pytest.raises(ValueError, match="does not say of what"):
        train(recipes.autoencoder, given, 2)


def test_checkpoints_of_another_folder_are_not_gone_on_from(small, data, tmp_path):
    """Someone copies a checkpoint over that was trained on other pictures."""
    train(recipes.autoencoder, setting(tmp_path, data))
    shutil.move(tmp_path / "runs", tmp_path / "other")
    change_picture(data)
    train(recipes.autoencoder, setting(tmp_path, data))
    shutil.copy(tmp_path / "other/autoencoder/state.safetensors", tmp_path / "runs/autoencoder/state.safetensors")
    with pytest.raises(ValueError, match=r"state\.safetensors .*the tiles are others"):
        train(recipes.autoencoder, setting(tmp_path, data), 2)


def test_one_run_at_a_time_writes_a_folder(small, data, tmp_path):
    given = setting(tmp_path, data)
    first = recipes.autoencoder(given, 2)
    next(first)
    with pytest.raises(OSError, match=r"another run is at work in .*runs/autoencoder: wait") as caught:
        train(recipes.autoencoder, given, 2)
    assert "\n" not in str(caught.value)
    first.close()
    assert train(recipes.autoencoder, given, 1) in ([], [1])


HOLD = """
import sys, time
from diffinfinite_lite.files import held
with held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_lets_go_of_its_folder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OSError, match="another run is at work"), held(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with held(tmp_path):
        pass


def test_a_model_of_diffusers_is_known_by_its_files(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/config.json").write_text("{}")
    before = fingerprint.of_model(str(tmp_path))
    (tmp_path / "vae/config.json").write_text("[]")
    assert fingerprint.of_model(str(tmp_path)) != before
    assert fingerprint.of_model("madebyollin/taesd") == "madebyollin/taesd"
