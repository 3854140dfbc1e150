r"""Noise levels, the step from one to the next, and Gaussian noise that belongs to a place.

Training corrupts :math:`z_t = \sqrt{\alpha_t}\,z_0 + \sqrt{1-\alpha_t}\,\epsilon` (our :math:`\alpha` is
diffusers' ``alphas_cumprod``). Sampling visits S of the T training timesteps in *trailing* spacing: it
starts at t = T - 1 and the last of the S steps ends at :math:`\alpha = 1`, without noise. Each step turns
the canvas :math:`z_t` and its noise estimate into :math:`z_{t-1}`, pixel by pixel:

- ``ddim`` is eq. 1 of the paper, with :math:`\sigma_t = \eta\sqrt{(1-\alpha_{t-1})/(1-\alpha_t)}
  \sqrt{1-\alpha_t/\alpha_{t-1}}`;
- ``ddpm``, ancestral sampling, is the same with :math:`\eta = 1`;
- ``dpm-solver++`` is diffusers' second-order multistep solver; it remembers the last estimate of the whole
  canvas.

diffusers' own DDIM takes T // S for the distance to the next level, which is wrong for every S that does
not divide T; ours asks the list of timesteps, and equals theirs where S divides T (tested).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosine_alphas(num_train_timesteps: int = 1000) -> Tensor:
    r"""Noise schedule of training: diffusers' ``squaredcos_cap_v2`` to the last bit (tested).

    Returns
    -------
    float32 (T,), :math:`\alpha_t` of eq. 1, falling from almost 1 to almost 0.
    """

    def kept(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    T = num_train_timesteps
    betas = [min(1 - kept((t + 1) / T) / kept(t / T), 0.999) for t in range(T)]
    return torch.cumprod(1 - torch.tensor(betas), 0)


def trailing_timesteps(steps: int, num_train_timesteps: int = 1000) -> list[int]:
    """Timesteps of the S levels, from T - 1 downwards.

    Raises
    ------
    ValueError : steps outside 1..T.

    >>> trailing_timesteps(4)
    [999, 749, 499, 249]
    """
    if not isinstance(steps, int) or not 1 <= steps <= num_train_timesteps:
        raise ValueError(f"steps must be a whole number from 1 to {num_train_timesteps}, got {steps}")
    return [round(num_train_timesteps * left / steps) - 1 for left in range(steps, 0, -1)]


def ddim_step(
    z: Tensor, eps: Tensor, alpha: Tensor, alpha_next: Tensor, eta: float = 0.0, noise: Tensor | None = None
) -> Tensor:
    r"""One step of paper eq. 1.

    Parameters
    ----------
    z : float (...), :math:`z_t`
    eps : float (...), noise estimate
    alpha, alpha_next : float (), :math:`\alpha_t` and :math:`\alpha_{t-1}`
    eta : share of the ancestral noise, 0 deterministic, 1 DDPM
    noise : float (...), standard Gaussian, needed if eta > 0

    Returns
    -------
    float (...), :math:`z_{t-1}`

    Raises
    ------
    ValueError : eta > 0 without noise.

    >>> one = torch.ones(2)
    >>> ddim_step(one, 0 * one, torch.tensor(0.25), torch.tensor(1.0))
    tensor([2., 2.])
    """
    if eta and noise is None:
        raise ValueError(f"noise is needed where eta > 0, got eta={eta} and no noise")
    clean = (z - (1 - alpha) ** 0.5 * eps) / alpha**0.5
    sigma = eta * ((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next)) ** 0.5
    z_next = alpha_next**0.5 * clean + (1 - alpha_next - sigma**2).clamp(min=0) ** 0.5 * eps
    return z_next if noise is None else z_next + sigma * noise


class Ddim:
    """Eq. 1 over a list of timesteps.

    Attributes
    ----------
    timesteps : the S levels, falling.
    alphas : float32 (S + 1,), one value per level and 1 at the end.
    eta : share of the ancestral noise.
    memory : None, a step needs nothing of the levels before.
    """

    memory: Tensor | None = None

    def __init__(self, steps: int, alphas_cumprod: Tensor, eta: float = 0.0) -> None:
        if not (math.isfinite(eta) and 0 <= eta <= 1):
            raise ValueError(f"eta must be between 0 and 1, got {eta}")
        self.timesteps, self.alphas = _levels(steps, alphas_cumprod)
        self.eta = float(eta)

    def step(self, eps: Tensor, z: Tensor, level: int, noise: Tensor | None) -> Tensor:
        """State after a level: eps, z and noise float (...), level 0..S-1; noise is None if eta is 0."""
        return ddim_step(z, eps, self.alphas[level], self.alphas[level + 1], self.eta, noise)


class DpmSolver:
    """diffusers' DPM-Solver++ 2M; levels must come in order, or with the memory of the level before.

    Attributes
    ----------
    timesteps, alphas : as in `Ddim`.
    eta : always 0, the solver is deterministic.
    memory : float (...), what the last level's step leaves to the next one's, None before the first. Whoever steps a
        canvas part by part keeps it for each part and puts it back here.
    """

    memory: Tensor | None = None

    eta = 0.0

    def __init__(self, steps: int, alphas_cumprod: Tensor) -> None:
        from diffusers import DPMSolverMultistepScheduler  # takes a second, and only this solver needs it

        self.timesteps, self.alphas = _levels(steps, alphas_cumprod)
        self._solver = DPMSolverMultistepScheduler(len(alphas_cumprod), prediction_type="epsilon")
        self._solver.alphas_cumprod = alphas_cumprod.cpu().float()
        self._solver.set_timesteps(timesteps=self.timesteps)

    def step(self, eps: Tensor, z: Tensor, level: int, noise: Tensor | None) -> Tensor:
        """State after a level: eps and z float (...), level 0..S-1; noise is not used."""
        solver = self._solver
        solver._step_index, solver.lower_order_nums = level, min(level, 2)
        solver.model_outputs = [None, self.memory]
        z = solver.step(eps, self.timesteps[level], z).prev_sample
        self.memory = solver.model_outputs[-1]
        return z


Solver = Ddim | DpmSolver


def _levels(steps: int, alphas_cumprod: Tensor) -> tuple[list[int], Tensor]:
    timesteps = trailing_timesteps(steps, len(alphas_cumprod))
    return timesteps, torch.cat([alphas_cumprod.cpu().float()[timesteps], torch.ones(1)])


SCHEDULERS = ("ddim", "ddpm", "dpm-solver++")


def make_solver(name: str, steps: int, alphas_cumprod: Tensor, eta: float | None = None) -> Solver:
    r"""Solver by name.

    Parameters
    ----------
    name : one of `SCHEDULERS`
    steps : S, network evaluations in sequence, 1..T
    alphas_cumprod : float (T,), training schedule
    eta : for ``ddim`` only, default 0

    Returns
    -------
    Object with ``timesteps``, ``alphas``, ``eta`` and ``step(eps, z, level, noise)``.

    Raises
    ------
    ValueError : unknown name, steps outside 1..T, eta outside 0..1 or for another scheduler.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"scheduler must be one of {', '.join(SCHEDULERS)}, got {name!r}")
    if name == "ddim":
        return Ddim(steps, alphas_cumprod, 0.0 if eta is None else eta)
    if eta is not None:
        raise ValueError(f"eta is a setting of ddim only, got eta={eta} for {name}")
    return Ddim(steps, alphas_cumprod, 1.0) if name == "ddpm" else DpmSolver(steps, alphas_cumprod)
