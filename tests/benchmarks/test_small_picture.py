"""The benchmark of the small picture: weights of the recipe are those of a detail model, and others are refused."""

import importlib.util
from pathlib import Path

import pytest
import torch

from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.detail import Detail

FILE = Path(__file__).parents[2] / "benchmarks/small_picture.py"
SPEC = importlib.util.spec_from_file_location("small_picture_benchmark", FILE)
benchmark = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(benchmark)


def as_the_recipe_writes(model: Detail, path: Path, without: str = "level.") -> Path:
    """A file with the names of the recipe's wrappers, which has no embedding of the draft's noise."""
    state = {f"m.un.{name}": value for name, value in model.state_dict().items() if not name.startswith(without)}
    checkpoint.save(path, state, {"mode": "detail"})
    return path


def test_weights_of_the_recipe_give_the_same_network(tmp_path):
    torch.manual_seed(0)
    model = Detail()
    torch.nn.init.normal_(model.leave[-1].weight, std=0.1)  # zero at first: everything would be equal
    loaded = benchmark.load_detail(as_the_recipe_writes(model, tmp_path / "detail.safetensors"))
    z, t = torch.randn(1, 8 + Detail.beside, 8, 8), torch.tensor([500])
    condition = torch.ones(1, 8, 8, dtype=torch.int64)
    with torch.no_grad():
        assert torch.allclose(loaded(z, t, condition), model(z, t, condition), atol=0.05)  # saved in half precision
        assert model(z, t, condition).abs().max() > 0.1


def test_other_weights_are_refused_in_one_sentence(tmp_path):
    path = as_the_recipe_writes(Detail(), tmp_path / "image.safetensors", without="middle.")
    with pytest.raises(ValueError, match=r"expected the weights of a detail model in .*, got none for middle"):
        benchmark.load_detail(path)


def test_the_middle_is_what_a_picture_can_hold():
    (cut,) = benchmark.middle(torch.full((1, 3, 64, 64), 1.7))
    assert cut.shape == (3, 32, 32) and torch.equal(cut, torch.ones(3, 32, 32))
