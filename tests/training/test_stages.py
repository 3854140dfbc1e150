"""What draft and detail learn from: aligned, turned as pictures are, dropped as often as is said; mixtures of codes."""

import pytest
import torch
from torch import nn

from diffinfinite_lite.devices import Compute
from diffinfinite_lite.labels import PROMPTS
from diffinfinite_lite.models.appearance import Appearance
from diffinfinite_lite.models.detail import NO_DRAFT
from diffinfinite_lite.models.draft import CODE, Draft
from diffinfinite_lite.models.thumbnails import Thumbnails
from diffinfinite_lite.sampling.noise import level_generator
from diffinfinite_lite.sampling.solvers import cosine_alphas
from diffinfinite_lite.training.loop import Optimisation, fit
from diffinfinite_lite.training.stages import (
    Aligned,
    Drafter,
    StageDraws,
    detail_loss,
    draft_loss,
    fit_mixtures,
    thumbnails,
)

CLEAN = torch.ones(1000)  # a schedule without noise: the network sees what was drawn
DRAWS = StageDraws(patch=6, batch=20, unlabelled=0.3, single_label=0.2, missing=0.25, noise=0.5)


class Watcher(nn.Module):
    """Keeps what it is asked; predicts nothing."""

    def __init__(self, channels):
        super().__init__()
        self.channels, self.calls = channels, []

    def forward(self, z, t, condition):
        self.calls.append((z, t, condition))
        return z[:, : self.channels] * 0


def aligned(size=8, count=5, latents=True):
    """Every pixel of a picture, its latents and its condition say the same number."""
    numbers = torch.arange(count * size * size).view(count, 1, size, size)
    small = torch.cat([numbers, numbers + 0.5, numbers * 2], 1).float() / 640
    alone = [[n] for n in range(count)]
    z = small.repeat(1, 2, 1, 1).half() if latents else None
    return Aligned(small.half(), (1 + numbers[:, 0] % 19).byte(), alone, latents=z)


def watched(loss, watcher, steps=20):
    for step in range(steps):
        loss(step, torch.Generator().manual_seed(step))
    return [torch.cat(part) for part in zip(*watcher.calls, strict=True)]


def test_thumbnails_are_those_that_the_draft_is_shown():
    images = torch.randint(256, (3, 16, 24, 3), dtype=torch.uint8)
    expected = Thumbnails((0, 0, 0), (1, 1, 1)).encode(images.permute(0, 3, 1, 2).float() / 127.5 - 1)
    torch.testing.assert_close(thumbnails(images, chunk=2).float(), expected, atol=1e-3, rtol=0)


def test_detail_sees_the_thumbnail_of_its_latents_with_noise_of_a_known_level():
    watcher = Watcher(6)
    z, t, condition = watched(detail_loss(watcher, CLEAN, [aligned()], DRAWS, Compute()), watcher)
    latents, seen, level = z[:, :6], z[:, 6:9], z[:, 9]
    assert torch.equal(level.amax((1, 2)), level.amin((1, 2)))
    level = level[:, 0, 0]
    has = level != NO_DRAFT
    assert 0.17 < 1 - has.float().mean() < 0.33 and level[has].min() >= 0 and level[has].max() <= 0.5
    noise = (seen - latents[:, :3])[has] / level[has].view(-1, 1, 1, 1)
    assert noise.std() == pytest.approx(1, abs=0.02) and abs(noise.mean()) < 0.02
    known = condition > 0
    assert 0.2 < 1 - known.flatten(1).any(1).float().mean() < 0.4
    number = (latents[:, 0] * 640).round().long()
    assert torch.equal(condition[known], (1 + number % 19)[known])
    single = [len(c[c > 0].unique()) == 1 for c in condition]
    assert 0.12 < sum(single) / len(single) < 0.28
    assert t.min() < 30 and t.max() > 970


def test_drafts_turn_with_their_labels_and_their_codes_are_dropped():
    draft = Watcher(3)
    model = Drafter(Draft((32, 32)), Appearance(2))
    model.draft = draft
    loss = draft_loss(model, CLEAN, [aligned(latents=False)], DRAWS, Compute())
    z, _, condition = watched(loss, draft)
    number, known = (z[:, 0] * 640).round().long(), condition > 0
    assert torch.equal(condition[known], (1 + number % 19)[known])
    right, down = number[:, 0, 1] - number[:, 0, 0], number[:, 1, 0] - number[:, 0, 0]
    assert set(zip(right.tolist(), down.tolist(), strict=True)) == {
        (a, b) for a, b in [(1, 8), (-1, 8), (1, -8), (-1, -8), (8, 1), (-8, 1), (8, -1), (-8, -1)]
    }
    assert z.shape[1] == 3 + CODE + 1 and set(z[:, -1].unique().tolist()) == {0.0, 1.0}
    assert 0.67 < z[:, -1, 0, 0].mean() < 0.83


def test_the_log_tells_the_loss_in_every_tenth_of_the_schedule(tmp_path):
    torch.manual_seed(0)
    model = Drafter(Draft((32, 32)), Appearance(2))
    loss = draft_loss(model, cosine_alphas(), [aligned(latents=False)], DRAWS, Compute())
    values = [progress.losses for progress in fit(model, loss, Optimisation(2, 1e-3), out=tmp_path)][-1]
    tenths = [values[f"tenth{k}"] for k in range(10)]
    assert len(values) == 11 and sum(tenths) / 10 == pytest.approx(values["loss"])  # two samples in each
    head = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert head[-11:] == ["loss", *(f"tenth{k}" for k in range(10))]


def test_appearances_learn_with_the_draft():
    torch.manual_seed(0)
    model = Drafter(Draft((32, 32)), Appearance(2))
    nn.init.normal_(model.draft.code[-1].weight)
    nn.init.normal_(model.draft.leave[-1].weight)
    nn.init.normal_(model.draft.middle.conv2.weight, std=0.1)
    loss = draft_loss(model, cosine_alphas(), [aligned(latents=False)], DRAWS, Compute())
    loss(0, torch.Generator())["loss"].backward()
    assert model.appearance.out.weight.grad.abs().max() > 0


def test_mixtures_are_those_of_the_contexts():
    torch.manual_seed(0)
    appearance = Appearance().eval()
    small = torch.cat([torch.randn(30, 3, 6, 6), 2 + 0.3 * torch.randn(30, 3, 6, 6)])
    appearance.standardise.running_mean.copy_(appearance(small).mean(0))
    contexts = ["normal"] * 30 + ["squamous"] * 30
    with torch.no_grad():
        codes = appearance(small)
    fit_mixtures(appearance, small, contexts)
    assert appearance.weights.sum(1).tolist() == pytest.approx([1] * len(PROMPTS))
    for name, own in (("normal", codes[:30]), ("squamous", codes[30:]), ("adenocarcinoma", codes), ("none", codes)):
        drawn = torch.stack([appearance.draw(name, level_generator(seed, 0)) for seed in range(400)])
        torch.testing.assert_close(drawn.mean(0), own.mean(0), atol=0.12, rtol=0)
