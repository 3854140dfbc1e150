r"""The canvas: latents of any size, the noise estimate of one level, and the pixel-wise timestep map.

Paper 4.3 keeps "a replica of the previous diffusion step" so that pixels already updated at this level can
be shown to the network as they were. Freezing :math:`z_t` until the level's noise estimate is complete is
the same thing:

    read    crops of :math:`z_t`, which does not change during a level
    add     weight times noise estimate of one window
    advance one step of the solver on all pixels, when the weights sum to one everywhere

:math:`L_t` of Alg. 2 counts here how many steps a pixel still has to go, S at first and 0 in the end;
within a level its values are ``left`` (not reached yet) and ``left - 1`` (reached), never more than two.

`Canvas` is what the loop asks for. `MemoryCanvas` holds tensors, `zarr_canvas.ZarrCanvas` the same on disk, bit for
bit. `CanvasHook` is for whatever watches a canvas from outside: checks, recording, cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .windows import Size, Window

BUFFER = 2**19  # latent pixels of windows that are held in memory at a time

# Estimate and state of a part of the canvas, what the solver left for it at the last level, and where it is, to the
# next state and what is left for the next level.
Step = Callable[[Tensor, Tensor, Tensor | None, Window], tuple[Tensor, Tensor | None]]


class Canvas(Protocol):
    """What the loop asks of a canvas.

    Attributes
    ----------
    size : (H, W) in latent pixels.
    visible : (h, w) of the top left part that is the picture; the rest is margin.
    left : steps still to go for the canvas as a whole.
    note : JSON-able, of use to the caller; a canvas on disk keeps it with its state.
    identity : SHA-256 of what the canvas holds, or of all that this depends on.
    z : float (C, H, W), the state :math:`z_t`; latents : its visible part.
    coverage : float32 (H, W), sum of the weights of this level so far.
    timestep_map : int32 (h, w), steps each visible pixel has still to go (:math:`L_t` in Alg. 2).
    """

    note: dict

    @property
    def size(self) -> Size: ...
    @property
    def visible(self) -> Size: ...
    @property
    def left(self) -> int: ...
    @property
    def identity(self) -> str: ...

    @property
    def z(self) -> Any: ...
    @property
    def latents(self) -> Any: ...
    @property
    def coverage(self) -> Any: ...
    @property
    def timestep_map(self) -> Any: ...

    def parts(self) -> Iterator[Window]:
        """Windows that tile the canvas and are stepped one after the other."""

    def crops(self, windows: Sequence[Window]) -> list[Tensor]:
        """Crops of the frozen state, float (C, h, w) each."""

    def add(self, window: Window, weight: Tensor, eps: Tensor) -> None:
        """Count one window's noise estimate (C, h, w) with its weight (h, w), and mark its pixels as reached."""

    def advance(self, step: Step) -> None:
        """One step of the whole canvas, part by part; starts the next level."""


class MemoryCanvas:
    """A `Canvas` of tensors.

    Parameters
    ----------
    z : float (C, H, W), initial noise
    steps : S
    visible : (h, w) of the top left part that is the picture; the rest is margin. Default all.

    Attributes
    ----------
    z : float (C, H, W), the state :math:`z_t`.
    eps : float (C, H, W), noise estimate of the level so far.
    coverage : float32 (H, W), sum of the weights so far.
    left : steps still to go for the canvas as a whole.
    steps_left : int32 (H, W), the same for each pixel (:math:`L_t` in Alg. 2).
    memory : float (C, H, W) or None, what a multistep solver keeps of its last level.
    note : dict, of use to the caller; the canvas on disk (`zarr_canvas`) keeps it with its state.

    >>> canvas = MemoryCanvas(torch.zeros(1, 2, 2), steps=3)
    >>> canvas.add(Window(0, 0, 1, 2), torch.ones(1, 2), torch.ones(1, 1, 2))
    >>> canvas.steps_left
    tensor([[2, 2],
            [3, 3]], dtype=torch.int32)
    """

    def __init__(self, z: Tensor, steps: int, visible: Size | None = None) -> None:
        if z.ndim != 3:
            raise ValueError(f"expected latents (C, H, W), got {tuple(z.shape)}")
        self.z = z
        self.size: Size = (z.shape[1], z.shape[2])
        self.visible = self.size if visible is None else visible
        self.left = steps
        self.eps = torch.zeros_like(z)
        self.coverage = torch.zeros(self.size, device=z.device)
        self.steps_left = torch.full(self.size, steps, dtype=torch.int32, device=z.device)
        self.memory: Tensor | None = None
        self.note: dict = {}

    @property
    def identity(self) -> str:
        """SHA-256 of the state."""
        return hashlib.sha256(self.z.cpu().numpy().tobytes()).hexdigest()

    @property
    def latents(self) -> Tensor:
        """The picture's part of the state, float (C, h, w); a view, so clone it to keep it."""
        return self.z[:, : self.visible[0], : self.visible[1]]

    @property
    def timestep_map(self) -> Tensor:
        """The picture's part of the steps still to go, int32 (h, w); a view, so clone it to keep it."""
        return self.steps_left[: self.visible[0], : self.visible[1]]

    def parts(self) -> Iterator[Window]:
        """Windows that tile the canvas and are stepped one after the other: here a single one."""
        yield Window(0, 0, *self.size)

    def read(self, window: Window) -> Tensor:
        """Crop of the frozen state, float (C, h, w)."""
        return self.z[(slice(None), *window.index(self.size))]

    def crops(self, windows: Sequence[Window]) -> list[Tensor]:
        """`read` of many windows."""
        return [self.read(window) for window in windows]

    def add(self, window: Window, weight: Tensor, eps: Tensor) -> None:
        """Count one window's noise estimate and mark its pixels as reached.

        Parameters
        ----------
        window : where
        weight : float (h, w)
        eps : float (C, h, w)
        """
        index = window.index(self.size)
        self.eps[(slice(None), *index)] += weight * eps
        self.coverage[index] += weight
        self.steps_left[index] = self.steps_left[index].masked_fill(weight != 0, self.left - 1)

    def advance(self, step: Step) -> None:
        """One step of the whole canvas: ``z, memory = step(eps, z, memory, part)``; starts the next level.

        Parameters
        ----------
        step : pixel-wise; see `Step`

        Raises
        ------
        ValueError : no level is left.
        """
        if self.left < 1:
            raise ValueError("the canvas is finished: no step is left to advance")
        self.z, self.memory = step(self.eps, self.z, self.memory, Window(0, 0, *self.size))
        self.left -= 1
        self.eps = torch.zeros_like(self.z)
        self.coverage.zero_()
        self.steps_left.fill_(self.left)


class CanvasHook:
    """A canvas around a canvas: passes everything on, for subclasses that watch or check some of it."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas

    def __getattr__(self, name: str) -> Any:
        return getattr(self.canvas, name)

    @property
    def size(self) -> Size:
        return self.canvas.size

    @property
    def visible(self) -> Size:
        return self.canvas.visible

    @property
    def left(self) -> int:
        return self.canvas.left

    @property
    def identity(self) -> str:
        return self.canvas.identity

    @property
    def note(self) -> dict:
        return self.canvas.note

    @note.setter
    def note(self, note: dict) -> None:
        self.canvas.note = note

    @property
    def z(self) -> Any:
        return self.canvas.z

    @property
    def latents(self) -> Any:
        return self.canvas.latents

    @property
    def coverage(self) -> Any:
        return self.canvas.coverage

    @property
    def timestep_map(self) -> Any:
        return self.canvas.timestep_map

    def parts(self) -> Iterator[Window]:
        return self.canvas.parts()

    def crops(self, windows: Sequence[Window]) -> list[Tensor]:
        return self.canvas.crops(windows)

    def add(self, window: Window, weight: Tensor, eps: Tensor) -> None:
        self.canvas.add(window, weight, eps)

    def advance(self, step: Step) -> None:
        self.canvas.advance(step)


class Plane:
    """An array that reads like a tensor: ``plane[slices]`` is one, and nothing else is in memory.

    Parameters
    ----------
    read : maps one slice per axis, start and stop given, to a tensor
    shape : extent

    >>> plane = Plane(lambda rows, columns: torch.zeros(rows.stop - rows.start, columns.stop - columns.start), (4, 9))
    >>> plane[:2].shape
    torch.Size([2, 9])
    """

    def __init__(self, read: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
        self.read, self.shape, self.ndim = read, shape, len(shape)

    def __getitem__(self, index: slice | tuple[slice, ...]) -> Tensor:
        index = index if isinstance(index, tuple) else (index,)
        index = (*index, *[slice(None)] * (self.ndim - len(index)))
        return self.read(*(slice(*axis.indices(n)[:2]) for axis, n in zip(index, self.shape, strict=True)))
