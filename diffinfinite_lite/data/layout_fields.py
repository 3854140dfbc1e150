r"""What layouts are drawn with: smooth random fields, and cells of a bent Voronoi diagram.

A band-limited Gaussian field :math:`f_\sigma = G_\sigma * w / \mathrm{std}` (:math:`w` white noise) bends coordinates,
varies thickness and says which pattern is where. A Voronoi diagram of jittered seeds :math:`p_i` gives every cell its
distance to the next wall, :math:`(|x - p_j|^2 - |x - p_i|^2) / (2 |p_j - p_i|)`, with :math:`p_i, p_j` its two nearest
seeds. Both are what glands, nests and alveoli share: closed spaces of about one size, wall to wall.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

Shape = tuple[int, int]


def field(shape: Shape, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field without detail finer than `sigma` cells, mean 0 and variance 1.

    Returns
    -------
    float array of `shape`

    >>> f = field((64, 64), 4, np.random.default_rng(0))
    >>> bool(abs(np.diff(f, axis=0)).max() < 1)
    True
    """
    coarse = max(int(sigma // 3), 1)  # a wide field is drawn on a coarse grid and stretched
    reach = int(4 * sigma / coarse) + 1  # beyond what is seen: one that wraps around would be the same at both borders
    small = tuple(-(-n // coarse) + 3 + reach for n in shape)
    noise = ndi.gaussian_filter(rng.standard_normal(small), sigma / coarse, mode="wrap")
    noise *= 2 * np.sqrt(np.pi) * sigma / coarse  # the standard deviation that smoothing took away
    if coarse > 1:
        noise = ndi.zoom(noise[: small[0] - reach, : small[1] - reach], coarse, order=1)
    return noise[: shape[0], : shape[1]]


class Voronoi:
    """Warped Voronoi diagram on a grid of cells.

    Parameters
    ----------
    shape : of the grid.
    spacing : of the seeds, cells.
    rng : the only source of randomness.
    warp : how far fields bend it, as a share of the spacing.
    merge : share of the neighbours whose wall is taken away.
    stretch : by how much places are longer one way, and narrower the other; their direction is random.
    rough : by how many cells walls stray.

    Attributes
    ----------
    owner : int array (h, w), number of the place; merged ones have one number.
    wall : float array (h, w), distance to the next wall in cells.
    inner : float array (h, w), the same as if nothing were merged.
    count : numbers are less than that.
    """

    def __init__(
        self,
        shape: Shape,
        spacing: float,
        rng: np.random.Generator,
        *,
        warp: float = 0.2,
        merge: float = 0.0,
        stretch: float = 1.0,
        rough: float = 0.4,
    ) -> None:
        grid = np.indices(shape, dtype=np.float64)
        bent = [g + warp * spacing * field(shape, spacing / 3, rng) + rough * field(shape, 2, rng) for g in grid]
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = np.stack(bent, axis=-1) @ (turn * [[stretch], [1 / stretch]]).T
        low, high = points.min(axis=(0, 1)) - 2 * spacing, points.max(axis=(0, 1)) + 2 * spacing
        axes = [np.arange(a + rng.uniform(0, spacing), b, spacing) for a, b in zip(low, high, strict=True)]
        seeds = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        seeds += rng.uniform(-0.45, 0.45, seeds.shape) * spacing
        tree = cKDTree(seeds)
        distance, index = tree.query(points, k=4)
        group = np.arange(len(seeds))
        if merge:
            pairs = tree.query_pairs(1.3 * spacing, output_type="ndarray")
            for a, b in pairs[rng.random(len(pairs)) < merge]:
                group[group == group[b]] = group[a]
        first, square = index[..., 0], distance**2
        wall, inner = np.full(shape, 4.0 * spacing), np.full(shape, 4.0 * spacing)
        for k in (1, 2, 3):
            # a point's distance to the bisector of its nearest seed and another: (d_k^2 - d_0^2) / (2 |s_k - s_0|)
            between = np.linalg.norm(seeds[index[..., k]] - seeds[first], axis=-1)
            bisector = (square[..., k] - square[..., 0]) / (2 * np.maximum(between, 1e-9))
            inner = np.minimum(inner, bisector)
            wall = np.where(group[index[..., k]] != group[first], np.minimum(wall, bisector), wall)
        self.owner, self.wall, self.inner, self.count = group[first], wall, inner, len(seeds)

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of values (h, w) over each place, float (count,); 0 where it has no cell."""
        cells = np.bincount(self.owner.ravel(), minlength=self.count)
        return np.bincount(self.owner.ravel(), values.ravel(), self.count) / np.maximum(cells, 1)


def depth(region: np.ndarray) -> np.ndarray:
    """Distance of the cells of a region (h, w) to the next one outside of it, which the border is not, float."""
    if region.all():
        return np.full(region.shape, np.inf)
    return ndi.distance_transform_edt(region)


def tidy(labels: np.ndarray, smallest: int = 5) -> np.ndarray:
    """Give regions under `smallest` cells (about 320 px) to the label of their nearest larger neighbour."""
    small = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        parts, count = ndi.label(labels == label, np.ones((3, 3)))
        small |= (np.bincount(parts.ravel(), minlength=count + 1) < smallest)[parts] & (parts > 0)
    if not small.any() or small.all():
        return labels
    nearest = ndi.distance_transform_edt(small, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]
