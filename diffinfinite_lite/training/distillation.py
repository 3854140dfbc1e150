r"""How a student learns to do in one step what its teacher does in several, and to be taken for real on the way.

A student is a network like its teacher and begins as a copy of it. Sampled by ``ddim`` it takes S steps in all, from
one level t of S to the next one, s: :math:`z_s = f(z_t)`. As :math:`\alpha = \cos^2\phi`, such a step turns z and v,

.. math:: f(z_t) = \cos\delta\,z_t - \sin\delta\,v(z_t, t), \qquad \delta = \phi_t - \phi_s,

by 22.5 degrees in each of 4 steps of the cosine schedule, so that an error of v weighs alike in all of them. Real
latents with noise are handed to both. The teacher goes from t to s in K smaller steps of ``dpm-solver++``, guided by
:math:`\omega` where that is asked for, and the student is to arrive there, too (progressive distillation, Salimans and
Ho 2022, all halvings at once; the levels stay apart as in multistep consistency models, Heek et al. 2024):

.. math:: L = \big| v(z_t, t) - (\cos\delta\,z_t - z_s^\text{teacher}) / \sin\delta \big|^2
    + w\,S(D(z_s) - D(f(z_t))), \qquad S = \operatorname{softplus}.

The first term alone blurs: where a small network cannot follow, it answers with a mean. Hence a critic D, which is
shown the student's :math:`f(z_t)` and the real latents' own :math:`z_s`, at the same level and with the same noise. It
looks through the frozen teacher's features of such states (latent adversarial diffusion distillation, Sauer et al.
2024): they tell structure from noise at every level, and no ruler that samples are measured by has seen them. As it
learns from real latents and not from the teacher's, a student may become better than its teacher. The weight w and the
critic's own loss are those of `critics`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..devices import Compute
from ..models.unet import MaskUNet
from ..sampling.solvers import dpm_solver_step, trailing_timesteps
from .critics import ProjectedCritic, balanced, judged
from .loop import Loss
from .stages import Draw, spread


@dataclass(frozen=True)
class Distillation:
    """What a student learns.

    Attributes
    ----------
    steps : S, that it is sampled with.
    parts : K, the teacher's steps in each of these.
    omega : the teacher's guidance, which the student has without any.
    alone : steps of training before the critic comes.
    ramp : steps over which its weight then grows from 0 to `pull`.
    pull : length of its gradient over that of the other term, see `critics.balanced`; 0 for no critic.
    """

    steps: int = 4
    parts: int = 5
    omega: float = 0.0
    alone: int = 400
    ramp: int = 200
    pull: float = 0.5


class Student(nn.Module):
    """A network that begins as its teacher, which stays as it is, and the critic it learns from."""

    def __init__(self, teacher: MaskUNet, distillation: Distillation):
        super().__init__()
        self.config: dict[str, Any] = {**teacher.config, "steps": distillation.steps, "omega": distillation.omega}
        self.network = deepcopy(teacher).train()
        self.critic = ProjectedCritic(teacher.config["widths"])
        self._teacher = [teacher.requires_grad_(False).eval()]  # in a list: no part of the checkpoints

    @property
    def teacher(self) -> MaskUNet:
        """The frozen one."""
        return self._teacher[0]

    def trained_parameters(self) -> list[dict]:
        """Groups of parameters for the optimiser: the network's, and the critic's."""
        critic = [parameter for parameter in self.critic.parameters() if parameter.requires_grad]
        return [{"params": list(self.network.parameters())}, {"params": critic, "betas": (0.5, 0.99)}]


def distillation_loss(model: Student, alphas: Tensor, draw: Draw, distillation: Distillation, compute: Compute) -> Loss:
    """The losses above; the levels of a batch are spread evenly, so that it has at least S samples.

    Parameters
    ----------
    alphas : (T,), the noise schedule
    draw : clean samples, their conditions and what stands beside them, such as `stages.detail_draws`
    """
    parts, teacher = distillation.parts, model.teacher
    times = torch.tensor([*trailing_timesteps(distillation.steps * parts, len(alphas)), 0], device=compute.device)
    levels = torch.cat([alphas[times[:-1].cpu()], torch.ones(1)]).to(compute.device)  # of the teacher; the last: clean

    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            x, condition, beside = draw(generator)
        numbers = spread(distillation.steps, len(x), generator).to(x.device)
        start, noise = numbers * parts, torch.randn(x.shape, generator=generator).to(x.device)
        a, b = (levels[place].view(-1, 1, 1, 1) for place in (start, start + parts))
        state, ahead = (c.sqrt() * x + (1 - c).sqrt() * noise for c in (a, b))
        cosine, sine = (a * b).sqrt() + ((1 - a) * (1 - b)).sqrt(), (b * (1 - a)).sqrt() - (a * (1 - b)).sqrt()

        def shown(z: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return torch.cat([z, beside.to(z.dtype)], dim=1), times[place], condition

        with torch.no_grad(), compute.autocast():
            taught = teacher_steps(teacher, levels, shown, state, start, distillation)
        with compute.autocast():
            v = model.network(*shown(state, start)).float()
        errors = (v - (cosine * state - taught) / sine).square().mean(dim=(1, 2, 3))
        weight = distillation.pull * min(1.0, max(0.0, (step - distillation.alone) / max(distillation.ramp, 1)))
        followed, fooled, told = errors.mean(), errors.new_zeros(()), errors.new_zeros(())
        through = followed
        if weight:
            y = v.detach().requires_grad_()
            with compute.autocast():
                with torch.no_grad():
                    real = teacher.taps(*shown(ahead, start + parts))
                fooled, told = judged(
                    model.critic, real, teacher.taps(*shown(cosine * state - sine * y, start + parts))
                )
            own, pull = (
                torch.autograd.grad(term, of, retain_graph=True)[0] for term, of in ((followed, v), (fooled, y))
            )
            through = (v * (own + weight * balanced(v, model.network.last_kernel, own, pull))).sum()
        by_level = {f"level{k}": errors[numbers == k].mean() for k in range(distillation.steps)}
        value = followed.detach() + told + through - through.detach()
        return {"loss": value, "followed": followed, "fooled": fooled, "judged": told, **by_level}

    return loss


def teacher_steps(
    teacher: nn.Module,
    levels: Tensor,
    shown: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    z: Tensor,
    start: Tensor,
    distillation: Distillation,
) -> Tensor:
    """States after K of the teacher's steps; the first and the last one are of first order, as in `solvers.DpmSolver`.

    Parameters
    ----------
    levels : of all of its steps, alphas
    shown : a state at some of these levels as the arguments of the network
    z, start : states (B, C, h, w) and the numbers of their levels, int64 (B,)
    """
    before = None
    for part in range(distillation.parts):
        place = start + part
        after, here, last = (levels[n].view(-1, 1, 1, 1) for n in (place + 1, place, place - 1))
        state, t, condition = shown(z, place)
        v = teacher(state, t, condition).float()
        if distillation.omega:  # eq. 2; where no label is known, both calls are one
            null = teacher(state, t, torch.zeros_like(condition)).float()
            v = (1 + distillation.omega) * v - distillation.omega * null
        clean = here.sqrt() * z - (1 - here).sqrt() * v
        z = dpm_solver_step(z, clean, [after, here, last], before if part < distillation.parts - 1 else None)
        before = clean
    return z
