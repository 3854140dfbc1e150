"""Schedules, steps and noise that belongs to coordinates."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinfinite_lite.sampling.noise import coordinate_noise, level_generator
from diffinfinite_lite.sampling.solvers import SOLVERS, cosine_alphas, ddim_step, make_solver, trailing_timesteps
from diffinfinite_lite.sampling.windows import Window

ALPHAS = cosine_alphas()


@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_schedule_is_that_of_diffusers_to_the_last_bit(steps, diffusers):
    theirs = diffusers.DDIMScheduler(steps, beta_schedule="squaredcos_cap_v2")
    assert torch.equal(cosine_alphas(steps), theirs.alphas_cumprod)


def network(z, t):
    return 0.6 * z + 0.2 * z.flip(-1) + t / 2000


def run(solver, z, seed=3):
    memory = None
    for level, t in enumerate(solver.timesteps):
        noise = coordinate_noise(seed, level, len(z), Window(0, 0, *z.shape[1:])) if solver.eta else None
        z, memory = solver.step(network(z, t), z, level, noise, memory=memory)
    return z


@pytest.mark.parametrize("steps", [1, 2, 4, 20, 250, 500])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_equals_diffusers(steps, eta, diffusers):
    z = z0 = coordinate_noise(0, 0, 2, Window(0, 0, 8, 8))
    theirs = diffusers.DDIMScheduler(
        1000, beta_schedule="squaredcos_cap_v2", clip_sample=False, timestep_spacing="trailing"
    )
    theirs.set_timesteps(steps)
    for level, t in enumerate(theirs.timesteps.tolist()):
        noise = coordinate_noise(3, level, 2, Window(0, 0, 8, 8)) if eta else None
        z = theirs.step(network(z, t), t, z, eta=eta, variance_noise=noise).prev_sample
    assert theirs.timesteps.tolist() == trailing_timesteps(steps)
    torch.testing.assert_close(run(make_solver("ddim", steps, ALPHAS, eta), z0), z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [5, 30])
def test_ddpm_equals_diffusers(steps, monkeypatch, diffusers):
    z = z0 = coordinate_noise(0, 0, 2, Window(0, 0, 8, 8))
    module = diffusers.schedulers.scheduling_ddpm
    theirs = diffusers.DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2", clip_sample=False)
    theirs.set_timesteps(timesteps=trailing_timesteps(steps))
    for level, t in enumerate(trailing_timesteps(steps)):
        noise = coordinate_noise(3, level, 2, Window(0, 0, 8, 8))
        monkeypatch.setattr(module, "randn_tensor", lambda *a, noise=noise, **k: noise)
        z = theirs.step(network(z, t), t, z).prev_sample
    torch.testing.assert_close(run(make_solver("ddpm", steps, ALPHAS), z0), z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 5, 20, 50])
def test_dpm_solver_equals_diffusers(steps, diffusers):
    z = z0 = coordinate_noise(0, 0, 2, Window(0, 0, 8, 8))
    theirs = diffusers.DPMSolverMultistepScheduler(1000, beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    for t in theirs.timesteps.tolist():
        z = theirs.step(network(z, t), t, z).prev_sample
    assert theirs.timesteps.tolist() == trailing_timesteps(steps)
    torch.testing.assert_close(run(make_solver("dpm-solver++", steps, ALPHAS), z0), z, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 30, 333, 600])
def test_the_last_step_ends_without_noise(name, steps):
    """With one picture as data set, its exact denoiser leads to that picture, for any S."""
    picture = torch.linspace(-2, 2, 16).view(1, 4, 4)
    z = coordinate_noise(0, 0, 1, Window(0, 0, 4, 4))
    solver, memory = make_solver(name, steps, ALPHAS), None
    for level, t in enumerate(solver.timesteps):
        eps = (z - ALPHAS[t] ** 0.5 * picture) / (1 - ALPHAS[t]) ** 0.5
        noise = coordinate_noise(0, level + 1, 1, Window(0, 0, 4, 4)) if solver.eta else None
        z, memory = solver.step(eps, z, level, noise, memory=memory)
    torch.testing.assert_close(z, picture, rtol=0, atol=5e-3)


@given(steps=st.integers(1, 1000))
def test_trailing_timesteps(steps):
    timesteps = trailing_timesteps(steps)
    assert len(timesteps) == steps and timesteps[0] == 999 and timesteps[-1] >= 0
    assert all(a > b for a, b in pairwise(timesteps))


@settings(max_examples=30, deadline=None)
@given(top=st.integers(0, 150), left=st.integers(0, 150), height=st.integers(1, 40), width=st.integers(1, 90))
def test_noise_does_not_depend_on_the_part_asked_for(top, left, height, width):
    part = coordinate_noise(7, 3, 2, Window(top, left, height, width))
    assert torch.equal(part, PLANE[:, top : top + height, left : left + width])


PLANE = coordinate_noise(7, 3, 2, Window(0, 0, 256, 256))


def test_noise_is_standard_gaussian_and_independent():
    values = PLANE.flatten().double()
    n = len(values)
    assert abs(values.mean()) < 4 / math.sqrt(n) and abs(values.var() - 1) < 6 / math.sqrt(n)
    assert abs((values**4).mean() - 3) < 0.15
    others = [coordinate_noise(*key, 2, Window(0, 0, 256, 256)) for key in ((7, 4), (8, 3), (3, 7))]
    shifted = [PLANE.roll(1, 1), PLANE.roll(64, 2), PLANE.flip(0)]
    for other in others + shifted:
        assert abs((other.flatten().double() * values).mean()) < 5 / math.sqrt(n)


def test_a_seed_means_the_same_noise_for_ever():
    noise = coordinate_noise(1, 2, 1, Window(100, 200, 1, 3)).flatten().tolist()
    assert noise == pytest.approx([0.4363479, -0.8835272, -1.4368342], abs=1e-6)
    assert level_generator(1, 2).initial_seed() == level_generator(1, 2).initial_seed()
    assert level_generator(1, 2).initial_seed() != level_generator(2, 1).initial_seed()


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, None])
def test_steps_out_of_range(steps):
    with pytest.raises(ValueError, match=r"from 1 to 1000, got"):
        make_solver("ddim", steps, ALPHAS)


def test_bad_scheduler_and_settings():
    with pytest.raises(ValueError, match=r"ddim, ddpm, dpm-solver\+\+, got 'euler'"):
        make_solver("euler", 10, ALPHAS)
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="expected an eta"):
            make_solver("ddim", 10, ALPHAS, eta)
    with pytest.raises(ValueError, match="eta with ddim only"):
        make_solver("dpm-solver++", 10, ALPHAS, 0.5)
    with pytest.raises(ValueError, match="expected noise where eta > 0"):
        ddim_step(PLANE, PLANE, ALPHAS[9], ALPHAS[8], eta=1.0)
    with pytest.raises(ValueError, match="seed"):
        coordinate_noise(-1, 0, 1, Window(0, 0, 2, 2))


@pytest.mark.parametrize("name", SOLVERS)
def test_what_the_last_step_returned_cannot_be_forgotten(name):
    """Without it a solver of second order silently is one of first order; three chapters had been written so."""
    solver, z = make_solver(name, 4, cosine_alphas()), torch.ones(2)
    with pytest.raises(TypeError, match="memory"):
        solver.step(z, z, 1, z)
    _, memory = solver.step(z, z, 0, z, memory=None)
    again = [solver.step(0.5 * z, z, 1, z, memory=remembered)[0] for remembered in (memory, None)]
    assert torch.equal(*again) == (memory is None)
