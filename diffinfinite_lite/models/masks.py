r"""The mask model at two scales: a coarse map says what is where, cells are drawn under it.

    coarse   shares of the labels in squares of `SQUARE` x `SQUARE` cells  the image model's network
    cells    labels of single cells, one-hot                               the same, beside the coarse map: `Cells`

A window of cells sees 0.13 mm of tissue, less than a gland and its neighbours; a window of the coarse map sees 0.5 mm,
so that a front, or a septum, goes on from one end of a large mask to the other. Cells read the coarse map as the image
model reads a draft (`detail`): with a little noise, and told how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..labels import LABELS
from .detail import Detail
from .unet import MaskUNet

SQUARE = 4  # cells a side of a square of the coarse map, 16 um: a septum still shows as its share


class Cells(Detail):
    """Predicts v of one-hot cells under a prompt, beside the coarse map's share of each label; see `Detail`."""

    reads = len(LABELS)
    beside = reads + 1


class TwoScaleMask(nn.Module):
    """The two networks of a mask model, in one file.

    Parameters
    ----------
    coarse, cells : channels by level of each, see `MaskUNet`.
    """

    latent_channels = len(LABELS)

    def __init__(self, coarse: Sequence[int], cells: Sequence[int]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"coarse": list(coarse), "cells": list(cells)}
        self.coarse, self.cells = MaskUNet(len(LABELS), coarse), Cells(len(LABELS), cells)
