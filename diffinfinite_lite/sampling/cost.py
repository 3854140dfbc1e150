"""What a run has cost, as run.json tells it: seconds by stage, counts of the ledger, peak memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import torch

try:
    import resource
except ModuleNotFoundError:  # not on Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Ledger:
    """What a run has cost so far.

    Attributes
    ----------
    evaluations : crops times label maps that went through the network (NFE).
    calls : forward passes; one holds up to ``batch_size`` evaluations.
    windows : crops denoised.
    labels : distinct labels, unknown included, summed over the crops.
    network_seconds : time spent in the network.
    pixels : latent pixels that went through the network. Divided by the pixels of a patch this counts whole patches,
        which DiffCollage's half windows are not.
    depth : levels that needed the network: rounds that have to wait for each other however many machines there are.
    canvas_seconds : time spent outside the network: plan, noise, reading, composing, adding, stepping, recording.
    """

    evaluations: int = 0
    calls: int = 0
    windows: int = 0
    labels: int = 0
    network_seconds: float = 0.0
    pixels: int = 0
    depth: int = 0
    canvas_seconds: float = 0.0

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Ledger) -> Ledger:
        return Ledger(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


def costs(ledger: Ledger, patch: int, steps: int, clock: dict[str, float]) -> dict:
    """The ledger as it is written to run.json; stages in `clock` follow each other, network and canvas are sampling."""
    windows = max(ledger.windows, 1)
    return {
        "network_evaluations": ledger.evaluations,
        "network_calls": ledger.calls,
        "whole_patches": round(ledger.pixels / patch**2, 2),
        "windows": ledger.windows,
        "windows_per_level": round(ledger.windows / steps, 2),
        "labels_per_window": round(ledger.labels / windows, 2),
        "sequential_depth": ledger.depth,
        "seconds": {
            **{stage: round(seconds, 2) for stage, seconds in clock.items()},
            "network": round(ledger.network_seconds, 2),
            "canvas": round(ledger.canvas_seconds, 2),
        },
    }


def peak_memory(device: str) -> dict[str, int]:
    """Most memory this process has held so far, MB, and most of the GPU's in this run."""
    if resource:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
    else:
        import psutil

        memory = psutil.Process().memory_info()
        held = getattr(memory, "peak_wset", memory.rss) // 2**20  # Windows counts a peak of its own
    peak = {"peak_memory_mb": held}
    if torch.device(device).type == "cuda":
        peak["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) // 2**20
    return peak


@contextmanager
def timed(clock: dict[str, float], stage: str) -> Iterator[None]:
    """Put the seconds that a stage takes into the clock."""
    began = time.perf_counter()
    yield
    clock[stage] = time.perf_counter() - began
