"""Every public metric has a doctest; its oracle and closed form stand in the test module of the same name."""

import inspect

import pytest

from diffinfinite_lite import agreement, fidelity, privacy, resampling, spatial

PUBLIC = [
    (module, function)
    for module in (agreement, fidelity, privacy, resampling, spatial)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and not name.startswith("_") and function.__module__ == module.__name__
]


@pytest.mark.parametrize("module, function", PUBLIC, ids=lambda x: getattr(x, "__name__", ""))
def test_a_metric_has_an_example(module, function):
    assert ">>> " in function.__doc__, f"{function.__name__} in {module.__name__} has no doctest"


def test_the_metrics_were_found():
    names = {function.__name__ for _, function in PUBLIC}
    assert {"frechet_distance", "authenticity", "seam_statistic", "bootstrap", "mean_iou"} <= names
