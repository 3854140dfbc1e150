r"""The stages of a picture: a draft at an eighth of its size, then the detail under it. Only this module names both.

A stage is `sample.sample` with a network, an autoencoder (what turns pictures into its latents and back) and something
that its network reads beside the latents:

    draft     thumbnails         `models.draft.Draft`      beside them an appearance
    detail    latents            the image model           beside them the draft's canvas, with a little noise

Both lie on one grid, so that they share mask, plan, windows and all else that is said of sampling. A model without a
draft has the second stage alone, and so has any model with ``draft_steps=0``: the paper's single stage. In the quality
fast the networks are the model's students.

Where the model samples a margin around its pictures (`margin`), the canvases of both stages have it. It is put around
the labels here, and what is shown of a level is without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.tiles import to_rgb
from ..devices import fitting_batch
from ..labels import PROMPTS, prompt_number
from ..models.autoencoder import Autoencoder
from ..models.detail import Detail
from ..models.draft import Draft
from ..models.pretrained import Drafting, Models, load_draft, load_students, sampled_margin
from ..models.thumbnails import Thumbnails
from ..sampling.beside import Across, Beside, NoisedCanvas
from ..sampling.canvas import Canvas
from ..sampling.cost import Ledger, costs
from ..sampling.denoiser import Denoiser, Estimator
from ..sampling.inpainting import Known
from ..sampling.loop import Level
from ..sampling.sample import Method, sample
from ..sampling.solvers import cosine_alphas
from .appearance import find_codes, settled
from .config import FAST, SamplingConfig
from .margin import mirrored, without

DRAFT, DETAIL = "draft", "detail"
NAMES = (DRAFT, DETAIL)
# Into the seed, so that a stage does not begin as the noise of another one, and the draft is not blurred by either.
DRAFT_NOISE, BLURRING_NOISE = 1 << 62, 1 << 61
DRAFT_ETA = 1.0  # fresh noise at each level: drafts vary more and are nearer to real thumbnails (ADR 28)
CONTEXT_BITS = 56  # above which the context goes into the draft's seed: one seed in two contexts gives no twins


def nothing(before: Canvas | None) -> Beside | None:
    """What stands beside a stage whose network reads its latents alone."""
    return None


@dataclass(frozen=True)
class Stage:
    """What is sampled in one run of the loop.

    Attributes
    ----------
    name : one of `NAMES`.
    network : predicts v of its latents.
    autoencoder : pictures to its latents and back.
    method : how it is sampled.
    channels_beside : how many the network reads beside its latents.
    beside : makes these of the canvas of the stage before, None for the first one.
    margin : latents by which its canvas is larger than the picture on all sides.
    """

    name: str
    network: Any
    autoencoder: Autoencoder
    method: Method
    channels_beside: int = 0
    beside: Callable[[Canvas | None], Beside | None] = nothing
    margin: int = 0


@dataclass(frozen=True)
class StageLevel(Level):
    """A `loop.Level` of one of the stages. Its frames are those of the picture; canvas and clean have the margin, too.

    Attributes
    ----------
    stage : which.
    number : of the level in the whole run, from 0.
    later : levels of the stages that are still to come.
    """

    stage: Stage | None = None
    number: int = 0
    later: int = 0

    def preview(self) -> np.ndarray | None:
        """What there is to see of the picture: its draft so far, uint8 (H/8, W/8, 3); None in the second stage."""
        if self.stage is None or not isinstance(self.stage.autoencoder, Thumbnails):
            return None
        draft = without(self.canvas.latents[:], self.stage.margin)
        return to_rgb(self.stage.autoencoder.small(draft).cpu())


def settle(config: SamplingConfig, weights: str | Path | None, device: str) -> SamplingConfig:
    """The settings with the appearance of pictures as numbers, so that they say all that a sample depends on.

    Raises
    ------
    ValueError, OSError : a picture cannot be read.
    """
    if config.appearance is None:
        return config
    return replace(config, appearance=settled(config.appearance, _drafting(config, weights, device)))


def find_stages(
    models: Models, config: SamplingConfig, context: str | None, weights: str | Path | None, device: str
) -> list[Stage]:
    """The stages that the settings ask for, in their order.

    Raises
    ------
    ValueError
        If the model lacks what the settings ask for: a draft or students.
    """
    students = load_students(weights, device) if config.quality == FAST else None
    network = students.image if students else models.image
    plan = config.find_plan()
    method = Method(config.window, plan, solver=config.solver, steps=config.steps, eta=config.eta, seed=config.seed)
    margin = sampled_margin(weights)
    detail = Stage(DETAIL, network, models.autoencoder, method, margin=margin)
    if not config.draft_steps:
        return [detail]
    drafting = _drafting(config, weights, device)
    codes = find_codes(config.appearance, config.seed, context, drafting)
    left, right = (torch.cat([code, torch.ones(1)]).to(device) for code in codes)  # the last one: the code is known
    appearance, blurred = Across(left, right), config.seed ^ BLURRING_NOISE

    def read_draft(before: Canvas | None) -> Beside:
        assert before is not None
        return NoisedCanvas(before, config.draft_noise, blurred)

    seed = config.seed ^ DRAFT_NOISE ^ prompt_number(context or PROMPTS[0]) << CONTEXT_BITS
    planned = students.draft if students else drafting.network
    drawn = replace(method, steps=config.draft_steps, eta=_draft_eta(config), seed=seed)
    draft = Stage(DRAFT, planned, planned.thumbnails, drawn, Draft.beside, lambda before: appearance, margin)
    return [draft, replace(detail, channels_beside=Detail.beside, beside=read_draft)]


def _drafting(config: SamplingConfig, weights: str | Path | None, device: str) -> Drafting:
    drafting = load_draft(weights, device)
    if drafting is None:
        raise ValueError(f"expected a model with a draft for draft_steps {config.draft_steps}, got one without")
    return drafting


def _draft_eta(config: SamplingConfig) -> float | None:
    """Share of fresh noise in the draft: all of it, where the settings leave it open (ADR 28)."""
    return DRAFT_ETA if config.eta is None and config.solver == "ddim" else config.eta


def make_denoiser(stage: Stage, config: SamplingConfig, device: str) -> Denoiser:
    """A stage's network as the settings want it: guided, in batches that fit the device, in their precision.

    Raises
    ------
    ValueError
        If there is no compiler for torch.compile.
    """
    batch_size = config.batch_size
    if batch_size is None:
        channels = stage.autoencoder.latent_channels + stage.channels_beside
        batch_size = fitting_batch(stage.network, channels, config.window, device)
    return Denoiser(
        stage.network,
        cosine_alphas().to(device),
        omega=config.omega,
        conditioning=config.conditioning,
        batch_size=batch_size,
        precision=config.precision,
        compiled=config.compiled,
    )


def count_levels(stages: Iterable[Stage]) -> int:
    """Noise levels of all stages."""
    return sum(stage.method.steps for stage in stages)


def stage_store(store: Path, stage: Stage, stages: Sequence[Stage]) -> Path:
    """Folder of a stage's canvas: that of the run where there is one stage, one in it for each of several.

    Raises
    ------
    ValueError
        If the folder of a run in several stages holds the canvas of a single one, or something else.
    """
    if len(stages) == 1:
        return store
    if store.is_dir():
        others = sorted(path.name for path in store.iterdir() if path.name not in (*NAMES, "labels.raw"))
        if others:
            what = f"expected an empty folder or the store of a run in {len(stages)} stages at {store}"
            raise ValueError(f"{what}, found {others[0]}: take a new folder")
    return store / stage.name


def sample_stages(
    stages: Sequence[Stage],
    estimators: Mapping[str, Estimator],
    labels: Tensor,
    *,
    known: Mapping[str, Known] | None = None,
    record: bool | int = False,
    store: Path | None = None,
) -> Iterator[StageLevel]:
    """`sample.sample` for one stage after the other.

    Parameters
    ----------
    stages : of `find_stages`
    estimators : a `Denoiser` by the name of each stage, or what takes its place
    labels : conditions (h, w) of the picture at latent resolution, see `labels.conditions`
    known : latents to keep, by the name of the stage, of the canvas with its margin
    record, store : as of `sample.sample`, see `stage_store`

    Yields
    ------
    `StageLevel` after each level, of all stages.

    Raises
    ------
    What `sample.sample` does; of the first stage at once.
    """

    if unknown := (known or {}).keys() - {stage.name for stage in stages}:
        names = ", ".join(stage.name for stage in stages)
        raise ValueError(f"expected latents to keep of the stages {names}, got those of {', '.join(sorted(unknown))}")

    def begin(stage: Stage, before: Canvas | None) -> Iterator[Level]:
        return sample(
            estimators[stage.name],
            mirrored(labels, stage.margin),
            stage.method,
            channels=stage.autoencoder.latent_channels,
            known=(known or {}).get(stage.name),
            beside=stage.beside(before),
            record=record,
            store=store and stage_store(store, stage, stages),
        )

    def levels(run: Iterator[Level]) -> Iterator[StageLevel]:
        done, total = 0, count_levels(stages)
        for k, stage in enumerate(stages):
            later = total - done - stage.method.steps
            for level in run:
                found = vars(level)
                if level.frames is not None:
                    found = found | {"frames": without(level.frames, stage.margin)}
                yield StageLevel(**found, stage=stage, number=done + level.step, later=later)
            done += stage.method.steps
            if k + 1 < len(stages):
                run = begin(stages[k + 1], level.canvas)

    return levels(begin(stages[0], None))


def follow(levels: Iterable[StageLevel]) -> tuple[dict[str, StageLevel], list[np.ndarray]]:
    """Run all levels.

    Returns
    -------
    The last level of each stage by its name, and the timestep maps int16 (h, w) that were recorded on the way: how many
    levels a latent pixel had still to go, those of later stages included.
    """
    frames: list[np.ndarray] = []

    def recorded() -> Iterator[StageLevel]:
        for level in levels:
            maps = level.frames
            if maps is None:  # nothing was open at this level: its map is the one after it
                assert level.stage is not None  # `sample_stages` says which
                maps = without(level.canvas.timestep_map[None], level.stage.margin)
            frames.extend((maps + level.later).short().cpu().numpy())
            yield level

    return last_levels(recorded()), frames


def last_levels(levels: Iterable[StageLevel]) -> dict[str, StageLevel]:
    """Run all levels; the last one of each stage by its name."""
    return {level.stage.name: level for level in levels if level.stage}


def cost_of(last: Mapping[str, StageLevel], window: int, clock: dict[str, float]) -> dict:
    """What ``run.json`` says of the cost: that of all stages, and where there are several that of each.

    Parameters
    ----------
    last : of `follow`
    window : side of a window in latent pixels
    clock : seconds of what follows each other
    """
    ledgers = {name: level.ledger for name, level in last.items()}
    steps = {name: level.stage.method.steps for name, level in last.items() if level.stage}
    total = costs(sum(ledgers.values(), Ledger()), window, sum(steps.values()), clock)
    if len(steps) > 1:
        total["stages"] = {name: costs(ledgers[name], window, steps[name], {}) for name in steps}
    return total
