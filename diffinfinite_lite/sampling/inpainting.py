"""TODO."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .windows import Size, View, Window


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


def _needed(views: Iterable[View], known: Known | None, size: Size) -> Iterable[View]:
    """Windows that write at least one pixel that is not kept."""
    if known is None:
        return views
    open_ = torch.ones(size, dtype=torch.bool)
    open_[: known.keep.shape[0], : known.keep.shape[1]] = ~known.keep.cpu()
    return ((window, weight) for window, weight in views if (open_[window.index(size)] & (weight != 0)).any())


def _keep(z: Tensor, known: Known, alpha: Tensor, noise: Tensor, part: Window) -> Tensor:
    """Put a part's known latents at the noise level of the canvas in their place."""
    at = slice(part.top, part.top + part.height), slice(part.left, part.left + part.width)
    keep = known.keep[at]  # the picture may end within the part
    here = slice(None), slice(keep.shape[0]), slice(keep.shape[1])
    noised = alpha**0.5 * known.latents[(slice(None), *at)] + (1 - alpha) ** 0.5 * noise[here]
    z[here] = torch.where(keep, noised, z[here])
    return z
