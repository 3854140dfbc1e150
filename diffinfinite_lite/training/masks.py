r"""What the mask model's two scales are trained to make small: v of noisy maps, both in one step.

    coarse   shares of labels in squares of cells, from -1 (none) to 1 (all), times `COARSE_SCALE`
    cells    one-hot labels, times `SCALE`, beside the coarse map of the same place with noise of a level that is told

Labels are turned and mirrored at random, and a window of cells begins anywhere in a square of the coarse map, as it
does when a canvas is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import Compute
from ..models.masks import SQUARE, TwoScaleMask
from ..pipelines.masks import SCALE, SIDE, coarse_map, one_hot
from .loop import Loss
from .stages import Batch, velocity_errors


@dataclass(frozen=True)
class MaskDraws:
    """How a batch of each scale is drawn.

    Attributes
    ----------
    coarse, cells : samples of each scale, at least ten.
    null : share of the samples without a prompt.
    noise : largest standard deviation of the noise on the coarse map that cells read.
    """

    coarse: int = 16
    cells: int = 10
    null: float = 0.1
    noise: float = 0.15


def mask_loss(
    model: TwoScaleMask, alphas: Tensor, labels: Tensor, prompts: Tensor, draws: MaskDraws, compute: Compute
) -> Loss:
    """Squared errors of both scales.

    Parameters
    ----------
    alphas : (T,), the noise schedule.
    labels : uint8 (N, H, W), each side of whole squares and at least as wide as a window of the coarse map.
    prompts : int64 (N,), the condition that stands for each one's context.
    """
    squares = torch.cat([coarse_map(part).half() for part in labels.split(16)])

    def pick(n: int, generator: torch.Generator) -> int:
        return int(torch.randint(n, (), generator=generator))

    def crop(of: tuple[int, int], generator: torch.Generator) -> tuple[int, int, int, int]:
        """Which map, from which row and column on, in which orientation."""
        top, left = (pick(n - SIDE + 1, generator) for n in of)
        return pick(len(labels), generator), top, left, pick(8, generator)

    def prompts_of(numbers: list[int], generator: torch.Generator) -> Tensor:
        given = prompts[numbers] * (torch.rand(len(numbers), generator=generator) >= draws.null)
        return given[:, None, None].expand(-1, SIDE, SIDE)

    def coarse(generator: torch.Generator) -> Tensor:
        places = [crop((squares.shape[2], squares.shape[3]), generator) for _ in range(draws.coarse)]
        x = torch.stack([_turned(squares[n, :, a : a + SIDE, b : b + SIDE].float(), k) for n, a, b, k in places])
        condition = prompts_of([place[0] for place in places], generator)
        x, condition = x.to(compute.device), condition.to(compute.device)
        return velocity_errors(model.coarse, alphas, Batch(x, condition, x[:, :0]), generator)["loss"]

    def cells(generator: torch.Generator) -> Tensor:
        places = [crop((labels.shape[1], labels.shape[2]), generator) for _ in range(draws.cells)]
        x = torch.stack([_turned(SCALE * one_hot(labels[n, a : a + SIDE, b : b + SIDE]), k) for n, a, b, k in places])
        level = draws.noise * torch.rand(len(places), 1, 1, 1, generator=generator)
        noises = level * torch.randn(len(places), x.shape[1], *2 * [SIDE // SQUARE + 1], generator=generator)
        read = [
            _turned(_under(squares[n].float(), noise, (a, b)), k)
            for noise, (n, a, b, k) in zip(noises, places, strict=True)
        ]
        beside = torch.cat([torch.stack(read), level.expand(-1, 1, SIDE, SIDE)], dim=1)
        condition = prompts_of([place[0] for place in places], generator)
        x, beside, condition = (part.to(compute.device) for part in (x, beside, condition))
        return velocity_errors(model.cells, alphas, Batch(x, condition, beside), generator)["loss"]

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        with compute.autocast():
            above, below = coarse(generator), cells(generator)
        return {"loss": above + below, "coarse": above, "cells": below}

    return loss


def _under(squares: Tensor, noise: Tensor, corner: tuple[int, int]) -> Tensor:
    """What a window of cells reads of a coarse map (C, h, w) with noise on its squares, float (C, 32, 32)."""
    rows, columns = ((start + torch.arange(SIDE)) // SQUARE for start in corner)
    own_rows, own_columns = rows - rows[0], columns - columns[0]
    return squares[:, rows[:, None], columns] + noise[:, own_rows[:, None], own_columns]


def _turned(x: Tensor, orientation: int) -> Tensor:
    """A map (..., h, w) in one of eight orientations."""
    x = torch.rot90(x, orientation % 4, (-2, -1))
    return x.flip(-1) if orientation >= 4 else x
