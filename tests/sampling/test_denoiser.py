"""Guidance and label composition against their naive forms."""

import importlib
import math
import shutil

import pytest
import torch

from diffinfinite_lite.devices import fitting_batch
from diffinfinite_lite.models.unet import MaskUNet
from diffinfinite_lite.sampling.cost import Ledger
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.solvers import cosine_alphas

ALPHAS = cosine_alphas()
T = 500
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="expected a CUDA card, found none")


class Stub:
    """Depends on state, time, the pixel's label and its neighbours, by additions and multiplications only."""

    def __init__(self, prediction_type="epsilon"):
        self.prediction_type = prediction_type
        self.rows, self.maps = 0, []

    def __call__(self, z, t, mask):
        assert t.dtype == torch.int64 and t.shape == (len(z),) and mask.dtype == torch.int64
        self.rows += len(z)
        self.maps += list(mask)
        label = mask[:, None].to(z.dtype)
        around = label + label.roll(1, -1) + z.roll(1, -2)
        return 0.7 * z + 0.1 * around + 0.01 * label * z + t[:, None, None, None] / 4000


class Small(torch.nn.Module):
    """The same with weights, for what is done to modules."""

    prediction_type = "v_prediction"

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.7))

    def forward(self, z, t, mask):
        return self.scale * z + torch.sin(mask[:, None] * z.roll(1, -2)) * t[:, None, None, None] / 4000


def crops(labels=(0, 1, 3), batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    choice = torch.randint(len(labels), (batch, 6, 7), generator=generator)
    return torch.randn(batch, 2, 6, 7, generator=generator), torch.tensor(labels)[choice]


def naive(z, mask, omega, unet):
    """Two calls for every label, as in Alg. 2 line 7-12, each crop on its own."""
    result = torch.empty_like(z)
    time = torch.tensor([T])
    for b in range(len(z)):
        for n in mask[b].unique():
            own = mask[b] == n
            c = unet(z[b : b + 1], time, torch.where(own, n, 0)[None])
            u = unet(z[b : b + 1], time, torch.zeros_like(mask[b])[None])
            eps = (1 + omega) * c - omega * u if n else u
            result[b] = torch.where(own, eps[0], result[b])
    return result


@pytest.mark.parametrize("omega", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("labels", [(0, 1, 3), (1, 2), (4,), (0,)])
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_label_dedupe_equals_the_naive_form(omega, labels, batch_size):
    z, mask = crops(labels)
    unet = Stub()
    denoiser = Denoiser(unet, ALPHAS, omega=omega, conditioning="per-label", batch_size=batch_size)
    assert torch.equal(denoiser(z, T, mask), naive(z, mask, omega, Stub()))
    nonzero = sum(1 for n in labels if n)
    expected = 3 * (nonzero + (1 if omega or 0 in labels else 0))
    assert denoiser.ledger.evaluations == unet.rows == expected
    assert denoiser.ledger.calls == math.ceil(expected / batch_size)
    assert denoiser.ledger.windows == 3 and denoiser.ledger.labels == 3 * len(labels)
    assert all(len(set(m.unique().tolist()) - {0}) <= 1 for m in unet.maps)


@pytest.mark.parametrize(("omega", "expected"), [(0.0, 3), (1.5, 6)])
def test_dense(omega, expected):
    z, mask = crops()
    denoiser = Denoiser(Stub(), ALPHAS, omega=omega)
    time = torch.full((3,), T)
    wanted = Stub()(z, time, mask)
    if omega:
        wanted = (1 + omega) * wanted - omega * Stub()(z, time, torch.zeros_like(mask))
    assert torch.equal(denoiser(z, T, mask), wanted)
    assert denoiser.ledger.evaluations == expected


@pytest.mark.parametrize("conditioning", ["dense", "per-label"])
def test_unknown_crops_cost_one_evaluation(conditioning):
    z, mask = crops((0,))
    denoiser = Denoiser(Stub(), ALPHAS, omega=2.0, conditioning=conditioning)
    torch.testing.assert_close(denoiser(z, T, mask), Stub()(z, torch.full((3,), T), mask))
    assert denoiser.ledger.evaluations == 3


@pytest.mark.parametrize("t", [0, 500, 999])
def test_velocity_is_converted_to_noise(t):
    z, mask = crops()
    noise = torch.randn_like(z)
    a = ALPHAS[t]
    noised = a**0.5 * z + (1 - a) ** 0.5 * noise

    def velocity(state, time, labels):
        return a**0.5 * noise - (1 - a) ** 0.5 * z

    velocity.prediction_type = "v_prediction"
    torch.testing.assert_close(Denoiser(velocity, ALPHAS)(noised, t, mask), noise, rtol=1e-4, atol=1e-5)


def test_guidance_is_the_same_in_noise_and_velocity():
    z, mask = crops()
    as_velocity = Stub("v_prediction")

    def as_noise(state, time, labels):
        a = ALPHAS[T]
        return a**0.5 * Stub()(state, time, labels) + (1 - a) ** 0.5 * state

    as_noise.prediction_type = "epsilon"
    results = [Denoiser(unet, ALPHAS, omega=1.2)(z, T, mask) for unet in (as_velocity, as_noise)]
    torch.testing.assert_close(*results)


def test_no_gradient_and_ledger_arithmetic():
    z, mask = crops()
    assert not Denoiser(Stub(), ALPHAS)(z.requires_grad_(), T, mask).requires_grad
    a, b = Ledger(5, 4, 3, 2, 1.0), Ledger(1, 1, 1, 1, 0.5)
    assert a - b + b == a


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_fitting_batch_is_one_that_fits(device):
    unet = MaskUNet(2, (16, 32)).to(device)
    batch = fitting_batch(unet, 2, 8, device)
    assert batch == 16 if device == "cpu" else 1 <= batch <= 256
    z, mask = torch.zeros(batch, 2, 8, 8, device=device), torch.ones(batch, 8, 8, dtype=torch.int64, device=device)
    assert Denoiser(unet, ALPHAS.to(device), batch_size=batch)(z, T, mask).shape == z.shape


@pytest.mark.skipif(shutil.which("g++") is None, reason="expected a C++ compiler for torch.compile, found none")
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_compiled_network_estimates_the_same_up_to_rounding(device, monkeypatch):
    settings = importlib.import_module("torch._inductor.config")
    monkeypatch.setattr(settings, "compile_threads", 1)  # no processes to compile in, which import torch
    unet = Small().to(device)
    z, mask = (tensor.to(device) for tensor in crops())
    plain, compiled = (
        Denoiser(unet, ALPHAS.to(device), omega=1, conditioning="per-label", batch_size=4, compiled=compiled)
        for compiled in (False, True)
    )
    frames = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch.testing.assert_close(compiled(z, T, mask), plain(z, T, mask), rtol=1e-3, atol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > frames  # it was compiled
    assert compiled.ledger.evaluations == plain.ledger.evaluations == 9
    assert compiled.settings["network"] == plain.settings["network"]
    assert compiled.settings != plain.settings  # a store of one is not continued by the other, which rounds differently


@pytest.mark.parametrize("omega", [-0.1, math.nan, math.inf])
def test_bad_omega(omega):
    with pytest.raises(ValueError, match="omega"):
        Denoiser(Stub(), ALPHAS, omega=omega)


def test_bad_input(monkeypatch):
    with pytest.raises(ValueError, match="dense, per-label, got 'both'"):
        Denoiser(Stub(), ALPHAS, conditioning="both")
    with pytest.raises(ValueError, match="prediction_type"):
        Denoiser(Stub("sample"), ALPHAS)
    with pytest.raises(ValueError, match="batch_size"):
        Denoiser(Stub(), ALPHAS, batch_size=0)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="found no no-such-compiler"):
        Denoiser(Stub(), ALPHAS, compiled=True)
    z, mask = crops()
    with pytest.raises(ValueError, match="expected a mask"):
        Denoiser(Stub(), ALPHAS)(z, T, mask[:, :-1])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("t", [0, T, 999])
def test_the_gain_multiplies_the_clean_latent_and_nothing_else(prediction_type, t):
    z, mask = crops()
    plain, louder = Stub(prediction_type), Stub(prediction_type)
    louder.gain = 1.05
    alpha = ALPHAS[t].double()

    def clean(unet):
        noise = Denoiser(unet, ALPHAS)(z.double(), t, mask)
        return (z - (1 - alpha) ** 0.5 * noise) / alpha**0.5

    assert torch.allclose(clean(louder), 1.05 * clean(plain), rtol=1e-5, atol=1e-5)
    assert Denoiser(louder, ALPHAS).settings != Denoiser(plain, ALPHAS).settings
