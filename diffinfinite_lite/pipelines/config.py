"""How to sample: every setting with its default, its help text and its check, in one place.

`SamplingConfig` is what `generate`, `generate_slide`, `resynthesise` and `inpaint` are told, what ``run.json`` records,
what the command line offers and what the workbench shows. All of these read its fields, so that a setting is added here
and nowhere else:

    field of SamplingConfig -> signatures (`takes_settings`), configure, to_run and from_run,
                               options of the command line (`cli`), controls of the workbench (`widgets.controls`)

What is no property of the sample, such as the device, and what names files, such as the folder of a model, is a
parameter of the functions.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self, TypeVar, get_type_hints

import numpy as np

from ..devices import PRECISIONS, free_memory
from ..labels import CELL_PX, FIVE_CODES, LABELS, are_five_codes, from_five_codes
from ..models.pretrained import has_draft, sampled_margin, student_steps, trained_patch
from ..sampling.denoiser import CONDITIONINGS
from ..sampling.plans import PLANS, TRAITS, find_plan
from ..sampling.solvers import SOLVERS
from ..sampling.windows import Plan
from .appearance import is_appearance, to_text
from .margin import enlarged
from .masks import KINDS

Function = TypeVar("Function", bound=Callable[..., Any])
STRIDED = tuple(name for name, traits in TRAITS.items() if traits.stride is not None)
SMALLEST = 64  # px, side of a picture
LARGEST_PATCH = 8192  # px, side of a window: 36 times that of training, far beyond what memory takes
BEST, FAST = "best", "fast"
BY_STUDENTS = ("solver", "steps", "eta", "omega")  # settings that a model's students decide
DRAFT_STEPS = 40  # of a model with a draft, where nothing else is asked for
MPP_RANGE = (0.01, 100)  # um/px that a microscope can have, with a wide margin
# Keys of run.json that had another name once.
RENAMED = {"sampler": "plan", "scheduler": "cluster"}
# Settings that run.json has held from its first version on; of all others an old run has the default.
ALWAYS_RECORDED = ("plan", "patch", "solver", "steps", "eta", "omega", "conditioning", "precision", "seed")


def setting(
    default: Any,
    help: str,
    *,
    choices: Collection[str] = (),
    check: tuple[str, Callable[[Any], bool]] | None = None,
    flag: str | None = None,
    control: Mapping[str, Any] | None = None,
) -> Any:
    """A field of `SamplingConfig`.

    Parameters
    ----------
    default : what the setting is where nobody sets it; a field whose default is None may always be None
    help : one sentence for the command line and the documentation
    choices : all values that it can have, where these have names; a registry, whose entries may still grow
    check : what a value is expected to be, in words, and whether a value is that
    flag : name on the command line, where it is not that of the field
    control : hints for the workbench: ``label``, ``span`` (lowest, highest, step) for a slider, ``values`` for a menu;
        ``{"hidden": True}`` for what changes only how fast a picture is made; ``{"needs": "draft"}`` or "students" for
        what a model without these has no use for
    """
    details = {"help": help, "choices": choices, "check": check, "flag": flag, "control": control or {}}
    return field(default=default, metadata=details)


def _whole(low: int, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high


def _number(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Real) and math.isfinite(value) and low <= float(value) <= high


def _cells(smallest: int) -> tuple[str, Callable[[Any], bool]]:
    def fits(value: Any) -> bool:
        return _whole(smallest, LARGEST_PATCH)(value) and value % CELL_PX == 0

    return f"a multiple of {CELL_PX} px from {smallest} to {LARGEST_PATCH}", fits


@dataclass(frozen=True)
class SamplingConfig:
    """All settings of a sample; wrong ones are refused with a ValueError that says what was expected."""

    plan: str = setting(
        "mixture",
        "Where windows lie: mixture paints the best tissue, random-patch is the paper's.",
        choices=PLANS,
    )
    patch: int | None = setting(
        None,
        "Side of a window in px; by default that of training, and one window for a picture no larger than that.",
        check=_cells(4 * CELL_PX),
        control={"label": "window, px", "values": (64, 128, 224)},
    )
    stride: int | None = setting(
        None,
        f"px between windows of {', '.join(STRIDED)}; each has a default of its own.",
        check=_cells(CELL_PX),
        control={"label": "stride, px", "values": (32, 64, 112, 168)},
    )
    quality: str = setting(
        BEST,
        "best, or fast: the model's students paint each stage in 4 steps, whatever is said of steps, solver and "
        "guidance.",
        choices=(BEST, FAST),
        control={"needs": "students"},
    )
    solver: str = setting("dpm-solver++", "How a noise level follows from the one before.", choices=SOLVERS)
    steps: int = setting(
        20,
        "Noise levels, each of which asks the network once.",
        check=("a whole number from 1 to 1000", _whole(1, 1000)),
        control={"span": (2, 50, 1)},
    )
    eta: float | None = setting(
        None,
        "Share of fresh noise at each level, 0 to 1, of the solver ddim; by default 1 in a draft and 0 in the picture.",
        check=("a number from 0 to 1", _number(0, 1)),
        control={"label": "eta of ddim", "values": (0.0, 0.5, 1.0)},
    )
    omega: float = setting(
        0.0,
        "Guidance of eq. 2; 0 uses the conditional model alone.",
        check=("a number of at least 0", _number(0)),
        control={"label": "guidance ω", "span": (0.0, 4.0, 0.25)},
    )
    conditioning: str = setting(
        "dense",
        "One pass of the network for all labels of a window, or one for each label as in the paper.",
        choices=CONDITIONINGS,
    )
    draft_steps: int | None = setting(
        None,
        "Noise levels of the draft; by default 40 where the model has a draft, and 0 for the paper's single stage.",
        check=("a whole number from 0 to 1000", _whole(0, 1000)),
        control={"needs": "draft", "label": "steps of the draft", "values": (0, 20, 40)},
    )
    draft_noise: float = setting(
        0.1,
        "Noise on the draft that detail is painted under, as standard deviation: with more it follows less closely.",
        check=("a number from 0 to 0.5", _number(0, 0.5)),
        control={"needs": "draft", "label": "noise on the draft", "span": (0.0, 0.5, 0.05)},
    )
    appearance: str | None = setting(
        None,
        "Light and stain of the draft: a seed (that of the picture by default), 16 numbers with commas, a picture to "
        "imitate, or two of these with ' to ' between them, from left to right.",
        check=("a seed, 16 numbers, a picture, or two of these with ' to ' between them", is_appearance),
        control={"needs": "draft", "values": ("0", "1", "2", "3", "0 to 1")},
    )
    masks: str = setting(
        KINDS[0],
        "What draws a mask where none is given: the mask model, or a simulated layout of the context.",
        choices=KINDS,
    )
    precision: str = setting(
        "fp32",
        "Number format of the networks' products; the shorter ones where the hardware is faster at them.",
        choices=tuple(PRECISIONS),
    )
    compiled: bool = setting(
        False,
        "Spend a minute or more on torch.compile first, which pays on a GPU and for much tissue.",
        check=("true or false", lambda value: isinstance(value, bool)),
        flag="compile",
        control={"hidden": True},
    )
    batch_size: int | None = setting(
        None,
        "Windows in one pass of the network; by default what memory holds.",
        check=("a whole number from 1", _whole(1, math.inf)),
        control={"hidden": True},
    )
    seed: int = setting(
        0,
        "Same seed, same picture.",
        check=("a whole number from 0 to 2**64 - 1", _whole(0, 2**64 - 1)),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "appearance", to_text(self.appearance))
        for spec in fields(self):
            _check_field(spec, getattr(self, spec.name))
        if self.eta is not None and self.solver != "ddim":
            raise ValueError(f"expected the solver ddim for an eta, got {self.solver!r} and eta {self.eta}")
        if self.stride is not None and self.patch is not None and self.stride > self.patch:
            raise ValueError(f"expected a stride up to the patch of {self.patch} px, got {self.stride}")
        if self.draft_steps == 0 and self.appearance is not None:
            raise ValueError(f"expected steps of the draft for an appearance, got none and {self.appearance!r}")
        self.find_plan()

    @property
    def window(self) -> int:
        """Side of a window in latent pixels; the patch has to be known, see `configure`."""
        if self.patch is None:
            raise ValueError("expected a patch in px, got None: configure() fills in that of training")
        return self.patch // CELL_PX

    def find_plan(self) -> Plan:
        """The plan itself, with its stride in latent pixels; a ValueError refuses a stride for a plan without one."""
        return find_plan(self.plan, self.stride and self.stride // CELL_PX)

    def to_run(self) -> dict[str, Any]:
        """The settings as ``run.json`` holds them."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}

    @classmethod
    def from_run(cls, run: Mapping[str, Any]) -> Self:
        """The settings that a ``run.json`` was made with, also of earlier versions.

        These called the plan ``sampler`` and had no stride, torch.compile or recorded batch size, each of which has the
        default that means the same; nor had they a draft, so that they have no steps of one.

        Raises
        ------
        ValueError
            If it is no run of this library, or one with autoguidance, which earlier versions had.
        """
        if guidance := run.get("autoguidance"):
            raise ValueError(f"expected a run without autoguidance, which this version no longer has, got {guidance}")
        run = {"draft_steps": 0} | rename_keys(run)
        missing = [name for name in ALWAYS_RECORDED if name not in run]
        if missing:
            raise ValueError(f"expected a run.json with {', '.join(ALWAYS_RECORDED)} in it, found no {missing[0]}")
        return cls(**{spec.name: run[spec.name] for spec in fields(cls) if spec.name in run})


def _check_field(spec: Field, value: Any) -> None:
    """Refuse a value that is not what its field expects."""
    choices, check = spec.metadata.get("choices"), spec.metadata.get("check")
    if value is None and spec.default is None:
        return
    if choices and value not in choices:
        raise ValueError(f"expected {spec.name} to be one of {', '.join(choices)}, got {value!r}")
    if check and not check[1](value):
        raise ValueError(f"expected {spec.name} to be {check[0]}, got {value!r}")


def _describe_fields(config: type) -> str:
    """The fields of a configuration as a section of its docstring."""
    lines = []
    for spec in fields(config):
        choices = spec.metadata.get("choices")
        values = f" One of {', '.join(choices)}." if choices else ""
        lines.append(f"    {spec.name} : {spec.metadata['help']}{values}")
    return "\n\n    Attributes\n    ----------\n" + "\n".join(lines) + "\n    "


SamplingConfig.__doc__ = (SamplingConfig.__doc__ or "") + _describe_fields(SamplingConfig)


def rename_keys(run: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run.json`` holds under today's names.

    >>> rename_keys({"sampler": "mixture", "seed": 3})
    {'plan': 'mixture', 'seed': 3}
    """
    return {RENAMED.get(key, key): value for key, value in run.items()}


def in_six_codes(run: Mapping[str, Any], mask: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """A run and its mask in today's labels, with a warning where they were of the time before air had one.

    A network paints exactly the same under both (`models.five_codes`), so that such a run can be repeated and edited.

    Parameters
    ----------
    run : what ``run.json`` holds; its ``labels`` say which code it is of
    mask : uint8 (H, W), labels

    >>> run, mask = in_six_codes({"seed": 3}, np.array([[4]], np.uint8))
    >>> run, mask.tolist()
    ({'seed': 3}, [[4]])
    """
    context = run.get("context")
    if not are_five_codes(run.get("labels")) or mask.max() >= FIVE_CODES:
        return dict(run), mask
    walls = ", its stroma as others" if context == "normal" else ""
    warnings.warn(
        f"this picture was painted when air had no label: its others are read as air{walls}; do the same in a mask of "
        "that time before you change it",
        stacklevel=3,
    )
    mask = from_five_codes(mask, context)
    shares = {name: round(float((mask == label).mean()), 4) for label, name in enumerate(LABELS)}
    return {**run, "labels": shares}, mask


def usual_patch(weights: str | Path | None = None, size: tuple[int, int] | None = None) -> int:
    """Side in px of the windows where nobody names one: that of training.

    A picture no larger than that is one window, its sampled margin included, since four of them would paint the same
    at nearly twice the cost (docs/adr/0025).

    Parameters
    ----------
    weights : folder of the model
    size : (H, W) of the picture in px, where there is one
    """
    patch = trained_patch(weights)
    if size is None or max(size) > patch:
        return patch
    canvas, step = max(enlarged(size, sampled_margin(weights))), 4 * CELL_PX  # networks halve a window twice
    return max(patch, -(-canvas // step) * step)


def configure(
    config: SamplingConfig | None,
    overrides: Mapping[str, Any],
    weights: str | Path | None = None,
    size: tuple[int, int] | None = None,
) -> SamplingConfig:
    """The settings of a run: those given, or the defaults, with single ones replaced and what the model says filled in.

    Parameters
    ----------
    config : settings to start from
    overrides : single settings by name
    weights : folder of the model, whose training patch is the default of ``patch``, which has a draft or none, and
        whose students say in how many steps they paint
    size : (H, W) of the picture in px, see `usual_patch`

    Raises
    ------
    TypeError
        If there is no setting of such a name.
    ValueError
        If a setting is refused, or the model lacks a stage or the students that are asked for.
    """
    config = SamplingConfig() if config is None else config
    names = [spec.name for spec in fields(config)]
    for name in overrides:
        if name not in names:
            raise TypeError(f"expected settings among {', '.join(names)}, got {name!r}")
    config = replace(config, **overrides)
    if config.patch is None:
        config = replace(config, patch=usual_patch(weights, size))
    if config.draft_steps is None:
        if config.appearance is not None and not has_draft(weights):
            raise ValueError(f"expected a model with a draft for the appearance {config.appearance!r}, got one without")
        config = replace(config, draft_steps=DRAFT_STEPS if has_draft(weights) else 0)
    if config.quality == BEST:
        return config
    steps = student_steps(weights)
    drafted = steps if config.draft_steps else 0
    # what they have learnt, so that a run says what was done
    return replace(config, solver="ddim", steps=steps, draft_steps=drafted, eta=0.0, omega=0.0)


def takes_settings(function: Function, config: type[SamplingConfig] = SamplingConfig) -> Function:
    """The function with a signature that names every setting in place of its ``**overrides``.

    >>> list(inspect.signature(takes_settings(lambda mask, **overrides: None)).parameters)[:4]
    ['mask', 'plan', 'patch', 'stride']
    """
    own = inspect.signature(function)
    types = get_type_hints(config)
    named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = [
        inspect.Parameter(spec.name, inspect.Parameter.KEYWORD_ONLY, default=spec.default, annotation=types[spec.name])
        for spec in fields(config)
    ]
    signature = own.replace(parameters=named + settings)
    function.__signature__ = signature  # type: ignore[attr-defined]  # what inspect reads first; few callables have it
    return function


def check_mpp(mpp: float) -> float:
    """Micrometres per pixel, refused with a ValueError where no microscope has them.

    >>> check_mpp(0.5)
    0.5
    """
    low, high = MPP_RANGE
    if not low <= mpp <= high:  # not a number is refused as well
        raise ValueError(f"expected {low:g} to {high:g} micrometres per pixel, got {mpp:g}")
    return mpp


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size in px, refused with a ValueError where latents cannot have it."""
    if len(size) != 2 or any(side % CELL_PX or side < SMALLEST for side in size):
        raise ValueError(
            f"expected a height and width in multiples of {CELL_PX} px from {SMALLEST}, got {'x'.join(map(str, size))}"
        )
    height, width = size
    return height, width


def check_mask(mask: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The mask as uint8 (H, W), refused with a ValueError where it is none, or not of the size given."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f"expected a mask of whole-number labels (H, W), got shape {mask.shape} of {mask.dtype}")
    if mask.min() < 0 or mask.max() >= len(LABELS):
        raise ValueError(f"expected labels 0 to {len(LABELS) - 1} in the mask, got {mask.min()} to {mask.max()}")
    if size is not None and tuple(size) != mask.shape:
        raise ValueError(f"expected a mask of the size {size[0]}x{size[1]}, got {mask.shape[0]}x{mask.shape[1]}")
    check_size(mask.shape)
    return mask.astype(np.uint8)


def check_memory(size: tuple[int, int], per_pixel: int, instead: str) -> None:
    """Refuse a picture that needs more memory than there is, before any work.

    Parameters
    ----------
    size : (H, W) in px
    per_pixel : bytes of memory for each px
    instead : what to do about it

    Raises
    ------
    ValueError
        If there is less; where the system does not say how much there is, nothing is refused.
    """
    needed, free = size[0] * size[1] * per_pixel, free_memory()
    if free is not None and needed > free:
        what = f"expected about {needed / 1e9:.1f} GB of memory for {size[0]} x {size[1]} px"
        raise ValueError(f"{what}, got {max(free, 0) / 1e9:.1f} GB that are free: {instead}")


def check_content(
    context: str | None, mask: np.ndarray | None, size: tuple[int, int] | None
) -> tuple[np.ndarray | None, tuple[int, int]]:
    """What is to be painted: the mask if there is one, and the size, 1024 x 1024 px if nothing says another.

    Raises
    ------
    ValueError
        If there is neither a context nor a mask, or one of them cannot be used.
    """
    if mask is not None:
        mask = check_mask(mask, size)
        return mask, mask.shape
    if context is None:
        raise ValueError("expected a context or a mask, got neither")
    return None, check_size(size or (1024, 1024))
