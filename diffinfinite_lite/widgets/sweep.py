r"""A sweep: pictures computed beforehand over one or two axes (:math:`\omega` and steps, say), turned by hand.

One HTML string that needs no kernel and asks for nothing outside. All pictures of the grid
:math:`a_1 \times a_2` lie in the page as WebP and only one is shown, so that a control answers at once. An axis of
numbers gets a slider, an axis of names gets a group of radio buttons: both work by tab and arrow keys. Every
picture has a text for those who cannot see it, and a caption, such as what was measured on it, which is read out
when it changes. Without JavaScript the first picture stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from numbers import Real

from .pictures import Picture, check_name, data_uris, fill, image_tag


def sweep(
    states: Mapping[tuple, Picture],
    axes: Mapping[str, Sequence[Real | str]],
    *,
    name: str,
    title: str,
    width: int = 512,
    budget: int = 1_000_000,
) -> str:
    """HTML of a sweep.

    Parameters
    ----------
    states : one picture for each combination of values, keyed by the tuple of values in the order of the axes
    axes : one or two names with their values; the first values are shown first
    name : identifier that no other component on the page has: letters, digits, hyphens
    title : what is swept, the name of the group of controls
    width : largest width on the page, CSS px
    budget : bytes that all pictures together may take in the page

    Returns
    -------
    HTML to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError
        If there are no or more than two axes, an axis without values or with repeated ones, a combination too many
        or too few, pictures of unlike shapes or not of bytes, a picture without alt text, more bytes than the
        budget at the lowest quality, or a name that is no identifier.

    >>> import numpy as np
    >>> grey = {(w,): Picture(np.full((8, 8, 3), 50 * w, np.uint8), f"grey {w}", "Plain.") for w in (0, 1, 2)}
    >>> page = sweep(grey, {"ω": (0, 1, 2)}, name="toy", title="Toy")
    >>> page.count("<img"), page.count('type="range"')
    (3, 1)
    """
    if not 1 <= len(axes) <= 2:
        raise ValueError(f"expected one or two axes, got {len(axes)}")
    for axis, values in axes.items():
        if not len(values) or len(set(values)) != len(values):
            raise ValueError(f"expected different values on the axis {axis}, got {list(values)}")
    keys = list(product(*axes.values()))
    if set(keys) != set(states):
        wrong = sorted(map(str, set(keys) ^ set(states)))
        raise ValueError(f"expected one picture for each of the {len(keys)} combinations, got a mismatch at {wrong[0]}")
    check_name(name)
    pictures = [states[key] for key in keys]
    images = [
        image_tag(
            uri,
            picture,
            attributes=f'data-caption="{escape(picture.caption)}"{" hidden" if number else ""}',
            style="width: 100%; border: 1px solid #888",
        )
        for number, (uri, picture) in enumerate(zip(data_uris(pictures, budget), pictures, strict=True))
    ]
    controls = [
        (_slider if all(isinstance(v, Real) for v in values) else _radios)(f"{name}-{number}", axis, values)
        for number, (axis, values) in enumerate(axes.items())
    ]
    return fill(
        _PAGE,
        NAME=name,
        TITLE=escape(title),
        WIDTH=int(width),
        IMAGES="\n".join(images),
        CONTROLS="\n".join(controls),
        CAPTION=escape(pictures[0].caption),
    )


def _slider(name: str, axis: str, values: Sequence[Real]) -> str:
    texts = [f"{value:g}" for value in values]
    ticks = "".join(f"<span>{text}</span>" for text in texts)
    return f"""<div data-axis="{len(values)}" style="display: flex; gap: .6rem; align-items: baseline; margin: .5rem 0">
<label for="{name}">{escape(axis)}</label>
<span data-value aria-hidden="true" style="min-width: 2.5em">{texts[0]}</span>
<div style="flex: 1; min-width: 8rem">
<input type="range" id="{name}" min="0" max="{len(values) - 1}" value="0" step="1" autocomplete="off"
 aria-valuetext="{texts[0]}" style="width: 100%; margin: 0">
<div data-ticks aria-hidden="true" style="display: flex; justify-content: space-between; font-size: .8em">{ticks}</div>
</div>
</div>"""


def _radios(name: str, axis: str, values: Sequence[Real | str]) -> str:
    choices = "\n".join(
        f'<label style="padding: .35rem .6rem"><input type="radio" name="{name}" value="{number}" autocomplete="off"'
        f"{'' if number else ' checked'}> {escape(str(value))}</label>"
        for number, value in enumerate(values)
    )
    return f"""<fieldset data-axis="{len(values)}" style="border: 0; padding: 0; margin: .5rem 0">
<legend style="float: none; width: auto; margin: 0; padding: 0; font-size: 1em">{escape(axis)}</legend>
<div style="display: flex; gap: .4rem; flex-wrap: wrap">
{choices}
</div>
</fieldset>"""


_PAGE = """
<div class="picture-sweep" id="%NAME%" role="group" aria-label="%TITLE%" style="max-width: %WIDTH%px">
%IMAGES%
%CONTROLS%
<p style="margin: .4rem 0 0; font-size: .9em" aria-live="polite">%CAPTION%</p>
</div>
<script>
(() => {
  const root = document.getElementById("%NAME%"), pictures = [...root.querySelectorAll("img")];
  const words = root.querySelector("p"), axes = [...root.querySelectorAll("[data-axis]")];
  const read = (axis) => {
    const slider = axis.querySelector("input[type=range]");
    if (!slider) return +axis.querySelector("input:checked").value;
    const text = axis.querySelectorAll("[data-ticks] span")[+slider.value].textContent;
    axis.querySelector("[data-value]").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    return +slider.value;
  };
  const draw = () => {
    const shown = axes.reduce((place, axis) => place * +axis.dataset.axis + read(axis), 0);
    pictures.forEach((picture, number) => { picture.hidden = number !== shown; });
    words.textContent = pictures[shown].dataset.caption;
  };
  root.addEventListener("input", draw);
  draw();
})();
</script>
"""
