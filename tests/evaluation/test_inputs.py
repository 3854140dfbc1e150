"""What a report is made on, read from disk: pairs and slides by their run, whole or refused in a sentence."""

import json
import shutil
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffinfinite_lite import cli
from diffinfinite_lite.evaluation.inputs import painted_canvas, read_run
from diffinfinite_lite.pipelines import config
from diffinfinite_lite.pipelines.generate import generate
from diffinfinite_lite.pipelines.slide import generate_slide
from diffinfinite_lite.pipelines.slide_files import QUALITY

SIZE = (64, 136)


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_weights):
    """A pair and a slide of the same mask."""
    root = tmp_path_factory.mktemp("results")
    mask = np.random.default_rng(0).integers(0, 5, (8, 17), np.uint8).repeat(8, 0).repeat(8, 1)
    options = {"steps": 2, "weights": tiny_weights, "device": "cpu", "plan": "sliding-window", "stride": 32}
    with pytest.warns(UserWarning, match="lattice"):
        generate("normal", mask, **options).save(root / "pair")
        generate_slide("normal", mask, store=root / "store", out=root / "slide", **options)
    return root


@pytest.mark.parametrize("name", ["slide", "slide/run.json", "pair", "pair/run.json"])
def test_pairs_and_slides_are_read_by_their_run(results, name):
    pair = read_run(results / name)
    assert pair.image.shape == (*SIZE, 3) and pair.run["plan"] == "sliding-window"
    of_pair = read_run(results / "pair")
    assert np.array_equal(pair.mask, of_pair.mask)
    expected = of_pair.image
    if name.startswith("slide"):  # its picture is a JPEG, which noise like this does not come through unchanged
        file = BytesIO()
        Image.fromarray(expected).save(file, "jpeg", quality=QUALITY)
        expected = np.asarray(Image.open(file))
    assert np.abs(pair.image.astype(int) - expected).mean() < 2
    one, other = painted_canvas(pair), painted_canvas(of_pair)
    assert (one.rows, one.columns) == (other.rows, other.columns)


def test_a_report_on_a_slide(results, tmp_path):
    words = ["evaluate", "--run", str(results / "slide"), "--features", "handcrafted", "--out", str(tmp_path / "card")]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "card/report.json").read_text())
    assert report["size"] == list(SIZE) and report["run"]["plan"] == "sliding-window"
    shares = {row["name"]: row["value"] for row in report["rows"] if row["name"].startswith("share of")}
    mask = read_run(results / "slide").mask
    assert shares["share of stroma"] == pytest.approx((mask == 3).mean(), abs=1e-6)


def test_what_is_missing_or_does_not_fit_is_named(results, tmp_path):
    shutil.copytree(results / "slide", tmp_path / "a")
    (tmp_path / "a/mask.ome.tif").unlink()
    with pytest.raises(ValueError, match=r"got .*mask\.ome\.tif, which does not exist"):
        read_run(tmp_path / "a")
    (tmp_path / "a/image.ome.tif").unlink()
    with pytest.raises(ValueError, match=r"expected image\.png and mask\.png or image\.ome\.tif and .*, found neither"):
        read_run(tmp_path / "a")
    with pytest.raises(ValueError, match=r"expected the run\.json of a generated canvas, got .*nowhere"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected the run\.json of a generated canvas, got .*empty/run\.json"):
        read_run(tmp_path / "empty")
    Image.fromarray(np.full((72, 136, 3), (200, 100, 150), np.uint8)).save(tmp_path / "a/image.png")
    shutil.copy(results / "pair/mask.png", tmp_path / "a/mask.png")
    with pytest.raises(ValueError, match=r"expected a picture and a mask of \[64, 136\] px, got \[72, 136\]"):
        read_run(tmp_path / "a")


@pytest.mark.parametrize("size", [[64], [64, -8], "64x64", None, [64, 64.5]])
def test_a_run_without_a_size_is_refused(results, tmp_path, size):
    run = json.loads((results / "pair/run.json").read_text()) | {"size": size}
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(ValueError, match=r"expected a run\.json with a height and a width in px, got"):
        read_run(tmp_path)


def test_a_slide_that_memory_does_not_take_is_refused_before_it_is_read(results, tmp_path, monkeypatch):
    run = json.loads((results / "slide/run.json").read_text()) | {"size": [65536, 65536]}
    (tmp_path / "run.json").write_text(json.dumps(run))
    monkeypatch.setattr(config, "free_memory", lambda: 10**9)
    with pytest.raises(ValueError, match=r"about 429\.5 GB of memory for 65536 x 65536 px, got 1\.0 GB .*--synthetic"):
        read_run(tmp_path)
