"""The built wheel holds what it needs and nothing else, and samples where nothing else of the repository is."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("diffinfinite_lite", "pyproject.toml", "README.md", "LICENSE", "LICENSE-book")


def pip(*arguments, cwd):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that setuptools leaves nothing in the checkout and finds nothing of an earlier build."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / "copy" / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "copy", cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_package_its_data_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = ROOT / "diffinfinite_lite"
    files = {path.relative_to(ROOT).as_posix() for path in package.rglob("*") if path.is_file()}
    expected = {name for name in files if "__pycache__" not in name and not name.endswith(".pyc")}
    assert found == expected
    assert {"diffinfinite_lite/weights/image.safetensors", "diffinfinite_lite/weights/hashes.json"} <= found
    assert any(name.startswith("diffinfinite_lite/registry/") for name in found)
    for room in ("sampling", "models", "data", "pipelines", "training", "metrics", "evaluation", "survey", "widgets"):
        assert f"diffinfinite_lite/{room}/__init__.py" in found
    for suffix in (".js", ".css"):
        assert any(name.endswith(suffix) for name in found)


def test_installed_wheel_samples_in_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip("install", "--no-deps", "--no-index", "--target", site, wheel, cwd=empty)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import diffinfinite_lite as d; print(d.__file__)"]
    place = subprocess.run(where, cwd=empty, env=environment, text=True, capture_output=True, timeout=300)
    assert Path(place.stdout.strip()).is_relative_to(site), place.stdout + place.stderr
    command = ["sample", "--context", "normal", "--size", "64x64", "--steps", "1", "--device", "cpu", "--out", "out"]
    script = [sys.executable, site / "bin" / "diffinfinite", *command]
    done = subprocess.run(script, cwd=empty, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {"image.png", "mask.png", "run.json"} <= {path.name for path in (empty / "out").iterdir()}
