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
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

CONDITIONINGS = ("dense", "per-label")


@dataclass(frozen=True)
class Ledger:
    """What a run has cost so far.

    Attributes
    ----------
    evaluations : crops times label maps that went through the network (NFE).
    calls : forward passes; one holds up to ``batch_size`` evaluations.
    windows : crops denoised.
    labels : distinct labels, unknown included, summed over the crops.
    network_seconds : time spent in the network.
    """

    evaluations: int = 0
    calls: int = 0
    windows: int = 0
    labels: int = 0
    network_seconds: float = 0.0

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Ledger) -> Ledger:
        return Ledger(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


class Denoiser:
    r"""Noise estimate of labelled crops.

    Parameters
    ----------
    unet : ``unet(z (B, C, h, w), t int64 (B,), mask int64 (B, h, w)) -> (B, C, h, w)`` with an attribute
        ``prediction_type``, "epsilon" or "v_prediction"
    alphas_cumprod : float (T,), training schedule, :math:`\alpha_t` of eq. 1
    omega : guidance :math:`\omega` of eq. 2, at least 0
    conditioning : "dense" or "per-label"
    batch_size : evaluations per forward pass; no result depends on it

    Attributes
    ----------
    ledger : `Ledger` since construction.

    Raises
    ------
    ValueError : omega negative or not a number, unknown conditioning or prediction type, batch size below 1.
    """

    def __init__(
        self,
        unet: Callable[[Tensor, Tensor, Tensor], Tensor],
        alphas_cumprod: Tensor,
        *,
        omega: float = 0.0,
        conditioning: str = "dense",
        batch_size: int = 8,
    ) -> None:
        if not (math.isfinite(omega) and omega >= 0):
            raise ValueError(f"omega must be a number of at least 0, got {omega}")
        if conditioning not in CONDITIONINGS:
            raise ValueError(f"conditioning must be one of {', '.join(CONDITIONINGS)}, got {conditioning!r}")
        if unet.prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction_type must be epsilon or v_prediction, got {unet.prediction_type!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.unet = unet
        self.alphas_cumprod = alphas_cumprod
        self.omega = float(omega)
        self.conditioning = conditioning
        self.batch_size = batch_size
        self.ledger = Ledger()

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
        rows, maps, owners = [], [], []  # of every call: crop number, label map, its pixels (None: null call)
        null_row = {}  # crop number -> place of its null call
        labels = [torch.unique(m).tolist() for m in mask]
        for b, present in enumerate(labels):
            known = [n for n in present if n]
            if self.conditioning == "per-label":
                owned = [mask[b] == n for n in known]
            else:  # an unknown crop needs its null call only
                owned = [torch.ones_like(mask[b], dtype=torch.bool)] if known else []
            rows += [b] * len(owned)
            maps += [mask[b] * pixels for pixels in owned]
            owners += owned
            if self.omega or not known or (self.conditioning == "per-label" and 0 in present):
                null_row[b] = len(rows)
                rows.append(b)
                maps.append(torch.zeros_like(mask[b]))
                owners.append(None)
        output = self._predict(z[rows], t, torch.stack(maps))
        self.ledger += Ledger(windows=len(z), labels=sum(map(len, labels)))

        prediction = torch.empty_like(z)
        for b, place in null_row.items():
            prediction[b] = output[place]
        for b, owned, conditional in zip(rows, owners, output, strict=True):
            if owned is None:
                continue
            if self.omega:
                conditional = (1 + self.omega) * conditional - self.omega * output[null_row[b]]
            prediction[b] = torch.where(owned, conditional, prediction[b])
        if self.unet.prediction_type == "epsilon":
            return prediction
        alpha = self.alphas_cumprod[t]
        return alpha**0.5 * prediction + (1 - alpha) ** 0.5 * z

    def _predict(self, z: Tensor, t: int, mask: Tensor) -> Tensor:
        """All evaluations in forward passes of at most ``batch_size``."""
        start, output = time.perf_counter(), torch.empty_like(z)
        for first in range(0, len(z), self.batch_size):
            part = slice(first, first + self.batch_size)
            times = torch.full((len(z[part]),), t, dtype=torch.int64, device=z.device)
            output[part] = self.unet(z[part], times, mask[part])
        calls, seconds = math.ceil(len(z) / self.batch_size), time.perf_counter() - start
        self.ledger += Ledger(evaluations=len(z), calls=calls, network_seconds=seconds)
        return output
