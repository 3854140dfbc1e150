"""The registry of metrics: complete, unique, and strict about what it takes."""

import inspect
import math

import numpy as np
import pytest

from diffinfinite_lite.evaluation import rows  # noqa: F401  (all metrics of the card are registered by now)
from diffinfinite_lite.metrics.registry import BETTER, METRICS, ON, Metric, metrics_on, register


def test_every_metric_says_what_it_is():
    assert {"FD", "KD", "precision", "recall", "density", "coverage", "told apart", "IS", "A", "C_T"} <= set(METRICS)
    for name, metric in METRICS.items():
        assert metric.name == name and metric.about and metric.better in BETTER and callable(metric.function)
    assert [metric for kind in ON for metric in metrics_on(kind)] == sorted(
        METRICS.values(), key=lambda metric: ON.index(metric.on)
    )
    assert {metric.on for metric in METRICS.values()} == set(ON)


def test_those_that_take_a_generator_say_so():
    for metric in metrics_on("features"):
        assert metric.random == ("generator" in inspect.signature(metric.function).parameters)
    x = np.random.default_rng(0).normal(size=(2, 30, 4))
    told = METRICS["told apart"]
    assert told.seeded(np.random.default_rng(1))(*x) == told.function(*x, np.random.default_rng(1))


@pytest.mark.parametrize(
    "name", [metric.name for metric in METRICS.values() if metric.on == "features" and metric.name != "told apart"]
)
def test_values_lie_within_bounds(name):
    rng = np.random.default_rng(0)
    real = rng.normal(size=(40, 3))
    for synthetic in (real, rng.normal(size=(30, 3)), real + 50, np.zeros((20, 3))):
        low, high = METRICS[name].bounds
        assert low <= METRICS[name].function(real, synthetic) <= high


def test_one_name_one_metric():
    with pytest.raises(ValueError, match="no other metric has, got 'FD' twice"):
        register(Metric("FD", len, "low"))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"better": "up"}, "a direction among low, .*got 'up'"),
        ({"better": "low", "on": "slides"}, "a kind of argument among features, .*got 'slides'"),
        ({"better": "low", "bounds": (1, 0)}, "a lower and an upper bound"),
        ({"better": "low", "bounds": (0, math.nan)}, "a lower and an upper bound"),
    ],
)
def test_bad_metrics_are_a_sentence(options, words):
    with pytest.raises(ValueError, match=words):
        Metric("x", len, **options)
