"""Exports as people hand them in: what comes back is what was said, and everything else is a sentence."""

import json
import math
import re
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffinfinite_lite.survey import answers as survey_answers
from diffinfinite_lite.survey.answers import (
    COLUMNS,
    FORMAT,
    Key,
    KeyItem,
    as_csv,
    as_json,
    as_table,
    decode_answers,
    order_of,
    read_answers,
)
from tests.survey.toys import table

KEY = Key("s0123456789", tuple(
    KeyItem(f"p{i}", ("small", "large")[i // 8], i % 2 == 0, ("camera", "model")[i % 2], i < 6) for i in range(12)
))  # fmt: skip
ORDER = ["rater", "item"]
CASES = Path(__file__).parent / "cases"


def same(a, b):
    pd.testing.assert_frame_equal(
        a.sort_values(ORDER, ignore_index=True), b.sort_values(ORDER, ignore_index=True), check_dtype=False
    )


def one(rater="r0", **columns):
    part = table(raters=1).assign(rater=rater)
    for name, value in columns.items():
        part[name] = part[name].astype(object)
        part.loc[2, name] = value
    return part


def read(folder, key=None):
    """The answers, and the notes as (file, text)."""
    notes = []
    found = read_answers(folder, key, notes)
    return found, [tuple(note) for note in notes]


def encode(rater="r0", asked=12, said=None, years=8.5, seconds=60, key=KEY):
    """An answer code, written again from the table in the module's docstring."""
    import hashlib

    said = said or {}
    nibbles = [said.get(item.name, 0) for item in key.version(asked)]
    nibbles += [0] * (len(nibbles) % 2)
    body = (
        bytes.fromhex(key.survey[1:]) + bytes([255 if years is None else int(2 * years)]) + seconds.to_bytes(2, "big")
    )
    body += asked.to_bytes(2, "big") + bytes([len(rater)]) + rater.encode()
    body += bytes(16 * a + b for a, b in zip(nibbles[::2], nibbles[1::2], strict=True))
    body += hashlib.sha256(body).digest()[:2]
    bits = "".join(f"{byte:08b}" for byte in body)
    bits += "0" * (-len(bits) % 5)
    letters = [survey_answers.LETTERS[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5)]
    return "DS2-" + "-".join("".join(letters[i : i + 5]) for i in range(0, len(letters), 5))


# what comes back


def test_csv_and_json_of_many_raters_come_back_as_they_were(tmp_path):
    answers = table()
    for i, (rater, part) in enumerate(answers.groupby("rater")):
        (tmp_path / f"{rater}.{('csv', 'JSON')[i % 2]}").write_text((as_csv, as_json)[i % 2](part))
    (tmp_path / "picture.jpg").write_text("no export, and no such ending")
    found, notes = read(tmp_path)
    same(found, answers)
    assert not notes and list(found) == list(COLUMNS)
    files = sorted(tmp_path.glob("r*"))
    assert len(read_answers(files)) == len(read_answers(map(str, files))) == len(found)
    assert len(read_answers(files[0])) == 12
    for text, ending in ((as_csv(answers), "csv"), (as_json(answers), "json")):  # a class in one file
        (tmp_path / f"all.{ending}").write_text(text)
        same(read_answers(tmp_path / f"all.{ending}"), answers)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    separator=st.sampled_from(",;\t"),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    ending=st.sampled_from(["csv", "CSV", "tsv"]),
    hint=st.booleans(),
    upper=st.booleans(),
    blank=st.booleans(),
    years=st.sampled_from([None, 0.0, 8.5]),
    shuffled=st.permutations(COLUMNS),
)
def test_what_a_spreadsheet_makes_of_a_file_says_the_same(
    tmp_path, separator, decimal, encoding, end, ending, hint, upper, blank, years, shuffled
):
    part = table(raters=1).assign(experience=np.nan if years is None else years, seconds=np.arange(12) + 0.25)
    flat = part.assign(taps=[" ".join(f"{x}:{y}" for x, y in taps) for taps in part["taps"]])[list(shuffled)]
    if upper:
        flat = flat.rename(columns=str.upper).assign(Unnamed="")
    text = flat.to_csv(index=False, sep=separator, decimal=decimal)
    text = ("sep=" + separator + "\n") * hint + text + (separator * 12 + "\n") * blank
    file = tmp_path / f"a.{ending}"
    file.write_bytes(text.replace("\n", end).encode(encoding))
    notes = []
    same(read_answers(file, notes=notes), part)
    file.unlink()
    assert not notes


@given(
    st.lists(
        st.fixed_dictionaries({
            "rater": st.text(string.printable, min_size=1, max_size=8).filter(
                lambda t: t.strip() == t and "'" not in t
            ),
            "answer": st.sampled_from(["real", "synthetic"]),
            "confidence": st.integers(1, 7),
            "seconds": st.floats(0, 1e5).map(lambda x: round(x, 1)),
            "experience": st.none() | st.floats(0, 80),
            "taps": st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=3),
        }),
        min_size=1, max_size=6, unique_by=lambda row: row["rater"],
    )
)  # fmt: skip
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_comes_back_and_no_cell_is_a_formula(tmp_path, rows):
    shared = {
        "survey": "s1",
        "item": "p1",
        "size": "small",
        "truth": "real",
        "origin": "=HYPERLINK(1)",
        "asked": 20,
        "position": 1,
    }
    answers = as_table([shared | {"saved": ""} | row for row in rows])
    (tmp_path / "a.csv").write_text(as_csv(answers), newline="")
    (tmp_path / "a.json").write_text(as_json(answers))
    same(read_answers(tmp_path / "a.json"), answers)
    back = read_answers(tmp_path / "a.csv").assign(taps=answers["taps"])  # written with six digits
    same(back, answers)
    cells = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    for name in ("rater", "origin"):
        assert not cells[name].str.match(r"[=+\-@\t\r]").any()


@given(st.binary(max_size=300), st.sampled_from(["csv", "json", "txt", "tsv"]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_stops_the_others(tmp_path, data, ending):
    (tmp_path / "good.csv").write_text(as_csv(table(raters=1)))
    (tmp_path / f"bad.{ending}").write_bytes(data)
    found, notes = read(tmp_path, KEY)
    (tmp_path / f"bad.{ending}").unlink()
    assert len(found) == 12 and [file for file, _ in notes] == [f"bad.{ending}"] * len(notes) and notes
    assert not any("\n" in text for _, text in notes)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from([*COLUMNS, "format"]), x),
    )
)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_stops_the_others(tmp_path, value):
    for bad in (
        value,
        {"format": FORMAT, "survey": "s1", "rater": "x", "answers": value},
        {"format": FORMAT, "answers": [value, {"item": value}]},
    ):
        (tmp_path / "good.csv").write_text(as_csv(table(raters=1)))
        (tmp_path / "bad.json").write_text(json.dumps(bad))
        found, _ = read(tmp_path)
        assert len(found) == 12


@pytest.mark.parametrize("code", ["NA", "nan", "null", "None", "1e5", "007", "-inf", "TRUE"])
def test_codes_that_readers_take_for_something_else_stay_as_they_are(tmp_path, code):
    (tmp_path / "a.csv").write_text(as_csv(one(code)))
    assert set(read_answers(tmp_path / "a.csv")["rater"]) == {code}


def test_the_case_from_the_field(tmp_path):
    """A file of the first format, of a rater called NA: four columns fewer."""
    (tmp_path / "a.CSV").write_text(
        "survey,rater,experience,item,size,truth,answer,confidence,seconds,position\n"
        "0000000000,NA,10,aaaaaaaaaaaa,small,real,real,4,1.0,1\n0000000000,NA,10,bbbbbbbbbbbb,small,synthetic,real,4,1.0,2\n"
    )
    found, notes = read(tmp_path)
    assert not notes and set(found["rater"]) == {"NA"} and found["item"].tolist() == ["a" * 12, "b" * 12]
    assert found["asked"].isna().all() and (found["saved"] == "").all() and not found["taps"].map(len).any()


# twice, in parts, of others


def test_the_same_answers_count_once_and_of_others_the_newest(tmp_path):
    part, later = one(), one(saved="x").assign(saved="2026-11-29T04:00:00Z")
    later["answer"] = later["answer"].map({"real": "synthetic", "synthetic": "real"})
    (tmp_path / "s01.csv").write_text(as_csv(part))
    (tmp_path / "s01 (1).csv").write_text(as_csv(part))
    (tmp_path / "s01.json").write_text(as_json(part))
    found, notes = read(tmp_path)
    same(found, part)
    assert sorted(file for file, _ in notes) == ["s01.csv", "s01.json"]
    assert all("counted once" in text and "s01 (1).csv" in text for _, text in notes)
    (tmp_path / "s01 (2).csv").write_text(as_csv(later))
    found, notes = read(tmp_path)
    same(found, later)
    assert len(notes) == 3 and all("newer and counts" in text and "s01 (2).csv" in text for _, text in notes)


def test_a_code_of_more_answers_goes_before_a_dated_part(tmp_path):
    """Handed in half way as a file, and at the end as a code, which does not say when it was made."""
    part = one("r0").iloc[:3].assign(truth="", origin="")
    (tmp_path / "part.csv").write_text(as_csv(part))
    said = {f"p{i}": 3 + 8 * (i % 2) for i in range(12)}
    (tmp_path / "codes.txt").write_text(encode("r0", said=said))
    found, notes = read(tmp_path, KEY)
    assert len(found) == 12 and (found["confidence"] == 3).all()
    assert notes[0][0] == "part.csv" and "codes.txt, which has as many or more and counts" in notes[0][1]
    (tmp_path / "codes.txt").write_text(encode("r0", said={"p1": 3}))
    found, notes = read(tmp_path, KEY)
    assert len(found) == 3 and notes[0][0] == "codes.txt"


def test_a_cell_that_ends_at_a_semicolon_begins_no_formula(tmp_path):
    """A spreadsheet that takes semicolons for separators opens our commas as text, and this would have its own cell."""
    codes = ["a;=1+1", "b\n@x", "c;'quoted'", "=d;-e"]
    (tmp_path / "a.csv").write_text(as_csv(pd.concat([one(code) for code in codes])), newline="")
    for cell in re.split(r"[;,\n\t]", (tmp_path / "a.csv").read_text()):
        assert not cell.startswith(tuple("=+-@")), cell
    assert sorted(read_answers(tmp_path / "a.csv")["rater"].unique()) == sorted(codes)


@given(st.permutations(range(4)))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_and_order_of_files_do_not_matter(tmp_path, names):
    parts = [one(), one().iloc[:5], one("r1"), one().assign(saved="2027-01-01T00:00:00Z", confidence=1)]
    for i, part in zip(names, parts, strict=True):
        (tmp_path / f"{i}.csv").write_text(as_csv(part))
    found, _ = read(tmp_path)
    same(found, pd.concat([parts[2], parts[3]]))


def test_a_part_takes_its_truth_from_a_finished_file_or_from_the_key(tmp_path):
    whole = one("done")
    part = one("part").iloc[:5].assign(truth="", origin="")
    (tmp_path / "part.csv").write_text(as_csv(part))
    with pytest.raises(ValueError, match=r"found none; part\.csv: 5 answers left out: .* as key"):
        read(tmp_path)
    same(read(tmp_path, KEY)[0], one("part").iloc[:5])
    (tmp_path / "whole.csv").write_text(as_csv(whole))
    found, notes = read(tmp_path)
    same(found, pd.concat([whole, one("part").iloc[:5]]))
    assert not notes


def test_answers_to_other_pictures_are_left_out_or_named(tmp_path):
    (tmp_path / "a.csv").write_text(as_csv(one()))
    (tmp_path / "b.csv").write_text(as_csv(one("r1").assign(survey="s2")))
    found, notes = read(tmp_path, KEY)
    assert set(found["rater"]) == {"r0"} and notes == [
        ("b.csv", "12 answers left out: they are to pictures of another survey or build")
    ]
    found, notes = read(tmp_path)
    assert found["survey"].nunique() == 2 and "of another survey than other files" in notes[0][1]


def test_files_that_disagree_about_a_picture(tmp_path):
    (tmp_path / "a.csv").write_text(as_csv(one()))
    (tmp_path / "b.csv").write_text(as_csv(one("r1", truth="synthetic")))
    found, notes = read(tmp_path)
    assert len(found) == 22 and "p2" not in set(found["item"])
    assert notes == [("a.csv", "picture p2 left out: it is real and small here, and synthetic and small in b.csv")]
    found, notes = read(tmp_path, KEY)
    assert len(found) == 24 and set(found.loc[found["item"] == "p2", "truth"]) == {"real"}
    assert notes == [("b.csv", "says otherwise what pictures are than the survey's page, which counts")]


# sentences


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"confidence": 8}, "row 3 left out: expected confidence of 1 to 7, got 8"),
        ({"confidence": 2.5}, "row 3 left out: expected confidence of 1 to 7, got 2.5"),
        ({"confidence": "high"}, "row 3 left out: expected confidence of 1 to 7, got high"),
        ({"answer": "fake"}, "row 3 left out: expected answer of real or synthetic, got fake"),
        ({"size": "medium"}, "row 3 left out: expected size of small or large, got medium"),
        ({"item": ""}, "row 3 left out: expected some letters as item, got none"),
        ({"item": "p0", "answer": "synthetic"}, "rater r0 answered picture p0 twice: the last answer counts"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_the_others_count(tmp_path, columns, text):
    part = one(**columns)
    part.loc[0, "answer"] = "real"
    (tmp_path / "a.csv").write_text(part.to_csv(index=False))
    found, notes = read(tmp_path)
    assert len(found) == 11 and notes == [("a.csv", text)]


@pytest.mark.parametrize("years", ["99", "-1", "many"])
def test_years_that_are_none_are_left_out_and_the_answers_count(tmp_path, years):
    (tmp_path / "a.csv").write_text(table(raters=1).assign(experience=years).to_csv(index=False))
    found, notes = read(tmp_path)
    assert len(found) == 12 and found["experience"].isna().all() and "0 to 80" in notes[0][1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "a.csv: left out, expected a file exported by the survey page: no column survey"),
        ("a.csv", "rater,item\nx,y\n", "no column survey among rater, item"),
        ("a.csv", as_csv(table().iloc[:0]), "a.csv: left out, it has no answer"),
        ("a.json", "{", "expected a file exported by the survey page"),
        ("a.json", "[]", "it has no answer"),
        ("a.json", "[3]", 'no "format": "diffinfinite-survey-2"'),
        ("a.json", '{"format": "diffinfinite-survey-3", "answers": []}', "newer than this reader"),
        ("a.json", '{"format": "diffinfinite-survey-2", "answers": 3}', 'no list of "answers"'),
        ("a.json", "[" * 10**5, "exported by the survey page"),
        ("a.txt", "hello", "no answer code"),
        ("a.txt", "DS2-ABC", "only with the survey's page as key"),
        ("a.xlsx", "PK", "save it as CSV"),
    ],
)
def test_a_folder_without_an_answer_is_one_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_files_and_warnings():
    with pytest.raises(ValueError, match="expected at least one exported"):
        read_answers([])
    with (
        pytest.raises(ValueError, match=r"gone\.csv"),
        pytest.warns(survey_answers.AnswersWarning, match=r"gone\.csv: left out"),
    ):
        read_answers("gone.csv")


# codes


@given(
    rater=st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=32),
    said=st.dictionaries(
        st.sampled_from([f"p{i}" for i in range(12)]), st.integers(1, 7).flatmap(lambda c: st.sampled_from([c, c + 8]))
    ),
    asked=st.sampled_from([6, 12]),
    years=st.none() | st.integers(0, 160).map(lambda n: n / 2),
)
def test_codes_come_back(rater, said, asked, years):
    said = {name: value for name, value in said.items() if int(name[1:]) < asked}
    rows = decode_answers(encode(rater, asked, said, years), KEY)
    assert {r["item"]: r["confidence"] + 8 * (r["answer"] == "synthetic") for r in rows} == said
    order = order_of(KEY, rater, asked)
    assert all(r["rater"] == rater and r["experience"] == years and order[r["position"] - 1] == r["item"] for r in rows)
    assert not rows or math.isclose(sum(r["seconds"] for r in rows), 60)
    assert sorted(order) == sorted(item.name for item in KEY.version(asked))


@given(st.data())
def test_a_wrong_letter_in_a_code_is_found(data):
    code = encode(said={"p1": 3, "p7": 12})
    places = [i for i, letter in enumerate(code) if i > 3 and letter != "-"]
    i = data.draw(st.sampled_from(places[:-1]))  # the last one has unused bits
    letter = data.draw(st.sampled_from([c for c in survey_answers.LETTERS if c != code[i]]))
    with pytest.raises(ValueError, match="letter wrong"):
        decode_answers(code[:i] + letter + code[i + 1 :], KEY)


def test_codes_are_read_out_of_what_people_send(tmp_path):
    codes = [encode(f"r{i}", said={"p1": 3, "p2": 12}) for i in range(3)]
    text = (
        f"Hello, mine: {codes[0]}\nthanks\n\n{codes[1].lower()}\n- {codes[2][:22]}\n{codes[2][22:]}\nDS2-00000-00000\n"
    )
    (tmp_path / "mail.txt").write_text(text)
    found, notes = read(tmp_path, KEY)
    assert (
        found["rater"].tolist() == ["r0", "r0", "r1", "r1", "r2", "r2"]
        and (found["truth"] == ["synthetic", "real"] * 3).all()
    )
    assert len(notes) == 1 and "not complete" in notes[0][1]
    with pytest.raises(ValueError, match="another survey"):
        decode_answers(codes[0], Key("s9876543210", KEY.items))
