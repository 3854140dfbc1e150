"""The log of a training run, as `loop.fit` keeps it: a row a step, with minutes and losses.

Logs of the first shipped models (`docs/training/`) have no head and no minutes: these are read as well, their columns
numbered.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEAD = ("step", "minutes")


@dataclass(frozen=True)
class Log:
    """What a run noted down.

    Attributes
    ----------
    steps : int (N,), from 1.
    minutes : float (N,), since the run began, pauses left out; None where nobody noted them.
    losses : float (N,) by name, "loss" the one that was made small.
    """

    steps: np.ndarray
    minutes: np.ndarray | None
    losses: dict[str, np.ndarray]

    def level(self, share: float, name: str = "loss", width: int = 100) -> float:
        """Mean of a loss over at most ``width`` steps that end where that share of the run is done.

        >>> Log(np.arange(1, 5), None, {"loss": np.array([4.0, 3.0, 2.0, 1.0])}).level(1, width=2)
        1.5
        """
        end = max(1, round(share * len(self.steps)))
        return float(self.losses[name][max(0, end - width) : end].mean())


def read_log(path: str | Path) -> Log:
    """Read the ``log.csv`` of a run.

    Raises
    ------
    ValueError
        If there is none, or it is no log.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        head = rows[0] if rows and not rows[0][0].isdigit() else None
        table = np.array(rows[1 if head else 0 :], float)
        names = head or ["step", "loss", *(f"loss {n}" for n in range(2, table.shape[1]))]
        columns = dict(zip(names, table.T, strict=True))
        steps = columns["step"].astype(int)
    except OSError as error:
        raise ValueError(f"expected the log of a training run at {path}, got: {error.strerror}") from error
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"expected the log of a training run, steps and losses in columns, got {path}") from error
    losses = {name: values for name, values in columns.items() if name not in HEAD}
    return Log(steps, columns.get("minutes"), losses)
