r"""Change part of a picture and keep the rest exactly: local re-synthesis and inpainting (paper App. D, Fig. 9, 10).

Both are `generate.generate` with latents that are kept. At every level the kept part of the canvas is its own clean
latents at that level's noise (`inpainting.Known`), the network only sees windows that hold something open, and after
the last step the kept latents are what they were, bit for bit:

    resynthesise    open is what the changed labels cover, and a margin around it that may adapt
    inpaint         open is what is not known of a picture, and a margin of latents that saw the hole

A model in two stages (`stages`) does so twice, with the picture's draft first: it keeps what it was and is drawn anew
where it is open, and nowhere else.

Then the picture is decoded and **kept pixels are put back**. After re-synthesis these are all pixels that the decoder
computes from kept latents alone, `REACH` latents away from the nearest open one, so that putting them back draws no
edge. Known pixels of an inpainted picture are kept up to the hole, though latents beside it were painted anew, so
that a step may show there (chapter 8 measures it, and that the autoencoder alone makes none).

Where the model samples a margin around its pictures (`margin`), it is kept and changed as if it were part of them. That
of a pair lies with its latents; a given picture goes on there as its mirror image, and that is encoded.

In principle every pixel depends on every label, since windows overlap over the levels. What is left out is what a
label does beyond the margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from ..data.tiles import to_tensor
from ..devices import choose_device
from ..labels import CELL_PX, conditions
from ..models import pretrained
from ..models.pretrained import expected_hashes, sampled_margin
from ..sampling.inpainting import Known
from .config import SamplingConfig, check_mask, check_memory, configure, takes_settings
from .generate import generate
from .margin import enlarged, mirrored, without
from .pair import Pair
from .progress import Progress, silent
from .stages import DETAIL, DRAFT, find_stages, settle

ENCODING_PER_PX = 200  # bytes of memory: measured with the shipped encoder on 1,536 px
REACH = 12  # latents from which the shipped decoder computes a pixel, to either side (tested)


@takes_settings
def resynthesise(
    pair: Pair,
    mask: np.ndarray,
    context: str | None = None,
    *,
    margin: int = 32,
    config: SamplingConfig | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    progress: Progress = silent,
    **overrides: Any,
) -> Pair:
    """The pair under an edited mask: only what lies in or near a changed label is computed again.

    Parameters
    ----------
    pair : with its latents, as `generate` returns it and `Pair.read` reads it.
    mask : uint8 (H, W), of the pair's size. Changes that no block of 8 px shows to the network change nothing.
    context : kind of tissue, that of the pair by default; another one concerns every label.
    margin : px around the changed labels that are computed again to fit them, a multiple of 8.
    config : how to sample; as the pair was made by default, from the same noise.
    device, weights, progress, overrides : as in `generate.generate`; what is not overridden is as in ``config``.

    Returns
    -------
    Pair whose latents equal the old ones outside the margin and whose pixels do beyond `REACH` latents of it;
    ``run["recomputed"]`` is the share of the latents that was computed again.

    Raises
    ------
    ValueError
        If the pair has no latents or comes from another autoencoder, or for a mask or setting that `generate` refuses.
    """
    if pair.latents is None:
        raise ValueError("expected a pair with its latents, got one without: generate it again")
    mask = check_mask(mask, pair.mask.shape)
    cells, around = _latents(margin), sampled_margin(weights)
    config = _configured(pair, config, overrides, weights)
    context = pair.run["context"] if context is None else context
    _check_autoencoder(pair, weights)
    _check_margin(pair, around)
    before, after = conditions(pair.mask, pair.run["context"]), conditions(mask, context)
    open_ = _grown(mirrored(before != after, around).numpy(), cells)
    keep = torch.from_numpy(~open_)
    known = {DETAIL: Known(torch.from_numpy(pair.latents), keep)}
    if pair.draft is not None and config.draft_steps:
        known[DRAFT] = Known(torch.from_numpy(pair.draft), keep)
    generated = generate(context, mask, config=config, known=known, device=device, weights=weights, progress=progress)
    far = without(~_grown(open_, REACH), around)
    return _put_back(generated, pair.image, _pixels(far), without(open_, around))


@takes_settings
def inpaint(
    image: np.ndarray,
    keep: np.ndarray,
    mask: np.ndarray,
    context: str | None = None,
    *,
    margin: int = 8,
    config: SamplingConfig | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    progress: Progress = silent,
    **overrides: Any,
) -> Pair:
    """Fill the holes of a picture, real or generated, under a mask of any labels.

    The same seed fills a hole from the same noise, so that ``[inpaint(..., omega=w) for w in (0, 1, 3)]`` shows what
    guidance does and nothing else (Fig. 9).

    Parameters
    ----------
    image : uint8 (H, W, 3), sides in multiples of 8 px; of the stain the model knows, see `stain`.
    keep : bool (H, W), true where pixels are known; they are kept exactly.
    mask : uint8 (H, W), labels of holes and surroundings; 0 where nothing is known.
    context : kind of tissue, see `generate`.
    margin : px around a hole whose latents, but not pixels, are computed again: the encoder saw the hole there. A
        multiple of 8.
    config, device, weights, progress, overrides : as in `generate.generate`.

    Returns
    -------
    Pair; ``run["recomputed"]`` is the share of the latents that was computed.

    Raises
    ------
    ValueError
        If shapes or types do not fit, or for a setting that `generate` refuses.
    """
    image, keep = np.asarray(image), np.asarray(keep)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected an image uint8 (H, W, 3), got {image.dtype} of shape {image.shape}")
    if keep.dtype != bool or keep.shape != image.shape[:2]:
        raise ValueError(f"expected keep to be bool of {_size(image)}, got {keep.dtype} of {_size(keep)}")
    mask = check_mask(mask, image.shape[:2])
    cells, around = _latents(margin), sampled_margin(weights)
    config = configure(config, overrides, weights, mask.shape)
    device = choose_device(device)
    if device == "cpu":
        check_memory(enlarged(mask.shape, around), ENCODING_PER_PX, "a smaller picture needs less")
    config = settle(config, weights, device)
    stages = find_stages(pretrained.load_models(weights, device), config, context, weights, device)
    beyond = [(around * CELL_PX,) * 2] * 2
    seen, known_px = np.pad(image, [*beyond, (0, 0)], mode="reflect"), np.pad(keep, beyond, mode="reflect")
    height, width = (side // CELL_PX for side in known_px.shape)
    holes = ~np.all(known_px.reshape(height, CELL_PX, width, CELL_PX), axis=(1, 3))
    open_ = _grown(holes, cells)
    shown, kept = to_tensor(_closed(seen, known_px))[None].to(device), torch.from_numpy(~open_)
    with torch.no_grad():
        latents = {stage.name: stage.autoencoder.encode(shown)[0].cpu() for stage in stages}
    known = {name: Known(part, kept) for name, part in latents.items()}
    generated = generate(context, mask, config=config, known=known, device=device, weights=weights, progress=progress)
    return _put_back(generated, image, keep, without(open_, around))


def _configured(
    pair: Pair, config: SamplingConfig | None, overrides: Mapping[str, Any], weights: str | Path | None
) -> SamplingConfig:
    """The settings of a pair's re-synthesis: in a single stage where that is how it was made.

    Raises
    ------
    ValueError
        If its draft is needed and it has none.
    """
    config = SamplingConfig.from_run(pair.run) if config is None else config
    requested = overrides.get("draft_steps", config.draft_steps)
    config = configure(config, overrides, weights, pair.mask.shape)
    if pair.draft is None and config.draft_steps:
        if requested:
            raise ValueError(f"expected a pair with its draft for draft_steps {requested}, got one without")
        config = replace(config, draft_steps=0)
    return config


def _check_autoencoder(pair: Pair, weights: str | Path | None) -> None:
    """Refuse to decode the latents of a pair with another autoencoder than the one that made them."""
    ours, theirs = expected_hashes(weights), pair.run["weights"]
    for part in ("autoencoder", "decoder"):
        if ours.get(part) != theirs.get(part):
            needed, found = (str(hashes.get(part, "none"))[:12] for hashes in (theirs, ours))
            raise ValueError(f"expected the {part} {needed}... that made the pair, got {found}...")


def _check_margin(pair: Pair, margin: int) -> None:
    """Refuse latents without the margin that the model samples today, or with another one."""
    assert pair.latents is not None  # refused before
    wanted = tuple(side // CELL_PX + 2 * margin for side in pair.mask.shape)
    if pair.margin != margin or pair.latents.shape[1:] != wanted:
        needed = f"expected a pair with latents {wanted}, a margin of {margin} on all sides among them"
        raise ValueError(f"{needed}, got {pair.latents.shape[1:]} with one of {pair.margin}: generate it again")


def _put_back(generated: Pair, image: np.ndarray, keep: np.ndarray, open_: np.ndarray) -> Pair:
    """The pair with kept pixels (H, W) as they were, and the share of open latents in its run."""
    image = np.where(keep[..., None], image, generated.image)
    return replace(generated, image=image, run=generated.run | {"recomputed": round(float(open_.mean()), 4)})


def _grown(open_: np.ndarray, by: int) -> np.ndarray:
    """A region (h, w) with everything that is at most ``by`` rows and columns away from it."""
    return ndimage.binary_dilation(open_, np.ones((3, 3), bool), iterations=by) if by else open_


def _pixels(latents: np.ndarray) -> np.ndarray:
    """Every latent pixel as the px that it covers, (H, W)."""
    return latents.repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)


def _closed(image: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Every unknown pixel takes the colour of the nearest known one, which disturbs the encoder least."""
    if keep.all() or not keep.any():
        return image
    nearest = ndimage.distance_transform_edt(~keep, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _latents(margin: int) -> int:
    """A margin of px in latent pixels."""
    if margin < 0 or margin % CELL_PX:
        raise ValueError(f"expected a margin that is a multiple of {CELL_PX} px from 0, got {margin}")
    return margin // CELL_PX


def _size(array: np.ndarray) -> str:
    return " x ".join(map(str, np.shape(array)[:2])) + " px"
