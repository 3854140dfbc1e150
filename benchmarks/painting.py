"""Tiles and canvases of a model for benchmarks/quality.py, each painted once and kept.

A sample of its own is what a real tile can be compared with; tissue cut from a canvas is meant to go on from tile to
tile, and the difference between the two is the price of painting by windows. Both have the same masks: squares of large
ones, with seeds 0, 1, ...

What was painted lies in `PARTS`, in a folder for each set of weights, in files of 25 tiles or one canvas. A run that
was interrupted, or is repeated with more tiles, another plan or other metrics, reads them. They are those of these
weights, these settings and of the code that paints: after a change of a statement in it, not of a comment, all is
painted again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import diffinfinite_lite
from diffinfinite_lite import SamplingConfig, generate
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.devices import choose_device
from diffinfinite_lite.evaluation.inputs import cut_canvas
from diffinfinite_lite.labels import CELL_PX
from diffinfinite_lite.models.pretrained import expected_hashes, has_draft, load_draft, load_models, sampled_margin
from diffinfinite_lite.pipelines.generate import picture
from diffinfinite_lite.pipelines.margin import without
from diffinfinite_lite.pipelines.masks import generate_mask
from diffinfinite_lite.pipelines.pair import Pair

PARTS = Path("runs/eval")
TILE, ACROSS, CANVASES = 224, 5, 6  # px; tiles along a canvas; canvases of a context at most
LIBRARY = Path(diffinfinite_lite.__file__).parent
ROOMS = ("sampling", "models", "pipelines")  # whose code decides what is painted


def statements(source: str) -> str:
    """A module without what changes nothing: comments, docstrings, where lines end.

    >>> statements("x = 1  # one") == statements("'''Doc.'''\\nx = (\\n    1)")
    True
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                del body[0]
    return ast.dump(tree)


CODE = [  # of this very process
    statements(path.read_text("utf8"))
    for path in sorted([LIBRARY / "labels.py", *(p for room in ROOMS for p in (LIBRARY / room).rglob("*.py"))])
]


@dataclass(frozen=True)
class Painter:
    """A model and how it samples.

    Attributes
    ----------
    settings : of `SamplingConfig`, those that are no default.
    weights : folder of a model, the shipped one by default.
    """

    settings: Mapping[str, Any]
    weights: Path | None = None

    @property
    def alone(self) -> bool:
        """Whether windows of this model that lie side by side know nothing of each other: no draft, no margin."""
        return not has_draft(self.weights) and not sampled_margin(self.weights)

    def remembered(self, name: str, make: Callable[[], dict[str, np.ndarray]], **more: Any) -> dict[str, np.ndarray]:
        """Arrays as `make` returns them, or as an interrupted or shorter run with the same settings has left them."""
        hashes = expected_hashes(self.weights)
        key = hashlib.sha256(json.dumps([name, {**self.settings, **more}, hashes, CODE], sort_keys=True).encode())
        model = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode())
        path = PARTS / model.hexdigest()[:12] / f"{name}-{key.hexdigest()[:16]}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial_file = path.with_suffix(f".{os.getpid()}.partial")  # by process: two may share the work
            with open(partial_file, "wb") as file:
                np.savez_compressed(file, **make())
            partial_file.replace(path)
        with np.load(path) as arrays:
            return dict(arrays)

    def draw(self, context: str, size: tuple[int, int], seed: int) -> np.ndarray:
        """Labels (H, W), as `generate` makes them from a context."""
        device = choose_device(None)
        model = load_models(self.weights, device).mask
        return generate_mask(model, context, size, seed=seed, precision=self.settings["precision"], device=device)

    def paint(self, context: str, mask: np.ndarray, seed: int, **more: Any) -> Pair:
        """A pair under a mask."""
        return generate(context, mask, seed=seed, weights=self.weights, **{**self.settings, **more})

    def samples(self, mask: np.ndarray, context: str, seed: int, **more: Any) -> dict[str, np.ndarray]:
        """A sample of its own for each square of a mask.

        Of a single stage without a margin these are windows side by side that never move, all on one canvas. Else each
        is a picture, with its own seed, draft and appearance.

        Returns
        -------
        uint8 (N, TILE, TILE, 3) as "generated"; their drafts uint8 (N, TILE / 8, TILE / 8, 3) as "drafts" where the
        model has any
        """
        if self.alone:
            pair = self.paint(context, mask, seed, plan="multidiffusion", stride=TILE, batch_size=16, **more)
            return {"generated": np.stack(self._decoded_one_by_one(pair))}
        squares = cut_canvas(mask, (TILE, TILE))
        pairs = [self.paint(context, each, seed * ACROSS**2 + n, **more) for n, each in enumerate(squares)]
        found = {"generated": np.stack([pair.image for pair in pairs])}
        return found | {"drafts": np.stack([self._draft(pair) for pair in pairs])} if has_draft(self.weights) else found

    def _decoded_one_by_one(self, pair: Pair) -> list[np.ndarray]:
        """Tiles of a canvas, none of which the decoder sees beside another one.

        The model learnt latents of whole tiles, whose outermost ones expect the decoder's zero padding.
        """
        assert pair.latents is not None
        device, window, config = choose_device(None), TILE // CELL_PX, SamplingConfig.from_run(pair.run)
        latents = torch.from_numpy(pair.latents).to(device)
        tiles = [z for row in latents.split(window, dim=1) for z in row.split(window, dim=2)]
        return [picture(load_models(self.weights, device).autoencoder, z, config, 0) for z in tiles]

    def _draft(self, pair: Pair) -> np.ndarray:
        drafting = load_draft(self.weights)
        assert drafting is not None and pair.draft is not None
        return to_rgb(drafting.network.thumbnails.small(without(torch.from_numpy(pair.draft), pair.margin)))

    def sets(self, context: str, count: int, plans: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list]:
        """Tiles of a context by how they were made, and their masks (TILE, TILE).

        Parameters
        ----------
        count : of tiles that are samples of their own. Of canvases there are `CANVASES` at most, whatever it is: theirs
            are as many as real test tiles, more could not be compared.
        plans : canvases are painted by each of them; the settings name the one that belongs to `cut_from`'s first

        Returns
        -------
        lists of uint8 arrays: "generated" (TILE, TILE, 3), "drafts" and those that `cut_from` names; masks
        """
        made: dict[str, list[np.ndarray]] = {"generated": [], **{cut_from(plan, plans): [] for plan in plans}}
        masks: list[np.ndarray] = []
        side = TILE * min(ACROSS, int(np.ceil(count**0.5)))

        def tiles(seed: int) -> dict[str, np.ndarray]:
            mask = self.draw(context, (side, side), seed)
            return {
                "masks": np.stack(cut_canvas(mask, (TILE, TILE))),
                "mask": mask,
                **self.samples(mask, context, seed),
            }

        def canvas(mask: np.ndarray, seed: int, plan: str) -> dict[str, np.ndarray]:
            return {"tiles": np.stack(cut_canvas(self.paint(context, mask, seed, plan=plan).image, (TILE, TILE)))}

        bar = tqdm(total=count, desc=context, unit="tile")
        for seed in range(count):
            if len(masks) >= count:
                break
            found = self.remembered(f"{context}-{side}-{seed}", partial(tiles, seed))
            for name in found.keys() - {"masks", "mask"}:
                made.setdefault(name, []).extend(found[name])
            masks += list(found["masks"])
            for plan in plans if seed < CANVASES else ():
                name = f"{context}-{side}-{seed}-{plan}"
                painted = self.remembered(name, partial(canvas, found["mask"], seed, plan), plan=plan)
                made[cut_from(plan, plans)] += list(painted["tiles"])
            bar.update(min(len(masks), count) - bar.n)
        bar.close()
        return {name: tiles[:count] for name, tiles in made.items()}, masks[:count]

    def under(self, context: str, masks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """A sample of its own, uint8 (TILE, TILE, 3), under each mask (TILE, TILE)."""
        tiles: list[np.ndarray] = []
        for start in range(0, len(masks), ACROSS**2):
            part = np.stack(masks[start : start + ACROSS**2])

            def make(part: np.ndarray = part, start: int = start) -> dict[str, np.ndarray]:
                return {"tiles": np.stack([self.paint(context, mask, start + n).image for n, mask in enumerate(part)])}

            name = f"{context}-under-{hashlib.sha256(part.tobytes()).hexdigest()[:12]}"
            tiles += list(self.remembered(name, make)["tiles"])
        return tiles

    def twice(self, context: str, other: str | None, masks: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Pictures of each mask: as they come, by another seed and, with the same seed, in another context.

        Returns
        -------
        uint8 (N, TILE, TILE, 3) as "first", "other seed" and, where one is named, "other context"
        """

        def make() -> dict[str, np.ndarray]:
            ways: dict[str, tuple[str, int]] = {"first": (context, 0), "other seed": (context, len(masks))}
            ways |= {} if other is None else {"other context": (other, 0)}
            return {
                name: np.stack([self.paint(asked, mask, n + later).image for n, mask in enumerate(masks)])
                for name, (asked, later) in ways.items()
            }

        return self.remembered(f"{context}-twice-{len(masks)}", make)


def cut_from(plan: str, plans: Sequence[str]) -> str:
    """What tiles cut from canvases of a plan are called; those of the first plan, the default, without its name.

    >>> cut_from("mixture", ["mixture", "random-patch"]), cut_from("random-patch", ["mixture", "random-patch"])
    ('cut from canvases', 'cut from canvases, random-patch')
    """
    return "cut from canvases" + ("" if plan == plans[0] else f", {plan}")
