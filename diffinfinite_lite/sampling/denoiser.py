r"""From a network to a noise estimate: batches, label composition, guidance, and as few evaluations as these allow.

The network predicts noise or velocity for crops under label maps at one timestep; label 0 is the null label
:math:`\emptyset`. A `Denoiser` puts objects around it, from the inside out:

- `Network` runs it in batches and counts what that costs;
- `PerLabel` composes a crop with several labels out of one call for each (Alg. 2, lines 7-12): on the map that is n
  where the mask is n and 0 elsewhere; pixel i takes the prediction of its own label. Without it (``dense``) there is
  one call on the whole label map;
- `guidance.ClassifierFree` is eq. 2. The null call is the same for all labels, so that with `PerLabel` a crop costs
  (nonzero labels + 1) evaluations and not 2 per label. With :math:`\omega = 0` there is no such object.

Composing and guiding are done on what the network predicts and converted to noise once: noise is affine in velocity
when z_t is fixed, and the weights of eq. 2 sum to one.

An underfitted network's samples are too alike and too flat: where it does not know, it answers with a mean, and what it
left out at one level is missing from the state at the next. Its *gain* g makes up for that: the clean latent that its
estimate stands for is taken g times (docs/adr/0009-longer-training-in-nine-megabytes.md), which is

.. math:: \epsilon' = \epsilon - (g - 1)\,\sqrt{\alpha_t / (1 - \alpha_t)}\;\hat z_0, \quad
   \hat z_0 = (z_t - \sqrt{1 - \alpha_t}\,\epsilon) / \sqrt{\alpha_t}.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..devices import PRECISIONS, lower_precision
from .cost import Ledger
from .guidance import ClassifierFree, Predictor

CONDITIONINGS = ("dense", "per-label")


class Estimator(Protocol):
    """What the loop asks of a denoiser: `Denoiser` here, `distributed.Workers` on many machines.

    Attributes
    ----------
    alphas_cumprod : float (T,), training schedule.
    batch_size : windows a batch.
    ledger : cost so far.
    """

    alphas_cumprod: Tensor
    batch_size: int
    ledger: Ledger

    @property
    def settings(self) -> dict[str, Any]:
        """All that an estimate depends on, JSON-able."""

    def map(self, batches: Iterable[tuple[Tensor, int, Tensor]]) -> Iterator[Tensor]:
        """Noise estimates of batches (crops, timestep, labels) that do not depend on each other, in their order."""


class Network:
    """A network that predicts in batches; a `guidance.Predictor`.

    Parameters
    ----------
    unet : see `Denoiser`
    batch_size : evaluations per forward pass
    precision, compiled : see `Denoiser`

    Attributes
    ----------
    ledger : `cost.Ledger` since construction.
    """

    def __init__(
        self, unet: Callable[[Tensor, Tensor, Tensor], Tensor], batch_size: int, precision: str, compiled: bool
    ) -> None:
        self.batch_size, self.precision = batch_size, precision
        self.ledger = Ledger()
        self._network = torch.compile(unet) if compiled else unet

    def __call__(self, z: Tensor, t: int, mask: Tensor) -> Tensor:
        """All evaluations in forward passes of at most ``batch_size``; see `guidance.Predictor`."""
        start, output, mask = time.perf_counter(), None, mask.clamp(min=0)
        with lower_precision(z.device, self.precision):
            for first in range(0, len(z), self.batch_size):
                part = slice(first, first + self.batch_size)
                times = torch.full((len(z[part]),), t, dtype=torch.int64, device=z.device)
                predicted = self._network(z[part], times, mask[part])
                if output is None:  # a state's channels, of which z may have more: those that stand beside it
                    output = z.new_empty(len(z), *predicted.shape[1:])
                output[part] = predicted
        if z.is_cuda:
            torch.cuda.synchronize(z.device)  # or the clock would measure how fast kernels are queued
        calls, seconds = math.ceil(len(z) / self.batch_size), time.perf_counter() - start
        self.ledger += Ledger(evaluations=len(z), calls=calls, network_seconds=seconds, pixels=mask.numel())
        assert output is not None, "no crop, no call"
        return output


class PerLabel:
    """One call for every label of a crop, each pixel from the call of its own (Alg. 2, lines 7-12); a `Predictor`.

    Parameters
    ----------
    predictor : see `guidance.Predictor`

    >>> def brightest(z, t, mask):  # a network that answers with the largest label it sees
    ...     return mask.amax((1, 2))[:, None, None, None].expand(-1, 1, *mask.shape[1:]).float()
    >>> PerLabel(brightest)(torch.zeros(1, 1, 1, 3), 0, torch.tensor([[[0, 1, 2]]])).flatten().tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def __call__(self, z: Tensor, t: int, mask: Tensor) -> Tensor:
        """See `guidance.Predictor`."""
        calls = [(crop, label) for crop, labels in enumerate(labels_present(mask)) for label in labels]
        crops, labels = torch.tensor(calls, device=z.device).T
        own = mask[crops] == labels[:, None, None]
        output = self.predictor(z[crops], t, mask[crops] * own)
        # a pixel has one label, so that all calls but its own add 0
        zeros = output.new_zeros(len(z), *output.shape[1:])
        return zeros.index_add_(0, crops, torch.where(own[:, None], output, 0.0))


class Denoiser:
    r"""Noise estimate of labelled crops; an `Estimator`.

    Parameters
    ----------
    unet : ``unet(z (B, C, h, w), t int64 (B,), mask int64 (B, h, w)) -> (B, C, h, w)`` with an attribute
        ``prediction_type``, "epsilon" or "v_prediction"; a trained one may also have a ``gain``, 1 otherwise
    alphas_cumprod : float (T,), training schedule, :math:`\alpha_t` of eq. 1
    omega : guidance :math:`\omega` of eq. 2, at least 0
    conditioning : "dense" or "per-label"
    batch_size : evaluations per forward pass; no result depends on it, but for the rounding of the network
    precision : "fp32", or "bf16" or "fp16" for the network's products where the hardware is faster at these; the
        canvas stays in single precision
    compiled : run the network through ``torch.compile``. The first batches take a minute or more then; pays on GPUs

    Attributes
    ----------
    ledger : `cost.Ledger` since construction.

    Raises
    ------
    ValueError : omega negative or not a number, unknown conditioning, prediction type or precision, batch size below 1,
        compiled where there is no compiler.
    """

    def __init__(
        self,
        unet: Callable[[Tensor, Tensor, Tensor], Tensor],
        alphas_cumprod: Tensor,
        *,
        omega: float = 0.0,
        conditioning: str = "dense",
        batch_size: int = 8,
        precision: str = "fp32",
        compiled: bool = False,
    ) -> None:
        if not (math.isfinite(omega) and omega >= 0):
            raise ValueError(f"expected an omega of at least 0, got {omega}")
        if conditioning not in CONDITIONINGS:
            raise ValueError(f"expected a conditioning out of {', '.join(CONDITIONINGS)}, got {conditioning!r}")
        kind = getattr(unet, "prediction_type", None)
        if kind not in ("epsilon", "v_prediction"):
            raise ValueError(f"expected a prediction_type of epsilon or v_prediction, got {kind!r}")
        if batch_size < 1:
            raise ValueError(f"expected a batch_size of at least 1, got {batch_size}")
        if precision not in PRECISIONS:
            raise ValueError(f"expected a precision out of {', '.join(PRECISIONS)}, got {precision!r}")
        if compiled and not shutil.which(compiler := os.environ.get("CXX", "g++")):
            raise ValueError(f"expected a C++ compiler for torch.compile, found no {compiler} (CXX names another)")
        self.unet, self.alphas_cumprod = unet, alphas_cumprod
        self.prediction_type, self.gain = kind, getattr(unet, "gain", 1.0)
        self.omega, self.conditioning, self.batch_size = float(omega), conditioning, batch_size
        self.precision, self.compiled = precision, compiled
        self._network = Network(unet, batch_size, precision, compiled)
        predictor: Predictor = PerLabel(self._network) if conditioning == "per-label" else self._network
        self.predictor = predictor
        if omega:
            self.predictor = ClassifierFree(predictor, self.omega, null_where_unknown=conditioning == "per-label")

    @property
    def ledger(self) -> Ledger:
        return self._network.ledger

    @ledger.setter
    def ledger(self, ledger: Ledger) -> None:
        self._network.ledger = ledger

    @property
    def settings(self) -> dict[str, Any]:
        """All that a noise estimate depends on but its crop, JSON-able; the network as the SHA-256 of its state."""
        network = hashlib.sha256(f"{type(self.unet).__qualname__} {self.prediction_type}".encode())
        state = self.unet.state_dict() if isinstance(self.unet, nn.Module) else {}
        for name, tensor in [("alphas_cumprod", self.alphas_cumprod), *sorted(state.items())]:
            network.update(name.encode() + tensor.detach().cpu().double().numpy().tobytes())
        names = ("omega", "conditioning", "precision", "compiled", "gain")
        return {"network": network.hexdigest(), **{name: getattr(self, name) for name in names}}

    def map(self, batches: Iterable[tuple[Tensor, int, Tensor]]) -> Iterator[Tensor]:
        """Noise estimates of batches that do not depend on each other, in their order.

        Parameters
        ----------
        batches : arguments of a call each, on any device; the estimates come back to it
        """
        weights = self.unet.parameters() if isinstance(self.unet, nn.Module) else ()
        device = next((weight.device for weight in weights), None)
        for z, t, mask in batches:
            yield self(z.to(device or z.device), t, mask.to(device or z.device)).to(z.device)

    @torch.no_grad()
    def __call__(self, z: Tensor, t: int, mask: Tensor) -> Tensor:
        """Guided noise estimate of a batch of crops.

        Parameters
        ----------
        z : float (B, C, h, w), crops of the state, and behind its channels those that the network reads beside it
        t : timestep, 0..T-1
        mask : int64 (B, h, w), labels, 0 = unknown

        Returns
        -------
        float (B, C, h, w), of the state's channels

        Raises
        ------
        ValueError : shapes of z and mask do not belong together.
        """
        if z.ndim != 4 or mask.shape != (z.shape[0], *z.shape[2:]):
            expected = "expected a mask (B, h, w) for latents (B, C, h, w)"
            raise ValueError(f"{expected}, got {tuple(mask.shape)} for {tuple(z.shape)}")
        self.ledger += Ledger(windows=len(z), labels=sum(map(len, labels_present(mask))))
        noise = prediction = self.predictor(z, t, mask)
        alpha, state = self.alphas_cumprod[t], z[:, : prediction.shape[1]]
        if self.prediction_type == "v_prediction":
            noise = alpha**0.5 * prediction + (1 - alpha) ** 0.5 * state
        if self.gain != 1:
            # the clean latent times sqrt(alpha), over sqrt(1 - alpha)
            noise = noise - (self.gain - 1) * (state / (1 - alpha) ** 0.5 - noise)
        return noise


def labels_present(mask: Tensor) -> list[list[int]]:
    """Labels from 0 upwards that occur in each of the crops (B, h, w).

    >>> labels_present(torch.tensor([[[2, 0]], [[1, -1]]]))
    [[0, 2], [1]]
    """
    present = torch.zeros(len(mask), int(mask.max()) + 2, dtype=torch.bool, device=mask.device)
    present.scatter_(1, mask.flatten(1) + 1, True)
    return [[label for label, occurs in enumerate(row) if occurs] for row in present[:, 1:].tolist()]
