"""Painting in the browser: the sampling agrees with Python part by part, and so does Chromium's picture."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffinfinite_lite.labels import LABEL_COLOURS, condition_map
from diffinfinite_lite.models.pretrained import load_draft, load_models
from diffinfinite_lite.pipelines.appearance import find_codes
from diffinfinite_lite.pipelines.config import configure
from diffinfinite_lite.pipelines.generate import picture
from diffinfinite_lite.pipelines.margin import mirrored
from diffinfinite_lite.pipelines.stages import (
    BLURRING_NOISE,
    CONTEXT_BITS,
    DETAIL,
    DRAFT_NOISE,
    find_stages,
    last_levels,
    make_denoiser,
    sample_stages,
)
from diffinfinite_lite.sampling.denoiser import Denoiser
from diffinfinite_lite.sampling.noise import coordinate_noise
from diffinfinite_lite.sampling.plans import mixture
from diffinfinite_lite.sampling.sample import Method, sample
from diffinfinite_lite.sampling.solvers import cosine_alphas, make_solver, trailing_timesteps
from diffinfinite_lite.sampling.windows import Window
from diffinfinite_lite.widgets.browser_graphs import (
    APPEARANCES,
    DIGITS,
    DraftFacts,
    export_graphs,
    round_models,
    round_weights,
    shipped_graphs,
)
from diffinfinite_lite.widgets.browser_page import write_page
from tests.check_site import MB, ON_CLICK, addresses, chrome, chromium, on_click, window_of
from tests.toys import tiny_model

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine: apt-get install chromium")
WAIT = 240_000  # ms; a picture of few steps takes seconds on an idle machine
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Paint</title><body><main>{}</main></body></html>'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paint")
    html = write_page(*shipped_graphs(), folder / "_assets", "_assets")
    (folder / "paint.html").write_text(PAGE.format(html), "utf8")
    return folder / "paint.html"


@pytest.fixture(scope="module")
def started():
    with chrome() as started:
        yield started


@pytest.fixture(scope="module")
def window(started, page):
    with window_of(started) as watch:
        watch.open(page)
        yield watch


def numbers(window, expression):
    return np.array(json.loads(window.page.evaluate(f"JSON.stringify({expression})")))


def test_what_is_loaded_is_what_is_said(page):
    read = addresses(page)
    assert all((page.parent / address).is_file() for files in read.on_click for address in files)
    assert on_click(page) < ON_CLICK
    assert f", {-int(-on_click(page) // MB)} MB</option>" in page.read_text("utf8")


@pytest.mark.parametrize("seed, stream, size", [(7, 0, (64, 80)), (2**53 - 1, 6, (9, 30))])
def test_noise_is_that_of_the_library(window, seed, stream, size):
    found = numbers(window, f"Array.from(Sampler.coordinateNoise({seed}, {stream}, 8, {size[0]}, {size[1]}))")
    expected = coordinate_noise(seed, stream, 8, Window(0, 0, *size)).flatten().numpy()
    assert np.abs(found - expected).max() < 1e-6  # nearly all to the bit; logarithms far out round differently


def test_schedule_is_that_of_the_library(window):
    assert np.allclose(numbers(window, "Array.from(Sampler.alphasCumprod)"), cosine_alphas(), rtol=1e-6)
    for steps in (1, 7, 16, 30):
        assert numbers(window, f"Sampler.trailingTimesteps({steps})").tolist() == trailing_timesteps(steps)


@pytest.mark.parametrize("size", [(28, 28), (56, 56), (40, 70)])
def test_windows_are_those_of_the_plan(window, size):
    weights = "Array.from({length: 784}, (_, i) => w.weight(Math.floor(i / 28), i % 28))"
    found = numbers(window, f"Sampler.windows({size[0]}, {size[1]}, 28).map((w) => [w.top, w.left, ...{weights}])")
    expected = list(mixture(size, 28, torch.Generator()))
    assert [tuple(row[:2]) for row in found] == [(at.top, at.left) for at, _ in expected]
    assert np.allclose(found[:, 2:], np.stack([weight.flatten() for _, weight in expected]), atol=1e-6)


def test_steps_are_those_of_the_solver(window):
    solver, draw = make_solver("dpm-solver++", 6, cosine_alphas()), torch.Generator().manual_seed(0)
    z = mine = torch.randn(50, generator=draw, dtype=torch.float64)
    memory, before = None, torch.zeros(50)
    for level, step in enumerate(json.loads(window.page.evaluate("JSON.stringify(Sampler.dpmSolver(6))"))):
        eps = torch.randn(50, generator=draw, dtype=torch.float64)
        z, memory = solver.step(eps, z, level, memory=memory)
        clean = (mine - (1 - step["alpha"]) ** 0.5 * eps) / step["alpha"] ** 0.5
        mine = step["keep"] * mine + step["clean"][0] * clean + step["clean"][1] * before
        before = clean
        assert torch.allclose(mine, z, rtol=1e-5, atol=1e-6)


def test_conditions_are_those_of_the_library(window):
    found = numbers(window, "Array.from(Sampler.conditionMap([0, 1, 2, 3, 4, 5], 'squamous'))")
    assert found.tolist() == condition_map(torch.arange(6), "squamous").tolist()


@pytest.mark.parametrize("margin", [0, 4])
def test_labels_go_on_beyond_the_picture_as_in_the_library(window, margin):
    labels = torch.arange(25).view(5, 5)
    found = numbers(window, f"Array.from(Sampler.mirrored(Uint8Array.from({labels.flatten().tolist()}), 5, {margin}))")
    assert found.tolist() == mirrored(labels, margin).flatten().tolist()


def test_a_canvas_of_several_windows_is_that_of_the_library(window):
    """With arithmetic in the place of the network: noise, plan, guidance, gain and solver together."""

    class Arithmetic:
        prediction_type, gain = "v_prediction", 1.02

        def __call__(self, z, t, condition):
            return 0.3 * z + 0.01 * condition[:, None] * t[:, None, None, None] / 1000

    labels = torch.arange(56 * 40).view(56, 40) % 7 % 6
    labels[:30] = 0  # some windows without a label
    settings = {"rows": 56, "columns": 40, "channels": 4, "patch": 28, "gain": 1.02, "context": "normal", "seed": 3}
    found = window.page.evaluate(
        """async ([labels, settings]) => {
            const evaluate = async (z, t, c) => z.map((value, i) => 0.3 * value + (0.01 * c[i % c.length] * t) / 1000);
            let z;
            for await (const level of Sampler.sample(Uint8Array.from(labels), settings, evaluate)) z = level.z;
            return Array.from(z);
        }""",
        [labels.flatten().tolist(), settings | {"steps": 4, "omega": 0.5}],
    )
    denoiser = Denoiser(Arithmetic(), cosine_alphas(), omega=0.5)
    method = Method(28, mixture, solver="dpm-solver++", steps=4, seed=3)
    *_, level = sample(denoiser, condition_map(labels, "normal"), method, channels=4)
    expected = level.canvas.latents.flatten().numpy()
    assert np.abs(np.array(found) - expected).max() < 2e-3 * np.abs(expected).max()


def test_what_stands_beside_latents_is_that_of_the_library(window):
    """The draft with its noise and how much that is; the seed of a draft; no draft."""
    draft = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(0))
    shown = f"Float32Array.from({draft.flatten().tolist()})"
    found = numbers(window, f"Array.from(Sampler.underDraft({shown}, 5, 0.1, 20, 30))").reshape(4, 20, 30)
    noise = coordinate_noise(5 ^ BLURRING_NOISE, 0, 3, Window(0, 0, 20, 30))
    assert np.abs(found[:3] - (draft + 0.1 * noise).numpy()).max() < 1e-6
    assert np.allclose(found[3], 0.1)
    seed = window.page.evaluate("String(Sampler.draftSeed(5, 'squamous'))")
    assert int(seed) == 5 ^ DRAFT_NOISE ^ 2 << CONTEXT_BITS
    assert numbers(window, "Array.from(Sampler.noDraft(3, 2))").tolist() == [-1] * 8
    assert numbers(window, "Array.from(Sampler.everywhere([3, 4], 2))").tolist() == [3, 3, 4, 4]


def test_channels_beside_are_cut_with_the_windows(window):
    """A network that copies what stands beside its latents, in windows of a larger canvas."""
    found = window.page.evaluate(
        """async () => {
            const beside = Float32Array.from({ length: 56 * 28 }, (_, i) => i);
            const settings = {
                rows: 56, columns: 28, channels: 1, patch: 28, gain: 1, context: "normal", seed: 3, steps: 1, omega: 0,
                beside };
            const seen = [];
            const evaluate = async (z, t, c, w) => { seen.push([w.top, z.length, z[784]]); return z.slice(784); };
            for await (const level of Sampler.sample(new Uint8Array(56 * 28), settings, evaluate));
            return seen;
        }"""
    )
    assert found == [[top, 2 * 784, 28 * top] for top, *_ in found] and len(found) > 1


def test_appearances_are_those_of_the_first_seeds(two_stage_weights):
    drafting = load_draft(two_stage_weights)
    facts = DraftFacts.of(drafting)
    assert {len(codes) for codes in facts.codes.values()} == {APPEARANCES}
    expected = find_codes("3", 0, "squamous", drafting)[0]
    assert np.allclose(facts.codes["squamous"][3], expected, atol=10**-DIGITS)
    mean, spread = drafting.appearance.principal_axes("normal")
    assert np.allclose(facts.axes["normal"], torch.stack([mean, *spread[:2]]), atol=10**-DIGITS)


def paint(window, **settings):
    """Settings put in, one click, the words at the end."""
    for name, value in settings.items():
        window.page.evaluate(
            "([name, value]) => { const e = document.querySelector(`[data-part=${name}]`); e.value = value;"
            " e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); }",
            [name, value],
        )
    window.page.locator("[data-part=paint]").click()
    window.page.wait_for_function("!document.querySelector('[data-part=paint]').disabled", timeout=WAIT)
    return window.page.locator("[data-part=status]").inner_text()


def saved(window, name, folder):
    with window.page.expect_download() as download:
        window.page.locator(f"[data-part={name}]").click()
    download.value.save_as(folder / download.value.suggested_filename)
    return Image.open(folder / download.value.suggested_filename)


def check_picture(window, size, evaluations, tmp_path, weights=None, **draft):
    """What the page paints and PyTorch, with the same weights of eight bits and for the mask that the page saves."""
    words = paint(window, build="wasm", size=size, steps=2, omega=1, seed=5, context="squamous", **draft)
    assert words.startswith("Painted in")
    assert f" {evaluations} evaluations" in words
    image, mask = saved(window, "save", tmp_path), saved(window, "save-mask", tmp_path)
    assert image.info["Description"].startswith("Synthetic")
    made = json.loads(image.info["Comment"])
    assert made["seed"] == 5
    colours = np.array(LABEL_COLOURS)
    labels = (np.asarray(mask.convert("RGB"))[::8, ::8, None] == colours).all(-1).argmax(-1)
    drawn = made["draft_steps"]
    settings = {"solver": "dpm-solver++", "steps": 2, "draft_steps": drawn, "omega": 1, "seed": 5, "batch_size": 1}
    config = configure(None, settings, weights, (size, size))
    models = round_models(load_models(weights))
    stages = find_stages(models, config, "squamous", weights, "cpu")
    if drawn:
        stages[0] = replace(stages[0], network=round_weights(stages[0].network))
    denoisers = {stage.name: make_denoiser(stage, config, "cpu") for stage in stages}
    last = last_levels(sample_stages(stages, denoisers, condition_map(torch.from_numpy(labels), "squamous")))
    expected = picture(models.autoencoder, last[DETAIL].canvas.latents, config, stages[-1].margin).astype(int)
    apart = np.abs(np.asarray(image.convert("RGB")).astype(int) - expected)
    assert apart.max() <= 2
    assert apart.mean() < 0.1  # single precision: at the first level the clean latents are 20,000 times a difference


def test_the_picture_is_that_of_pytorch(window, tmp_path):
    check_picture(window, 224, 4, tmp_path, **{"draft-steps": 0})
    check_picture(window, 224, 8, tmp_path, **{"draft-steps": 2})


def test_a_model_with_a_margin_paints_the_picture_within_it(started, tmp_path):
    """Of 128 px with four latents more on all sides, in windows of 64 px: four a side; of 64 px, in a single one."""
    weights = tiny_model(tmp_path, borders="reflected", draft=True)
    (tmp_path / "graphs").mkdir()
    html = write_page(tmp_path / "graphs", export_graphs(tmp_path / "graphs", weights), tmp_path / "_assets", "_assets")
    assert "64 px: one window" in html and "128 px: 16 windows" in html
    (tmp_path / "paint.html").write_text(PAGE.format(html), "utf8")
    with window_of(started) as watch:
        watch.open(tmp_path / "paint.html")
        check_picture(watch, 64, 2 * (2 + 2), tmp_path, weights, **{"draft-steps": 2})
        check_picture(watch, 128, 2 * 16 * (2 + 2), tmp_path, weights, **{"draft-steps": 2})


def test_decoding_does_not_hold_up_a_run_that_needs_all_workers(window):
    """With guidance two workers are busy: the fifth and the tenth level are decoded, others when looked at."""
    window.page.evaluate(
        """() => {
            const post = Worker.prototype.postMessage;
            window.decoded = 0;
            Worker.prototype.postMessage = function (message) {
                window.decoded += message.task === "decode";
                return post.call(this, message);
            };
        }"""
    )
    assert paint(window, size=224, steps=10, omega=1).startswith("Painted in")
    assert window.page.evaluate("decoded") == 2
    window.page.locator("[data-part=level]").press("ArrowLeft")
    window.page.wait_for_function(
        "document.querySelector('[data-part=tissue]').ariaLabel.endsWith('level 9 of 10')", timeout=WAIT
    )
    assert window.page.evaluate("decoded") == 3


def test_cancel_stops_and_the_next_run_works(window):
    window.page.evaluate("document.querySelector('[data-part=steps]').value = 30")
    window.page.locator("[data-part=paint]").click()
    window.page.wait_for_function(
        "document.querySelector('[data-part=status]').textContent.includes('evel 2')", timeout=WAIT
    )
    window.page.locator("[data-part=cancel]").click()
    window.page.wait_for_function(
        "document.querySelector('[data-part=status]').textContent === 'Cancelled.'", timeout=WAIT
    )
    assert 1 <= int(window.page.locator("[data-part=level]").get_attribute("max")) + 1 < 6
    assert paint(window, size=224, steps=2, omega=0).startswith("Painted in")
    level = window.page.locator("[data-part=level]")
    level.press("ArrowLeft")  # look back
    window.page.wait_for_function(
        "document.querySelector('[data-part=tissue]').getAttribute('aria-label').endsWith('level 1 of 2')", timeout=WAIT
    )
    assert "1 of 2 steps left" in window.page.locator("[data-part=time]").get_attribute("aria-label")


def test_a_mask_is_drawn_with_mouse_and_keys(window):
    mask = window.page.locator("[data-part=mask]")
    window.page.locator("[data-part=clear]").click()
    assert mask.get_attribute("aria-label") == "Mask: unknown 100 %"
    window.page.get_by_label("stroma").check()
    box = mask.bounding_box()
    window.page.mouse.move(box["x"] + 20, box["y"] + 20)
    window.page.mouse.down()
    window.page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 20)
    window.page.mouse.up()
    drawn = mask.get_attribute("aria-label")
    assert "stroma 1" in drawn  # a line of four cells of 28 is some 13 %
    window.page.locator("[data-part=undo]").click()
    assert mask.get_attribute("aria-label") == "Mask: unknown 100 %"
    window.page.locator("[data-part=redo]").click()
    assert mask.get_attribute("aria-label") == drawn
    mask.press("z")
    mask.press("1")
    for _ in range(3):
        mask.press("Shift+ArrowRight")
    assert "carcinoma" in mask.get_attribute("aria-label")
    for _ in range(3):
        mask.press("z")
    mask.press("5")
    mask.press("Space")
    assert "air" in mask.get_attribute("aria-label")
    mask.press("0")
    mask.press("Space")
    assert mask.get_attribute("aria-label") == "Mask: unknown 100 %"
    assert window.outside == []
