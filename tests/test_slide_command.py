"""`diffinfinite slide` in processes of its own: killed and run again, refused in one sentence."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from diffinfinite_lite.pipelines.slide import generate_slide


def command(*arguments):
    return [sys.executable, "-m", "diffinfinite_lite.cli", "slide", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), text=True, capture_output=True, check=False, timeout=300)


def levels_left(progress):
    return json.loads(progress.read_text())["progress"]["left"]


STEPS = 100  # of some milliseconds each
SETTINGS = ("--context", "normal", "--size", "64x128", "--steps", STEPS, "--solver", "ddpm")


def test_killed_and_run_again_it_is_the_undisturbed_slide(tiny_weights, tmp_path):
    places = ("--store", tmp_path / "store", "--out", tmp_path / "out", "--weights", tiny_weights)
    progress = tmp_path / "store/progress.json"
    process = subprocess.Popen(command(*SETTINGS, *places), stderr=subprocess.PIPE)
    try:
        while not (progress.exists() and 0 < (levels_left(progress) or STEPS) < STEPS - 2):
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert 0 < levels_left(progress) < STEPS - 2 and not list((tmp_path / "out").glob("*"))
    done = run(*SETTINGS, *places)
    assert done.returncode == 0, done.stderr
    assert "64 x 128 px" in done.stdout and "MB at most" in done.stdout
    assert f"{STEPS}/{STEPS}" in done.stderr and "decoding: 100%" in done.stderr
    places = {"store": tmp_path / "other", "out": tmp_path / "whole", "weights": tiny_weights}
    whole = generate_slide("normal", size=(64, 128), steps=STEPS, solver="ddpm", **places)
    for name in ("image.ome.tif", "mask.ome.tif"):
        assert np.array_equal(*(tifffile.imread(tmp_path / folder / name) for folder in ("out", "whole")))
    resumed = json.loads((tmp_path / "out/run.json").read_text())
    assert resumed["network_evaluations"] == whole["network_evaluations"] and resumed["sequential_depth"] == STEPS


@pytest.mark.parametrize(
    ("model", "expected"),
    [("tiny_weights", "a store at"), ("two_stage_weights", "the store of a run in 2 stages at")],
)
def test_bad_input_is_one_sentence(model, expected, request, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/thesis.txt").write_text("mine")
    places = ("--weights", request.getfixturevalue(model), "--store", tmp_path / "store", "--out", tmp_path / "out")
    done = run("--context", "normal", "--size", "64x64", *places)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert f"expected an empty folder or {expected}" in done.stderr and "found thesis.txt" in done.stderr
    assert not list((tmp_path / "out").glob("*"))
