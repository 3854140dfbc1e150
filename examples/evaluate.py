"""A report card: how far is tissue of two denoising steps from tissue of eight?

With tiles of your own: `diffinfinite evaluate --real FOLDER --synthetic FOLDER --out report/`.

python examples/evaluate.py report/
"""

import sys

import numpy as np

import diffinfinite_lite as dl
from diffinfinite_lite.data.tiles import to_tensor
from diffinfinite_lite.evaluation.inputs import cut_canvas
from diffinfinite_lite.evaluation.report import write_report
from diffinfinite_lite.metrics.features import HandcraftedFeatures

TILE = (64, 64)  # px
mask = dl.generate("squamous", size=(256, 256), steps=1, seed=4).mask


def tiles(steps):
    """Sixteen tiles of a canvas of so many steps, (3, 64, 64) in [-1, 1]."""
    pair = dl.generate("squamous", mask, steps=steps, seed=4)
    return [to_tensor(tile) for tile in cut_canvas(pair.image, TILE)]


few, many = tiles(steps=2), tiles(steps=8)
card = dl.evaluate(many, few, extractors=[HandcraftedFeatures()], generator=np.random.default_rng(0), repeats=5)
print(write_report(card, sys.argv[1] if len(sys.argv) > 1 else "report", real=many, synthetic=few))
