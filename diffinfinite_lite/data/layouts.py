r"""Simulated tissue layouts: label maps drawn by a recipe, one recipe for each context.

Nobody publishes large lung masks with every region drawn. What this module makes is *simulated* and always to be
called so: it teaches a mask model what glands, nests and alveoli look like as regions. One cell is 8 px, about 4 um.
Recipes, with their sizes in um and the reasons for these, are in `layout_lung` and `layout_tumours`; all of them are
drawn with the fields and places of `layout_fields`. How near they are to pseudo-annotations of real tissue is what
``benchmarks/masks.py`` measures.
"""

from __future__ import annotations

import numpy as np
import torch

from .layout_fields import tidy
from .layout_lung import normal
from .layout_tumours import adenocarcinoma, squamous

PATTERNS = {"adenocarcinoma": adenocarcinoma, "squamous": squamous, "normal": normal}
_MARGIN = 16  # cells drawn around the layout and cropped: its border is like its middle


def layout(context: str, size: tuple[int, int], rng: np.random.Generator | torch.Generator) -> np.ndarray:
    """One simulated label map.

    Parameters
    ----------
    context : {'adenocarcinoma', 'squamous', 'normal'}
    size : (height, width) in mask cells of 8 px, each at least 1.
    rng : the only source of randomness; a torch generator seeds a numpy one.

    Returns
    -------
    uint8 array (height, width)
        1 carcinoma, 2 necrosis, 3 stroma, 4 other tissue, 5 air and lumen.

    Raises
    ------
    ValueError
        If the context is unknown or the size is not two positive integers.

    >>> labels = layout("normal", (28, 40), np.random.default_rng(0))
    >>> labels.shape, np.unique(labels).tolist()
    ((28, 40), [4, 5])
    """
    if context not in PATTERNS:
        raise ValueError(f"expected a context out of {', '.join(PATTERNS)}, got {context!r}")
    if len(size) != 2 or min(size) < 1 or any(int(n) != n for n in size):
        raise ValueError(f"expected a size of two positive integers (height, width) in cells, got {size}")
    if isinstance(rng, torch.Generator):
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng, device=rng.device)))
    shape = (int(size[0]) + 2 * _MARGIN, int(size[1]) + 2 * _MARGIN)
    labels = tidy(PATTERNS[context](shape, rng))
    return labels[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN].copy()
