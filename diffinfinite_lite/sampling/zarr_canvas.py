r"""A canvas on disk: the twin of `canvas.MemoryCanvas` for pictures that do not fit into memory.

The state lies in Zarr (version 3) arrays, cut into chunks of `CHUNK` x `CHUNK` latent pixels:

==================  ===================================================================================
latents-0, -1       :math:`z_t` and the state of the next level, taking turns; float32 (C, H, W)
memory-0, -1        what a multistep solver keeps of its last level, taking turns; where there is one
estimate            noise estimate of the level, sum of its weights, and 1 where a pixel is reached;
                    float32 (C + 2, H, W)
progress.json       settings of the run and their hash, levels still to go, cost so far
==================  ===================================================================================

Reading needs one chunk at a time, adding collects windows and goes through the chunks once for all of them,
and a step is pixel-wise, so that memory does not grow with the canvas. Each pixel sees the same operations
in the same order as in `MemoryCanvas`: the result is the same bit for bit.

A level counts as done when ``progress.json`` is replaced, which the file system does as a whole. Until then
nothing that an unfinished level writes is read by the one before it: a process killed at any moment, or a
full disk, costs the level under way and nothing else. (Written data reach the disk when the system likes:
what a power cut leaves is not covered.)
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..extras import extra
from .canvas import BUFFER, Plane, Step
from .store import Store, explain_full_disk
from .windows import Size, Window

if TYPE_CHECKING:
    from zarr import Array

CHUNK = 128  # side of a chunk, latent pixels
Piece = tuple[int, tuple[slice, slice], tuple[slice, slice]]  # number of a window, where in it, where in the chunk


class ZarrCanvas:
    """Latents under way, on disk; attributes and methods as in `canvas.MemoryCanvas`, tensors replaced by `Plane`.

    Parameters
    ----------
    path : folder, new or empty, or the store of an earlier call with the same settings, which goes on from its last
        finished level
    start : maps a window to the initial noise there, float32 (C, h, w)
    channels, size : C and (H, W)
    steps : S
    visible : (h, w) of the top left part that is the picture. Default all.
    settings : all that the result depends on, JSON-able
    chunk : side of a chunk in latent pixels, default `CHUNK`; no result depends on it

    Raises
    ------
    ValueError : the store belongs to a run with other settings, or the folder holds something else.
    OSError : the store is in use by another process, or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        start: Callable[[Window], Tensor],
        channels: int,
        size: Size,
        steps: int,
        visible: Size | None = None,
        settings: dict | None = None,
        chunk: int | None = None,
    ) -> None:
        self.channels, self.size, self.steps, self.left = channels, size, steps, steps
        self.visible = size if visible is None else visible
        self.note: dict = {}
        self._store = Store(path, settings or {})
        self._path = self._store.path
        self._arrays: dict[str, Array] = {}
        self._pending: list[tuple[Window, Tensor, Tensor]] = []
        self._held = 0  # latent pixels pending
        progress = self._store.progress
        self._chunk = progress.get("chunk", chunk or CHUNK)
        with self._explain_full_disk():
            if progress.get("left") is None:
                self._save(None)
                for part in self.parts():
                    self._set("latents", steps, part, start(part))
                self._save(steps)
            else:
                self.left, self.note = progress["left"], progress["note"]
                for broken in self._path.glob("*/c/**/*.partial"):
                    broken.unlink()
                self._erase()

    @property
    def z(self) -> Plane:
        """The frozen state, float32 (C, H, W)."""
        return self._plane("latents", 0, self.channels)

    @property
    def latents(self) -> Plane:
        """The picture's part of the state, float32 (C, h, w)."""
        return Plane(self.z.read, (self.channels, *self.visible))

    @property
    def eps(self) -> Plane:
        """Noise estimate of the level so far, float32 (C, H, W)."""
        return self._plane("estimate", 0, self.channels)

    @property
    def coverage(self) -> Plane:
        """Sum of the weights so far, float32 (H, W)."""
        weights = self._plane("estimate", self.channels, 1)
        return Plane(lambda *at: weights.read(slice(0, 1), *at)[0], self.size)

    @property
    def steps_left(self) -> Plane:
        """Steps each pixel has still to go, int32 (H, W)."""
        reached = self._plane("estimate", self.channels + 1, 1)
        return Plane(lambda *at: self.left - reached.read(slice(0, 1), *at)[0].int(), self.size)

    @property
    def timestep_map(self) -> Plane:
        """The picture's part of ``steps_left``, int32 (h, w)."""
        return Plane(self.steps_left.read, self.visible)

    def parts(self) -> Iterator[Window]:
        """The chunks, which are stepped one after the other."""
        for row in range(-(-self.size[0] // self._chunk)):
            for column in range(-(-self.size[1] // self._chunk)):
                yield self._part(row, column)

    def read(self, window: Window) -> Tensor:
        """Crop of the frozen state, float32 (C, h, w)."""
        return self.crops([window])[0]

    def crops(self, windows: Sequence[Window]) -> list[Tensor]:
        """`read` of many windows; opens every chunk once."""
        crops = [torch.empty(self.channels, window.height, window.width) for window in windows]
        for part, pieces in self._pieces(windows):
            chunk = self._get("latents", self.left, part)
            for k, inside, at in pieces:
                crops[k][(slice(None), *inside)] = chunk[(slice(None), *at)]
        return crops

    def add(self, window: Window, weight: Tensor, eps: Tensor) -> None:
        """Count one window's noise estimate and mark its pixels as reached; see `MemoryCanvas.add`."""
        self._pending.append((window, weight.cpu(), eps.cpu()))
        self._held += weight.numel()
        if self._held >= BUFFER:
            self._flush()

    def advance(self, step: Step) -> None:
        """One step of the whole canvas, chunk by chunk; starts the next level. See `MemoryCanvas.advance`.

        Raises
        ------
        ValueError : no level is left.
        OSError : the disk is full; the state is still that of the last finished level.
        """
        if self.left < 1:
            raise ValueError("the canvas is finished: no step is left to advance")
        self._flush()
        remembers = self.left < self.steps and (self._path / f"memory-{self.left % 2}").exists()
        with self._explain_full_disk():
            for part in self.parts():
                eps, z = self._get("estimate", 0, part)[: self.channels], self._get("latents", self.left, part)
                z, memory = step(eps, z, self._get("memory", self.left, part) if remembers else None, part)
                self._set("latents", self.left - 1, part, z)
                if memory is not None:
                    self._set("memory", self.left - 1, part, memory)
            self._save(self.left - 1)  # from here on the new state counts
            self.left -= 1
            self._erase()

    def _flush(self) -> None:
        """Add what is pending, chunk by chunk; every pixel gets its windows in the order in which they came."""
        pending, self._pending, self._held = self._pending, [], 0
        with self._explain_full_disk():
            for part, pieces in self._pieces([window for window, _, _ in pending]):
                eps, coverage, reached = (chunk := self._get("estimate", 0, part)).split([self.channels, 1, 1])
                for k, inside, at in pieces:
                    _, weight, estimate = pending[k]
                    weight = weight[inside]
                    eps[(slice(None), *at)] += weight * estimate[(slice(None), *inside)]
                    coverage[(0, *at)] += weight
                    reached[(0, *at)] += weight != 0
                reached.clamp_(max=1)
                self._set("estimate", 0, part, chunk)

    def _part(self, row: int, column: int) -> Window:
        top, left = row * self._chunk, column * self._chunk
        return Window(top, left, min(self._chunk, self.size[0] - top), min(self._chunk, self.size[1] - left))

    def _pieces(self, windows: Sequence[Window]) -> Iterator[tuple[Window, list[Piece]]]:
        """Chunks that the windows meet and, for each of them, the pieces of the windows in their order."""
        found = defaultdict(list)
        for k, window in enumerate(windows):
            rows = list(self._cut(window.top, window.height, self.size[0]))
            for column, columns_inside, columns_at in self._cut(window.left, window.width, self.size[1]):
                for row, rows_inside, rows_at in rows:
                    found[row, column].append((k, (rows_inside, columns_inside), (rows_at, columns_at)))
        for place in sorted(found):
            yield self._part(*place), found[place]

    def _cut(self, start: int, extent: int, n: int) -> Iterator[tuple[int, slice, slice]]:
        """A periodic interval cut at chunks: number of the chunk, slice of the interval, slice of the chunk."""
        done = 0
        while done < extent:
            chunk, first = divmod((start + done) % n, self._chunk)
            length = min(extent - done, self._chunk - first, n - chunk * self._chunk - first)
            yield chunk, slice(done, done + length), slice(first, first + length)
            done += length

    def _plane(self, name: str, first: int, channels: int) -> Plane:
        def read(these: slice, *at: slice) -> Tensor:
            self._flush()
            found = self._array(name, self.left)[(slice(first + these.start, first + these.stop), *at)]
            return torch.from_numpy(found)

        return Plane(read, (channels, *self.size))

    def _array(self, name: str, left: int) -> Array:
        """Array of a name; of the two that take turns the one for the state with so many steps left."""
        with extra("slides"):
            import zarr  # takes half a second, and most canvases are in memory

        if name != "estimate":
            name = f"{name}-{left % 2}"
        if name not in self._arrays:
            if (self._path / name / "zarr.json").exists():
                self._arrays[name] = zarr.open_array(self._path / name, mode="r+")
            else:
                channels = self.channels + 2 * (name == "estimate")
                self._arrays[name] = zarr.create_array(
                    self._path / name,
                    shape=(channels, *self.size),
                    chunks=(channels, *(min(self._chunk, n) for n in self.size)),
                    dtype="float32",
                    compressors=None,  # noise does not shrink
                    fill_value=0,
                )
        return self._arrays[name]

    def _get(self, name: str, left: int, part: Window) -> Tensor:
        return torch.from_numpy(self._array(name, left)[(slice(None), *part.index(self.size))])

    def _set(self, name: str, left: int, part: Window, values: Tensor) -> None:
        self._array(name, left)[(slice(None), *part.index(self.size))] = values.cpu().numpy()

    def _erase(self) -> None:
        """Set the noise estimate to zero: a chunk that is not there counts as zeros."""
        if (self._path / "estimate" / "c").exists():
            shutil.rmtree(self._path / "estimate" / "c")

    def _save(self, left: int | None) -> None:
        self._store.save({"left": left, "chunk": self._chunk, "note": self.note})

    def _explain_full_disk(self) -> AbstractContextManager[None]:
        return explain_full_disk(self._path, f"{self.steps - self.left} of {self.steps} levels are safe")
