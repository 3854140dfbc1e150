"""A store belongs to one process at a time, which may open it as often as it likes."""

import subprocess
import sys

from diffinfinite_lite.sampling.store import Store

OTHER = "import sys\nfrom diffinfinite_lite.sampling.store import Store\nStore(sys.argv[1], {})"


def opened_elsewhere(path):
    return subprocess.run([sys.executable, "-c", OTHER, path], capture_output=True, text=True, check=False)


def test_a_store_is_held_until_the_last_of_its_holders_is_gone(tmp_path):
    first = Store(tmp_path / "store", {})
    first.save({"level": 1})
    second = Store(tmp_path / "store", {})
    assert second.progress == {"level": 1}
    del second
    assert "expected a store that is not in use, but another process works on" in opened_elsewhere(first.path).stderr
    path = first.path
    del first
    assert opened_elsewhere(path).returncode == 0
