r"""Downstream use (paper 5.3, Table 2): are synthetic pairs as good as real ones for training a network?

Two tasks: *classify* a tile as carcinoma, if at least 0.05% of its pixels are, or not; *segment* it into carcinoma,
necrosis, stroma, others and air, unknown pixels left out. Each is trained on real, on synthetic and on both, with
several seeds, and judged on tiles of clusters, sources and organs it has not seen.

Both read the frozen EfficientNet-Lite0 in the middle, blocks 2, 4 and 10, on a grid of 8 px: with :math:`h(x)` of
shape (176, h, w), a perceptron :math:`g_\theta` with one hidden layer classifies the mean of :math:`h` over the tile,
or each cell of :math:`h` by itself, by cross entropy weighted such that every class counts the same:

.. math:: \min_\theta \sum_i w_{y_i}\, \mathrm{CE}(g_\theta(h_i), y_i), \quad w_c \propto 1 / |\{i : y_i = c\}|.

Only :math:`g_\theta` is trained, within seconds on two cores; numbers compare among themselves, not with a network
trained throughout, as the paper's were. Scores are means over the classes that occur in the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from ..extras import extra
from ..labels import CELL_PX, LABELS
from ..metrics.features import batches
from ..models.efficientnet import PERCEPTUAL, EfficientNetLite0

with extra("evaluate"):
    from sklearn.metrics import confusion_matrix, f1_score, recall_score

CARCINOMA_SHARE = 0.0005
CLASSES = len(LABELS) - 1  # unknown is none
SEEDS = (0, 1, 2)
CELLS_A_TILE = 256  # that a segmenter is trained on
_MIDDLE = CELL_PX // 2


@dataclass(frozen=True)
class Maps:
    """Middle features of a tile: float16 (D, ceil(H / 8), ceil(W / 8)), and the tile's own (H, W)."""

    features: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Score:
    """Mean over seeds, and the standard deviation among them."""

    mean: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Score:
        """Of one value a seed.

        >>> Score.of([0.5, 0.7])
        Score(mean=0.6, spread=0.1414...)
        """
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
        return cls(round(float(np.mean(values)), 6), round(float(spread), 6))


def is_carcinoma(mask: np.ndarray, share: float = CARCINOMA_SHARE) -> bool:
    """The paper's label of a tile: at least 0.05% of its pixels are carcinoma.

    >>> mask = np.zeros((100, 100), int)
    >>> mask[0, :5] = 1
    >>> is_carcinoma(mask), is_carcinoma(mask[1:])
    (True, False)
    """
    return bool((np.asarray(mask) == 1).mean() >= share)


@torch.inference_mode()
def dense_features(images: Iterable[Tensor], batch_size: int = 8) -> list[Maps]:
    """The features that both tasks read of images (3, H, W) in [-1, 1]; compute them once for all seeds and tasks.

    Raises
    ------
    ValueError : images that differ in size, or see `features.batches`.
    """
    network, found = _network(), []
    for batch in batches(images, batch_size):
        taps = network.taps(batch, PERCEPTUAL)
        grid = [-(-side // CELL_PX) for side in batch.shape[-2:]]
        taps = [interpolate(tap, grid, mode="bilinear", align_corners=False, antialias=True) for tap in taps]
        size = (batch.shape[-2], batch.shape[-1])
        found += [Maps(maps, size) for maps in torch.cat(taps, dim=1).half()]
    return found


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of tiles, carcinoma or not; call it with `Maps`."""

    mean: Tensor
    scale: Tensor
    head: nn.Module

    @torch.inference_mode()
    def __call__(self, maps: Sequence[Maps]) -> np.ndarray:
        """Maps of N tiles to bool (N,)."""
        return self.head((_pooled(maps) - self.mean) / self.scale).argmax(dim=1).bool().numpy()


@dataclass(frozen=True)
class Segmenter:
    """A trained segmenter, a label for every pixel; call it with the `Maps` of one tile."""

    mean: Tensor
    scale: Tensor
    head: nn.Module

    @torch.inference_mode()
    def __call__(self, maps: Maps) -> np.ndarray:
        """Maps of a tile to labels 1 to 5, uint8 (H, W)."""
        height, width = maps.features.shape[1:]
        rows = (maps.features.flatten(1).T.float() - self.mean) / self.scale
        scores = self.head(rows).softmax(dim=1).T.reshape(1, CLASSES, height, width)
        full = interpolate(scores, (height * CELL_PX, width * CELL_PX), mode="bilinear", align_corners=False)
        return (full[0].argmax(dim=0) + 1).byte().numpy()[: maps.size[0], : maps.size[1]]


def fit_classifier(maps: Sequence[Maps], carcinoma: Sequence[bool], *, seed: int = 0, steps: int = 300) -> Classifier:
    """Train on tiles of both kinds.

    Parameters
    ----------
    maps : of N tiles
    carcinoma : (N,), see `is_carcinoma`
    seed : of the head's first weights and of the order of tiles

    Raises
    ------
    ValueError : another number of labels than tiles, or one kind only.
    """
    truth = torch.as_tensor(np.asarray(carcinoma, dtype=np.int64))
    if len(maps) != len(truth) or len(truth.unique()) < 2:
        raise ValueError(
            f"expected a label for each of {len(maps)} tiles, of both kinds, got {len(truth)}, {int(truth.sum())} of "
            "them carcinoma"
        )
    return Classifier(*_fit(_pooled(maps), truth, 2, seed, steps))


def fit_segmenter(maps: Sequence[Maps], masks: Sequence[np.ndarray], *, seed: int = 0, steps: int = 400) -> Segmenter:
    """Train on labelled pixels, at most 256 cells of `CELL_PX` a tile.

    Parameters
    ----------
    maps : of N tiles
    masks : N integer arrays (H, W), labels 0 (unknown, left out) to 5
    seed : of the choice of cells, of the head's first weights and of the order

    Raises
    ------
    ValueError : another number of masks than tiles, masks of another size, or fewer than two labels in all of them.
    """
    generator = np.random.default_rng(seed)
    rows, truth = [], []
    for tile, mask in _pairs(maps, masks):
        cells = torch.from_numpy(mask.astype(np.int64))[_MIDDLE::CELL_PX, _MIDDLE::CELL_PX]  # the label in its middle
        grid = tile.features[:, : cells.shape[0], : cells.shape[1]]  # a last cell without a middle is left out
        known = cells.flatten().nonzero().flatten().numpy()
        chosen = torch.from_numpy(generator.permutation(known)[:CELLS_A_TILE])
        rows.append(grid.flatten(1).T[chosen].float())
        truth.append(cells.flatten()[chosen] - 1)
    truth = torch.cat(truth) if truth else torch.zeros(0, dtype=torch.int64)
    if len(truth.unique()) < 2:
        raise ValueError(f"expected masks with two or more labels, got {len(truth.unique())} in {len(masks)} masks")
    return Segmenter(*_fit(torch.cat(rows), truth, CLASSES, seed, steps))


def segmentation_table(segmenter: Segmenter, maps: Sequence[Maps], masks: Sequence[np.ndarray]) -> np.ndarray:
    """Confusion table of a segmenter over tiles, (5, 5), truth in rows: of real tiles its quality, of generated pairs
    their faithfulness to their own masks. Pixels whose truth is unknown are left out.

    Raises
    ------
    ValueError : see `fit_segmenter`, or labels of a mask that do not exist.

    >>> def sees_stroma(tile):
    ...     return np.full(tile.size, 3, np.uint8)
    >>> mask = np.array([[3, 3], [1, 0]], np.uint8)
    >>> segmentation_table(sees_stroma, [Maps(torch.zeros(1, 1, 1), (2, 2))], [mask])[:, 2].tolist()
    [1, 0, 2, 0, 0]
    """
    table = np.zeros((CLASSES, CLASSES), np.int64)
    for tile, mask in _pairs(maps, masks):
        if mask.max(initial=0) > CLASSES:
            raise ValueError(f"expected labels 0 to {CLASSES}, got up to {mask.max()}")
        known = mask > 0
        if known.any():
            table += confusion_matrix(mask[known], segmenter(tile)[known], labels=range(1, CLASSES + 1))
    return table


def table_score(table: np.ndarray, score: Callable = f1_score) -> float:
    """A macro-averaged score of scikit-learn, ``f1_score`` or ``jaccard_score`` (IoU), of a confusion table.

    A class that the truth lacks has no score; wrong guesses of it cost the others.

    Raises
    ------
    ValueError : an empty table.

    >>> round(table_score(np.array([[8, 2], [0, 1]])), 4)
    0.6944
    """
    if not table.sum():
        raise ValueError("expected a table of at least one labelled pixel, got an empty one")
    truth, guess = np.indices(table.shape).reshape(2, -1)
    occurring = np.flatnonzero(table.sum(axis=1))
    return float(score(truth, guess, labels=occurring, sample_weight=table.ravel(), average="macro", zero_division=0))


def compare_classifiers(
    training: Mapping[str, tuple[Sequence[Maps], Sequence[bool]]],
    tests: Mapping[str, tuple[Sequence[Maps], Sequence[bool]]],
    seeds: Sequence[int] = SEEDS,
) -> dict[str, dict[str, Score]]:
    """Balanced accuracy of every training set (rows of Table 2a) on every test set (columns).

    It is the mean recall of the classes that the test set has.
    """

    def judge(classifier: Classifier, maps: Sequence[Maps], truth: Sequence[bool]) -> float:
        wanted = np.asarray(truth, dtype=bool)
        return float(recall_score(wanted, classifier(maps), labels=np.unique(wanted), average="macro"))

    return _compare(fit_classifier, judge, training, tests, seeds)


def compare_segmenters(
    training: Mapping[str, tuple[Sequence[Maps], Sequence[np.ndarray]]],
    tests: Mapping[str, tuple[Sequence[Maps], Sequence[np.ndarray]]],
    seeds: Sequence[int] = SEEDS,
) -> dict[str, dict[str, Score]]:
    """F1 of every training set (rows of Table 2b) on every test set."""

    def judge(segmenter: Segmenter, maps: Sequence[Maps], masks: Sequence[np.ndarray]) -> float:
        return table_score(segmentation_table(segmenter, maps, masks))

    return _compare(fit_segmenter, judge, training, tests, seeds)


def _compare(fit: Callable, judge: Callable, training: Mapping, tests: Mapping, seeds: Sequence[int]) -> dict:
    result = {}
    for name, (maps, truth) in training.items():
        models = [fit(maps, truth, seed=seed) for seed in seeds]
        result[name] = {test: Score.of([judge(model, *pair) for model in models]) for test, pair in tests.items()}
    return result


def _pairs(maps: Sequence[Maps], masks: Sequence[np.ndarray]):
    if len(maps) != len(masks):
        raise ValueError(f"expected a mask for each of {len(maps)} tiles, got {len(masks)}")
    for tile, mask in zip(maps, masks, strict=True):
        if np.shape(mask) != tile.size:
            raise ValueError(f"expected a mask of {tile.size}, got {np.shape(mask)}")
        yield tile, np.asarray(mask)


@cache
def _network() -> EfficientNetLite0:
    return EfficientNetLite0.pretrained()


def _pooled(maps: Sequence[Maps]) -> Tensor:
    return torch.stack([tile.features.float().mean((1, 2)) for tile in maps])


def _fit(x: Tensor, y: Tensor, classes: int, seed: int, steps: int, batch: int = 256) -> tuple:
    """Standardise (N, D), train the head on labels (N,); mean, scale and head."""
    mean, scale = x.mean(0), x.std(0)
    scale = scale.clamp_min(0.1 * scale.quantile(0.75)).clamp_min(1e-6)
    x = (x - mean) / scale
    count = torch.bincount(y, minlength=classes).float()
    weight = torch.where(count > 0, len(y) / (count.clamp_min(1) * (count > 0).sum()), 0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, classes))
        optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(steps):
            chosen = torch.randint(len(x), (min(batch, len(x)),))
            loss = cross_entropy(head(x[chosen]), y[chosen], weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return mean, scale, head.eval().requires_grad_(False)
