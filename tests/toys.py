"""Small networks of the tests: exact arithmetic instead of weights, or the real architectures with few channels."""

import json
from pathlib import Path
from unittest import mock

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from diffinfinite_lite.labels import CELL_PX, LABELS, PROMPTS
from diffinfinite_lite.models import checkpoint, unet
from diffinfinite_lite.models.appearance import Appearance
from diffinfinite_lite.models.autoencoder import LiteAutoencoder
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.draft import Draft
from diffinfinite_lite.models.unet import MaskUNet


class Arithmetic:
    """Depends on state, label and neighbours by additions and multiplications: its bits do not depend on batches."""

    prediction_type = "epsilon"

    def __call__(self, z, t, condition):
        label = condition[:, None].to(z.dtype)
        return 0.7 * z + 0.1 * (z.roll(1, -1) + label.roll(1, -2)) + 0.02 * label * z


class Averages(nn.Module):
    """An autoencoder without context: a latent is the mean of its `CELL_PX` x `CELL_PX` px, and paints them."""

    latent_channels, factor = 3, CELL_PX

    def encode(self, images):
        return avg_pool2d(images, CELL_PX)

    def decode(self, latents):
        return 0.3 * latents.repeat_interleave(CELL_PX, -1).repeat_interleave(CELL_PX, -2)


def random_mask(height=20, width=13, seed=0):
    """Labels 0 to 3 (height, width), int64."""
    return torch.randint(4, (height, width), generator=torch.Generator().manual_seed(seed))


def tiny_model(
    folder: Path,
    *,
    draft: bool = False,
    students: bool = False,
    codes: int = len(LABELS),
    borders: str = "zero",
    patch: int = 64,
) -> Path:
    """An exported model with random weights: every layer takes part, also those that start at zero.

    With ``draft`` it has two stages, with ``students`` a student of each, too, with reflected ``borders`` a margin;
    with ``codes=5`` it is as an earlier version wrote it. ``patch`` is in px.
    """
    torch.manual_seed(0)
    with mock.patch.object(unet, "CONDITIONS", codes * len(PROMPTS)):
        parts = {
            "autoencoder": (LiteAutoencoder(8, (8, 8, 16), (1, 1, 1), (1, 1, 1), borders=borders), {}),
            "image": (MaskUNet(8, (32, 32)), {"patch": patch}),
            "mask": (MaskUNet(codes, (32, 32)), {}),
        }
        if draft:
            parts["image"] = Detail(8, (32, 32)), {"patch": patch}
            parts["draft"] = Draft((32, 32), (0.7, 0.45, 0.8), (0.25, 0.4, 0.15)), {}
            parts["appearance"] = Appearance(components=2), {}
        if students:
            parts["image_student"] = Detail(8, (32, 32)), {"patch": patch, "steps": 4, "omega": 0.0}
            parts["draft_student"] = Draft((32, 32), (0.7, 0.45, 0.8), (0.25, 0.4, 0.15)), {"steps": 4, "omega": 0.0}
    hashes = {}
    for name, (model, more) in parts.items():
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.copy_(torch.randn(tensor.shape) * (tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.1))
            if name == "appearance":
                model.means.normal_()
        state = model.state_dict().items()
        weights = {key: value.half() if value.is_floating_point() else value for key, value in state}
        checkpoint.save(folder / f"{name}.safetensors", weights, {**model.config, **more})
        hashes[name] = checkpoint.sha256(folder / f"{name}.safetensors")
    (folder / "hashes.json").write_text(json.dumps(hashes))
    return folder


def train_on(folder: Path) -> Path:
    """Change an exported model as later training did: a decoder in a file of its own."""
    draw, hashes = torch.Generator().manual_seed(0), json.loads((folder / "hashes.json").read_text())
    tensors, config = checkpoint.load(folder / "autoencoder.safetensors")
    before = {key: value for key, value in tensors.items() if key.startswith("decoder.")}
    changed = {key: (value + 0.1 * torch.randn(value.shape, generator=draw)).half() for key, value in before.items()}
    checkpoint.save(folder / "decoder.safetensors", changed, config)
    hashes["decoder"] = checkpoint.sha256(folder / "decoder.safetensors")
    (folder / "hashes.json").write_text(json.dumps(hashes))
    return folder
