"""Verdicts: right side of the bar, right words, nothing decided within chance."""

import pytest

from diffinfinite_lite.widgets.verdicts import MISSED, OPEN, REACHED, Bar, verdicts


@pytest.mark.parametrize(
    ("value", "better", "interval", "outcome"),
    [
        (0.9, "high", None, REACHED),
        (0.5, "high", None, REACHED),  # the bar is the worst value that is good enough
        (0.4, "high", None, MISSED),
        (0.4, "low", None, REACHED),
        (0.6, "low", None, MISSED),
        (0.6, "low", (0.45, 0.7), OPEN),
        (0.9, "low", (0.6, 1.0), MISSED),
    ],
)
def test_outcome(value, better, interval, outcome):
    assert Bar("x", value, 0.5, better, "Good.", "Bad.", interval).outcome == outcome


def test_sentences_say_by_how_much_and_what_it_means():
    said = [Bar("x", value, 0.5, "low", "Good.", "Bad.").sentence() for value in (0.2, 0.75)]
    assert said == ["x 0.20, at most 0.50 wanted: reached, with 0.30 to spare. Good.",
                    "x 0.75, at most 0.50 wanted: missed by 0.25. Bad."]  # fmt: skip
    open_ = Bar("x", 0.6, 0.5, "low", "Good.", "Bad.", (0.4, 0.7)).sentence()
    assert "too close to say" in open_ and "Good" not in open_ and "Bad" not in open_


def test_page_says_the_outcome_in_words_and_escapes():
    page = verdicts([Bar("a < b", 1, 0, "high", "So.", "No.")], title="What & why")
    assert "Reached." in page and "a &lt; b" in page and "What &amp; why" in page


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="high or low"):
        Bar("x", 1, 1, "up", "", "")
    with pytest.raises(ValueError, match="expected numbers for x"):
        Bar("x", float("nan"), 1, "high", "", "")
