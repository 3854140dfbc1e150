r"""Agreement: how well guessed labels fit true ones. Integer arrays in, a confusion table out, tables to numbers.

With :math:`n_{tp}` the pixels (or tiles) of truth t that were called p, and means over the classes that occur in the
truth:

.. math:: \text{balanced accuracy} = \overline{\frac{n_{cc}}{n_{c\cdot}}}, \quad
          F_1 = \overline{\frac{2 n_{cc}}{n_{c\cdot} + n_{\cdot c}}}, \quad
          \mathrm{IoU} = \overline{\frac{n_{cc}}{n_{c\cdot} + n_{\cdot c} - n_{cc}}}.

Label 0 is unknown and never counts. A class that the truth lacks has no score; wrong guesses of it cost the others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def confusion(truth: np.ndarray, guess: np.ndarray, classes: int = 4) -> np.ndarray:
    """Confusion table of label arrays 0 to `classes`; pixels whose truth is 0 (unknown) are left out.

    Parameters
    ----------
    truth, guess : integer arrays of one shape; guess has labels 1 to `classes`

    Returns
    -------
    int64 (classes, classes), truth in rows, guess in columns; tables of tiles may be summed

    Raises
    ------
    ValueError : shapes that differ, or labels out of range.

    >>> confusion(np.array([1, 2, 2, 0]), np.array([1, 2, 1, 1]), classes=2).tolist()
    [[1, 0], [1, 1]]
    """
    truth, guess = np.asarray(truth).astype(np.int64), np.asarray(guess).astype(np.int64)
    if truth.shape != guess.shape:
        raise ValueError(f"expected truth and guess of one shape, got {truth.shape} and {guess.shape}")
    known = truth > 0
    truth, guess = truth[known] - 1, guess[known] - 1
    if len(truth) and (truth.max() >= classes or guess.min() < 0 or guess.max() >= classes):
        raise ValueError(f"expected labels 1 to {classes}, got up to {max(truth.max(), guess.max()) + 1}")
    return np.bincount(truth * classes + guess, minlength=classes**2).reshape(classes, classes)


def balanced_accuracy(table: np.ndarray) -> float:
    """Mean recall of the classes that occur; see the module.

    >>> balanced_accuracy(np.array([[8, 2], [0, 1]]))
    0.9
    """
    return _over_classes(table, lambda hit, true, _: hit / true)


def f1(table: np.ndarray) -> float:
    """Mean F1 of the classes that occur; see the module.

    >>> round(f1(np.array([[8, 2], [0, 1]])), 4)
    0.6944
    """
    return _over_classes(table, lambda hit, true, said: 2 * hit / (true + said))


def mean_iou(table: np.ndarray) -> float:
    """Mean intersection over union of the classes that occur; see the module.

    >>> round(mean_iou(np.array([[8, 2], [0, 1]])), 4)
    0.5667
    """
    return _over_classes(table, lambda hit, true, said: hit / (true + said - hit))


def _over_classes(table: np.ndarray, ratio: Callable) -> float:
    true, said, hit = table.sum(1), table.sum(0), np.diag(table)
    occurs = true > 0
    if not occurs.any():
        raise ValueError("expected a table of at least one labelled pixel, got an empty one")
    return float(np.mean(ratio(hit[occurs], true[occurs], said[occurs])))
