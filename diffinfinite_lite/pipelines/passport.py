"""Passports: every picture file says that it is synthetic, and how it was made.

A passport is what ``run.json`` holds (settings, versions, hashes of the weights) under a notice. It travels as an XMP
packet, which PNG, WebP, JPEG and TIFF have a place for and a Deep Zoom picture has beside it as ``NAME.xmp``; so
ExifTool and picture archives show it, and the IPTC's digital source type tells them what kind of picture this is. XMP
is made to be found in a file of any format by looking for its text, and so it is read here. PNG files hold it once more
in text chunks, OME-TIFFs in their XML (`slide_files`), GeoJSON as a member.
"""

from __future__ import annotations

import json
import mmap
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, unescape

import numpy as np
from PIL.PngImagePlugin import PngInfo

from ..data.mask_files import read_mask
from ..files import read_json
from ..labels import CELL_PX
from ..models.pretrained import expected_hashes, provenance, sampled_margin
from .config import SamplingConfig, in_six_codes, rename_keys

NOTICE = "synthetic, not for diagnosis"
TEXT = "diffinfinite"  # key of the passport in PNG and GeoJSON
NAMESPACE = "urn:diffinfinite-lite:passport#"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MASK = "mask_sha256"  # in a run: hash of the labels, where they were given and not made by the mask model
MARGIN = "margin"  # in a run: px of canvas that were sampled around the picture and cut off; missing for 0
REGION = "region"  # in a run: X, Y, W, H of a part of an endless slide
_BEGIN, _END = f"<{TEXT}:passport>", f"</{TEXT}:passport>"
_LIKE = ("image.png", "image.ome.tif")  # the pictures of a result


def make_passport(run: Mapping[str, Any]) -> dict:
    """The passport of what a run has made.

    >>> make_passport({"seed": 3})["run"]
    {'seed': 3}
    """
    return {"notice": NOTICE, "made_by": f"diffinfinite_lite {version('diffinfinite_lite')}", "run": dict(run)}


def hash_mask(mask: np.ndarray) -> str:
    """SHA-256 of the labels of a mask (H, W) and of its size."""
    return sha256(repr(mask.shape).encode() + np.ascontiguousarray(mask, np.uint8).tobytes()).hexdigest()


def xmp(passport: Mapping[str, Any]) -> bytes:
    """The passport as an XMP packet."""
    spaces = {
        "dc": "http://purl.org/dc/elements/1.1/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        TEXT: NAMESPACE,
    }
    declared = " ".join(f'xmlns:{prefix}="{space}"' for prefix, space in spaces.items())
    notice, tool = escape(passport["notice"]), escape(passport["made_by"])
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {declared}>\n'
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{notice}</rdf:li></rdf:Alt></dc:description>\n'
        f"<xmp:CreatorTool>{tool}</xmp:CreatorTool>\n"
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}</Iptc4xmpExt:DigitalSourceType>\n"
        f"{_BEGIN}{escape(json.dumps(passport))}{_END}\n"
        '</rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="r"?>\n'
    ).encode()


def png_info(passport: Mapping[str, Any]) -> PngInfo:
    """The passport as text chunks of a PNG, for its ``pnginfo``; more may be added."""
    info = PngInfo()
    info.add_text("Disclaimer", passport["notice"])
    info.add_text("Software", passport["made_by"])
    info.add_text(TEXT, json.dumps(passport))
    info.add_itxt("XML:com.adobe.xmp", xmp(passport).decode())
    return info


def read_passport(path: str | Path) -> dict:
    """The passport of a picture file, of a Deep Zoom picture, of annotations or of the folder of a result.

    Raises
    ------
    ValueError
        If there is no such file, or it has no passport.
    """
    path = Path(path)
    file = next((path / name for name in _LIKE if (path / name).is_file()), path) if path.is_dir() else path
    file = file.with_suffix(".xmp") if file.suffix.lower() == ".dzi" else file
    try:
        found = _member(file) if file.suffix.lower() == ".geojson" else _packet(file)
        if isinstance(found, dict) and isinstance(found.get("run"), dict):
            return found
    except OSError as error:
        raise ValueError(f"expected a picture that this library made at {path}, got: {error.strerror}") from error
    except ValueError:  # no text, or no JSON
        pass
    raise ValueError(f"expected a picture with the passport that this library writes, got none in {path}")


def _packet(file: Path) -> Any:
    """What stands in the first XMP packet of ours in a file of any format."""
    with open(file, "rb") as opened:
        if not file.stat().st_size:
            raise ValueError("an empty file")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            begin = content.find(_BEGIN.encode())
            end = content.find(_END.encode(), begin)
            if begin < 0 or end < 0:
                raise ValueError("no packet")
            return json.loads(unescape(content[begin + len(_BEGIN) : end].decode()))


def _member(file: Path) -> Any:
    content = read_json(file)
    return content.get(TEXT) if isinstance(content, dict) else None


def describe(passport: Mapping[str, Any]) -> str:
    """A passport for people: one line for everything it says.

    >>> print(describe(make_passport({"size": [64, 96], "weights": {"image": "0" * 64}, "seed": 0})).split("\\n", 2)[2])
    size: 64 x 96 px
    weights: image 000000000000
    seed: 0
    """
    lines = [passport["notice"], f"made by {passport['made_by']}"]
    for name, value in passport["run"].items():
        if name == "size":
            value = f"{' x '.join(map(str, value))} px"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {_short(entry)}" for key, entry in value.items())
        elif isinstance(value, list):
            value = "; ".join(map(str, value))
        lines.append(f"{name}: {_short(value)}")
    return "\n".join(lines)


def _short(value: Any) -> Any:
    """A hash by its first twelve digits, anything else as it is."""
    return value[:12] if isinstance(value, str) and len(value) == 64 and " " not in value else value


@dataclass(frozen=True)
class Repeat:
    """All that `generate.generate` needs to make a picture once more.

    Attributes
    ----------
    context, mask, size, config, device : its arguments
    """

    context: str | None
    mask: np.ndarray | None
    size: tuple[int, int]
    config: SamplingConfig
    device: str


def repeat(path: str | Path, mask: np.ndarray | None = None, weights: str | Path | None = None) -> Repeat:
    """How to make the picture in a file once more, bit for bit on a machine of the same kind.

    Parameters
    ----------
    path : of a picture with its passport, or of the folder of a result
    mask : labels to use instead of those the picture was painted under. These are made again where the mask model made
        them; else they are read from the ``mask.png`` beside the picture
    weights : folder of the model, which has to be the same one

    Raises
    ------
    ValueError
        If the file has no passport; was edited, which its settings do not tell; was made with other weights; or its
        mask was drawn and is not there.
    """
    passport, path = read_passport(path), Path(path)
    run = rename_keys(passport["run"])
    config = SamplingConfig.from_run(run)
    if REGION in run:
        place = ",".join(map(str, run[REGION]))
        raise ValueError(f"expected a picture of `diffinfinite sample` or `slide`, got one of `slide --region {place}`")
    if "recomputed" in run:
        raise ValueError(f"expected a picture of `diffinfinite sample` or `slide`, got one that was edited in {path}")
    ours, theirs = expected_hashes(weights), run.get("weights")
    if ours != theirs:
        differ = [name for name in {**ours, **(theirs or {})} if ours.get(name) != (theirs or {}).get(name)]
        raise ValueError(f"expected the weights that made {path} (--weights), got another {', '.join(differ)}")
    margin, sampled = run.get(MARGIN, 0), CELL_PX * sampled_margin(weights)
    if margin != sampled:
        raise ValueError(f"expected a picture sampled with a margin of {sampled} px as today, got {margin} in {path}")
    if mask is None and MASK in run:
        mask = in_six_codes(run, _mask_beside(path, run[MASK]))[1]
    versions = provenance(weights)["versions"]
    other = [f"{name} {found}" for name, found in run.get("versions", {}).items() if versions.get(name) != found]
    if other:
        warnings.warn(f"{path} was made with {', '.join(other)}: its last bits may differ", stacklevel=2)
    height, width = run["size"] if mask is None else mask.shape
    return Repeat(run.get("context"), mask, (height, width), config, run.get("device", "cpu"))


def _mask_beside(path: Path, expected: str) -> np.ndarray:
    """The labels that a picture was painted under, out of the mask beside it."""
    file = (path if path.is_dir() else path.parent) / "mask.png"
    found = read_mask(file) if file.is_file() else None
    if found is None or hash_mask(found) != expected:
        got = "none" if found is None else "another"
        raise ValueError(f"expected the mask that {path} was painted under (--mask), got {got} at {file}")
    return found
