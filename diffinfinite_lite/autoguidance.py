r"""A network guided by a weaker version of itself (Karras et al. 2024, "Guiding a diffusion model with a bad version of
itself").

The image model is stored as an earlier state and what training changed in it since (`lowbit`), so that the earlier
state :math:`v_-` costs nothing to keep. Both make the same mistakes, the earlier one larger ones; going on along the
line from the weaker to the better network, :math:`v_+ + s\,(v_+ - v_-)`, takes back some of what is left. Eq. 2 has the
same form but another aim: it moves away from the null label, towards samples that are more typical of their label
and less varied, while this one makes samples more varied. It acts between two timesteps, where the network has learnt
least (docs/adr/0010-guided-by-its-own-past.md), and every evaluation there runs both networks.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

STRENGTH = 0.0  # docs/adr/0010: at 1.5 samples vary more, and lie farther from real ones under generated masks
INTERVAL = 400, 750  # of 1000 timesteps, the second not included: 7 of 20 evenly spaced ones


class Autoguided(nn.Module):
    """Two versions of a `unet.MaskUNet` as one network.

    Parameters
    ----------
    better, weaker : networks of one kind of prediction, called with the same arguments.
    strength : s, how far to go on from the weaker to the better one; 0 is the better network alone.
    interval : first and last timestep (not included) at which the weaker one is asked.
    gain : see `denoise`.

    Raises
    ------
    ValueError : a strength that is negative or not a number.

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
        self,
        better: nn.Module,
        weaker: nn.Module,
        strength: float = STRENGTH,
        interval: tuple[int, int] = INTERVAL,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if not (math.isfinite(strength) and strength >= 0):
            raise ValueError(f"expected a strength of autoguidance of at least 0, got {strength}")
        self.better, self.weaker = better, weaker
        self.strength, self.interval, self.gain = strength, interval, gain
        self.prediction_type = better.prediction_type

    @property
    def settings(self) -> dict:
        """For the record of a run, JSON-able."""
        return {"strength": self.strength, "interval": list(self.interval)}

    def forward(self, z_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Shapes as of `unet.MaskUNet.forward`."""
        better = self.better(z_t, t, condition)
        within = (self.interval[0] <= t) & (t < self.interval[1])
        if not self.strength or not within.any():
            return better
        further = better + self.strength * (better - self.weaker(z_t, t, condition))
        return further.where(within[:, None, None, None], better)


def with_strength(network: nn.Module, strength: float | None) -> nn.Module:
    """The same network with another strength of autoguidance; as it is for None.

    Raises
    ------
    ValueError : see `Autoguided`, or a network that knows no earlier version of itself.
    """
    if strength is None:
        return network
    if not isinstance(network, Autoguided):
        raise ValueError(f"expected a model with an earlier version of itself for autoguidance {strength}, got none")
    return Autoguided(network.better, network.weaker, strength, network.interval, network.gain)
