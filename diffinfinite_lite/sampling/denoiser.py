r"""From a network to a noise estimate: guidance, label composition, and as few evaluations as these allow.

The network predicts noise (or velocity) for one crop, one label map, one timestep; label 0 is the null label
:math:`\emptyset`. Classifier-free guidance (eq. 2) combines two calls,

.. math:: \tilde\epsilon = (1 + \omega)\,\epsilon_\theta(z_t, c) - \omega\,\epsilon_\theta(z_t, \emptyset),

(diffusers writes the same as :math:`u + s\,(c - u)` with the guidance scale :math:`s = 1 + \omega`). A crop
with several labels is composed in one of two ways:

- ``per-label`` (Alg. 2, lines 7-12): one call for every label n on the map that is n where the mask is n
  and 0 elsewhere; pixel i takes the output of its own label, an unknown pixel that of the null call. The
  null call is the same for all labels, so that a crop costs (nonzero labels + 1) evaluations and not 2 per
  label.
- ``dense``: one call on the whole label map and one null call.

A null call whose result nobody needs (:math:`\omega = 0`, no unknown pixel) is not made. Composing and
guiding are done on what the network predicts and converted to noise once: noise is affine in velocity when
z_t is fixed, and the weights of eq. 2 sum to one.

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

import torch
from torch import Tensor, nn

from ..devices import PRECISIONS, lower_precision
from .cost import Ledger

CONDITIONINGS = ("dense", "per-label")
WHOLE_MAP = -1  # stands for "all labels at once" in a list of labels


class Denoiser:
    r"""Noise estimate of labelled crops.

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
    ledger : `Ledger` since construction.

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
            raise ValueError(f"omega must be a number of at least 0, got {omega}")
        if conditioning not in CONDITIONINGS:
            raise ValueError(f"conditioning must be one of {', '.join(CONDITIONINGS)}, got {conditioning!r}")
        if unet.prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction_type must be epsilon or v_prediction, got {unet.prediction_type!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        if compiled and not shutil.which(compiler := os.environ.get("CXX", "g++")):
            raise ValueError(f"expected a C++ compiler for torch.compile, found no {compiler} (CXX names another)")
        self.unet = unet
        self.alphas_cumprod = alphas_cumprod
        self.omega = float(omega)
        self.conditioning = conditioning
        self.batch_size = batch_size
        self.precision = precision
        self.compiled = compiled
        self._network = torch.compile(unet) if compiled else unet
        self.gain = getattr(unet, "gain", 1.0)
        self.ledger = Ledger()

    @property
    def settings(self) -> dict:
        """All that a noise estimate depends on but its crop, JSON-able; the network as the SHA-256 of its state."""
        network = hashlib.sha256(f"{type(self.unet).__qualname__} {self.unet.prediction_type}".encode())
        state = self.unet.state_dict() if isinstance(self.unet, nn.Module) else {}
        for name, tensor in [("alphas_cumprod", self.alphas_cumprod), *sorted(state.items())]:
            network.update(name.encode() + tensor.detach().cpu().double().numpy().tobytes())
        names = ("omega", "conditioning", "precision", "compiled", "gain")
        rest = {name: getattr(self, name) for name in names}
        return {"autoguidance": getattr(self.unet, "strength", 0.0), "network": network.hexdigest(), **rest}

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
        """Guided noise estimate of a batch of crops (eq. 2).

        Parameters
        ----------
        z : float (B, C, h, w), crops of the state
        t : timestep, 0..T-1
        mask : int64 (B, h, w), labels, 0 = unknown

        Returns
        -------
        float (B, C, h, w)

        Raises
        ------
        ValueError : shapes of z and mask do not belong together.
        """
        if z.ndim != 4 or mask.shape != (z.shape[0], *z.shape[2:]):
            raise ValueError(
                f"mask must have the shape (B, h, w) of the latents (B, C, h, w), "
                f"got {tuple(mask.shape)} for {tuple(z.shape)}"
            )
        # Of every call: the crop, its label (0: the null call), and whether its output reaches the result by itself.
        crops, labels, writes = [], [], []
        null_call, present = {}, _labels(mask)
        for b, there in enumerate(present):
            known = [n for n in there if n]
            own = known if self.conditioning == "per-label" else [WHOLE_MAP] * bool(known)
            unknown = not known or (self.conditioning == "per-label" and 0 in there)
            if self.omega or unknown:
                null_call[b] = len(crops)
                own = [0, *own]
            crops += [b] * len(own)
            labels += own
            writes += [unknown if n == 0 else True for n in own]
        self.ledger += Ledger(windows=len(z), labels=sum(map(len, present)))

        rows, label, writes = (torch.tensor(x, device=z.device) for x in (crops, labels, writes))
        cut = mask[rows]
        owned = (cut == label[:, None, None]) | (label == WHOLE_MAP)[:, None, None]
        output = self._predict(z[rows], t, cut * owned)
        if self.omega:
            null = torch.tensor([null_call[b] for b in crops], device=z.device)
            guided = (1 + self.omega) * output - self.omega * output[null]
            output = torch.where((label == 0)[:, None, None, None], output, guided)
        # every pixel belongs to exactly one call that writes, so that adding is picking
        owned &= writes[:, None, None]
        prediction = torch.zeros_like(z).index_add_(0, rows, torch.where(owned[:, None], output, 0.0))
        alpha = self.alphas_cumprod[t]
        noise = prediction
        if self.unet.prediction_type == "v_prediction":
            noise = alpha**0.5 * prediction + (1 - alpha) ** 0.5 * z
        if self.gain != 1:
            # the clean latent times sqrt(alpha), over sqrt(1 - alpha)
            noise = noise - (self.gain - 1) * (z / (1 - alpha) ** 0.5 - noise)
        return noise

    def _predict(self, z: Tensor, t: int, mask: Tensor) -> Tensor:
        """All evaluations in forward passes of at most ``batch_size``."""
        start, output = time.perf_counter(), torch.empty_like(z)
        with lower_precision(z.device, self.precision):
            for first in range(0, len(z), self.batch_size):
                part = slice(first, first + self.batch_size)
                times = torch.full((len(z[part]),), t, dtype=torch.int64, device=z.device)
                output[part] = self._network(z[part], times, mask[part])
        if z.is_cuda:
            torch.cuda.synchronize(z.device)  # or the clock would measure how fast kernels are queued
        calls, seconds = math.ceil(len(z) / self.batch_size), time.perf_counter() - start
        self.ledger += Ledger(evaluations=len(z), calls=calls, network_seconds=seconds, pixels=mask.numel())
        return output


def _labels(mask: Tensor) -> list[list[int]]:
    """Labels that occur in each of the crops (B, h, w)."""
    present = torch.zeros(len(mask), int(mask.max()) + 1, dtype=torch.bool, device=mask.device)
    present.scatter_(1, mask.flatten(1), True)
    return [[n for n, there in enumerate(row) if there] for row in present.tolist()]
