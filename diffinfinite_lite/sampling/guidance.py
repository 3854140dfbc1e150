r"""A network guided by a weaker version of itself (Karras et al. 2024, "Guiding a diffusion model with a bad version of
itself").

The image model is stored as an earlier state and what training changed in it since (`lowbit`), so that the earlier
state :math:`v_-` costs nothing to keep. Both make the same mistakes, the earlier one larger ones; going on along the
line from the weaker to the better network, :math:`v_+ + s\,(v_+ - v_-)`, takes back some of what is left. Eq. 2 has the
same form but another aim: it moves away from the null label, towards samples that are more typical of their label
and less varied, while this one makes samples more varied. It acts between two timesteps, where the network has learnt
least, and every evaluation there runs both networks. Under generated masks samples also lie farther from real ones, so
that it is off by default (docs/adr/0010-guided-by-its-own-past.md).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

INTERVAL = 400, 750  # of 1000 timesteps, the second not included: 7 of 20 evenly spaced ones


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
