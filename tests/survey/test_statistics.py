"""The survey's statistics against oracles, closed forms and their ends."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffinfinite_lite.survey import statistics
from tests.survey.toys import table


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_closed_form(counts):
    right, n = counts
    said = pd.DataFrame({"truth": ["real"] * n, "answer": ["real"] * right + ["synthetic"] * (n - right)})
    row = statistics.accuracy(said).loc["all"]
    z, p = stats.norm.isf(0.025), right / n
    edges = [
        (p + z * z / (2 * n) + s * z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
        for s in (-1, 1)
    ]
    assert (row["n"], row["correct"], row["accuracy"]) == (n, right, p)
    assert np.allclose([row["low"], row["high"]], edges, atol=1e-9)


def test_groups_are_counted_apart():
    answers = table()
    by = statistics.accuracy(answers, ["size", "truth"])
    assert by["n"].sum() == len(answers) and by["correct"].sum() == (answers.truth == answers.answer).sum()
    counts = statistics.confusion(answers)
    for (size, truth), row in by.iterrows():
        assert counts.loc[(size, truth), truth] == row["correct"]
        assert counts.loc[(size, truth)].sum() == row["n"]
    hard = statistics.items(answers)
    assert hard["accuracy"].is_monotonic_increasing and len(hard) == 12 and (hard["n"] == 6).all()


def test_correlations_are_those_of_scipy():
    answers = table(raters=9)
    rows, each = statistics.correlations(answers), statistics.raters(answers)
    for name in ("confidence", "experience", "minutes"):
        oracle = stats.pearsonr(each["accuracy"], each[name])
        interval = oracle.confidence_interval()
        assert np.allclose(rows.loc[name, ["r", "p"]].astype(float), oracle)
        assert np.allclose(rows.loc[name, ["low", "high"]].astype(float), interval)
        assert rows.loc[name, "df"] == 7
        assert np.isclose(statistics.p_of_r(rows.loc[name, "r"], 7), oracle.pvalue)


def test_raters_without_experience_are_left_out_of_that_row_only():
    answers = table(raters=7)
    answers.loc[answers.rater == "r3", "experience"] = np.nan
    assert statistics.correlations(answers)["df"].to_dict() == {"confidence": 5, "experience": 4, "minutes": 5}


def test_the_papers_p_values_follow_from_its_r():
    for r, p in statistics.PAPER.correlations.values():
        digits = 0.005 if round(r, 2) == r else 0.0005  # the paper rounds
        reach = [statistics.p_of_r(abs(r) + d, statistics.PAPER.raters - 2) for d in (digits, -digits)]
        assert reach[0] - 0.0005 <= p <= reach[1] + 0.0005


@given(st.integers(1, 60))
def test_smallest_r_is_just_significant(df):
    assert np.isclose(statistics.p_of_r(statistics.smallest_r(df), df), 0.05)


def test_fleiss_by_hand_and_at_its_ends():
    answers = table()
    counts = pd.crosstab(answers["item"], answers["answer"]).to_numpy()
    n = counts.sum(axis=1)[0]
    within = ((counts**2).sum(axis=1) - n) / (n * (n - 1))
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    assert np.isclose(statistics.fleiss(answers), (within.mean() - chance) / (1 - chance))
    assert np.isclose(statistics.fleiss(answers.assign(answer=answers["truth"])), 1)
    wrong = answers["truth"].map({"real": "synthetic", "synthetic": "real"})
    assert np.isclose(statistics.fleiss(answers.assign(answer=wrong)), 1)  # all agree, and all are wrong


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: statistics.fleiss(table(raters=1)), "at least two raters"),
        (lambda: statistics.fleiss(table().drop_duplicates("item")), "answered the same pictures"),
        (lambda: statistics.fleiss(table().assign(answer="real")), "same answer throughout"),
        (lambda: statistics.p_of_r(1.0, 8), "between -1 and 1"),
    ],
)
def test_what_cannot_be_computed_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


def test_a_correlation_that_is_not_defined_says_why_and_the_others_are_computed():
    few = statistics.correlations(table(raters=3))
    assert few["r"].isna().all() and few["why"].str.contains("at least 4 raters").all()
    for column, value, name in (
        ("experience", np.nan, "experience"),
        ("experience", 5.0, "experience"),
        ("confidence", 4, "confidence"),
    ):
        rows = statistics.correlations(table(raters=8).assign(**{column: value}))
        others = rows.drop(index=name)
        assert np.isnan(rows.loc[name, "r"]) and others["r"].notna().all() and (others["why"] == "").all()
        assert ("the same " + name if value == value else "with a number for " + name) in rows.loc[name, "why"]
    everybody_right = statistics.correlations(table(raters=5, skill=2))
    assert everybody_right["why"].str.contains("the same accuracy").all()


def test_agreement_with_partial_files_is_that_of_pairs_of_answers():
    """On each picture the share of pairs of raters who agree, averaged: an oracle without the formula."""
    answers = table(raters=5).drop(index=[3, 17, 30, 31])
    agreed = []
    for _, said in answers.groupby("item")["answer"]:
        pairs = [(a, b) for i, a in enumerate(said) for b in list(said)[i + 1 :]]
        agreed.append(np.mean([a == b for a, b in pairs]))
    chance = (answers["answer"].value_counts(normalize=True) ** 2).sum()
    assert np.isclose(statistics.fleiss(answers), (np.mean(agreed) - chance) / (1 - chance))


def test_calibration_counts_every_answer_once():
    answers = table()
    found = statistics.calibration(answers)
    assert found["n"].sum() == len(answers) and set(found.index) == set(answers["confidence"])
    assert found["correct"].sum() == (answers["truth"] == answers["answer"]).sum()


def test_heatmap_counts_raters_at_their_marks():
    marks = statistics.taps(table())
    assert len(marks) == 12 and set(marks["item"]) == {f"p{i}" for i in range(6)}  # rater i marked picture i twice
    one = pd.DataFrame({"rater": ["a", "a", "b"], "x": [0.2, 0.21, 0.8], "y": [0.4, 0.4, 0.6]})
    heat = statistics.heatmap(one, side=50)
    assert abs(heat[20, 10] - 1) < 0.07 and abs(heat[30, 40] - 1) < 0.07  # (row, column) is (y, x)
    twice = statistics.heatmap(one.assign(x=0.5, y=0.5), side=51)
    assert np.isclose(twice.max(), 2) and np.unravel_index(twice.argmax(), twice.shape) == (25, 25)
    assert not statistics.heatmap(one.iloc[:0]).any()
