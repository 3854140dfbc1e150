"""What a workbench shows, as a value: the one thing that its tabs share, and that a link and a command repeat.

A `State` holds all that a picture depends on: context, size, mask and `SamplingConfig`, and what the tabs are turned
to. It is written as the parameters of an address (`to_query`) and read from them (`from_query`), whatever is wrong with
them being one sentence; `command` and `python` are the lines that paint the same picture without the workbench.
"""

from __future__ import annotations

import base64
import binascii
import shlex
import zlib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

import numpy as np

from ..labels import CONTEXTS, LABELS
from ..pipelines.appearance import names_picture
from ..pipelines.config import SamplingConfig, check_mask, check_size
from .controls import read, shown_fields, write

TABS = ("explore", "sheet", "compare", "paint", "neighbours")
START = SamplingConfig(solver="dpm-solver++", steps=12)  # where controls start: a picture in a second or two
LARGEST = 1024  # px a side; more is `diffinfinite slide`'s
MASK_FILE = "mask.png"  # that the page saves, and that commands and lines read
LONGEST_MASK = 6000  # characters of a mask in a link: browsers and servers cut longer addresses
SEEDS = "seed"  # what a contact sheet varies at first
OTHER = "b."  # before the settings of the second picture of a comparison


@dataclass(frozen=True, eq=False)
class State:
    """All that a workbench shows.

    Attributes
    ----------
    context : kind of tissue
    size : (H, W) in px
    mask : uint8 (H, W) of that size, or None for the mask that the model makes of context and seed
    config : how to sample
    other : how to sample the second picture of a comparison, at the seed of ``config``
    tab : of `TABS`
    sweep : what the contact sheet varies, "seed" or another setting
    """

    context: str = CONTEXTS[0]
    size: tuple[int, int] = (224, 224)
    mask: np.ndarray | None = None
    config: SamplingConfig = START
    other: SamplingConfig = field(default_factory=lambda: replace(START, omega=1.5))
    tab: str = TABS[0]
    sweep: str = SEEDS

    def __post_init__(self) -> None:
        _check_among("a context", self.context, CONTEXTS)
        _check_among("a tab", self.tab, TABS)
        _check_among("a setting to sweep", self.sweep, [spec.name for spec in shown_fields(self.config)])
        for config in (self.config, self.other):
            if config.appearance and names_picture(config.appearance):  # a page must not read files of its server
                raise ValueError(f"expected a seed or 16 numbers for the appearance, got {config.appearance!r}")
        check_size(self.size)
        if max(self.size) > LARGEST:
            got = f"{self.size[0]}x{self.size[1]}"
            raise ValueError(f"expected at most {LARGEST} px a side, got {got}: `diffinfinite slide` paints any size")
        if self.mask is not None:
            check_mask(self.mask, self.size)

    def change(self, name: str, text: str) -> Self:
        """The state with one thing changed, as a page or a link writes it.

        Parameters
        ----------
        name : context, size, tab, sweep or a setting; a setting of the second picture after "b."
        text : its value

        Raises
        ------
        ValueError
            If there is no such thing, or it cannot have this value.
        """
        if name in ("context", "tab", "sweep"):
            return replace(self, **{name: text})
        if name == "size":
            size = _read_size(text)
            return replace(self, size=size, mask=self.mask if size == self.size else None)
        if name.startswith(OTHER):
            own = name.removeprefix(OTHER)
            return replace(self, other=replace(self.other, **{own: read(own, text)}, **self._shared(own)))
        config = replace(self.config, **{name: read(name, text)})
        return replace(self, config=config, other=replace(self.other, seed=config.seed))

    def _shared(self, name: str) -> dict[str, int]:
        """A comparison is at one seed."""
        if name == "seed":
            raise ValueError("expected one seed for both pictures of a comparison, got a second one")
        return {"seed": self.config.seed}

    def draw(self, mask: np.ndarray | None) -> Self:
        """The state with this mask; None leaves it to the model."""
        return replace(self, mask=mask, size=self.size if mask is None else mask.shape)

    def to_query(self) -> str:
        """The state as the parameters of an address, only what differs from the start.

        Raises
        ------
        ValueError
            If the mask is too detailed for a link.

        >>> State().change("seed", "7").change("b.steps", "50").to_query()
        'context=adenocarcinoma&seed=7&b.steps=50'
        """
        start = type(self)()
        said = {"context": self.context}
        if self.size != start.size:
            said["size"] = _write_size(self.size)
        said |= {name: getattr(self, name) for name in ("tab", "sweep") if getattr(self, name) != getattr(start, name)}
        said |= _differences(self.config, start.config)
        other = replace(start.other, seed=self.config.seed)
        said |= {f"{OTHER}{name}": text for name, text in _differences(self.other, other).items()}
        if self.mask is not None:
            said["mask"] = _pack(self.mask)
        return urlencode(said)

    @classmethod
    def from_query(cls, query: str) -> Self:
        """The state that an address means.

        Raises
        ------
        ValueError
            If a parameter is none of the workbench's or has no value that it can have.
        """
        said = dict(parse_qsl(query.lstrip("?"), keep_blank_values=True))
        mask = said.pop("mask", None)
        # eta depends on the solver and stride on plan and patch: whatever names them comes before
        state, late = cls(), ("eta", "stride", "b.eta", "b.stride")
        for name in sorted(said, key=lambda name: (name in late, name != "seed")):
            if name.removeprefix(OTHER) not in _names():
                raise ValueError(f"expected parameters among {', '.join(_names())} in the address, got {name!r}")
            state = state.change(name, said[name])
        return state if mask is None else state.draw(_unpack(mask, state.size))

    def command(
        self, *, weights: Path | None = None, device: str | None = None, mask: str = MASK_FILE, out: str = "out"
    ) -> str:
        """The command that paints the same picture; a mask that was drawn is read from the file that the page saves.

        >>> State().change("solver", "ddim").change("seed", "7").command()
        'diffinfinite sample --context adenocarcinoma --size 224x224 --steps 12 --seed 7 --out out'
        """
        words = ["diffinfinite", "sample", "--context", self.context]
        words += ["--size", _write_size(self.size)] if self.mask is None else ["--mask", mask]
        for spec in shown_fields(self.config):
            value = getattr(self.config, spec.name)
            if value != spec.default:
                flag = f"--{(spec.metadata.get('flag') or spec.name).replace('_', '-')}"
                if isinstance(value, bool):
                    words.append(flag if value else f"--no-{flag.removeprefix('--')}")
                else:
                    words += [flag, str(value)]
        words += [word for flag, value in _places(weights, device) for word in (f"--{flag}", str(value))]
        return shlex.join([*words, "--out", out])

    def python(self, *, weights: Path | None = None, device: str | None = None, mask: str = MASK_FILE) -> str:
        """The same as lines of Python."""
        lines, content = ["import diffinfinite_lite as dl"], f"size={self.size}"
        if self.mask is not None:
            lines.append("from diffinfinite_lite.data.mask_files import read_mask")
            content = f"mask=read_mask({mask!r})"
        settings = "".join(f", {name}={value!r}" for name, value in self.settings().items())
        places = "".join(f", {name}={str(value)!r}" for name, value in _places(weights, device))
        return "\n".join([*lines, "", f"pair = dl.generate({self.context!r}, {content}{settings}{places})"])

    def settings(self) -> dict[str, Any]:
        """The settings that differ from the defaults of `SamplingConfig`."""
        values = {spec.name: (getattr(self.config, spec.name), spec.default) for spec in shown_fields(self.config)}
        return {name: value for name, (value, default) in values.items() if value != default}


def _names() -> list[str]:
    own = [spec.name for spec in fields(State) if spec.name not in ("config", "other")]
    return [*own, *(spec.name for spec in shown_fields(SamplingConfig))]


def _differences(config: SamplingConfig, start: SamplingConfig) -> dict[str, str]:
    pairs = ((spec.name, getattr(config, spec.name), getattr(start, spec.name)) for spec in shown_fields(config))
    return {name: write(value) for name, value, before in pairs if value != before}


def _places(weights: Path | None, device: str | None) -> list[tuple[str, object]]:
    return [(name, value) for name, value in (("weights", weights), ("device", device)) if value is not None]


def _check_among(what: str, value: str, among: Any) -> None:
    if value not in among:
        raise ValueError(f"expected {what} among {', '.join(among)}, got {value!r}")


def _write_size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _read_size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise ValueError(f"expected a size such as 224x336 (height x width in px), got {text!r}")
    return int(parts[0]), int(parts[1])


def _pack(mask: np.ndarray) -> str:
    text = base64.urlsafe_b64encode(zlib.compress(mask.astype(np.uint8).tobytes(), 9)).decode().rstrip("=")
    if len(text) > LONGEST_MASK:
        expected = f"expected a mask that fits into a link ({LONGEST_MASK} characters)"
        raise ValueError(f"{expected}, got {len(text)}: save it as a PNG, which the command reads")
    return text


def _unpack(text: str, size: tuple[int, int]) -> np.ndarray:
    """A mask out of a link; no more bytes are unpacked than it has pixels."""
    pixels, unpacking = size[0] * size[1], zlib.decompressobj()
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        labels = np.frombuffer(unpacking.decompress(packed, pixels + 1), np.uint8)
    except (binascii.Error, ValueError, zlib.error) as error:
        expected = "expected a mask as the workbench writes it into a link"
        raise ValueError(f"{expected}, got {text[:20]!r} ({error})") from None
    if len(labels) != pixels or labels.max() >= len(LABELS):
        got = f"{len(labels)} px with labels up to {labels.max() if len(labels) else 'none'}"
        raise ValueError(f"expected a mask of {_write_size(size)} px in the link, got {got}")
    return labels.reshape(size).copy()
