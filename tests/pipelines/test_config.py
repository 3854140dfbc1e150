"""The settings of a sample: a field is seen everywhere, wrong values are refused, runs of earlier versions are read."""

import inspect
import json
import re
import subprocess
import sys
from dataclasses import MISSING, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from typer.testing import CliRunner

import diffinfinite_lite
from diffinfinite_lite import Pair, SamplingConfig, generate, generate_slide, inpaint, resynthesise
from diffinfinite_lite.cli import SAMPLING, sampling_app
from diffinfinite_lite.evaluation.inputs import read_run
from diffinfinite_lite.models import pretrained
from diffinfinite_lite.pipelines import config as config_module
from diffinfinite_lite.pipelines.config import ALWAYS_RECORDED, configure, rename_keys, setting, takes_settings
from diffinfinite_lite.sampling.plans import PLANS, mixture
from diffinfinite_lite.sampling.solvers import SOLVERS
from tests.toys import Averages, tiny_model

GOLDEN_RUN = Path(__file__).parents[1] / "golden" / "run.json"  # of the version that called the plan a sampler


@dataclass(frozen=True)
class Extended(SamplingConfig):
    """A copy with one setting more."""

    humour: str = setting("dry", "How funny the tissue is.", choices=("dry", "black"))


class Network(nn.Module):
    prediction_type = "epsilon"

    def forward(self, z, t, mask):
        return 0.5 * z


@pytest.fixture
def stub_models(monkeypatch, tiny_weights):
    monkeypatch.setattr(pretrained, "WEIGHTS", tiny_weights)  # of one stage, whatever is shipped
    models = pretrained.Models(Averages(), Network(), nn.Identity())
    monkeypatch.setattr(pretrained, "load_models", lambda weights=None, device="cpu": models)


def help_of(command, config=None):
    result = CliRunner().invoke(sampling_app(command, config), ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


def test_a_field_more_is_seen_in_the_signature():
    def paint(mask, **overrides):
        """Paint."""

    parameters = inspect.signature(takes_settings(paint, Extended)).parameters
    assert parameters["humour"].default == "dry" and parameters["humour"].annotation is str
    assert parameters["stride"].annotation == int | None


@pytest.mark.parametrize("command", SAMPLING)
def test_a_field_more_is_an_option_with_its_help(command):
    text = " ".join(help_of(command, Extended).replace("│", " ").split())
    assert "--humour" in text and "How funny the tissue is. One of dry, black." in text
    assert "--humour" not in help_of(command)


def test_a_field_more_is_written_to_run_json_and_read_again(stub_models):
    mask = np.ones((64, 64), np.uint8)
    run = generate(mask=mask, config=Extended(steps=1), humour="black", seed=5, device="cpu").run
    assert (run["humour"], run["seed"], run["steps"]) == ("black", 5, 1)
    assert Extended.from_run(run).humour == "black"
    assert Extended.from_run({key: run[key] for key in run if key != "humour"}).humour == "dry"
    assert SamplingConfig.from_run(run) == SamplingConfig(steps=1, seed=5, patch=run["patch"], draft_steps=0)


def test_a_field_more_has_a_control_in_the_workbench():
    from diffinfinite_lite.widgets.controls import control, read, shown_fields

    config = Extended(humour="black", steps=7, stride=40)
    drawn = {field.name: control(field, getattr(config, field.name)) for field in shown_fields(config)}
    assert drawn["humour"]["options"] == ["dry", "black"] and drawn["humour"]["help"] == "How funny the tissue is."
    assert [drawn[name]["kind"] for name in ("humour", "steps", "stride", "seed")] == ["menu", "slider", "menu", "box"]
    hidden = {"compiled", "batch_size"}  # these change what a picture costs and not what it shows
    assert drawn.keys() == {field.name for field in fields(Extended)} - hidden
    assert Extended(**{name: read(name, shown["value"], Extended) for name, shown in drawn.items()}) == config


@pytest.mark.parametrize("function", [generate, generate_slide, resynthesise, inpaint])
def test_functions_and_commands_take_every_setting_under_one_name(function):
    parameters = inspect.signature(function).parameters
    for field in fields(SamplingConfig):
        assert parameters[field.name].default == field.default
    commands = {"generate": "sample", "generate_slide": "slide", "resynthesise": "edit", "inpaint": "inpaint"}
    options = help_of(commands[function.__name__])
    for field in fields(SamplingConfig):
        assert f"--{(field.metadata['flag'] or field.name).replace('_', '-')} " in options
    own = {"config", "known", "progress", "pair", "run", "image", "keep"}  # objects on one side, files on the other
    for name in parameters.keys() - own - {field.name for field in fields(SamplingConfig)}:
        assert f"--{name} " in options, name


def test_every_field_says_what_it_is():
    for field in fields(SamplingConfig):
        assert field.metadata["help"].endswith(".") and field.default is not MISSING
        assert field.metadata["choices"] or field.metadata["check"]
        assert f"{field.name} : {field.metadata['help']}" in SamplingConfig.__doc__


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"plan": "quilt"}, f"expected plan to be one of {', '.join(PLANS)}, got 'quilt'"),
        ({"solver": "magic"}, f"expected solver to be one of {re.escape(', '.join(SOLVERS))}, got 'magic'"),
        ({"steps": 2.5}, "expected steps to be a whole number from 1 to 1000, got 2.5"),
        ({"steps": True}, "got True"),
        ({"eta": 1.5}, "expected eta to be a number from 0 to 1, got 1.5"),
        ({"eta": 0.5, "solver": "ddpm"}, "expected the solver ddim for an eta, got 'ddpm' and eta 0.5"),
        ({"omega": float("inf")}, "omega to be a number of at least 0, got inf"),
        ({"compiled": "yes"}, "compiled to be true or false, got 'yes'"),
        ({"batch_size": 0}, "batch_size to be a whole number from 1, got 0"),
        ({"seed": -1}, r"seed to be a whole number from 0 to 2\*\*64 - 1, got -1"),
        ({"seed": None}, "got None"),
        ({"patch": 24}, "patch to be a multiple of 8 px from 32 to 8192, got 24"),
        ({"patch": 64, "stride": 72}, "expected a stride up to the patch of 64 px, got 72"),
        ({"plan": "torus-grid", "stride": 64}, "for a stride, got 'torus-grid'"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        SamplingConfig(**settings)
    assert "\n" not in str(caught.value)


def test_single_settings_override_a_configuration_and_the_patch_is_that_of_training():
    base = SamplingConfig(steps=7, omega=1.0)
    config = configure(base, {"omega": 2.0})
    assert (config.steps, config.omega, config.patch, config.window) == (7, 2.0, 224, 28)
    assert base.omega == 1.0 and base.patch is None
    with pytest.raises(ValueError, match="expected a patch in px, got None"):
        _ = base.window
    with pytest.raises(TypeError, match=r"expected settings among plan, .*, got 'sampler'"):
        configure(None, {"sampler": "mixture"})


@pytest.mark.parametrize(
    ("size", "patch"),
    [(None, 64), ((64, 64), 128), ((64, 32), 128), ((32, 32), 96), ((40, 64), 128), ((40, 40), 128), ((72, 64), 64)],
)
def test_a_picture_no_larger_than_a_window_is_one_with_its_margin(tmp_path, size, patch):
    """Of a model that was trained on 64 px and samples 32 px around a picture, in whole steps of 32 px."""
    weights = tiny_model(tmp_path, borders="reflected")
    assert configure(None, {}, weights, size).patch == patch
    assert configure(None, {"patch": 64}, weights, size).patch == 64, "what is asked for stays"
    without = tiny_model(tmp_path)
    assert configure(None, {}, without, size).patch == 64, "without a margin a window is one of training"


def test_the_plan_has_its_stride_in_latent_pixels():
    assert SamplingConfig().find_plan() is mixture
    plan = SamplingConfig(stride=64).find_plan()
    assert isinstance(plan, partial) and plan.keywords == {"stride": 8}


def test_runs_of_earlier_versions_are_read():
    run = json.loads(GOLDEN_RUN.read_text())
    assert "sampler" in run and "plan" not in run
    config = SamplingConfig.from_run(run)
    assert config == SamplingConfig(plan="mixture", solver="ddim", steps=4, omega=1.0, seed=7, patch=64, draft_steps=0)
    first = {key: value for key, value in run.items() if key not in ("stride", "compiled")}
    assert SamplingConfig.from_run(first) == config
    assert SamplingConfig.from_run(config.to_run()) == config
    assert rename_keys({"scheduler": "tcp://a:1", "solver": "ddim"}) == {"cluster": "tcp://a:1", "solver": "ddim"}
    for name in ALWAYS_RECORDED:
        with pytest.raises(ValueError, match=f"expected a run.json with .* in it, found no {name}"):
            SamplingConfig.from_run({key: value for key, value in rename_keys(run).items() if key != name})


def test_a_run_with_autoguidance_cannot_be_made_again():
    run = json.loads(GOLDEN_RUN.read_text())
    assert run["autoguidance"] == 0, "which is read"
    message = r"^expected a run without autoguidance, which this version no longer has, got 0\.75$"
    with pytest.raises(ValueError, match=message):
        SamplingConfig.from_run(run | {"autoguidance": 0.75})


def test_results_of_earlier_versions_are_read_under_the_names_of_today(tmp_path):
    run = json.loads(GOLDEN_RUN.read_text())
    image = np.zeros((*run["size"], 3), np.uint8)
    Pair(image, image[..., 0], [], run, np.zeros((8, 14, 21), np.float32)).save(tmp_path)
    assert "sampler" in json.loads((tmp_path / "run.json").read_text())
    for pair in (Pair.read(tmp_path), read_run(tmp_path / "run.json")):
        assert pair.run["plan"] == "mixture" and "sampler" not in pair.run


def test_defaults_are_those_of_runs_that_do_not_record_them():
    """A run that lacks a setting was made before the setting came; its default has to mean what was done then."""
    new = {field.name: field.default for field in fields(SamplingConfig) if field.name not in ALWAYS_RECORDED}
    without_effect = {"draft_noise": 0.1, "appearance": None, "masks": "model"}  # without a draft, and in runs of then
    assert new.pop("draft_steps") is None and new.items() >= without_effect.items()
    expected = {"quality": "best", "stride": None, "compiled": False, "batch_size": None}
    assert new == expected | without_effect
    earlier = {name: value for name, value in SamplingConfig().to_run().items() if name in ALWAYS_RECORDED}
    assert SamplingConfig.from_run(earlier).draft_steps == 0


def test_public_names_are_listed_and_come_when_they_are_used():
    assert set(diffinfinite_lite.__all__) <= set(dir(diffinfinite_lite))
    for name in diffinfinite_lite.__all__:
        assert getattr(diffinfinite_lite, name) is not None
    assert diffinfinite_lite.SamplingConfig is config_module.SamplingConfig
    with pytest.raises(AttributeError, match="no attribute 'sample'"):
        _ = diffinfinite_lite.sample


def test_inference_imports_no_training():
    program = (
        "import sys; from diffinfinite_lite.pipelines import edit, generate, slide; "
        "print([m for m in sys.modules if m.startswith('diffinfinite_lite.training') or m == 'accelerate'])"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_and_version_need_no_torch():
    program = (
        "import sys; from typer.testing import CliRunner; from diffinfinite_lite.cli import app; "
        "results = [CliRunner().invoke(app, [word]) for word in ('--help', '--version')]; "
        "print([result.exit_code for result in results], 'torch' in sys.modules, results[1].output)"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == f"[0, 0] False {diffinfinite_lite.__version__}"
