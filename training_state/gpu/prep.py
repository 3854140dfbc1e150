"""Run in the session's checkout: pictures and weights for a GPU under .gpu (see PLAN.md)."""
import shutil
from pathlib import Path
import numpy as np
from PIL import Image
from diffinfinite_lite.models import checkpoint
t, c = checkpoint.load(Path('/root/tissue/decoder/pictures.safetensors'))
out = Path('.gpu/pictures'); out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
for name, limit in (('lc25000-lung', 520), ('lung-scc-atlas', 400), ('diffinfinite-lung', 5)):
    groups = c['clusters'][name]
    for k in rng.permutation(len(groups))[:limit]:
        Image.fromarray(t[name][int(rng.choice(groups[k]))].numpy()).save(out / f'{name}_{k}.jpg', quality=93, subsampling=0)
shutil.copy('/root/tissue/decoder/decoder/ema.safetensors', '.gpu/ema.safetensors'); shutil.copy('/root/tissue/gpu/unpack.py', '.gpu/unpack.py')
