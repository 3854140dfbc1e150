r"""Guidance: an object around a predictor that goes on from a weaker estimate past a better one.

*Classifier-free guidance* (paper eq. 2) moves away from the null label :math:`\emptyset`,

.. math:: (1 + \omega)\,\epsilon_\theta(z_t, c) - \omega\,\epsilon_\theta(z_t, \emptyset),

towards samples that are more typical of their label and less varied (diffusers writes the same as
:math:`u + s\,(c - u)` with the guidance scale :math:`s = 1 + \omega`). The weights sum to one, one of them is negative.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

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
