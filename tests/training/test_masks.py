"""What the mask model's scales learn from: coarse shares of the very cells they stand under, turned alike."""

import pytest
import torch
from torch import nn

from diffinfinite_lite.devices import Compute
from diffinfinite_lite.models.masks import SQUARE
from diffinfinite_lite.pipelines.masks import COARSE_SCALE, SCALE, SIDE, coarse_map
from diffinfinite_lite.training import data
from diffinfinite_lite.training.masks import MaskDraws, mask_loss

CLEAN = torch.ones(1000)  # a schedule without noise: the networks see what was drawn
WIDE = SQUARE * SIDE + 8


class Watcher(nn.Module):
    """Keeps what it is asked; predicts nothing."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, z, t, condition):
        self.calls.append((z, t, condition))
        return z[:, :6] * 0


class TwoWatchers(nn.Module):
    def __init__(self):
        super().__init__()
        self.coarse, self.cells = Watcher(), Watcher()


def watched(draws, steps=6):
    """What both scales are asked, of maps of stripes, so that turned ones differ; and the log."""
    rows = torch.arange(WIDE)[:, None].expand(-1, WIDE)
    labels = torch.stack(
        [
            1 + rows // 3 % 5,
            1 + rows.T // 5 % 3,
            torch.randint(1, 6, (WIDE, WIDE), generator=torch.Generator().manual_seed(0)),
        ]
    ).byte()
    model = TwoWatchers()
    loss = mask_loss(model, CLEAN, labels, torch.tensor([7, 13, 19]), draws, Compute())
    log = [loss(step, torch.Generator().manual_seed(step)) for step in range(steps)]
    return [[torch.cat(part) for part in zip(*net.calls, strict=True)] for net in (model.coarse, model.cells)], log


def test_cells_read_the_shares_of_the_cells_themselves():
    """Pooled over squares that lie whole in the window, cells are what they read, in any orientation."""
    (_, (z, _, _)), _ = watched(MaskDraws(noise=0.0))
    assert z.shape[1:] == (13, SIDE, SIDE)
    cells, read, level = z[:, :6] / SCALE, z[:, 6:12], z[:, 12]
    assert (cells.amax(1) == 1).all() and (cells.sum(1) + 4).abs().max() < 1e-5 and (level == 0).all()
    for one, under in zip(cells, read, strict=True):
        changes = [(under.diff(dim=axis).abs().amax((0, 3 - axis)) > 0).nonzero().flatten() + 1 for axis in (1, 2)]
        starts = [int(change[0]) % SQUARE if len(change) else 0 for change in changes]
        whole = one[:, starts[0] : starts[0] + 16, starts[1] : starts[1] + 16]
        shares = COARSE_SCALE * torch.nn.functional.avg_pool2d(whole, SQUARE)
        found = under[:, starts[0] : starts[0] + 16 : SQUARE, starts[1] : starts[1] + 16 : SQUARE]
        if all(len(change) for change in changes):
            torch.testing.assert_close(found, shares, atol=2e-3, rtol=0)


def test_noise_on_the_coarse_map_has_the_level_that_is_told():
    (_, (quiet, _, _)), _ = watched(MaskDraws(noise=0.0))
    (_, (z, _, condition)), _ = watched(MaskDraws(noise=0.2))
    level = z[:, 12, 0, 0]
    assert (z[:, 12] == level[:, None, None]).all() and 0.15 < level.max() <= 0.2
    assert torch.equal(quiet[0, :6], z[0, :6]), "the same draws"
    noise = (z[:10, 6:12] - quiet[:10, 6:12]) / level[:10, None, None, None]
    assert noise.std() == pytest.approx(1, abs=0.05)
    shares = {int(c.flatten()[0]) for c in condition}
    assert shares <= {0, 7, 13, 19} and len(shares) == 4
    assert all((c == c.flatten()[0]).all() for c in condition)


def test_the_coarse_scale_sees_windows_of_its_own_and_the_log_has_both():
    (coarse, _), log = watched(MaskDraws())
    z, t, condition = coarse
    assert z.shape[1:] == (6, SIDE, SIDE) and condition.shape[1:] == (SIDE, SIDE) and t.max() > 700
    assert (z.sum(1) / COARSE_SCALE + 4).abs().max() < 0.02, "shares add up to one"
    assert set(log[0]) == {"loss", "coarse", "cells"}
    assert float(log[0]["loss"]) == pytest.approx(float(log[0]["coarse"] + log[0]["cells"]))


def test_a_coarse_map_says_shares():
    labels = torch.ones(1, 8, 4, dtype=torch.uint8)
    labels[0, 4:, :1] = 3
    assert coarse_map(labels)[0, :, :, 0].tolist() == [
        [-0.5] * 2,
        [0.5, 0.25],
        [-0.5] * 2,
        [-0.5, -0.25],
        [-0.5] * 2,
        [-0.5] * 2,
    ]


def test_layouts_to_learn_from_are_wider_than_a_coarse_window_and_have_their_prompts():
    labels, prompts = data.simulated_masks(2)
    assert labels.shape == (6, 192, 192) and labels.dtype == torch.uint8 and min(labels.shape[1:]) > SQUARE * SIDE
    assert prompts.tolist() == [7, 7, 13, 13, 19, 19]
    assert not (labels[4:] == 1).any() and (labels[:2] == 1).any()
    assert not torch.equal(labels[0], labels[1])
