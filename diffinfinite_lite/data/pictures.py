"""Picture files: one way to open them and one way to turn them into colours, for every command and every data folder.

A file is read right or refused in one sentence that names it. What changes pixels on the way is said in a `Note`:

===================  ==============================================================================================
orientation tag      applied, so that the picture stands as every viewer shows it
transparent parts    laid on white, the colour of glass
colour profile       converted to sRGB (a profile that is sRGB already changes nothing)
CMYK, YCbCr, Lab     converted to RGB
16 bits a channel    the upper eight are taken, so that 65,535 is white; 12 bits in 16 would be black and are refused
grey, 1-bit, float   refused: stained tissue has colours, and such a file is mostly a mask in the wrong place
further pages        left out; smaller copies of the first page (a pyramid) are no further pages
too large, damaged   refused, as is any other format; the limit is `MAX_PIXELS`
===================  ==============================================================================================
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..devices import free_memory
from ..labels import colour_labels

MAX_PIXELS = 2**32  # of one file, 65,536 x 65,536: as a mask it takes 4 GB of memory, as a picture 16 GB
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
GREY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_EXACT_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd",
               "tiff_ccitt", "group3", "group4")  # fmt: skip
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES = 258, 262, 277, 284  # tags of TIFF
_LISTED = 20  # files that a block of notes names for one reason
_pillow = threading.RLock()  # Pillow's pixel limit and Python's warning filters belong to the whole process


class PictureWarning(UserWarning):
    """What was done to a file or why it was left out, in one sentence or block that can be shown as it is."""


class Note(NamedTuple):
    """What was done to a file, or why it was not used."""

    file: str
    text: str


@dataclass(frozen=True)
class Opened:
    """The first page of a picture file, upright and in memory.

    Attributes
    ----------
    picture : Pillow's image
    name : of the file
    deep : whether the file has 16 bits a channel, of which Pillow gives the upper eight
    exact : whether the file format keeps every value; JPEG does not
    turned : whether an orientation tag was applied
    """

    picture: Image.Image
    name: str
    deep: bool
    exact: bool
    turned: bool


def tell(notes: list[Note] | None, file: str | Path, text: str) -> None:
    """Add a note to a list, or warn where nobody collects them."""
    if notes is None:
        warnings.warn(f"{Path(file).name}: {text}", PictureWarning, stacklevel=3)
    else:
        notes.append(Note(str(file), text))


def as_block(notes: Iterable[Note]) -> str:
    """Notes as a block of text, files with the same note in one line.

    >>> print(as_block([Note("a.png", "is damaged"), Note("b.png", "is damaged"), Note("c.png", "is grey")]))
    a.png, b.png: is damaged
    c.png: is grey
    """
    files: dict[str, list[str]] = {}
    for note in notes:
        files.setdefault(note.text, []).append(note.file)
    lines = []
    for text, names in files.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        lines.append(f"{', '.join(names[:_LISTED])}{more}: {text}")
    return "\n".join(lines)


def read_rgb(path: str | Path, notes: list[Note] | None = None) -> np.ndarray:
    """Picture of tissue to bytes (H, W, 3), upright and in sRGB.

    Parameters
    ----------
    path : PNG, JPEG, TIFF, BMP, WebP or GIF
    notes : takes what was done to the picture; None: a `PictureWarning` says it.

    Raises
    ------
    ValueError
        If the file is missing, damaged, too large, grey or a mask. The sentence names the file.
    """
    return colours(open_picture(path, "picture", notes), notes)


def open_picture(path: str | Path, kind: str, notes: list[Note] | None = None) -> Opened:
    """Open a file, check it and load its first page; ``kind`` ("picture", "mask") is for messages.

    Raises
    ------
    ValueError
        If the file is missing, damaged, too large, or no picture.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError("a pipe or a device")  # which would be waited for, perhaps for ever
        # Pillow is given the open file and not its path, or it maps an uncompressed TIFF into memory, and then pictures
        # that an orientation tag turns by 90 degrees have their rows cut at the wrong length (seen in Pillow 13)
        with _our_limits() as said, path.open("rb") as file:
            opened, pages = _first_page(path, file)
    except FileNotFoundError:
        raise ValueError(f"expected a readable {kind}, got {path}, which does not exist") from None
    except MemoryError:
        raise ValueError(f"expected memory for {path}, got too little") from None
    except IsADirectoryError:
        raise ValueError(f"expected a readable {kind}, got the folder {path}") from None
    except Exception as error:  # on damaged files Pillow's readers raise whatever their parsing runs into
        formats = "PNG, JPEG, TIFF, BMP, WebP or GIF"
        raise ValueError(f"expected a readable {kind} ({formats}), got {path} ({_one_line(error)})") from error
    for text in said:
        tell(notes, path.name, text)
    if pages:
        tell(notes, path.name, f"has {pages + 1} pages, of which the first is read")
    if opened.turned:
        tell(notes, path.name, "was turned upright as its orientation tag says")
    return opened


def _first_page(path: Path, file: BinaryIO) -> tuple[Opened, int]:
    """The first page of an open file, checked and loaded, and how many pages follow it."""
    with Image.open(file, formats=FORMATS) as picture:
        picture.verify()  # the checksums of a PNG, which Pillow does not look at while it loads
    file.seek(0)
    with Image.open(file, formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} px are more than {MAX_PIXELS:,} px")
        _check_memory(picture)
        _check_layout(picture)
        layout, container = f"{picture.tile}", picture.format
        bits = {"1": 1, "L": 8}.get(picture.mode)
        if container == "BMP" and bits and _bmp_bits(path) != bits:
            # Pillow takes a palette of black and white for 1 bit a pixel, and one of greys for 8
            raise ValueError("a grey palette in a BMP: save it as PNG")
        exact = _exact(path, picture)
        pages = _further_pages(picture)
        tagged = picture.getexif().get(0x0112, 1)  # before loading: a TIFF is turned while it is loaded
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode == "P":
            _widen_palette(picture)
            palette(picture)
    deep = container in ("PNG", "TIFF") and ";16" in layout and picture.mode not in GREY_MODES
    return Opened(picture, path.name, deep, exact, tagged in range(2, 9)), pages


def colours(opened: Opened, notes: list[Note] | None = None) -> np.ndarray:
    """An opened picture of tissue as bytes (H, W, 3); errors and notes as in `read_rgb`."""
    picture, name = opened.picture, opened.name
    if picture.mode == "P":
        shown = palette(picture)[1][:, :3]
        grey, legend = is_grey(shown), (colour_labels(shown) >= 0).all()
    else:
        grey, legend = picture.mode in GREY_MODES or _deep_grey(opened), _in_label_colours(picture)
    if grey:
        raise ValueError(
            f"expected a picture of stained tissue in colour, got {name} in grey (mode {picture.mode}): "
            "save it as RGB with 8 bits a channel"
        )
    if legend:
        raise ValueError(f"expected a picture of tissue, got {name} in the colours of the labels: it is a mask")
    if opened.deep:
        if "transparency" in picture.info:
            raise ValueError(f"expected 8 bits a channel or no transparent colour, got both in {name}")
        if max(high for _, high in picture.getextrema()[:3]) < 16:
            raise ValueError(f"expected values up to 65,535, got at most 4,095 in {name}: save it in 8 bits a channel")
        tell(notes, name, "has 16 bits a channel, of which the upper eight are taken")
    clear = transparent(picture)
    alpha = picture.convert("RGBA").getchannel("A") if clear else None
    rgb = _in_srgb(picture, name, notes)
    if clear:
        white = Image.new("RGB", rgb.size, (255, 255, 255))
        white.paste(rgb, mask=alpha)
        rgb = white
        tell(notes, name, "has transparent parts, which were laid on white")
    return np.array(rgb)


def palette(picture: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Indices that occur in an index picture, and their colours: integers (k,) and (k, 4) with opacity.

    Raises
    ------
    ValueError
        If an index has no colour.
    """
    used = np.flatnonzero(picture.histogram()[:256])
    table = np.array(picture.getpalette("RGB") or [], int).reshape(-1, 3)
    if used.size and used.max() >= len(table):
        raise ValueError(f"expected a colour for index {used.max()}, got a palette of {len(table)}")
    opacity, key = np.full(256, 255), picture.info.get("transparency")
    if isinstance(key, bytes):
        opacity[: len(key)] = list(key)
    elif key is not None:
        opacity[key] = 0
    return used, np.column_stack([table[used], opacity[used]])


def _widen_palette(picture: Image.Image) -> None:
    """Mend the palette of a TIFF whose writer took its 16 bits a channel for eight: Pillow makes all of it black."""
    table = np.array(picture.tag_v2.get(320, ())) if picture.format == "TIFF" else np.zeros(0)
    if table.size and 0 < table.max() < 256:
        picture.putpalette(table.reshape(3, -1).T.astype(np.uint8).tobytes())


def transparent(picture: Image.Image) -> bool:
    """Whether any pixel of a picture is not wholly opaque."""
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return picture.getextrema()[-1][0] < 255
    if picture.mode == "P":
        return bool((palette(picture)[1][:, 3] < 255).any())
    key = picture.info.get("transparency")
    if key is None:
        return False
    pixels = np.asarray(picture).reshape(*picture.size[::-1], -1)
    return bool((pixels == np.ravel(key)).all(axis=2).any())


def is_grey(colours: np.ndarray) -> bool:
    """Whether red, green and blue are the same in all colours (..., 3)."""
    return bool((colours[..., 0] == colours[..., 1]).all() and (colours[..., 0] == colours[..., 2]).all())


def _check_memory(picture: Image.Image) -> None:
    """Refuse a picture that the memory does not hold, before a byte of it is unpacked."""
    width, height = picture.size
    needed, free = width * height * (1 if len(picture.getbands()) == 1 else 4), free_memory()
    if free is not None and needed > free:
        raise ValueError(f"{width} x {height} px, for which {needed / 1e9:.1f} GB of memory are not free")


def _check_layout(picture: Image.Image) -> None:
    """Refuse TIFF layouts that Pillow (13.0) reads without a word as something else."""
    if picture.format != "TIFF":
        return
    tags = picture.tag_v2
    if max(tags.get(_BITS, (1,))) > 8:
        if tags.get(_PLANES) == 2 and tags.get(_SAMPLES, 1) > 1:  # every other byte would be a pixel
            raise ValueError("more than 8 bits a channel in separate planes: save it in 8 bits a channel")
        if tags.get(_PHOTOMETRIC) == 0:  # values would be taken as they are, and so be inverted
            raise ValueError("more than 8 bits where 0 is white: save it so that 0 is black")


@contextmanager
def _our_limits() -> Iterator[list[str]]:
    """Lift Pillow's pixel limit, which is too small for slides, and catch what it warns of as sentences."""
    with _pillow, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said: list[str] = []
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield said
        finally:
            Image.MAX_IMAGE_PIXELS = usual
            heard = [w for w in caught if not issubclass(w.category, DeprecationWarning)]
            said += dict.fromkeys(f"may be damaged ({_one_line(w.message)})" for w in heard)


def _one_line(error: object) -> str:
    """What an exception or a warning says, on one line and without its file name repeated at length."""
    if isinstance(error, UnidentifiedImageError):
        return "none of these formats, damaged, or more than 16 bits a channel"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def _exact(path: Path, picture: Image.Image) -> bool:
    if picture.format == "TIFF":
        return picture.info.get("compression") in _EXACT_TIFF
    if picture.format == "WEBP":  # a RIFF file: chunks of a name, a length and as many bytes, padded to an even number
        with path.open("rb") as file:
            file.seek(12)
            while len(head := file.read(8)) == 8:
                if head[:4] in (b"VP8 ", b"VP8L", b"ANIM"):
                    return head[:4] == b"VP8L"
                length = int.from_bytes(head[4:], "little")
                file.seek(length + length % 2, io.SEEK_CUR)
        return False
    return picture.format in ("PNG", "BMP", "GIF")


def _bmp_bits(path: Path) -> int:
    """Bits a pixel of a BMP; they stand in another place of its oldest header, which has 12 bytes."""
    with path.open("rb") as file:
        head = file.read(30)
    place = 24 if int.from_bytes(head[14:18], "little") == 12 else 28
    return int.from_bytes(head[place : place + 2], "little")


def _further_pages(picture: Image.Image) -> int:
    """Pages after the first, without smaller copies of it, which a TIFF marks in its NewSubfileType (254)."""
    count = getattr(picture, "n_frames", 1)
    if picture.format != "TIFF":
        return count - 1
    pages = 0
    for page in range(1, count):
        picture.seek(page)
        pages += not picture.tag_v2.get(254, 0) & 1
    picture.seek(0)
    return pages


def _deep_grey(opened: Opened) -> bool:
    """Whether this is a PNG in grey with opacity, 16 bits each, which Pillow gives as RGBA."""
    return opened.deep and opened.picture.mode == "RGBA" and is_grey(np.asarray(opened.picture)[..., :3])


def _in_label_colours(picture: Image.Image) -> bool:
    """Whether a picture in colour shows nothing but the colours of the labels; a few pixels say mostly that not."""
    if picture.mode not in ("RGB", "RGBA", "RGBX"):
        return False
    colours = np.asarray(picture)[..., :3]
    few = colours[:: max(1, len(colours) // 16), :: max(1, colours.shape[1] // 16)]
    return all(bool((colour_labels(some) >= 0).all()) for some in (few, colours))


def _in_srgb(picture: Image.Image, name: str, notes: list[Note] | None) -> Image.Image:
    """The colours without the opacity, converted from an embedded profile to sRGB."""
    profile = picture.info.get("icc_profile")
    source = picture if picture.mode in ("RGB", "CMYK") else picture.convert("RGB")
    if profile:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            about = " ".join(ImageCms.getProfileDescription(embedded).split())
            if "srgb" not in about.lower():
                source = ImageCms.profileToProfile(source, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
                tell(notes, name, f"was converted from its colour profile ({about}) to sRGB")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            tell(notes, name, "has a colour profile that is damaged or not of its colours, which was not used")
    return source.convert("RGB")
