"""A workbench without its page: actions in, parts out. Pictures are those of the command line, bit for bit."""

import base64
import io
import shlex
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import diffinfinite_lite as dl
from diffinfinite_lite import cli
from diffinfinite_lite.data.encoding import encode
from diffinfinite_lite.labels import colour_mask
from diffinfinite_lite.models.pretrained import load_models
from diffinfinite_lite.widgets import neighbours, session
from diffinfinite_lite.widgets.figures import measure
from diffinfinite_lite.widgets.session import BLANK, Session
from diffinfinite_lite.widgets.state import State
from diffinfinite_lite.widgets.studio import Studio, contact_sheet, in_full

MASK = np.full((64, 128), 4, np.uint8)
MASK[8:40, 8:60] = 1
START = State().draw(MASK).change("steps", "2").change("seed", "5")


@pytest.fixture(scope="module")
def studio(tiny_weights):
    studio = Studio(tiny_weights, "cpu")
    yield studio
    studio.queue.close()


class Person:
    """A session, and all that its page was shown."""

    def __init__(self, studio, state=START):
        self.parts, self.seen = {}, []
        self.session = Session(studio, self.show, state.to_query())

    def show(self, **parts):
        self.parts |= parts
        self.seen.append(parts)

    def do(self, name, /, **arguments):
        self.session.handle({"do": name, **arguments})
        if self.session.job:
            assert self.session.job.wait(60)
        return self.parts

    @property
    def pair(self):
        return self.session.version.pair


@pytest.fixture
def person(studio):
    person = Person(studio)
    person.do("open")
    return person


def run_commands(lines, folder, masks, monkeypatch):
    """The commands of a page in a folder that holds its masks."""
    monkeypatch.chdir(folder)
    for name, mask in masks.items():
        Image.fromarray(mask).save(folder / name)
    for line in lines.splitlines():
        words = shlex.split(line)
        assert words[0] == "diffinfinite"
        result = CliRunner().invoke(cli.app, words[1:])
        assert result.exit_code == 0, result.output


def test_the_command_and_the_line_paint_the_picture_in_view(person, tmp_path, monkeypatch):
    shown = person.parts["state"]
    run_commands(shown["command"], tmp_path, {"mask.png": MASK}, monkeypatch)
    pair = dl.Pair.read(tmp_path / "out")
    assert np.array_equal(pair.image, person.pair.image) and np.array_equal(pair.latents, person.pair.latents)
    scope = {}
    exec(shown["python"], scope)
    assert np.array_equal(scope["pair"].image, person.pair.image)
    again = Person(person.session.studio, State.from_query(shown["link"]))
    again.do("open")
    assert np.array_equal(again.pair.image, person.pair.image)


def test_after_a_stroke_the_rest_stays_to_the_bit_and_the_commands_repeat_it(person, tmp_path, monkeypatch):
    before = person.pair
    person.do("draw", tool="brush", label=3, points=[[120, 6]], radius=7)
    after = person.pair
    assert 0 < after.run["recomputed"] < 0.6 and person.parts["picture"]["recomputed"] == after.run["recomputed"]
    changed = (before.latents != after.latents).any(0)
    assert changed.any() and not changed[:, :10].any()
    masks = {"mask-0.png": before.mask, "mask-1.png": after.mask}
    run_commands(person.parts["state"]["command"], tmp_path, masks, monkeypatch)
    assert np.array_equal(dl.Pair.read(tmp_path / "step-1").image, after.image)
    person.do("draw", tool="undo")
    assert person.pair is before  # not painted again
    person.do("draw", tool="redo")
    assert person.pair is after


def test_a_stroke_before_the_picture_is_there_is_drawn_on_its_mask(studio, monkeypatch):
    """The model's mask lies under the brush before the first level, not the blank one that a new size begins with."""
    person = Person(studio, State().change("size", "64x96").change("steps", "2"))
    before = []
    paint = studio.paint

    def painting(*arguments):
        before.append(person.session.drawing.mask.copy())
        return paint(*arguments)

    monkeypatch.setattr(studio, "paint", painting)
    person.do("open")
    assert np.array_equal(before[0], person.pair.mask) and (before[0] != BLANK).any()


def test_without_live_painting_a_stroke_changes_the_mask_alone(person):
    before = person.pair
    person.do("live", on=False)
    person.do("draw", tool="clear", label=3)
    assert person.pair is before and person.parts["state"]["drawn"]
    person.do("paint")
    assert (person.pair.mask == 3).all()


def test_cancel_stops_within_one_call_of_a_network_masks_and_decoding_included(studio, tiny_weights):
    models = load_models(tiny_weights, "cpu")
    state = State(size=(64, 64)).change("steps", "2").change("seed", "77")
    for network, name in ((models.mask, "forward"), (models.image, "forward"), (models.autoencoder, "decode")):
        person, calls = Person(studio, state), []
        plain = getattr(network, name)

        def counted(*arguments, plain=plain, calls=calls, person=person):
            calls.append(1)
            person.session.handle({"do": "cancel"})
            return plain(*arguments)

        setattr(network, name, counted)
        try:
            person.do("open")
        finally:
            delattr(network, name)
        assert len(calls) == 1 and person.session.job.phase == "cancelled", name
        assert person.parts["status"]["error"] == "Cancelled." and "picture" not in person.parts


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ({"do": "set", "name": "seed", "value": ""}, "expected seed to be a whole number, got ''"),
        ({"do": "set", "name": "eta", "value": "0.5"}, "expected the solver ddim for an eta"),
        ({"do": "fly"}, "expected an action of the workbench, got 'fly'"),
        ({}, "expected an action of the workbench, got ''"),
        ({"do": "draw", "tool": "saw"}, "expected a tool among brush"),
        ({"do": "pick", "number": 3}, "expected a picture of the contact sheet"),
        ({"do": "level", "level": 99}, "expected a level from 0 to 1, got 99"),
        ({"do": "load", "files": []}, "expected a file of a mask"),
        ({"do": "load", "files": [{"name": "m.png", "content": "AAAA"}]}, "m.png"),
        ({"do": "load", "files": [{"name": "run.json", "content": "e30="}]}, "expected a result of"),
        ({"do": "save", "what": "all"}, "expected mask, "),
        ({"do": "set"}, "not foreseen"),
    ],
)
def test_what_is_wrong_is_one_sentence_in_the_page(person, action, sentence):
    state, pair = person.session.state, person.pair
    person.seen.clear()
    person.do(action.get("do", ""), **{key: value for key, value in action.items() if key != "do"})
    level = person.session.studio.queue.submit("after", lambda job: None)
    level.wait(60)
    said = [parts.get("fault") for parts in person.seen if parts.get("fault")]
    assert len(said) == 1 and sentence in said[0] and "\n" not in said[0] and "/tmp" not in said[0]
    assert person.session.state is state and person.pair is pair


def test_a_bad_link_is_said_and_nothing_is_painted(studio):
    person = Person.__new__(Person)
    person.parts, person.seen = {}, []
    person.session = Session(studio, person.show, "?context=skin")
    person.do("open")
    assert "expected a context among" in person.parts["fault"] and person.session.job is None


def test_what_emerges_is_what_the_run_recorded(person):
    run = person.parts["run"]
    windows = run["windows"]
    assert len(windows) == 2
    covered = np.zeros((8, 16), int)
    for level, boxes in enumerate(windows):
        for top, left, height, width in boxes:
            covered[top : top + height, left : left + width] += 1
        assert (covered > level).all()  # every level writes every pixel
    levels = {parts["moment"]["level"] for parts in person.seen if "moment" in parts}
    assert levels == {0, 1}
    last = person.session._emergence.show(1)
    assert np.array_equal(last, person.pair.image)  # the last estimate is the picture


def test_a_draft_emerges_before_its_detail(two_stage_weights):
    studio = Studio(two_stage_weights, "cpu")
    person = Person(studio, START.change("draft_steps", "3"))
    person.do("open")
    assert len(person.parts["run"]["windows"]) == 5
    levels = [parts["moment"]["level"] for parts in person.seen if "moment" in parts]
    assert levels == [0, 1, 2, 3, 4]
    draft = person.session._emergence.show(2)
    assert draft.shape == (64, 128, 3) and (draft[:8, :8] == draft[0, 0]).all()
    last = person.session._emergence.show(4).astype(int)
    assert abs(last - person.pair.image).max() <= 1  # an estimate is rounded once more than the canvas
    person.do("draw", tool="brush", label=3, points=[[120, 6]], radius=7)
    assert 0 < person.pair.run["recomputed"] < 1
    studio.queue.close()


def test_previews_are_the_students_where_there_are_some(student_weights, planner):
    studio = Studio(student_weights, "cpu")
    assert (studio.preview, studio.lacking) == ("fast", set())
    assert (planner.preview, planner.lacking) == ("best", {"students"})
    assert Session(studio, lambda **parts: None).state.config.quality == "fast"
    assert Session(planner, lambda **parts: None).state.config.quality == "best"
    linked = Session(studio, lambda **parts: None, State().change("seed", "3").to_query())
    assert linked.state.config.quality == "best", "a link says what it shows"
    for sweep, quality in (("seed", "fast"), ("plan", "fast"), ("omega", "best")):
        sheet = contact_sheet(State().change("sweep", sweep), studio.preview)
        assert {state.config.quality for _, state in sheet} == {quality}, sweep
    varied = contact_sheet(State().change("sweep", "quality"), studio.preview)
    assert [state.config.quality for _, state in varied] == ["best", "fast"]
    assert in_full(sheet[0][1]).config.quality == "best"
    shown = {control["name"] for control in Session(planner, lambda **parts: None)._controls(State().config)}
    assert "quality" not in shown and "draft_steps" in shown
    studio.queue.close()


@pytest.fixture(scope="module")
def planner(two_stage_weights):
    """A studio whose model has a draft, and with it an appearance."""
    studio = Studio(two_stage_weights, "cpu")
    yield studio
    studio.queue.close()


def after(person):
    """Once all that was asked for is there."""
    person.session.studio.queue.submit("after", lambda job: None).wait(60)
    return person.parts


def test_an_axis_of_the_appearance_is_turned_and_the_others_stay(planner):
    person = Person(planner, START.change("draft_steps", "2"))
    person.do("open")
    before, picture = person.parts["appearance"]["places"], person.pair.image
    person.do("turn", axis=1, value=-1.5)
    places = person.parts["appearance"]["places"]
    assert places == pytest.approx([before[0], -1.5, *before[2:]], abs=0.02) and len(places) == 4
    assert person.session.state.config.appearance.count(",") == 15
    assert not np.array_equal(person.pair.image, picture)
    assert "appearance=" in person.parts["state"]["link"] and "--appearance" in person.parts["state"]["command"]
    person.do("axes")
    axes = after(person)["axes"]
    assert len(axes) == 4 and all(low != high for low, high in (axis["ends"] for axis in axes))
    shares = [axis["share"] for axis in axes]
    assert shares == pytest.approx(sorted(shares, reverse=True), abs=1e-4) and 0 < sum(shares) < 1


def test_more_like_the_view_a_file_or_a_tile_and_a_morph_between_them(planner, monkeypatch):
    person = Person(planner, START.change("draft_steps", "2"))
    person.do("open")
    start = person.session._appearances.code(person.session.state).tolist()
    person.do("end", side=0)
    file = {"name": "tile.png", "content": base64.b64encode(encode(person.pair.image, "png")).decode()}
    person.do("like", source="view")
    viewed = person.session.state.config.appearance
    person.do("set", name="appearance", value="default")
    person.do("like", source="file", files=[file])
    assert person.session.state.config.appearance == viewed
    other = np.full((64, 64, 3), 200, np.uint8)
    monkeypatch.setattr(session, "real_tiles", lambda context, seed: [("a", "set", "free", other)])
    person.do("tiles")
    assert after(person)["tiles"][0]["licence"] == "free"
    person.do("like", source="tile", number=0)
    person.do("end", side=1)
    tile = person.session.state.config.appearance
    assert tile != viewed
    person.do("morph")
    left, right = person.session.state.config.appearance.split(" to ")
    assert [float(number) for number in left.split(",")] == pytest.approx(start, rel=1e-4) and right == tile
    assert person.pair.run["appearance"] == person.session.state.config.appearance


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ({"do": "turn", "axis": 9, "value": 0}, "expected an axis 0 to 3"),
        ({"do": "like", "source": "tile", "number": 0}, "expected one of 0 real tiles"),
        ({"do": "like", "source": "sky"}, "expected view, file or tile, got 'sky'"),
        ({"do": "like", "source": "file", "files": []}, "expected the file of one picture, got 0 files"),
        ({"do": "like", "source": "file", "files": [{"name": "m.png", "content": "AAAA"}]}, "m.png"),
        ({"do": "end", "side": 2}, "expected the end 0 or 1 of a morph"),
        ({"do": "morph"}, "expected two ends of a morph"),
    ],
)
def test_what_is_wrong_with_an_appearance_is_one_sentence(planner, action, sentence):
    person = Person(planner, START.change("draft_steps", "1"))
    person.do("open")
    person.do(action["do"], **{key: value for key, value in action.items() if key != "do"})
    assert sentence in person.parts["fault"] and "/tmp" not in person.parts["fault"]


def test_a_model_without_a_draft_says_why_there_is_no_appearance(person):
    assert person.parts["appearance"]["why"].startswith("Light and stain cannot be chosen here")
    names = {control["name"] for part in person.parts["controls"].values() for control in part}
    assert "omega" in names and not names & {"appearance", "draft_steps", "draft_noise"}
    person.do("turn", axis=0, value=1)
    assert "expected a model with an appearance" in person.parts["fault"]


def test_controls_say_what_their_default_stands_for(person):
    def said():
        return {control["name"]: control["usual"] for control in person.parts["controls"]["a"]}

    assert said()["patch"] == "64" and said()["stride"] == "48"  # three quarters of a window
    assert said()["eta"] == "none"
    person.do("set", name="plan", value="random-patch")
    assert said()["stride"] == "none"


def test_the_second_setting_becomes_the_first(person):
    person.do("set", name="omega", value="0.5")
    assert person.session.state.other.omega != 0.5
    person.do("same")
    assert person.session.state.other == person.session.state.config
    assert "b.omega=0.5" in person.parts["state"]["link"]


def test_a_contact_sheet_is_made_and_one_of_it_finished(person):
    person.do("set", name="tab", value="sheet")
    person.do("set", name="sweep", value="conditioning")
    items = person.do("sheet")["sheet"]
    assert [item["name"] for item in items] == ["conditioning dense", "conditioning per-label"]
    assert all(item["image"].startswith("data:image/webp") for item in items)
    person.do("pick", number=1)
    assert (person.pair.run["conditioning"], person.pair.run["steps"]) == ("per-label", 50)


def test_sheets_hold_twelve_seeds_or_what_goes_with_the_other_settings():
    assert [state.config.seed for _, state in contact_sheet(START)] == list(range(5, 17))
    assert {state.config.steps for _, state in contact_sheet(START.change("steps", "40"))} == {6}
    steps = [state.config.steps for _, state in contact_sheet(START.change("sweep", "steps"))]
    assert len(steps) == 12 and steps[0] == 2 and steps[-1] == 50
    with pytest.raises(ValueError, match="expected values of eta that go with the other settings"):
        contact_sheet(START.change("sweep", "eta"))


def test_a_comparison_is_at_one_seed_and_has_its_numbers(person):
    person.do("set", name="tab", value="compare")
    person.do("set", name="b.conditioning", value="per-label")
    person.do("set", name="b.steps", value="1")
    found = person.do("compare")["comparison"]
    one, other = found["figures"]
    assert one == dict(measure(person.pair).__dict__, seconds=one["seconds"])
    assert other["evaluations"] > one["evaluations"] / 2 and one["seams"] > 0
    assert found["difference"] != found["a"] != found["b"]


def test_masks_and_runs_are_loaded_and_saved(person, tmp_path):
    drawn = np.full((64, 128), 3, np.uint8)
    for picture in (Image.fromarray(drawn), Image.fromarray(colour_mask(drawn))):
        file = io.BytesIO()
        picture.save(file, "png")
        person.do("draw", tool="clear", label=1)
        person.do("load", files=[{"name": "a/m.png", "content": base64.b64encode(file.getvalue()).decode()}])
        assert np.array_equal(person.session.drawing.mask, drawn) and np.array_equal(person.pair.mask, drawn)
    person.do("save", what="mask")
    saved = np.asarray(Image.open(io.BytesIO(base64.b64decode(person.parts["file"]["content"]))))
    assert np.array_equal(saved, drawn) and person.parts["file"]["name"] == "mask.png"
    person.do("draw", tool="polygon", label=1, points=[[8, 8], [60, 12], [20, 50]])
    drawn = person.session.drawing.mask.copy()
    person.do("save", what="geojson")
    for name in ("mask.geojson", "export.json"):
        person.do("draw", tool="clear", label=2)
        person.do("load", files=[person.parts["file"] | {"name": name}])
        assert np.array_equal(person.session.drawing.mask, drawn)
    person.do("save", what="pair")
    archive = zipfile.ZipFile(io.BytesIO(base64.b64decode(person.parts["file"]["content"])))
    archive.extractall(tmp_path)
    kept, files = person.pair, [path for path in (tmp_path / "pair").iterdir() if path.name != "timesteps.webp"]
    assert person.parts["state"]["command"] in archive.read("commands.txt").decode()
    other = Person(person.session.studio, State(size=(64, 64)).change("steps", "1"))
    other.do(
        "load", files=[{"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()} for path in files]
    )
    assert np.array_equal(other.pair.latents, kept.latents) and other.session.state.config.seed == 5
    other.do("draw", tool="brush", label=1, points=[[4, 4]], radius=2)
    assert np.array_equal(other.pair.latents[:, :, 10:], kept.latents[:, :, 10:])
    assert other.parts["state"]["command"].startswith("diffinfinite edit --run run --mask mask-1.png")


def test_a_drawn_mask_stays_and_a_generated_one_is_made_once(studio, monkeypatch):
    state = State(size=(64, 64)).change("steps", "1").change("seed", "3")
    person = Person(studio, state)
    person.do("open")
    monkeypatch.setattr("diffinfinite_lite.widgets.studio.generate_mask", pytest.fail)
    person.do("set", name="omega", value="1.0")
    assert np.array_equal(person.pair.mask, person.session.drawing.mask)
    person.do("draw", tool="clear", label=2)
    assert (person.pair.mask == 2).all()
    person.do("generated_mask")
    assert not (person.pair.mask == 2).all()


def test_neighbours_without_the_training_tiles_say_so(person, monkeypatch):
    monkeypatch.setattr(neighbours.catalog, "available", lambda *_: False)
    person.do("neighbours")
    assert "expected at least 3 pictures, got 1" in person.parts["fault"]
    for seed in "12":
        person.do("set", name="seed", value=seed)
    found = person.do("neighbours")["neighbours"]
    assert found["names"] == ["seed 5, 2 steps", "seed 1, 2 steps", "seed 2, 2 steps"]
    assert "DIFFINFINITE_DATA" in found["note"]
    assert len(found["places"]) == 3 and not found["nearest"]


def test_a_training_tile_is_its_own_nearest_neighbour(person, monkeypatch):
    tiles = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(n)) * 2 - 1 for n in range(5)]
    features = neighbours.efficientnet_features()(tiles)
    rgb = [((tile + 1) * 127.5).round().byte().permute(1, 2, 0).numpy() for tile in tiles]
    training = neighbours.Training(rgb, [f"tile {n}" for n in range(5)], "free", features)
    monkeypatch.setattr(neighbours, "training_tiles", lambda *_: training)
    person.session.pictures = [neighbours.Picked(f"picture {n}", rgb[n]) for n in (3, 1, 4)]
    found = person.do("neighbours")["neighbours"]
    assert [tile["name"] for tile in found["nearest"]] == ["tile 3", "tile 1", "tile 4"]
