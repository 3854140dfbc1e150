r"""What a longer training changed in a network, rounded to four bits a weight: written for `models.lowbit`.

    W' = W + s_i q_ij,   q_ij in -8..7

The step s_i of a row is four tenths of the root mean square of its change. Small multiples are frequent, so that git's
compression saves another bit of the four.

Rounding each weight by itself would undo much of the training. `quantise` rounds one column after the other and lets
the columns still to come make up for the error in the layer's output (Frantar et al. 2023, arXiv 2210.17323):

    min_Q |(W' - W - Q) X|^2,   X the inputs of the layer, known by their second moments X X^T.

This module goes, with `models.lowbit`, when new weights replace the shipped update (docs/adr/0009).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

STEP = 0.4  # between two multiples, in root mean squares of a row
LOWEST, HIGHEST = -8, 7
DAMPING = 0.01  # of the mean second moment, added to all: inputs that never occur leave their weights undetermined
BLOCK = 128  # columns after which the corrections reach the rest of the matrix
POSITIONS = 4096  # of each call's inputs that count towards the second moments


def pack(multiples: Tensor) -> Tensor:
    """Whole numbers -8..7 of any shape to bytes, two in each.

    >>> pack(torch.tensor([-8, 7, 0])).tolist()
    [15, 128]
    """
    nibbles = (multiples.flatten().to(torch.int16) + 8).to(torch.uint8)  # 0..15
    pairs = F.pad(nibbles, (0, multiples.numel() % 2)).view(-1, 2)
    return pairs[:, 0] << 4 | pairs[:, 1]


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

    def watch(name: str, layer: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
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
    """Changes of a network's tensors as `models.lowbit.add` reads them: ``name.multiples`` and ``name.scale``.

    What has no second moments (vectors, embeddings) stays a tensor in half precision.
    """
    update = {}
    for name, change in changes.items():
        if name not in moments:
            update[name] = change.half()
            continue
        multiples, scale = quantise(change.flatten(1), moments[name])
        update[f"{name}.multiples"], update[f"{name}.scale"] = pack(multiples), scale.half()
    return update
