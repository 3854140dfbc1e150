"""What a run costs: the ledger, how it is kept beside the loop, and how run.json tells it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .canvas import Canvas, CanvasHook, Step
from .windows import Window

if TYPE_CHECKING:
    from .denoiser import Estimator
    from .loop import Level

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


class MeteredCanvas(CanvasHook):
    """Keeps the books of a run from outside the loop: levels in sequence, seconds outside the network.

    Before a canvas advances its note is what the run has cost so far; a run that goes on from a store adds to it.

    Parameters
    ----------
    estimator : the run's denoiser, whose ledger counts the network
    """

    def __init__(self, canvas: Canvas, estimator: Estimator) -> None:
        super().__init__(canvas)
        self._estimator, self._windows = estimator, 0
        self._before = estimator.ledger - Ledger(**canvas.note)
        self._start_clock()

    @property
    def ledger(self) -> Ledger:
        """What the run has cost so far, stopped parts of it included."""
        return self._estimator.ledger - self._before

    def add(self, window: Window, weight: Tensor, eps: Tensor) -> None:
        self._windows += 1
        self.canvas.add(window, weight, eps)

    def advance(self, step: Step) -> None:
        self._estimator.ledger += Ledger(depth=1 if self._windows else 0)
        self._windows = 0
        self.note = asdict(self.ledger + Ledger(canvas_seconds=self._outside()))
        self.canvas.advance(step)

    def levels(self, levels: Iterator[Level]) -> Iterator[Level]:
        """The levels with their ledger; the time that the caller takes between two of them does not count."""
        self._start_clock()
        for level in levels:
            self._estimator.ledger += Ledger(canvas_seconds=self._outside())
            yield replace(level, ledger=self.ledger)
            self._start_clock()

    def _start_clock(self) -> None:
        self._began, self._network = time.perf_counter(), self._estimator.ledger.network_seconds

    def _outside(self) -> float:
        return time.perf_counter() - self._began - (self._estimator.ledger.network_seconds - self._network)


def costs(ledger: Ledger, patch: int, steps: int, clock: dict[str, float]) -> dict:
    """The ledger as it is written to run.json; parts in `clock` follow each other, network and canvas are sampling."""
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
            **{part: round(seconds, 2) for part, seconds in clock.items()},
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
def timed(clock: dict[str, float], part: str) -> Iterator[None]:
    """Put the seconds that a part of the work takes into the clock."""
    began = time.perf_counter()
    yield
    clock[part] = time.perf_counter() - began
