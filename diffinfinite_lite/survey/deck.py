"""A deck: the pictures of a survey with their truth, in a folder, for the service that shows them to a class.

The folder holds the files of `pictures.make_items` and ``survey.json``, which says what each of them is. It stays on
the instructor's machine: the service gives pictures away under other names, and the truth to nobody before the end.
Hashes in it tell when a picture has been exchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..files import check_folder, move, read_json, staged
from .answers import Key
from .page import PAGE, make_key, read_key
from .pictures import SIDES, Item

FORMAT = "diffinfinite-deck-1"
INDEX = "survey.json"


@dataclass(frozen=True)
class Deck:
    """Pictures with their truth, and what `page.markup` says about them: sentences on their sources, one that leads."""

    items: tuple[Item, ...]
    about: tuple[str, ...]
    lead: str

    @cached_property
    def key(self) -> Key:
        """Name of the survey, which changes with any picture, and the truth about them."""
        return make_key(self.items)


def write_deck(
    items: Sequence[Item], about: Sequence[str], lead: str, folder: str | Path, *, force: bool = False
) -> Path:
    """Write pictures and ``survey.json`` into a folder, all or nothing.

    Parameters
    ----------
    items, about, lead : as for `page.write_page`.
    force : an earlier deck there may be replaced. Answers to its pictures stay, but belong to no picture any more.

    Returns
    -------
    The file ``survey.json``.

    Raises
    ------
    FileExistsError
        If there is a deck already and ``force`` is not set.
    """
    folder = Path(folder)
    check_folder(folder, [INDEX], force=force)
    earlier = {path.name for path in folder.glob("*.jpg")} if (folder / INDEX).exists() else set()
    entries = [asdict(item) for item in items]
    for entry in entries:
        entry["sha256"] = hashlib.sha256(entry.pop("data")).hexdigest()
    with staged(folder, "a deck") as place:
        for item in items:
            (place / f"{item.name}.jpg").write_bytes(item.data)
        whole = {"format": FORMAT, "lead": lead, "about": list(about), "pictures": entries}
        (place / INDEX).write_text(json.dumps(whole, indent=1), encoding="utf-8")
        move(place, folder, [*(f"{item.name}.jpg" for item in items), INDEX])
    for name in earlier - {f"{item.name}.jpg" for item in items}:
        (folder / name).unlink()
    return folder / INDEX


def read_deck(folder: str | Path) -> Deck:
    """The deck that `write_deck` left in a folder.

    Raises
    ------
    FileNotFoundError
        If there is none, with the command that makes one.
    ValueError
        If ``survey.json`` is of another kind, or a picture is missing or is not the one that it was made with.
    """
    folder = Path(folder)
    if not (folder / INDEX).is_file():
        make = f"`diffinfinite survey make --out {folder}` makes them"
        raise FileNotFoundError(f"expected the pictures of a survey in {folder}, found no {INDEX}: {make}")
    try:
        whole = read_json(folder / INDEX)
        if whole["format"] != FORMAT:
            raise ValueError(f'"format" is {whole["format"]!r}')
        items = tuple(_item(folder, dict(entry)) for entry in whole["pictures"])
        about, lead = tuple(map(str, whole["about"])), str(whole["lead"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"expected a file that `diffinfinite survey make` wrote, got {folder / INDEX}: {error}"
        ) from error
    if not items or any(item.size not in SIDES for item in items):
        raise ValueError(f"expected {' and '.join(SIDES)} pictures in {folder / INDEX}, got {len(items)} pictures")
    return Deck(items, about, lead)


def find_key(folder: str | Path) -> Key:
    """The key of a survey out of a folder that has its pictures: a deck, or the page that `page.write_page` wrote.

    Raises
    ------
    FileNotFoundError
        If it is neither.
    ValueError
        As `read_deck` and `page.read_key`.
    """
    folder = Path(folder)
    if (folder / INDEX).is_file():
        return read_deck(folder).key
    if not (folder / PAGE).is_file():
        raise FileNotFoundError(f"expected the pictures of a survey in {folder}, found no {INDEX} and no {PAGE}")
    return read_key(folder / PAGE)


def _item(folder: Path, entry: dict[str, Any]) -> Item:
    name, digest = entry["name"], entry.pop("sha256")
    if not name.isalnum():
        raise ValueError(f"a picture is called {name!r}")
    try:
        data = (folder / f"{name}.jpg").read_bytes()
    except OSError as error:
        raise ValueError(f"{name}.jpg cannot be read ({error.strerror})") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{name}.jpg is not the picture that it was")
    return Item(**entry, data=data)
