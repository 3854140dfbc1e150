r"""What a longer training changed in a network, in four bits a weight.

    W' = W + s_i q_ij,   q_ij in -8..7

The weights in the repository may weigh 150 MB with all their history, and the image model alone takes 34 MB. So a
longer training is shipped as its difference to the weights that are there (Liu et al. 2024 do so for language models):
the change of every matrix row in multiples of four tenths of its own root mean square; vectors and embeddings in half
precision. Small multiples are frequent, so that git's compression saves another bit of the four.

Rounding each weight by itself would undo much of the training. `quantise` rounds one column after the other and lets
the columns still to come make up for the error in what the layer *answers* (Frantar et al. 2023, arXiv 2210.17323):

    min_Q |(W' - W - Q) X|^2,   X the inputs of the layer, known by their second moments X X^T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import checkpoint

STEP = 0.4  # between two multiples, in root mean squares of a row
LOWEST, HIGHEST = -8, 7
DAMPING = 0.01  # of the mean second moment, added to all: inputs that never occur leave their weights undetermined
BLOCK = 128  # columns whose corrections reach the rest of the matrix together
POSITIONS = 4096  # of each call's inputs that count towards the second moments


def pack(multiples: Tensor) -> Tensor:
    """Whole numbers -8..7 of any shape to bytes, two in each.

    >>> pack(torch.tensor([-8, 7, 0])).tolist(), unpack(pack(torch.tensor([-8, 7, 0])), (3,)).tolist()
    ([15, 128], [-8, 7, 0])
    """
    pairs = F.pad(multiples.flatten().to(torch.uint8) + 8 & 15, (0, multiples.numel() % 2)).view(-1, 2)
    return pairs[:, 0] << 4 | pairs[:, 1]


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`pack` undone, int8; a RuntimeError if there are not as many numbers as the shape asks for."""
    count = torch.Size(shape).numel()
    return (torch.stack([packed >> 4, packed & 15], dim=1).flatten()[:count].to(torch.int8) - 8).view(shape)


def quantise(change: Tensor, moments: Tensor) -> tuple[Tensor, Tensor]:
    """A change of weights (m, n) as multiples (m, n), int8, of row scales (m, 1).

    Parameters
    ----------
    moments : second moments X X^T (n, n) of what the matrix is multiplied with.
    """
    left = change.float().clone()
    scale = (STEP * left.square().mean(dim=1, keepdim=True).sqrt()).clamp_min(1e-6).half().float()
    multiples = torch.empty(left.shape, dtype=torch.int8)
    n = len(moments)
    damped = moments.double() + DAMPING * moments.diagonal().mean().double() * torch.eye(n, dtype=torch.double)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    u = torch.linalg.cholesky(inverse, upper=True).float()
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        errors = torch.zeros(len(left), stop - start)
        for j in range(start, stop):
            rounded = (left[:, j] / scale[:, 0]).round().clamp(LOWEST, HIGHEST)
            multiples[:, j] = rounded.to(torch.int8)
            error = (left[:, j] - scale[:, 0] * rounded) / u[j, j]
            left[:, j:stop] -= error[:, None] * u[j, j:stop]
            errors[:, j - start] = error
        left[:, stop:] -= errors @ u[start:stop, stop:]
    return multiples, scale


def second_moments(network: nn.Module, calls: Iterable[Callable[[], object]]) -> dict[str, Tensor]:
    """Mean second moments (n, n) of the inputs of each convolution and linear layer, by the name of its weight.

    Parameters
    ----------
    calls : each runs the network once on inputs as it will meet them.
    """
    sums: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Module):
        def hook(_, inputs):
            x = inputs[0].detach().float()
            if isinstance(layer, nn.Conv2d):
                x = F.unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride).transpose(1, 2)
            x = x.reshape(-1, x.shape[-1])
            x = x[torch.linspace(0, len(x) - 1, min(POSITIONS, len(x))).long()]
            with torch.autocast(x.device.type, enabled=False):  # half precision would leave no positive definite matrix
                sums[name] = sums.get(name, 0) + x.T @ x / len(x)

        return layer.register_forward_pre_hook(hook)

    hooks = [
        watch(f"{name}.weight", layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        for call in calls:
            call()
    for hook in hooks:
        hook.remove()
    return sums


def compress(changes: dict[str, Tensor], moments: dict[str, Tensor]) -> dict[str, Tensor]:
    """Changes of a network's tensors as what `add` reads: ``name.multiples`` and ``name.scale``.

    What has no second moments (vectors, embeddings) is kept in half precision.
    """
    update = {}
    for name, change in changes.items():
        if name not in moments:
            update[name] = change.half()
            continue
        multiples, scale = quantise(change.flatten(1), moments[name])
        update[f"{name}.multiples"], update[f"{name}.scale"] = pack(multiples), scale.half()
    return update


def load_update(network: nn.Module, path: Path) -> None:
    """Add an update to a network and set the gain that it asks for (`denoiser`)."""
    update, config = checkpoint.load(path)
    network.load_state_dict(add(network.state_dict(), update))
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
