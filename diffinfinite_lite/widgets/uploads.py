"""Files that come from a page: masks as pictures or GeoJSON, and a run's folder, read as the commands read them."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ..data.mask_files import read_mask
from ..data.pictures import read_rgb
from ..data.qupath import annotated_size, write_geojson
from ..pipelines.pair import RESULTS, Pair

LARGEST_FILE = 12_000_000  # bytes
RUN = "run.json"
GEOJSON = ".geojson"


@dataclass(frozen=True)
class Upload:
    """A file from a page: its name without folders, and what is in it."""

    name: str
    content: bytes

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Self:
        """A file as the page sends it: ``name`` and ``content`` in base64."""
        name, text = str(fields.get("name", "")), str(fields.get("content", ""))
        if len(text) * 3 // 4 > LARGEST_FILE:
            raise ValueError(f"expected a file of at most {LARGEST_FILE // 10**6} MB, got a larger one: {name}")
        try:
            return cls(Path(name).name, base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise ValueError(f"expected the content of a file, got {error}: {name}") from None


def read_run(uploads: Sequence[Upload]) -> Pair | None:
    """The pair whose folder was sent; None if it is no folder of a run.

    Raises
    ------
    ValueError
        If files of the run are missing or broken, or it has no context.
    """
    files = {upload.name: upload.content for upload in uploads}
    if RUN not in files:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name in RESULTS:
            if name in files:
                Path(folder, name).write_bytes(files[name])
        try:
            pair = Pair.read(folder)
        except ValueError as error:
            raise ValueError(str(error).replace(f" in {folder}", "").replace(f"{folder}/", "")) from None
    if pair.run.get("context") is None:
        raise ValueError("expected a run with a context, got one that was painted under a mask alone")
    if pair.image.shape[:2] != pair.mask.shape:
        raise ValueError(f"expected a mask of {pair.image.shape[:2]} px, got {pair.mask.shape}")
    return pair


def read_drawn(uploads: Sequence[Upload], size: tuple[int, int]) -> np.ndarray:
    """The mask of a file: a picture in the colours of the legend or in indices, or QuPath's GeoJSON.

    Parameters
    ----------
    size : (H, W) in px of the mask in front of the person, which GeoJSON does not say

    Raises
    ------
    ValueError
        If there is not one file, or it is no mask.
    """
    if len(uploads) != 1:
        raise ValueError(f"expected a file of a mask, or the folder of a run with its {RUN}, got {len(uploads)} files")
    (upload,) = uploads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, upload.name or "mask")
        if path.suffix.lower() == ".json":  # QuPath's export has either name
            path = path.with_suffix(GEOJSON)
        path.write_bytes(upload.content)
        try:
            return read_mask(path, size=None if _says_size(path) else size)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{folder}/", "")) from None


def read_picture(uploads: Sequence[Upload]) -> np.ndarray:
    """The pixels uint8 (H, W, 3) of a picture's file.

    Raises
    ------
    ValueError
        If there is not one file, or it is no picture in colours.
    """
    if len(uploads) != 1:
        raise ValueError(f"expected the file of one picture, got {len(uploads)} files")
    (upload,) = uploads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, upload.name or "picture")
        path.write_bytes(upload.content)
        try:
            return read_rgb(path)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{folder}/", "")) from None


def _says_size(path: Path) -> bool:
    return path.suffix.lower() != GEOJSON or annotated_size(path) is not None


def to_geojson(mask: np.ndarray) -> bytes:
    """The regions of a mask as QuPath's annotations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"mask{GEOJSON}")
        write_geojson(path, [mask], mask.shape)
        return path.read_bytes()
