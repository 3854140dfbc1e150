"""Verdicts: a number, the bar it has to reach, whether it does, and what that means for who uses the pictures.

A page cannot know beforehand what a model will score, so that its prose must hold for any value. The sentence that does
not is chosen here, when the page is built.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

REACHED, MISSED, OPEN = "reached", "missed", "too close to say"
COLOURS = {REACHED: "#009e73", MISSED: "#d55e00", OPEN: "#888888"}


@dataclass(frozen=True)
class Bar:
    """A measured number beside what it should be.

    Attributes
    ----------
    name : of the number, in plain words
    value, bar : what was measured, and the worst value that is good enough, mostly that of real tiles
    better : "high" or "low"
    if_reached, if_missed : what that means for who uses the pictures, a sentence each
    interval : lowest and highest value that chance leaves open, if known; where the bar lies inside, nothing is decided
    digits : after the point
    """

    name: str
    value: float
    bar: float
    better: str
    if_reached: str
    if_missed: str
    interval: tuple[float, float] | None = None
    digits: int = 2

    def __post_init__(self) -> None:
        if self.better not in ("high", "low"):
            raise ValueError(f"expected that high or low is better, got {self.better!r}")
        if not (math.isfinite(self.value) and math.isfinite(self.bar)):
            raise ValueError(f"expected numbers for {self.name}, got {self.value} and a bar of {self.bar}")

    @property
    def outcome(self) -> str:
        """`REACHED`, `MISSED` or `OPEN`.

        >>> Bar("recall", 0.1, 0.8, "high", "", "").outcome, Bar("recall", 0.1, 0.8, "high", "", "", (0, 0.9)).outcome
        ('missed', 'too close to say')
        """
        if self.interval and self.interval[0] <= self.bar <= self.interval[1]:
            return OPEN
        good = self.value >= self.bar if self.better == "high" else self.value <= self.bar
        return REACHED if good else MISSED

    def sentence(self) -> str:
        """The verdict in words.

        >>> Bar("recall", 0.1, 0.8, "high", "All is there.", "Much is missing.").sentence()
        'recall 0.10, at least 0.80 wanted: missed by 0.70. Much is missing.'
        """
        wanted = f"at {'least' if self.better == 'high' else 'most'} {self.bar:.{self.digits}f} wanted"
        said = f"{self.name} {self.value:.{self.digits}f}, {wanted}: "
        if self.outcome == OPEN:
            low, high = self.interval or (self.value, self.value)
            between = f"{low:.{self.digits}f} and {high:.{self.digits}f}"
            return f"{said}too close to say, since chance leaves open all between {between}."
        distance = f"{abs(self.value - self.bar):.{self.digits}f}"
        by = f"missed by {distance}" if self.outcome == MISSED else f"reached, with {distance} to spare"
        return f"{said}{by}. {self.if_missed if self.outcome == MISSED else self.if_reached}"


def verdicts(bars: Sequence[Bar], title: str = "Verdict") -> str:
    """HTML of verdicts, one paragraph each: the outcome as a word first, and as a colour beside it.

    >>> page = verdicts([Bar("recall", 0.1, 0.8, "high", "All is there.", "Much is missing.")])
    >>> page.count("<li"), "Missed" in page
    (1, True)
    """
    rows = "\n".join(
        f'<li style="border-left: .4rem solid {COLOURS[bar.outcome]}; padding: .1rem .7rem; margin: .5rem 0">'
        f"<strong>{bar.outcome.capitalize()}.</strong> {escape(bar.sentence())}</li>"
        for bar in bars
    )
    return (
        f'<div class="verdicts" role="group" aria-label="{escape(title)}"><p style="margin: 0"><strong>{escape(title)}'
        f'</strong></p>\n<ul style="list-style: none; padding: 0; margin: 0">\n{rows}\n</ul></div>'
    )
