"""What is wrong with a command is refused before its work, in one sentence that quotes what was typed."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffinfinite_lite import __version__, cli
from diffinfinite_lite.evaluation import report
from diffinfinite_lite.models import checkpoint, pretrained
from diffinfinite_lite.pipelines import config, edit, masks, slide
from diffinfinite_lite.pipelines import generate as generate_module
from diffinfinite_lite.pipelines.config import check_memory
from diffinfinite_lite.training import recipes

SAMPLE = ["sample", "--context", "normal", "--size", "64x64", "--steps", "1"]


@pytest.fixture
def no_work(monkeypatch):
    """Whatever would take time fails the test."""

    def work(*args, **options):
        raise AssertionError("work was begun")

    monkeypatch.setattr(pretrained, "load_models", work)
    monkeypatch.setattr(recipes, "fit", work)
    monkeypatch.setattr(recipes, "training_tiles", work)
    monkeypatch.setattr(recipes, "own_masks", work)
    monkeypatch.setattr(report, "measure_files", work)


def sentence(arguments):
    """What `main` would print for an error of this command."""
    result = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    assert isinstance(result.exception, Exception) and not isinstance(result.exception, AssertionError), result.output
    said = cli.explain(result.exception)
    assert "\n" not in said and "not foreseen" not in said
    return said


@pytest.mark.parametrize("device", ["mps", "xpu", "meta", "xla", "vulkan", "nonsense"])
@pytest.mark.parametrize("command", [[*SAMPLE, "--out", "out"], ["train", "autoencoder", "--steps", 1, "--out", "r"]])
def test_devices(command, device, no_work, tmp_path, monkeypatch):
    """Case 25: one sentence each, never the CPU in silence."""
    monkeypatch.chdir(tmp_path)
    assert sentence([*command, "--device", device]).endswith(f"got {device!r}: others are not supported")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", 0], "expected a whole number of steps from 1, got 0"),
        (["--steps", -5], "expected a whole number of steps from 1, got -5"),
        (["--mpp", 0], "micrometres per pixel, got 0"),
        (["--mpp", -0.5], "micrometres per pixel, got -0.5"),
        (["--mpp", "nan"], "micrometres per pixel, got nan"),
        (["--mpp", "inf"], "micrometres per pixel, got inf"),
    ],
)
@pytest.mark.parametrize("name", list(cli.RECIPES))
def test_numbers_of_training(name, arguments, message, no_work, tmp_path):
    """Case 37: nothing is trained, neither 3,000 steps nor none."""
    if arguments[0] == "--mpp" and name not in cli.OWN_OPTIONS["mpp"]:
        pytest.skip("it reads no pictures")
    assert message in sentence(["train", name, "--device", "cpu", "--out", tmp_path / "runs", *arguments])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seed", "-1"),
        ("--seed", str(2**64)),
        ("--seed", str(-(2**64))),
        ("--batch-size", "-1"),
        ("--batch-size", "0"),
        ("--steps", "-3"),
        ("--patch", "-64"),
        ("--patch", "100000000000"),
        ("--stride", "-8"),
        ("--omega", "nan"),
        ("--omega", "-2.5"),
        ("--omega", "inf"),
        ("--eta", "1.5"),
        ("--size", "-64x64"),
    ],
)
def test_what_was_typed_is_quoted(option, value, no_work, tmp_path):
    """Case 38: -1 had become -9223372036854775809 in the sentence."""
    assert value in sentence([*SAMPLE, option, value, "--out", tmp_path / "out"]).split("got ")[1]


def test_margins_mpp_and_seeds_of_other_commands(no_work, tmp_path, monkeypatch):
    mask, out = tmp_path / "mask.png", tmp_path / "out"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(mask)
    Image.fromarray(np.full((64, 64, 3), (200, 120, 160), np.uint8)).save(tmp_path / "image.png")
    files = ["--image", tmp_path / "image.png", "--keep", mask, "--mask", mask, "--out", out]
    assert sentence(["inpaint", *files, "--margin", -16]).endswith("got -16")
    slide = ["slide", "--context", "normal", "--size", "64x64", "--out", out, "--store", tmp_path / "store"]
    for value in ("0", "nan", "-0.5"):
        assert sentence([*slide, "--mpp", value]).endswith(f"got {value}")
    folders = ["--real", tmp_path, "--synthetic", tmp_path, "--out", out]
    assert sentence(["evaluate", *folders, "--seed", -1]) == "expected a seed from 0 to 2**64 - 1, got -1"
    assert sentence(["evaluate", *folders, "--seed", 2**64]).endswith(f"got {2**64}")
    for limit in ("C_T", "C_T:low:", "C_T:nan:", "C_T:0:NaN"):
        assert sentence(["evaluate", *folders, "--limit", limit]).endswith(f"got {limit!r}")
    assert not out.exists() and not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [*SAMPLE, "--out", ""],
        [*SAMPLE, "--out="],
        [*SAMPLE, "--out", " "],
        ["slide", "--context", "normal", "--store", "", "--out", "out"],
        ["edit", "--run", "", "--mask", "mask.png", "--out", "out"],
        ["evaluate", "--real", "a", "--synthetic", "b", "--out", ""],
        ["train", "autoencoder", "--out", ""],
        ["train", "export", "--weights", ""],
        ["data", "fetch", ""],
    ],
)
def test_empty_names(arguments, no_work, tmp_path, monkeypatch):
    """Case 48: an empty --out had become the current folder."""
    monkeypatch.chdir(tmp_path)
    assert sentence(arguments).startswith("expected a value after ")
    assert not list(tmp_path.iterdir())


def test_files_where_folders_are_wanted(no_work, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    slide = ["slide", "--context", "normal", "--size", "64x64"]
    for command in (
        [*SAMPLE, "--out", file],
        [*slide, "--store", file, "--out", tmp_path / "out"],
        [*slide, "--store", tmp_path / "store", "--out", file],
        ["evaluate", "--real", tmp_path, "--synthetic", tmp_path, "--out", file],
        ["evaluate", "--real", tmp_path, "--synthetic", tmp_path, "--out", tmp_path / "out", "--cache", file],
        ["train", "mask", "--out", file, "--device", "cpu"],
        ["train", "export", "--out", tmp_path, "--weights", file],
    ):
        assert "expected a folder that can be written to at " in sentence(command)
    assert file.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (None, "found no hashes.json"),
        ("", "got no JSON"),
        ("x", "got no JSON"),
        ("[" * 10**5, "got no JSON"),
        ("[1]", r"got [1]"),
        ("{}", "among them image and mask, got none"),
        ('{"image": "12"}', "got {'image': '12'}"),
        ('{"image": 3}', "got {'image': 3}"),
        (json.dumps({"mask": "0" * 64}), "among them image and mask, got mask"),
        (json.dumps({"../image": "0" * 64}), "got {'../image'"),
    ],
)
def test_hashes_that_are_none(text, got, tmp_path, monkeypatch):
    """Case 43: without hashes nothing can be checked, so that nothing is loaded."""
    if text is not None:
        (tmp_path / "hashes.json").write_text(text)
    said = sentence([*SAMPLE, "--weights", tmp_path, "--out", tmp_path / "out"])
    assert got in said and said.startswith("expected ") and str(tmp_path) in said
    assert not (tmp_path / "out").exists()


def test_a_folder_whose_files_were_replaced_is_loaded_again(tiny_weights, tmp_path):
    """A notebook had gone on with the model of before, and had recorded the hashes of the new one."""
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    before = pretrained.load_models(weights)
    assert pretrained.load_models(weights) is before
    image, hashes = weights / "image.safetensors", json.loads((weights / "hashes.json").read_text())
    tensors, config = checkpoint.load(image)
    checkpoint.save(image, {name: 2 * tensor for name, tensor in tensors.items()}, config)
    with pytest.raises(ValueError, match=r"expected image\.safetensors with SHA-256 .*: the file was changed"):
        pretrained.load_models(weights)
    (weights / "hashes.json").write_text(json.dumps(hashes | {"image": checkpoint.sha256(image)}))
    after = pretrained.load_models(weights)
    one, other = (next(models.image.parameters()) for models in (before, after))
    assert (other == 2 * one).all()


@pytest.mark.parametrize("name", list(cli.RECIPES))
def test_a_training_that_is_refused_leaves_no_folder(name, tmp_path):
    """A folder with the lock had stayed of each."""
    (tmp_path / "data").mkdir()
    files = ["--data", tmp_path / "data"] if name in cli.OWN_OPTIONS["data"] else []
    files += ["--out", tmp_path / "a/runs"]
    command = ["train", name, *files, "--steps", 1, "--device", "cpu"]
    sentence(command)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    (tmp_path / "a/runs").mkdir(parents=True)
    sentence(command)
    assert not list((tmp_path / "a/runs").iterdir())


def test_a_model_with_an_update_is_to_be_exported_again(tiny_weights, tmp_path):
    """Earlier versions wrote what later training changed into a file of its own; without it the model is another."""
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    hashes = json.loads((weights / "hashes.json").read_text())
    (weights / "hashes.json").write_text(json.dumps(hashes | {"image_update": "0" * 64}))
    said = sentence([*SAMPLE, "--weights", weights, "--out", tmp_path / "out"])
    assert "image_update, which this version does not read: install or export the model again" in said
    for read in (pretrained.load_models, pretrained.has_air, pretrained.provenance):
        with pytest.raises(ValueError, match="which this version does not read"):
            read(weights)


def test_hashes_without_the_autoencoder_of_the_model(tiny_weights, tmp_path):
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    hashes = json.loads((weights / "hashes.json").read_text())
    del hashes["autoencoder"]
    (weights / "hashes.json").write_text(json.dumps(hashes))
    with pytest.raises(ValueError, match="among them autoencoder, got none"):
        pretrained.load_models(weights)


def test_files_that_must_not_be_read(tiny_weights, tmp_path, monkeypatch):
    """Case 40: 'No such file or directory' had been said of a file that is there."""
    weights = shutil.copytree(tiny_weights, tmp_path / "weights")
    image, usual = weights / "image.safetensors", type(weights).open

    def refuse(path, *args, **options):
        if path == image:
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *args, **options)

    monkeypatch.setattr(type(weights), "open", refuse)  # a test that runs as root may read everything
    said = sentence([*SAMPLE, "--weights", weights, "--out", tmp_path / "out"])
    assert said == f"expected a checkpoint that can be read at {image}, got: Permission denied"
    assert cli.explain(PermissionError(13, "Permission denied", "a.png")) == "Permission denied: a.png"


def test_memory_is_reckoned_before_the_work(no_work, tiny_weights, monkeypatch):
    """Case 33: a mask of 13,384 px is read, and its picture is refused where it does not fit the memory."""
    monkeypatch.setattr(config, "free_memory", lambda: 2 * 10**9)
    with pytest.raises(ValueError, match=r"expected about 5\.4 GB of memory for 13384 x 13384 px, got 2\.0 GB"):
        generate_module.generate("normal", np.broadcast_to(np.uint8(1), (13384, 13384)), weights=tiny_weights)
    with pytest.raises(ValueError, match=r"expected about 3\.4 GB .* for 4096 x 4096 px"):
        image = np.broadcast_to(np.uint8(200), (4096, 4096, 3))
        edit.inpaint(image, image[..., 0] > 0, image[..., 0] // 200, "normal", weights=tiny_weights, device="cpu")
    check_memory((1024, 1024), 30, "")
    monkeypatch.setattr(config, "free_memory", lambda: None)
    check_memory((10**6, 10**6), 30, "")


def test_disk_is_reckoned_before_the_work(tiny_weights, tmp_path, monkeypatch):
    """A canvas of 8 channels takes at least 72 bytes for each 64 px; a store that is there is not counted."""
    free = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    monkeypatch.setattr(slide, "generate_cells", lambda *args, **options: pytest.fail("work was begun"))
    options = {"size": (40_000, 40_000), "store": tmp_path / "store", "out": tmp_path / "out", "device": "cpu"}
    with pytest.raises(OSError, match=r"about 1\.8 GB of disk in .*store for the canvas of 40000 x .*, got 1\.0 GB"):
        slide.generate_slide("normal", weights=tiny_weights, **options)
    with pytest.raises(OSError, match=r"about 1\.1 GB of disk in .*out for the results of 12800 x .*, got 1\.0 GB"):
        slide.generate_slide("normal", weights=tiny_weights, **(options | {"size": (12_800, 12_800)}))
    with pytest.raises(OSError, match=r"about 1\.1 GB of disk in .*out for canvas and results of 11600 x .*"):
        slide.generate_slide("normal", weights=tiny_weights, **(options | {"size": (11_600, 11_600)}))
    assert "for a result of 16000 x 16000 px, got 1.0 GB" in sentence(
        ["sample", "--context", "normal", "--size", "16000x16000", "--out", tmp_path / "out"]
    )
    assert not list(tmp_path.iterdir())


def test_a_slide_is_refused_before_its_mask_is_made(tiny_weights, tmp_path, monkeypatch):
    """A folder that is no store, and a cluster that does not answer: both were noticed after minutes of a mask."""
    monkeypatch.setattr(slide, "generate_cells", lambda *args, **options: pytest.fail("work was begun"))
    monkeypatch.setattr(slide, "Workers", lambda *args, **options: (_ for _ in ()).throw(OSError("expected a Dask")))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    options = {"size": (64, 64), "weights": tiny_weights, "out": tmp_path / "out", "device": "cpu"}
    with pytest.raises(ValueError, match=r"expected an empty folder or a store at .*, found notes\.txt"):
        slide.generate_slide("normal", store=tmp_path / "mine", **options)
    with pytest.raises(OSError, match="expected a Dask"):
        slide.generate_slide("normal", store=tmp_path / "store", cluster="tcp://nowhere:1", **options)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--region", "0,0,0,64", "expected a region of at least 8 px a side, got 0 x 64"),
        ("--region", "0,0,99999999999,640", "of disk in "),
        ("--region", "1e3,0,64,64", "(X,Y,W,H in px), got '1e3,0,64,64'"),
        ("--mpp", "nan", "micrometres per pixel, got nan"),
    ],
)
def test_regions_are_refused_before_a_cache_is_opened(option, value, message, no_work, tmp_path):
    files = ["--store", tmp_path / "cache", "--out", tmp_path / "out"]
    place = [] if option == "--region" else ["--region", "0,0,64,64"]
    assert message in sentence(["slide", "--context", "normal", *files, *place, option, value])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["nan", "0", "-1", "inf"])
def test_gigabytes_of_a_cache(value, no_work, tmp_path):
    said = sentence(["endless", "--context", "normal", "--store", tmp_path / "cache", "--cache", value])
    assert said == f"expected --cache to be a number of gigabytes above 0, got {value}"


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_of_masks_are_quoted_as_given(seed):
    """Case 38 in Python: the noise of a mask takes the seed with its highest bit flipped."""
    with pytest.raises(ValueError, match=rf"got {seed}$"):
        masks.generate_cells(None, "normal", (64, 64), seed=seed)


def test_the_version_and_nothing_else():
    """Case of the list of what users expect."""
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.exit_code == 0 and result.output == f"{__version__}\n"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
def test_weights_follow_the_umask(umask, tmp_path):
    """Case 40: whoever may read the user's other files may read the weights."""
    before = os.umask(umask)
    try:
        checkpoint.save(tmp_path / "a.safetensors", {}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
