r"""Pseudo-annotations: sparse region masks of H&E tiles read off the picture by classical image analysis.

They are NOT expert annotations. They exist because LC25000 names the tumour of a tile but draws no region,
and every pixel they are unsure of stays 0 (unknown). Everything works on a stain-normalised tile at about 0.5
um/px.

Colour deconvolution (Ruifrok and Johnston 2001) turns optical density into haematoxylin :math:`h` and eosin.
With :math:`G_\sigma` a Gaussian mean and :math:`T` the tissue (not glass, not red cells), three measures
decide:

* nuclei :math:`N = [h > \mathrm{Otsu}(h)]`, and large nuclei :math:`B`: those that contain a disk of 6 px;
* local densities :math:`b = G_\sigma B / G_\sigma T` and :math:`n = G_\sigma N / G_\sigma T`;
* fibres: the coherence :math:`(\lambda_1 - \lambda_2)/(\lambda_1 + \lambda_2)` of the structure tensor.

    carcinoma  carcinoma tile, b high or a huge nucleus near     necrosis  squamous, granular, bare of nuclei
    stroma     fibres, b and n low, in a carcinoma tile          air       glass, and what is as clear as glass
    others     red cells; every wall of normal lung

One-hot votes are smoothed, a class needs a clear majority, and blobs under `MIN_BLOB` are dropped.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi
from skimage.color import hed_from_rgb
from skimage.filters import apply_hysteresis_threshold, threshold_otsu

from ..labels import CONTEXTS, LABELS
from .stain import optical_density

MIN_BLOB = 400  # px of the full-size tile
_SMALLEST = {1: 4 * MIN_BLOB, 2: 8 * MIN_BLOB, 3: MIN_BLOB, 4: MIN_BLOB, 5: MIN_BLOB}
LARGE_NUCLEUS, HUGE_NUCLEUS = 2.9, 6.5  # half-size px (about 1 um): radius of the disk they contain
GLASS, CLEAR, TISSUE = 0.28, 0.15, 0.38  # optical density, summed over RGB: glass below, tissue above
DARK = 2.2  # optical density, summed over RGB: a nucleus whatever its hue
_MAJORITY = 0.5
_DISK = ndi.generate_binary_structure(2, 1)


def annotate(rgb: np.ndarray, context: str) -> np.ndarray:
    """Sparse pseudo-annotation of one stain-normalised tile.

    Parameters
    ----------
    rgb : uint8 array (H, W, 3)
        A tile at about 0.5 um/px, after `diffinfinite_lite.data.stain.normalise`; H and W at least 32.
    context : {'adenocarcinoma', 'squamous', 'normal'}
        What the whole tile is known to show. Carcinoma is only ever drawn in the first two.

    Returns
    -------
    uint8 array (H, W)
        0 unknown, 1 carcinoma, 2 necrosis, 3 stroma, 4 others, 5 air.

    Raises
    ------
    ValueError
        If the picture is not (H, W, 3) bytes of at least 32 px, or the context is not one of the three.

    >>> glass = np.full((64, 64, 3), 250, np.uint8)
    >>> np.unique(annotate(glass, "normal")).tolist()
    [5]
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or min(rgb.shape[:2]) < 32:
        raise ValueError(f"expected RGB bytes (H, W, 3) of at least 32 px, got {rgb.shape} of {rgb.dtype}")
    if context not in CONTEXTS:
        raise ValueError(f"expected a context out of {', '.join(CONTEXTS)}, got {context!r}")
    m = measures(rgb, keratin=context != "normal")
    votes = np.zeros((len(LABELS), *m["tissue"].shape), np.float32)
    votes[4], votes[5] = m["red"], m["glass"]
    if context == "normal":
        votes[4] += m["tissue"]
        return _regions(votes, rgb.shape[:2])
    squamous = context == "squamous"  # keratin is fibrous: stroma must be farther from large nuclei
    cells = apply_hysteresis_threshold(m["large"], 0.1, 0.17) | (m["huge"] < 22)
    votes[1] = ~m["glass"] & ~m["red"] & cells
    calm = m["tissue"] & (m["large"] < 0.09) & (m["near"] > (16 if squamous else 8)) & (m["huge"] > 40)
    fibrous = (m["fibres"] > 0.28) & (m["nuclei"] < (0.2 if squamous else 0.3))
    if not squamous:  # collagen seen end on has no direction; it is far from any nucleus
        fibrous |= (m["near"] > 16) & (m["nuclei"] < 0.15)
    votes[3] = calm & fibrous
    if squamous:
        bare = (m["nuclei"] < 0.06) & (m["near"] > 24)
        votes[2] = calm & bare & (m["fibres"] < 0.25) & (m["grain"] > 0.12)
    return _regions(votes, rgb.shape[:2])


def measures(rgb: np.ndarray, keratin: bool = False) -> dict[str, np.ndarray]:
    """What `annotate` decides on, at half size (ceil(H/2), ceil(W/2)).

    Parameters
    ----------
    rgb : uint8 array (H, W, 3), stain-normalised.
    keratin : whether tumour may be as red as blood, so that red cells must be recognised by their blue, too.

    Returns
    -------
    dict of arrays (h, w)
        Booleans `glass`, `red`, `tissue`; floats `large` and `nuclei` (area fractions of tissue, 0 to 1),
        `near` (distance to the next large nucleus, in half-size px), `fibres` (coherence, 0 to 1), `grain`
        (standard deviation of the fine optical density).
    """
    height, width = rgb.shape[:2]
    even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(np.float32)
    half = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    density = optical_density(half, white=255)
    total = density.sum(axis=2)
    blood = (density[..., 0] < np.minimum(0.16 * total, 0.35)) & (total > 0.7)
    if keratin:  # eosin lets blue pass, haemoglobin does not
        blood &= density[..., 2] > 0.36 * density[..., 1]
    red = ndi.binary_opening(ndi.gaussian_filter(blood.astype(np.float32), 1) > 0.5, _DISK)
    smooth = ndi.gaussian_filter(total, 2)
    glass = _clear(smooth)
    tissue = (smooth > TISSUE) & ~red
    haematoxylin = ndi.gaussian_filter(density @ hed_from_rgb[:, 0].astype(np.float32), 1)
    stained = haematoxylin[tissue]
    threshold = max(threshold_otsu(stained), 0.3) if stained.size > 200 and np.ptp(stained) > 0 else np.inf
    dark = (ndi.gaussian_filter(total, 1) > DARK) & np.isfinite(threshold)
    nuclei = ndi.binary_fill_holes((haematoxylin > threshold) | dark) & ~red & ~glass
    inside = ndi.distance_transform_edt(nuclei)
    core = inside > LARGE_NUCLEUS
    large = ndi.binary_dilation(core, _DISK, iterations=4) & nuclei
    tissue_share = ndi.gaussian_filter(tissue.astype(np.float32), 8) + 0.05  # never 0, to divide by
    gy, gx = np.gradient(ndi.gaussian_filter(total, 1))
    yy, xx, xy = (ndi.gaussian_filter(a, 6) for a in (gy * gy, gx * gx, gx * gy))
    fine = total - ndi.gaussian_filter(total, 1.5)
    return {
        "glass": glass,
        "red": red,
        "tissue": tissue,
        "large": ndi.gaussian_filter(large.astype(np.float32), 8) / tissue_share,
        "nuclei": ndi.gaussian_filter(nuclei.astype(np.float32), 8) / tissue_share,
        "near": _distance(core),
        "huge": _distance(inside > HUGE_NUCLEUS),
        "fibres": np.sqrt((yy - xx) ** 2 + 4 * xy**2) / (yy + xx + 1e-6),
        "grain": np.sqrt(ndi.gaussian_filter(fine**2, 5)),
    }


def _regions(votes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Votes (6, h, w) to a label map of `shape`: smoothed, by majority, without small blobs and pinholes."""
    share = np.stack([ndi.gaussian_filter(v, 2.5) for v in votes[1:]])
    labels = np.where(share.max(axis=0) > _MAJORITY, share.argmax(axis=0) + 1, 0).astype(np.uint8)
    for label, smallest in _SMALLEST.items():
        labels[_small(labels == label, smallest)] = 0
    holes, count = ndi.label(labels == 0)
    if count:
        size = np.bincount(holes.ravel(), minlength=count + 1)
        around = ndi.maximum_filter(labels, 3)
        top = ndi.maximum(around, holes, np.arange(count + 1))
        low = ndi.minimum(np.where(labels == 0, np.where(around > 0, around, 9), 9), holes, np.arange(count + 1))
        fill = (size < MIN_BLOB / 4) & (top == low)
        fill[0] = False
        labels = np.where(fill[holes], top[holes], labels).astype(np.uint8)
    return labels.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]


def _clear(density: np.ndarray) -> np.ndarray:
    """Glass: pale regions clear on average, and clear cores. Pale cytoplasm is hardly ever clear."""
    parts, count = ndi.label(density < GLASS)
    clear = np.zeros(count + 1, bool)
    clear[1:] = ndi.mean(density, parts, np.arange(1, count + 1)) < CLEAR
    return clear[parts] | ndi.binary_opening(density < CLEAR, _DISK, iterations=4)


def _distance(region: np.ndarray) -> np.ndarray:
    """Distance of every pixel to `region`, infinite where there is none."""
    return ndi.distance_transform_edt(~region) if region.any() else np.full(region.shape, np.inf)


def _small(region: np.ndarray, smallest: int) -> np.ndarray:
    parts, count = ndi.label(region)
    size = np.bincount(parts.ravel(), minlength=count + 1)
    small = size < smallest / 4
    small[0] = False
    return small[parts]
