"""Training loops: a killed run goes on as if nothing had happened; eq. 9 draws what it says."""

import os
import signal

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from diffinfinite_lite.devices import Compute
from diffinfinite_lite.labels import pool_mask
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.autoencoder import LiteAutoencoder
from diffinfinite_lite.sampling.solvers import cosine_alphas
from diffinfinite_lite.training.loop import Optimisation, fit, learning_rate
from diffinfinite_lite.training.losses import Crops, Draws, autoencoder_loss, image_loss

TILES = torch.tensor([[200, 120, 180], [90, 60, 140], [240, 240, 240]], dtype=torch.uint8)[:, None, None].expand(
    3, 40, 40, 3
)
CROPS = Crops(size=32, batch=2)


def tiny():
    torch.manual_seed(0)
    return LiteAutoencoder(widths=(8, 8, 8), noise=0.0).train()


def run(model, steps, out):
    loss = autoencoder_loss(model, TILES, CROPS, Compute())
    return [p.losses["loss"] for p in fit(model, loss, Optimisation(steps, 1e-3, save_every=2), out=out)]


def test_resumed_run_is_bit_identical(tmp_path):
    whole = tiny()
    expected = run(whole, 6, tmp_path / "whole")
    interrupted = tiny()
    loss = autoencoder_loss(interrupted, TILES, CROPS, Compute())
    for progress in fit(interrupted, loss, Optimisation(6, 1e-3, save_every=2), out=tmp_path / "cut"):
        if progress.step == 5:
            break  # killed after step 5: the last checkpoint is that of step 4
    resumed = tiny()
    assert run(resumed, 6, tmp_path / "cut") == expected[4:]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_training_lowers_the_loss(tmp_path):
    model = tiny()
    losses = run(model, 60, tmp_path)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_shipped_average_loads(tmp_path):
    run(tiny(), 2, tmp_path)
    model = checkpoint.load_weights(tmp_path / "ema.safetensors", LiteAutoencoder)
    assert not model.training
    assert model.config["widths"] == [8, 8, 8]


def test_loss_that_is_not_a_number_stops_the_run(tmp_path):
    model = tiny()
    broken = lambda step, g: {"loss": model.decode(torch.zeros(1, 8, 2, 2)).sum() * float("nan")}  # noqa: E731
    with pytest.raises(ValueError, match=r"expected finite losses, got .*nan.* at step 1: lower the learning rate"):
        next(fit(model, broken, Optimisation(2, 1e-3), out=tmp_path))


def test_fewer_steps_than_were_made_are_refused(tmp_path):
    run(tiny(), 4, tmp_path)
    assert run(tiny(), 4, tmp_path) == []  # complete: the same command again changes nothing
    with pytest.raises(ValueError, match=r"expected at least the 4 steps that .* has already, got 2"):
        run(tiny(), 2, tmp_path)


@pytest.mark.parametrize("number", [28, 27])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, number):
    """The field's case 35: safetensors has an error of its own, which is no OSError."""
    run(tiny(), 2, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args, **options):
        raise SafetensorError(f"Error while serializing: I/O error: somehow (os error {number})")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match=r"expected room for state\.safetensors in .*, got: .*nothing half") as caught:
        run(tiny(), 4, tmp_path)
    assert caught.value.errno == number and os.strerror(number) in str(caught.value)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in ("state.safetensors", "ema.safetensors"):
        assert after[name] == before[name]
    assert set(after) == set(before)


def test_the_log_goes_on_after_the_last_checkpoint(tmp_path):
    """Rows of steps that a killed run made later are removed, and half a row as well."""
    run(tiny(), 6, tmp_path / "whole")
    run(tiny(), 4, tmp_path / "cut")
    with (tmp_path / "cut" / "log.csv").open("a") as log:
        log.write("5,0.1,0.1\n1")
    rows = (tmp_path / "cut" / "log.csv").read_text().splitlines()
    run(tiny(), 6, tmp_path / "cut")
    found = (tmp_path / "cut" / "log.csv").read_text().splitlines()
    assert found[:5] == rows[:5] and [row.split(",")[0] for row in found] == ["step", *"123456"]


def test_ctrl_c_ends_the_run_after_its_step_and_keeps_it(tmp_path):
    whole, stopped = tiny(), tiny()
    expected = run(whole, 6, tmp_path / "whole")
    loss = autoencoder_loss(stopped, TILES, CROPS, Compute())

    def interrupted(step, generator):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)  # in the middle of a step
        return loss(step, generator)

    with pytest.raises(KeyboardInterrupt):
        list(fit(stopped, interrupted, Optimisation(6, 1e-3, save_every=100), out=tmp_path / "cut"))
    assert checkpoint.load(tmp_path / "cut/state.safetensors")[1]["step"] == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "as it was before"
    assert run(tiny(), 6, tmp_path / "cut") == expected[3:]


def test_minutes_of_all_runs_are_in_the_log(tmp_path):
    run(tiny(), 4, tmp_path)
    tensors, config = checkpoint.load(tmp_path / "state.safetensors")
    checkpoint.save(tmp_path / "state.safetensors", tensors, {**config, "minutes": 70.0})
    run(tiny(), 6, tmp_path)
    minutes = [float(row.split(",")[1]) for row in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert minutes == sorted(minutes) and minutes[3] < 1 and 70 <= minutes[4] < 71


def test_learning_rate_warms_up_and_decays():
    rates = [learning_rate(step, 100, 1.0) for step in range(1, 101)]
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert rates[0] < 0.3
    assert rates[-1] == pytest.approx(0.05)
    held = [learning_rate(step, 100, 1.0, warmup=0.1, decay=0.2) for step in range(1, 101)]
    assert held[9:80] == pytest.approx([1.0] * 71) and held[89] == pytest.approx(0.5)


class Spy(nn.Module):
    """Remembers the conditions that it was called with; predicts nothing."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, z, t, condition):
        self.seen.append((z, condition))
        return z * self.zero


@pytest.mark.parametrize("p_unc", [0.0, 0.25, 0.5, 1.0])
def test_eq_9_unlabelled_samples_are_null_and_the_draw_is_per_sample(p_unc):
    spy = Spy()
    unlabelled, latents = torch.full((5, 4, 8, 8), 2.0), torch.full((5, 4, 8, 8), 1.0)
    conditions = torch.full((5, 8, 8), 6)
    conditions[:, :, 4:] = 8
    draws = Draws(p_unc, patch=8, batch=400, single_label=0.5)
    loss = image_loss(spy, torch.ones(10), unlabelled, [(latents, conditions)], draws, Compute())
    loss(1, torch.Generator().manual_seed(0))
    z, condition = spy.seen[0]
    from_q0 = z[:, 0, 0, 0] == 2
    assert abs(from_q0.float().mean() - p_unc) < 4 * (p_unc * (1 - p_unc) / 400) ** 0.5 + 1e-9
    assert (condition[from_q0] == 0).all()
    if p_unc == 1:
        return
    if p_unc:  # neighbours in a batch are independent
        assert abs(torch.corrcoef(torch.stack([from_q0[:-1], from_q0[1:]]).float())[0, 1]) < 0.2
    whole = (condition[~from_q0] > 0).all(dim=(1, 2)).float().mean()
    assert 0.35 < whole < 0.65
    assert all(set(c.unique().tolist()) in ({0, 6}, {0, 8}, {6, 8}) for c in condition[~from_q0])


def test_the_target_is_v():
    """A model that knows z and the noise has no loss: v = sqrt(a) noise - sqrt(1 - a) z."""
    z = torch.zeros(1, 1, 8, 8)  # then v = sqrt(a) noise = sqrt(a / (1 - a)) z_t
    alphas = cosine_alphas()[100:900]

    def oracle(z_t, t, condition):
        a = alphas[t].view(-1, 1, 1, 1)
        return (a / (1 - a)).sqrt() * z_t

    loss = image_loss(oracle, alphas, z, [(z, torch.zeros(1, 8, 8, dtype=torch.int64))], Draws(patch=8), Compute())
    assert loss(1, torch.Generator().manual_seed(0))["loss"] < 1e-8


def test_half_of_the_timesteps_can_come_from_the_middle():
    """A triangle has a quarter of its weight in the outer quarters, a uniform draw half: 0.375 of the two mixed."""

    class Times(Spy):
        def forward(self, z, t, condition):
            self.seen.append((t, condition))
            return z * self.zero

    spy = Times()
    z = torch.zeros(1, 4, 8, 8)
    draws = Draws(p_unc=1.0, patch=8, batch=4000, middle=0.5)
    loss = image_loss(spy, torch.ones(1000), z, [], draws, Compute())
    loss(1, torch.Generator().manual_seed(0))
    t = spy.seen[0][0]
    assert 0 <= t.min() < 20 and 980 < t.max() <= 999
    assert ((t < 250) | (t >= 750)).float().mean() == pytest.approx(0.375, abs=0.025)


def test_pooling_takes_the_most_frequent_label():
    mask = torch.zeros(1, 8, 16, dtype=torch.uint8)
    mask[:, :5, :8] = 3
    mask[:, :, 8:] = 2
    assert pool_mask(mask).tolist() == [[[3, 2]]]
