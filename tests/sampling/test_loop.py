"""The one loop: exactness, invariance, statistics, inpainting, bad input."""

import time
from functools import partial
from itertools import islice, pairwise

import pytest
import torch

from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.inpainting import Inpainting, Known
from diffinfinite_lite.sampling.noise import coordinate_noise, level_generator
from diffinfinite_lite.sampling.plans import PLANS, multidiffusion
from diffinfinite_lite.sampling.sample import sample
from diffinfinite_lite.sampling.solvers import cosine_alphas, trailing_timesteps
from diffinfinite_lite.sampling.windows import Window
from tests.sampling.test_windows import TABLE
from tests.toys import Arithmetic as Stub

ALPHAS = cosine_alphas()


def labels(height=20, width=13, seed=0):
    return torch.randint(4, (height, width), generator=torch.Generator().manual_seed(seed))


def final(denoiser, mask, **settings):
    *_, level = sample(denoiser, mask, **{"channels": 2, "patch": 8, "steps": 4} | settings)
    return level.canvas.latents


def algorithm_2(unet, mask, y, windows, timesteps, eta, omega, noise):
    """Alg. 2 and 4.3 word by word: replica of the last step, time index per pixel, first one wins."""
    size, steps = tuple(mask.shape), len(timesteps)
    index = torch.full(size, steps)  # L_T = T
    for m, t in enumerate(timesteps):
        a = ALPHAS[t]
        b = ALPHAS[timesteps[m + 1]] if m + 1 < steps else torch.tensor(1.0)
        sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
        replica, old, new = y.clone(), steps - m, steps - m - 1
        for window in windows[m]:
            where = window.index(size)
            everywhere = (slice(None), *where)
            # "restore the pixels that already received an update" from the replica
            crop = torch.where(index[where] == new, replica[everywhere], y[everywhere])
            time, cut = torch.tensor([t]), mask[where]
            u = unet(crop[None], time, torch.zeros_like(cut)[None])[0]
            for n in cut.unique():
                c = unet(crop[None], time, torch.where(cut == n, n, 0)[None])[0]
                eps = (1 + omega) * c - omega * u if n else u
                clean = (crop - (1 - a) ** 0.5 * eps) / a**0.5
                stepped = b**0.5 * clean + (1 - b - sigma**2).clamp(min=0) ** 0.5 * eps
                if eta:
                    stepped = stepped + sigma * noise[m][everywhere]
                # [y_{t-1}]_i <- [z_{t-1} | M_i]_l if i is in no earlier window and n is its own label
                mine = (index[where] == old) & (cut == n)
                y[everywhere] = torch.where(mine, stepped, y[everywhere])
            index[where] = torch.where(index[where] == old, new, index[where])
        assert (index == new).all()
    return y


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("omega", [0.0, 0.5])
@pytest.mark.parametrize("name", ["random-patch", "torus-grid", "sliding-window"])
def test_first_writer_plans_are_algorithm_2_bit_for_bit(name, eta, omega):
    mask, seed, steps = labels(), 5, 6
    whole = Window(0, 0, *mask.shape)
    windows = [[w for w, _ in PLANS[name](tuple(mask.shape), 8, level_generator(seed, k))] for k in range(steps)]
    noise = [coordinate_noise(seed, 2 * k + 2, 2, whole) for k in range(steps)]
    start = coordinate_noise(seed, 0, 2, whole)
    wanted = algorithm_2(Stub(), mask, start, windows, trailing_timesteps(steps), eta, omega, noise)
    denoiser = Denoiser(Stub(), ALPHAS, omega=omega, conditioning="per-label", batch_size=5)
    assert torch.equal(final(denoiser, mask, plan=name, steps=steps, eta=eta, seed=seed), wanted)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("solver", ["ddim", "dpm-solver++"])
def test_one_window_equals_diffusers(name, solver, diffusers):
    mask, steps = labels(8, 8), 10
    kind = {"ddim": diffusers.DDIMScheduler, "dpm-solver++": diffusers.DPMSolverMultistepScheduler}[solver]
    extra = {"clip_sample": False} if solver == "ddim" else {}
    theirs = kind(1000, beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing", **extra)
    theirs.set_timesteps(steps)
    z = coordinate_noise(0, 0, 2, Window(0, 0, 8, 8))[None]
    for t in theirs.timesteps:
        z = theirs.step(Stub()(z, t[None], mask[None]), t, z).prev_sample
    ours = final(Denoiser(Stub(), ALPHAS), mask, plan=name, solver=solver, steps=steps)
    torch.testing.assert_close(ours, z[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("solver", ["ddpm", "dpm-solver++"])
@pytest.mark.parametrize("conditioning", ["dense", "per-label"])
def test_batch_size_changes_no_bit(name, solver, conditioning):
    results = [
        final(
            Denoiser(Stub(), ALPHAS, omega=0.4, conditioning=conditioning, batch_size=n),
            labels(),
            plan=name,
            solver=solver,
        )
        for n in (1, 3, 64)
    ]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_batch_size_hardly_matters_with_convolutions():
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(2, 2, 3, padding=1)

    def unet(z, t, mask):
        return 0.8 * z + 0.1 * convolution(z)

    unet.prediction_type = "epsilon"
    one, many = (final(Denoiser(unet, ALPHAS, batch_size=n), labels()) for n in (1, 16))
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-4)


def test_seed_decides_everything():
    one, two, other = (final(Denoiser(Stub(), ALPHAS), labels(), eta=1.0, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, two) and not torch.allclose(one, other)


def test_multidiffusion_of_noise_equals_that_of_next_states():
    mask = labels(12, 16)
    z = coordinate_noise(0, 0, 2, Window(0, 0, 12, 16))
    plan = partial(multidiffusion, stride=3)
    level = next(iter(sample(Denoiser(Stub(), ALPHAS), mask, channels=2, patch=8, plan=plan, steps=10)))
    wanted, (a, b) = torch.zeros_like(z), ALPHAS[[999, 899]]
    for window, weight in plan((12, 16), 8, None):
        at = (slice(None), *window.index((12, 16)))
        eps = Stub()(z[at][None], torch.tensor([999]), mask[at[1:]][None])[0]
        clean = (z[at] - (1 - a) ** 0.5 * eps) / a**0.5
        wanted[at] += weight * (b**0.5 * clean + (1 - b) ** 0.5 * eps)
    torch.testing.assert_close(level.canvas.latents, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", PLANS)
def test_timestep_map_holds_at_most_two_values(name):
    levels = sample(Denoiser(Stub(), ALPHAS), labels(), channels=1, patch=8, plan=name, steps=3, record=True)
    for step, level in enumerate(levels):
        assert level.step == step and level.timestep == trailing_timesteps(3)[step]
        assert level.frames.shape[1:] == (20, 13)
        for frame, following in pairwise(level.frames):
            assert set(frame.unique().tolist()) <= {3 - step, 2 - step}
            assert (following <= frame).all()
        assert level.frames[-1].unique().tolist() == [2 - step]
        assert level.canvas.timestep_map.unique().tolist() == [2 - step]


@pytest.mark.parametrize(
    ("conditioning", "omega", "per_window"),
    [("dense", 0.0, 1), ("dense", 1.0, 2), ("per-label", 0.0, 3), ("per-label", 1.0, 4)],
)
def test_ledger_counts_evaluations(conditioning, omega, per_window):
    mask = torch.tensor([1, 2, 3]).repeat(16, 6)[:, :16]  # three labels in every window, none unknown
    denoiser = Denoiser(Stub(), ALPHAS, omega=omega, conditioning=conditioning, batch_size=2)
    for _ in range(2):  # a run's ledger starts at zero
        *_, level = sample(denoiser, mask, channels=1, patch=8, plan="torus-grid", steps=5)
        assert level.ledger.evaluations == 5 * 4 * per_window
        assert level.ledger.windows == 5 * 4 and level.ledger.labels == 5 * 4 * 3
        assert level.ledger.calls == 5 * 2 * per_window


@pytest.mark.parametrize(("column", "side"), enumerate((16, 32, 64)))
@pytest.mark.parametrize("method", TABLE)
def test_ledger_of_a_run_is_the_table(method, column, side):
    name, _, stride = method.partition(" ")
    plan = partial(multidiffusion, stride=int(stride) * 8 // 64) if stride else name  # windows of 8, not 64 latents
    denoiser = Denoiser(Stub(), ALPHAS, omega=1.0, batch_size=256)
    steps = 1 if side == 64 else 2
    mask = torch.ones(side, side, dtype=torch.int64)
    *_, level = sample(denoiser, mask, channels=1, patch=8, plan=plan, steps=steps)
    ledger, whole = level.ledger, 2 * steps * TABLE[method][column]  # omega asks the null label as well
    assert ledger.pixels == whole * 8**2 and ledger.depth == steps
    assert ledger.evaluations == (2 * steps * (2 * (side // 4 - 1) - 1) ** 2 if name == "diffcollage" else whole)
    assert ledger.labels == ledger.windows == ledger.evaluations / 2


def test_ledger_divides_the_time_of_a_run():
    class Slow(Stub):
        def __call__(self, z, t, mask):
            time.sleep(0.01)
            return super().__call__(z, t, mask)

    denoiser, began, elsewhere = Denoiser(Slow(), ALPHAS), time.perf_counter(), 0.0
    for level in sample(denoiser, labels(), channels=1, patch=8, plan="torus-grid", steps=3):
        ledger = level.ledger
        time.sleep(0.02)  # the caller's time is not the run's
        elsewhere += 0.02
    spent = time.perf_counter() - began
    assert ledger.network_seconds >= 3 * 0.01 and ledger.canvas_seconds > 0
    assert ledger.network_seconds + ledger.canvas_seconds <= spent - elsewhere


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm-solver++"])
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("steps", [2, 7])
def test_all_steps_are_run_and_leave_no_noise(name, solver, steps):
    """A network that knows the picture: after S steps it is the picture, after S - 1 noise would remain."""
    picture, seen = 0.8, []

    class Knows:
        prediction_type = "epsilon"

        def __call__(self, z, t, mask):
            seen.append(int(t[0]))
            return (z - ALPHAS[t[0]] ** 0.5 * picture) / (1 - ALPHAS[t[0]]) ** 0.5

    result = final(Denoiser(Knows(), ALPHAS), labels(), plan=name, solver=solver, steps=steps)
    assert sorted(set(seen), reverse=True) == trailing_timesteps(steps)
    torch.testing.assert_close(result, torch.full_like(result, picture), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("record", [1, 3, 1000])
def test_as_many_timestep_maps_as_asked_for(record):
    every, some, none = (
        list(sample(Denoiser(Stub(), ALPHAS), labels(), channels=1, patch=8, steps=2, record=wanted))
        for wanted in (True, record, False)
    )
    for all_, few in zip(every, some, strict=True):
        assert len(few.frames) == min(record, len(all_.frames))
        assert torch.equal(few.frames[-1], all_.frames[-1])
    assert all(level.frames is None for level in none)


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (5, 7), (8, 9), (17, 8)])
@pytest.mark.parametrize("name", PLANS)
def test_any_size(size, name):
    shapes = set()

    class Watch(Stub):
        def __call__(self, z, t, mask):
            shapes.add(tuple(z.shape[-2:]))
            return super().__call__(z, t, mask)

    result = final(Denoiser(Watch(), ALPHAS), labels(*size), plan=name)
    assert result.shape == (2, *size) and result.isfinite().all()
    assert name == "diffcollage" or shapes == {(8, 8)}


class Gaussian:
    """Exact denoiser of a stationary field with mean 0.5 and covariance rho^(|dy| + |dx|)."""

    prediction_type = "epsilon"

    def __init__(self, rho):
        self.rho = rho

    def __call__(self, z, t, mask):
        a, factors = ALPHAS[t[0]].double(), []
        for n in z.shape[-2:]:
            place = torch.arange(n).double()
            factors.append(torch.linalg.eigh(self.rho ** (place[:, None] - place).abs()))
        (rows, u), (columns, v) = factors
        gain = (1 - a) ** 0.5 / (a * rows[:, None] * columns + 1 - a)
        centred = z.double() - a**0.5 * 0.5
        return (u @ ((u.T @ centred @ v) * gain) @ v.T).to(z.dtype)


def gaussian_field(rho, size, channels=60, **settings):
    """Sampled field less its true mean, float (C, size, size); channels are independent samples."""
    denoiser = Denoiser(Gaussian(rho), ALPHAS, batch_size=64)
    return final(denoiser, torch.zeros(size, size, dtype=torch.int64), channels=channels, **settings) - 0.5


def covariance(field, down, right):
    height, width = field.shape[1] - down, field.shape[2] - right
    return float((field[:, down:, right:] * field[:, :height, :width]).mean())


LAGS = [(0, 0), (0, 1), (1, 1), (3, 0), (2, 2)]
HALF = partial(multidiffusion, stride=8)


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm-solver++"])
@pytest.mark.parametrize("plan", ["random-patch", "diffcollage"])
def test_gaussian_data_in_one_window(plan, solver):
    field = gaussian_field(0.6, 12, channels=150, patch=12, plan=plan, solver=solver, steps=100)
    assert abs(field.mean()) < 0.06
    for lag in LAGS:
        assert abs(covariance(field, *lag) - 0.6 ** sum(lag)) < 0.06


@pytest.mark.parametrize("plan", [*(name for name in PLANS if name != "multidiffusion"), HALF])
def test_gaussian_data_on_many_windows(plan):
    """Correlations much shorter than a window: every method keeps them."""
    field = gaussian_field(0.4, 32, patch=16, plan=plan, steps=40)
    assert abs(field.mean()) < 0.05
    for lag in LAGS:
        assert abs(covariance(field, *lag) - 0.4 ** sum(lag)) < 0.08


def test_gaussian_data_correlated_over_half_a_window():
    """Pixels at the edge of a window are estimated from one side only: contrast is lost, least by
    DiffCollage, whose assumption (given the overlap, both sides are independent) holds for this field."""
    variance = {
        plan: covariance(gaussian_field(0.7, 20, plan=plan, steps=50), 0, 0)
        for plan in ("diffcollage", "torus-grid", "random-patch")
    }
    assert abs(variance["diffcollage"] - 1) < 0.1
    for plan in ("torus-grid", "random-patch"):
        assert 0.75 < variance[plan] < 0.9


def test_margin_keeps_opposite_borders_apart():
    across = []
    for margin in (0, 7):
        field = gaussian_field(0.7, 16, plan="torus-grid", margin=margin, steps=20)
        across.append(float((field[:, 0] * field[:, -1]).mean()))
    assert across[0] > 0.3 and abs(across[1]) < 0.1


@pytest.mark.parametrize("name", PLANS)
def test_inpainting_keeps_known_pixels_exactly(name):
    keep = torch.zeros(20, 13, dtype=torch.bool)
    keep[:7] = keep[:, 9:] = True
    latents = torch.randn(2, 20, 13, generator=torch.Generator().manual_seed(1))
    latents[:, ~keep] = torch.nan  # must not be looked at
    settings = {"plan": name, "eta": 0.5, "known": Known(latents, keep)}
    result = final(Denoiser(Stub(), ALPHAS), labels(), **settings)
    assert torch.equal(result[:, keep], latents[:, keep]) and result.isfinite().all()
    assert not torch.allclose(result, final(Denoiser(Stub(), ALPHAS), labels(), plan=name, eta=0.5))


@pytest.mark.parametrize("solver", ["ddim", "dpm-solver++"])
def test_windows_left_out_of_inpainting_change_nothing(monkeypatch, solver):
    keep = torch.ones(32, 32, dtype=torch.bool)
    keep[3:6, 20:24] = False
    known = Known(torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(1)), keep)
    settings = {"plan": "torus-grid", "solver": solver, "known": known}
    quick, full = Denoiser(Stub(), ALPHAS), Denoiser(Stub(), ALPHAS)
    one = final(quick, labels(32, 32), **settings)
    monkeypatch.setattr(Inpainting, "plan", lambda self, plan: plan)
    assert torch.equal(one, final(full, labels(32, 32), **settings))
    assert quick.ledger.windows <= full.ledger.windows / 4


def test_everything_known_needs_no_network():
    latents, denoiser = torch.randn(2, 20, 13), Denoiser(Stub(), ALPHAS)
    known = Known(latents, torch.ones(20, 13, dtype=torch.bool))
    assert torch.equal(final(denoiser, labels(), known=known), latents)
    assert denoiser.ledger.evaluations == denoiser.ledger.depth == 0


def test_known_pixels_carry_the_noise_of_their_level():
    known = Known(torch.full((2, 64, 64), 3.0), torch.ones(64, 64, dtype=torch.bool))
    settings = {"channels": 2, "patch": 64, "steps": 5, "known": known}
    for level, t in zip(sample(Denoiser(Stub(), ALPHAS), labels(64, 64), **settings), (799, 599, 399), strict=False):
        assert abs(level.canvas.latents.mean() - 3 * ALPHAS[t] ** 0.5) < 0.05
        assert abs(level.canvas.latents.var() - (1 - ALPHAS[t])) < 0.05


def test_network_output_that_is_not_finite_stops_the_run():
    class Broken(Stub):
        def __call__(self, z, t, mask):
            return super().__call__(z, t, mask) / (0.0 if t[0] < 500 else 1.0)

    levels = sample(Denoiser(Broken(), ALPHAS), labels(8, 8), channels=1, patch=8, steps=4)
    assert [level.step for level in islice(levels, 2)] == [0, 1]
    with pytest.raises(FloatingPointError, match=r"level 2, t = 499, Window\(top=0, left=0"):
        next(levels)


MASK = labels()
HOLE = partial(multidiffusion, stride=9)
KNOWN = Known(torch.zeros(2, 20, 13), torch.zeros(20, 13, dtype=torch.bool))


@pytest.mark.parametrize(
    ("mask", "settings", "message"),
    [
        (MASK[None], {}, r"\(H, W\)"),
        (MASK.float(), {}, "int64"),
        (MASK[:0], {}, r"\(H, W\)"),
        (MASK - 1, {}, "labels from 0"),
        (MASK, {"channels": 0}, "channels"),
        (MASK, {"patch": 0}, "patch"),
        (MASK, {"margin": -1}, "margin"),
        (MASK, {"plan": "spiral"}, "random-patch, torus-grid.*got 'spiral'"),
        (MASK, {"plan": HOLE}, "sum to 1 at every pixel"),
        (MASK, {"steps": 0}, "steps"),
        (MASK, {"solver": "euler"}, "solver"),
        (MASK, {"eta": 2.0}, "eta"),
        (MASK, {"seed": -1}, "seed"),
        (
            MASK,
            {"known": Known(KNOWN.latents[:1], KNOWN.keep)},
            r"known.latents of shape \(2, 20, 13\)",
        ),
        (MASK, {"known": Known(KNOWN.latents, KNOWN.keep.long())}, "known.keep to be bool"),
        (MASK, {"known": Known(KNOWN.latents / 0, ~KNOWN.keep)}, "finite"),
    ],
)
def test_bad_input_is_refused_before_sampling(mask, settings, message):
    denoiser = Denoiser(Stub(), ALPHAS)
    with pytest.raises(ValueError, match=message):
        sample(denoiser, mask, **{"channels": 2, "patch": 8, "steps": 4} | settings)
    assert denoiser.ledger.evaluations == 0
