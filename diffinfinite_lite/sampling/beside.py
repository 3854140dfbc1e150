r"""What a network reads beside its noisy latents: another canvas that is finished, or numbers that hold everywhere.

A label map says what is where; some networks are also shown channels of their own, cut from the same window. Here are
the two kinds that there are, and `BesideCanvas`, which puts them behind the latents of every crop. The loop does not
know about it; the denoiser takes the first channels for the state, as many as its network predicts.

    Across         numbers, the same at all pixels or passing from one set to another from left to right
    NoisedCanvas   a canvas that was sampled before, with some noise on it, and how much that is

With a finished canvas beside it, a second network paints what a first one has planned, window by window, on canvases of
any size, in memory or on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .canvas import Canvas, CanvasHook
from .noise import wrapping_noise
from .windows import Size, Window


class Beside(Protocol):
    """Channels beside the latents of a canvas.

    Attributes
    ----------
    identity : JSON-able, all that they depend on.
    """

    @property
    def identity(self) -> Any: ...

    def crops(self, windows: Sequence[Window], size: Size) -> list[Tensor]:
        """Those of windows of a canvas (H, W), float (D, h, w) each."""


class BesideCanvas(CanvasHook):
    """Shows more than the latents in its crops."""

    def __init__(self, canvas: Canvas, beside: Beside) -> None:
        super().__init__(canvas)
        self._beside = beside

    def crops(self, windows: Sequence[Window]) -> list[Tensor]:
        read = self._beside.crops(windows, self.size)
        return [torch.cat([z, more]) for z, more in zip(self.canvas.crops(windows), read, strict=True)]


class Across:
    """Numbers that hold everywhere, or pass from one set at the left border to another at the right one.

    Parameters
    ----------
    left, right : float (D,), on the canvas' device

    >>> across = Across(torch.tensor([0.0]), torch.tensor([3.0]))
    >>> across.crops([Window(0, 2, 1, 3)], (4, 4))[0].tolist()
    [[[2.0, 3.0, 0.0]]]
    """

    def __init__(self, left: Tensor, right: Tensor | None = None) -> None:
        self.left, self.right = left, left if right is None else right

    @property
    def identity(self) -> Any:
        return [self.left.tolist(), self.right.tolist()]

    def crops(self, windows: Sequence[Window], size: Size) -> list[Tensor]:
        """See `Beside.crops`."""
        found = []
        for window in windows:
            columns = (window.left + torch.arange(window.width, device=self.left.device)) % size[1]
            values = torch.lerp(self.left[:, None], self.right[:, None], columns / max(size[1] - 1, 1))
            found.append(values[:, None].expand(-1, window.height, -1))
        return found


class NoisedCanvas:
    """A finished canvas with noise on it, and one channel more that says how much.

    Parameters
    ----------
    canvas : of the same size as the one that it stands beside
    level : standard deviation of the noise
    seed : of the noise
    """

    def __init__(self, canvas: Canvas, level: float, seed: int) -> None:
        self._canvas, self._level, self._seed = canvas, level, seed
        self._channels = canvas.z.shape[0]

    @property
    def identity(self) -> Any:
        return {"canvas": self._canvas.identity, "level": self._level, "seed": self._seed}

    def crops(self, windows: Sequence[Window], size: Size) -> list[Tensor]:
        """See `Beside.crops`."""
        if size != self._canvas.size:
            raise ValueError(f"expected a canvas of {size} latent pixels to read, got one of {self._canvas.size}")
        found = []
        for window, crop in zip(windows, self._canvas.crops(windows), strict=True):
            clean = crop[: self._channels]  # what it was shown itself stands behind
            if self._level:
                noise = wrapping_noise(self._seed, 0, self._channels, window, size).to(clean.device)
                clean = clean + self._level * noise
            found.append(torch.cat([clean, clean.new_full((1, *clean.shape[1:]), self._level)]))
        return found


class Enlarged:
    """What stands beside a canvas of squares, on the grid of the pixels in them: all pixels of a square read the same.

    Parameters
    ----------
    beside : of the canvas of squares
    factor : pixels a side of a square
    """

    def __init__(self, beside: Beside, factor: int) -> None:
        self._beside, self._factor = beside, factor

    @property
    def identity(self) -> Any:
        return {"enlarged": self._factor, "beside": self._beside.identity}

    def crops(self, windows: Sequence[Window], size: Size) -> list[Tensor]:
        """See `Beside.crops`."""
        side = self._factor
        if size[0] % side or size[1] % side:
            raise ValueError(f"expected a canvas of whole squares of {side} pixels, got one of {size} pixels")
        squares = [_squares_under(window, side) for window in windows]
        found = []
        for window, over, crop in zip(
            windows, squares, self._beside.crops(squares, (size[0] // side, size[1] // side)), strict=True
        ):
            wide = crop.repeat_interleave(side, -2).repeat_interleave(side, -1)
            top, left = window.top - over.top * side, window.left - over.left * side
            found.append(wide[:, top : top + window.height, left : left + window.width])
        return found


def _squares_under(window: Window, side: int) -> Window:
    """The squares that hold a pixel of a window; also at negative places."""
    top, left = window.top // side, window.left // side
    bottom, right = -(-(window.top + window.height) // side), -(-(window.left + window.width) // side)
    return Window(top, left, bottom - top, right - left)
