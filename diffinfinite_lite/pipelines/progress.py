"""How far a run is: what every pipeline tells its caller, who draws the bar, and who may stop the run there.

A pipeline hands the items of each part of its work to one function, which gives them back one by one:

==========  ==============================================
mask        levels of the mask model, where a mask is made
sampling    levels of all stages (`stages.StageLevel`)
decoding    tiles of the decoder
==========  ==============================================

Whatever that function raises ends the run between two items; nothing was written then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

PARTS = {"mask": "level", "sampling": "level", "decoding": "tile"}  # what each of them counts
Progress = Callable[[Iterable, int, str], Iterable]  # items of a part, how many there are, its name


def silent(items: Iterable, total: int, part: str) -> Iterable:
    """The progress of a run that shows none."""
    return items
