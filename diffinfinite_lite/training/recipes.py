"""How the models are trained: data, sizes, steps. `diffinfinite train NAME` runs one of these generators.

Each yields (`Progress`, total steps), can be killed at any moment and goes on when started again. The order is
autoencoder, decoder, image, update (the image model once more, for a GPU), mask; decoder and image need
the autoencoder's weights, update those of image, the others need none. What they learn from is in `data`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ..extras import extra
from ..files import staged
from ..labels import CELL_PX, LABELS, condition_map, pool_mask
from ..models import checkpoint, pretrained
from ..models.autoencoder import LiteAutoencoder, load_diffusers
from ..models.efficientnet import EfficientNetLite0
from ..models.pretrained import load_lite
from ..models.unet import MaskUNet
from ..pipelines.masks import PATCH, SCALE, one_hot
from ..sampling.solvers import cosine_alphas
from .data import (
    PATCH_PX,
    Setting,
    cached_tiles,
    encode_tiles,
    own_masks,
    pairs,
    real_pictures,
    simulated_masks,
    training_tiles,
)
from .loop import Loss, Optimisation, Progress, batch_generator, fit
from .losses import Crops, Draws, autoencoder_loss, image_loss
from .lowbit_encoder import compress, second_moments
from .sharpening import Sharpener, Sharpening, sharpening_loss, smoothed

with extra("train"):
    from accelerate import PartialState


Recipe = Iterator[tuple[Progress, int]]
SMALL_PX, SMALL_SHARE = 128, 0.3  # texture is learnt on smaller patches first: more of them in the same time
MASK_WIDTHS = (64, 96, 128)
UPDATE_BATCH = 256  # patches of 28 x 28 latents: what keeps a GPU busy
CALIBRATION = 8  # batches of 16 patches whose inputs decide how an update is rounded
GAIN = 1.02  # found for the shipped update (docs/adr/0009); a model trained longer wants less, 1 in the end


def _pictures(setting: Setting) -> Tensor:
    """What the autoencoder sees: the training tiles, and the four corners of every published pair."""
    tiles = training_tiles(setting)[0]
    if setting.data:
        return tiles
    published, ends = pairs()[0], (slice(PATCH_PX), slice(-PATCH_PX, None))
    return torch.cat([tiles, *(published[:, rows, columns] for rows in ends for columns in ends)])


def total_steps(steps: int | None, usual: int) -> int:
    """How many steps a model is trained for in all, the recipe's own number where none is given.

    Raises
    ------
    ValueError
        If it is no whole number from 1.
    """
    if steps is None:
        return usual
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"expected a whole number of steps from 1, got {steps!r}")
    return steps


def autoencoder(setting: Setting, steps: int | None = None) -> Recipe:
    """L1 on pixels and edges, 16 crops of 128 px a step."""
    steps = total_steps(steps, 3000)
    torch.manual_seed(0)
    model = setting.place(LiteAutoencoder(upsampling="nearest", borders="reflected")).train()
    loss = autoencoder_loss(model, _pictures(setting), Crops(size=128, batch=16), setting.compute)
    for progress in fit(model, loss, Optimisation(steps, peak_lr=7e-4), out=setting.runs / "autoencoder"):
        yield progress, steps


def decoder(setting: Setting, steps: int | None = None) -> Recipe:
    """A smooth decoder for the latents as they are, against two critics; the encoder is not touched.

    It is that of ``train autoencoder`` in the same folder or, where there is none, the shipped one. A step is 4 crops
    of 144 px on a CPU, 32 on a GPU.
    """
    steps = total_steps(steps, 30_000)
    torch.manual_seed(0)
    network = setting.place(EfficientNetLite0.pretrained().eval().requires_grad_(False))
    own = (setting.runs / "autoencoder" / "ema.safetensors").exists()
    frozen = setting.place(_trained_autoencoder(setting) if own else load_lite(pretrained.WEIGHTS))
    pictures, out = real_pictures(setting), setting.runs / "decoder"
    started = (out / "state.safetensors").exists()
    begun = frozen.new_decoder() if started else smoothed(frozen, pictures, setting.compute)
    channels = [tap.shape[1] for tap in network.taps(torch.zeros(1, 3, 64, 64, device=setting.device))]
    model = setting.place(Sharpener(frozen, begun, channels))
    sharpening = Sharpening(batch=4 if setting.device == "cpu" else 32)
    loss = sharpening_loss(model, pictures, network.taps, sharpening, setting.compute)
    optimisation = Optimisation(steps, 2e-4, ema_decay=0.998, save_every=100, warmup=0.01, decay=0.25)
    for progress in fit(model, loss, optimisation, out=out, parameters=model.trained_parameters()):
        yield progress, steps


def _latents(setting: Setting, cache: Path, orientations: int = 1) -> dict[str, Tensor]:
    """Latents and condition maps of all sets, made once: {"q0": z, "z0": z, "c0": conditions, "z1": ...}."""
    with PartialState().main_process_first():
        if not cache.exists():
            checkpoint.save(cache, _encode(setting, orientations), {})
    return checkpoint.load(cache)[0]


def _encode(setting: Setting, orientations: int) -> dict[str, Tensor]:
    """See `_latents`; the encoder sees each picture in so many of its eight orientations."""
    encoder = setting.place(load_diffusers(setting.vae) if setting.vae else _trained_autoencoder(setting)).eval()
    images, masks, contexts = cached_tiles(setting)
    conditions = torch.stack([condition_map(m, c) for m, c in zip(pool_mask(masks), contexts, strict=True)])

    def encode(images: Tensor, batch: int) -> Tensor:
        seen = (turned(images, n) for n in range(orientations))
        return torch.cat([encode_tiles(encoder, x, setting.compute, batch) for x in seen])

    latents, conditions = encode(images, 16), torch.cat([turned(conditions, n) for n in range(orientations)])
    labelled = (conditions % len(LABELS) > 0).flatten(1).any(dim=1)
    sets = {"q0": latents, "z0": latents[labelled], "c0": conditions[labelled]}
    if not setting.data:
        images, masks = pairs()
        sets["z1"], conditions = encode(images, 4), condition_map(pool_mask(masks))
        sets["c1"] = torch.cat([turned(conditions, n) for n in range(orientations)])
    return sets


def turned(pictures: Tensor, orientation: int) -> Tensor:
    """Pictures or maps (N, H, W, ...) in one of eight orientations: quarter turns, from 4 on mirrored."""
    pictures = torch.rot90(pictures, orientation % 4, (1, 2))
    return pictures.flip(2) if orientation >= 4 else pictures


def _image_loss(
    model: nn.Module, data: dict[str, Tensor], setting: Setting, patch: int, batch: int, middle: float = 0.0
) -> Loss:
    labelled = [(data[f"z{n}"], data[f"c{n}"]) for n in range(2) if len(data.get(f"z{n}", ()))]
    draws = Draws(p_unc=0.5 if labelled else 1.0, patch=patch, batch=batch, middle=middle)
    return image_loss(model, cosine_alphas(), data["q0"], labelled, draws, setting.compute)


def image(setting: Setting, steps: int | None = None) -> Recipe:
    """Alg. 1: v-prediction on patches of 16 x 16 (32 a step), then 28 x 28 latents (12 a step), p_unc = 0.5."""
    steps = total_steps(steps, 20_000)
    torch.manual_seed(0)
    data = _latents(setting, setting.runs / "image" / "latents.safetensors")
    model = setting.place(MaskUNet(data["q0"].shape[1]))
    model.config |= {"patch": PATCH_PX, "vae": setting.vae}

    small = _image_loss(model, data, setting, SMALL_PX // CELL_PX, 32)
    large = _image_loss(model, data, setting, PATCH_PX // CELL_PX, 12)

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        return (small if step < SMALL_SHARE * steps else large)(step, generator)

    for progress in fit(model, loss, Optimisation(steps, peak_lr=6e-4), out=setting.runs / "image"):
        yield progress, steps


def update(setting: Setting, steps: int | None = None) -> Recipe:
    """The image model trained on, for a GPU: 256 patches a step in all eight orientations, middle noise more often.

    That is where it had learnt least: started from real latents at 600 of 1000 steps of noise, its tiles were already
    as alike as from pure noise. `export` ships the result as a difference (`lowbit`).
    """
    steps = total_steps(steps, 5500)
    torch.manual_seed(0)
    model = setting.place(_image_model(setting.runs / "image"))
    setting = replace(setting, vae=model.config.get("vae"))
    data = _latents(setting, setting.runs / "update" / "latents.safetensors", orientations=8)
    loss = _image_loss(model, data, setting, PATCH_PX // CELL_PX, UPDATE_BATCH, middle=0.5)
    for progress in fit(model, loss, Optimisation(steps, peak_lr=6e-4), out=setting.runs / "update"):
        yield progress, steps


def mask(setting: Setting, steps: int | None = None) -> Recipe:
    """Label maps of `PATCH` x `PATCH` cells under a context prompt, from simulated layouts or one's own masks."""
    steps = total_steps(steps, 2500)
    torch.manual_seed(0)
    labels, conditions = own_masks(setting) if setting.data else simulated_masks()
    cells = SCALE * one_hot(labels)
    model = setting.place(MaskUNet(cells.shape[1], MASK_WIDTHS))
    draws = Draws(p_unc=0.1, patch=PATCH, batch=16, single_label=0)
    loss = image_loss(model, cosine_alphas(), cells, [(cells, conditions)], draws, setting.compute)
    for progress in fit(model, loss, Optimisation(steps, peak_lr=8e-4), out=setting.runs / "mask"):
        yield progress, steps


def export(runs: Path, weights: Path) -> dict[str, str]:
    """Copy the averaged weights in half precision to a folder and write their SHA-256 beside them.

    Nothing changes in the folder before all of it is written. A decoder that was trained on its own, and what `update`
    changed in the image model, are files of their own; a model on a diffusers autoencoder has none of ours to copy.

    Returns
    -------
    dict of file name (without suffix) to SHA-256
    """
    image, config = checkpoint.load(runs / "image" / "ema.safetensors")
    files = {"image": (image, config), "mask": checkpoint.load(runs / "mask" / "ema.safetensors")}
    if not config.get("vae"):
        files["autoencoder"] = checkpoint.load(runs / "autoencoder" / "ema.safetensors")
        if (runs / "decoder" / "ema.safetensors").exists():
            files["decoder"] = _decoder(runs)
    if (runs / "update" / "ema.safetensors").exists():
        files["image_update"] = _difference(runs, image)
    hashes = {}
    with staged(weights, "a model") as place:
        for name in sorted(files):
            checkpoint.save(place / f"{name}.safetensors", *files[name])
            hashes[name] = checkpoint.sha256(place / f"{name}.safetensors")
        (place / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")
        for name in (*(f"{name}.safetensors" for name in hashes), "hashes.json"):
            os.replace(place / name, weights / name)
    return hashes


def _decoder(runs: Path) -> tuple[dict[str, Tensor], dict]:
    tensors, config = checkpoint.load(runs / "decoder" / "ema.safetensors")
    return {key: value for key, value in tensors.items() if key.startswith("decoder.")}, config


def _difference(runs: Path, before: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
    """What `update` changed in the image model, rounded for the inputs that its layers get in training."""
    model, setting = _image_model(runs / "update"), Setting(runs, device="cpu")
    data = checkpoint.load(runs / "update" / "latents.safetensors")[0]
    loss = _image_loss(model, data, setting, PATCH_PX // CELL_PX, 16)
    moments = second_moments(model, (partial(loss, n, batch_generator(0, n)) for n in range(CALIBRATION)))
    changes = {name: after - before[name].float() for name, after in model.state_dict().items()}
    return compress(changes, moments), {**model.config, "gain": GAIN}


def _image_model(folder: Path) -> MaskUNet:
    if not (folder / "ema.safetensors").exists():
        raise FileNotFoundError(f"expected an image model in {folder}: run diffinfinite train {folder.name}")
    return pretrained.load_unet(folder / "ema.safetensors")


def _trained_autoencoder(setting: Setting) -> LiteAutoencoder:
    weights = setting.runs / "autoencoder" / "ema.safetensors"
    if not weights.exists():
        raise FileNotFoundError(f"expected an autoencoder in {weights.parent}: run diffinfinite train autoencoder")
    return checkpoint.load_weights(weights, LiteAutoencoder)
