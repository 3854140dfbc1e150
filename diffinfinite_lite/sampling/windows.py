r"""Windows: rectangles of a canvas that the network sees at once, and what a plan is.

A *plan* yields pairs :math:`(I_j, w_j)`: a window and a weight for each of its pixels. Within a level
:math:`z_t` is frozen and the noise estimate of the whole canvas is :math:`\epsilon = \sum_j
w_j\,\epsilon_\theta(z_t[I_j])`, with :math:`\sum_j w_j = 1` at every latent pixel (`check_plan`). A sampling method is
nothing but its plan; `plans` has six. Everything here is integers and weights: no network, no image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A rectangle of latent pixels; past the bottom or right border it goes on at the top or left."""

    top: int
    left: int
    height: int
    width: int

    def index(self, size: Size) -> tuple:
        """Index of the window's pixels in the last two axes of a canvas (H, W).

        Returns
        -------
        pair for the last two axes: two slices (a view), or row and column numbers if the window wraps.

        >>> torch.arange(12).view(3, 4)[Window(2, 3, 2, 2).index((3, 4))]
        tensor([[11,  8],
                [ 3,  0]])
        """
        if self.top + self.height <= size[0] and self.left + self.width <= size[1]:
            return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        rows = (self.top + torch.arange(self.height)) % size[0]
        columns = (self.left + torch.arange(self.width)) % size[1]
        return rows[:, None], columns


View = tuple[Window, Tensor]
Plan = Callable[[Size, int, torch.Generator], Iterator[View]]


def check_plan(views: Iterable[View], size: Size) -> None:
    """Refuse a plan whose weights do not sum to one.

    Raises
    ------
    ValueError : some pixel is uncovered or over-counted, or a window is larger than the canvas.

    >>> check_plan([(Window(0, 0, 1, 2), torch.ones(1, 2))], (2, 2))
    Traceback (most recent call last):
    ValueError: expected weights of a plan that sum to 1 at every pixel, got 0 at (1, 0), and 2 of 4 pixels are wrong
    """
    total = torch.zeros(size)
    for window, weight in views:
        if window.height > size[0] or window.width > size[1]:
            raise ValueError(f"expected windows that fit into the {size[0]} x {size[1]} canvas, got {window}")
        total[window.index(size)] += weight
    check_weights(total)


def check_weights(total: Tensor, top: int = 0, left: int = 0) -> None:
    """Refuse sums of weights, float (h, w), that are not one; ``top`` and ``left`` say where on the canvas they begin.

    Raises
    ------
    ValueError : some pixel is uncovered or over-counted.
    """
    wrong = (~((total - 1).abs() <= 1e-4)).nonzero()  # NaN is wrong, too
    if len(wrong):
        row, column = wrong[0].tolist()
        raise ValueError(
            f"expected weights of a plan that sum to 1 at every pixel, got {float(total[row, column]):g} at "
            f"({top + row}, {left + column}), and {len(wrong)} of {total.numel()} pixels are wrong"
        )


def hann(height: int, width: int) -> Tensor:
    """Hann window on pixel centres, positive everywhere, for blending (paper Fig. 13).

    Parameters
    ----------
    height, width : extent in pixels

    Returns
    -------
    float32 (height, width), at most 1.

    >>> hann(1, 4)
    tensor([[0.1464, 0.8536, 0.8536, 0.1464]])
    """
    rows, columns = (torch.sin(math.pi * (torch.arange(n) + 0.5) / n) ** 2 for n in (height, width))
    return rows[:, None] * columns
