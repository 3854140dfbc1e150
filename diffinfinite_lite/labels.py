"""Labels, their colours, contexts and condition codes: the only place for each.

A label says what a pixel of a mask is, 0 that nobody said. A *context* says what kind of tissue all of it belongs to.
The image model is told both as one integer a latent pixel: 0 where nothing is known, else 6 k + l for label l under the
k-th of `PROMPTS`. A latent pixel, which is also the cell of a mask, is `CELL_PX` px wide.

*Others* is the paper's word for all tissue that is none of the three before it: alveolar septa, bronchus, vessel with
its blood, lymphoid tissue. *Air* is what holds no tissue: alveolar air, the lumen of a gland, glass. Both were one code
once, 4; networks of that time are read by `FIVE_CODE_ROWS`, what they drew by `from_five_codes` (docs/adr/0023).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

LABELS = ("unknown", "carcinoma", "necrosis", "stroma", "others", "air")
# One colour per class (R, G, B), after Okabe and Ito: safe for colour-blind readers; stroma and air are darker than
# their blues and unknown a middle grey, so that the lightness of all six differs in print (tested).
LABEL_COLOURS = ((190, 190, 190), (213, 94, 0), (34, 34, 34), (0, 90, 150), (240, 228, 66), (80, 168, 222))
TEN_CLASSES = (
    "unknown",
    "alveole",
    "artery",
    "artifacts",
    "carcinoma",
    "cartilage",
    "connective",
    "necrosis",
    "tumour-stroma",
    "others",
)  # of the expert patches that the paper's authors published
TEN_TO_SIX = (0, 4, 4, 4, 1, 4, 3, 2, 3, 4)  # experts outline lung as a region, walls and air in one

CONTEXTS = ("adenocarcinoma", "squamous", "normal")
PROMPTS = ("none", *CONTEXTS)  # what the image model can be told of a whole picture
CONDITIONS = len(LABELS) * len(PROMPTS)

FIVE_CODES = 5  # labels of the code before this one, without air
# Row of a table of those 5 x 4 conditions that stands for each condition of today: air was `others`, and so was other
# tissue, except that the walls of normal lung were stroma.
FIVE_CODE_ROWS = tuple(
    FIVE_CODES * k + (3 if label == 4 and prompt == "normal" else min(label, 4))
    for k, prompt in enumerate(PROMPTS)
    for label in range(len(LABELS))
)

_BAND_PX = 2**20  # px of masks that are pooled at a time
CELL_PX = 8  # side of a latent pixel and of a mask cell: at 16 px, alveolar walls and thin stroma are lost


def colour_mask(mask: np.ndarray) -> np.ndarray:
    """Labels (H, W) in the course's colours, uint8 (H, W, 3).

    >>> tuple(colour_mask(np.array([[1]]))[0, 0].tolist()) == LABEL_COLOURS[1]
    True
    """
    return np.array(LABEL_COLOURS, np.uint8)[mask]


def colour_labels(colours: np.ndarray) -> np.ndarray:
    """Labels whose colours these are, the inverse of `colour_mask`: integers (..., 3) to int8 (...), -1 for any other.

    >>> colour_labels(np.array([[213, 94, 0], [213, 94, 1]])).tolist()
    [1, -1]
    """
    labels = np.full(colours.shape[:-1], -1, np.int8)
    for label, colour in enumerate(LABEL_COLOURS):
        labels[(colours == np.array(colour)).all(axis=-1)] = label
    return labels


def pool_mask(mask: Tensor, factor: int = CELL_PX) -> Tensor:
    """Label masks (N, H, W) to latent resolution (N, H/f, W/f): the most frequent label of each block.

    >>> pool_mask(torch.tensor([[[1, 1], [1, 3], [4, 4], [4, 4]]]), factor=2).tolist()
    [[[1], [4]]]
    """

    def pool(band: Tensor) -> Tensor:
        shares = F.avg_pool2d(F.one_hot(band.long(), len(LABELS)).permute(0, 3, 1, 2).float(), factor)
        return shares.argmax(dim=1)

    # in bands of rows: a pixel takes some 70 bytes on the way, which large masks would not leave to the picture
    count, height, width = mask.shape
    rows = factor * max(1, _BAND_PX // (factor * max(1, count * width)))
    whole = max(height - height % factor, 1)  # rows that fill no block are left out
    return torch.cat([pool(mask[:, top : top + rows]) for top in range(0, whole, rows)], dim=1)


def prompt_number(context: str) -> int:
    """Which of `PROMPTS` a context is.

    Raises
    ------
    ValueError
        If it is none of them.

    >>> prompt_number("squamous")
    2
    """
    if context not in PROMPTS:
        raise ValueError(f"expected a context among {', '.join(PROMPTS)}, got {context!r}")
    return PROMPTS.index(context)


def condition_map(mask: Tensor, context: str = "none") -> Tensor:
    """Labels 0..5 and a context prompt to conditions 0..23; unknown stays 0.

    Raises
    ------
    ValueError
        If the context or a label is not known.

    >>> condition_map(torch.tensor([0, 1, 5]), "squamous").tolist()
    [0, 13, 17]
    """
    number = prompt_number(context)
    if mask.numel() and not 0 <= int(mask.min()) <= int(mask.max()) < len(LABELS):
        raise ValueError(f"expected labels 0 to {len(LABELS) - 1}, got {int(mask.min())} to {int(mask.max())}")
    return torch.where(mask > 0, mask + len(LABELS) * number, 0)


def conditions(mask: np.ndarray, context: str | None) -> Tensor:
    """What the image model is told of labels (H, W) and a context: int64 (H/8, W/8), see `condition_map`."""
    return condition_map(pool_mask(torch.from_numpy(mask)[None])[0], context or "none")


def are_five_codes(names: object) -> bool:
    """Whether the labels that a run lists by name are those of the time before air had one.

    >>> are_five_codes({"unknown": 0.1, "carcinoma": 0, "necrosis": 0, "stroma": 0.4, "others": 0.5})
    True
    """
    return isinstance(names, Mapping) and tuple(names) == LABELS[:FIVE_CODES]


def from_five_codes(labels: np.ndarray, context: str | None) -> np.ndarray:
    """Labels of a network that knew five codes, in today's: its `others` were air, its stroma in normal lung septa.

    It painted and drew by pseudo-annotations (`data.annotate`) of that time. A file of five codes by itself means what
    it says, and is not to be changed.

    Parameters
    ----------
    labels : uint8 array of any shape, 0..4
    context : of all of them

    Returns
    -------
    uint8 array of that shape

    >>> [from_five_codes(np.array([0, 1, 3, 4], np.uint8), context).tolist() for context in ("squamous", "normal")]
    [[0, 1, 3, 5], [0, 1, 4, 5]]
    """
    return np.array([0, 1, 2, 4 if context == "normal" else 3, 5], np.uint8)[labels]
