"""What a tile of the endless slide costs: nothing around it cached, everything around it cached, and all of it cached.

    python benchmarks/endless.py --steps 4

writes ``reports/endless.json``: evaluations of the networks, which are the same on any machine, seconds, which are this
machine's, and the size of the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import torch

from diffinfinite_lite.devices import choose_device
from diffinfinite_lite.pipelines import endless
from diffinfinite_lite.pipelines.endless import Endless

ROOT = Path(__file__).parents[1]
AROUND = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]


def tile_cost(slide: Endless, kind: str, row: int, column: int) -> dict[str, float]:
    """Evaluations and seconds of one tile of full size."""
    before, start = slide.ledger.evaluations, time.perf_counter()
    slide.tile(kind, 0, row, column)
    seconds = round(time.perf_counter() - start, 2)
    return {"evaluations": slide.ledger.evaluations - before, "seconds": seconds}


def measure(steps: int, device: str | None, context: str) -> dict:
    """Costs of tiles of one slide, in the order in which they become cheaper."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "cache")
        slide = Endless(context, endless.default_config(), store=store, device=device, steps=steps)
        found: dict = {"mask, nothing cached": tile_cost(slide, "mask", 0, 0)}
        found["picture, nothing but its mask cached"] = tile_cost(slide, "image", 0, 0)
        found["next tile to the right"] = tile_cost(slide, "image", 0, 1)
        found["next tile below"] = tile_cost(slide, "image", 1, 0)
        # a tile in a hole: all eight around it are there
        for row, column in AROUND:
            slide.tile("image", 0, 4 + row, column)
        found["picture, all around cached"] = tile_cost(slide, "image", 4, 0)
        found["picture, itself cached"] = tile_cost(slide, "image", 4, 0)
        found["cache, MB"] = round(sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6, 1)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[endless.STEPS])
    parser.add_argument("--context", default="adenocarcinoma")
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/endless.json")
    options = parser.parse_args()
    report = {
        "machine": {
            "device": choose_device(options.device),
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            "load": round(os.getloadavg()[0], 1),
        },
        "tile_px": endless.TILE_PX,
        "steps": {steps: measure(steps, options.device, options.context) for steps in options.steps},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
