"""A margin of four latents around the picture: sampled, seen by the decoder, kept with the pair, and never shown."""

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image

from diffinfinite_lite import Pair, generate, generate_slide, inpaint, resynthesise
from diffinfinite_lite.data.tiles import to_rgb, to_tensor
from diffinfinite_lite.evaluation.inputs import painted_canvas
from diffinfinite_lite.labels import CELL_PX
from diffinfinite_lite.metrics.latents import border_ring
from diffinfinite_lite.models.autoencoder import MARGIN
from diffinfinite_lite.models.pretrained import load_draft, load_models, sampled_margin
from diffinfinite_lite.pipelines.cautions import find_cautions
from diffinfinite_lite.pipelines.config import SamplingConfig
from diffinfinite_lite.pipelines.edit import REACH
from diffinfinite_lite.pipelines.endless import Endless
from diffinfinite_lite.pipelines.generate import border_width
from diffinfinite_lite.pipelines.margin import decode_within, encode_around, read_back
from diffinfinite_lite.pipelines.passport import repeat
from diffinfinite_lite.pipelines.slide_files import QUALITY
from diffinfinite_lite.pipelines.stages import DETAIL, DRAFT, Stage, find_stages, last_levels, sample_stages
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.plans import PLANS, TRAITS
from diffinfinite_lite.sampling.sample import Method
from diffinfinite_lite.widgets.emergence import emerging, windows_of_levels
from tests import toys

pytestmark = pytest.mark.filterwarnings("ignore::diffinfinite_lite.pipelines.cautions.Caution")
SIZE, CELLS, CANVAS = (96, 128), (12, 16), (20, 24)
SETTINGS = {"steps": 2, "draft_steps": 2, "seed": 7, "device": "cpu", "batch_size": 4}
PICTURE = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return toys.tiny_model(tmp_path_factory.mktemp("reflected"), draft=True, borders="reflected")


@pytest.fixture(scope="module")
def paint(weights):
    def paint(**settings):
        arguments = {"context": "squamous", "mask": stripes(), "weights": weights} | SETTINGS | settings
        return generate(**arguments)

    return paint


@pytest.fixture(scope="module")
def pair(paint):
    return paint()


def stripes():
    mask = np.ones(SIZE, np.uint8)
    mask[:, SIZE[1] // 2 :] = 3
    return mask


def decoded(weights, latents):
    """The picture of all latents, at one go."""
    with torch.no_grad():
        return to_rgb(load_models(weights).autoencoder.decode(torch.from_numpy(latents)[None])[0])


def stored(folder, name):
    """Latents in the store of a stage that is finished."""
    assert json.loads((folder / name / "progress.json").read_text())["progress"]["left"] == 0
    return np.asarray(zarr.open_array(folder / name / "latents-0", mode="r"))


def test_a_margin_is_a_property_of_the_autoencoder(weights, two_stage_weights, tiny_weights):
    assert sampled_margin(weights) == MARGIN == 4
    assert sampled_margin(tiny_weights) == sampled_margin(two_stage_weights) == 0


def test_it_is_sampled_in_both_stages_counted_recorded_and_not_shown(paint, pair):
    previews = []

    def progress(items, total, part):
        for item in items:
            if part == "sampling":
                previews.append(item.preview())
            yield item

    again = paint(progress=progress)
    assert np.array_equal(again.image, pair.image)
    assert [None if shown is None else shown.shape for shown in previews] == [(*CELLS, 3)] * 2 + [None] * 2
    assert pair.image.shape == (*SIZE, 3) and pair.mask.shape == SIZE and pair.run["size"] == list(SIZE)
    assert pair.latents.shape == (8, *CANVAS) and pair.draft.shape == (3, *CANVAS)
    assert {frame.shape for frame in pair.timesteps} == {CELLS}
    assert (pair.run["margin"], pair.margin) == (32, MARGIN)
    windows = len(list(PLANS["mixture"](CANVAS, 8, torch.Generator())))
    assert windows > len(list(PLANS["mixture"](CELLS, 8, torch.Generator())))
    assert pair.run["network_evaluations"] == 4 * windows, "those of the margin cost as much as any"


def test_a_model_without_one_records_none(two_stage_weights):
    pair = generate("squamous", stripes(), weights=two_stage_weights, **SETTINGS)
    assert "margin" not in pair.run and pair.margin == 0 and pair.latents.shape == (8, *CELLS)


@pytest.mark.parametrize("plan", PLANS)
def test_the_picture_is_the_middle_of_the_decoded_canvas(paint, weights, plan):
    """Whatever the plan: latents are sampled around it, and none is repeated, also where windows wrap around."""
    painted = paint(plan=plan, patch=64)
    whole = decoded(weights, painted.latents)
    cut = MARGIN * CELL_PX
    assert np.abs(whole[cut:-cut, cut:-cut].astype(int) - painted.image).max() <= 1
    bare = decoded(weights, painted.latents[PICTURE])
    assert np.abs(bare.astype(int) - painted.image)[:CELL_PX].mean() > 1, "the decoder does see the margin"
    assert border_width(SamplingConfig(plan=plan, patch=64), SIZE, MARGIN) == 0
    assert (border_width(SamplingConfig(plan=plan, patch=64), SIZE, 0) > 0) == TRAITS[plan].wraps


def test_labels_go_on_as_their_mirror_image(weights):
    """Whoever paints the mirrored mask with its margin paints the same noise under the same labels."""
    seen = []

    class Asks(toys.Arithmetic):
        def __call__(self, z, t, condition):
            seen.append(condition)
            return super().__call__(z, t, condition)

    stage = Stage(DETAIL, Asks(), toys.Averages(), Method(16, "mixture", steps=1), margin=2)
    denoisers = {DETAIL: Denoiser(Asks(), torch.linspace(0.99, 0.01, 1000))}
    labels = torch.arange(1, 13).view(3, 4)
    (level,) = sample_stages([stage], denoisers, labels)
    assert level.canvas.latents.shape == (3, 7, 8)
    expected = torch.from_numpy(np.pad(labels.numpy(), 2, mode="symmetric"))
    assert torch.equal(seen[0][0, :7, :8], expected)


class Ringing:
    """The perfect network of white latents which, as behind an encoder that sees zeros, are larger at a window's edge.

    That is what a model paints that was trained on such latents: every window has the ring.
    """

    prediction_type, ring = "epsilon", 1.43 / 0.80

    def __init__(self, alphas):
        self.alphas = alphas

    def __call__(self, z, t, condition):
        std = torch.full(z.shape[-2:], self.ring)
        std[4:-4, 4:-4] = 1
        a = self.alphas[t].view(-1, 1, 1, 1)
        return (1 - a).sqrt() * z / (a * std**2 + 1 - a)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (40, 150)])
@pytest.mark.parametrize("on_disk", [False, True])
def test_windows_at_the_border_of_a_canvas_are_no_different(alphas, tmp_path, size, on_disk):
    """Even where all windows know their border: rms by distance from the border of a tile, a picture and a slide."""
    rings = {}
    for margin in (0, MARGIN):
        autoencoder = toys.Averages()
        autoencoder.latent_channels = 48
        stage = Stage(DETAIL, Ringing(alphas), autoencoder, Method(28, "mixture", steps=8), margin=margin)
        store = tmp_path / str(margin) if on_disk else None
        levels = sample_stages(
            [stage], {DETAIL: Denoiser(stage.network, alphas)}, torch.ones(size, dtype=torch.int64), store=store
        )
        latents = np.asarray(last_levels(levels)[DETAIL].canvas.latents[:])[None]
        rings[margin] = border_ring(latents[PICTURE] if margin else latents)
    assert max(abs(value - 1) for value in rings[MARGIN]) < 0.03, rings
    assert rings[0][0] > 1.3, "without a margin the ring is there"


def test_a_slide_is_the_picture_and_goes_on_from_either_stage(paint, weights, tmp_path):
    settings = {"plan": "random-patch", "patch": 64}
    pair = paint(**settings)
    slide = {"out": tmp_path / "out", "store": tmp_path / "store", "weights": weights, "force": True}

    class Killed(Exception):
        pass

    for last in (0, 2):  # within the draft, and after the first level of the detail

        def killed(items, total, part, last=last):
            for item in items:
                yield item
                if part == "sampling" and item.number == last:
                    raise Killed

        with pytest.raises(Killed):
            generate_slide("squamous", stripes(), progress=killed, **settings, **slide, **SETTINGS)
    run = generate_slide("squamous", stripes(), **settings, **slide, **SETTINGS)
    for name, expected in ((DETAIL, pair.latents), (DRAFT, pair.draft)):
        assert np.array_equal(stored(tmp_path / "store", name), expected), name
    assert (run["margin"], run["size"], run["network_evaluations"]) == (
        32,
        list(SIZE),
        pair.run["network_evaluations"],
    )
    image = tifffile.imread(tmp_path / "out/image.ome.tif")
    assert image.shape == (*SIZE, 3) and tifffile.imread(tmp_path / "out/mask.ome.tif").shape == SIZE
    file = BytesIO()  # its picture is a JPEG, which noise like this does not come through unchanged
    Image.fromarray(pair.image).save(file, "jpeg", quality=QUALITY)
    assert np.abs(image.astype(int) - np.asarray(Image.open(file))).mean() < 2
    assert 'Width="128" Height="96"' in (tmp_path / "out/image.dzi").read_text()


def test_workers_sample_the_margin(paint, weights, tmp_path):
    slide = {"out": tmp_path / "out", "store": tmp_path / "store", "weights": weights}
    generate_slide("squamous", stripes(), workers=1, **slide, **SETTINGS)
    np.testing.assert_allclose(stored(tmp_path / "store", DETAIL), paint().latents, atol=1e-4)


@pytest.mark.parametrize(("rows", "opened"), [((40, 56), (8, 12)), ((0, 16), (1, 7))])
def test_an_edit_keeps_all_latents_beyond_the_change_those_of_the_margin_too(pair, weights, tmp_path, rows, opened):
    """A label at the border stands in the margin as well, mirrored, and is painted again there."""
    pair.save(tmp_path)
    read = Pair.read(tmp_path)
    assert read.margin == MARGIN and np.array_equal(read.latents, pair.latents)
    mask = stripes()
    mask[slice(*rows), 40:56] = 2
    edited = resynthesise(read, mask, margin=8, weights=weights, device="cpu", batch_size=4)
    open_ = np.zeros(CANVAS, bool)
    open_[slice(*opened), MARGIN + 4 : MARGIN + 8] = True
    for before, after in ((pair.draft, edited.draft), (pair.latents, edited.latents)):
        assert np.array_equal(after[:, ~open_], before[:, ~open_])
        assert not np.isclose(after[:, open_], before[:, open_]).all(axis=0).any()
    far = np.ones(CANVAS, bool)
    top, left = max(opened[0] - REACH, 0), max(MARGIN + 4 - REACH, 0)
    far[top : opened[1] + REACH, left : MARGIN + 8 + REACH] = False
    beyond = far[PICTURE].repeat(8, 0).repeat(8, 1)
    assert np.array_equal(edited.image[beyond], pair.image[beyond]) and not np.array_equal(edited.image, pair.image)
    assert edited.run["recomputed"] == pytest.approx(open_[PICTURE].mean(), abs=1e-4)
    assert edited.run["margin"] == 32


def test_no_edit_is_no_work(pair, weights):
    again = resynthesise(pair, pair.mask, weights=weights, device="cpu")
    assert again.run["network_evaluations"] == 0 and np.array_equal(again.image, pair.image)
    assert np.array_equal(again.latents, pair.latents) and np.array_equal(again.draft, pair.draft)


def test_a_given_picture_goes_on_as_its_mirror_image(weights):
    rng = np.random.default_rng(1)
    image, keep = rng.integers(0, 255, (*SIZE, 3)).astype(np.uint8), np.ones(SIZE, bool)
    whole = inpaint(image, keep, stripes(), weights=weights, **SETTINGS)
    assert np.array_equal(whole.image, image) and whole.run["network_evaluations"] == whole.run["recomputed"] == 0
    mirror = to_tensor(np.pad(image, [(32, 32), (32, 32), (0, 0)], mode="reflect"))[None]
    thumbnails = load_draft(weights).network.thumbnails
    with torch.no_grad():
        latents = load_models(weights).autoencoder.encode(mirror)[0].numpy()
        bare = load_models(weights).autoencoder.encode(to_tensor(image)[None])[0].numpy()
    np.testing.assert_array_equal(whole.latents, latents)
    np.testing.assert_array_equal(whole.draft, thumbnails.encode(mirror)[0].numpy())
    assert np.square(latents[PICTURE] - bare).mean() < 1e-2 * bare.var(), "the picture's own are hardly touched by it"
    keep[:8, 64:80] = False  # one cell high, at the border
    filled = inpaint(image, keep, stripes(), margin=0, weights=weights, **SETTINGS)
    assert np.array_equal(filled.image[keep], image[keep])
    open_ = np.zeros(CANVAS, bool)
    open_[MARGIN - 1 : MARGIN + 1, MARGIN + 8 : MARGIN + 10] = True  # and its mirror image
    np.testing.assert_array_equal(filled.draft[:, ~open_], whole.draft[:, ~open_])
    assert not np.isclose(filled.draft[:, open_], whole.draft[:, open_]).all(axis=0).any()
    assert filled.run["recomputed"] == round(2 / (12 * 16), 4)


def test_latents_without_the_margin_of_today_are_refused(pair, weights):
    run = {key: value for key, value in pair.run.items() if key != "margin"}
    earlier = replace(pair, run=run, latents=pair.latents[PICTURE], draft=pair.draft[PICTURE])
    message = r"a margin of 4 on all sides among them, got \(12, 16\) with one of [04]: generate it again"
    for other in (earlier, replace(pair, latents=pair.latents[PICTURE])):
        with pytest.raises(ValueError, match=message):
            resynthesise(other, pair.mask, weights=weights, device="cpu")


def test_a_run_is_repeated_with_its_margin(pair, weights, tmp_path):
    pair.save(tmp_path)
    again = repeat(tmp_path, weights=weights)
    same = generate(again.context, again.mask, config=again.config, weights=weights, device="cpu")
    assert np.array_equal(same.image, pair.image)
    replace(pair, run={key: value for key, value in pair.run.items() if key != "margin"}).save(tmp_path, force=True)
    with pytest.raises(ValueError, match="expected a picture sampled with a margin of 32 px as today, got 0 in"):
        repeat(tmp_path, weights=weights)


def test_what_the_player_shows_is_the_picture(weights):
    settings = {"weights": str(weights), "plan": "random-patch"} | SETTINGS
    frames, pictures = emerging("squamous", stripes(), **settings)
    assert {frame.shape for frame in frames} == {CELLS} and {p.pixels.shape for p in pictures} == {(*SIZE, 3)}
    whole = generate("squamous", stripes(), **settings).image.astype(int)
    assert np.abs(pictures[-1].pixels - whole).max() <= 1


def test_windows_are_where_the_timestep_maps_have_them(paint, weights):
    """Boxes are told from the corner of the picture; with the size of the canvas they wrap as windows do."""
    config = SamplingConfig(plan="random-patch", patch=64, steps=2, draft_steps=2, seed=7)
    stages = find_stages(load_models(weights), config, "squamous", weights, "cpu")
    maps = iter(paint(plan="random-patch", patch=64).timesteps)
    rows, columns = np.arange(CELLS[0])[:, None], np.arange(CELLS[1])
    for level, boxes in enumerate(windows_of_levels(stages, SIZE)):
        left = np.full(CELLS, 4 - level)
        for top, first, height, width in boxes:
            inside = ((rows - top) % CANVAS[0] < height) & ((columns - first) % CANVAS[1] < width)
            left[inside] = 3 - level
            assert np.array_equal(next(maps), left)
    assert next(maps, None) is None


def test_seams_are_looked_for_where_windows_of_the_canvas_met(paint):
    painted = paint(plan="sliding-window", patch=64)
    canvas = painted_canvas(painted)  # windows begin every four latents of the canvas
    assert canvas.fixed and canvas.rows == tuple(range(32, 96, 32)) and canvas.columns == tuple(range(32, 128, 32))
    unmoved = painted_canvas(replace(painted, run=painted.run | {"margin": 0}))
    assert unmoved.rows == canvas.rows, "a margin of as much as the stride moves no line"
    odd = painted_canvas(replace(painted, run=painted.run | {"margin": 24}))
    assert odd.rows == (8, 40, 56, 72), "of windows that begin at rows 0, 4, 8 and 10 of 18"


def test_a_plan_that_leaves_a_lattice_does_so_on_any_canvas_larger_than_a_window(weights, two_stage_weights):
    config, shares = SamplingConfig(plan="sliding-window", patch=64), [0, 1, 0, 0, 0, 0]
    assert find_cautions("normal", (64, 64), config, shares, two_stage_weights) == find_cautions(
        "normal", (64, 64), replace(config, plan="mixture"), shares, weights
    )
    said = find_cautions("normal", (64, 64), config, shares, weights)
    assert any("leaves a lattice" in sentence for sentence in said)


def test_an_endless_slide_has_no_border_and_needs_none(weights):
    slide = Endless("squamous", weights=weights, steps=1, draft_steps=1, device="cpu")
    assert "margin" not in slide.run((256, 256))


def test_pictures_are_read_back_as_a_perfect_model_would_paint_them(weights, two_stage_weights):
    """With a margin as the middle of the decoded mirror image, so that no border is in it; without one as ever."""
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    reflected, zero = (load_models(folder).autoencoder for folder in (weights, two_stage_weights))
    cut = MARGIN * CELL_PX
    with torch.no_grad():
        z = encode_around(reflected, images, MARGIN)
        assert z.shape == (2, 8, *CANVAS)
        beyond = torch.nn.functional.pad(images, (cut,) * 4, mode="reflect")
        assert torch.equal(z, reflected.encode(beyond))
        assert torch.equal(decode_within(reflected, z, MARGIN), reflected.decode(z)[..., cut:-cut, cut:-cut])
        assert torch.equal(read_back(reflected, images, MARGIN), decode_within(reflected, z, MARGIN))
        assert torch.equal(read_back(zero, images, 0), zero.decode(zero.encode(images)))
