"""The picture of the README: one sample of each context, not chosen, above its mask."""

from pathlib import Path

import numpy as np
from PIL import Image

from diffinfinite_lite import generate
from diffinfinite_lite.tiles import colour_mask
from diffinfinite_lite.unet import CONTEXTS

pairs = [generate(context, size=(512, 512), steps=20, solver="dpm-solver++", seed=0) for context in CONTEXTS[1:]]
rows = [np.hstack([pair.image for pair in pairs]), np.hstack([colour_mask(pair.mask) for pair in pairs])]
Image.fromarray(np.vstack(rows)).save(Path(__file__).parent / "contexts.jpg", quality=92, subsampling=0)
