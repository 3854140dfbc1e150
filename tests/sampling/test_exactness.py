"""What each plan does to data whose perfect network is known: Gaussian rows with correlation exp(-distance / xi)."""

from functools import partial

import numpy as np
import pytest
import torch

from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.noise import coordinate_noise
from diffinfinite_lite.sampling.plans import PLANS, diffcollage, multidiffusion, torus_grid
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import SOLVERS, cosine_alphas, make_solver
from diffinfinite_lite.sampling.windows import Window, check_plan

ALPHAS = cosine_alphas()
MEAN, PATCH, WIDTH = 0.5, 16, 48
HALF = partial(multidiffusion, stride=8)


def correlation(n, xi):
    place = np.arange(n)
    return np.exp(-np.abs(place[:, None] - place) / xi)


class Rows:
    """Exact denoiser: rows are independent of each other, pixels of a row have `correlation`."""

    prediction_type = "epsilon"

    def __init__(self, xi):
        self.xi = xi

    def __call__(self, z, t, mask):
        a, n = float(ALPHAS[t[0]]), z.shape[-1]
        gain = (1 - a) ** 0.5 * np.linalg.inv(a * correlation(n, self.xi) + (1 - a) * np.eye(n))
        return ((z.double() - a**0.5 * MEAN) @ torch.from_numpy(gain)).float()


def sampled(xi, width=WIDTH, channels=60, **settings):
    """Rows of independent samples, float (channels * PATCH, width), less their mean."""
    mask = torch.zeros(PATCH, width, dtype=torch.int64)
    settings = {"channels": channels, "patch": PATCH, "steps": 100} | settings
    *_, level = sample(Denoiser(Rows(xi), ALPHAS, batch_size=64), mask, **settings)
    return level.canvas.latents.flatten(0, 1).numpy() - MEAN


def covariance(rows, lag=0):
    return float((rows[:, lag:] * rows[:, : rows.shape[1] - lag]).mean())


def predicted(precision, steps, n=WIDTH):
    """Covariance after DDIM whose noise estimate is sqrt(1 - a) precision(a) z."""
    solver, state = make_solver("ddim", steps, ALPHAS), np.eye(n)
    for a, b in zip(solver.alphas[:-1].double().numpy(), solver.alphas[1:].double().numpy(), strict=True):
        estimate = (1 - a) ** 0.5 * precision(a)
        clean = (np.eye(n) - (1 - a) ** 0.5 * estimate) / a**0.5
        state = (b**0.5 * clean + (1 - b) ** 0.5 * estimate) @ state
    return state @ state.T


def averaged(xi, offsets=range(PATCH), n=WIDTH):
    """Mean over the grid's offsets of the windows' perfect precisions, as a function of alpha."""
    ring = np.minimum(np.arange(n), n - np.arange(n))
    whole = np.exp(-ring[(np.arange(n)[:, None] - np.arange(n)) % n] / xi)
    seen = []
    for offset in offsets:
        owner = (np.arange(n) - offset) % n // PATCH
        seen.append(whole * (owner[:, None] == owner))
    return lambda a: np.linalg.inv(a * np.array(seen) + (1 - a) * np.eye(n)).mean(axis=0)


@pytest.mark.parametrize(
    ("plan", "solver"), [*((plan, "ddim") for plan in PLANS), *(("random-patch", name) for name in list(SOLVERS)[1:])]
)
def test_canvas_of_one_window_is_exact_with_every_plan(plan, solver):
    """Half a window of correlation: as far as it reaches nothing is lost."""
    rows = sampled(8.0, width=PATCH, channels=150, plan=plan, solver=solver, steps=150)
    assert np.abs(rows.mean()) < 0.04
    for lag in (0, 1, 4, 12):
        assert covariance(rows, lag) == pytest.approx(np.exp(-lag / 8), abs=0.06)


def test_one_window_is_the_linear_map_of_its_noise_that_theory_says():
    noise = coordinate_noise(0, 0, 1, Window(0, 0, PATCH, PATCH))[0].double().numpy()
    values, vectors = np.linalg.eigh(correlation(PATCH, 8.0))
    solver, gain = make_solver("ddim", 100, ALPHAS), np.ones(PATCH)
    for a, b in zip(solver.alphas[:-1].double().numpy(), solver.alphas[1:].double().numpy(), strict=True):
        variance = a * values + 1 - a
        gain = gain * ((a * b) ** 0.5 * values + ((1 - a) * (1 - b)) ** 0.5) / variance
    wanted = noise @ (vectors * gain) @ vectors.T
    rows = sampled(8.0, width=PATCH, channels=1)
    np.testing.assert_allclose(rows, wanted, atol=1e-2)


@pytest.mark.parametrize("plan", [*(name for name in PLANS if name != "multidiffusion"), HALF])
def test_short_correlations_survive_every_plan(plan):
    rows = sampled(0.5, plan=plan, steps=150)
    assert np.abs(rows.mean()) < 0.03
    for lag in (0, 1, 2):
        assert covariance(rows, lag) == pytest.approx(np.exp(-lag / 0.5), abs=0.07)


@pytest.mark.parametrize("plan", [*(name for name in PLANS if name != "multidiffusion"), HALF])
def test_the_mean_is_right_however_long_the_correlations(plan):
    assert np.abs(sampled(8.0, plan=plan, channels=150, steps=25).mean()) < 0.04


def test_what_moving_windows_lose_is_the_mean_of_perfect_estimates():
    """The library loses what the mean over offsets predicts, and the mean loses it however many the steps."""
    theory = predicted(averaged(4.0), 100)
    rows = sampled(4.0, plan=torus_grid)
    for lag in (0, 1, 8):
        assert covariance(rows, lag) == pytest.approx(theory[20, 20 + lag], abs=0.05)
    assert predicted(averaged(4.0), 1000)[0, 0] < 0.94
    # one offset, a grid that stays: right inside, nothing across
    fixed = predicted(averaged(4.0, offsets=[0]), 1000)
    np.testing.assert_allclose(fixed[:PATCH, :PATCH], correlation(PATCH, 4.0), atol=0.01)
    assert np.abs(fixed[:PATCH, PATCH:]).max() < 1e-9


def test_windows_that_stay_and_fade_lose_in_their_overlaps_alone():
    """What the mixture returns is what its weights predict: right where one window is heard, little lost elsewhere."""

    def precision(a):
        total = np.zeros((WIDTH, WIDTH))
        for window, weight in PLANS["mixture"]((PATCH, WIDTH), PATCH, None):
            here = slice(window.left, window.left + PATCH)
            inside = np.linalg.inv(a * correlation(PATCH, 4.0) + (1 - a) * np.eye(PATCH))
            total[here, here] += weight[0].double().numpy()[:, None] * inside
        return total

    theory, rows = predicted(precision, 100), sampled(4.0, plan="mixture")
    np.testing.assert_allclose(rows.T @ rows / len(rows), theory, atol=0.13)  # three standard errors of a variance
    exact = predicted(precision, 1000)
    moving = predicted(averaged(4.0), 1000)[0, 0]
    assert exact[2, 2] > 0.99 and exact.diagonal().min() > 0.96 > 0.93 > moving
    assert exact[9, 16] > 0.1, "windows 0-15 and 10-25: none holds both pixels, their overlap links them"


def test_what_moving_windows_lose_goes_with_correlation_length_over_patch():
    lost = {xi: 1 - predicted(averaged(xi), 500)[0, 0] for xi in (0.02, 1.0, 4.0)}
    discretisation = lost.pop(0.02)  # of the solver, which independent pixels suffer as well
    for xi, loss in lost.items():
        assert 0.1 < (loss - discretisation) / (xi / PATCH) < 0.3


def test_diffcollage_grid_is_exact_for_clean_markov_data_and_not_at_noise():
    size, scale = (12, 16), 3.0
    views = list(diffcollage(size, 8, None))
    check_plan(views, size)
    whole = [correlation(n, scale) for n in size]
    # Bethe's count with the quarters as variables: patches less (their patches - 1) times each quarter
    patches = [(window, 1.0) for window, _ in views if (window.height, window.width) == (8, 8)]
    quarters = [Window(top, left, 4, 4) for top in range(0, 12, 4) for left in range(0, 16, 4)]
    holds = {q: sum(p.top <= q.top < p.top + 8 and p.left <= q.left < p.left + 8 for p, _ in patches) for q in quarters}
    assert max(holds.values()) == 4
    bethe = [*patches, *((q, 1.0 - count) for q, count in holds.items())]

    def gap(parts, alpha):
        total = np.zeros((size[0] * size[1],) * 2)
        for window, sign in parts:
            rows, columns = (correlation(n, scale) for n in (window.height, window.width))
            noisy = alpha * np.kron(rows, columns) + (1 - alpha) * np.eye(window.height * window.width)
            inside = np.arange(total.shape[0]).reshape(size)[window.index(size)].ravel()
            total[np.ix_(inside, inside)] += sign * np.linalg.inv(noisy)
        truth = np.linalg.inv(alpha * np.kron(*whole) + (1 - alpha) * np.eye(len(total)))
        return np.abs(total - truth).max()

    ours = [(window, float(weight[0, 0])) for window, weight in views]
    check_plan([(window, torch.full((window.height, window.width), sign)) for window, sign in bethe], size)
    assert gap(ours, 1.0) < 1e-9
    assert gap(bethe, 1.0) > 1e-2
    assert gap(ours, 0.5) > 1e-2
