r"""Features: what a metric sees of an image, as one vector :math:`\phi(x) \in \mathbb{R}^D`.

The default is EfficientNet-Lite0 (`efficientnet`), trained on ImageNet and read off in the *middle*: with
:math:`h_b(x)` of shape (C_b, h, w) the output ("tap") of block b,

.. math:: \phi(x) = [\operatorname{mean}_{hw} h_4(x),\ \operatorname{mean}_{hw} h_{10}(x)], \quad D = 152.

Blocks 4 and 10 hold texture; the last layer holds what ImageNet calls things, and tells tissues apart less
well. A Fréchet distance on these features is called FD-EfficientNetLite0. It is not an FID: the numbers do
not compare.

The same taps make a perceptual loss in training, and a model that was trained with it may do well on these features
alone. `HandcraftedFeatures` (colour and texture, nothing learned) are a control that no loss has seen. `ModuleFeatures`
takes any network (Inception-v3, VGG-16, a pathology model) or function on images; `extractors` has those of the paper's
own metrics by name.

Images are (3, H, W) in [-1, 1], all of one size; a decoder's small overshoot is clipped, as saving it would.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from skimage.color import rgb2lab
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.filters import gaussian, laplace, sobel
from torch import Tensor, nn

from ..files import staged
from ..models.efficientnet import EfficientNetLite0


class FeatureExtractor(Protocol):
    """Images in, one row of numbers per image out.

    Attributes
    ----------
    name : goes into reports ("FD-<name>") and, with the pixels, into the key of the cache.
    """

    name: str

    def __call__(self, images: Iterable[Tensor]) -> np.ndarray:
        """Images, each (3, H, W) in [-1, 1] (a tensor (N, 3, H, W) will do), to float64 features (N, D)."""


def batches(images: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Checked stacks of at most `size` images, (b, 3, H, W) float32 clipped to [-1, 1].

    Raises
    ------
    ValueError : not (3, H, W), mixed sizes, values that are not finite or far outside [-1, 1], or no image
        at all.
    """
    shape, source = None, iter(images)
    while chunk := list(islice(source, size)):
        for image in chunk:
            shape = shape or tuple(image.shape)
            if image.ndim != 3 or len(image) != 3:
                raise ValueError(f"expected RGB images of shape (3, H, W), got {tuple(image.shape)}")
            if tuple(image.shape) != shape:
                raise ValueError(f"expected images of one size, got {shape} and {tuple(image.shape)}")
            if not image.is_floating_point() or not image.abs().max() < 2:  # "not <" also catches NaN
                raise ValueError(f"expected finite floats in [-1, 1], got {image.dtype} with another range")
        yield torch.stack(chunk).float().clamp(-1, 1)
    if shape is None:
        raise ValueError("expected at least one image, got none")


@dataclass
class ModuleFeatures:
    """Any `torch.nn.Module`, or a function on batches, as a `FeatureExtractor`.

    Attributes
    ----------
    module : maps (B, 3, H, W) to (B, D) or to a feature map (B, C, h, w), which is averaged over its pixels.
    name : unique to module, weights and `prepare`, because the cache relies on it.
    prepare : maps images in [-1, 1] to what the module expects, e.g. `imagenet_input`; None leaves them.
    batch_size, device : do not change the result beyond rounding.
    classes : the network that gives class logits (B, C) of the same prepared images, for the inception score; None
        where there is none.

    >>> vgg = torch.nn.Conv2d(3, 5, 3)  # in its place: torchvision.models.vgg16(weights="DEFAULT").features
    >>> ModuleFeatures(vgg, "vgg16", imagenet_input)(torch.zeros(2, 3, 32, 32)).shape
    (2, 5)
    """

    module: Callable[[Tensor], Tensor]
    name: str
    prepare: Callable[[Tensor], Tensor] | None = None
    batch_size: int = 16
    device: str = "cpu"
    classes: nn.Module | None = None

    @torch.inference_mode()
    def __call__(self, images: Iterable[Tensor]) -> np.ndarray:
        if isinstance(self.module, nn.Module):
            self.module.to(self.device).eval()
        rows = []
        for batch in batches(images, self.batch_size):
            batch = batch.to(self.device)
            out = self.module(self.prepare(batch) if self.prepare else batch)
            rows.append(out.flatten(2).mean(2) if out.ndim > 2 else out)
        return torch.cat(rows).double().cpu().numpy()


def efficientnet_features(batch_size: int = 16, device: str = "cpu") -> ModuleFeatures:
    """The default extractor, D = 152; about 30 images of 256 px a second on two cores."""
    network = EfficientNetLite0.pretrained().to(device)
    options = {"batch_size": batch_size, "device": device, "classes": network}
    return ModuleFeatures(network.features, "EfficientNetLite0", **options)


def imagenet_input(images: Tensor) -> Tensor:
    """[-1, 1] to the ImageNet mean and standard deviation that torchvision's networks were trained with."""
    mean, std = (images.new_tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return ((images + 1) / 2 - mean) / std


class HandcraftedFeatures:
    """Colour and texture without a network, D = 43: the control for metrics on learned features.

    Mean, standard deviation and skew (cube root of the third moment) of L, a, b (9); log energies of
    gradient and Laplacian of L at blurs of 0, 1, 2 and 4 px (8); uniform local binary patterns at 1 and 2 px
    (20); log contrast, correlation and homogeneity of grey-level pairs 1 and 4 px apart, over four
    directions (6). Units are chosen such that all of them vary by the order of 1 (colour in tens, square
    roots of pattern fractions in tenths).
    """

    name = "Handcrafted"
    _PAIRS = ("contrast", "correlation", "homogeneity")

    def __call__(self, images: Iterable[Tensor]) -> np.ndarray:
        pictures = (batch[0].permute(1, 2, 0).cpu().numpy() for batch in batches(images, 1))
        return np.stack([self._row((picture + 1) / 2) for picture in pictures])

    def _row(self, rgb: np.ndarray) -> np.ndarray:
        lab = rgb2lab(rgb).astype(np.float64) / 10
        centred = lab - lab.mean((0, 1))
        row = [*lab.mean((0, 1)), *lab.std((0, 1)), *np.cbrt((centred**3).mean((0, 1)))]
        for sigma in (0, 1, 2, 4):
            grey = gaussian(lab[..., 0], sigma) if sigma else lab[..., 0]
            row += [np.log((filtered(grey) ** 2).mean() + 1e-4) for filtered in (sobel, laplace)]
        grey = np.round(lab[..., 0] * 25.5).astype(np.uint8)
        for radius in (1, 2):
            codes = local_binary_pattern(grey, 8, radius, method="uniform").astype(int)
            row += list(10 * np.sqrt(np.bincount(codes.ravel(), minlength=10) / codes.size))
        angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
        pairs = graycomatrix(grey // 8, [1, 4], angles, levels=32, symmetric=True, normed=True)
        contrast, *others = (graycoprops(pairs, p).mean(1) for p in self._PAIRS)
        row += [*np.log1p(contrast), *(10 * np.ravel(others))]
        return np.array(row)


@dataclass
class Cached:
    """An extractor that stores its features: one small `.npy` a picture, named by the SHA-256 of extractor name and
    pixels.

    >>> from tempfile import mkdtemp
    >>> Cached(HandcraftedFeatures(), mkdtemp())(torch.zeros(2, 3, 16, 16)).shape
    (2, 43)
    """

    extractor: FeatureExtractor
    folder: str | Path

    @property
    def name(self) -> str:
        """The extractor's name."""
        return self.extractor.name

    def __call__(self, images: Iterable[Tensor]) -> np.ndarray:
        folder, rows = Path(self.folder), []
        folder.mkdir(parents=True, exist_ok=True)
        for batch in batches(images, 64):
            paths = [folder / f"{self._key(image)}.npy" for image in batch]
            missing = [i for i, path in enumerate(paths) if not path.exists()]
            if missing:
                with staged(folder, "features") as place:
                    for i, row in zip(missing, self.extractor(batch[missing]), strict=True):
                        np.save(place / paths[i].name, row)
                        os.replace(place / paths[i].name, paths[i])
            rows += [np.load(path) for path in paths]
        return np.stack(rows)

    def _key(self, image: Tensor) -> str:
        pixels = image.cpu().numpy().tobytes()
        return hashlib.sha256(f"{self.name}{tuple(image.shape)}".encode() + pixels).hexdigest()


def class_probabilities(extractor: FeatureExtractor) -> FeatureExtractor | None:
    """Softmax of the extractor's class logits, (N, C), stored in the extractor's cache if it has one.

    None where it has no `classes`: a layer in the middle of a network does not say what its classes are.
    """
    plain = extractor.extractor if isinstance(extractor, Cached) else extractor
    if not isinstance(plain, ModuleFeatures) or plain.classes is None:
        return None
    network = nn.Sequential(plain.classes, nn.Softmax(dim=1))
    found = replace(plain, module=network, name=f"{plain.name}-classes", classes=None)
    return Cached(found, extractor.folder) if isinstance(extractor, Cached) else found


@dataclass(frozen=True)
class Standardiser:
    """Centre and scale by the statistics of a reference set, with a floor under the scale.

    >>> reference = np.array([[0.0, 0.0, 1.0], [2.0, 2.0, 1.0]])  # the third channel is dead
    >>> Standardiser.fit(reference)(np.array([[3.0, 1.0, 1.2]])).round(2).tolist()
    [[2.0, 0.0, 2.0]]
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, reference: np.ndarray, floor: float = 0.1) -> Standardiser:
        """Statistics of features (N, D); no scale is under `floor` times the upper quartile of the scales.

        Without the floor, a channel that is dead in the reference would turn rounding into distance.

        Raises
        ------
        ValueError : not two-dimensional or fewer than two rows.
        """
        if np.ndim(reference) != 2 or len(reference) < 2:
            raise ValueError(f"expected features (N, D) with N >= 2, got shape {np.shape(reference)}")
        std = np.std(reference, axis=0)
        scale = np.maximum(std, floor * np.quantile(std, 0.75))
        return cls(np.mean(reference, axis=0), np.where(scale > 0, scale, 1.0))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(N, D) to (N, D), dimensionless."""
        return (features - self.mean) / self.scale
