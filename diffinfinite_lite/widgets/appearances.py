"""Appearance under the hand: the widest axes of a context's codes, pictures of their ends, and real tiles to imitate.

Only a model of two stages has one (`models.appearance`). A code of 16 numbers says little to anybody, so that the page
turns the axes along which the codes of a context differ most, in standard deviations from their mean, and shows the
draft of each end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from torch import Tensor

from ..data import catalog
from ..data.tiles import to_rgb
from ..labels import conditions
from ..models.pretrained import Drafting, load_draft, load_models
from ..pipelines.appearance import MORPH, find_codes, imitate, settled, to_text
from ..pipelines.config import SamplingConfig, configure
from ..pipelines.stages import find_stages, last_levels, make_denoiser, sample_stages
from .jobs import Job
from .neighbours import SET
from .state import State
from .studio import Studio

AXES = 4  # that the page turns
REACH = 2.5  # standard deviations from the mean to either end
STEPS = 8  # of the draft of an end
TILES = 6  # real ones to choose from
NONE = (
    "Light and stain cannot be chosen here: this model paints in a single stage, and only one of two stages "
    "(diffinfinite train draft, then train detail) has an appearance."
)


@dataclass(frozen=True)
class Axes:
    """Where the codes of a context lie.

    Attributes
    ----------
    mean : float (16,)
    spread : float (16, 16), a row an axis as long as its standard deviation, the widest first
    """

    mean: Tensor
    spread: Tensor

    @property
    def shares(self) -> list[float]:
        """Of all variance, along each axis."""
        variances = self.spread.square().sum(1)
        return (variances / variances.sum()).tolist()

    def read(self, code: Tensor) -> list[float]:
        """A code in standard deviations from the mean, along the axes that the page turns."""
        lengths = self.spread.norm(dim=1).clamp(min=1e-6)
        return ((self.spread / lengths[:, None]) @ (code - self.mean) / lengths)[:AXES].tolist()

    def turn(self, code: Tensor, axis: int, value: float) -> Tensor:
        """The code with another place on one axis; along all others it stays."""
        return code + (value - self.read(code)[axis]) * self.spread[axis]

    def end(self, axis: int, value: float) -> Tensor:
        """The code that is average but on one axis."""
        return self.mean + value * self.spread[axis]


class Appearances:
    """The appearances of a studio's model.

    Parameters
    ----------
    studio : of the server, whose model has a draft or none
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def axes(self, context: str) -> Axes:
        """The axes of a context."""
        return Axes(*self._drafting().appearance.principal_axes(context))

    def code(self, state: State) -> Tensor:
        """The code float (16,) of a state's picture; of a morph that of its left border."""
        text = settled(state.config.appearance, self._drafting())
        return find_codes(text, state.config.seed, state.context, self._drafting())[0]

    def turn(self, state: State, axis: int, value: float) -> str:
        """The appearance of a state with another place on an axis, as the setting holds it.

        Raises
        ------
        ValueError
            If there is no such axis or the place is too far out.
        """
        if axis not in range(AXES) or not abs(value) <= 4 * REACH:
            raise ValueError(f"expected an axis 0 to {AXES - 1} and a place near 0 on it, got {axis} and {value:g}")
        return to_text(self.axes(state.context).turn(self.code(state), axis, value).tolist()) or ""

    def like(self, image: np.ndarray) -> str:
        """The appearance of a picture uint8 (H, W, 3), as the setting holds it."""
        return to_text(imitate(image, self._drafting()).tolist()) or ""

    def morph(self, left: str, right: str) -> str:
        """From one appearance to another, as the setting holds it."""
        return f"{left}{MORPH}{right}"

    def ends(self, job: Job, context: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Drafts uint8 (h, w, 3) of both ends of each axis, all under one mask and from one noise."""
        state = State(context=context)
        mask = self.studio.mask_of(job, state)
        axes, found = self.axes(context), list[np.ndarray]()
        values = [(axis, value) for axis in range(AXES) for value in (-REACH, REACH)]
        for axis, value in job.follow(values, len(values), "ends of the axes"):
            found.append(self._draft(context, mask, axes.end(axis, value)))
        return list(zip(found[::2], found[1::2], strict=True))

    def _draft(self, context: str, mask: np.ndarray, code: Tensor) -> np.ndarray:
        studio, start = (
            self.studio,
            SamplingConfig(quality=self.studio.preview, solver="dpm-solver++", draft_steps=STEPS),
        )
        config = configure(replace(start, appearance=to_text(code.tolist())), {}, studio.weights)
        models = load_models(studio.weights, studio.device)
        stage = find_stages(models, config, context, studio.weights, studio.device)[0]
        denoisers = {stage.name: make_denoiser(stage, config, studio.device)}
        labels = conditions(mask, context).to(studio.device)
        shown = last_levels(sample_stages([stage], denoisers, labels))[stage.name].preview()
        assert shown is not None  # the first stage of a model that has a draft
        return shown

    def _drafting(self) -> Drafting:
        found = load_draft(self.studio.weights, self.studio.device)
        if found is None:
            raise ValueError(f"expected a model with an appearance, got one without: {NONE}")
        return found


def real_tiles(context: str, seed: int) -> list[tuple[str, str, str, np.ndarray]]:
    """Names, sets, licences and pixels uint8 (H, W, 3) of a few real test tiles of a context.

    Raises
    ------
    ValueError
        If their set is not on this machine.
    """
    if not catalog.available(SET, "test"):
        raise ValueError(f"expected the set {SET} on this machine (DIFFINFINITE_DATA), got none: drop a file instead")
    label = next(entry.label for entry in catalog.select(SET, "test") if entry.context == context)
    drawn = np.random.default_rng(seed)
    tiles = catalog.load(SET, "test", label, normalised=True, one_per_cluster=True, generator=drawn)
    return [(tile.name, tile.source, tile.licence, to_rgb(tile.image)) for tile in islice(tiles, TILES)]
