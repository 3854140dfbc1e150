r"""Answers of people: the format in which the survey exports them, and a forgiving reader.

**Format** ``diffinfinite-survey-2``. A file has the answers of one rater, all of them or those given so far.

JSON:

    {"format": "diffinfinite-survey-2", "survey": "0123456789", "rater": "p-1", "experience": 8.5 or null,
     "asked": 60, "saved": "2026-11-29T03:00:00Z",
     "answers": [{"item": "0123456789ab", "size": "small" or "large", "truth": "real", "synthetic" or "",
                  "origin": "" or where the picture comes from, "answer": "real" or "synthetic", "confidence": 1 to 7,
                  "seconds": 3.2, "position": 1, "taps": [[0.25, 0.5], ...]}, ...]}

CSV has the same as columns, `COLUMNS`, one row an answer, the first five repeated in each; taps as ``0.25:0.5 0.1:1``.
``asked`` is how many pictures that rater's version of the survey has, so a file of fewer answers is a partial one. Then
truth and origin are empty, since the rater can still go on: they are known from a file of somebody who has finished, or
from the `Key` of the survey's page. ``taps`` are the red pen's marks, as shares of the picture's side from its upper
left corner. A JSON file may also be a list of such objects, a CSV file have several raters: the class page and the
service export everything so. A reader has to take ``asked``, ``saved``, ``origin``, ``taps`` and ``experience`` for
optional.

**Answer code**, to copy or to scan: ``DS2`` and base 32 (Crockford's letters, hyphens do not count) of these bytes:
survey without its first letter (5); twice the years of experience, 255 for none (1); seconds of all answers (2); asked
(2); length of the rater's code (1) and the code; for each picture of the version, in page order, four bits: 0 without
an answer, else the confidence, plus 8 for "synthetic"; and the first two bytes of the SHA-256 of all that. It has no
taps and no single times. A text file may hold any number of codes; to read them takes the `Key`.

`read_answers` takes all of these as people hand them in: twice, saved again by a spreadsheet, unfinished. What it could
not use, or had to choose between, it says in a warning that names the file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.pictures import Note
from ..extras import extra

with extra("course"):
    import pandas as pd


REAL, SYNTHETIC = "real", "synthetic"
SIZES = ("small", "large")
CONFIDENCE = (1, 7)  # Likert scale of the paper
YEARS = (0, 80)
FORMAT, NEWEST = "diffinfinite-survey-2", 2
SHARED = ("survey", "rater", "experience", "asked", "saved")  # one value a rater
COLUMNS = (*SHARED, "item", "size", "truth", "origin", "answer", "confidence", "seconds", "position", "taps")
NEEDED = ("survey", "rater", "item", "answer", "confidence")
READ = (".csv", ".tsv", ".json", ".txt")
SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
Rows = list[dict[str, object]]


class AnswersWarning(UserWarning):
    """What was not used of a file, or chosen between files, in one sentence that names them."""


@dataclass(frozen=True)
class KeyItem:
    """One picture of a survey and what it truly is; `short` if it is in the short version."""

    name: str
    size: str
    real: bool
    origin: str
    short: bool


@dataclass(frozen=True)
class Key:
    """The truth about the pictures of one survey, in page order; see `page.make_key` and `page.read_key`."""

    survey: str
    items: tuple[KeyItem, ...]

    def version(self, length: int) -> list[KeyItem]:
        """The pictures of the version that has so many."""
        return [item for item in self.items if item.short or length == len(self.items)]


def read_answers(
    files: str | Path | Iterable[str | Path], key: Key | None = None, notes: list[Note] | None = None
) -> pd.DataFrame:
    """Answers of all raters, from files that the survey's pages exported and people handed in.

    Read are UTF-8 and UTF-16 with or without a mark, commas, semicolons or tabs, decimal commas. A rater who is in two
    files counts once if the answers are the same, else the newest file counts.

    Parameters
    ----------
    files : a folder (every file in it that ends with one of `READ`, in any case), one file, or several.
    key : of the survey; answers to other surveys are then left out, and partial files and answer codes can be used.
    notes : collects what was left out or chosen; by default each is a warning.

    Returns
    -------
    DataFrame with the columns `COLUMNS`, one row an answer; experience (years) and asked are NaN where unknown, taps a
    tuple of pairs.

    Raises
    ------
    ValueError
        If there is no file, or no answer in any of them can be used; the sentence has the first reason.
    """
    remarks: list[Note] = []
    rows: Rows = []
    paths = _paths(files, remarks)
    if not paths:
        raise ValueError(_nothing("expected at least one exported .csv, .json or .txt file, found none", remarks))
    for path in paths:
        rows += _checked(_of_file(path, key, remarks), path.name, remarks)
    rows = _with_truth(rows, key, remarks)
    rows = _newest(rows, remarks)
    if notes is None:
        for note in remarks:
            warnings.warn(f"{note.file}: {note.text}", AnswersWarning, stacklevel=2)
    else:
        notes += remarks
    if not rows:
        raise ValueError(_nothing("expected at least one answer that can be used, found none", remarks))
    return as_table(rows)


def as_table(rows: Iterable[dict]) -> pd.DataFrame:
    """Rows of answers, dicts by `COLUMNS`, as the table that `statistics` takes.

    Experience, asked and taps may be missing or None.
    """
    table = pd.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows], columns=list(COLUMNS))
    table["taps"] = [tuple(tuple(map(float, tap)) for tap in taps or ()) for taps in table["taps"]]
    table["saved"] = table["saved"].fillna("")
    numbers = {"experience": float, "asked": float, "confidence": int, "seconds": float, "position": int}
    return table.astype(numbers)


def as_csv(answers: pd.DataFrame) -> str:
    """The table as the text of a CSV file that spreadsheets can open: nothing in it is taken for a formula.

    >>> row = dict.fromkeys(COLUMNS, "") | {"rater": "=1+1", "confidence": 4, "seconds": 1.5, "position": 1, "taps": []}
    >>> as_csv(as_table([row | {"experience": None, "asked": 20}])).splitlines()[1]
    ",'=1+1,,20.0,..."
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")  # so that either of them in a cell is quoted
    writer.writerow(COLUMNS)
    for row in answers[list(COLUMNS)].to_dict("records"):
        row["taps"] = " ".join(f"{x:g}:{y:g}" for x, y in row["taps"])
        writer.writerow([_field(row[name]) for name in COLUMNS])
    return file.getvalue()


def as_json(answers: pd.DataFrame) -> str:
    """The table as the text of a JSON file: a list with one object a rater."""
    raters = []
    for _, own in answers.groupby(["survey", "rater"], sort=False):
        rows = own[list(COLUMNS)].to_dict("records")
        shared = {name: None if _blank(rows[0][name]) else rows[0][name] for name in SHARED}
        single = [{name: row[name] for name in COLUMNS if name not in SHARED} for row in rows]
        raters.append({"format": FORMAT, **shared, "answers": single})
    return json.dumps(raters, indent=1) + "\n"


def order_of(key: Key, rater: str, length: int) -> list[str]:
    """Names of a version's pictures in the order in which this rater sees them; ``common.js`` draws the same."""
    names = [item.name for item in key.version(length)]
    seed = hashlib.sha256(f"{key.survey},{rater}".encode()).digest()
    for i in range(len(names) - 1, 0, -1):
        j = int.from_bytes(hashlib.sha256(seed + i.to_bytes(4, "big")).digest()[:4], "big") % (i + 1)
        names[i], names[j] = names[j], names[i]
    return names


def decode_answers(code: str, key: Key) -> Rows:
    """Rows of an answer code; every answer has the mean of all seconds, and no truth yet.

    Raises
    ------
    ValueError
        If it is no answer code, incomplete, or of another survey or version.
    """
    text = re.sub(r"[\s-]", "", code.upper()).replace("O", "0").replace("I", "1").replace("L", "1")
    if not text.startswith("DS2") or set(text[3:]) - set(LETTERS):
        raise ValueError("expected an answer code that begins with DS2")
    bits = "".join(f"{LETTERS.index(letter):05b}" for letter in text[3:])
    data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8))
    body = data[:-2]
    if len(data) < 13 or data[-2:] != hashlib.sha256(body).digest()[:2]:
        raise ValueError("the answer code is not complete, or has a letter wrong")
    survey, length = "s" + body[:5].hex(), int.from_bytes(body[8:10], "big")
    if survey != key.survey or len(key.version(length)) != length:
        raise ValueError("the answer code is of another survey, or of another build of its page")
    rater, nibbles = body[11 : 11 + body[10]].decode("ascii", "replace"), body[11 + body[10] :].hex()
    place = {name: i + 1 for i, name in enumerate(order_of(key, rater, length))}
    given = [(item, int(n, 16)) for item, n in zip(key.version(length), nibbles, strict=False) if int(n, 16) & 7]
    seconds = int.from_bytes(body[6:8], "big") / max(1, len(given))
    shared = {"survey": survey, "rater": rater, "experience": None if body[5] == 255 else body[5] / 2, "asked": length}
    return [
        shared | {"item": item.name, "size": item.size, "answer": SYNTHETIC if n & 8 else REAL, "confidence": n & 7,
                  "seconds": seconds, "position": place[item.name]}
        for item, n in given
    ]  # fmt: skip


def _nothing(text: str, remarks: Sequence[Note]) -> str:
    return f"{text}; {remarks[0].file}: {remarks[0].text}" if remarks else text


def _paths(files: str | Path | Iterable[str | Path], remarks: list[Note]) -> list[Path]:
    """The files to read, in order of their names."""
    if not isinstance(files, str | Path):
        return [Path(p) for p in files]
    if not Path(files).is_dir():
        return [Path(files)]
    found = sorted(p for p in Path(files).iterdir() if p.is_file() and not p.name.startswith("."))
    for path in found:
        if path.suffix.lower() in SPREADSHEETS:
            remarks.append(Note(path.name, "left out, it is a spreadsheet's own format: save it as CSV"))
    return [p for p in found if p.suffix.lower() in READ]


def _of_file(path: Path, key: Key | None, remarks: list[Note]) -> Rows:
    """Rows of a file as they stand there, or none and a note why."""
    try:
        text = _text(path.read_bytes())
        if path.suffix.lower() == ".txt" or text.lstrip().upper().startswith("DS2"):
            return _of_codes(text, path.name, key, remarks)
        rows = _of_json(text) if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "[") else _of_csv(text)
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        reason = " ".join(str(error).split())
        remarks.append(Note(path.name, f"left out, expected a file exported by the survey page: {reason}"))
        return []
    if not rows:
        remarks.append(Note(path.name, "left out, it has no answer"))
    return rows


def _text(data: bytes) -> str:
    """Bytes of a file as text: UTF-16 where it has a mark, UTF-8 with or without, else Windows' Western letters."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _of_csv(text: str) -> Rows:
    text = re.sub(r"\Asep=[^\r\n]*[\r\n]*", "", text.replace("\0", ""), flags=re.IGNORECASE)  # a spreadsheet's own hint
    head = next((line for line in re.split(r"[\r\n]", text) if line.strip()), "")
    separator = max(",;\t", key=head.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = [row for row in table if any(cell.strip() for cell in row)]
    names = [name.strip().strip("'").lower() for name in rows[0]] if rows else []
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise ValueError(f"no column {missing[0]} among {', '.join(names)[:200] or 'none'}")
    return [
        {name: _without_apostrophe(cell.strip()) for name, cell in zip(names, row, strict=False)} for row in rows[1:]
    ]


def _of_json(text: str) -> Rows:
    whole = json.loads(text)
    rows: Rows = []
    for one in whole if isinstance(whole, list) else [whole]:
        found = (
            re.fullmatch(r"diffinfinite-survey-(\d{1,9})", str(one.get("format"))) if isinstance(one, dict) else None
        )
        if not found:
            raise ValueError(f'no "format": "{FORMAT}"')
        if int(found[1]) > NEWEST:
            raise ValueError(f"{found[0]} is newer than this reader, which knows {FORMAT}")
        given = one.get("answers")
        if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
            raise ValueError('no list of "answers"')
        rows += [{name: one.get(name) for name in SHARED} | row for row in given]
    return rows


def _of_codes(text: str, name: str, key: Key | None, remarks: list[Note]) -> Rows:
    """Rows of all answer codes in a text; what stands between them is left out."""
    codes = re.findall(r"\bDS2(?:[ \t]*-[ \t\r\n]*[0-9A-Za-z]+)+", text, re.IGNORECASE)
    rows: Rows = []
    if not codes:
        remarks.append(Note(name, "left out, it has no answer code"))
    for code in codes:
        if key is None:
            remarks.append(Note(name, "left out, an answer code can be read only with the survey's page as key"))
            return rows
        try:
            rows += decode_answers(code, key)
        except ValueError as error:
            remarks.append(Note(name, f"answer code {code[:14]}... left out: {error}"))
    return rows


def _checked(rows: Rows, name: str, remarks: list[Note]) -> Rows:
    """Rows with clean types; a row that cannot be used is left out with a note, one note for each reason."""
    good: Rows = []
    bad: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 1):
        clean, reason = _clean(row)
        if reason:
            bad.setdefault(reason, []).append(number)
        else:
            good.append(clean | {"file": name})
    for reason, numbers in bad.items():
        which = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
        remarks.append(Note(name, f"row {which} left out: expected {reason}"))
    if any(row["experience"] is None and not _blank(row["said_years"]) for row in good):
        remarks.append(Note(name, "years of experience left out: expected a number from 0 to 80, or nothing"))
    return _once(good, name, remarks)


def _clean(row: dict) -> tuple[dict, str]:
    """A row with clean types, and "" or what was expected of it and what came."""
    clean = {name: str(row.get(name, "") if row.get(name) is not None else "").strip() for name in COLUMNS}
    for name in ("survey", "rater", "item"):
        if not clean[name]:
            return {}, f"some letters as {name}, got none"
    for name, allowed in (("answer", (REAL, SYNTHETIC)), ("size", (*SIZES, "")), ("truth", (REAL, SYNTHETIC, ""))):
        clean[name] = clean[name].lower()
        if clean[name] not in allowed:
            return {}, f"{name} of {' or '.join(filter(None, allowed))}, got {clean[name][:40]}"
    number = _number(row.get("confidence"))
    if number is None or not CONFIDENCE[0] <= number <= CONFIDENCE[1] or number % 1:
        return {}, f"confidence of 1 to 7, got {clean['confidence'][:40] or 'none'}"
    seconds, position = _number(row.get("seconds")), _number(row.get("position"))
    years, length = _number(row.get("experience")), _number(row.get("asked"))
    in_range = years is not None and YEARS[0] <= years <= YEARS[1]
    return clean | {
        "confidence": int(number),
        "seconds": seconds if seconds is not None and seconds >= 0 else math.nan,
        "position": int(position) if position is not None and 1 <= position < 1e6 else 0,
        "experience": years if in_range else None,
        "said_years": clean["experience"],
        "asked": length if length is not None and length >= 1 else None,
        "taps": _taps(row.get("taps")),
    }, ""  # fmt: skip


def _number(value: object) -> float | None:
    """A number, also with a decimal comma; None where there is none, or none that is finite."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _taps(value: object) -> tuple[tuple[float, float], ...]:
    """Marks of the red pen out of a list of pairs or ``x:y x:y``; what is no pair of shares is left out."""
    parts = value if isinstance(value, list | tuple) else [part.split(":") for part in str(value or "").split()]
    pairs = [[_number(n) for n in part] for part in parts if isinstance(part, list | tuple) and len(part) == 2]
    return tuple((x, y) for x, y in pairs if x is not None and y is not None and 0 <= x <= 1 and 0 <= y <= 1)


def _once(rows: Rows, name: str, remarks: list[Note]) -> Rows:
    """Of two answers of a rater to one picture in a file the last."""
    last: dict[tuple, dict] = {}
    torn = []
    for row in rows:
        who = (row["survey"], row["rater"], row["item"])
        if who in last and last[who]["answer"] != row["answer"]:
            torn.append(who)
        last[who] = row
    for _, rater, item in torn[:3]:
        remarks.append(Note(name, f"rater {rater} answered picture {item} twice: the last answer counts"))
    return list(last.values())


def _with_truth(rows: Rows, key: Key | None, remarks: list[Note]) -> Rows:
    """Rows whose picture's truth is known, from the key or from files of raters who have finished."""
    if key is not None:
        return _by_key(rows, key, remarks)
    known: dict[tuple, dict[tuple, str]] = {}
    for row in rows:
        if row["truth"] and row["size"]:
            known.setdefault((row["survey"], row["item"]), {})[row["truth"], row["size"]] = str(row["file"])
    origins = {(r["survey"], r["item"]): r["origin"] for r in rows if r["origin"]}
    for (_, item), said in known.items():
        if len(said) > 1:
            a, b = list(said.items())[:2]
            text = f"picture {item} left out: it is {' and '.join(a[0])} here, and {' and '.join(b[0])} in {b[1]}"
            remarks.append(Note(a[1], text))
    good, unknown = [], {}
    for row in rows:
        said = known.get((row["survey"], row["item"]), {})
        if not said:
            unknown.setdefault(row["file"], []).append(row)
        elif len(said) == 1:
            (truth, size), origin = next(iter(said)), origins.get((row["survey"], row["item"]), "")
            good.append(row | {"truth": truth, "size": size, "origin": origin})
    for name, some in unknown.items():
        text = f"{len(some)} answers left out: what the pictures are is known only with the survey's page as key"
        remarks.append(Note(str(name), text))
    surveys = sorted({str(row["survey"]) for row in good})
    if len(surveys) > 1:
        other = next(row["file"] for row in good if row["survey"] == surveys[1])
        remarks.append(Note(str(other), f"of another survey than other files: {', '.join(surveys)} are mixed"))
    return good


def _by_key(rows: Rows, key: Key, remarks: list[Note]) -> Rows:
    items, good = {item.name: item for item in key.items}, []
    foreign: dict[str, int] = {}
    wrong: set[str] = set()
    for row in rows:
        item = items.get(str(row["item"])) if row["survey"] == key.survey else None
        if item is None:
            foreign[str(row["file"])] = foreign.get(str(row["file"]), 0) + 1
            continue
        truth = REAL if item.real else SYNTHETIC
        if row["truth"] not in ("", truth):
            wrong.add(str(row["file"]))
        good.append(row | {"truth": truth, "size": item.size, "origin": item.origin})
    for name, number in foreign.items():
        remarks.append(Note(name, f"{number} answers left out: they are to pictures of another survey or build"))
    for name in sorted(wrong):
        remarks.append(Note(name, "says otherwise what pictures are than the survey's page, which counts"))
    return good


def _newest(rows: Rows, remarks: list[Note]) -> Rows:
    """One file a rater: of several with the same answers the first by name, else the newest, or the one with more."""
    files: dict[tuple, dict[str, Rows]] = {}
    for row in rows:
        files.setdefault((row["survey"], row["rater"]), {}).setdefault(str(row["file"]), []).append(row)
    chosen: Rows = []
    for (_, rater), own in files.items():
        saved = {name: max(moment(str(row["saved"])) for row in own[name]) for name in own}
        best = max(own, key=lambda name: (saved[name], len(own[name]), _reversed(name)))
        for name in own:  # an answer code does not say when: it counts where it has more answers
            if not saved[name] and len(own[name]) > len(own[best]):
                best = name
        chosen += own[best]
        for name in own:
            if name == best:
                continue
            here, there = _content(own[name]), _content(own[best])
            if here <= there:
                same, part = f"the same answers of rater {rater} as", f"a part of rater {rater}'s answers in"
                text = f"{same if here == there else part} {best}: counted once"
            else:
                why = "is newer" if "" < saved[name] < saved[best] else "has as many or more"
                text = (
                    f"other answers of rater {rater} than {best}, which {why} and counts; "
                    "two people with one code would look like this, too"
                )
            remarks.append(Note(name, text))
    return chosen


def moment(text: str) -> str:
    """When a file was saved, in a form that sorts, also where a spreadsheet has rewritten it; "" where unknown.

    >>> moment("2026-11-29T03:00:00Z") == moment("2026-11-29 3:00") == moment("29.11.2026 03:00:00")
    True
    >>> moment("11/12/2026 03:00")  # November or December?
    ''
    """
    clock = r"(\d\d?):(\d\d)(?::(\d\d))?"
    found = re.match(rf"(\d{{4}})-(\d\d?)-(\d\d?)[T ]+{clock}", text)
    day_first = re.match(rf"(\d\d?)\.(\d\d?)\.(\d{{4}}),? +{clock}", text)
    if not (found or day_first):
        return ""
    parts = found.groups() if found else (*day_first.groups()[2::-1], *day_first.groups()[3:])
    return "-".join(f"{int(part or 0):02d}" for part in parts)


def _reversed(name: str) -> list[int]:
    """Sorts names backwards, so that `max` takes the first."""
    return [-ord(letter) for letter in name]


def _content(rows: Rows) -> set[tuple]:
    return {(row["item"], row["answer"], row["confidence"]) for row in rows}


def _blank(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _field(value: object) -> object:
    """A cell that no spreadsheet takes for a formula, not even one that ends cells at semicolons."""
    if _blank(value):
        return ""
    if not isinstance(value, str):
        return value
    return re.sub(r"^(?=[\t\r])", "'", re.sub(r"(^|[;\t\r\n])(?=[=+\-@])", r"\1'", value))


def _without_apostrophe(cell: str) -> str:
    return re.sub(r"(^|[;\t\r\n])'(?=[=+\-@])", r"\1", cell)
