"""After the state was lost: averages of a run (half precision) into its new state file.   python resume.py RUN/state.safetensors EMA STEP MINUTES

The new state file is one that the training command itself has written after its first save (right shapes, fingerprint).
"""
import sys
from pathlib import Path
from diffinfinite_lite.models import checkpoint
state, ema, step, minutes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
tensors, config = checkpoint.load(state)
origin, averages, filled = checkpoint.read_origin(state), checkpoint.load(ema)[0], 0
for key in list(tensors):
    for part in ("model.", "ema."):
        if key.startswith(part) and key[len(part):] in averages:
            tensors[key] = averages[key[len(part):]].to(tensors[key].dtype).clone(); filled += 1
assert filled == 2 * len(averages), (filled, len(averages))
config |= {"step": step, "minutes": minutes}
checkpoint.save(state, {k: v for k, v in tensors.items() if not k.startswith("adam.")} , config, origin)
