"""A student arrives in one step where its teacher arrives in several: on data whose perfect network is known."""

import pytest
import torch
from torch import nn

from diffinfinite_lite.devices import Compute
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.noise import coordinate_noise
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas, trailing_timesteps
from diffinfinite_lite.sampling.windows import Window
from diffinfinite_lite.training.distillation import Distillation, Student, distillation_loss, teacher_steps
from diffinfinite_lite.training.loop import Optimisation, fit
from diffinfinite_lite.training.stages import Batch

ALPHAS = cosine_alphas()
MEAN, STD = torch.tensor([0.5, -0.3]).view(2, 1, 1), torch.tensor([1.4, 0.1]).view(2, 1, 1)


class Exact(nn.Module):
    """The perfect network of pixels that are independent draws from a Gaussian, one wide and one narrow channel."""

    prediction_type = "v_prediction"

    def __init__(self):
        super().__init__()
        self.config = {"widths": [2]}

    def forward(self, z, t, condition):
        a = ALPHAS[t].view(-1, 1, 1, 1)
        noise = (1 - a).sqrt() * (z - a.sqrt() * MEAN) / (a * STD**2 + 1 - a)
        return (noise - (1 - a).sqrt() * z) / a.sqrt()

    def taps(self, z, t, condition):
        return [z]


class Linear(nn.Module):
    """Any linear function of a pixel at each of the 4 levels of a student: as much as a Gaussian needs."""

    prediction_type = "v_prediction"

    def __init__(self):
        super().__init__()
        self.last_kernel = nn.Parameter(torch.zeros(4, 2, 3))

    def forward(self, z, t, condition):
        kernel = self.last_kernel[(999 - t) // 250]
        return torch.einsum("bij,bjhw->bihw", kernel, torch.cat([z, torch.ones_like(z[:, :1])], dim=1))


def draw(generator):
    x = MEAN + STD * torch.randn(16, 2, 6, 6, generator=generator)
    return Batch(x, torch.zeros(16, 6, 6, dtype=torch.int64), torch.zeros(16, 0, 6, 6))


def trained(network, distillation, folder, *, teacher, draw=draw, steps, rate):
    torch.manual_seed(0)
    model = Student(teacher, distillation)
    model.network = network
    loss = distillation_loss(model, ALPHAS, draw, distillation, Compute())
    optimisation = Optimisation(steps, rate, save_every=steps, decay=0.5)
    return list(fit(model, loss, optimisation, out=folder, parameters=model.trained_parameters()))


def painted(network, solver, steps, side=64):
    """What the library's loop samples, float (2, side, side)."""
    mask = torch.zeros(side, side, dtype=torch.int64)
    *_, level = sample(Denoiser(network, ALPHAS), mask, channels=2, patch=side, solver=solver, steps=steps, seed=1)
    return level.canvas.latents


def frechet(picture):
    """Fréchet distance of a picture's pixels to the data, channel by channel, whose covariance is diagonal."""
    mean, std = picture.mean((1, 2), keepdim=True), picture.std((1, 2), keepdim=True)
    return float(((mean - MEAN).square() + (std - STD).square()).sum())


def test_four_steps_of_a_student_are_nearer_to_the_data_than_four_of_its_perfect_teacher(tmp_path):
    student = Linear()
    trained(student, Distillation(pull=0), tmp_path, teacher=Exact(), steps=200, rate=0.1)
    fast, slow = painted(student, "ddim", 4), painted(Exact(), "dpm-solver++", 16)
    for solver in ("ddim", "dpm-solver++"):
        assert frechet(fast) < 0.2 * frechet(painted(Exact(), solver, 4)), solver
    assert (fast - slow).square().mean().sqrt() < 0.05, "pixel by pixel where sixteen steps of its teacher arrive"


class Two(Exact):
    """The perfect network where every number is 1 or -1, but for a little: no linear student can follow it."""

    def forward(self, z, t, condition):
        a = ALPHAS[t].view(-1, 1, 1, 1)
        variance = a * 0.01 + 1 - a
        noise = (1 - a).sqrt() * (z - a.sqrt() * torch.tanh(a.sqrt() * z / variance)) / variance
        return (noise - (1 - a).sqrt() * z) / a.sqrt()


def test_the_critic_gives_back_what_the_mean_takes_away(tmp_path):
    def two(generator):
        x = torch.randint(2, (16, 2, 6, 6), generator=generator) * 2.0 - 1
        x = x + 0.1 * torch.randn(x.shape, generator=generator)
        return Batch(x, torch.zeros(16, 6, 6, dtype=torch.int64), torch.zeros(16, 0, 6, 6))

    spread, losses = {}, {}
    for pull in (0.0, 0.5):
        student = Linear()
        distillation = Distillation(pull=pull, alone=50, ramp=50)
        steps = trained(student, distillation, tmp_path / str(pull), teacher=Two(), draw=two, steps=250, rate=0.05)
        spread[pull], losses[pull] = float(painted(student, "ddim", 4).std()), steps[-1].losses
    assert spread[0.0] < 0.92 and spread[0.0] + 0.015 < spread[0.5] < 1.01, "of data with 1.005"
    assert losses[0.0]["judged"] == 0 < losses[0.5]["judged"]
    assert losses[0.5]["followed"] < 1.05 * losses[0.0]["followed"], "and takes next to nothing from the other term"


class Labelled(nn.Module):
    """Answers another thing under each label."""

    prediction_type = "v_prediction"

    def forward(self, z, t, condition):
        return 0.5 * torch.tanh(z) - 0.1 * condition[:, None] + t.view(-1, 1, 1, 1) / 2000


@pytest.mark.parametrize("omega", [0.0, 1.5])
def test_the_teacher_goes_as_the_library_samples_guidance_included(omega):
    """All steps of one student's step, beside the loop with the solver and ω of eq. 2."""
    labels = torch.randint(1, 3, (1, 8, 8), generator=torch.Generator().manual_seed(0))
    *_, level = sample(
        Denoiser(Labelled(), ALPHAS, omega=omega),
        labels[0],
        **{"channels": 2, "patch": 8, "steps": 6, "solver": "dpm-solver++", "seed": 3},
    )
    times = torch.tensor(trailing_timesteps(6))
    levels = torch.cat([ALPHAS[times], torch.ones(1)])
    start = coordinate_noise(3, 0, 2, Window(0, 0, 8, 8))[None]
    got = teacher_steps(
        Labelled(),
        levels,
        lambda z, place: (z, times[place], labels),
        start,
        torch.zeros(1, dtype=torch.int64),
        Distillation(steps=1, parts=6, omega=omega),
    )
    torch.testing.assert_close(got[0], level.canvas.latents, atol=5e-3, rtol=0)


def test_a_student_begins_as_its_teacher_which_is_no_part_of_it():
    torch.manual_seed(0)
    teacher = Detail(8, (32, 32))
    nn.init.normal_(teacher.leave[-1].weight)
    model = Student(teacher, Distillation(omega=0.5))
    z, t, labels = torch.randn(2, 12, 8, 8), torch.tensor([999, 249]), torch.ones(2, 8, 8, dtype=torch.int64)
    assert torch.equal(model.network(z, t, labels), teacher(z, t, labels))
    assert model.config == {**teacher.config, "steps": 4, "omega": 0.5}
    assert {key.split(".")[0] for key in model.state_dict()} == {"network", "critic"}
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in model.network.parameters())
    maps = teacher.taps(z, t, labels)
    assert [tuple(each.shape) for each in maps] == [(2, 32, 8, 8), (2, 32, 4, 4)]
    other = teacher.taps(torch.cat([z[:, :8], z[:, 8:] + 1], dim=1), t, labels)
    assert not torch.allclose(maps[0], other[0]), "the draft is seen by the critic, too"
