"""Devices: the CPU, GPUs that are there, and one sentence for everything else."""

import pytest
import torch

from diffinfinite_lite import devices
from diffinfinite_lite.devices import choose_device, free_memory


@pytest.mark.parametrize(
    "name", ["mps", "xpu", "meta", "xla", "vulkan", "hip", "nonsense", "", "CPU", "cuda:-1", "cuda:x", "0"]
)
def test_other_devices_are_refused_in_one_sentence(name):
    """The field's case 25: torch knows these, and some of them compute nothing, or on the CPU."""
    with pytest.raises(ValueError, match=r"^expected the device cpu, cuda or cuda:NUMBER, got ") as caught:
        choose_device(name)
    assert repr(name) in str(caught.value) and "\n" not in str(caught.value)


def test_gpus_are_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(name) for name in (None, "cuda", "cuda:1", "cpu", "cpu:0")] == [
        "cuda", "cuda", "cuda:1", "cpu", "cpu",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="expected one of the 2 GPUs that torch sees, got 'cuda:2'"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="expected cpu, as torch sees no GPU, got 'cuda'"):
        choose_device("cuda")


def test_free_memory_is_below_all_memory_or_unknown(monkeypatch, tmp_path):
    free = free_memory()
    assert free is None or 2**20 < free < 2**50
    monkeypatch.setattr(devices.Path, "read_text", lambda path: (_ for _ in ()).throw(FileNotFoundError))
    assert free_memory() is None


@pytest.mark.parametrize(("bf16_slows", "expected"), [(0.5, True), (1.6, False), (7, False), (0.95, False)])
def test_bf16_is_taken_where_a_trial_finds_it_faster(monkeypatch, bf16_slows, expected):
    now = [0.0]

    def step(layer, x):
        now[0] += bf16_slows if torch.is_autocast_enabled("cpu") else 1.0
        return x * layer.weight.sum()

    monkeypatch.setattr(devices, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.nn.Conv2d, "forward", step)
    assert devices.bf16_helps.__wrapped__() is expected


@pytest.mark.skipif(not torch.cpu._is_amx_tile_supported(), reason="a processor without AMX")
def test_bf16_helps_with_amx():
    assert devices.bf16_helps.__wrapped__()
