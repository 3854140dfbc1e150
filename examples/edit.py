"""Change part of a mask and paint that part again; everything farther away stays as it was, to the bit.

python examples/edit.py out/
"""

import sys

import numpy as np

import diffinfinite_lite as dl
from diffinfinite_lite.labels import LABELS

before = dl.generate("squamous", size=(192, 256), steps=5, seed=2)

mask = before.mask.copy()
rows, columns = np.ogrid[:192, :256]
mask[(rows - 96) ** 2 + (columns - 64) ** 2 < 32**2] = LABELS.index("carcinoma")  # an island

after = dl.resynthesise(before, mask, margin=16)
after.save(sys.argv[1] if len(sys.argv) > 1 else "out", force=True)

same = (before.image == after.image).all(axis=2)
print(f"painted again: {after.run['recomputed']:.0%} of the picture; unchanged pixels: {same.mean():.0%}")
