"""The setting ``appearance``: what tissue looks like whatever its mask says, as text, and the codes it stands for.

    None                 drawn for the context, by the picture's own seed
    "7"                  drawn by another seed: pictures of several seeds with one appearance
    "0.3,-1.2, ..."      the 16 numbers of a code themselves
    "tile.png"           those of a picture whose light and stain are to be imitated (nothing else of it is seen)
    "A to B"             from A, any of these, at the left border to B at the right one

A picture that was imitated is recorded by its numbers, so that a run can be repeated without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.pictures import read_rgb
from ..data.tiles import to_tensor
from ..labels import CELL_PX, PROMPTS
from ..models.draft import CODE
from ..models.pretrained import Drafting
from ..sampling.noise import level_generator

MORPH = " to "
OTHER_NOISE = 1 << 60  # into the seed, so that nothing else is drawn from the same noise
LARGEST = 224  # px of a picture that are looked at, from its middle: a training tile
SMALLEST = 64


def to_text(appearance: Any) -> str | None:
    """A seed, a sequence of numbers, a path or text as the setting holds it.

    >>> to_text(7), to_text((0.5, -1)), to_text(None)
    ('7', '0.5,-1', None)
    """
    if appearance is None or isinstance(appearance, str):
        return appearance
    if isinstance(appearance, Integral) and not isinstance(appearance, bool):
        return str(int(appearance))
    if isinstance(appearance, Path):
        return str(appearance)
    try:
        return ",".join(f"{float(number):.6g}" for number in appearance)
    except (TypeError, ValueError):
        raise ValueError(f"expected an appearance that is a seed, numbers or a picture, got {appearance!r}") from None


def is_appearance(text: Any) -> bool:
    """Whether a text says a seed in range, as many numbers as a code has, a picture, or two of these.

    >>> is_appearance("3 to tile.png"), is_appearance("0.5,1"), is_appearance("3 to ")
    (True, False, False)
    """
    return isinstance(text, str) and all(_is_one(part) for part in text.split(MORPH))


def _is_one(text: str) -> bool:
    if text.isdecimal():
        return int(text) < 2**64
    numbers = _numbers(text)
    return len(numbers) == CODE if numbers else bool(text.strip())


def _numbers(text: str) -> list[float]:
    """The numbers of a list with commas, none where it is something else."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return found if all(torch.isfinite(torch.tensor(found))) else []


def names_picture(text: str) -> bool:
    """Whether an appearance reads a file.

    >>> names_picture("3 to tile.png"), names_picture("3 to 4")
    (True, False)
    """
    return not all(part.isdecimal() or _numbers(part) for part in text.split(MORPH))


def settled(text: str | None, drafting: Drafting) -> str | None:
    """The text with the numbers of pictures in place of their paths.

    Raises
    ------
    ValueError, OSError : a picture is too small, missing or none.
    """
    if text is None:
        return None
    return MORPH.join(
        part if part.isdecimal() or _numbers(part) else to_text(_imitated(Path(part), drafting).tolist()) or ""
        for part in text.split(MORPH)
    )


def find_codes(text: str | None, seed: int, context: str | None, drafting: Drafting) -> tuple[Tensor, Tensor]:
    """Codes float (16,) of the left and the right border, which are the same but for a morph.

    Parameters
    ----------
    text : of `settled`
    seed : of the picture
    """

    def code(part: str) -> Tensor:
        if part.isdecimal():
            return drafting.appearance.draw(context or PROMPTS[0], level_generator(int(part) ^ OTHER_NOISE, 0))
        return torch.tensor(_numbers(part))

    ends: Sequence[str] = (str(seed) if text is None else text).split(MORPH)
    if len(ends) > 2:
        raise ValueError(f"expected an appearance, or two with {MORPH!r} between them, got {text!r}")
    return code(ends[0]), code(ends[-1])


def _imitated(path: Path, drafting: Drafting) -> Tensor:
    try:
        return imitate(read_rgb(path), drafting)
    except TooSmall as error:
        raise ValueError(f"{error} in {path}") from None


class TooSmall(ValueError):
    """A picture that is too small to be imitated."""


@torch.no_grad()
def imitate(image: np.ndarray, drafting: Drafting) -> Tensor:
    """Code float (16,) of the middle of a picture uint8 (H, W, 3).

    Raises
    ------
    TooSmall
        If there is too little of it.
    """
    height, width = (min(side // CELL_PX * CELL_PX, LARGEST) for side in image.shape[:2])
    if min(height, width) < SMALLEST:
        found = f"{image.shape[0]} x {image.shape[1]} px"
        raise TooSmall(f"expected a picture of at least {SMALLEST} px to imitate, got {found}")
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    crop = to_tensor(image[top : top + height, left : left + width].copy())[None]
    place = drafting.appearance.means.device
    return drafting.appearance(drafting.network.thumbnails.encode(crop.to(place)))[0].cpu()
