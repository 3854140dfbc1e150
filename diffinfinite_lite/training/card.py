"""The model card of an own model: what its folder, its runs and its report know, and plainly what nobody has said.

`write_card` puts ``MODEL_CARD.md`` beside exported weights. Networks, data, minutes, figures and hashes are read off
files and not typed, so that a card cannot say what was not done. What no file knows (whose pictures, what their owners
allow, who answers for it) is a text that the user gives, and where there is none the card says so.

Names of pictures are in none of it: they may be those of patients. They are in the runs, which are not to be passed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open

from ..files import check_folder, read_json, write_text
from ..labels import LABELS
from ..models import checkpoint, pretrained
from . import fingerprint
from .data import PATCH_PX
from .logs import read_log

CARD = "MODEL_CARD.md"
WHAT = {
    "autoencoder": "pictures to latents and back",
    "decoder": "the decoder trained after it",
    "image": "latents under a map of labels",
    "draft": "thumbnails, the first stage",
    "draft_student": "the same in few steps",
    "image_student": "what image does, in few steps",
    "appearance": "what tissue looks like whatever its mask says",
    "mask": "maps of labels under a context",
}  # by file
TRAINED_BY = {
    "image": ("detail", "update", "image"),
    "image_student": ("detail_student",),
    "appearance": ("draft",),
}  # all others by the recipe of their own name
SAME = ("autoencoder", "image", "mask", "draft")  # files whose tensors are those of a run, and are compared
NOBODY = (
    "**Nobody has said** whose pictures these were, what their owners allow, and who answers for the model. Do not "
    "pass it on before somebody has (`--about`)."
)
LOAD = """    import diffinfinite_lite as dl
    pair = dl.generate(mask=labels, weights="this/folder")   # refuses files whose SHA-256 is not the one above"""


class Written(NamedTuple):
    """A card that was written: where, and the SHA-256 of ``hashes.json``, one line that stands for all weights."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Training:
    """How a network came to be.

    Attributes
    ----------
    recipe : its name, "" for a network that was taken over.
    steps, minutes : of the whole run.
    first, last : mean loss over 100 steps when a tenth was done, and in the end; None where there is no log.
    adopted : SHA-256 of the file that it was taken over from, or "".
    begun_from : SHA-256 of the file whose weights training went on from, or "" for random weights.
    """

    recipe: str
    steps: int = 0
    minutes: float = 0.0
    first: float | None = None
    last: float | None = None
    adopted: str = ""
    begun_from: str = ""

    def sentence(self) -> str:
        """In words.

        >>> Training("mask", 20, 1.5, 0.9, 0.5).sentence()
        '`train mask`, 20 steps in 1.5 minutes, loss 0.900 after a tenth of them and 0.500 in the end'
        """
        if self.adopted:
            return f"taken over from a file with SHA-256 `{self.adopted[:12]}`, not trained on these pictures"
        if not self.steps:
            return f"`train {self.recipe}`, of which no record is left"
        done = f"`train {self.recipe}`, {self.steps:,} steps in {self.minutes:.1f} minutes"
        if self.begun_from:
            done += f", begun from a file with SHA-256 `{self.begun_from[:12]}`"
        if self.first is None:
            return done
        return f"{done}, loss {self.first:.3f} after a tenth of them and {self.last:.3f} in the end"


def write_card(
    weights: str | Path, runs: str | Path, *, report: Mapping | None = None, about: str | None = None
) -> Written:
    """Write the card of a model into the folder of its weights.

    Parameters
    ----------
    weights : that `recipes.export` wrote.
    runs : that it was exported from.
    report : of `evaluation.report.evaluate`, measured on pictures of this model.
    about : Markdown, what no file knows.

    Raises
    ------
    ValueError
        If the folder holds no model, a file in it was changed, or it was exported from other runs.
    """
    weights, runs = Path(weights), Path(runs)
    hashes = pretrained.expected_hashes(weights)
    pretrained.check_hashes(weights, hashes)
    check_folder(weights, [CARD])
    digest = checkpoint.sha256(weights / "hashes.json")
    _check_exported(weights, runs, hashes)
    parts = [
        "# Model card",
        "**Not for diagnosis.** Everything it makes is synthetic.",
        (about or "").strip() or NOBODY,
        _networks(weights, runs, hashes),
        _data(runs),
        _figures(report),
        _limits(weights, hashes, runs),
        f"## How to load it\n\n{LOAD}\n\nThe files are safetensors and run no code. SHA-256 of `hashes.json`, to "
        f"compare with what the authors say elsewhere:\n\n    {digest}",
    ]
    write_text(weights / CARD, "\n\n".join(parts) + "\n")
    return Written(weights / CARD, digest)


def read_report(path: str | Path | None) -> dict | None:
    """The ``report.json`` of a report card; None for None.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if path is None:
        return None
    try:
        found = read_json(path)
    except OSError as error:
        raise ValueError(f"expected the report.json of a report card at {path}, got: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"expected the report.json of a report card at {path}, got no JSON") from error
    if not isinstance(found, dict) or not {"rows", "counts"} <= found.keys():
        raise ValueError(f"expected the report.json of a report card at {path}, got another JSON file")
    return found


def read_about(path: str | Path | None) -> str | None:
    """What a text file says about a model; None for None."""
    try:
        return None if path is None else Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a text file in UTF-8 at {path}, got: {error}") from error


def training_of(runs: Path, file: str) -> Training:
    """How the network in a file came to be, out of the runs that it was exported from."""
    recipe = _recipe(runs, file)
    folder = runs / recipe
    if not (folder / "ema.safetensors").is_file():
        return Training(recipe)
    origin = checkpoint.read_origin(folder / "ema.safetensors") or {}
    if origin.get("adopted"):
        return Training("", adopted=origin["adopted"])
    begun_from = origin.get("begun from", "")
    if not (folder / "state.safetensors").is_file():
        return Training(recipe)
    state = checkpoint.read_config(folder / "state.safetensors") or {}
    steps, minutes = state.get("step", 0), state.get("minutes", 0.0)
    if not (folder / "log.csv").is_file():
        return Training(recipe, steps, minutes, begun_from=begun_from)
    log = read_log(folder / "log.csv")
    return Training(recipe, steps, minutes, log.level(0.1), log.level(1), begun_from=begun_from)


def _recipe(runs: Path, file: str) -> str:
    known = TRAINED_BY.get(file, (file,))
    return next((name for name in known if (runs / name / "ema.safetensors").is_file()), known[-1])


def _check_exported(weights: Path, runs: Path, hashes: Mapping[str, str]) -> None:
    """Refuse weights that are not those of the runs."""
    for name in SAME:
        source = runs / _recipe(runs, name) / "ema.safetensors"
        if name not in hashes or not source.is_file():
            continue
        ours, theirs = checkpoint.load(weights / f"{name}.safetensors")[0], checkpoint.load(source)[0]
        if ours.keys() != theirs.keys() or not all(torch.equal(ours[key], theirs[key]) for key in ours):
            raise ValueError(f"expected {name} in {weights} to be what {runs} exports, got another: export again")
    if not (runs / _recipe(runs, "image") / "ema.safetensors").is_file():
        raise ValueError(f"expected the runs that {weights} was exported from, got {runs}, which has no image model")


def _networks(weights: Path, runs: Path, hashes: Mapping[str, str]) -> str:
    rows = ["## What it is", "| file | what | parameters | channels | how it came to be |\n|---|---|---|---|---|"]
    for name in hashes:
        tensors, config = checkpoint.load(weights / f"{name}.safetensors")
        count = sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())
        channels = ", ".join(map(str, config.get("widths", []))) or "–"
        how = training_of(runs, name).sentence()
        rows[1] += f"\n| `{name}` | {WHAT.get(name, '')} | {count:,} | {channels} | {how} |"
    rows += ["| file | SHA-256 |\n|---|---|"]
    rows[-1] += "".join(f"\n| `{name}.safetensors` | `{digest}` |" for name, digest in hashes.items())
    return "\n\n".join(rows)


def _data(runs: Path) -> str:
    """What was learnt from: counts, labels and settings, no names."""
    cache = runs / "tiles.safetensors"
    if not cache.is_file():
        return f"## Data\n\n**Not known:** {cache.name} is not in the runs any more."
    origin, config = checkpoint.read_origin(cache) or {}, checkpoint.read_config(cache) or {}
    with safe_open(cache, "pt") as file:
        masks = file.get_tensor("masks")
    shares = torch.bincount(masks.flatten().long(), minlength=len(LABELS)).double() / masks.numel()
    files, contexts = origin.get("files", {}), Counter(config.get("contexts", []))
    own = "stain" in config
    source = f"{len(files):,} files" if own else "public sets"
    lines = [
        f"{len(masks):,} tiles of {PATCH_PX} px, out of {source}",
        "contexts: " + ", ".join(f"{name} {count:,}" for name, count in contexts.most_common()),
        "labels, by pixel: " + ", ".join(f"{name} {share:.1%}" for name, share in zip(LABELS, shares, strict=True)),
        f"fingerprint of files and settings: `{fingerprint.digest(origin)}`",
    ]
    if own:
        stains = "; ".join(" ".join(f"{value:.2f}" for value in colour) for colour in config["stain"]["stains"])
        lines.append(f"{origin.get('mpp')} µm/px, brought to one stain from haematoxylin and eosin at {stains} (R G B)")
        classes = ", ".join(f"{name} = {label}" for name, label in (origin.get("class_map") or {}).items())
        lines.append(f"class map: {classes or 'none'}")
    return "## Data\n\n" + "\n".join(f"- {line}" for line in lines)


def _figures(report: Mapping | None) -> str:
    if report is None:
        return "## Figures\n\n**None. Nobody has measured it**: `diffinfinite evaluate`."
    counts = report["counts"]
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    table = "| number | features | this model | interval | real tiles |\n|---|---|---|---|---|"
    for row in report["rows"]:
        between = "–" if None in (row["low"], row["high"]) else f"{row['low']:.3g} to {row['high']:.3g}"
        real = "–" if row["real"] is None else f"{row['real']:.3g}"
        table += f"\n| {row['name']} | {row['features']} | {row['value']:.3g} | {between} | {real} |"
    unnamed = [note for note in report.get("notes", []) if not note.startswith("Of ")]  # the others name files
    notes = "\n".join(f"- {note}" for note in unnamed)
    return f"## Figures\n\nTiles: {said}. The last column is what real tiles score.\n\n{table}\n\n{notes}".rstrip()


def _limits(weights: Path, hashes: Mapping[str, str], runs: Path) -> str:
    lines = [
        "It has seen the tissue, the stain and the scale above and nothing else.",
        f"It knows {len(LABELS) - 1} labels ({', '.join(LABELS[1:])}); classes that share one are one class to it.",
        "Whether it gives back training pictures is measured only if A and C_T stand among the figures.",
    ]
    if not pretrained.has_air(weights):
        lines.append("It has learnt others and air as one label: it paints others as air, except in normal lung.")
    adopted = [name for name in hashes if training_of(runs, name).adopted]
    if adopted:
        lines.append(f"Taken over, and not of this tissue: {', '.join(adopted)}.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)
