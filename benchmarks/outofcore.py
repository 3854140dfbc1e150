"""Peak memory and time of a slide outside its networks: does memory grow with the canvas?

Every size runs in a process of its own, with a network and a decoder that cost nothing, through the same loop, canvas
on disk and files as a real slide. Neither sampling nor writing may grow with the canvas.
Writes reports/outofcore.json and prints the table. Linux (peak memory is read from /proc).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

CHANNELS, PATCH, STEPS, FACTOR = 8, 16, 2, 8


def peak_mb() -> int:
    """Most memory resident at once in this process, MB, since `reset`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def reset() -> None:
    """Start counting the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(px: int, plan: str) -> dict:
    """One size, in this process."""
    import torch

    from diffinfinite_lite.pipelines import slide
    from diffinfinite_lite.pipelines.generate import BORDER, OVERLAP
    from diffinfinite_lite.pipelines.slide_files import to_bytes, write_image, write_mask
    from diffinfinite_lite.sampling.decode import decode_stream
    from diffinfinite_lite.sampling.denoiser import Denoiser
    from diffinfinite_lite.sampling.sample import sample
    from diffinfinite_lite.sampling.solvers import cosine_alphas

    class Network:
        prediction_type = "epsilon"

        def __call__(self, z, t, mask):
            return 0.7 * z

    class Decoder:
        def decode(self, z):
            return z[:, :3].repeat_interleave(FACTOR, -2).repeat_interleave(FACTOR, -1)

    side = px // FACTOR
    mask = torch.randint(5, (side // 32, side // 32), generator=torch.Generator().manual_seed(0)).byte()
    mask = mask.repeat_interleave(32, 0).repeat_interleave(32, 1)
    with tempfile.TemporaryDirectory() as folder:
        began, row = time.perf_counter(), {"px": px, "plan": plan, "steps": STEPS}
        for level in sample(
            Denoiser(Network(), cosine_alphas(), batch_size=16),
            mask,
            channels=CHANNELS,
            patch=PATCH,
            plan=plan,
            solver="dpm-solver++",
            steps=STEPS,
            store=Path(folder, "store"),
        ):
            latents, ledger = level.canvas.latents, level.ledger
        row |= {"sampling_seconds": time.perf_counter() - began, "windows": ledger.windows, "sampling_mb": peak_mb()}
        reset()
        began = time.perf_counter()
        strips = slide.StripFiles(tempfile.mkdtemp(dir=folder))
        how = {"tile": slide.TILE, "overlap": OVERLAP, "border": BORDER, "strips": strips}
        parts = decode_stream(Decoder(), latents, **how)
        pixels = ((top, left, to_bytes(part.numpy())) for top, left, part in parts)
        write_image(Path(folder, "image.ome.tif"), pixels, (px, px), mpp=0.5)
        rows = ((FACTOR * k, 0, mask[k].numpy()[None].repeat(FACTOR, 0).repeat(FACTOR, 1)) for k in range(side))
        write_mask(Path(folder, "mask.ome.tif"), rows, (px, px), mpp=0.5)
        return row | {"writing_seconds": time.perf_counter() - began, "writing_mb": peak_mb()}


def main(
    px: Annotated[list[int], typer.Option(help="Sides of the slides.")] = [4096, 16384],  # noqa: B006
    plan: str = "random-patch",
    out: Path = Path("reports/outofcore.json"),
    alone: Annotated[bool, typer.Option(help="Measure the one size here and print JSON.")] = False,
) -> None:
    """Every size in a process of its own, then the growth of each stage from the smallest to the largest."""
    if alone:
        print(json.dumps(measure(px[0], plan)))
        return
    rows = []
    for side in px:
        command = [sys.executable, __file__, "--px", str(side), "--plan", plan, "--alone"]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(f"{'px':>8s}{'windows':>9s}{'sampling s':>12s}{'MB':>7s}{'writing s':>12s}{'MB':>7s}")
    for row in rows:
        print(
            f"{row['px']:8d}{row['windows']:9d}{row['sampling_seconds']:12.1f}{row['sampling_mb']:7d}"
            f"{row['writing_seconds']:12.1f}{row['writing_mb']:7d}"
        )
    growth = {stage: rows[-1][f"{stage}_mb"] / rows[0][f"{stage}_mb"] - 1 for stage in ("sampling", "writing")}
    print(f"from {px[0]} to {px[-1]} px: sampling {growth['sampling']:+.1%}, writing {growth['writing']:+.1%} memory")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"rows": rows, "growth": growth}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
