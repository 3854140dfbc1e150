"""How the models are trained: data, sizes, steps. `diffinfinite train NAME` runs one of these generators.

Each yields (`Progress`, total steps), can be killed at any moment and goes on when started again. The order is
autoencoder, decoder (sharpening), image, mask; decoder and image need the autoencoder's weights, the others need none.

Without a folder of one's own the data are LC25000's training clusters with pseudo-annotations, and the 84 pairs that
the paper's authors published. With one, its pictures take their place, and those that have a mask are the labelled set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn

from . import catalog, checkpoint, stain
from .annotate import annotate
from .autoencoder import Autoencoder, LiteAutoencoder, load_diffusers
from .efficientnet import EfficientNetLite0
from .layouts import layout
from .masks import CELL, PATCH, one_hot, prompt
from .noise import cosine_alphas
from .sharpen import Sharpener, sharpening_loss
from .tiles import Tile, cut, read_folder, readable, to_rgb
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
MPP = 0.5  # um/px that one's own pictures are brought to
PATCH_PX = 224  # of the image model; a whole training tile
SMALL_PX, SMALL_SHARE = 128, 0.6  # texture is learnt on smaller patches first: more of them in the same time
MASK_WIDTHS = (64, 96, 128)


@dataclass(frozen=True)
class Setting:
    """What all recipes share.

    Attributes
    ----------
    runs : folder for checkpoints, logs and what is computed once.
    data : folder of one's own pictures (see `tiles.read_folder`), or None for the public sets. A first folder level
        called after a context (adenocarcinoma, squamous, normal) is taken as the pictures' context.
    mpp : micrometres per pixel of the pictures in ``data``.
    vae : a diffusers autoencoder (name on the hub or folder) in place of our own, or None.
    device : "cpu", "cuda"; the GPU of this process where there is one by default.
    """

    runs: Path
    data: Path | None = None
    mpp: float = MPP
    vae: str | None = None
    device: str = field(default_factory=lambda: str(PartialState().device))

    @property
    def bf16(self) -> bool:
        return self.device != "cpu" or checkpoint.bf16_helps()

    def place(self, model: nn.Module) -> nn.Module:
        return model.to(self.device, memory_format=torch.channels_last)


def training_tiles(setting: Setting) -> tuple[Tensor, Tensor, list[str]]:
    """Stain-normalised tiles with their (pseudo-)annotations; made once and kept in ``runs/tiles.safetensors``.

    Returns
    -------
    images uint8 (N, 224, 224, 3), masks uint8 (N, 224, 224), contexts.

    Raises
    ------
    ValueError
        If the kept tiles were made from another folder, or a folder holds no usable picture.
    """
    cache, source = setting.runs / "tiles.safetensors", str(setting.data or "lc25000-lung")
    if not cache.exists():
        images, masks, contexts = [], [], []
        for rgb, mask, context in _own(setting) if setting.data else _public():
            images.append(torch.from_numpy(rgb))
            masks.append(torch.from_numpy(mask))
            contexts.append(context)
        config = {"contexts": contexts, "source": source}
        checkpoint.save(cache, {"images": torch.stack(images), "masks": torch.stack(masks)}, config)
    tensors, config = checkpoint.load(cache)
    if config.get("source", source) != source:
        found = config["source"]
        raise ValueError(f"expected tiles of {source} in {cache}, got those of {found}: choose another --out")
    return tensors["images"], tensors["masks"], config["contexts"]


def _public() -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    for tile in catalog.load("lc25000-lung", "train", normalised=True):
        rgb = to_rgb(tile.image)
        yield rgb, annotate(rgb, tile.context), tile.context


def _own(setting: Setting) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    whole = read_folder(setting.data, mpp=setting.mpp)
    tiles = [patch for patches in readable(whole, lambda t: list(cut(t, PATCH_PX, MPP)), _name) for patch in patches]
    pictures = [to_rgb(tile.image) for tile in tiles]
    profile = stain.fit_profile(pictures)
    for tile, rgb in zip(tiles, pictures, strict=True):
        first = Path(tile.name).parts[0]
        yield stain.normalise(rgb, profile), tile.mask.numpy(), first if first in CONTEXTS else CONTEXTS[0]


def _name(tile: Tile) -> str:
    return tile.name


def pairs() -> tuple[Tensor, Tensor]:
    """The authors' published synthetic pairs, stain-normalised: uint8 (N, 512, 512, 3) and (N, 512, 512).

    The eight real patches stay out: they are the test of full-size reconstruction and of inpainting.
    """
    tiles = list(catalog.load("diffinfinite-lung", kind="synthetic image", normalised=True))
    return torch.stack([torch.from_numpy(to_rgb(t.image)) for t in tiles]), torch.stack([t.mask for t in tiles])


def _pictures(setting: Setting) -> Tensor:
    """What autoencoder and decoder see: the training tiles, and the four corners of every published pair."""
    tiles = training_tiles(setting)[0]
    if setting.data:
        return tiles
    published, ends = pairs()[0], (slice(PATCH_PX), slice(-PATCH_PX, None))
    return torch.cat([tiles, *(published[:, rows, columns] for rows in ends for columns in ends)])


def autoencoder(setting: Setting, steps: int | None = None) -> Recipe:
    """L1 on pixels and edges, 16 crops of 128 px a step."""
    steps = steps or 3000
    torch.manual_seed(0)
    model = setting.place(LiteAutoencoder()).train()
    loss = autoencoder_loss(model, _pictures(setting), bf16=setting.bf16, device=setting.device)
    for progress in fit(model, loss, steps=steps, peak_lr=7e-4, out=setting.runs / "autoencoder"):
        yield progress, steps


def decoder(setting: Setting, steps: int | None = None) -> Recipe:
    """Adversarial and perceptual fine-tuning of the decoder alone, 8 crops of 128 px a step."""
    steps = steps or 1000
    torch.manual_seed(0)
    network = setting.place(EfficientNetLite0.pretrained().eval().requires_grad_(False))
    model = setting.place(Sharpener(_trained(setting)))
    loss = sharpening_loss(model, _pictures(setting), network.taps, bf16=setting.bf16, device=setting.device)
    for progress in fit(
        model,
        loss,
        steps=steps,
        peak_lr=3e-4,
        out=setting.runs / "decoder",
        ema_decay=0.995,
        parameters=model.trained_parameters(),
    ):
        yield progress, steps


def _latents(setting: Setting) -> dict[str, Tensor]:
    """Latents and condition maps of all sets, made once: {"q0": z, "z0": z, "c0": conditions, "z1": ...}."""
    kept = setting.runs / "image" / "latents.safetensors"
    if not kept.exists():
        encoder = setting.place(load_diffusers(setting.vae) if setting.vae else _trained(setting))
        images, masks, contexts = training_tiles(setting)
        conditions = torch.stack([condition_map(m, c) for m, c in zip(pool_mask(masks), contexts, strict=True)])
        latents = encode_tiles(encoder, images, bf16=setting.bf16, device=setting.device)
        labelled = (conditions % 5 > 0).flatten(1).any(dim=1)
        sets = {"q0": latents, "z0": latents[labelled], "c0": conditions[labelled]}
        if not setting.data:
            images, masks = pairs()
            sets["z1"] = encode_tiles(encoder, images, 4, bf16=setting.bf16, device=setting.device)
            sets["c1"] = condition_map(pool_mask(masks))
        checkpoint.save(kept, sets, {})
    return checkpoint.load(kept)[0]


def image(setting: Setting, steps: int | None = None) -> Recipe:
    """Alg. 1: v-prediction on patches of 16 x 16 (32 a step), then 28 x 28 latents (12 a step), p_unc = 0.5."""
    steps = steps or 20_000
    torch.manual_seed(0)
    data = _latents(setting)
    labelled = [(data[f"z{n}"], data[f"c{n}"]) for n in range(2) if len(data.get(f"z{n}", ()))]
    model = setting.place(MaskUNet(data["q0"].shape[1]))
    model.config |= {"patch": PATCH_PX, "vae": setting.vae}

    def patches(side: int, batch: int) -> Loss:
        return image_loss(
            model,
            cosine_alphas(),
            data["q0"],
            labelled,
            p_unc=0.5 if labelled else 1.0,
            patch=side,
            batch=batch,
            bf16=setting.bf16,
            device=setting.device,
        )

    small, large = patches(SMALL_PX // 8, 32), patches(PATCH_PX // 8, 12)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return (small if step < SMALL_SHARE * steps else large)(step, generator)

    for progress in fit(model, loss, steps=steps, peak_lr=6e-4, out=setting.runs / "image"):
        yield progress, steps


def mask(setting: Setting, steps: int | None = None) -> Recipe:
    """Label maps of `PATCH` x `PATCH` cells under a context prompt, from 512 simulated layouts of each pattern."""
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
    model = setting.place(MaskUNet(cells.shape[1], MASK_WIDTHS))
    loss = image_loss(
        model,
        cosine_alphas(),
        cells,
        [(cells, torch.stack(conditions))],
        patch=PATCH,
        batch=16,
        p_unc=0.1,
        single_label=0,
        bf16=setting.bf16,
        device=setting.device,
    )
    for progress in fit(model, loss, steps=steps, peak_lr=8e-4, out=setting.runs / "mask"):
        yield progress, steps


def export(runs: Path, weights: Path) -> dict[str, str]:
    """Copy the averaged weights in half precision to a folder and write their SHA-256 beside them.

    The decoder of the sharpened autoencoder is taken where there is one; a model on a diffusers autoencoder has none of
    ours to copy.

    Returns
    -------
    dict of file name (without suffix) to SHA-256
    """
    hashes = {}
    foreign = checkpoint.load(runs / "image" / "ema.safetensors")[1].get("vae")
    for name in ("image", "mask") if foreign else ("autoencoder", "image", "mask"):
        tensors, config = checkpoint.load(runs / name / "ema.safetensors")
        if name == "autoencoder" and (runs / "decoder" / "ema.safetensors").exists():
            sharpened = checkpoint.load(runs / "decoder" / "ema.safetensors")[0]
            tensors = {key: sharpened[f"autoencoder.{key}"] for key in tensors}
        checkpoint.save(weights / f"{name}.safetensors", tensors, config)
        hashes[name] = checkpoint.sha256(weights / f"{name}.safetensors")
    (weights / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
    return hashes


def _trained(setting: Setting) -> Autoencoder:
    weights = setting.runs / "autoencoder" / "ema.safetensors"
    if not weights.exists():
        raise FileNotFoundError(f"expected an autoencoder in {weights.parent}: run diffinfinite train autoencoder")
    return checkpoint.load_weights(weights, LiteAutoencoder)
