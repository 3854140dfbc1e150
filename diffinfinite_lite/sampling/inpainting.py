r"""Inpainting (paper App. D): known latents stay, and whatever is sampled around them fits.

After every step the state of the canvas is replaced, where latents are known, by these at the noise level reached,
:math:`\sqrt{\alpha}\,x + \sqrt{1-\alpha}\,\epsilon` with fresh :math:`\epsilon`; after the last step :math:`\alpha = 1`
and they are exact. `Inpainting` hangs on the loop from outside: it goes around the start of a run, around its plan and
around the step of its solver. Windows that would write known pixels only are left out, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .canvas import Step
from .noise import NoiseField
from .windows import Plan, Size, View, Window


@dataclass(frozen=True)
class Known:
    """What inpainting has to keep.

    Attributes
    ----------
    latents : float (C, H, W), clean latents; only those under ``keep`` are used.
    keep : bool (H, W), true where they are kept exactly.
    """

    latents: Tensor
    keep: Tensor

    @property
    def clean(self) -> Tensor:
        """Latents, zero where they are not kept: two runs that keep the same are the same."""
        return self.latents.where(self.keep, 0)

    def check(self, channels: int, size: Size) -> None:
        """Refuse latents that do not fit a canvas.

        Raises
        ------
        ValueError : wrong shape or type, or latents that are not finite where they are kept.
        """
        if self.keep.shape != size or self.keep.dtype != torch.bool:
            got = f"{self.keep.dtype} of shape {tuple(self.keep.shape)}"
            raise ValueError(f"expected known.keep to be bool of shape {tuple(size)}, got {got}")
        if self.latents.shape != (channels, *size):
            expected = f"expected known.latents of shape {(channels, *size)}"
            raise ValueError(f"{expected}, got {tuple(self.latents.shape)}")
        if not torch.isfinite(self.latents[:, self.keep]).all():
            raise ValueError("expected known.latents that are finite where they are kept, got NaN or infinity")


class Inpainting:
    """Goes around the start, the plan and the step of a run.

    Parameters
    ----------
    known : latents to keep
    alphas : float (S + 1,), of the solver
    noise : of the run
    """

    def __init__(self, known: Known, alphas: Tensor, noise: NoiseField) -> None:
        self.known, self._alphas, self._noise = known, alphas, noise

    def start(self, start: Callable[[Window], Tensor]) -> Callable[[Window], Tensor]:
        """The start of a canvas, with known latents at the first level's noise."""
        return lambda part: self._keep(start(part), 0, part)

    def step(self, step: Callable[[int], Step]) -> Callable[[int], Step]:
        """A level's step, after which known latents are put back at the noise level reached."""

        def keeping(level: int) -> Step:
            def keep(eps: Tensor, z: Tensor, memory: Tensor | None, part: Window) -> tuple[Tensor, Tensor | None]:
                z, memory = step(level)(eps, z, memory, part)
                return self._keep(z, level + 1, part), memory

            return keep

        return keeping

    def plan(self, plan: Plan) -> Plan:
        """A plan without the windows that would write known pixels only."""

        def needed(size: Size, patch: int, generator: torch.Generator) -> Iterator[View]:
            unknown = torch.ones(size, dtype=torch.bool)
            unknown[: self.known.keep.shape[0], : self.known.keep.shape[1]] = ~self.known.keep.cpu()
            for window, weight in plan(size, patch, generator):
                if (unknown[window.index(size)] & (weight != 0)).any():
                    yield window, weight

        return needed

    def _keep(self, z: Tensor, state: int, part: Window) -> Tensor:
        """State of a part of the canvas with the known latents, noised as far as it is, in their place."""
        at = slice(part.top, part.top + part.height), slice(part.left, part.left + part.width)
        keep = self.known.keep[at]  # the picture may end within the part
        inside = slice(None), slice(keep.shape[0]), slice(keep.shape[1])
        alpha, noise = self._alphas[state], self._noise.on_known(state, part)
        noised = alpha**0.5 * self.known.latents[(slice(None), *at)] + (1 - alpha) ** 0.5 * noise[inside]
        z[inside] = torch.where(keep, noised, z[inside])
        return z
