"""On the device: pictures.safetensors as `train decoder` reads it, and, first, the decoder's average as its start."""
from pathlib import Path
import numpy as np, torch
from PIL import Image
from diffinfinite_lite.models import checkpoint
run = Path('.gpu/run'); run.mkdir(exist_ok=True)
if not (run / 'pictures.safetensors').exists():
    sets = {}
    for f in sorted(Path('.gpu/pictures').glob('*.jpg')):
        sets.setdefault(f.name.split('_')[0], []).append(torch.from_numpy(np.array(Image.open(f))))
    images = {k: torch.stack(v) for k, v in sets.items()}
    checkpoint.save(run / 'pictures.safetensors', images, {'clusters': {k: [[n] for n in range(len(v))] for k, v in images.items()}})
if not (run / 'decoder/state.safetensors').exists():
    t, config = checkpoint.load(Path('.gpu/ema.safetensors')); (run / 'decoder').mkdir(exist_ok=True)
    both = {p + k: v.float() if v.is_floating_point() else v for k, v in t.items() for p in ('model.', 'ema.')}
    checkpoint.save(run / 'decoder/state.safetensors', both, {**config, 'step': 400, 'minutes': 0.0})
