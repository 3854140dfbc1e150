"""The mask model at two scales: saved and read again, and read as what it is beside models of one scale."""

import pytest
import torch

from diffinfinite_lite.labels import FIVE_CODES, LABELS
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.masks import SQUARE, Cells, TwoScaleMask
from diffinfinite_lite.models.pretrained import load_mask
from diffinfinite_lite.models.unet import MaskUNet


def test_two_scales_are_one_file(tmp_path):
    torch.manual_seed(0)
    model = TwoScaleMask((16, 24), (16, 32))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    checkpoint.save(tmp_path / "mask.safetensors", model.state_dict(), model.config)
    loaded = load_mask(tmp_path / "mask.safetensors")
    assert isinstance(loaded, TwoScaleMask) and loaded.config == model.config and not loaded.training
    z, t, condition = torch.randn(1, 6, 8, 8), torch.tensor([300]), torch.full((1, 8, 8), 7)
    with torch.no_grad():
        assert torch.allclose(loaded.coarse(z, t, condition), model.coarse(z, t, condition), atol=1e-6)
        both = torch.cat([z, torch.randn(1, Cells.beside, 8, 8).abs()], dim=1)
        assert torch.allclose(loaded.cells(both, t, condition), model.cells(both, t, condition), atol=1e-6)


def test_cells_depend_on_the_coarse_map_and_on_its_noise():
    torch.manual_seed(0)
    cells = Cells(len(LABELS), (16, 24))
    for parameter in cells.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    z, t, condition = torch.randn(1, 6, 8, 8), torch.tensor([300]), torch.full((1, 8, 8), 7)
    read, level = torch.randn(1, 6, 8, 8), torch.full((1, 1, 8, 8), 0.1)
    with torch.no_grad():
        answers = [
            cells(torch.cat(parts, 1), t, condition)
            for parts in ((z, read, level), (z, -read, level), (z, read, 2 * level))
        ]
    assert answers[0].shape == z.shape
    assert not torch.allclose(answers[0], answers[1]) and not torch.allclose(answers[0], answers[2])
    assert Cells.beside == len(LABELS) + 1 and SQUARE == 4


@pytest.mark.parametrize("codes", [FIVE_CODES, len(LABELS)])
def test_models_of_one_scale_are_read_as_they_were_written(tmp_path, codes):
    model = MaskUNet(codes, (16, 24))
    checkpoint.save(tmp_path / "mask.safetensors", model.state_dict(), model.config)
    loaded = load_mask(tmp_path / "mask.safetensors")
    assert type(loaded) is MaskUNet and loaded.latent_channels == codes


def test_weights_that_do_not_fit_are_refused(tmp_path):
    model = TwoScaleMask((16, 24), (16, 32))
    checkpoint.save(tmp_path / "mask.safetensors", model.state_dict(), {"coarse": [16, 24], "cells": [16, 24]})
    with pytest.raises(ValueError, match=r"weights in mask.safetensors do not fit its configuration"):
        load_mask(tmp_path / "mask.safetensors")
