"""Checkpoints: tensors as safetensors with the configuration in the header; never pickle.

Everything is written beside its place and moved there, so that a kill at any moment leaves the previous checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files import staged

Network = TypeVar("Network", bound=nn.Module)


def save(path: Path, tensors: dict[str, Tensor], config: dict, origin: dict | None = None) -> None:
    """Write tensors and a JSON-able configuration to one safetensors file, all or nothing.

    The file can be read by whom the user's umask lets read.

    Parameters
    ----------
    origin : JSON-able, what the tensors follow from, for `read_origin`; see `training.fingerprint`

    Raises
    ------
    OSError
        If the disk is full or the folder takes no files; an earlier file of that name stays.
    """
    path = Path(path)
    with staged(path.parent, path.name) as place:
        partial = place / path.name
        partial.touch()
        mode = partial.stat().st_mode  # safetensors makes files that nobody but their owner can read
        try:
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
                partial,
                metadata={"config": json.dumps(config)} | ({} if origin is None else {"origin": json.dumps(origin)}),
            )
        except SafetensorError as error:  # what it makes of an OSError: "I/O error: ... (os error 28)"
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        partial.chmod(mode)
        os.replace(partial, path)


def load(path: Path, endings: tuple[str, ...] = ("",)) -> tuple[dict[str, Tensor], dict]:
    """Read what `save` wrote.

    Parameters
    ----------
    endings : of the names of the tensors to read; all by default

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the file must not be read.
    ValueError
        If the file is truncated or no checkpoint of this library.
    """
    path = Path(path)
    check_readable(path, "a checkpoint")
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            names = [key for key in file.keys() if key.endswith(endings)]  # noqa: SIM118
            return {key: file.get_tensor(key) for key in names}, config
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"expected a complete checkpoint of this library, got {path.name}: {error}") from error


def read_origin(path: Path) -> dict | None:
    """What `save` was told that the tensors of a file follow from; None if it was told nothing. Errors as in `load`."""
    return _header(path, "origin")


def read_config(path: Path) -> dict | None:
    """The configuration of a file, without its tensors; None if it has none. Errors as in `load`."""
    return _header(path, "config")


def _header(path: Path, key: str) -> dict | None:
    path = Path(path)
    check_readable(path, "a checkpoint")
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get(key, "null"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"expected a complete checkpoint of this library, got {path.name}: {error}") from error


def check_readable(path: Path, what: str) -> None:
    """Refuse a file that is missing, or that its owner does not let this user read, each in a sentence of its own."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise FileNotFoundError(f"expected {what} at {path}, found none") from None
    except OSError as error:
        raise OSError(f"expected {what} that can be read at {path}, got: {error.strerror}") from error


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def load_weights(path: Path, build: Callable[..., Network]) -> Network:
    """Build the model from the configuration in the file (``build(**config)``) and fill it in single precision.

    Parameters
    ----------
    build : callable from the configuration's keywords to a module.

    Raises
    ------
    ValueError
        If the tensors do not fit the module.
    """
    tensors, config = load(path)
    return fill(build(**config), tensors, path)


def fill(model: Network, tensors: dict[str, Tensor], path: Path) -> Network:
    """Put tensors into a module, in single precision, and that into evaluation mode; errors as of `load_weights`.

    Parameters
    ----------
    path : where they come from, for the message.
    """
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"the weights in {Path(path).name} do not fit its configuration: {error}") from error
    return model.eval()
