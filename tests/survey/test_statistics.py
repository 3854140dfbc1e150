"""The survey: statistics against oracles, files in sentences, pictures that give nothing away but tissue."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from scipy.ndimage import gaussian_filter

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.stain import fit_profile
from diffinfinite_lite.survey import fields as survey_fields
from diffinfinite_lite.survey import statistics
from diffinfinite_lite.survey.fields import describe_fields, equalise_stain, lung_fields, match_fields, slide_fields
from diffinfinite_lite.survey.page import seal, survey_name, widget, write_page
from diffinfinite_lite.survey.pictures import (
    FEATURES,
    SIDES,
    Field,
    classifier_accuracy,
    equalise_sharpness,
    low_level_features,
    make_items,
    separability,
)


def table(raters=6, seed=0, skill=0.7):
    """Answers of simulated raters about 12 pictures."""
    rng = np.random.default_rng(seed)
    rows = []
    for rater in range(raters):
        for item in range(12):
            truth = ("real", "synthetic")[item % 2]
            right = rng.random() < skill
            answer = truth if right else ("synthetic", "real")[item % 2]
            rows.append(
                {
                    "survey": "s1",
                    "rater": f"r{rater}",
                    "experience": float(rng.integers(1, 30)),
                    "item": f"i{item}",
                    "size": ("small", "large")[item // 8],
                    "truth": truth,
                    "answer": answer,
                    "confidence": int(rng.integers(1, 8)),
                    "seconds": float(rng.integers(1, 90)),
                    "position": item + 1,
                }
            )
    answers = pd.DataFrame(rows)
    answers["experience"] = answers.groupby("rater")["experience"].transform("first")
    return answers


def as_json(part):
    whole = {name: part[name].iloc[0] for name in statistics.SHARED}
    rows = part[[c for c in statistics.COLUMNS if c not in statistics.SHARED]].to_dict("records")
    return json.dumps({"format": statistics.FORMAT, **whole, "answers": rows})


# statistics


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_closed_form(counts):
    right, n = counts
    said = pd.DataFrame({"truth": ["real"] * n, "answer": ["real"] * right + ["synthetic"] * (n - right)})
    row = statistics.accuracy(said).loc["all"]
    z, p = stats.norm.isf(0.025), right / n
    edges = [
        (p + z * z / (2 * n) + s * z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
        for s in (-1, 1)
    ]
    assert (row["n"], row["correct"], row["accuracy"]) == (n, right, p)
    assert np.allclose([row["low"], row["high"]], edges, atol=1e-9)


def test_groups_are_counted_apart():
    answers = table()
    by = statistics.accuracy(answers, ["size", "truth"])
    assert by["n"].sum() == len(answers) and by["correct"].sum() == (answers.truth == answers.answer).sum()
    counts = statistics.confusion(answers)
    for (size, truth), row in by.iterrows():
        assert counts.loc[(size, truth), truth] == row["correct"]
        assert counts.loc[(size, truth)].sum() == row["n"]
    hard = statistics.items(answers)
    assert hard["accuracy"].is_monotonic_increasing and len(hard) == 12 and (hard["n"] == 6).all()


def test_correlations_are_those_of_scipy():
    answers = table(raters=9)
    rows, each = statistics.correlations(answers), statistics.raters(answers)
    for name in ("confidence", "experience", "minutes"):
        oracle = stats.pearsonr(each["accuracy"], each[name])
        interval = oracle.confidence_interval()
        assert np.allclose(rows.loc[name, ["r", "p"]].astype(float), oracle)
        assert np.allclose(rows.loc[name, ["low", "high"]].astype(float), interval)
        assert rows.loc[name, "df"] == 7
        assert np.isclose(statistics.p_of_r(rows.loc[name, "r"], 7), oracle.pvalue)


def test_raters_without_experience_are_left_out_of_that_row_only():
    answers = table(raters=7)
    answers.loc[answers.rater == "r3", "experience"] = np.nan
    assert statistics.correlations(answers)["df"].to_dict() == {"confidence": 5, "experience": 4, "minutes": 5}


def test_the_papers_p_values_follow_from_its_r():
    for r, p in statistics.PAPER.correlations.values():
        digits = 0.005 if round(r, 2) == r else 0.0005  # the paper rounds
        reach = [statistics.p_of_r(abs(r) + d, statistics.PAPER.raters - 2) for d in (digits, -digits)]
        assert reach[0] - 0.0005 <= p <= reach[1] + 0.0005


@given(st.integers(1, 60))
def test_smallest_r_is_just_significant(df):
    assert np.isclose(statistics.p_of_r(statistics.smallest_r(df), df), 0.05)


def test_fleiss_by_hand_and_at_its_ends():
    answers = table()
    counts = pd.crosstab(answers["item"], answers["answer"]).to_numpy()
    n = counts.sum(axis=1)[0]
    within = ((counts**2).sum(axis=1) - n) / (n * (n - 1))
    chance = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    assert np.isclose(statistics.fleiss(answers), (within.mean() - chance) / (1 - chance))
    assert np.isclose(statistics.fleiss(answers.assign(answer=answers["truth"])), 1)
    wrong = answers["truth"].map({"real": "synthetic", "synthetic": "real"})
    assert np.isclose(statistics.fleiss(answers.assign(answer=wrong)), 1)  # all agree, and all are wrong


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: statistics.fleiss(table(raters=1)), "at least two raters"),
        (lambda: statistics.fleiss(table().iloc[1:]), "the same pictures"),
        (lambda: statistics.fleiss(table().assign(answer="real")), "same answer throughout"),
        (lambda: statistics.correlations(table(raters=3)), "at least 4 raters"),
        (lambda: statistics.correlations(table().assign(confidence=4)), "differ in accuracy and confidence"),
        (lambda: statistics.p_of_r(1.0, 8), "between -1 and 1"),
    ],
)
def test_what_cannot_be_computed_is_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


# files


def test_csv_and_json_of_many_raters_come_back_as_they_were(tmp_path):
    answers = table()
    for i, (rater, part) in enumerate(answers.groupby("rater")):
        if i % 2:
            (tmp_path / f"{rater}.json").write_text(as_json(part))
        else:
            part.to_csv(tmp_path / f"{rater}.csv", index=False)
    (tmp_path / "notes.txt").write_text("not an export")
    order = ["rater", "item"]
    back = statistics.read_answers(tmp_path)
    pd.testing.assert_frame_equal(
        back.sort_values(order, ignore_index=True)[list(statistics.COLUMNS)],
        answers.sort_values(order, ignore_index=True)[list(statistics.COLUMNS)],
        check_dtype=False,
    )
    files = sorted(tmp_path.glob("r*"))
    assert len(statistics.read_answers(files)) == len(statistics.read_answers(map(str, files))) == len(back)
    assert len(statistics.read_answers(files[0])) == 12


def test_codes_that_look_like_numbers_stay_as_they_were(tmp_path):
    part = table(raters=1).assign(rater="007", survey="0123", item=[f"{i:012d}" for i in range(12)], experience="")
    part.to_csv(tmp_path / "a.csv", index=False)
    back = statistics.read_answers(tmp_path)
    assert (back["rater"] == "007").all() and (back["survey"] == "0123").all() and back["item"].iloc[1] == f"{1:012d}"
    assert back["experience"].isna().all()


def changed(**columns):
    part = table(raters=1)
    for name, value in columns.items():
        part[name] = part[name].astype(object)
        part.loc[2, name] = value
    return part.to_csv(index=False)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "exported by the survey page, got a.csv"),
        ("a.csv", "rater,item\nx,y\n", "column survey in a.csv, found rater, item"),
        ("a.csv", table().iloc[:0].to_csv(index=False), "at least one answer in a.csv"),
        ("a.csv", changed(confidence=8), "confidence of 1 to 7 in a.csv, got 8 in row 3"),
        ("a.csv", changed(confidence=2.5), "confidence of 1 to 7"),
        ("a.csv", changed(confidence="high"), "confidence of 1 to 7 in a.csv, got high in row 3"),
        ("a.csv", changed(answer="fake"), "answer of real or synthetic in a.csv, got fake in row 3"),
        ("a.csv", changed(truth=""), "truth of real or synthetic"),
        ("a.csv", changed(size="medium"), "size of small or large"),
        ("a.csv", changed(seconds=-1), "seconds of at least 0"),
        ("a.csv", changed(seconds=float("inf")), "seconds of at least 0"),
        ("a.csv", changed(position=0), "position of at least 1"),
        ("a.csv", changed(rater=""), "rater of some letters in a.csv"),
        ("a.csv", changed(rater="other"), "one rater in a.csv, got 2"),
        ("a.csv", changed(item="i0"), "one answer a picture in a.csv, got two for i0"),
        ("a.csv", table(raters=1).assign(experience=99).to_csv(index=False), "experience of 0 to 80 years"),
        ("a.json", "{", "exported by the survey page, got a.json"),
        ("a.json", "[]", "got a.json: no .format."),
        ("a.json", '{"format": "diffinfinite-survey-1"}', "got a.json: no 'answers'"),
        ("a.json", '{"format": "diffinfinite-survey-1", "answers": 3, "survey": 1}', "got a.json"),
        ("a.json", as_json(table(raters=1).assign(answer=[["real"]] * 12)), "answer of real or synthetic in a.json"),
        ("a.json", "\0\0", "got a.json"),
    ],
)
def test_malformed_files_are_one_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        statistics.read_answers(tmp_path)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_go_together_are_refused(tmp_path):
    part = table(raters=1)
    part.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "b.json").write_text(as_json(part))
    with pytest.raises(ValueError, match=r"one file per rater, got a\.csv and b\.json of rater r0"):
        statistics.read_answers(tmp_path)
    flipped = part["truth"].map({"real": "synthetic", "synthetic": "real"})
    (tmp_path / "b.json").write_text(as_json(part.assign(rater="r1", truth=flipped)))
    with pytest.raises(ValueError, match="one truth and one size per picture"):
        statistics.read_answers(tmp_path)
    (tmp_path / "b.json").write_text(as_json(part.assign(rater="r1", truth=flipped, survey="s2")))
    assert statistics.read_answers(tmp_path)["survey"].nunique() == 2
    with pytest.raises(ValueError, match="found none"):
        statistics.read_answers([])
    with pytest.raises(ValueError, match=r"got gone\.csv"):
        statistics.read_answers(tmp_path / "gone.csv")


# pictures


STAINS = ((0.65, 0.70, 0.29), (0.27, 0.90, 0.34))  # haematoxylin, and eosin with enough blue in it to count as tissue


def tissue(seed, size="small", blur=2.0, strength=1.0, stains=STAINS):
    """A picture of two random stains."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, SIDES[size], SIDES[size]))
    fields = np.stack([gaussian_filter(n, blur) for n in noise], -1)
    concentration = strength * 1.3 * stats.norm.cdf(fields / fields.std()) ** 2
    concentration[:30] = 0  # glass, for the white balance
    return np.rint(255 * np.exp(-concentration @ np.array(stains))).astype(np.uint8)


def make_fields(count=4, **options):
    kinds = [(real, size) for size, n in (("small", count), ("large", 2)) for real in (True, False) for _ in range(n)]
    return [
        Field(tissue(i, size, **options), real, "camera" if real else "model") for i, (real, size) in enumerate(kinds)
    ]


@pytest.fixture(scope="module")
def fields():
    return make_fields()


def flipped(fields):
    return [Field(f.rgb, not f.real, "model" if f.real else "camera") for f in fields]


def test_files_do_not_know_the_truth(fields):
    """Turning all truths around changes no file, no name and no place: so these cannot tell it."""
    ours, theirs = make_items(fields), make_items(flipped(fields))
    assert [(i.name, i.data, i.length) for i in ours] == [(i.name, i.data, i.length) for i in theirs]
    assert [i.real for i in ours] == [not i.real for i in theirs]
    assert [i.name for i in make_items(fields[::-1])] == [i.name for i in ours]  # nor the order they were given in


def test_files_of_a_size_are_alike_and_carry_no_metadata(fields):
    items = make_items(fields)
    for size, side in SIDES.items():
        some = [i for i in items if i.size == size]
        assert len({len(i.data) for i in some}) == 1 < len({i.length for i in some})
        for item in some:
            picture = Image.open(io.BytesIO(item.data))
            assert (picture.format, picture.size, picture.mode) == ("JPEG", (side, side), "RGB")
            assert not picture.getexif() and set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert len({str(Image.open(io.BytesIO(i.data)).quantization) for i in some}) == 1
            assert re.fullmatch("[0-9a-f]{12}", item.name)
            # the padding looks like noise, as compressed data do
            spread = np.bincount(np.frombuffer(item.data[item.length :], np.uint8), minlength=256)
            assert spread.max() < 12 + 3 * spread.mean()
    assert len({i.name for i in items}) == len(items)


def test_page_holds_the_truth_only_under_its_seal(fields, tmp_path):
    """Two pages of opposite truths are the same but for one string, of the same length in both."""

    def page(items):
        html = widget(items, ["A <b>sentence</b>."])
        sealed = re.search(r'"sealed": "([^"]+)"', html)[1]
        return html.replace(sealed, ""), sealed

    ours, theirs = make_items(fields), make_items(flipped(fields))
    (one, sealed), (other, resealed) = page(ours), page(theirs)
    assert one == other and sealed != resealed and len(sealed) == len(resealed)
    assert "camera" not in one and "A &lt;b&gt;sentence&lt;/b&gt;." in one
    names = [i.name for i in ours]
    opened = json.loads(seal(base64.b64decode(sealed).decode("latin1"), names))
    assert [bool(real) for real, _ in opened["truth"]] == [i.real for i in ours]
    assert [opened["origins"][o] for _, o in opened["truth"]] == [i.origin for i in ours]

    (tmp_path / "mine.jpg").write_bytes(b"of somebody else")
    for items in (ours, ours[1:]):  # pictures of the earlier survey go, those of others stay
        write_page(items, [], tmp_path, title="S")
        files = {p.name: p.stat().st_size for p in tmp_path.glob("*.jpg")}
        assert files == {f"{i.name}.jpg": len(i.data) for i in items} | {"mine.jpg": 16}
    assert survey_name(ours) == survey_name(theirs) != survey_name(ours[1:])


def test_page_refuses_no_pictures_and_doubles(fields):
    item = make_items(fields)[0]
    for items in ([], [item, item]):
        with pytest.raises(ValueError, match="expected pictures that differ"):
            widget(items, [])


def test_sources_become_equally_sharp():
    sharp = [Field(tissue(i, blur=1.2), True, "camera") for i in range(5)]
    soft = [Field(tissue(i + 9, blur=1.6), False, "model") for i in range(5)]
    before, after = [*sharp, *soft], equalise_sharpness([*sharp, *soft])
    assert all(f.sigma > 0.3 for f in after[:5]) and all(f.sigma == 0 for f in after[5:])

    def median(some):
        return np.median([low_level_features(f.rgb)[4] for f in some])

    assert median(before[:5]) > 1.2 * median(before[5:])
    assert abs(median(after[:5]) / median(after[5:]) - 1) < 0.03
    assert equalise_sharpness(after)[0].sigma <= 0.02  # a second time there is nothing left to do


def test_sources_get_one_stain():
    pale = [Field(tissue(i, strength=0.75), True, "pale") for i in range(3)]
    deep = [Field(tissue(i + 5, strength=1.1), False, "deep") for i in range(3)]
    after = equalise_stain([*pale, *deep])
    strengths = [fit_profile([f.rgb for f in after if f.origin == o]).strength for o in ("pale", "deep")]
    assert np.allclose(*strengths, rtol=0.06)
    assert [f.origin for f in after] == ["pale"] * 3 + ["deep"] * 3


def test_matching_finds_the_twins_within_a_context():
    rng = np.random.default_rng(0)
    ours = [Field(tissue(i, strength=0.4 + 0.2 * i), False, "model", "ab"[i % 2]) for i in range(4)]
    twins = [Field(np.roll(f.rgb, 50, axis=1), True, "camera", f.context) for f in ours]
    others = [Field(tissue(i + 20, strength=2.5), True, "camera", "ab"[i % 2]) for i in range(6)]
    pool = [[*twins, *others][i] for i in rng.permutation(10)]
    assert {id(f) for f in match_fields(ours, pool)} == {id(f) for f in twins}
    with pytest.raises(ValueError, match="at least 2 fields of a"):
        match_fields(ours, others[1:2] + others[0:1])


def test_separability_finds_a_paler_source_and_nothing_where_there_is_nothing():
    honest = make_items(make_fields(16))
    dark = [Field(tissue(i + 90, strength=1 if i % 2 else 1.5), bool(i % 2), "c" if i % 2 else "m") for i in range(32)]
    found = separability(make_items(dark))
    assert found.loc[("small", "brightness"), "auc"] == 1 and found.loc[("small", "brightness"), "p"] < 1e-4
    assert classifier_accuracy(make_items(dark)).loc["small", "low"] > 0.7
    assert classifier_accuracy(honest).loc["small", "high"] < 0.8
    assert list(separability(honest).index) == [(size, name) for size in SIDES for name in FEATURES]
    with pytest.raises(ValueError, match="at least two real and two synthetic"):
        classifier_accuracy(make_items(dark[:1]))


def test_field_has_one_of_two_sizes():
    assert [Field(tissue(0, size), True, "x").size for size in SIDES] == list(SIDES)
    with pytest.raises(ValueError, match="208 or 416 px"):
        Field(np.zeros((200, 200, 3), np.uint8), True, "x")


class Painted:
    """Stands in for the model, which is tested elsewhere."""

    def __init__(self):
        self.calls = []

    def __call__(self, context, mask, size, *, seed, **_):
        self.calls.append((context, mask, size))
        picture = np.concatenate([np.concatenate([tissue(seed + i, "large") for i in (0, 1)], 1)] * 2)
        return type("Pair", (), {"image": picture[: size[0], : size[1]]})


def test_slide_fields_are_skin_and_say_so(monkeypatch):
    monkeypatch.setattr(survey_fields, "generate", Painted())
    made = slide_fields(4, 2)
    assert sorted((f.size, f.real) for f in made) == sorted(
        [("small", True)] * 4 + [("small", False)] * 4 + [("large", True)] * 2 + [("large", False)] * 2
    )
    assert all(low_level_features(f.rgb)[3] < 0.6 for f in made if f.real)
    assert "SKIN" in " ".join(describe_fields(made))
    with pytest.raises(ValueError, match="more small fields of tissue"):
        slide_fields(400, 1)


@pytest.mark.skipif(not catalog.available("lc25000-lung"), reason="needs the lung sets in DIFFINFINITE_DATA")
def test_lung_fields_pair_real_with_synthetic(monkeypatch):
    painter = Painted()
    monkeypatch.setattr(survey_fields, "generate", painter)
    made = lung_fields(6, 2)
    real, synthetic = ([f for f in made if f.real == kind] for kind in (True, False))
    assert sorted((f.size, f.context) for f in real) == sorted((f.size, f.context) for f in synthetic)
    assert all(mask is not None and mask.shape == size and mask.any() for _, mask, size in painter.calls)
    assert len({f.rgb.tobytes() for f in made}) == 16
    assert len(painter.calls) == 6 + survey_fields.CANDIDATES * 2  # large synthetic fields are chosen among several
    said = " ".join(describe_fields(made))
    assert "Borkowski" in said and "MIT" in said and "SKIN" not in said
    with pytest.raises(ValueError, match="1 to 8 large fields"):
        lung_fields(6, 9)
