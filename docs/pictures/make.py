"""The picture of the README: one sample of each context, not chosen, above its mask."""

from pathlib import Path

import numpy as np
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.labels import CONTEXTS, colour_mask

SIDE, GAP = 512, 12  # px
columns = []
for context in CONTEXTS:
    pair = generate(context, size=(SIDE, SIDE), steps=20, solver="dpm-solver++", seed=0)
    columns.append(np.concatenate([pair.image, np.full((GAP, SIDE, 3), 255, np.uint8), colour_mask(pair.mask)]))
between = np.full((len(columns[0]), GAP, 3), 255, np.uint8)
picture = np.hstack([columns[0], between, columns[1], between, columns[2]])
Image.fromarray(picture).save(Path(__file__).parent / "contexts.jpg", quality=92, subsampling=0)
