"""TODO."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

QUALITIES = (90, 80, 70, 60, 50)  # of WebP; under 50 nuclei smear, and a page should drop states instead


@dataclass(frozen=True)
class Picture:
    """One state of a component.

    Attributes
    ----------
    pixels : uint8 array (H, W, 3)
    alt : what it shows, the text for those who cannot see it
    caption : what is written under it
    """

    pixels: np.ndarray
    alt: str
    caption: str


def encode(pictures: Sequence[Picture], budget: int) -> list[str]:
    """Pictures as base64 of WebP, at the best of `QUALITIES` at which all of them fit into `budget` bytes.

    Raises
    ------
    ValueError
        If they are not (H, W, 3) bytes of one shape with alt text, or do not fit.
    """
    shape = np.shape(pictures[0].pixels)
    for number, picture in enumerate(pictures):
        pixels = np.asarray(picture.pixels)
        if len(shape) != 3 or shape[2] != 3 or pixels.shape != shape or pixels.dtype != np.uint8:
            raise ValueError(
                f"expected pictures (H, W, 3) of bytes and of one shape, got {pixels.shape} of {pixels.dtype} "
                f"at {number} after {shape}"
            )
        if not picture.alt.strip():
            raise ValueError(f"expected an alt text for every picture, got none at {number}")
    for quality in QUALITIES:
        coded = [_webp(np.asarray(picture.pixels), quality) for picture in pictures]
        size = sum(map(len, coded))
        if size <= budget:
            return coded
    raise ValueError(
        f"expected pictures of at most {budget} bytes together, got {size} at WebP quality {quality}: "
        "make them smaller or fewer"
    )


def check_name(name: str) -> None:
    """Refuse what cannot be the id of an element: ValueError."""
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise ValueError(f"expected a name of letters, digits and hyphens, got {name!r}")


def image_tag(data: str, picture: Picture, attributes: str, style: str) -> str:
    """An ``img`` element of base64 WebP, decoded before it is shown."""
    height, width = picture.pixels.shape[:2]
    return (
        f'<img src="data:image/webp;base64,{data}" alt="{escape(picture.alt)}" width="{width}" height="{height}"'
        f' decoding="sync" {attributes} style="height: auto; {style}">'
    )


def _webp(pixels: np.ndarray, quality: int) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=4)
    return base64.b64encode(file.getvalue()).decode()
