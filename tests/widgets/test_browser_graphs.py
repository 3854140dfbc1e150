"""Graphs for a browser: ONNX Runtime answers as PyTorch does with the same weights of eight bits."""

import numpy as np
import pytest
import torch

from diffinfinite_lite.models.detail import NO_DRAFT
from diffinfinite_lite.models.pretrained import load_draft, load_models
from diffinfinite_lite.pipelines.margin import decode_within
from diffinfinite_lite.widgets.browser_graphs import (
    DECODER,
    DRAFT,
    IMAGE,
    EightBits,
    round_models,
    round_weights,
    shipped_graphs,
)

onnxruntime = pytest.importorskip("onnxruntime")
TOLERANCE = 2e-5  # of outputs of about unit size, in single precision


@pytest.fixture(scope="module")
def graphs():
    return shipped_graphs()


@pytest.fixture(scope="module")
def rounded():
    return round_models(load_models())


def answer(file, **inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    return session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]


def test_rounding_is_to_the_nearest_of_254_steps():
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    eight = EightBits(weight)
    largest = weight.flatten(1).abs().amax(1)
    assert ((eight(weight) - weight).flatten(1).abs().amax(1) <= largest / 254 * 1.0001).all()
    assert eight.multiples.flatten(1).abs().amax(1).tolist() == [127] * 6


@pytest.mark.parametrize("file", [IMAGE, DRAFT])
@pytest.mark.parametrize(("batch", "more"), [(1, 0), (3, 0), (1, 8)])
def test_networks_of_both_stages_in_windows_of_any_side(graphs, rounded, file, batch, more):
    folder, facts = graphs
    network = rounded.image if file == IMAGE else round_weights(load_draft().network)
    draw = torch.Generator().manual_seed(batch)
    side = facts.patch + more
    z = torch.randn(batch, network.latent_channels + network.beside, side, side, generator=draw)
    t = torch.tensor([999, 500, 9])[:batch]
    condition = torch.randint(20, (batch, side, side), generator=draw)
    with torch.no_grad():
        expected = network(z, t, condition).numpy()
    assert np.abs(answer(folder / file, z=z, t=t, condition=condition) - expected).max() < TOLERANCE


def test_without_a_draft_detail_is_the_single_stage(graphs, rounded):
    folder, facts = graphs
    z = torch.randn(1, facts.channels, facts.patch, facts.patch, generator=torch.Generator().manual_seed(0))
    t, condition = torch.tensor([500]), torch.zeros(1, facts.patch, facts.patch, dtype=torch.long)
    none = torch.full((1, rounded.image.beside, facts.patch, facts.patch), NO_DRAFT)
    with torch.no_grad():
        expected = rounded.image(z, t, condition).numpy()
    found = answer(folder / IMAGE, z=torch.cat([z, none], 1), t=t, condition=condition)
    assert np.abs(found - expected).max() < TOLERANCE


@pytest.mark.parametrize("size", [(28, 28), (56, 40)])
def test_decoder_of_any_size(graphs, rounded, size):
    folder, facts = graphs
    z = torch.randn(1, 8, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = decode_within(rounded.autoencoder, z, facts.margin).numpy()
    assert np.abs(answer(folder / DECODER, z=z) - expected).max() < TOLERANCE


def test_graphs_are_small_and_say_which_model_they_are(graphs):
    folder, facts = graphs
    models = load_models()
    assert (folder / IMAGE).stat().st_size < 1.2 * sum(p.numel() for p in models.image.parameters())
    assert (facts.channels, 8 * facts.patch, facts.gain) == (8, models.image.config["patch"], models.image.gain)
