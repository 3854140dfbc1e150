r"""What a longer training changed in a network, read from four bits a weight: :math:`W' = W + s_i q_{ij}`, q in -8..7.

The weights in the repository may weigh 150 MB with all their history, and the image model alone takes 34 MB. So a
longer training ships as its difference to the weights before it (Liu et al. 2024 do so for language models): the
change of every matrix row in multiples of a step of its own, two multiples in a byte; vectors and embeddings in half
precision.
`training.lowbit_encoder` writes such files. Both modules go when new weights replace the shipped update.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from . import checkpoint
from .five_codes import with_air
from .unet import MaskUNet


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Bytes (n,), uint8, that hold two whole numbers -8..7 each, as int8 of a shape.

    Raises
    ------
    RuntimeError
        If the bytes hold another count of numbers than the shape.

    >>> unpack(torch.tensor([15, 128], dtype=torch.uint8), (3,)).tolist()
    [-8, 7, 0]
    """
    count = torch.Size(shape).numel()
    return (torch.stack([packed >> 4, packed & 15], dim=1).flatten()[:count].to(torch.int8) - 8).view(shape)


def load_update(network: MaskUNet, path: Path) -> None:
    """Add an update to a network and set the gain that was found for it (see `denoiser`)."""
    update, config = checkpoint.load(path)
    network.load_state_dict(add(network.state_dict(), with_air(update)))
    network.gain = config["gain"]


def add(weights: dict[str, Tensor], update: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in single precision, with the changes of an update.

    Raises
    ------
    ValueError
        If the update belongs to another network.
    """
    changed = {name: weight.float() for name, weight in weights.items()}
    for key, stored in update.items():
        name = key.removesuffix(".multiples").removesuffix(".scale")
        try:
            shape = changed[name].shape
            if key.endswith(".multiples"):
                rows = unpack(stored, shape).flatten(1) * update[f"{name}.scale"].float()
                changed[name] = changed[name] + rows.view(shape)
            elif key == name:
                changed[name] = changed[name] + stored.float()
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"the update of {name} does not fit the network: {error}") from error
    return changed
