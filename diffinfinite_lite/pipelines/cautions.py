"""When a result is likely to be bad: what was measured, as sentences that are said before the work and recorded.

Nothing here refuses anything. Three kinds of finding were measured (the cases 22 and 08 of `docs/reliability.md`), each
a table with the figure behind its sentence, all with the shipped model:

- labels that the model hardly knows under a context (`benchmarks/labels.py`). They came from too few pictures, or none;
- guidance so strong that nuclei and stroma become blots: flat patches in colours that stained tissue does not have.
  `benchmarks/guidance.py` painted 12 tiles of 224 px, four a context, in 20 steps of ddim at each ω of eq. 2, and
  counted pixels whose colour (16 levels a channel) no pixel of half of the held-out real tiles has. The other half of
  the real tiles have 0.02 % of them, and the worst of these tiles 0.56 %. At ω = 4 the worst painted tile still has
  less (0.31 %), at ω = 6 more (1.01 %). So the bound is 6; between 4 and 6 nothing was measured;
- plans whose windows leave a lattice on a canvas that is larger than a window.

A finding about the model holds for the shipped one alone, and is not said of another. One thing follows from a file and
is said of any: a network that learnt five labels paints other tissue as air (`models.five_codes`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..labels import LABELS, PROMPTS
from ..models.pretrained import WEIGHTS, has_air, model_folder, sampled_margin
from ..sampling.inpainting import Known
from .config import SamplingConfig
from .margin import enlarged


class Caution(UserWarning):
    """A sentence on a result that is likely to be bad, which can be shown as it is."""


# Labels under a context, of pictures that are all of one: those that look like another one (`benchmarks/labels.py`,
# under 10 grey levels; carcinoma and unknown may), and necrosis where no picture of it was learnt.
UNKNOWN_LABELS = {
    ("adenocarcinoma", "necrosis"): "learnt none and paints a haze with few nuclei",
    ("normal", "carcinoma"): "paints it like necrosis (5.7 grey levels apart, air and others 40.8)",
    (
        "normal",
        "necrosis",
    ): "never learnt any, and paints it like carcinoma (5.7 grey levels apart, air and others 40.8)",
}
NO_CONTEXT = (
    "without a context the model hardly follows labels: pictures of two labels are 5.9 to 14.4 grey levels apart, "
    "under a context up to 55.9"
)
# By ω of the guidance: share of pixels in colours that real tiles do not have, and of pixels with a channel at 0.
BLOTS = {
    6.0: (0.0025, 0.0026),
    10.0: (0.0149, 0.0118),
}
REAL = (0.0002, 0.0)  # of real tiles
# How much larger the steps between pixels are at the lines where windows met than elsewhere: `Seams` of the report.
LATTICES = {
    "sliding-window": "4.4 to 4.9 times",
    "multidiffusion": "1.5 to 1.7 times",
}


def find_cautions(
    context: str | None,
    size: tuple[int, int],
    config: SamplingConfig,
    shares: Sequence[float],
    weights: str | Path | None = None,
) -> list[str]:
    """Sentences on what is known to come out badly with these arguments; mostly none.

    Parameters
    ----------
    size : (H, W) in px
    config : with its patch
    shares : of each label in the mask
    weights : folder of the model

    >>> find_cautions("squamous", (512, 512), SamplingConfig(patch=224), [0, 0.5, 0.5, 0, 0, 0])
    []
    """
    found = []
    if model_folder(weights).resolve() == WEIGHTS.resolve():
        if context in (None, PROMPTS[0]) and any(shares[1:]):
            found.append(NO_CONTEXT)
        for label, share in zip(LABELS, shares, strict=True):
            if share and (does := UNKNOWN_LABELS.get((context, label))):
                found.append(f"the model hardly knows {label} under the context {context}: there it {does}")
        if measured := [omega for omega in BLOTS if omega <= config.omega]:
            foreign, black = BLOTS[measured[-1]]
            found.append(
                f"guidance of ω {config.omega:g} paints blots: at ω {measured[-1]:g}, {foreign:.1%} of the pixels have "
                f"colours that real tiles do not have (of these {REAL[0]:.2%}), and in {black:.1%} a channel is at 0 "
                f"(of these {REAL[1]:.0%}); up to ω 4 no tile was worse than the worst real one"
            )
    if (steps := LATTICES.get(config.plan)) and config.patch is not None:
        canvas = enlarged(size, sampled_margin(weights))
        if max(canvas) > config.patch:
            found.append(
                f"the plan {config.plan} leaves a lattice where its windows meet, on a canvas larger than one of them: "
                f"steps between pixels are {steps} those elsewhere; mixture, random-patch and diffcollage leave none"
            )
    if shares[LABELS.index("others")] and context != "normal" and not has_air(weights):
        found.append("the model learnt others and air as one label: it paints others as air, except in normal lung")
    return found


def find_copies(known: Mapping[str, Known] | None) -> list[str]:
    """A sentence where tissue is painted under the draft of another picture: whoever knows that one will recognise it.

    Parameters
    ----------
    known : latents to keep by stage, see `stages`; those of a later stage stand under a draft of their own

    >>> import torch
    >>> everywhere = torch.ones(8, 8, dtype=torch.bool)
    >>> len(find_copies({"draft": Known(torch.zeros(3, 8, 8), everywhere)}))
    1
    """
    if not known or "draft" not in known:
        return []
    painted = known["draft"].keep
    if "detail" in known:
        painted = painted & ~known["detail"].keep
    if not painted.any():
        return []
    share = float(painted.float().mean())
    return [f"{share:.0%} is painted under the draft of a given picture: a copy of it, not to be counted as synthetic"]


def say(sentences: list[str]) -> list[str]:
    """Warn of each, and give them back for the record."""
    for sentence in sentences:
        warnings.warn(sentence, Caution, stacklevel=3)
    return sentences
