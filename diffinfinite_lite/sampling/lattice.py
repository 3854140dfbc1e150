r"""A canvas without edges: any part of it is computed when somebody asks for it, and is always the same.

The plan is `plans.mixture` with windows at absolute places, a stride apart in all directions for ever. The plane is cut
into *plots*, squares as wide as the stride. The state of a plot after a level needs its own state before it and the
estimates of the windows over it; the estimate of a window needs the states of the plots under it:

    state(level + 1, plot)  <-  state(level, plot), estimate(level, window) of the windows over the plot
    estimate(level, window) <-  state(level, plot) of the plots under the window
    state(0, plot)          <-  noise by coordinates

So a value is a function of seed and place alone, whichever part was asked for first, and however large a part. Each is
computed by itself, one crop in a forward pass, since the last bits of a product may depend on how many are computed at
once; and each is remembered (`cache`). What one plot needs grows by a ring of windows a level, so that few levels are
what makes this possible: S levels need :math:`\sum_{k<S} (2k + m)^2` estimates for a square of m windows where nothing
is remembered, and a window's S estimates where everything around is (docs/adr/0020-a-slide-without-edges.md).

Lazy canvases by seed and place are the idea of InfiniteDiffusion (Terrain Diffusion, 2025) and its library
infinite-tensor; here they are this library's plan, solvers and denoisers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .beside import Beside
from .cache import Cache
from .denoiser import Estimator
from .noise import NoiseField
from .sample import Method, steps_of
from .solvers import make_solver
from .windows import Size, Window, hann

SIDE = 2**62  # "size" of what has no edge, for those who ask a canvas for it


def short_hash(identity: Any) -> str:
    """What names something in a cache, by all that it depends on.

    >>> short_hash({"a": 1}) == short_hash({"a": 1.5}), len(short_hash([]))
    (False, 16)
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]


def gather(window: Window, side: int, fetch: Callable[[int, int], Tensor]) -> Tensor:
    """A window of a plane that comes in squares.

    Parameters
    ----------
    window : anywhere, also at negative places
    side : of a square
    fetch : the square (..., side, side) in a row and column of squares

    >>> gather(Window(-1, 0, 2, 2), 2, lambda row, column: torch.full((2, 2), 10 * row + column)).tolist()
    [[-10, -10], [0, 0]]
    """
    top, left = window.top // side, window.left // side
    rows = range(top, -(-(window.top + window.height) // side))
    columns = range(left, -(-(window.left + window.width) // side))
    whole = torch.cat([torch.cat([fetch(row, column) for column in columns], -1) for row in rows], -2)
    first_row, first_column = window.top - top * side, window.left - left * side
    return whole[..., first_row : first_row + window.height, first_column : first_column + window.width]


@dataclass(frozen=True)
class Labels:
    """Labels of a plane.

    Attributes
    ----------
    crop : those of any window, int64 (h, w)
    identity : JSON-able, all that they depend on
    """

    crop: Callable[[Window], Tensor]
    identity: Any


class Lattice:
    """Latents without edges; see the module.

    Parameters
    ----------
    denoiser : asked for one window at a time
    labels : what is where
    method : how it is sampled; its plan has to be the mixture
    stride : latent pixels between windows, up to the patch
    channels : C of the latents
    cache : remembers what was computed, under the lattice's `identity`
    beside : what the network reads beside the latents
    side : "size" of the plane; less where its pixels are squares of another plane's
    """

    def __init__(
        self,
        denoiser: Estimator,
        labels: Labels,
        method: Method,
        *,
        stride: int,
        channels: int,
        cache: Cache,
        beside: Beside | None = None,
        side: int = SIDE,
    ) -> None:
        if not 1 <= stride <= method.patch:
            raise ValueError(f"expected a stride from 1 to the patch of {method.patch} latent pixels, got {stride}")
        self._denoiser, self._labels, self._method, self._side = denoiser, labels, method, side
        self._stride, self._channels, self._cache, self._beside = stride, channels, cache, beside
        device = denoiser.alphas_cumprod.device
        self._solver = make_solver(method.solver, method.steps, denoiser.alphas_cumprod, method.eta)
        self._noise = NoiseField(method.seed, channels, device)
        self._step = steps_of(self._solver, self._noise)
        self._weight = _weights(method.patch, stride).to(device)
        about = {name: value for name, value in vars(method).items() if name != "plan"}
        self.identity: dict[str, Any] = about | {"stride": stride, "labels": labels.identity, "device": str(device)}
        self.identity |= denoiser.settings
        self.identity |= {} if beside is None else {"beside": beside.identity}
        self._key = short_hash(self.identity)

    @property
    def size(self) -> Size:
        """As of a `Canvas`; larger than anything."""
        return self._side, self._side

    @property
    def z(self) -> Tensor:
        """As of a `Canvas`: a state of the right number of channels, of nowhere."""
        return torch.empty(self._channels, 0, 0)

    def crops(self, windows: Sequence[Window]) -> list[Tensor]:
        """Latents of windows, float (C, h, w) each, as a finished `Canvas` gives them to what stands `beside` it."""
        return [self.latents(window) for window in windows]

    def latents(self, window: Window) -> Tensor:
        """Latents of any window of the plane, float (C, h, w)."""
        return gather(window, self._stride, lambda *at: self._state(self._method.steps, *at)[0])

    def _state(self, level: int, row: int, column: int) -> Tensor:
        """State of a plot before a level, and behind it what the solver left for it there, float (1 or 2, C, s, s)."""
        stride = self._stride
        part = Window(row * stride, column * stride, stride, stride)
        if level == 0:
            return self._noise.entering(0, part)[None]

        def make() -> Tensor:
            before = self._state(level - 1, row, column)
            z, memory = before[0], before[1] if len(before) > 1 else None
            eps = torch.zeros_like(z)
            over = range(-((self._method.patch - 1) // stride), 1)  # first plots of the windows that reach this one
            for down in over:
                for across in over:
                    rows, columns = (slice(-n * stride, (1 - n) * stride) for n in (down, across))
                    estimate = self._estimate(level - 1, row + down, column + across)[:, rows, columns]
                    height, width = estimate.shape[1:]  # the last plot under a window may reach beyond it
                    eps[:, :height, :width] += self._weight[rows, columns] * estimate
            z, memory = self._step(level - 1)(eps, z, memory, part)
            return z[None] if memory is None else torch.stack([z, memory])

        return self._cache.remember(f"{self._key}/state/{level}/{row}/{column}", make).to(self._weight.device)

    def _estimate(self, level: int, row: int, column: int) -> Tensor:
        """Noise estimate of the window that begins with a plot, float (C, h, w)."""
        window = Window(row * self._stride, column * self._stride, self._method.patch, self._method.patch)

        def make() -> Tensor:
            crop = gather(window, self._stride, lambda *at: self._state(level, *at)[0])
            if self._beside is not None:
                crop = torch.cat([crop, *self._beside.crops([window], self.size)])
            labels = self._labels.crop(window).to(crop.device)
            job = crop[None], self._solver.timesteps[level], labels[None]
            return next(iter(self._denoiser.map([job])))[0]

        return self._cache.remember(f"{self._key}/estimate/{level}/{row}/{column}", make).to(self._weight.device)


def _weights(patch: int, stride: int) -> Tensor:
    """Weights of a window, float (patch, patch): a Hann window over the sum of all of them at each place.

    >>> weight = _weights(4, 2)[0] / _weights(4, 2)[0, 0]
    >>> bool(((weight[:2] + weight[2:]) / (weight[0] + weight[2]) - 1).abs().max() < 1e-6)
    True
    """
    profile = hann(1, patch)[0]
    total = torch.zeros(patch)
    for first in range(-((patch - 1) // stride) * stride, patch, stride):  # windows that overlap this one, in order
        low, high = max(first, 0), min(first + patch, patch)
        total[low:high] += profile[low - first : high - first]
    weight = profile / total
    return weight[:, None] * weight
