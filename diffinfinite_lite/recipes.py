"""How the shipped models are trained: data, sizes, steps. `diffinfinite train NAME` runs one of these generators.

Each yields (`Progress`, total steps), can be killed at any moment and goes on when started again. The order is
autoencoder, decoder (sharpening), image, mask; image needs the autoencoder's weights, the others need none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import catalog, checkpoint
from .annotate import annotate
from .autoencoder import LiteAutoencoder
from .efficientnet import EfficientNetLite0
from .layouts import layout
from .masks import CELL, PATCH, one_hot, prompt
from .noise import cosine_alphas
from .sharpen import Sharpener, sharpening_loss
from .tiles import to_rgb
from .train import (
    Loss,
    Progress,
    autoencoder_loss,
    encode_tiles,
    fit,
    image_loss,
    pool_mask,
)
from .unet import CONTEXTS, MaskUNet, condition_map

Recipe = Iterator[tuple[Progress, int]]
PATCH_PX = 224  # of the image model; a whole training tile
SMALL_PX, SMALL_SHARE = 128, 0.6  # texture is learnt on smaller patches first: more of them in the same time
MASK_WIDTHS = (64, 96, 128)


def training_tiles(cache: Path) -> tuple[Tensor, Tensor, list[str]]:
    """LC25000 train, stain-normalised, with pseudo-annotations; made once and kept in ``cache``.

    Returns
    -------
    images uint8 (N, 224, 224, 3), masks uint8 (N, 224, 224), contexts.
    """
    if not cache.exists():
        images, masks, contexts = [], [], []
        for tile in catalog.load("lc25000-lung", "train", normalised=True):
            rgb = to_rgb(tile.image)
            images.append(torch.from_numpy(rgb))
            masks.append(torch.from_numpy(annotate(rgb, tile.context)))
            contexts.append(tile.context)
        checkpoint.save(
            cache, {"images": torch.stack(images), "masks": torch.stack(masks)}, {"contexts": contexts}
        )
    tensors, config = checkpoint.load(cache)
    return tensors["images"], tensors["masks"], config["contexts"]


def pairs() -> tuple[Tensor, Tensor]:
    """The authors' published synthetic pairs, stain-normalised: uint8 (N, 512, 512, 3) and (N, 512, 512).

    The eight real patches stay out: they are the test of full-size reconstruction and of inpainting.
    """
    tiles = list(catalog.load("diffinfinite-lung", kind="synthetic image", normalised=True))
    return torch.stack([torch.from_numpy(to_rgb(t.image)) for t in tiles]), torch.stack(
        [t.mask for t in tiles]
    )


def _pictures(cache: Path) -> Tensor:
    """What autoencoder and decoder see: the training tiles and the four corners of every published pair."""
    tiles, published = training_tiles(cache)[0], pairs()[0]
    side = tiles.shape[1]
    corners = [published[:, y, x] for y in (slice(side), slice(-side, None)) for x in (slice(side), slice(-side, None))]
    return torch.cat([tiles, *corners])


def autoencoder(out: Path, steps: int | None = None) -> Recipe:
    """L1 on pixels and edges, 16 crops of 128 px a step."""
    steps = steps or 3000
    torch.manual_seed(0)
    images = _pictures(out.parent / "tiles.safetensors")
    model = LiteAutoencoder().to(memory_format=torch.channels_last).train()
    loss = autoencoder_loss(model, images, bf16=checkpoint.bf16_helps())
    for progress in fit(model, loss, steps=steps, peak_lr=7e-4, out=out):
        yield progress, steps


def decoder(out: Path, steps: int | None = None) -> Recipe:
    """Adversarial and perceptual fine-tuning of the decoder alone, 8 crops of 128 px a step."""
    steps = steps or 1000
    torch.manual_seed(0)
    images = _pictures(out.parent / "tiles.safetensors")
    network = EfficientNetLite0.pretrained().eval().requires_grad_(False)
    model = Sharpener(_trained(out.parent / "autoencoder")).to(memory_format=torch.channels_last)
    loss = sharpening_loss(model, images, network.taps, bf16=checkpoint.bf16_helps())
    for progress in fit(
        model,
        loss,
        steps=steps,
        peak_lr=3e-4,
        out=out,
        ema_decay=0.995,
        parameters=model.trained_parameters(),
    ):
        yield progress, steps


def image(out: Path, steps: int | None = None) -> Recipe:
    """Alg. 1: v-prediction on patches of 16 x 16 (32 a step), then 28 x 28 latents (12 a step), p_unc = 0.5."""
    steps = steps or 20_000
    torch.manual_seed(0)
    out.mkdir(parents=True, exist_ok=True)
    latents = out / "latents.safetensors"
    if not latents.exists():
        images, masks, contexts = training_tiles(out.parent / "tiles.safetensors")
        encoder = _trained(out.parent / "autoencoder").to(memory_format=torch.channels_last)
        more_images, more_masks = pairs()
        conditions = torch.stack(
            [condition_map(m, c) for m, c in zip(pool_mask(masks), contexts, strict=True)]
        )
        checkpoint.save(
            latents,
            {
                "tiles": encode_tiles(encoder, images),
                "conditions": conditions,
                "pairs": encode_tiles(encoder, more_images, 4),
                "pair_conditions": condition_map(pool_mask(more_masks)),
            },
            {},
        )
    data = checkpoint.load(latents)[0]
    model = MaskUNet(data["tiles"].shape[1]).to(memory_format=torch.channels_last)
    model.config["patch"] = PATCH_PX

    def patches(side: int, batch: int) -> Loss:
        return image_loss(
            model,
            cosine_alphas(),
            data["tiles"],
            [(data["tiles"], data["conditions"]), (data["pairs"], data["pair_conditions"])],
            patch=side,
            batch=batch,
            bf16=checkpoint.bf16_helps(),
        )

    small, large = patches(SMALL_PX // 8, 32), patches(PATCH_PX // 8, 12)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return (small if step < SMALL_SHARE * steps else large)(step, generator)

    for progress in fit(model, loss, steps=steps, peak_lr=6e-4, out=out):
        yield progress, steps


def mask(out: Path, steps: int | None = None) -> Recipe:
    """Label maps of 32 x 32 cells of 16 px under a context prompt, from simulated layouts (512 of each pattern)."""
    steps = steps or 1500
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    shrink = CELL // 8
    labels, conditions = [], []
    for context in CONTEXTS[1:]:
        for _ in range(512):
            labels.append(torch.from_numpy(layout(context, (PATCH * shrink,) * 2, rng)))
            conditions.append(prompt(context, (PATCH, PATCH)))
    cells = one_hot(pool_mask(torch.stack(labels), shrink))
    model = MaskUNet(cells.shape[1], MASK_WIDTHS).to(memory_format=torch.channels_last)
    loss = image_loss(
        model,
        cosine_alphas(),
        cells,
        [(cells, torch.stack(conditions))],
        patch=PATCH,
        batch=16,
        p_unc=0.1,
        single_label=0,
        bf16=checkpoint.bf16_helps(),
    )
    for progress in fit(model, loss, steps=steps, peak_lr=8e-4, out=out):
        yield progress, steps


def export(runs: Path, weights: Path) -> dict[str, str]:
    """Copy the averaged weights in half precision to the package and write their SHA-256 beside them.

    The decoder of the sharpened autoencoder is taken where there is one.

    Returns
    -------
    dict of file name (without suffix) to SHA-256
    """
    files = {"autoencoder": runs / "autoencoder", "image": runs / "image", "mask": runs / "mask"}
    hashes = {}
    for name, folder in files.items():
        tensors, config = checkpoint.load(folder / "ema.safetensors")
        if name == "autoencoder" and (runs / "decoder" / "ema.safetensors").exists():
            sharpened = checkpoint.load(runs / "decoder" / "ema.safetensors")[0]
            tensors = {key: sharpened[f"autoencoder.{key}"] for key in tensors}
        checkpoint.save(weights / f"{name}.safetensors", tensors, config)
        hashes[name] = checkpoint.sha256(weights / f"{name}.safetensors")
    (weights / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
    return hashes


def _trained(folder: Path) -> LiteAutoencoder:
    if not (folder / "ema.safetensors").exists():
        raise FileNotFoundError(
            f"expected a trained autoencoder in {folder}: run diffinfinite train autoencoder first"
        )
    return checkpoint.load_weights(folder / "ema.safetensors", LiteAutoencoder)
