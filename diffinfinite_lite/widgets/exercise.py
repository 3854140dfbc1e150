"""Exercises: a check that says whether an answer is right, and nothing as long as there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What an answer has to fulfil.

    Attributes
    ----------
    passes : takes the answer, or several of them, and says whether it is right
    hint : a sentence that helps after a wrong one

    >>> two = Check(lambda x: x * x == 4, "Which number times itself is four?")
    >>> two(...)
    Replace the dots by your answer, then run this cell again.
    >>> two(3)
    Not yet. Which number times itself is four?
    False
    >>> two(-2)
    Right.
    True
    """

    passes: Callable[..., object]
    hint: str

    def __call__(self, *answers: object) -> bool | None:
        """Prints a word on the answers; returns whether they are right, or None while one of them is missing."""
        if any(answer is ... or answer is None for answer in answers):
            print("Replace the dots by your answer, then run this cell again.")
            return None
        right = bool(self.passes(*answers))
        print("Right." if right else f"Not yet. {self.hint}")
        return right
