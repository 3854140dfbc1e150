r"""From a context prompt to a label mask (paper 4.3, App. E and F).

The mask model is the image model's network on one-hot label maps: a channel a label of +1 (this label) and -1 (not this
label) at 8 px a cell, times `SCALE`, diffused like any latent and conditioned on the context prompt alone. It has two
scales (`models.masks`): the first draws the shares of labels in squares of 4 x 4 cells, so that a large mask has a
plan, the second the cells under it. Both are sampled by random windows as pictures are, up to 8192 px in one go;
larger masks are generated at that size and upsampled, as in the paper. Models of one scale, as earlier versions had,
draw cells without a plan, up to 2048 px.

    prompt -> sample squares, then cells -> argmax -> clean -> open_borders -> upsample (linear, per label) -> labels

With ``masks="layout"`` there is no model: a simulated layout (`data.layouts`) takes the place of what it draws.

Cleaning follows App. F without the published code's losses: cells between two regions that belong to neither by a
clear margin, and regions under `MIN_REGION` cells, take the label of the nearest clear cell, so that no edge strip is
erased and no label is favoured for its number. Last, borders between regions are left unknown, as annotators leave
them: the image model has seen few others, and paints far better so (docs/adr/0011).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label as connected
from skimage.segmentation import find_boundaries
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.layouts import layout
from ..labels import CELL_PX, CONTEXTS, FIVE_CODES, LABELS, condition_map, from_five_codes
from ..models.masks import SQUARE, TwoScaleMask
from ..sampling.beside import Beside, Enlarged, NoisedCanvas
from ..sampling.canvas import Canvas, MemoryCanvas
from ..sampling.denoiser import Denoiser
from ..sampling.loop import Level
from ..sampling.sample import sample
from ..sampling.solvers import cosine_alphas
from .progress import Progress, silent

SIDE, PATCH = 32, 48  # of a window: squares, or cells under them; cells of a model of one scale
LARGEST, LARGEST_OF_ONE = 1024, 256  # cells a side that are sampled in one go, by a model of one scale
KINDS = ("model", "layout")  # of what masks are drawn by
OTHER_NOISE = 1 << 63  # into the seed: a picture that began as its mask's own noise would know its labels from it
STEPS, ETA = 20, 1.0  # fresh noise at every step lets a later one mend what an earlier one broke off, such as a strand
BAND_PX = 512  # rows of px of a mask that are upsampled at a time
MIN_REGION = 8  # cells, 512 square px
SCALE = 0.35  # of the one-hot maps in diffusion: noise hides too little of a map of +-1, see docs/adr/0006
COARSE_SCALE = 0.5  # of the shares of labels in squares, whose spread is less than that of labels
COARSE_NOISE = 0.05  # on the coarse map that cells are drawn under
BLURRING_NOISE, SECOND_NOISE = 1 << 61, 1 << 60  # into the seed: of that noise, and of the cells' own
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


def coarse_map(labels: Tensor) -> Tensor:
    """Labels (N, H, W) to what the first scale draws: shares in squares, from -1 to 1, scaled, float (N, 6, H/4, W/4).

    >>> coarse_map(torch.ones(1, 4, 4, dtype=torch.uint8)).flatten().tolist()
    [-0.5, 0.5, -0.5, -0.5, -0.5, -0.5]
    """
    return COARSE_SCALE * F.avg_pool2d(one_hot(labels), SQUARE)


def prompt(context: str, size: tuple[int, int]) -> Tensor:
    """Condition map of the mask model: the context prompt everywhere, (H, W)."""
    return condition_map(torch.ones(size, dtype=torch.int64), context)


def mask_channels(model: nn.Module) -> int:
    """How many labels a mask model draws, each in a channel: those of today, or five."""
    return int(getattr(model, "latent_channels", len(LABELS)))


def read_labels(scores: np.ndarray, context: str | None = None) -> np.ndarray:
    """Labels of a sampled one-hot map; parameters as of `clean`, uint8 (H, W).

    >>> read_labels(np.array([0.0, 0, 0, 0, 1])[:, None, None]).tolist()
    [[5]]
    """
    labels = scores.argmax(axis=0).astype(np.uint8)
    return from_five_codes(labels, context) if len(scores) == FIVE_CODES else labels


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
    labels = read_labels(scores, context)
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


@dataclass(frozen=True)
class Scale:
    """What is sampled of a mask in one run of the loop.

    Attributes
    ----------
    network : predicts v of its maps.
    patch : side of its windows, in its own squares or cells.
    cells : a side of what it draws: of a square, or 1.
    """

    network: nn.Module
    patch: int
    cells: int = 1

    def beside(self, before: Canvas | None, seed: int) -> Beside | None:
        """What stands beside its canvas: the finished canvas of the scale before, in a mask of that seed."""
        if before is None:
            return None
        return Enlarged(NoisedCanvas(before, COARSE_NOISE, seed ^ OTHER_NOISE ^ BLURRING_NOISE), SQUARE)


def scales(model: nn.Module) -> list[Scale]:
    """The scales of a mask model in their order: squares and cells, or cells alone."""
    if not isinstance(model, TwoScaleMask):
        return [Scale(model, PATCH)]
    return [Scale(model.coarse, SIDE, SQUARE), Scale(model.cells, SIDE)]


def scale_seed(seed: int, number: int) -> int:
    """The seed that a scale of a mask is sampled by, of the mask's seed and the scale's number."""
    return seed ^ OTHER_NOISE ^ (number * SECOND_NOISE)


def generate_mask(model: nn.Module, context: str, size: tuple[int, int], **settings: Any) -> np.ndarray:
    """Sample a label mask of any size from a context prompt.

    Parameters
    ----------
    model : the mask model, see `models.masks`.
    context : "adenocarcinoma", "squamous" or "normal".
    size : (H, W) in px.
    settings : of `generate_cells`: seed, masks, opened, steps, precision, device and progress.

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
    masks: str = KINDS[0],
    opened: bool = True,
    **sampling: Any,
) -> np.ndarray:
    """`generate_mask` in cells: uint8 array (H / 8, W / 8).

    Parameters
    ----------
    seed : of the mask; the picture under it may have the same one, see `OTHER_NOISE`.
    masks : "model", or "layout" for a simulated layout in place of what the model draws.
    opened : leave borders between regions unknown, see `open_borders`.
    sampling : of `sample_cells`: steps, precision, device and progress; a layout has no use for them.
    """
    if context not in CONTEXTS:
        raise ValueError(f"expected a context among {', '.join(CONTEXTS)}, got {context!r}")
    if masks not in KINDS:
        raise ValueError(f"expected masks to be one of {', '.join(KINDS)}, got {masks!r}")
    if not 0 <= seed < 2**64:  # here, as noise would speak of the seed that is made of it below
        raise ValueError(f"expected a seed from 0 to 2**64 - 1, got {seed}")
    drawn = masks == "layout"
    largest = LARGEST_OF_ONE if not drawn and len(scales(model)) == 1 else LARGEST
    cell = CELL_PX * max(1, max(size) / (CELL_PX * largest))  # px; the same along both sides
    shape = math.ceil(size[0] / cell), math.ceil(size[1] / cell)
    if drawn:
        labels = layout(context, shape, np.random.default_rng(seed))
    else:
        labels = sample_cells(model, context, shape, seed, **sampling)
    fine = math.ceil(size[0] / CELL_PX), math.ceil(size[1] / CELL_PX)
    if fine != labels.shape:  # in strips: floats of all of it would be the largest thing that a slide holds in memory
        labels = np.concatenate([upsample(labels, fine, slice(top, top + PATCH)) for top in range(0, fine[0], PATCH)])
    return open_borders(labels) if opened else labels


def sample_cells(
    model: nn.Module,
    context: str,
    shape: tuple[int, int],
    seed: int,
    *,
    steps: int = STEPS,
    precision: str = "fp32",
    device: str = "cpu",
    progress: Progress = silent,
) -> np.ndarray:
    """Cells that a mask model draws, cleaned, uint8 array of `shape`.

    Parameters
    ----------
    steps : of sampling with fresh noise, of each scale.
    precision : "fp32", "bf16" or "fp16", see `devices.PRECISIONS`.
    device : "cpu", "cuda", ...; that of the model.
    progress : takes the levels as the part "mask".
    """
    found = scales(model)
    levels = sample_scales(found, context, shape, seed=seed, steps=steps, precision=precision, device=device)
    for level in progress(levels, len(found) * steps, "mask"):
        scores = level.canvas.latents
    return _middle(clean(scores.cpu().numpy() / SCALE, context), shape)


def sample_scales(
    found: Sequence[Scale],
    context: str,
    shape: tuple[int, int],
    *,
    seed: int,
    steps: int = STEPS,
    precision: str = "fp32",
    device: str = "cpu",
    record: bool = False,
) -> Iterator[Level]:
    """Run the loop for one scale after the other, on canvases that hold `shape` cells; yields all levels.

    A canvas is never smaller than what a scale learnt from, or regions would be too small: cells are drawn under the
    middle of the squares, and of the cells the middle is what was asked for.
    """
    before: Canvas | None = None
    for number, scale in enumerate(found):
        canvas = [max(scale.patch, -(-n // scale.cells)) for n in shape]
        if before is not None:
            canvas = [SQUARE * -(-n // SQUARE) for n in canvas]
            squares = _middle(before.latents, (canvas[0] // SQUARE, canvas[1] // SQUARE))
            before = MemoryCanvas(squares, steps=1)
        levels = sample(
            Denoiser(scale.network, cosine_alphas(), batch_size=16, precision=precision),
            prompt(context, (canvas[0], canvas[1])).to(device),
            channels=mask_channels(scale.network),
            patch=scale.patch,
            plan="torus-grid",  # like random-patch, with half the windows: shares and sizes of regions are the same
            steps=steps,
            eta=ETA,
            seed=scale_seed(seed, number),
            beside=scale.beside(before, seed),
            record=record,
        )
        for level in levels:
            before = level.canvas
            yield level


def _middle(maps: Any, shape: tuple[int, int]) -> Any:
    """The middle of maps (..., h, w) that are at least as large."""
    top, left = ((n - inner) // 2 for n, inner in zip(maps.shape[-2:], shape, strict=True))
    return maps[..., top : top + shape[0], left : left + shape[1]]
