r"""From a context prompt to a label mask (paper 4.3, App. E and F).

The mask model is the image model's network on one-hot label maps: a channel a label of +1 (this label) and -1 (not this
label) at 8 px a cell, times `SCALE`, diffused like any latent and conditioned on the context prompt alone. Because it
is sampled by random windows as well, masks of up to 2048 px come in one go, five times its 48-cell training size;
larger ones are generated at that size and upsampled, as in the paper.

    prompt -> sample -> argmax -> clean -> open_borders -> upsample (linear, per label) -> labels of every pixel

Cleaning follows App. F without the published code's losses: cells between two regions that belong to neither by a
clear margin, and regions under `MIN_REGION` cells, take the label of the nearest clear cell, so that no edge strip is
erased and no label is favoured for its number. Last, borders between regions are left unknown, as annotators leave
them: the image model has seen few others, and paints far better so (docs/adr/0011).
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label as connected
from skimage.segmentation import find_boundaries
from torch import Tensor, nn
from torch.nn import functional as F

from ..labels import CELL_PX, CONTEXTS, FIVE_CODES, LABELS, condition_map, from_five_codes
from ..sampling.denoiser import Denoiser
from ..sampling.sample import sample
from ..sampling.solvers import cosine_alphas
from .progress import Progress, silent

PATCH = 48  # cells the mask model was trained on
LARGEST = 256  # cells a side that are sampled in one go
OTHER_NOISE = 1 << 63  # into the seed: a picture that began as its mask's own noise would know its labels from it
STEPS, ETA = 20, 1.0  # fresh noise at every step lets a later one mend what an earlier one broke off, such as a strand
BAND_PX = 512  # rows of px of a mask that are upsampled at a time
MIN_REGION = 8  # cells, 512 square px
SCALE = 0.35  # of the one-hot maps in diffusion: noise hides too little of a map of +-1, see docs/adr/0006
CLEAR_MARGIN = 0.3  # of the difference 2 between "this label" and "not this label"


class LabelRows(Protocol):
    """Labels (h, w) that are read some rows at a time: an array, or a file of them."""

    def __len__(self) -> int:
        """The number of rows."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Those rows, uint8 (rows, w)."""


def one_hot(labels: Tensor) -> Tensor:
    """Labels (..., H, W) to float (..., 6, H, W) of -1 and +1.

    >>> one_hot(torch.tensor([[2]])).flatten().tolist()
    [-1.0, -1.0, 1.0, -1.0, -1.0, -1.0]
    """
    return F.one_hot(labels.long(), len(LABELS)).movedim(-1, -3).float() * 2 - 1


def prompt(context: str, size: tuple[int, int]) -> Tensor:
    """Condition map of the mask model: the context prompt everywhere, (H, W)."""
    return condition_map(torch.ones(size, dtype=torch.int64), context)


def mask_channels(model: nn.Module) -> int:
    """How many labels a mask model draws, each in a channel: those of today, or five."""
    return int(getattr(model, "latent_channels", len(LABELS)))


def clean(scores: np.ndarray, context: str | None = None) -> np.ndarray:
    """Labels of a sampled one-hot map, boundary artefacts and specks replaced by their surroundings.

    Parameters
    ----------
    scores : float array (6, H, W), about -1 to 1; (5, H, W) of a model that knew five codes.
    context : that was asked for, by which five codes are read.

    Returns
    -------
    uint8 array (H, W), labels 0..5
    """
    labels = scores.argmax(axis=0).astype(np.uint8)
    if len(scores) == FIVE_CODES:
        labels = from_five_codes(labels, context)
    first, second = np.sort(scores, axis=0)[:-3:-1]
    doubtful = find_boundaries(labels, mode="thick") & (first - second < CLEAR_MARGIN)
    doubtful |= specks(labels)
    if doubtful.all():
        return labels
    nearest = ndimage.distance_transform_edt(doubtful, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]


def specks(labels: np.ndarray) -> np.ndarray:
    """Which cells (H, W) belong to a region of fewer than `MIN_REGION` cells, bool."""
    regions = connected(labels, background=-1, connectivity=2)  # a thin strand may run diagonally
    return np.bincount(regions.ravel())[regions] < MIN_REGION


def open_borders(labels: np.ndarray) -> np.ndarray:
    """Labels of cells (H, W), those at a region's border to another one unknown, and so are specks that this leaves.

    Stroma and other tissue keep all of their cells, and so does any strand that is nothing but border: septa would be
    gone.

    >>> open_borders(np.array([[1, 1, 1, 1, 1, 3, 3, 5, 5]] * 3, np.uint8))[0]
    array([1, 1, 1, 1, 0, 3, 3, 0, 0], dtype=uint8)
    """
    opened = labels.copy()
    for label in (1, 2, 5):  # all but stroma and other tissue
        own = labels == label
        border = own & ndimage.binary_dilation((labels > 0) & ~own, np.ones((3, 3)))
        opened[border & ndimage.binary_dilation(own & ~border, np.ones((5, 5)))] = 0
    opened[specks(opened) & ~np.isin(opened, (3, 4))] = 0
    return opened


def upsample(labels: LabelRows, size: tuple[int, int], rows: slice = slice(None)) -> np.ndarray:
    """Labels at any larger size: each label's indicator is interpolated linearly and the largest wins.

    Parameters
    ----------
    labels : uint8 array (h, w), or what reads its rows
    size : (H, W)
    rows : which of the H rows, where all of them would be too many to hold

    Returns
    -------
    uint8 array (H, W), or those rows of it

    >>> upsample(np.array([[1, 3]], np.uint8), (1, 4)).tolist()
    [[1, 1, 3, 3]]
    """
    # pixel centres in rows of cells, the row of cells above each and its distance from there; only the cells that are
    # used are turned into floats, one channel a label
    place = ((torch.arange(size[0])[rows] + 0.5) * (len(labels) / size[0]) - 0.5).clamp(min=0)
    above = place.long().clamp(max=len(labels) - 1)
    below, share = (above + 1).clamp(max=len(labels) - 1), (place - above)[:, None]
    used = one_hot(torch.from_numpy(labels[above[0] : below[-1] + 1].astype(np.int64)))
    wide = F.interpolate(used[None], size=(used.shape[1], size[1]), mode="bilinear")[0]
    above, below = above - above[0], below - above[0]
    return ((1 - share) * wide[:, above] + share * wide[:, below]).argmax(dim=0).numpy().astype(np.uint8)


def generate_mask(model: nn.Module, context: str, size: tuple[int, int], **settings: Any) -> np.ndarray:
    """Sample a label mask of any size from a context prompt.

    Parameters
    ----------
    model : the mask model, see `MaskUNet`.
    context : "adenocarcinoma", "squamous" or "normal".
    size : (H, W) in px.
    settings : of `generate_cells`: seed, steps, precision ("fp32", "bf16" or "fp16"), device and progress.

    Returns
    -------
    uint8 array (H, W), labels 0..5.

    Raises
    ------
    ValueError
        If the context is not known.
    """
    cells = generate_cells(model, context, size, **settings)
    # in bands: the floats of all of it would be the largest thing that a picture holds in memory
    return np.concatenate([upsample(cells, size, slice(top, top + BAND_PX)) for top in range(0, size[0], BAND_PX)])


def generate_cells(
    model: nn.Module,
    context: str,
    size: tuple[int, int],
    *,
    seed: int = 0,
    steps: int = STEPS,
    precision: str = "fp32",
    device: str = "cpu",
    progress: Progress = silent,
) -> np.ndarray:
    """`generate_mask` in cells: uint8 array (H / 8, W / 8).

    Parameters
    ----------
    seed : of the mask; the picture under it may have the same one, see `OTHER_NOISE`.
    steps : of sampling with fresh noise.
    precision : "fp32", "bf16" or "fp16", see `devices.PRECISIONS`.
    device : "cpu", "cuda", ...; that of the model.
    progress : takes the levels as the part "mask".
    """
    if context not in CONTEXTS:
        raise ValueError(f"expected a context among {', '.join(CONTEXTS)}, got {context!r}")
    if not 0 <= seed < 2**64:  # here, as noise would speak of the seed that is made of it below
        raise ValueError(f"expected a seed from 0 to 2**64 - 1, got {seed}")
    cell = CELL_PX * max(1, max(size) / (CELL_PX * LARGEST))  # px; the same along both sides
    height, width = math.ceil(size[0] / cell), math.ceil(size[1] / cell)
    # on a canvas smaller than those of training regions would be too small
    canvas = max(PATCH, height), max(PATCH, width)
    denoiser = Denoiser(model, cosine_alphas(), batch_size=16, precision=precision)
    levels = sample(
        denoiser,
        prompt(context, canvas).to(device),
        channels=mask_channels(model),
        patch=PATCH,
        plan="torus-grid",  # like random-patch, with half the windows: shares and sizes of regions are the same
        steps=steps,
        eta=ETA,
        seed=seed ^ OTHER_NOISE,
    )
    for level in progress(levels, steps, "mask"):
        scores = level.canvas.latents
    # the middle of a canvas that is larger than needed
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    labels = clean(scores.cpu().numpy() / SCALE, context)[top : top + height, left : left + width]
    fine = math.ceil(size[0] / CELL_PX), math.ceil(size[1] / CELL_PX)
    if fine != labels.shape:  # in strips: floats of all of it would be the largest thing that a slide holds in memory
        labels = np.concatenate([upsample(labels, fine, slice(top, top + PATCH)) for top in range(0, fine[0], PATCH)])
    return open_borders(labels)
