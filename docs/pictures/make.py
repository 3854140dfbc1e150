"""The pictures of the landing page and the README: a field of each context, under a mask and from a seed of its own.

The masks are drawn by the recipe of each context (`data.layouts`), the same ones as in the first chapter. Run this
again when there are new weights: ``contexts.html`` stands in the landing page as it is, ``contexts.jpg`` in the README.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.data.layouts import layout
from diffinfinite_lite.labels import colour_mask
from diffinfinite_lite.pipelines.masks import open_borders, upsample
from diffinfinite_lite.pipelines.pair import Pair
from diffinfinite_lite.widgets.masked import Masked, masked
from diffinfinite_lite.widgets.pictures import Picture
from diffinfinite_lite.widgets.regions import deepest

HERE = Path(__file__).parent
SIDE, GAP = 448, 12  # px
STEPS = 20
# context: seed of mask and picture, and what to see where the mask says so
FIELDS = {
    "adenocarcinoma": (6, {5: "a lumen, with tumour cells around it", 1: "tumour cells", 3: "stroma between glands"}),
    "squamous": (10, {1: "a solid nest of tumour cells, without a lumen", 3: "stroma that bounds the nests"}),
    "normal": (6, {5: "air in an alveolus", 4: "a septum, or the wall of a vessel"}),
}
NAMES = {"adenocarcinoma": "Adenocarcinoma", "squamous": "Squamous cell carcinoma", "normal": "Normal lung"}


def paint() -> dict[str, Pair]:
    pairs = {}
    for context, (seed, _) in FIELDS.items():
        cells = layout(context, (SIDE // 8, SIDE // 8), np.random.default_rng(seed))
        mask = upsample(open_borders(cells), (SIDE, SIDE))
        pairs[context] = generate(context, mask, omega=0, steps=STEPS, seed=seed)
    return pairs


def page(pictures: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """The three pictures with their masks, of image and mask by context."""
    shown = []
    for context, (image, mask) in pictures.items():
        places = ((deepest(mask, label), text) for label, text in FIELDS[context][1].items())
        marks = [(*place, text) for place, text in places if place]
        shown.append(Masked(Picture(image, f"Generated {context} lung tissue", NAMES[context]), mask, marks))
    return masked(shown, name="contexts", title="Generated tissue of three contexts with their masks", budget=400_000)


def sheet(pictures: dict[str, tuple[np.ndarray, np.ndarray]]) -> Image.Image:
    """The three pictures side by side, each above its mask."""
    columns = [np.concatenate([image, np.full((GAP, SIDE, 3), 255, np.uint8), colour_mask(mask)])
               for image, mask in pictures.values()]  # fmt: skip
    between = np.full((len(columns[0]), GAP, 3), 255, np.uint8)
    return Image.fromarray(np.hstack([columns[0], between, columns[1], between, columns[2]]))


if __name__ == "__main__":
    pictures = {context: (pair.image, pair.mask) for context, pair in paint().items()}
    (HERE / "contexts.html").write_text(page(pictures), "utf8")
    sheet(pictures).save(HERE / "contexts.jpg", quality=90, subsampling=0)
