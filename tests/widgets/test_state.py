"""What a workbench shows as a value: links and commands say all of it, and wrong ones are one sentence."""

from dataclasses import fields, replace

import numpy as np
import pytest

from diffinfinite_lite.pipelines.config import SamplingConfig
from diffinfinite_lite.widgets import state as module
from diffinfinite_lite.widgets.controls import control, read, shown_fields, write
from diffinfinite_lite.widgets.state import State


def mask(height=64, width=96):
    labels = np.full((height, width), 4, np.uint8)
    labels[10:40, 20:50] = 1
    return labels


def same(one, other):
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(State))


OTHER = replace(SamplingConfig(solver="ddim", eta=0.5, plan="sliding-window", stride=64, steps=3), seed=2**64 - 1)


@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(context="normal", size=(128, 256), tab="compare", sweep="omega"),
        State(config=OTHER, other=replace(OTHER, omega=2.0, eta=None, stride=None, plan="mixture")),
        State().draw(mask()),
    ],
    ids=["start", "tabs", "settings", "mask"],
)
def test_a_link_is_the_state(state):
    assert same(State.from_query("?" + state.to_query()), state)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("appearance=/etc/passwd", "expected a seed or 16 numbers for the appearance"),
        ("b.appearance=1 to x.png", "expected a seed or 16 numbers for the appearance"),
        ("skin=1", "expected parameters among context, size, mask"),
        ("context=skin", "expected a context among adenocarcinoma, squamous, normal, got 'skin'"),
        ("seed=", "expected seed to be a whole number, got ''"),
        ("seed=-1", "expected seed to be a whole number from 0 to 2\\*\\*64 - 1, got -1"),
        ("steps=nan", "expected steps to be a whole number, got 'nan'"),
        ("omega=inf", "expected omega to be a number of at least 0, got inf"),
        ("batch_size=9", "expected parameters among"),
        ("b.seed=3", "expected one seed for both pictures"),
        ("size=9000x9000", "expected at most 1024 px a side, got 9000x9000"),
        ("size=100", "expected a size such as 224x336"),
        ("size=65x64", "multiples of 8 px"),
        ("tab=secret", "expected a tab among"),
        ("sweep=device", "expected a setting to sweep among"),
        ("mask=xyz", "expected a mask as the workbench writes it"),
        ("mask=eJxjYGBgAAAABAAB", "expected a mask of 224x224 px in the link, got 4 px"),
        ("solver=ddpm&eta=0.5", "expected the solver ddim for an eta"),
    ],
)
def test_a_bad_link_is_one_sentence(query, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        State.from_query(query)
    assert "\n" not in str(error.value)


def test_a_link_unpacks_no_more_than_its_mask_has_pixels():
    large = module._pack(np.zeros((1024, 1024), np.uint8))
    with pytest.raises(ValueError, match="got 4097 px"):
        State.from_query(f"size=64x64&mask={large}")


def test_a_mask_too_detailed_for_a_link_is_said_so():
    noise = np.random.default_rng(0).integers(0, 5, (224, 224)).astype(np.uint8)
    with pytest.raises(ValueError, match="expected a mask that fits into a link"):
        State().draw(noise).to_query()


def test_another_size_leaves_the_mask_to_the_model():
    state = State().draw(mask())
    assert state.change("size", "64x96").mask is not None
    assert state.change("size", "64x64").mask is None


def test_a_field_more_is_in_links_and_commands():
    for field in shown_fields(SamplingConfig):
        assert read(field.name, write(field.default)) == field.default
        assert control(field, field.default)["help"] == field.metadata["help"]
    assert "--omega 0.75" in State().change("omega", "0.75").command()
    assert "omega=0.75" in State().change("omega", "0.75").python()


def test_another_model_and_device_are_said():
    places = {"weights": "my weights", "device": "cpu"}
    assert State().command(**places).endswith("--weights 'my weights' --device cpu --out out")
    assert State().python(**places).endswith("weights='my weights', device='cpu')")
