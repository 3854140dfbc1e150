"""A plan of one's own: a grid whose windows overlap by half, and whose order is drawn anew at every level.

The first window to reach a pixel writes it. Registered under a name, the plan works everywhere: here, in `generate`,
and on the command line of a script that imports it.

python examples/own_plan.py out/
"""

import sys

import torch

import diffinfinite_lite as dl
from diffinfinite_lite.sampling.plans import plan
from diffinfinite_lite.sampling.windows import Window


@plan("shuffled-grid")
def shuffled_grid(size, patch, generator):
    """Windows half a patch apart, in random order; each pixel belongs to the first that reaches it."""
    last = [max(n - patch, 0) for n in size]
    starts = [sorted({*range(0, end, max(patch // 2, 1)), end}) for end in last]
    corners = [(top, left) for top in starts[0] for left in starts[1]]
    free = torch.ones(size, dtype=torch.bool)
    for k in torch.randperm(len(corners), generator=generator).tolist():
        window = Window(*corners[k], min(patch, size[0]), min(patch, size[1]))
        index = window.index(size)
        yield window, free[index].float()
        free[index] = False


pair = dl.generate("normal", size=(256, 320), plan="shuffled-grid", steps=5, seed=1)
pair.save(sys.argv[1] if len(sys.argv) > 1 else "out", force=True)
print(f"{pair.run['windows_per_level']:g} windows a level")
