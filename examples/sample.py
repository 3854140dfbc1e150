"""A mask-image pair from a context, saved as files.

python examples/sample.py out/
"""

import sys

import diffinfinite_lite as dl

out = sys.argv[1] if len(sys.argv) > 1 else "out"
config = dl.SamplingConfig(plan="mixture", solver="dpm-solver++", steps=10, seed=3)

pair = dl.generate(context="adenocarcinoma", size=(128, 192), config=config)
pair.save(out, force=True)

print(f"{out}: {pair.image.shape[0]} x {pair.image.shape[1]} px, {pair.run['network_evaluations']} network evaluations")
