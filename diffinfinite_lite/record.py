"""What a run has cost, as run.json tells it: seconds by stage, counts of the ledger, peak memory."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import contextmanager

import torch

from .denoise import Ledger


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
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit}
    if torch.device(device).type == "cuda":
        peak["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) // 2**20
    return peak


@contextmanager
def timed(clock: dict[str, float], stage: str):
    """Put the seconds that a stage takes into the clock."""
    began = time.perf_counter()
    yield
    clock[stage] = time.perf_counter() - began


def choose_device(device: str | None) -> str:
    """The device asked for, or a GPU where torch sees one, else the CPU."""
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"expected a device such as cpu or cuda, got {device!r}") from error
    if asked.type == "cuda" and (asked.index or 0) >= (count := torch.cuda.device_count()):
        there = f"one of the {count} GPUs that torch sees" if count else "cpu, as torch sees no GPU"
        raise ValueError(f"expected {there}, got {device!r}")
    return device
