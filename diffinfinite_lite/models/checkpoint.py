"""Checkpoints: tensors as safetensors with the configuration in the header; never pickle.

Everything is written under a temporary name and renamed, so that a kill at any moment leaves the previous checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def save(path: Path, tensors: dict[str, Tensor], config: dict) -> None:
    """Write tensors and a JSON-able configuration to one safetensors file, all or nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
        partial,
        metadata={"config": json.dumps(config)},
    )
    os.replace(partial, path)


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated or no checkpoint of this library.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint at {path}, found none")
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            return {key: file.get_tensor(key) for key in file.keys()}, config  # noqa: SIM118
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"expected a complete checkpoint of this library, got {path.name}: {error}"
        ) from error


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
    model = build(**config)
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"the weights in {Path(path).name} do not fit its configuration: {error}") from error
    return model.eval()
