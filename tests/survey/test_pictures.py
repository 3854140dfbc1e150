"""Pictures of the survey: files that give nothing away but tissue, and arms that pair."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.encoding import encode
from diffinfinite_lite.data.stain import fit_profile
from diffinfinite_lite.survey import fields as survey_fields
from diffinfinite_lite.survey.fields import describe_fields, equalise_stain, lung_fields, match_fields, slide_fields
from diffinfinite_lite.survey.page import seal, survey_name, widget, write_page
from diffinfinite_lite.survey.pictures import (
    SIDES,
    Field,
    Processing,
    low_level_features,
    make_items,
)
from tests.survey.toys import make_fields, tissue


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
            assert re.fullmatch("p[0-9a-f]{11}", item.name)
            # the padding looks like noise, as compressed data do
            spread = np.bincount(np.frombuffer(item.data[item.length :], np.uint8), minlength=256)
            assert spread.max() < 12 + 3 * spread.mean()
    assert len({i.name for i in items}) == len(items)


def test_page_holds_the_truth_only_under_its_seal(fields, tmp_path):
    """Two pages of opposite truths are the same but for one string, of the same length in both."""

    def page(items):
        html = widget(items, ["A <b>sentence</b>."], "L")
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
        write_page(items, [], "", tmp_path, title="S")
        files = {p.name: p.stat().st_size for p in tmp_path.glob("*.jpg")}
        assert files == {f"{i.name}.jpg": len(i.data) for i in items} | {"mine.jpg": 16}
    assert survey_name(ours) == survey_name(theirs) != survey_name(ours[1:])


def test_page_refuses_no_pictures_and_doubles(fields):
    item = make_items(fields)[0]
    for items in ([], [item, item]):
        with pytest.raises(ValueError, match="expected pictures that differ"):
            widget(items, [], "")


@pytest.mark.parametrize("processing", [Processing(), Processing(0.5, 0, 75), Processing(1, 0.7, 90)])
def test_both_sides_go_through_the_same(fields, processing):
    """Two pictures of one content, one called real and one not, leave as one file, and so does the whole survey."""
    ours, theirs = (make_items(some, processing) for some in (fields, flipped(fields)))
    assert [i.data for i in ours] == [i.data for i in theirs]
    quality = {str(Image.open(io.BytesIO(item.data)).quantization) for item in ours}
    expected = Image.open(io.BytesIO(encode(fields[0].rgb, "jpeg", quality=processing.quality))).quantization
    assert quality == {str(expected)}


def test_processing_takes_away_what_is_finer_than_it_says():
    """A lattice of period 2 does not outlive half of the pixels, one of period 16 does."""
    column = np.arange(208)
    for period, left in ((2, 0.05), (16, 0.9)):
        wave = 128 + 60 * np.sin(2 * np.pi * (column + 0.5) / period)
        picture = np.rint(np.repeat(wave[None, :, None], 208, 0).repeat(3, 2)).astype(np.uint8)
        kept = Processing(0.5)(picture)[20:-20, 20:-20].std() / picture.std()
        assert kept < left if period == 2 else kept > left
    noise = np.random.default_rng(0).integers(0, 256, (208, 208, 3), np.uint8)
    assert np.array_equal(Processing()(noise), noise)
    assert Processing(sigma=1)(noise).std() < 0.5 * noise.std()


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


@pytest.mark.parametrize("seed", range(3))
def test_a_survey_of_usual_size_can_be_made_without_any_set(seed, monkeypatch):
    monkeypatch.setattr(survey_fields, "generate", Painted())
    monkeypatch.setattr(catalog, "available", lambda name: False)
    with pytest.warns(UserWarning, match="expected lc25000-lung, .* for 12 large fields, .* slide has 8"):
        made = survey_fields.survey_fields(seed=seed)
    assert [sum(f.real for f in made if f.size == size) for size in ("small", "large")] == [18, 8]
    assert len(made) == 2 * (18 + 8)


needs_lung = pytest.mark.skipif(
    not all(map(catalog.available, survey_fields.LUNG_SETS)), reason="needs the lung sets in DIFFINFINITE_DATA"
)


@needs_lung
def test_lung_fields_have_three_arms_in_pairs(monkeypatch):
    painter = Painted()
    monkeypatch.setattr(survey_fields, "generate", painter)
    made = lung_fields(6, 4)
    counts = {(size, origin): sum(f.size == size and f.origin == origin for f in made) for size in SIDES
              for origin in {f.origin for f in made}}  # fmt: skip
    assert counts["small", "lc25000-lung"] == 6 and counts["large", "lc25000-lung"] == 0
    assert counts["large", "diffinfinite-lung"] == counts["large", "lung-scc-atlas"] == 2
    for size, n in (("small", 3), ("large", 2)):
        assert counts[size, survey_fields.MODEL] == counts[size, survey_fields.PUBLISHED] == n
    assert all(mask is not None and mask.shape == size and mask.any() for _, mask, size in painter.calls)
    assert len({f.rgb.tobytes() for f in made}) == len(made) == 20
    assert len(painter.calls) == 3 + survey_fields.CANDIDATES * 2  # large synthetic fields are chosen among several
    said = " ".join(describe_fields(made))
    assert "Borkowski" in said and "MIT" in said and "SKIN" not in said and "JPEG of quality" in said
    assert f"5 of {survey_fields.MODEL}, 5 of {survey_fields.PUBLISHED}" in said
    with pytest.raises(ValueError, match="1 to 24 large fields"):
        lung_fields(6, 25)


@needs_lung
def test_windows_of_the_slide_are_stitched_without_a_seam():
    """Every window holds the pixels of the slide's tiles, wherever the tiles meet."""
    windows = survey_fields._slide_windows(3, 416, np.random.default_rng(0))
    root = catalog.locate("lung-scc-atlas")
    tiles = {e.file: np.asarray(Image.open(root / e.file).convert("RGB"))
             for e in catalog.select("lung-scc-atlas", label="tissue") if e.file.startswith("HE2/")}  # fmt: skip
    for window in windows:
        found = set()
        for name, tile in tiles.items():
            patch = tile[100:108, 100:108]
            view = np.lib.stride_tricks.sliding_window_view(window, (8, 8, 3))[:, :, 0]
            first = np.argwhere((view[:, :, 0, 0] == patch[0, 0]).all(-1) & (view[:, :, 7, 7] == patch[7, 7]).all(-1))
            found |= {name for y, x in first if np.array_equal(view[y, x], patch)}
        assert found, "no tile of the slide is in the window"
        for axis in (0, 1):  # a line where tiles meet is no brighter edge than others
            steps = np.abs(np.diff(window.astype(float), axis=axis)).mean(axis=(1 - axis, 2))
            assert steps.max() < 3 * np.median(steps)
