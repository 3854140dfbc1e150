"""Networks that learnt five labels (`labels.FIVE_CODES`), read as if they had learnt six: the one place that does so.

A network is told labels by tables with a row for each condition. One of 20 rows is of the time when `others` meant
other tissue and air alike, and is brought to 24 by copying rows (`labels.FIVE_CODE_ROWS`): what was painted under the
labels 1 to 3 stays as it was, air is what `others` was, and so is other tissue, but for the walls of normal lung, which
were stroma. So such a network paints no other tissue of its own under a tumour's context until it is trained on.

A model of masks says labels, too, as a channel each. One of five channels is left as it is, and what it draws is put
into six codes (`labels.from_five_codes`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..labels import FIVE_CODE_ROWS, FIVE_CODES, LABELS, PROMPTS

TABLES = ("label.weight", "query.weight")  # of `unet.ResidualBlock` and `unet.MaskAttention`


def with_air(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a network, or of a change of one, whose tables have a row for each condition of today.

    Parameters
    ----------
    tensors : by name; tables of 20 rows are brought to 24, everything else is as it is

    >>> table = torch.arange(20)[:, None]
    >>> with_air({"label.weight": table})["label.weight"].flatten().tolist()
    [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 9, 10, 11, 12, 13, 14, 14, 15, 16, 17, 18, 18, 19]
    """
    rows = torch.tensor(FIVE_CODE_ROWS)
    return {name: tensor[rows] if _of_five_codes(name, tensor) else tensor for name, tensor in tensors.items()}


def knows_air(tensors: dict[str, Tensor]) -> bool:
    """Whether a network tells air from other tissue, by its tables: one that was brought to six codes does not yet.

    >>> table = torch.arange(20)[:, None]
    >>> knows_air({"label.weight": table}), knows_air({"label.weight": torch.arange(24)[:, None]})
    (False, True)
    """
    others, air = (
        [len(LABELS) * k + LABELS.index(name) for k, prompt in enumerate(PROMPTS) if prompt != "normal"]
        for name in ("others", "air")
    )
    tables = [tensor for name, tensor in with_air(tensors).items() if name.endswith(TABLES)]
    return any(not torch.equal(table[others], table[air]) for table in tables)


def _of_five_codes(name: str, tensor: Tensor) -> bool:
    return name.endswith(TABLES) and len(tensor) == FIVE_CODES * len(PROMPTS)
