"""Picture files that differ in their tissue alone: processed alike, of equal length, without telling names or metadata.

- *Processing*: every picture, real or not, goes through the same `Processing`. Nothing is done to one side alone.
- *File*: one codec, one quality, no metadata. Files of one size are padded to equal length with noise, named by a hash
  of their content and sorted by that name. So neither name nor length nor order depends on the truth.

What still differs between real and synthetic files is measured (`leaks`) and stands on the first page of the survey.
Somebody who trains a classifier on the pictures, or who builds them again, can find out the truth all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from ..data.encoding import encode
from ..data.stain import optical_density

SIDES = {"small": 208, "large": 416}  # px
GLASS = 0.1  # mean optical density under which a pixel counts as glass
FEATURES = ("brightness", "contrast", "redness", "glass", "fine detail", "bytes")  # `low_level_features`, file length


@dataclass(frozen=True)
class Field:
    """A square picture, uint8 (n, n, 3), of one of the two sides in `SIDES`.

    Attributes
    ----------
    origin : where it comes from: pictures of one origin share camera or model.
    context : the growth pattern it shows, or "".
    """

    rgb: np.ndarray
    real: bool
    origin: str
    context: str = ""

    def __post_init__(self):
        if self.rgb.shape not in [(side, side, 3) for side in SIDES.values()] or self.rgb.dtype != np.uint8:
            sides = " or ".join(map(str, SIDES.values()))
            raise ValueError(f"expected a square picture of bytes, {sides} px a side, got {self.rgb.shape}")

    @property
    def size(self) -> str:
        """ "small" or "large"."""
        return {side: name for name, side in SIDES.items()}[len(self.rgb)]


@dataclass(frozen=True)
class Item:
    """A picture file as it is shown: `data` is a JPEG of `length` bytes and noise after it; `name` is its hash."""

    name: str
    size: str
    real: bool
    origin: str
    data: bytes
    length: int


def low_level_features(rgb: np.ndarray) -> tuple[float, float, float, float, float]:
    """What can be measured on a picture without knowing tissue: the first five of `FEATURES`.

    Brightness and contrast are mean and standard deviation of the grey value, redness is red minus blue (all in grey
    levels), glass the share of pixels of an optical density below `GLASS`, fine detail the share of contrast that a
    Gaussian of 1 px removes.

    Parameters
    ----------
    rgb : uint8 array (H, W, 3)

    >>> low_level_features(np.full((8, 8, 3), 255, np.uint8))
    (255.0, 0.0, 0.0, 1.0, 0.0)
    """
    values = rgb.astype(np.float32)
    grey, contrast = values.mean(axis=2), float(values.mean(axis=2).std())
    fine = float((grey - gaussian_filter(grey, 1)).std())
    density = optical_density(rgb, white=255)  # white is fixed, or a field without glass would set its own
    glass = float((density.mean(axis=2) < GLASS).mean())
    redness = float((values[..., 0] - values[..., 2]).mean())
    return float(grey.mean()), contrast, redness, glass, fine / contrast if contrast else 0.0


@dataclass(frozen=True)
class Processing:
    """What every picture of a survey goes through, real or not, before it is shown.

    Attributes
    ----------
    scale : share of its side to which a picture is resampled (Lanczos), and back; 1 leaves it as it is.
    sigma : px of a Gaussian after that; 0 for none.
    quality : of the JPEG.

    >>> Processing(0.5, 0.0, 80).describe()
    'resampled to 50% and back, JPEG of quality 80'
    """

    scale: float = 1.0
    sigma: float = 0.0
    quality: int = 90

    def describe(self) -> str:
        """What is done, in words."""
        resampled = f"resampled to {self.scale:.0%} and back, " if self.scale != 1 else ""
        blurred = f"a Gaussian of {self.sigma:g} px, " if self.sigma else ""
        return f"{resampled}{blurred}JPEG of quality {self.quality}"

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """The picture after resampling and blur; the codec comes with the file."""
        picture = Image.fromarray(rgb)
        if self.scale != 1:
            small = tuple(max(1, round(self.scale * n)) for n in picture.size)
            picture = picture.resize(small, Image.Resampling.LANCZOS).resize(picture.size, Image.Resampling.LANCZOS)
        values = np.asarray(picture)
        return smooth(values, self.sigma)


# The mildest that tells as little by numbers and spectrum as any other that was tried; docs/adr/0019 has the table.
PROCESSING = Processing(quality=75)


def make_items(fields: Sequence[Field], processing: Processing = PROCESSING) -> list[Item]:
    """The files that raters see: of equal length for each size, without metadata, named and sorted by their hash."""
    files = [encode(processing(f.rgb), "jpeg", quality=processing.quality, optimize=True) for f in fields]
    longest = {size: max((len(d) for d, f in zip(files, fields, strict=True) if f.size == size), default=0)
               for size in SIDES}  # fmt: skip
    items = []
    for data, field in zip(files, fields, strict=True):
        noise = np.random.default_rng(list(hashlib.sha256(data).digest()))
        whole = data + noise.bytes(longest[field.size] + 64 - len(data))
        name = "p" + hashlib.sha256(whole).hexdigest()[:11]  # a letter first: spreadsheets take 12 digits for a number
        items.append(Item(name, field.size, field.real, field.origin, whole, len(data)))
    return sorted(items, key=lambda item: item.name)


def smooth(rgb: np.ndarray, sigma: float) -> np.ndarray:
    """A picture, uint8 (H, W, 3), under a Gaussian of so many px; 0 leaves it as it is."""
    if not sigma:
        return rgb
    return np.rint(gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0))).astype(np.uint8)
