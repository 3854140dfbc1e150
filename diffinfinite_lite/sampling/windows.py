r"""Windows and plans: which crops of the canvas the network sees at a noise level, and their weights.

A *plan* yields pairs :math:`(I_j, w_j)`: a window and a weight for each of its pixels. Within a level
:math:`z_t` is frozen and the noise estimate of the whole canvas is :math:`\epsilon = \sum_j
w_j\,\epsilon_\theta(z_t[I_j])`, with :math:`\sum_j w_j = 1` at every latent pixel. A sampling method is
nothing but its plan:

================  ========================================================================================
random-patch      paper Alg. 2, eq. 6: 1 on pixels no earlier window of the level covers, else 0
torus-grid        the same on a grid of n windows an axis, shifted at random each level (SpotDiffusion, 2025)
sliding-window    the same in raster order, half a window apart
multidiffusion    1 / the number of windows that cover the pixel (Bar-Tal et al., 2023)
mixture           falls to nothing towards the window's edge (Mixture of Diffusers, Barbero Jiménez, 2023)
diffcollage       +1 on patches, -1 on overlaps of two, +1 where overlaps cross (Zhang et al., 2023)
================  ========================================================================================

**Borders.** If windows had to stay inside the canvas, the outermost pixels could only come from windows
flush with the border, and the far edge of those would be a seam at one fixed line in nearly every level
(19x the mean in the published loop). The two random plans therefore treat a canvas axis longer than a
window as periodic: every line is a seam equally often, and n windows an axis suffice.
`loop.sample(margin=...)` adds canvas that is cropped off again; with ``margin >= patch - 1`` no window
sees two opposite borders. Everything here is integers: no network, no image.

**What is exact.** With the perfect network of Gaussian data, a canvas of one window gets the right mean and
covariance from every plan; a larger one gets the right mean, and the right covariance as far as correlations are short
beside a window. Where windows move or overlap, a pixel's estimate is a mean, over levels or windows, of perfect
estimates that each saw other surroundings; that mean is the perfect estimate of no distribution, shrinks too much,
and loses contrast: up to 0.3 of the variance times correlation length / patch an axis, however many the steps. A
grid that never moves loses nothing inside its windows and everything across (``docs/adr/0008``; tested). The mixture
stands between the two, and paints the best tissue by far with the shipped model (``docs/adr/0011``).
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
    ValueError: the plan's weights must sum to 1 at every pixel, but 2 of 4 do not: at (1, 0) they sum to 0
    """
    total = torch.zeros(size)
    for window, weight in views:
        if window.height > size[0] or window.width > size[1]:
            raise ValueError(f"a window must fit into the {size[0]} x {size[1]} canvas, got {window}")
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
            f"the plan's weights must sum to 1 at every pixel, but {len(wrong)} of {total.numel()} do not: "
            f"at ({top + row}, {left + column}) they sum to {float(total[row, column]):g}"
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
