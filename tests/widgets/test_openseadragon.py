"""OpenSeadragon: what is missing is said with the command that brings it, and what pip brings is checked."""

import io
from pathlib import Path

import pytest

from diffinfinite_lite.widgets import openseadragon


def test_a_missing_viewer_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(openseadragon.sys, "prefix", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python -m diffinfinite_lite\.widgets\.openseadragon"):
        openseadragon.find_script()


def test_changed_source_package_is_refused(monkeypatch, tmp_path):
    """What pip brings is checked by its hash before it is put anywhere."""

    def download(command, **_):
        with openseadragon.tarfile.open(Path(command[command.index("--dest") + 1], "x.tar.gz"), "w:gz") as archive:
            member = openseadragon.tarfile.TarInfo(f"x/{openseadragon.MEMBER}")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
        return openseadragon.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(openseadragon.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(openseadragon.subprocess, "run", download)
    with pytest.raises(ValueError, match="SHA-256"):
        openseadragon.fetch_script()
    assert not list(tmp_path.rglob("*.js"))
