r"""The endless slide: tissue without edges, any part of which is painted when somebody looks at it.

    mask lattice   -> scores -> cleaned on an absolute grid of tiles -> cells -> labels of every pixel
    stages' lattices, under those cells -> latents -> decoded on the same grid -> picture
    four tiles -> one at half the size

A lattice (`sampling.lattice`) makes latents a function of seed and place. The rest keeps it so: what looks beyond its
tile, cleaning and decoding, always looks at the same tile with the same margin around it. The decoder's margin is as
wide as it can see, so that tiles meet without a line. Everything is remembered in one `Cache`.

Few steps of DPM-Solver++ make a picture (docs/adr/0020-a-slide-without-edges.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..data.tiles import to_rgb
from ..devices import choose_device, lower_precision
from ..labels import CELL_PX, CONTEXTS, LABELS, condition_map
from ..models import pretrained
from ..models.pretrained import has_draft
from ..sampling.cache import GIGABYTE, Cache
from ..sampling.canvas import Canvas
from ..sampling.cost import Ledger
from ..sampling.denoiser import Denoiser, Estimator
from ..sampling.lattice import Labels, Lattice, gather, short_hash
from ..sampling.plans import usual_stride
from ..sampling.sample import Method
from ..sampling.solvers import cosine_alphas
from ..sampling.windows import Window
from .config import SamplingConfig, configure
from .edit import REACH
from .generate import record_run
from .masks import OTHER_NOISE, PATCH, SCALE, clean, mask_channels, open_borders, prompt, upsample
from .pyramid import halve
from .stages import find_stages, make_denoiser, settle

STEPS = 4  # of picture, draft and mask: each more is a ring of windows more that a place depends on
MOST_STEPS = 12
SOLVER, PLAN = "dpm-solver++", "mixture"
TILE = 32  # cells and latent pixels
TILE_PX = TILE * CELL_PX
MARGIN = 16  # cells around a tile that cleaning looks at: twice as far as the smallest region that it lets be
FARTHEST = 3  # halvings that a viewer may ask for: one such tile is 64 tiles of full size
KINDS = ("image", "mask")


class Endless:
    """A slide without edges.

    Parameters
    ----------
    context : "adenocarcinoma", "squamous" or "normal"
    config : as of `generate.generate`; by default `STEPS` of `SOLVER`. The plan is the mixture
    store : file of the cache; None keeps it in memory
    limit : bytes that the file may hold
    device, weights, overrides : as of `generate.generate`

    Raises
    ------
    ValueError
        If there is no such context, or the settings are not those of an endless slide.
    """

    def __init__(
        self,
        context: str,
        config: SamplingConfig | None = None,
        *,
        store: str | Path | None = None,
        limit: int = 2 * GIGABYTE,
        device: str | None = None,
        weights: str | Path | None = None,
        **overrides: Any,
    ) -> None:
        if context not in CONTEXTS:
            raise ValueError(f"expected a context among {', '.join(CONTEXTS)}, got {context!r}")
        self.context, self.weights, self.device = context, weights, choose_device(device)
        config = configure(default_config(weights) if config is None else config, overrides, weights)
        _check(config)
        models = pretrained.load_models(weights, self.device)
        self.config = settle(config, weights, self.device)
        self._cache, self._lock = Cache(store, limit=limit), RLock()
        self._autoencoder = models.autoencoder
        self._estimators: list[Estimator] = []
        self._mask = self._mask_lattice(models.mask)
        labels = Labels(self._conditions, self._mask.identity)  # the context is part of it
        lattice: Lattice | None = None
        for stage in find_stages(models, self.config, context, weights, self.device):
            denoiser = self._counted(make_denoiser(stage, replace(self.config, batch_size=1), self.device))
            stride = self.config.stride or CELL_PX * usual_stride(PLAN, self.config.window)
            lattice = Lattice(
                denoiser,
                labels,
                stage.method,
                stride=stride // CELL_PX,
                channels=stage.autoencoder.latent_channels,
                cache=self._cache,
                beside=stage.beside(cast(Canvas | None, lattice)),  # a lattice has what is asked of a finished canvas
            )
        assert lattice is not None
        self._latents = lattice
        self._key = short_hash([lattice.identity, self.run((0, 0))])

    @property
    def ledger(self) -> Ledger:
        """What has been computed since this slide was opened, masks included."""
        return sum((estimator.ledger for estimator in self._estimators), Ledger())

    def run(self, size: tuple[int, int], shares: Sequence[float] = (0.0,) * len(LABELS)) -> dict:
        """What ``run.json`` says of a part of the slide: its size (H, W) in px, and the share of each label in it."""
        return record_run(self.context, size, self.config, device=self.device, weights=self.weights, shares=shares)

    def tile(self, kind: str, zoom: int, row: int, column: int) -> np.ndarray:
        """A tile of the slide, `TILE_PX` px a side.

        Parameters
        ----------
        kind : "image" or "mask"
        zoom : how often it is halved, 0 to `FARTHEST`
        row, column : of the tile among those of this zoom, from minus infinity to infinity

        Returns
        -------
        uint8 (TILE_PX, TILE_PX, 3) of a picture, labels uint8 (TILE_PX, TILE_PX) of a mask
        """
        if kind not in KINDS or not 0 <= zoom <= FARTHEST:
            raise ValueError(f"expected one of {', '.join(KINDS)} and a zoom from 0 to {FARTHEST}, got {kind}, {zoom}")
        with self._lock:  # tiles share what they are made of, and one of them at a time makes it
            return self._tile(kind, zoom, row, column).numpy()

    def parts(self, kind: str, region: Window) -> Iterator[tuple[int, int, np.ndarray]]:
        """A region in px, part by part in reading order, each with its first row and column within the region."""
        bottom, right = region.top + region.height, region.left + region.width
        for row in range(region.top // TILE_PX, -(-bottom // TILE_PX)):
            for column in range(region.left // TILE_PX, -(-right // TILE_PX)):
                top, left = row * TILE_PX, column * TILE_PX
                rows = slice(max(region.top - top, 0), min(bottom - top, TILE_PX))
                columns = slice(max(region.left - left, 0), min(right - left, TILE_PX))
                pixels = self.tile(kind, 0, row, column)[rows, columns]
                yield top + rows.start - region.top, left + columns.start - region.left, pixels

    def _tile(self, kind: str, zoom: int, row: int, column: int) -> Tensor:
        def make() -> Tensor:
            if zoom:
                four = [
                    [self._tile(kind, zoom - 1, 2 * row + down, 2 * column + across).numpy() for across in (0, 1)]
                    for down in (0, 1)
                ]
                joined = np.concatenate([np.concatenate(pair, 1) for pair in four], 0)
                return torch.from_numpy(halve(joined))
            return torch.from_numpy(self._picture(row, column) if kind == "image" else self._labels(row, column))

        return self._cache.remember(f"{self._key}/{kind}/{zoom}/{row}/{column}", make)

    def _picture(self, row: int, column: int) -> np.ndarray:
        """A tile of the picture, decoded with all latents around it that the decoder can see."""
        window = Window(TILE * row - REACH, TILE * column - REACH, TILE + 2 * REACH, TILE + 2 * REACH)
        latents = self._latents.latents(window)[None]
        with torch.no_grad(), lower_precision(torch.device(self.device), self.config.precision):
            image = self._autoencoder.decode(latents)[0].float()
        inside = slice(REACH * CELL_PX, (REACH + TILE) * CELL_PX)
        return to_rgb(image[:, inside, inside].cpu())

    def _labels(self, row: int, column: int) -> np.ndarray:
        """Labels of the pixels of a tile; a cell around it says where its borders run."""
        around = Window(TILE * row - 1, TILE * column - 1, TILE + 2, TILE + 2)
        side = (TILE + 2) * CELL_PX
        return upsample(self._cells(around).numpy(), (side, side))[CELL_PX:-CELL_PX, CELL_PX:-CELL_PX].copy()

    def _cells(self, window: Window) -> Tensor:
        """Labels of the cells of any window, uint8 (h, w)."""
        return gather(window, TILE, self._cell_tile)

    def _cell_tile(self, row: int, column: int) -> Tensor:
        def make() -> Tensor:
            side = TILE + 2 * MARGIN
            scores = self._mask.latents(Window(TILE * row - MARGIN, TILE * column - MARGIN, side, side))
            cells = open_borders(clean(scores.cpu().numpy() / SCALE, self.context))
            return torch.from_numpy(cells[MARGIN:-MARGIN, MARGIN:-MARGIN].copy())

        return self._cache.remember(f"{self._cells_key}/cells/{row}/{column}", make)

    def _conditions(self, window: Window) -> Tensor:
        """What the stages are told of a window."""
        return condition_map(self._cells(window).long(), self.context)

    def _mask_lattice(self, model: torch.nn.Module) -> Lattice:
        """Scores of the labels, float (6, h, w) of any window of cells."""
        alphas = cosine_alphas().to(self.device)
        denoiser = self._counted(Denoiser(model, alphas, batch_size=1, precision=self.config.precision))
        labels = Labels(lambda window: prompt(self.context, (window.height, window.width)), self.context)
        method = Method(PATCH, PLAN, solver=SOLVER, steps=STEPS, seed=self.config.seed ^ OTHER_NOISE)
        stride = usual_stride(PLAN, PATCH)
        lattice = Lattice(denoiser, labels, method, stride=stride, channels=mask_channels(model), cache=self._cache)
        self._cells_key = short_hash([lattice.identity, LABELS])  # cells of an earlier code are others
        return lattice

    def _counted(self, denoiser: Denoiser) -> Denoiser:
        self._estimators.append(denoiser)
        return denoiser


def default_config(weights: str | Path | None = None) -> SamplingConfig:
    """How an endless slide is sampled where nothing else is said."""
    return SamplingConfig(plan=PLAN, solver=SOLVER, steps=STEPS, draft_steps=STEPS if has_draft(weights) else 0)


def _check(config: SamplingConfig) -> None:
    """Refuse settings with which a slide without edges cannot be, or would take for ever."""
    if config.plan != PLAN:
        raise ValueError(f"expected the plan {PLAN}, the one whose windows stay where they are, got {config.plan!r}")
    for name in ("steps", "draft_steps"):
        if (found := getattr(config, name)) > MOST_STEPS:
            raise ValueError(f"expected at most {MOST_STEPS} {name}, since each needs more around it, got {found}")
    if config.appearance is not None and " to " in config.appearance:
        raise ValueError(f"expected one appearance, as the slide has no right border, got {config.appearance!r}")
