r"""What the two stages learn from, and what they are trained to make small.

Both predict v of noisy latents, as the image model does (`losses.image_loss`), from pictures whose thumbnail, latents
and conditions lie on one grid:

    draft    thumbnails under conditions and an appearance, whose encoder learns at the same time. Codes are noised, and
             for some samples there is none, so that the model also paints where nobody says what it is to look like
    detail   latents under conditions and a thumbnail with noise, whose level it is told. For some samples there is no
             thumbnail: without one the same weights are a single stage

Pictures are turned and mirrored, never latents: a turned latent is not the latent of the turned picture. Thumbnails are
pictures; latents are encoded once, in as many orientations as a set asks for.

The timesteps of a batch are spread over tenths of the schedule, and the log tells the loss in each: where a model still
learns, and that a loss that falls at one end says nothing about the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import Compute
from ..extras import extra
from ..labels import CELL_PX, CONTEXTS, PROMPTS
from ..models.appearance import COMPONENTS, Appearance
from ..models.detail import NO_DRAFT, Detail
from ..models.draft import CODE, Draft
from .loop import Loss

TENTHS = 10  # of the schedule
FLOOR = 0.02  # variance added to a mixture's components, so that no few tiles make one of their own


@dataclass(frozen=True)
class Aligned:
    """Pictures of one size, as what the stages see of them.

    Attributes
    ----------
    thumbnails : half (N, 3, h, w), standardised.
    conditions : uint8 (N, h, w).
    clusters : the indices of the pictures in each cluster: a cluster is drawn, then one of it, or near-duplicates of
        the largest would be most of what is seen.
    share : of the set in what is drawn.
    latents : half (N, C, h, w); None for the draft.
    """

    thumbnails: Tensor
    conditions: Tensor
    clusters: list[list[int]]
    share: float = 1.0
    latents: Tensor | None = None


@dataclass(frozen=True)
class StageDraws:
    """How a batch is drawn.

    Attributes
    ----------
    patch : side of a crop, latent pixels.
    batch : samples a step, at least ten.
    unlabelled : share of the samples under the null label.
    single_label : share that keeps one of its labels and loses the others.
    missing : share without a code (draft) or without a thumbnail (detail).
    noise : largest standard deviation of the noise on the thumbnail (detail), or that on codes (draft).
    """

    patch: int = 28
    batch: int = 16
    unlabelled: float = 0.3
    single_label: float = 0.15
    missing: float = 0.0
    noise: float = 0.0


class Batch(NamedTuple):
    """What a step learns from.

    Attributes
    ----------
    x : float (B, C, h, w), what is diffused.
    condition : int64 (B, h, w).
    beside : float (B, D, h, w), what the network reads beside it.
    """

    x: Tensor
    condition: Tensor
    beside: Tensor


Draw = Callable[[torch.Generator], Batch]


class Drafter(nn.Module):
    """Draft model and encoder of appearances, which are trained together."""

    def __init__(self, draft: Draft, appearance: Appearance):
        super().__init__()
        self.draft, self.appearance = draft, appearance
        self.config: dict[str, Any] = {"draft": draft.config, "appearance": appearance.config}


def thumbnails(images: Tensor, chunk: int = 64) -> Tensor:
    """Means of 8 x 8 px of pictures uint8 (N, H, W, 3), half (N, 3, H/8, W/8) in [-1, 1]."""
    parts = (part.permute(0, 3, 1, 2).float() / 127.5 - 1 for part in images.split(chunk))
    return torch.cat([F.avg_pool2d(part, CELL_PX).half() for part in parts])


def draft_loss(model: Drafter, alphas: Tensor, sets: list[Aligned], draws: StageDraws, compute: Compute) -> Loss:
    """v-prediction of thumbnails.

    Parameters
    ----------
    alphas : (T,), the noise schedule.
    sets : drawn by their shares.
    """
    draw = draft_draws(model.appearance, sets, draws, compute)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        with compute.autocast():
            return velocity_errors(model.draft, alphas, draw(generator), generator)

    return loss


def detail_loss(model: Detail, alphas: Tensor, sets: list[Aligned], draws: StageDraws, compute: Compute) -> Loss:
    """v-prediction of latents beside noised thumbnails; parameters as of `draft_loss`."""
    draw = detail_draws(sets, draws, compute)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        with compute.autocast():
            return velocity_errors(model, alphas, draw(generator), generator)

    return loss


def draft_draws(appearance: Appearance, sets: list[Aligned], draws: StageDraws, compute: Compute) -> Draw:
    """Draws thumbnails in a random orientation each, beside their noised codes."""
    draw = _drawer(sets, draws, turning=True)

    def drawn(generator: torch.Generator) -> Batch:
        x, condition, _ = (part.to(compute.device) for part in draw(generator))
        noise = torch.randn(len(x), CODE, generator=generator).to(compute.device)
        known = (torch.rand(len(x), 1, generator=generator) >= draws.missing).float().to(compute.device)
        with compute.autocast():
            code = appearance(x) + draws.noise * noise
        return Batch(x, condition, torch.cat([code, known], dim=1)[:, :, None, None].expand(-1, -1, *x.shape[2:]))

    return drawn


def detail_draws(sets: list[Aligned], draws: StageDraws, compute: Compute) -> Draw:
    """Draws latents beside their noised thumbnails."""
    draw = _drawer(sets, draws, turning=False)

    def drawn(generator: torch.Generator) -> Batch:
        x, condition, thumbnail = draw(generator)
        batch = len(x), 1, 1, 1
        level = draws.noise * torch.rand(batch, generator=generator)
        thumbnail = thumbnail + level * torch.randn(thumbnail.shape, generator=generator)
        level = torch.where(torch.rand(batch, generator=generator) < draws.missing, NO_DRAFT, level)
        beside = torch.cat([thumbnail, level.expand(-1, 1, *x.shape[2:])], dim=1)
        return Batch(*(part.to(compute.device) for part in (x, condition, beside)))

    return drawn


def _drawer(
    sets: list[Aligned], draws: StageDraws, *, turning: bool
) -> Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]:
    """Draws batches: what is diffused float (B, C, h, w), conditions int64 (B, h, w), thumbnails float (B, 3, h, w)."""
    weights = torch.tensor([part.share for part in sets])

    def one(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        def pick(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        part = sets[int(torch.multinomial(weights, 1, generator=generator))]
        cluster = part.clusters[pick(len(part.clusters))]
        index = cluster[pick(len(cluster))]
        whole = part.thumbnails[index], part.conditions[index].long()
        top, left = (pick(n - draws.patch + 1) for n in whole[1].shape)
        place = (..., slice(top, top + draws.patch), slice(left, left + draws.patch))
        thumbnail, condition = whole[0][place].float(), whole[1][place]
        diffused = thumbnail if part.latents is None else part.latents[index][place].float()
        if turning:
            turns, mirrored = pick(4), pick(2)
            both = (torch.rot90(map_, turns, (-2, -1)) for map_ in (diffused, condition))
            diffused, condition = (map_.flip(-1) if mirrored else map_ for map_ in both)
        chance = float(torch.rand((), generator=generator))
        if chance < draws.unlabelled:
            condition = torch.zeros_like(condition)
        elif chance < draws.unlabelled + draws.single_label:
            present = condition.unique()
            condition = torch.where(condition == present[pick(len(present))], condition, 0)
        return diffused, condition, thumbnail

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        diffused, conditions, seen = zip(*(one(generator) for _ in range(draws.batch)), strict=True)
        return torch.stack(diffused), torch.stack(conditions), torch.stack(seen)

    return draw


def spread(kinds: int, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the numbers below ``kinds`` in random order, each as often as the others but for one time."""
    return torch.cat([torch.randperm(kinds, generator=generator) for _ in range(-(-count // kinds))])[:count]


def velocity_errors(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    alphas: Tensor,
    batch: Batch,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Squared error of v: the mean over the batch, and over each tenth of the schedule."""
    x, condition, beside = batch
    tenths = spread(TENTHS, len(x), generator)
    share = (tenths + torch.rand(len(x), generator=generator)) / TENTHS
    t = (len(alphas) * share).long().clamp(max=len(alphas) - 1)
    noise, a = torch.randn(x.shape, generator=generator).to(x.device), alphas[t].view(-1, 1, 1, 1).to(x.device)
    z = a.sqrt() * x + (1 - a).sqrt() * noise
    v = model(torch.cat([z, beside.to(z.dtype)], dim=1), t.to(x.device), condition)
    errors = (v.float() - (a.sqrt() * noise - (1 - a).sqrt() * x)).square().mean(dim=(1, 2, 3))
    by_tenth = {f"tenth{k}": errors[(tenths == k).to(x.device)].mean() for k in range(TENTHS)}
    return {"loss": errors.mean(), **by_tenth}


def fit_mixtures(appearance: Appearance, thumbnails: Tensor, contexts: list[str]) -> None:
    """Fill in the mixtures from which appearances are drawn, one for the tiles of each context and one for all.

    Parameters
    ----------
    appearance : trained encoder
    thumbnails : (N, 3, h, w), standardised
    contexts : of the tiles; one that none of them has gets the mixture of all
    """
    with extra("train"):
        from sklearn.mixture import GaussianMixture  # takes a second, and only the end of training needs it

    with torch.no_grad():
        codes = torch.cat([appearance(part.float()) for part in thumbnails.split(256)]).double().numpy()
    for row, name in enumerate(PROMPTS):
        own = np.array([context == name for context in contexts]) if name in CONTEXTS else np.ones(len(codes), bool)
        chosen = codes[own] if own.any() else codes
        count = min(COMPONENTS, len(chosen))
        found = GaussianMixture(count, reg_covar=FLOOR, random_state=0).fit(chosen)
        appearance.weights[row] = 0
        appearance.weights[row, :count] = torch.from_numpy(found.weights_).float()
        appearance.means[row, :count] = torch.from_numpy(found.means_).float()
        appearance.factors[row, :count] = torch.from_numpy(np.linalg.cholesky(found.covariances_)).float()
