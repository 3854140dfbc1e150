"""The command line: results, exit codes, one sentence per error.

In processes of its own where a process is the point: signals, limits, tracebacks, what a run costs. The other commands
run in this one, where the library is imported already.
"""

import contextlib
import io
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from diffinfinite_lite import Pair, __version__, cli, generate
from diffinfinite_lite.data.pictures import PictureWarning
from diffinfinite_lite.pipelines import edit
from tests import cases


def run(*arguments, cwd=Path()):
    """The command in this process; an error that `main` does not catch is one of the test's."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd):
        code = cases.call(*arguments, stdout=stdout, stderr=stderr)
    return SimpleNamespace(returncode=code, stdout=stdout.getvalue(), stderr=stderr.getvalue())


def run_process(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "diffinfinite_lite.cli", *map(str, arguments)],
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
        **kwargs,
    )


@pytest.mark.parametrize(("model", "levels"), [("tiny_weights", 2), ("two_stage_weights", 5)])
def test_sample_writes_a_pair_and_says_what_it_cost(model, levels, request, tmp_path):
    given = ["--weights", request.getfixturevalue(model), *(["--draft-steps", levels - 2] if levels > 2 else [])]
    words = ("--context", "normal", "--size", "64x64", "--steps", 2, *given)
    done = run_process("sample", *words, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "64 x 64 px" in done.stdout
    for part in ("network ", "canvas ", "decoding ", "MB at most", "network evaluations", "whole patches"):
        assert part in done.stdout
    assert "windows a level" in done.stdout and f"{levels} levels one after the other" in done.stdout
    assert Image.open(tmp_path / "out/image.png").size == (64, 64)


def test_edit_and_inpaint_keep_what_they_should(tiny_weights, tmp_path):
    one = generate("normal", size=(64, 320), steps=2, weights=tiny_weights)
    weights = ("--weights", tiny_weights)
    one.save(tmp_path / "one")
    labels = one.mask.copy()
    labels[:, :32] = labels[:, :32] % 4 + 1
    Image.fromarray(labels).save(tmp_path / "labels.png")
    done = run("edit", "--run", "one", "--mask", "labels.png", "--margin", 0, "--out", "two", *weights, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    two = Pair.read(tmp_path / "two")
    assert np.array_equal(two.mask, labels) and np.array_equal(two.latents[..., 4:], one.latents[..., 4:])
    assert np.array_equal(two.image[:, 136:], one.image[:, 136:]) and not np.array_equal(two.image, one.image)

    keep = np.full((64, 320), 255, np.uint8)
    keep[8:40, 8:40] = 0
    Image.fromarray(keep).save(tmp_path / "keep.png")
    files = ["--image", "one/image.png", "--keep", "keep.png", "--mask", "one/mask.png"]
    done = run("inpaint", *files, "--steps", 2, "--out", "three", *weights, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    three = Pair.read(tmp_path / "three")
    assert np.array_equal(three.image[keep > 0], one.image[keep > 0]) and not np.array_equal(three.image, one.image)
    done = run("edit", "--run", "nowhere", "--mask", "labels.png", "--out", "four", cwd=tmp_path)
    assert done.returncode != 0 and "expected a result of `diffinfinite sample` in nowhere" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--context", "skin", "--size", "64x64"], "got 'skin'"),
        (["--context", "normal", "--size", "huge"], "such as 1024x1024"),
        (["--context", "normal", "--size", "64x64", "--omega", "-2"], "omega"),
        (["--mask", "colour.png"], "with another colour (0, 0, 0): save it as PNG"),
        (["--mask", "nowhere.png"], "nowhere.png"),
        (["--context", "normal", "--size", "64x64", "--device", "cuda:9"], "torch sees"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(arguments, message, tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "colour.png")
    done = run("sample", *arguments, "--steps", 2, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_place_that_takes_no_files_is_one_sentence(tmp_path):
    for place in ("/proc/nowhere", tmp_path / "file" / "out"):
        (tmp_path / "file").write_text("no folder")
        done = run("sample", "--context", "normal", "--size", "64x64", "--steps", 1, "--out", place)
        assert done.returncode != 0
        assert f"expected a folder that can be written to at {place}, got: No" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_disk_that_fills_up_leaves_nothing_half_written(tiny_weights, tmp_path):
    words = ("--context", "normal", "--size", "64x64", "--steps", 1, "--weights", tiny_weights)
    done = run_process(
        *("sample", *words, "--out", tmp_path / "out"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),  # the picture is larger
    )
    assert done.returncode != 0
    assert f"in {tmp_path / 'out'}, got: File too large; nothing half-written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("stage", ["mask", "sampling"])
def test_ctrl_c_leaves_nothing_half_written(stage, tiny_weights, tmp_path):
    command = [sys.executable, "-m", "diffinfinite_lite.cli", "sample", "--context", "normal", "--size", "128x128"]
    process = subprocess.Popen(
        [*command, "--weights", tiny_weights, "--steps", "1000", "--out", tmp_path / "out"],
        stderr=subprocess.PIPE,
        text=True,
        # what a shell starts in the background, tests included, ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = ""
    while not re.search(rf"{stage}: .*level", seen):  # the progress bar: that stage has begun
        seen += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "stopped by the user" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "out").exists()


def test_an_error_that_nobody_foresaw_says_what_to_report(monkeypatch):
    def fail(**options):
        raise KeyError("seed")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.delenv(cli.DEBUG, raising=False)
    with pytest.raises(SystemExit) as end:
        cli.main()
    sentence = str(end.value.code)
    assert "KeyError: 'seed'" in sentence and "please report it" in sentence and "`diffinfinite --debug`" in sentence
    assert __version__ in sentence and "\n" not in sentence
    monkeypatch.setenv(cli.DEBUG, "1")
    with pytest.raises(KeyError):
        cli.main()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ImportError("expected the package zarr, found none: pip install"), "expected the package zarr, found none"),
        (torch.OutOfMemoryError("CUDA out of memory"), "a smaller --batch-size or --size needs less"),
        (ValueError("expected one\nthing, got another"), "expected one thing, got another"),
    ],
)
def test_an_error_is_one_sentence(error, sentence):
    assert sentence in cli.explain(error) and "\n" not in cli.explain(error)


def said_by_main(arguments, monkeypatch):
    """What `main` ends with: a sentence, with which Python exits with code 1, or an exit code."""
    monkeypatch.setattr("sys.argv", ["diffinfinite", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--sampler", "mixture"], "No such option: --sampler. It is called --plan now"),
        (["slide", "--scheduler=tcp://a:1"], "No such option: --scheduler. It is called --cluster now"),
        (["sample", "--colour", "red"], "No such option: --colour"),
        (["sample"], "Missing option '--out'"),
        (["sample", "--out"], "Option '--out' requires an argument"),
        (["sample", "--out", "a", "--size", "64", "x", "64"], "Got unexpected extra argument(s) (x 64)"),
        (["nonsense"], "No such command 'nonsense'"),
        (["sample", "--steps", "1e3", "--out", "a"], "expected --steps to be a whole number, got '1e3'"),
        (["sample", "--seed", "0x10", "--out", "a"], "expected --seed to be a whole number, got '0x10'"),
        (["sample", "--omega", "1,5", "--out", "a"], "expected --omega to be a number, got '1,5'"),
        (["workbench", "--port", "70000"], "expected --port to be less than or equal to 65535, got '70000'"),
    ],
)
def test_what_is_wrong_with_options_is_one_sentence_as_everything_else(arguments, message, monkeypatch):
    """It was a box of several lines with exit code 2, which did not say what had been typed."""
    said = said_by_main(arguments, monkeypatch)
    assert said.startswith(f"diffinfinite: {message}") and "\n" not in said


def test_help_and_version_are_no_errors(monkeypatch, capsys):
    assert said_by_main(["--version"], monkeypatch) == said_by_main(["sample", "--help"], monkeypatch) == 0
    assert said_by_main(["data"], monkeypatch) == 2  # a group without a command shows its help
    assert "Usage" in capsys.readouterr().out


def test_edit_leaves_to_the_run_what_is_not_set(monkeypatch, tmp_path):
    seen = {}

    def resynthesise(pair, mask, context, **options):
        seen.update(options, context=context)
        raise ValueError("seen enough")

    monkeypatch.setattr(edit, "resynthesise", resynthesise)
    mask = np.zeros((64, 64), np.uint8)
    monkeypatch.setattr(Pair, "read", lambda folder: Pair(np.zeros((64, 64, 3), np.uint8), mask, [], {}))
    Image.fromarray(mask).save(tmp_path / "mask.png")
    files = ["--run", tmp_path, "--mask", tmp_path / "mask.png", "--out", tmp_path / "out"]
    arguments = ["edit", *map(str, files), "--omega", "2", "--no-compile", "--plan", "mixture"]
    assert isinstance(CliRunner().invoke(cli.app, arguments).exception, ValueError)
    own = {"margin", "device", "weights", "progress", "context"}
    assert {name: value for name, value in seen.items() if name not in own} == {
        "omega": 2.0, "compiled": False, "plan": "mixture",
    }  # fmt: skip


def test_training_commands_have_the_same_options():
    """Only the image model can be trained on another autoencoder, only what begins at random has a width to choose.

    Students see what their teachers have seen, and have nothing to read.
    """
    options = {}
    for name in cli.RECIPES:
        result = CliRunner().invoke(cli.app, ["train", name, "--help"], env={"COLUMNS": "200"})
        assert result.exit_code == 0 and cli.RECIPES[name] in result.output
        options[name] = set(re.findall(r"--[a-z-]+", result.output)) - {"--help"}
    assert options["image"] - options["mask"] == {"--vae"}
    assert {name for name, found in options.items() if "--networks" in found} == set(cli.OWN_OPTIONS["networks"])
    students = {name for name, found in options.items() if "--omega" in found}
    assert students == {"draft-student", "detail-student"}
    reading = {"--data", "--mpp", "--class-map"}
    assert all(reading.isdisjoint(found) if name in students else reading <= found for name, found in options.items())
    assert len({frozenset(found - {"--vae", "--networks", "--omega"} - reading) for found in options.values()}) == 1


def test_debug_shows_the_traceback(tmp_path):
    done = run_process("--debug", "sample", "--context", "skin", "--size", "64x64", "--out", tmp_path / "out")
    assert "Traceback" in done.stderr


def test_existing_result_is_kept_unless_forced(tmp_path):
    (tmp_path / "image.png").write_text("mine")
    done = run("sample", "--context", "normal", "--size", "64x64", "--steps", 2, "--out", tmp_path)
    assert done.returncode != 0
    assert "--force" in done.stderr
    assert (tmp_path / "image.png").read_text() == "mine"


def test_report_card_of_two_folders_and_its_exit_code(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("real", 24), ("synthetic", 24)):
        (tmp_path / name).mkdir()
        for i in range(count):
            tile = np.clip(rng.normal(170, 40, (32, 32, 3)) + 10 * rng.normal(size=3), 0, 255).astype(np.uint8)
            Image.fromarray(tile).save(tmp_path / name / f"{i}.png")
    folders = ["--real", tmp_path / "real", "--synthetic", tmp_path / "synthetic"]
    done = run("evaluate", *folders, "--out", tmp_path / "card")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "card/report.html").exists()
    done = run("evaluate", *folders, "--features", "handcrafted", "--out", tmp_path / "card2", "--limit", "FD::-1")
    assert done.returncode == 1
    assert "expected at most -1" in done.stderr
    done = run("evaluate", *folders, "--out", tmp_path / "card3", "--limit", "FD:low")
    assert "such as C_T:-3:3" in done.stderr


def test_data_list_names_every_set_with_its_licence():
    done = run("data", "list")
    assert done.returncode == 0, done.stderr
    for name in ("lc25000-lung", "diffinfinite-lung", "osteosarcoma", "crc-val-he-7k-sample"):
        assert name in done.stdout


def test_warnings_are_sentences(capsys):
    cli._warn(PictureWarning("a.png: has transparent parts, which were laid on white"), PictureWarning, "x.py", 3)
    assert capsys.readouterr().err == "diffinfinite: a.png: has transparent parts, which were laid on white\n"
