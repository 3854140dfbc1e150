r"""Solvers: noise levels, and the step of the canvas from one to the next.

Training corrupts :math:`z_t = \sqrt{\alpha_t}\,z_0 + \sqrt{1-\alpha_t}\,\epsilon` (our :math:`\alpha` is
diffusers' ``alphas_cumprod``). Sampling visits S of the T training timesteps in *trailing* spacing: it
starts at t = T - 1 and the last of the S steps ends at :math:`\alpha = 1`, without noise. Each step turns
the canvas :math:`z_t` and its noise estimate into :math:`z_{t-1}`, pixel by pixel:

- ``ddim`` is eq. 1 of the paper, with :math:`\sigma_t = \eta\sqrt{(1-\alpha_{t-1})/(1-\alpha_t)}
  \sqrt{1-\alpha_t/\alpha_{t-1}}`;
- ``ddpm``, ancestral sampling, is the same with :math:`\eta = 1`;
- ``dpm-solver++`` is the second-order multistep solver of Lu et al. (2022). It needs the clean latents that it
  estimated at the last level: every step returns them, and whoever steps a canvas part by part keeps them with it.

diffusers' own DDIM takes T // S for the distance to the next level, which is wrong for every S that does
not divide T; ours asks the list of timesteps, and equals theirs where S divides T (tested, as is DPM-Solver++).
A new solver is a class with the attributes of `Solver` under the decorator `solver`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Solver(Protocol):
    """What the loop asks of a solver.

    Attributes
    ----------
    timesteps : the S levels, falling.
    alphas : float32 (S + 1,), :math:`\\alpha` of each level and 1 at the end.
    eta : share of the ancestral noise; where it is 0 a step needs no noise.
    """

    timesteps: list[int]
    alphas: Tensor
    eta: float

    def step(
        self, eps: Tensor, z: Tensor, level: int, noise: Tensor | None = None, *, memory: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """State after a level, and what the step of the next level needs of this one.

        Parameters
        ----------
        eps, z : float (...), noise estimate and state of the same part of a canvas
        level : 0 .. S - 1
        noise : float (...), standard Gaussian, needed if ``eta`` is not 0
        memory : float (...), what the last level's step returned for this part, None at the first; it has no default,
            since a solver of second order that is never given it is one of first order, and nothing tells
        """


SOLVERS: dict[str, Callable[[int, Tensor, float | None], Solver]] = {}


def solver(name: str) -> Callable:
    """Decorator: makes ``build(steps, alphas_cumprod, eta) -> Solver`` known under a name."""

    def register(build: Callable[[int, Tensor, float | None], Solver]) -> Callable:
        SOLVERS[name] = build
        return build

    return register


def cosine_alphas(num_train_timesteps: int = 1000) -> Tensor:
    r"""Noise schedule of training: diffusers' ``squaredcos_cap_v2`` to the last bit (tested).

    Returns
    -------
    float32 (T,), :math:`\alpha_t` of eq. 1, falling from almost 1 to almost 0.
    """

    def squared_cosine(share: float) -> float:
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    T = num_train_timesteps
    betas = [min(1 - squared_cosine((t + 1) / T) / squared_cosine(t / T), 0.999) for t in range(T)]
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
        raise ValueError(f"expected steps to be a whole number from 1 to {num_train_timesteps}, got {steps}")
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
        raise ValueError(f"expected noise where eta > 0, got eta={eta} and no noise")
    clean = (z - (1 - alpha) ** 0.5 * eps) / alpha**0.5
    sigma = eta * ((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next)) ** 0.5
    z_next = alpha_next**0.5 * clean + (1 - alpha_next - sigma**2).clamp(min=0) ** 0.5 * eps
    return z_next if noise is None else z_next + sigma * noise


def dpm_solver_step(z: Tensor, clean: Tensor, alphas: Sequence[Tensor], before: Tensor | None = None) -> Tensor:
    r"""One step of DPM-Solver++ (2M), Lu et al. 2022, Algorithm 2; of its first-order form where ``before`` is None.

    With :math:`\lambda = \log\sqrt{\alpha / (1 - \alpha)}`, :math:`h = \lambda_{t-1} - \lambda_t` and :math:`D` the
    clean latents, extrapolated from this level's and the last one's,

    .. math:: z_{t-1} = \sqrt{\tfrac{1 - \alpha_{t-1}}{1 - \alpha_t}}\, z_t - \sqrt{\alpha_{t-1}}\,(e^{-h} - 1)\, D.

    Parameters
    ----------
    z : float (...), :math:`z_t`
    clean : float (...), estimate of the clean latents at this level
    alphas : :math:`\alpha` of the next level, of this one and, where ``before`` is given, of the last one, float ()
    before : float (...), ``clean`` of the last level

    Returns
    -------
    float (...), :math:`z_{t-1}`
    """
    (signal_next, sigma_next), (_, sigma), *_ = rates = [_rates(alpha) for alpha in alphas]
    lambdas = [torch.log(signal) - torch.log(noise) for signal, noise in rates]
    h = lambdas[0] - lambdas[1]
    z_next = (sigma_next / sigma) * z - (signal_next * (torch.exp(-h) - 1.0)) * clean
    if before is None:
        return z_next
    slope = (1.0 / ((lambdas[1] - lambdas[2]) / h)) * (clean - before)
    return z_next - 0.5 * (signal_next * (torch.exp(-h) - 1.0)) * slope


def _rates(alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of the clean latents and of the noise at a level, by way of their ratio, as diffusers computes them."""
    sigma = ((1 - alpha) / alpha) ** 0.5
    signal = 1 / ((sigma**2 + 1) ** 0.5)
    return signal, sigma * signal


class Ddim:
    """Eq. 1 over a list of timesteps; a `Solver`.

    Raises
    ------
    ValueError : eta is not between 0 and 1, or steps outside 1..T.
    """

    def __init__(self, steps: int, alphas_cumprod: Tensor, eta: float = 0.0) -> None:
        if not (math.isfinite(eta) and 0 <= eta <= 1):
            raise ValueError(f"expected an eta between 0 and 1, got {eta}")
        self.timesteps, self.alphas = _levels(steps, alphas_cumprod)
        self.eta = float(eta)

    def step(
        self, eps: Tensor, z: Tensor, level: int, noise: Tensor | None = None, *, memory: Tensor | None
    ) -> tuple[Tensor, None]:
        """See `Solver.step`; nothing is left for the next level."""
        return ddim_step(z, eps, self.alphas[level], self.alphas[level + 1], self.eta, noise), None


class DpmSolver:
    """DPM-Solver++ 2M over a list of timesteps; a `Solver`. The first and the last step are of first order."""

    eta = 0.0

    def __init__(self, steps: int, alphas_cumprod: Tensor) -> None:
        self.timesteps, self.alphas = _levels(steps, alphas_cumprod)

    def step(
        self, eps: Tensor, z: Tensor, level: int, noise: Tensor | None = None, *, memory: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """See `Solver.step`; the clean latents of this level are left for the next one."""
        signal, sigma = _rates(self.alphas[level])
        clean = (z - sigma * eps) / signal
        first_order = memory is None or level in (0, len(self.timesteps) - 1)
        alphas = [self.alphas[level + 1], self.alphas[level], self.alphas[level - 1]]
        return dpm_solver_step(z, clean, alphas, None if first_order else memory), clean


def _levels(steps: int, alphas_cumprod: Tensor) -> tuple[list[int], Tensor]:
    timesteps = trailing_timesteps(steps, len(alphas_cumprod))
    return timesteps, torch.cat([alphas_cumprod.cpu().float()[timesteps], torch.ones(1)])


@solver("ddim")
def _ddim(steps: int, alphas_cumprod: Tensor, eta: float | None) -> Solver:
    return Ddim(steps, alphas_cumprod, 0.0 if eta is None else eta)


@solver("ddpm")
def _ddpm(steps: int, alphas_cumprod: Tensor, eta: float | None) -> Solver:
    _no_eta("ddpm", eta)
    return Ddim(steps, alphas_cumprod, 1.0)


@solver("dpm-solver++")
def _dpm_solver(steps: int, alphas_cumprod: Tensor, eta: float | None) -> Solver:
    _no_eta("dpm-solver++", eta)
    return DpmSolver(steps, alphas_cumprod)


def _no_eta(name: str, eta: float | None) -> None:
    if eta is not None:
        raise ValueError(f"expected eta with ddim only, got eta={eta} for {name}")


def make_solver(name: str, steps: int, alphas_cumprod: Tensor, eta: float | None = None) -> Solver:
    r"""Solver by name.

    Parameters
    ----------
    name : one of `SOLVERS`
    steps : S, network evaluations in sequence, 1..T
    alphas_cumprod : float (T,), training schedule
    eta : for ``ddim`` only, default 0

    Raises
    ------
    ValueError : unknown name, steps outside 1..T, eta outside 0..1 or for another solver.
    """
    if name not in SOLVERS:
        raise ValueError(f"expected a solver among {', '.join(SOLVERS)}, got {name!r}")
    return SOLVERS[name](steps, alphas_cumprod, eta)
