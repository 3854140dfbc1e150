"""The axes of a context's appearances: those of the mixture that codes are drawn from."""

import pytest
import torch

from diffinfinite_lite.labels import PROMPTS
from diffinfinite_lite.models.appearance import Appearance
from diffinfinite_lite.models.draft import CODE


@pytest.fixture
def appearance():
    """Two Gaussians of unlike weight, place and spread for each context."""
    made, draw = Appearance(components=2), torch.Generator().manual_seed(0)
    made.weights[:] = torch.tensor([0.75, 0.25])
    made.means.normal_(generator=draw)
    made.factors.normal_(generator=draw).tril_()
    return made


def test_axes_are_those_of_what_is_drawn(appearance):
    mean, axes = appearance.principal_axes("squamous")
    draw = torch.Generator().manual_seed(1)
    codes = torch.stack([appearance.draw("squamous", draw) for _ in range(4000)])
    assert torch.allclose(codes.mean(0), mean, atol=0.2)
    assert torch.allclose(codes.T.cov(), axes.T @ axes, atol=0.1 * float(axes.norm(dim=1).max() ** 2))


def test_axes_add_up_to_the_covariance_and_come_widest_first(appearance):
    row = PROMPTS.index("normal")
    mean, axes = appearance.principal_axes("normal")
    (a, b), (f, g) = appearance.means[row], appearance.factors[row]
    expected = 0.75 * f @ f.T + 0.25 * g @ g.T + 0.75 * 0.25 * torch.outer(a - b, a - b)
    assert torch.allclose(mean, 0.75 * a + 0.25 * b, atol=1e-6)
    assert torch.allclose(axes.T @ axes, expected, atol=1e-4)
    lengths = axes.norm(dim=1)
    assert (lengths[:-1] >= lengths[1:]).all() and axes.shape == (CODE, CODE)
    between = axes @ axes.T
    assert torch.allclose(between, torch.diag(between.diagonal()), atol=1e-4)
