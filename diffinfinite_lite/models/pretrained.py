"""TODO."""

from __future__ import annotations

import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..sampling.guidance import Autoguided
from . import checkpoint, lowbit
from .autoencoder import Autoencoder, load_diffusers, load_lite
from .checkpoint import load_weights
from .unet import MaskUNet

WEIGHTS = Path(__file__).parents[1] / "weights"


def provenance(weights: Path) -> dict:
    """What a result was made with: hashes of the weights (checked by `load_models`) and versions."""
    return {
        "weights": expected_hashes(weights),
        "versions": {name: version(name) for name in ("diffinfinite_lite", "torch", "diffusers", "numpy")},
        "python": platform.python_version(),
    }


def expected_hashes(weights: Path = WEIGHTS) -> dict[str, str]:
    """SHA-256 of every weight file of a model by name.

    Raises
    ------
    ValueError
        If the folder holds no exported model.
    """
    if not (weights / "hashes.json").is_file():
        raise ValueError(f"expected a model in {weights} (diffinfinite train export writes one), found no hashes.json")
    return json.loads((weights / "hashes.json").read_text())


def trained_patch(weights: Path = WEIGHTS) -> int:
    """Side of the patches that the image model was trained on, px."""
    expected_hashes(weights)  # refuses a folder that holds no model
    return checkpoint.load(weights / "image.safetensors")[1]["patch"]


def load_models(weights: Path = WEIGHTS) -> tuple[Autoencoder, MaskUNet, MaskUNet]:
    """Autoencoder, image model and mask model of a folder, hashes checked.

    Raises
    ------
    ValueError
        If a file is missing, was changed or cut short.
    """
    return _load_models(Path(weights))


@cache  # by the folder alone, whether it was named or not
def _load_models(weights: Path) -> tuple[Autoencoder, MaskUNet, MaskUNet]:
    for name, expected in expected_hashes(weights).items():
        path = weights / f"{name}.safetensors"
        if not path.is_file():
            raise ValueError(f"expected weights at {path}, found none: install or export the model again")
        found = checkpoint.sha256(path)
        if found != expected:
            what = f"expected {path.name} with SHA-256 {expected[:12]}..., got {found[:12]}..."
            raise ValueError(f"{what}: the file was changed or cut short")
    files, image = expected_hashes(weights), load_unet(weights / "image.safetensors")
    if "image_update" in files:
        lowbit.load_update(image, weights / "image_update.safetensors")
    return (
        load_diffusers(vae) if (vae := image.config.get("vae")) else load_lite(weights, sharpened="decoder" in files),
        image,
        load_unet(weights / "mask.safetensors"),
    )


def guided(image: MaskUNet, strength: float, weights: Path = WEIGHTS) -> MaskUNet | Autoguided:
    """The image model of a folder, guided by what it was before its update if the strength is not 0.

    A ValueError refuses a strength that is negative or not a number, and a model that never had an update.
    """
    if strength == 0:
        return image
    if "image_update" not in expected_hashes(weights):
        raise ValueError(f"expected a model with an earlier version of itself for autoguidance {strength}, got none")
    earlier = load_unet(weights / "image.safetensors").to(next(image.parameters()).device)
    return Autoguided(image, earlier, strength)


def load_unet(path: Path) -> MaskUNet:
    """The network of a weights file, with all that is written there in its ``config``."""

    def build(latent_channels: int, widths: list[int], **more: Any) -> MaskUNet:
        network = MaskUNet(latent_channels, widths)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        network.config |= more
        return network

    return load_weights(path, build)
