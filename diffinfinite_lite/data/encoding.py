"""Pictures as files in memory: JPEG, PNG or WebP bytes, and the address (data URI) by which a page carries them.

A mask is encoded in index colours: each pixel stores its label, and the file's palette, `LABEL_COLOURS`, says how a
viewer paints it. So a mask can be looked at and still be read as labels.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..labels import LABEL_COLOURS


def indexed(mask: np.ndarray) -> Image.Image:
    """A mask as a picture in index colours.

    Parameters
    ----------
    mask : uint8 (H, W), labels 0 to 5

    >>> picture = indexed(np.array([[0, 1]], np.uint8))
    >>> np.asarray(picture).tolist(), picture.convert("RGB").getpixel((1, 0)) == LABEL_COLOURS[1]
    ([[0, 1]], True)
    """
    picture = Image.fromarray(mask).convert("P")
    picture.putpalette([value for colour in LABEL_COLOURS for value in colour])
    return picture


def encode(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """The bytes of a picture file.

    Parameters
    ----------
    pixels : uint8 (H, W, 3), or a mask (H, W) of labels 0 to 5, which is written in index colours
    kind : "jpeg", "png" or "webp"
    options : of Pillow for that format, such as ``quality=90``

    >>> encode(np.zeros((8, 8, 3), np.uint8), "jpeg", quality=90)[:3].hex()
    'ffd8ff'
    """
    picture = indexed(pixels) if pixels.ndim == 2 else Image.fromarray(pixels)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def encode_for_web(pixels: np.ndarray, quality: int, note: str = "") -> tuple[str, bytes]:
    """A picture as JPEG, a mask without loss as PNG of four bits a pixel: the kind of file and its bytes.

    Parameters
    ----------
    pixels : uint8 (H, W, 3), or a mask (H, W) of labels 0 to 5
    quality : of JPEG
    note : kept in the file as a comment

    >>> encode_for_web(np.zeros((8, 8), np.uint8), quality=90)[0]
    'png'
    """
    if pixels.ndim == 2:
        comment = PngInfo()
        if note:
            comment.add_text("Disclaimer", note)
        return "png", encode(pixels, "png", bits=4, optimize=True, pnginfo=comment)
    return "jpeg", encode(pixels, "jpeg", quality=quality, **({"comment": note} if note else {}))


def data_uri(data: bytes, kind: str) -> str:
    """The address of a picture that carries the file itself; `kind` as in `encode`.

    >>> data_uri(b"pixels", "png")
    'data:image/png;base64,cGl4ZWxz'
    """
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
