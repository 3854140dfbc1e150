r"""Guidance: objects around a network or a predictor that go on from a weaker estimate past a better one.

*Classifier-free guidance* (paper eq. 2) moves away from the null label :math:`\emptyset`,

.. math:: (1 + \omega)\,\epsilon_\theta(z_t, c) - \omega\,\epsilon_\theta(z_t, \emptyset),

towards samples that are more typical of their label and less varied (diffusers writes the same as
:math:`u + s\,(c - u)` with the guidance scale :math:`s = 1 + \omega`). The weights sum to one, one of them is negative.

*Autoguidance* (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself") moves away from what the
network was before its last training. Both make the same mistakes, the earlier one larger ones; :math:`v_+ + s\,(v_+ -
v_-)` takes back some of what is left, and makes samples more varied. The earlier state costs nothing to keep
(`models.lowbit`). It acts between two timesteps, where the network has learnt least, and every evaluation there runs
both networks. Under generated masks samples also lie farther from real ones, so that it is off by default
(docs/adr/0010-guided-by-its-own-past.md).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

INTERVAL = 400, 750  # of 1000 timesteps, the second not included: 7 of 20 evenly spaced ones
UNREAD = -1  # in a mask of labels: nobody reads what is predicted here


class Predictor(Protocol):
    """A network with what is around it: crops of the state under label maps to noise (or velocity)."""

    def __call__(self, z: Tensor, t: int, mask: Tensor) -> Tensor:
        """Prediction.

        Parameters
        ----------
        z : float (B, C, h, w), crops of the state, and behind its channels those that the network reads beside it
        t : timestep, 0..T-1
        mask : int64 (B, h, w), labels, 0 = unknown, -1 = the prediction is not read here

        Returns
        -------
        float (B, C, h, w), of the state's channels
        """


class ClassifierFree:
    r"""Eq. 2 around a predictor.

    A crop costs one null call (label 0 everywhere) and one for its labels; a crop without any costs the null call
    alone. Both go to the predictor in one batch.

    Parameters
    ----------
    predictor : see `Predictor`
    omega : :math:`\omega`, over 0
    null_where_unknown : pixels of unknown label take the null call as it is (Alg. 2, label by label), and the predictor
        need not answer for them; otherwise they are guided like all others, since the whole label map was shown

    >>> def predictor(z, t, mask):
    ...     return mask[:, None].clamp(min=0).float()
    >>> ClassifierFree(predictor, omega=0.5)(torch.zeros(1, 1, 1, 3), 0, torch.tensor([[[0, 1, 2]]])).flatten().tolist()
    [0.0, 1.5, 3.0]
    """

    def __init__(self, predictor: Predictor, omega: float, *, null_where_unknown: bool = False) -> None:
        self.predictor, self.omega, self.null_where_unknown = predictor, omega, null_where_unknown

    def __call__(self, z: Tensor, t: int, mask: Tensor) -> Tensor:
        """See `Predictor`."""
        known = mask > 0
        labelled = known.flatten(1).any(1)
        crops, maps = [], []
        for crop, has_labels in enumerate(labelled.tolist()):
            crops.append(crop)
            maps.append(torch.zeros_like(mask[crop]))
            if has_labels:
                crops.append(crop)
                maps.append(mask[crop].where(known[crop], UNREAD) if self.null_where_unknown else mask[crop])
        prediction = self.predictor(z[torch.tensor(crops, device=z.device)], t, torch.stack(maps))
        first = torch.arange(len(z), device=z.device) + labelled.cumsum(0) - labelled.long()  # the crop's null call
        null, conditional = prediction[first], prediction[first + labelled.long()]
        guided = (1 + self.omega) * conditional - self.omega * null
        read = known if self.null_where_unknown else labelled[:, None, None].expand_as(mask)
        return torch.where(read[:, None], guided, null)


class Autoguided(nn.Module):
    """Two versions of a `unet.MaskUNet` as one network.

    Parameters
    ----------
    better, weaker : networks of one kind of prediction, called with the same arguments.
    strength : s, how far to go on from the weaker to the better one.
    interval : first and last timestep (not included) at which the weaker one is asked.

    Raises
    ------
    ValueError : a strength that is not a number over 0.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> class Constant(nn.Module):
    ...     prediction_type = "v_prediction"
    ...     def __init__(self, value):
    ...         super().__init__()
    ...         self.value = value
    ...     def forward(self, z, t, condition):
    ...         return torch.full_like(z, self.value)
    >>> both = Autoguided(Constant(3.0), Constant(2.0), strength=0.5, interval=(250, 750))
    >>> both(torch.zeros(3, 1, 1, 1), torch.tensor([100, 250, 750]), None).flatten().tolist()
    [3.0, 3.5, 3.0]
    """

    def __init__(
        self, better: nn.Module, weaker: nn.Module, strength: float, interval: tuple[int, int] = INTERVAL
    ) -> None:
        super().__init__()
        if not (math.isfinite(strength) and strength > 0):
            raise ValueError(f"expected a strength of autoguidance of 0 (none) or over, got {strength}")
        self.better, self.weaker = better, weaker
        self.strength, self.interval = strength, interval
        self.gain = getattr(better, "gain", 1.0)
        self.prediction_type = better.prediction_type

    def forward(self, z_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Shapes as of `unet.MaskUNet.forward`."""
        better = self.better(z_t, t, condition)
        within = (self.interval[0] <= t) & (t < self.interval[1])
        if not within.any():
            return better
        further = better + self.strength * (better - self.weaker(z_t, t, condition))
        return further.where(within[:, None, None, None], better)
