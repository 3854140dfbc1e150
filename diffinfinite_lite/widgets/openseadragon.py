"""OpenSeadragon, the viewer of `deepzoom`: where its script lies in this environment, and how it gets there.

OpenSeadragon has a BSD licence. No wheel of the package index was found to carry it, but the source distribution of
openslide-python does: `fetch_script` takes that one file, pinned by version and hash, into the environment. ``make``
does it with

    python -m diffinfinite_lite.widgets.openseadragon
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION, MEMBER = "openslide-python", "1.4.7", "examples/deepzoom/static/openseadragon.js"
SHA256 = "86b60a9088c8c162bef278bbf22e070958ded16acf4627a73e206c95ea42831e"


def script_path() -> Path:
    """Where the viewer's script lies, or would lie, in this environment."""
    return Path(sys.prefix, "share/diffinfinite_lite/openseadragon.js")


def find_script() -> Path:
    """The viewer's script in this environment.

    Raises
    ------
    FileNotFoundError
        If it has not been fetched.
    """
    path = script_path()
    if not path.is_file():
        raise FileNotFoundError(f"expected OpenSeadragon at {path}, got no such file: run `python -m {__name__}`")
    return path


def fetch_script() -> Path:
    """Take the viewer's script out of a source distribution of the package index, unless this environment has it.

    Raises
    ------
    ConnectionError
        If pip cannot download the source distribution.
    ValueError
        If the script has another SHA-256 than expected.
    """
    path = script_path()
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256:
        return path
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, "--dest", folder, f"{PACKAGE}=={VERSION}"], capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise ConnectionError(f"could not download {PACKAGE} {VERSION}: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            top = archive.getnames()[0].split("/")[0]
            code = archive.extractfile(f"{top}/{MEMBER}").read()
    found = hashlib.sha256(code).hexdigest()
    if found != SHA256:
        raise ValueError(f"expected {MEMBER} with SHA-256 {SHA256[:12]}..., got {found[:12]}...")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(code)
    return path


if __name__ == "__main__":
    print(fetch_script())
