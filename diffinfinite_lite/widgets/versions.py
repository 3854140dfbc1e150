"""Versions of a picture: painted once, then stroke by stroke, and the commands that repeat all of it."""

from __future__ import annotations

import io
import shlex
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..data.encoding import encode
from ..pipelines.pair import Pair
from .state import MASK_FILE, State

LOADED = "run"  # folder of a run that was opened, in commands


@dataclass(frozen=True, eq=False)
class Version:
    """A picture after a stroke, and the one before it.

    Attributes
    ----------
    state : of the first version, at this one's mask
    pair : the picture
    before : the version that it was painted into; None for the first one
    opened : whether the first version is a run that was read from files, which no command of ours made
    """

    state: State
    pair: Pair
    before: Version | None = None
    opened: bool = False

    def history(self) -> list[Version]:
        """The versions from the first one to this one."""
        return [*(self.before.history() if self.before else []), self]

    def commands(self, *, weights: Path | None = None, device: str | None = None) -> str:
        """The commands that make this picture, one a line."""
        first, *later = self.history()
        if not later:
            return first.state.command(weights=weights, device=device)
        lines, folder = [], LOADED
        if not first.opened:
            folder = "step-0"
            lines.append(first.state.command(weights=weights, device=device, mask=_mask_file(0), out=folder))
        places = ["--weights", str(weights)] if weights else []
        places += ["--device", device] if device else []
        for number, _ in enumerate(later, start=1):
            words = ["diffinfinite", "edit", "--run", folder, "--mask", _mask_file(number), *places]
            folder = f"step-{number}"
            lines.append(shlex.join([*words, "--out", folder]))
        return "\n".join(lines)

    def python(self, *, weights: Path | None = None, device: str | None = None) -> str:
        """The same as lines of Python."""
        first, *later = self.history()
        if not later:
            return first.state.python(weights=weights, device=device)
        lines = ["import diffinfinite_lite as dl", f"pair = dl.Pair.read({LOADED!r})"]
        if not first.opened:
            lines = first.state.python(weights=weights, device=device, mask=_mask_file(0)).splitlines()
        reading = "from diffinfinite_lite.data.mask_files import read_mask"
        if reading not in lines:
            lines.insert(1, reading)
        places = f", weights={str(weights)!r}" if weights else ""
        places += f", device={device!r}" if device else ""
        for number, _ in enumerate(later, start=1):
            lines.append(f"pair = dl.resynthesise(pair, read_mask({_mask_file(number)!r}){places})")
        return "\n".join(lines)

    def archive(self, *, weights: Path | None = None, device: str | None = None) -> bytes:
        """A ZIP of the pair's folder, the masks of all versions and the commands."""
        file = io.BytesIO()
        history = self.history()
        with zipfile.ZipFile(file, "w") as target, tempfile.TemporaryDirectory() as folder:
            self.pair.save(folder)
            for path in sorted(Path(folder).iterdir()):
                target.write(path, f"pair/{path.name}")
            for number, version in enumerate(history):
                name = _mask_file(number) if len(history) > 1 else MASK_FILE
                target.writestr(name, encode(version.pair.mask, "png"))
            target.writestr("commands.txt", self.commands(weights=weights, device=device) + "\n")
        return file.getvalue()


def _mask_file(number: int) -> str:
    return f"mask-{number}.png"
