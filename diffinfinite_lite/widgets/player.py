r"""A player for pixel-wise timestep maps: one HTML string that needs no kernel and asks for nothing outside.

Within a level the map :math:`L_t` of Alg. 2 holds at most two values: ``left`` where a pixel still waits for a window
and ``left - 1`` where one has come. Waiting pixels are drawn light orange, reached ones blue, and both darken as fewer
steps are left. Frames are run-length coded, since windows are rectangles: :math:`k` runs cost :math:`2k` bytes.

The controls are ordinary buttons and a slider (tab, space, arrow keys); what a frame shows is also said in words.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from .pictures import Picture, check_name, data_uris, fill, image_tag


def run_lengths(frame: np.ndarray) -> bytes:
    """Frame in row-major order as pairs (value, count), counts of 255 at most.

    Parameters
    ----------
    frame : int array (h, w), values 0..255

    >>> list(run_lengths(np.array([[3, 3], [3, 2]])))
    [3, 3, 2, 1]
    """
    values = np.asarray(frame).ravel()
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    pairs = bytearray()
    for start, stop in zip(starts, [*starts[1:], len(values)], strict=True):
        count = int(stop - start)
        pairs += bytes([int(values[start]), 255]) * (count // 255)
        if count % 255:
            pairs += bytes([int(values[start]), count % 255])
    return bytes(pairs)


def player(
    frames: Sequence[np.ndarray],
    pictures: Sequence[Picture] = (),
    *,
    name: str,
    title: str,
    delay_ms: int = 120,
    budget: int = 900_000,
) -> str:
    """HTML of a player for timestep maps, beside them the picture as it emerges.

    Parameters
    ----------
    frames : int arrays (h, w), steps still to go for each pixel, 0..255, in the order of the run
    pictures : what the canvas holds after no step, after one, and so on to the last one; their captions are not shown
    name : identifier that no other component on the page has: letters, digits, hyphens
    title : what the animation shows, the text for those who cannot see it
    delay_ms : milliseconds a frame stays while playing
    budget : bytes that all pictures together may take in the page

    Returns
    -------
    HTML to show with `IPython.display.HTML`.

    Raises
    ------
    ValueError
        If there are no frames, frames of unlike shapes or values outside 0..255, another number of pictures than steps
        and one, pictures of unlike shapes or more bytes than the budget, or the name is no identifier.

    >>> 'aria-label="Toy"' in player([np.array([[1, 0]])], name="toy", title="Toy")
    True
    """
    if not len(frames):
        raise ValueError("expected at least one frame, got none")
    shape = np.shape(frames[0])
    for number, frame in enumerate(frames):
        if len(shape) != 2 or np.shape(frame) != shape:
            raise ValueError(f"expected frames (h, w) of one shape, got {np.shape(frame)} at {number} after {shape}")
        if np.min(frame) < 0 or np.max(frame) > 255:
            raise ValueError(f"expected steps to go between 0 and 255, got {np.min(frame)} to {np.max(frame)}")
    check_name(name)
    steps = int(np.max(frames[0])) - min(int(np.max(frame)) for frame in frames)
    done = len(pictures) - 1 - steps  # steps that the first frame has behind it: one where a window covers all
    if pictures and done not in (0, 1):
        raise ValueError(f"expected {steps + 1} pictures for {steps} steps, got {len(pictures)}")
    images = (
        [
            image_tag(
                uri,
                picture,
                attributes="data-step" + (" hidden" if number else ""),
                style="width: 100%; border: 1px solid #888",
            )
            for number, (uri, picture) in enumerate(zip(data_uris(pictures, budget), pictures, strict=True))
        ]
        if pictures
        else []
    )
    coded = ",".join(f'"{base64.b64encode(run_lengths(frame)).decode()}"' for frame in frames)
    return fill(
        _PAGE,
        NAME=name,
        TITLE=escape(title),
        LAST=len(frames) - 1,
        HEIGHT=shape[0],
        WIDTH=shape[1],
        DELAY=int(delay_ms),
        TOP=max(1, int(np.max(frames[0]))),
        FRAMES=coded,
        PICTURES=f"<div>{''.join(images)}</div>" if images else "",
        REM=64 if images else 32,
        DONE=max(done, 0),
    )


_PAGE = """
<div class="timestep-player" id="%NAME%" style="max-width: %REM%rem">
<div style="display: grid; gap: .5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr))">
<div><canvas width="%WIDTH%" height="%HEIGHT%" role="img" aria-label="%TITLE%"
 style="width: 100%; image-rendering: pixelated; border: 1px solid #888; display: block"></canvas></div>
%PICTURES%
</div>
<div style="display: flex; gap: .5rem; align-items: center; flex-wrap: wrap; margin: .4rem 0">
<button type="button" data-do="play" style="min-width: 4.5rem; padding: .35rem .6rem">Play</button>
<button type="button" data-do="back" aria-label="Previous frame" style="padding: .35rem .6rem">Back</button>
<button type="button" data-do="next" aria-label="Next frame" style="padding: .35rem .6rem">Step</button>
<input type="range" min="0" max="%LAST%" value="0" step="1" aria-label="Frame of: %TITLE%"
 style="flex: 1; min-width: 8rem">
</div>
<p style="margin: 0; font-size: .9em" aria-live="polite"></p>
</div>
<script>
(() => {
  const root = document.getElementById("%NAME%"), frames = [%FRAMES%], top_ = %TOP%;
  const canvas = root.querySelector("canvas"), pen = canvas.getContext("2d");
  const slider = root.querySelector("input"), words = root.querySelector("p");
  const play = root.querySelector("[data-do=play]"), steps = [...root.querySelectorAll("[data-step]")];
  let timer = null;
  const draw = () => {
    const code = atob(frames[+slider.value]);
    const picture = pen.createImageData(%WIDTH%, %HEIGHT%);
    let most = 0, least = 255, reached = 0, pixel = 0;
    for (let i = 0; i < code.length; i += 2) {
      most = Math.max(most, code.charCodeAt(i)); least = Math.min(least, code.charCodeAt(i));
    }
    for (let i = 0; i < code.length; i += 2) {
      const value = code.charCodeAt(i), count = code.charCodeAt(i + 1);
      const waits = value === most && most > least;
      const left = value / top_;
      const colour = waits ? [235 + 20 * left, 160 + 60 * left, 80 + 90 * left]
                           : [10 + 50 * left, 40 + 95 * left, 90 + 110 * left];
      if (!waits) reached += count;
      for (let k = 0; k < count; k++, pixel++) {
        for (let c = 0; c < 3; c++) picture.data[4 * pixel + c] = colour[c];
        picture.data[4 * pixel + 3] = 255;
      }
    }
    pen.putImageData(picture, 0, 0);
    steps.forEach((image, step) => { image.hidden = step !== %DONE% + top_ - most; });
    const text = `Frame ${+slider.value + 1} of ${frames.length}: ` + (most > least
      ? `${Math.round(100 * reached / pixel)}% of the pixels have ${least} steps to go, the others ${most}.`
      : `all pixels have ${most} steps to go.`);
    slider.setAttribute("aria-valuetext", text);
    words.setAttribute("aria-live", timer ? "off" : "polite");
    words.textContent = text;
  };
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; draw(); };
  const move = (by) => { slider.value = +slider.value + by; draw(); };
  play.onclick = () => {
    if (timer) return stop();
    if (+slider.value === frames.length - 1) slider.value = 0;
    play.textContent = "Pause";
    const last = frames.length - 1;
    timer = setInterval(() => { if (+slider.value === last) stop(); else move(1); }, %DELAY%);
  };
  root.querySelector("[data-do=back]").onclick = () => { stop(); move(-1); };
  root.querySelector("[data-do=next]").onclick = () => { stop(); move(1); };
  slider.oninput = () => { if (timer) stop(); draw(); };
  draw();
})();
</script>
"""
