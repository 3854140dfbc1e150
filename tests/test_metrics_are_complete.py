"""Every public metric has a doctest, a test against an independent oracle and one in closed form."""

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

from diffinfinite_lite import agreement, downstream, fidelity, privacy, resampling, spatial

PUBLIC = {
    name: function
    for module in (agreement, downstream, fidelity, privacy, resampling, spatial)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and not name.startswith("_") and function.__module__ == module.__name__
}
NO_METRIC = {
    "check": "refuses bad input",
    "dense_features": "computes features: test_downstream.py compares them with the network",
    "fit_classifier": "trains a model",
    "fit_segmenter": "trains a model",
    "compare_classifiers": "runs over training sets, test sets and seeds; the score is balanced_accuracy",
    "compare_segmenters": "runs over training sets, test sets and seeds; the score is f1",
}

# metric: its oracle and its closed form, FILE::TEST in this folder
TESTS = {
    "confusion": (
        "test_agreement.py::test_against_scikit_learn",
        "test_downstream.py::test_f1_of_random_guessing_in_closed_form_and_against_scikit_learn",
    ),
    "balanced_accuracy": (
        "test_agreement.py::test_against_scikit_learn",
        "test_agreement.py::test_chance_and_perfection",
    ),
    "f1": (
        "test_agreement.py::test_against_scikit_learn",
        "test_downstream.py::test_f1_of_random_guessing_in_closed_form_and_against_scikit_learn",
    ),
    "mean_iou": ("test_agreement.py::test_against_scikit_learn", "test_agreement.py::test_chance_and_perfection"),
    "is_carcinoma": (
        "test_downstream.py::test_the_label_of_a_tile_against_scipy",
        "test_downstream.py::test_the_label_of_a_tile_is_the_papers",
    ),
    "segmentation_table": (
        "test_downstream.py::test_a_segmentation_table_against_scikit_learn",
        "test_downstream.py::test_a_segmentation_table_in_closed_form",
    ),
    "frechet_distance": (
        "test_fidelity.py::test_frechet_against_torchmetrics",
        "test_fidelity.py::test_frechet_closed_form_on_gaussians",
    ),
    "frechet_bias": (
        "test_fidelity.py::test_frechet_bias_of_small_samples",  # its oracle is what happens to samples
        "test_fidelity.py::test_frechet_bias_in_one_dimension_in_closed_form",
    ),
    "kernel_distance": (
        "test_fidelity.py::test_kernel_distance_against_torchmetrics",
        "test_fidelity.py::test_kernel_distance_closed_form_in_one_dimension",
    ),
    "distances": (
        "test_fidelity.py::test_distances_and_radii_against_scikit_learn",
        "test_fidelity.py::test_distances_and_radii_on_a_circle_in_closed_form",
    ),
    "radii": (
        "test_fidelity.py::test_distances_and_radii_against_scikit_learn",
        "test_fidelity.py::test_distances_and_radii_on_a_circle_in_closed_form",
    ),
    "precision_recall": (
        "test_fidelity.py::test_manifolds_against_scikit_learn",
        "test_fidelity.py::test_precision_and_recall_of_overlapping_intervals",
    ),
    "density_coverage": (
        "test_fidelity.py::test_manifolds_against_scikit_learn",
        "test_fidelity.py::test_density_and_coverage_of_one_law",
    ),
    "inception_score": (
        "test_fidelity.py::test_inception_score_against_torchmetrics",
        "test_fidelity.py::test_inception_score_in_closed_form",
    ),
    "classifier_two_sample": (
        "test_fidelity.py::test_classifier_against_scikit_learn",
        "test_fidelity.py::test_classifier_reaches_bayes",
    ),
    "nearest_neighbours": (
        "test_privacy.py::test_neighbours_against_scikit_learn",
        "test_privacy.py::test_neighbours_in_closed_form",
    ),
    "authenticity": (
        "test_privacy.py::test_authenticity_against_scikit_learn",
        "test_privacy.py::test_authenticity_of_fresh_data_in_closed_form",
    ),
    "mann_whitney_z": (
        "test_privacy.py::test_mann_whitney_against_scipy",
        "test_privacy.py::test_mann_whitney_in_closed_form",
    ),
    "data_copying_ct": (
        "test_privacy.py::test_data_copying_cells_against_scikit_learn",
        "test_privacy.py::test_copies_score_the_lowest_there_is",
    ),
    "bootstrap": (
        "test_resampling.py::test_bootstrap_of_the_mean_against_scipy",
        "test_resampling.py::test_bootstrap_of_zeros_and_ones_in_closed_form",
    ),
    "relative_to_real": (
        "test_resampling.py::test_relative_to_real_against_scikit_learn",
        "test_resampling.py::test_relative_to_real_in_closed_form",
    ),
    "line_steps": (
        "test_spatial.py::test_steps_against_numpy_and_a_ramp",
        "test_spatial.py::test_steps_against_numpy_and_a_ramp",
    ),
    "seam_statistic": (
        "test_spatial.py::test_seam_p_value_against_scipy",
        "test_spatial.py::test_one_known_step_in_an_alternating_pattern_in_closed_form",
    ),
    "label_fractions": (
        "test_spatial.py::test_fractions",
        "test_spatial.py::test_fractions_of_a_disc_in_closed_form",
    ),
    "regions": ("test_spatial.py::test_regions_against_scipy", "test_spatial.py::test_a_disc_and_a_square"),
    "boundary_density": (
        "test_spatial.py::test_boundary_density_against_scipy",
        "test_spatial.py::test_a_disc_and_a_square",
    ),
    "autocorrelation": (
        "test_spatial.py::test_autocorrelation_against_scipy",
        "test_spatial.py::test_autocorrelation_of_smoothed_noise_is_a_gaussian",
    ),
    "autocorrelation_length": (
        "test_spatial.py::test_length_against_scipy",
        "test_spatial.py::test_autocorrelation_of_smoothed_noise_is_a_gaussian",
    ),
    "long_range_correlation": (
        "test_spatial.py::test_long_range_in_closed_form_and_against_numpy",
        "test_spatial.py::test_long_range_in_closed_form_and_against_numpy",
    ),
}


@cache
def functions(file):
    """Functions of a test module by name."""
    tree = ast.parse((Path(__file__).parent / file).read_text("utf8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def names_in(node):
    """What code names; words of a docstring or comment are not among them."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def test_every_metric_is_in_the_table():
    assert len(PUBLIC) == len(TESTS) + len(NO_METRIC)  # no name in both
    assert set(PUBLIC) == set(TESTS) | set(NO_METRIC)


@pytest.mark.parametrize("metric", TESTS)
def test_a_metric_has_an_oracle_and_a_closed_form(metric):
    for place in TESTS[metric]:
        file, _, name = place.partition("::")
        assert name.startswith("test_") and name in functions(file), f"expected {place} for {metric}, got no such test"
        assert metric in names_in(functions(file)[name]), f"expected {place} to call {metric}, got a test without it"


@pytest.mark.parametrize("metric", TESTS)
def test_a_metric_has_an_example(metric):
    assert ">>> " in PUBLIC[metric].__doc__, f"expected a doctest in {metric}, got none"


def test_a_name_in_words_does_not_count():
    code = ast.parse("def test_x():\n    'about f1'\n    assert agreement.mean_iou(confusion(1)) == 'f1'  # f1\n")
    assert {"mean_iou", "confusion"} <= names_in(code) and "f1" not in names_in(code)
