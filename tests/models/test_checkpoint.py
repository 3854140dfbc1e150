"""Checkpoints are whole or refused."""

import pytest
import torch
from torch import nn

from diffinfinite_lite.models import checkpoint


def test_round_trip_keeps_tensors_and_configuration(tmp_path):
    checkpoint.save(tmp_path / "a.safetensors", {"x": torch.arange(3)}, {"widths": [1, 2]})
    tensors, config = checkpoint.load(tmp_path / "a.safetensors")
    assert tensors["x"].tolist() == [0, 1, 2]
    assert config == {"widths": [1, 2]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_truncated_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"x": torch.zeros(1000)}, {})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="expected a complete checkpoint"):
        checkpoint.load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoint.load(tmp_path / "nowhere.safetensors")


def test_weights_that_do_not_fit_are_refused(tmp_path):
    layer = nn.Linear(2, 2)
    layer.config = {"in_features": 2, "out_features": 3}
    checkpoint.save(tmp_path / "w.safetensors", layer.state_dict(), layer.config)
    with pytest.raises(ValueError, match="do not fit"):
        checkpoint.load_weights(tmp_path / "w.safetensors", nn.Linear)
