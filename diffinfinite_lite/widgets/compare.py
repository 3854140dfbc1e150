"""Before and after: two pictures of one field on top of each other, and a line between them that can be moved.

One HTML string that needs no kernel and asks for nothing outside. Left of the line lies the picture before, right of
it the picture after. The line follows a slider (tab, arrow keys), a finger or mouse on the picture, and two buttons
that show one picture whole. Without JavaScript the line stays in the middle.
"""

from __future__ import annotations

from html import escape

from .pictures import Picture, check_name, data_uris, fill, image_tag


def compare(before: Picture, after: Picture, *, name: str, title: str, width: int = 512, budget: int = 500_000) -> str:
    """HTML of a before-after slider.

    Parameters
    ----------
    before, after : pictures of one shape; their captions are short names such as "as scanned", for buttons and text
    name : identifier that no other component on the page has: letters, digits, hyphens
    title : what is compared, the name of the group of controls
    width : largest width on the page, CSS px
    budget : bytes that both pictures together may take in the page

    Returns
    -------
    HTML to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError
        If the pictures are of unlike shapes or not of bytes, a picture lacks its alt text or caption, both do not fit
        into the budget, or the name is no identifier.

    >>> import numpy as np
    >>> dark, light = (Picture(np.full((8, 8, 3), v, np.uint8), f"grey {v}", str(v)) for v in (50, 200))
    >>> page = compare(dark, light, name="toy", title="Toy")
    >>> page.count("<img"), page.count("<button")
    (2, 2)
    """
    check_name(name)
    if not before.caption.strip() or not after.caption.strip():
        raise ValueError(f"expected a caption for both pictures, got {before.caption!r} and {after.caption!r}")
    uris = data_uris([before, after], budget)
    below = image_tag(uris[1], after, attributes='draggable="false"', style="width: 100%; display: block")
    over = image_tag(
        uris[0],
        before,
        attributes='draggable="false" data-over',
        style="position: absolute; inset: 0; width: 100%; display: block; clip-path: inset(0 50% 0 0)",
    )
    return fill(
        _PAGE,
        NAME=name,
        TITLE=escape(title),
        WIDTH=int(width),
        BEFORE=escape(before.caption),
        AFTER=escape(after.caption),
        IMAGES=f"{below}\n{over}",
    )


_PAGE = """
<div class="picture-compare" id="%NAME%" role="group" aria-label="%TITLE%" style="max-width: %WIDTH%px">
<div data-frame style="position: relative; overflow: hidden; cursor: ew-resize; touch-action: pan-y;
 border: 1px solid #888">
%IMAGES%
<span data-line aria-hidden="true" style="position: absolute; top: 0; bottom: 0; left: 50%; width: 3px;
 margin-left: -1.5px; background: #fff; box-shadow: 0 0 0 1px #222"></span>
</div>
<div style="display: flex; gap: .5rem; align-items: center; margin: .4rem 0">
<button type="button" data-to="100" style="padding: .35rem .6rem">%BEFORE%</button>
<input type="range" min="0" max="100" value="50" step="1" autocomplete="off" aria-label="Line of: %TITLE%"
 style="flex: 1; min-width: 5rem">
<button type="button" data-to="0" style="padding: .35rem .6rem">%AFTER%</button>
</div>
<p style="margin: 0; font-size: .9em" aria-live="polite"
 data-before="%BEFORE%" data-after="%AFTER%">Left of the line: %BEFORE%. Right of it: %AFTER%.</p>
</div>
<script>
(() => {
  const root = document.getElementById("%NAME%"), frame = root.querySelector("[data-frame]");
  const over = root.querySelector("[data-over]"), line = root.querySelector("[data-line]");
  const slider = root.querySelector("input"), words = root.querySelector("p");
  const draw = () => {
    const place = +slider.value, { before, after } = words.dataset;
    over.style.clipPath = `inset(0 ${100 - place}% 0 0)`;
    line.style.left = `${place}%`;
    const text = place === 100 ? `Whole picture: ${before}.` : place === 0 ? `Whole picture: ${after}.`
      : `Left of the line: ${before}. Right of it: ${after}.`;
    slider.setAttribute("aria-valuetext", `${place}%. ${text}`);
    if (words.textContent !== text) words.textContent = text;
  };
  const move = (event) => {
    const box = frame.getBoundingClientRect();
    slider.value = Math.round(100 * (event.clientX - box.left) / box.width);
    draw();
  };
  frame.addEventListener("pointerdown", (event) => { frame.setPointerCapture(event.pointerId); move(event); });
  frame.addEventListener("pointermove", (event) => { if (frame.hasPointerCapture(event.pointerId)) move(event); });
  for (const button of root.querySelectorAll("button")) {
    button.onclick = () => { slider.value = button.dataset.to; draw(); };
  }
  slider.oninput = draw;
  draw();
})();
</script>
"""
