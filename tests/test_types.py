"""The type checker of `make test` is strict enough to see arguments that were swapped."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CALLS = """
import torch

from diffinfinite_lite.labels import condition_map, pool_mask
from diffinfinite_lite.models.autoencoder import Autoencoder
from diffinfinite_lite.models.pretrained import load_lite
from diffinfinite_lite.pipelines.pair import Pair
from diffinfinite_lite.sampling.windows import Window


def right(mask: torch.Tensor, autoencoder: Autoencoder) -> torch.Tensor:
    return condition_map(pool_mask(mask, 8), "normal") + autoencoder.encode(mask)


def swapped(mask: torch.Tensor) -> torch.Tensor:
    return condition_map("normal", pool_mask(8, mask))
"""


def test_swapped_arguments_are_reported(tmp_path):
    """Run `mypy` before: it remembers what it knows of torch, which takes it half a minute to learn."""
    (tmp_path / "calls.py").write_text(CALLS)
    checker = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", tmp_path / "calls.py"]
    done = subprocess.run(checker, cwd=ROOT, text=True, capture_output=True, timeout=300)
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(lines) == 4, done.stdout + done.stderr
    assert all("error: Argument" in line and "[arg-type]" in line for line in lines)
