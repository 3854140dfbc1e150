"""What a cache or a checkpoint was made of, so that no run goes on with something stale.

A fingerprint is a small dict that lies in the file itself: the files that were read, by content; the settings; the
code; and, of what was computed before, its own fingerprint or hash. So a picture that is painted over, a model that was
trained on since, or another way of cutting tiles shows in all that follows from it.

One rule: where the fingerprint of a file is another than that of the run, the run stops, says what differs, and touches
nothing. The way on is another folder, or what the file was made with. The number of steps is not in a fingerprint: more
of them go on from what there is.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ..data import catalog
from ..data.folders import files_read, find
from ..models import checkpoint

SHOWN = 5  # differences that a sentence names
_LIBRARY = Path(__file__).parents[1]
_ROOMS = ("labels.py", "data/*.py", "models/*.py", "training/*.py")  # whose code decides what is learnt, and from what


def of_folder(folder: Path, *, pictures_alone: bool = False) -> dict[str, str]:
    """Content of the files of a data folder that are used, by name: the first half of their SHA-256.

    Parameters
    ----------
    pictures_alone : leave out masks and annotations, of which two pictures may have the same.
    """
    root = Path(folder)
    used = [path for path, _ in find(root).pictures] if pictures_alone else files_read(root)
    return {path.relative_to(root).as_posix(): checkpoint.sha256(path)[:32] for path in used}


def of_sets(kind: str) -> dict[str, str]:
    """Content of the public sets that are learnt from as "tiles" or "pairs", by name, as their registry has it."""
    return of_public(catalog.training_sets(kind))


def of_public(names: Iterable[str]) -> dict[str, str]:
    """Content of public sets by name, as their registry has it."""
    return {
        name: digest([[entry.file, entry.sha256, entry.profile] for entry in catalog.entries(name)]) for name in names
    }


def of_model(vae: str) -> str | dict[str, str]:
    """A diffusers model: the content of its folder, or its name on the hub."""
    root = Path(vae)
    if not root.is_dir():
        return vae
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): checkpoint.sha256(path)[:32] for path in files}


@cache
def code() -> str:
    """The version of the code that decides what is learnt and from what, without comments and docstrings."""
    files = sorted(path for pattern in _ROOMS for path in _LIBRARY.glob(pattern))
    return digest([[path.relative_to(_LIBRARY).as_posix(), _statements(path.read_text("utf-8"))] for path in files])


def digest(value: object) -> str:
    """Half of the SHA-256 of something JSON-able, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def check(path: Path, origin: Mapping[str, object]) -> None:
    """Refuse a file that was made of something else.

    Parameters
    ----------
    path : safetensors file that `checkpoint.save` was told the fingerprint of
    origin : the fingerprint of this run

    Raises
    ------
    ValueError
        If it has another one or none. What differs is named.
    """
    theirs, ours = checkpoint.read_origin(path), json.loads(json.dumps(origin))
    if theirs == ours:
        return
    if not isinstance(theirs, dict):
        differ = "it does not say of what, as an earlier version wrote it"
    else:
        differ = _listed(differences(theirs, ours))
    raise ValueError(
        f"expected {path} as this run would make it, but it was made of something else: {differ}; choose another "
        "--out, or repeat what it was made with"
    )


def differences(theirs: Mapping, ours: Mapping) -> list[str]:
    """Sentences on what differs between two fingerprints.

    >>> differences({"mpp": 0.5, "files": {"a.png": "1", "b.png": "2"}}, {"mpp": 0.25, "files": {"a.png": "3"}})
    ['a.png has changed', 'b.png is gone', 'mpp is 0.5 there and 0.25 here']
    """
    found = []
    for key in sorted({*theirs, *ours}):
        there, here = theirs.get(key), ours.get(key)
        if there == here:
            continue
        if isinstance(there, dict) and isinstance(here, dict):
            for name in sorted({*there, *here}):
                if there.get(name) != here.get(name):
                    what = "is new" if name not in there else "is gone" if name not in here else "has changed"
                    found.append(f"{name} {what}")
        elif all(isinstance(value, str) and len(value) >= 32 for value in (there, here)):
            found.append(f"the {key} {'are others' if key.endswith('s') else 'is another'}")
        else:
            found.append(f"{key} is {_short(there)} there and {_short(here)} here")
    return found


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(parts[:SHOWN]) + more


def _short(value: object) -> str:
    return "a folder of other files" if isinstance(value, dict) and len(value) > SHOWN else str(value)[:60]


def _statements(source: str) -> str:
    """The lines of a module that do something: without docstrings, comments of their own line, and empty lines."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            dropped |= _lines(node.body[:1])
    lines = [line for n, line in enumerate(source.splitlines(), start=1) if n not in dropped]
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _lines(nodes: Iterable[ast.stmt]) -> set[int]:
    return {n for node in nodes for n in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
