r"""A canvas on disk: the twin of `canvas.MemoryCanvas` for pictures that do not fit into memory.

The state lies in Zarr (version 3) arrays, cut into chunks of `CHUNK` x `CHUNK` latent pixels:

==================  ===================================================================================
latents-0, -1       :math:`z_t` and the state of the next level, taking turns; float32 (C, H, W)
memory-0, -1        what a multistep solver keeps of its last level, taking turns; where there is one
estimate            noise estimate of the level, sum of its weights, and 1 where a pixel is reached;
                    float32 (C + 2, H, W)
progress.json       settings of the run and their hash, levels still to go, cost so far, and a checksum of every
                    chunk that counts
==================  ===================================================================================

Reading needs one chunk at a time, adding collects windows and goes through the chunks once for all of them,
and a step is pixel-wise, so that memory does not grow with the canvas. Each pixel sees the same operations
in the same order as in `MemoryCanvas`: the result is the same bit for bit.

A level counts as done when ``progress.json`` is replaced, which the file system does as a whole. Until then
nothing that an unfinished level writes is read by the one before it: a process killed at any moment, or a
full disk, costs the level under way and nothing else.

Every chunk is read against the checksum of what was written, and all chunks that count are read when a run goes on:
one that is damaged, missing, of another place, of an earlier level or of another run is refused in a sentence that
names it. (Written data reach the disk when the system likes: what a power cut leaves is refused in the same way.)
Stores of earlier versions hold no checksums: their chunks have to be whole files, whose content is believed as it is
found, and from the next level on they have checksums. What the arrays' ``zarr.json`` say follows from the settings, so
that these are written anew.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..extras import extra
from .canvas import BUFFER, Plane, Step
from .store import Store, damaged, explain_full_disk
from .windows import Size, Window

if TYPE_CHECKING:
    from zarr import Array

ARRAYS = ("latents-0", "latents-1", "memory-0", "memory-1", "estimate")
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
    ValueError : the store belongs to a run with other settings, one of its files is damaged, or the folder holds
        something else. Reading and advancing raise it, too, for a chunk that was damaged meanwhile.
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
        self._checksums: dict[str, dict[str, str]] = {}  # of every array, by the chunk's name
        self._pending: list[tuple[Window, Tensor, Tensor]] = []
        self._held = 0  # latent pixels pending
        progress = self._store.progress
        if progress:
            check_progress(progress, steps, self._path / "progress.json")
        self._chunk = progress.get("chunk", chunk or CHUNK)
        with self._explain_full_disk():
            if progress.get("left") is None:
                self._save(None)
                for part in self.parts():
                    self._set("latents", steps, part, start(part))
                self._save(steps)
            else:
                self.left, self.note = progress["left"], progress["note"]
                self._resume(progress.get("checksums"))

    @property
    def identity(self) -> str:
        """SHA-256 of the settings, on which all that it holds depends."""
        return self._store.identity

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
        return self._collect("latents", slice(0, self.channels), windows)

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
        remembers = self._name("memory", self.left) in self._checksums
        for name in ("latents", "memory"):
            self._checksums.pop(self._name(name, self.left - 1), None)  # of the level before
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

    def _collect(self, name: str, channels: slice, windows: Sequence[Window]) -> list[Tensor]:
        """Crops of an array; opens every chunk once."""
        crops = [torch.empty(channels.stop - channels.start, window.height, window.width) for window in windows]
        for part, pieces in self._pieces(windows):
            chunk = self._get(name, self.left, part)[channels]
            for k, inside, at in pieces:
                crops[k][(slice(None), *inside)] = chunk[(slice(None), *at)]
        return crops

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
        def read(*at: slice) -> Tensor:
            self._flush()
            these, rows, columns = (slice(axis.start, max(axis.start, axis.stop)) for axis in at)
            window = Window(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
            return self._collect(name, slice(first + these.start, first + these.stop), [window])[0]

        return Plane(read, (channels, *self.size))

    def _name(self, name: str, left: int) -> str:
        """Name of an array; of the two that take turns that of the one for the state with so many steps left."""
        return name if name == "estimate" else f"{name}-{left % 2}"

    def _array(self, name: str) -> Array:
        """Array of a name, of which the chunks that are there are taken over."""
        with extra("slides"):
            import zarr  # takes half a second, and most canvases are in memory

        if name not in self._arrays:
            (self._path / name / "zarr.json").unlink(missing_ok=True)  # what it says is known, and it may be damaged
            channels = self.channels + 2 * (name == "estimate")
            self._arrays[name] = zarr.create_array(
                self._path / name,
                shape=(channels, *self.size),
                chunks=(channels, *(min(self._chunk, n) for n in self.size)),
                dtype="float32",
                compressors=None,  # noise does not shrink
                fill_value=0,
                config={"write_empty_chunks": True},  # so that a chunk without a file is a lost one
            )
        return self._arrays[name]

    def _get(self, name: str, left: int, part: Window) -> Tensor:
        """Values of a chunk, refused if they are not those that were written."""
        name = self._name(name, left)
        expected = self._checksums.get(name, {}).get(self._place(part))
        if expected is None and name == "estimate":  # nothing was added to it in this level
            return torch.zeros(self.channels + 2, part.height, part.width)
        values = self._load(name, part)
        if checksum(values) != expected:
            other = f"other content than {self._path / 'progress.json'} says"
            raise self._damaged(name, part, other if self._file(name, part).is_file() else "no such file")
        return torch.from_numpy(values)

    def _load(self, name: str, part: Window) -> np.ndarray:
        """Values of a chunk as they are found; zeros where there is no file."""
        try:
            values: Any = self._array(name)[(slice(None), *part.index(self.size))]
        except ValueError as error:  # too short or too long for a chunk
            raise self._damaged(name, part, f"{self._file(name, part).stat().st_size} bytes") from error
        except OSError as error:
            raise self._damaged(name, part, error.strerror or str(error)) from error
        return values

    def _damaged(self, name: str, part: Window, found: str) -> ValueError:
        last_row, last_column = part.top + part.height - 1, part.left + part.width - 1
        place = f"latent pixels {part.top} to {last_row} down, {part.left} to {last_column} across"
        return damaged(self._file(name, part), found, place)

    def _file(self, name: str, part: Window) -> Path:
        return self._path / name / "c" / "0" / self._place(part)

    def _set(self, name: str, left: int, part: Window, values: Tensor) -> None:
        name = self._name(name, left)
        written = np.ascontiguousarray(values.cpu().numpy(), np.float32)
        self._array(name)[(slice(None), *part.index(self.size))] = written
        self._checksums.setdefault(name, {})[self._place(part)] = checksum(written)

    def _place(self, part: Window) -> str:
        """Name of a chunk within its array."""
        return f"{part.top // self._chunk}/{part.left // self._chunk}"

    def _resume(self, checksums: dict[str, dict[str, str]] | None) -> None:
        """Go on from a store: verify all that counts, then forget what an unfinished level left."""
        self._checksums = self._take_over() if checksums is None else dict(checksums)
        for name in ("latents", "memory"):
            if self._name(name, self.left) in self._checksums:
                for part in self.parts():
                    self._get(name, self.left, part)
        for name in ARRAYS:
            for broken in (self._path / name).glob("**/*.partial"):  # of a write that was cut short
                broken.unlink()
        self._erase()

    def _take_over(self) -> dict[str, dict[str, str]]:
        """Checksums of what a store of an earlier version, which has none, holds; its chunks have to be there."""
        names = [self._name("latents", self.left)]
        if 0 < self.left < self.steps and (self._path / self._name("memory", self.left)).exists():
            names.append(self._name("memory", self.left))
        for name in names:
            for part in self.parts():
                if not self._file(name, part).is_file():
                    raise self._damaged(name, part, "no such file")
        return {name: {self._place(part): checksum(self._load(name, part)) for part in self.parts()} for name in names}

    def _erase(self) -> None:
        """Set the noise estimate to zero: a chunk that is not there counts as zeros."""
        self._checksums.pop("estimate", None)
        if (self._path / "estimate" / "c").exists():
            shutil.rmtree(self._path / "estimate" / "c")

    def _save(self, left: int | None) -> None:
        counts = {None: (), 0: ("latents",)}.get(left, ("latents", "memory"))  # nothing, the result, or a state
        names = [self._name(name, left or 0) for name in counts]
        checksums = {name: self._checksums[name] for name in names if name in self._checksums}
        self._store.save({"left": left, "chunk": self._chunk, "note": self.note, "checksums": checksums})

    def _explain_full_disk(self) -> AbstractContextManager[None]:
        return explain_full_disk(self._path, f"{self.steps - self.left} of {self.steps} levels are safe")


def checksum(values: np.ndarray) -> str:
    """CRC-32 of the bytes of an array, eight hexadecimal digits.

    >>> checksum(np.zeros(2, np.float32))
    '6522df69'
    """
    return f"{zlib.crc32(np.ascontiguousarray(values).data):08x}"


def check_progress(progress: dict, steps: int, file: Path) -> None:
    """Refuse progress that no canvas can have.

    Parameters
    ----------
    progress : what ``progress.json`` holds of it
    steps : S
    file : where it was read, for the message

    Raises
    ------
    ValueError : a value is missing or out of range.
    """

    def whole(value: object, low: int, high: float) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    left, chunk, note, checksums = (progress.get(key) for key in ("left", "chunk", "note", "checksums"))
    if not (left is None or whole(left, 0, steps)):
        raise damaged(file, f"left = {json.dumps(left)[:40]}, which is not from 0 to {steps}")
    if not whole(chunk, 1, 2**31):
        raise damaged(file, f"chunk = {json.dumps(chunk)[:40]}, which is no side of a chunk")
    if not (isinstance(note, dict) and all(isinstance(n, int | float) and n >= 0 for n in note.values())):
        raise damaged(file, f"note = {json.dumps(note)[:40]}, which is no note")
    arrays = checksums.values() if isinstance(checksums, dict) else [checksums]
    if "checksums" in progress and not all(isinstance(array, dict) for array in arrays):
        raise damaged(file, "checksums that are none")
    if checksums is not None and left is not None and f"latents-{left % 2}" not in checksums:
        raise damaged(file, f"no checksums of latents-{left % 2}")
