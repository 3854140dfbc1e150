"""What the widgets share: pictures with their texts, the check of names, pictures as parts of a page, and its template.

A widget is a function that returns one HTML string: it needs no kernel and asks for nothing outside. It checks its name
with `check_name`, encodes its pictures with `data_uris`, and puts them into a page with `image_tag` and `fill`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..data.encoding import data_uri, encode

QUALITIES = (90, 80, 70, 60, 50)  # of WebP; under 50 nuclei smear, and a page should show fewer pictures instead


@dataclass(frozen=True)
class Picture:
    """A picture of a widget with its texts.

    Attributes
    ----------
    pixels : uint8 array (H, W, 3)
    alt : what it shows, the text for those who cannot see it
    caption : what is written under it
    """

    pixels: np.ndarray
    alt: str
    caption: str


def check_name(name: str) -> None:
    """Refuse a name that cannot be the id of an element of a page.

    Raises
    ------
    ValueError
        If it has other characters than letters, digits and hyphens, or none.

    >>> check_name("a b")
    Traceback (most recent call last):
    ValueError: expected a name of letters, digits and hyphens, got 'a b'
    """
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise ValueError(f"expected a name of letters, digits and hyphens, got {name!r}")


def data_uris(pictures: Sequence[Picture], budget: int) -> list[str]:
    """Pictures as data URIs of WebP, at the best of `QUALITIES` at which all of them fit into `budget` bytes.

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
        files = [encode(np.asarray(picture.pixels), "webp", quality=quality, method=4) for picture in pictures]
        uris = [data_uri(file, "webp") for file in files]
        size = sum(map(len, uris))
        if size <= budget:
            return uris
    raise ValueError(
        f"expected pictures of at most {budget} bytes in all, got {size} at WebP quality {quality}: "
        "make them smaller or fewer"
    )


def image_tag(uri: str, picture: Picture, *, attributes: str = "", style: str = "") -> str:
    """An ``img`` element of a picture and its data URI, decoded before it is shown.

    Parameters
    ----------
    uri : as of `data_uris`
    attributes : further ones of the element, escaped, such as ``hidden``
    style : its CSS, such as ``width: 100%``
    """
    height, width = picture.pixels.shape[:2]
    return (
        f'<img src="{uri}" alt="{escape(picture.alt)}" width="{width}" height="{height}"'
        f' decoding="sync" {attributes} style="height: auto; {style}">'
    )


def fill(template: str, **values: object) -> str:
    """A page's template with a value in the place of each ``%NAME%``; a value may hold such a word itself.

    Raises
    ------
    KeyError
        If the template names what has no value.

    >>> fill("<p id=%NAME% style='width: 50%'>%TEXT%</p>", NAME="a", TEXT="%NAME%")
    "<p id=a style='width: 50%'>%NAME%</p>"
    """
    return re.sub("%([A-Z]+)%", lambda found: str(values[found[1]]), template)
