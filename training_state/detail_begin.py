"""recipes' detail_fp16 as averages with our names; level.* stay as they are."""
import torch
from pathlib import Path
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.five_codes import with_air
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.pretrained import load_models
t,c=checkpoint.load(Path('/work/shared/recipes/tissue/ckpt/detail_fp16.safetensors'))
print(list(t)[:5], c)
t={k[5:] if k.startswith('m.un.') else k:v for k,v in t.items()}
t=with_air(t)
d=Detail.begun(load_models().image)
s=d.state_dict()
miss=[k for k in s if k not in t]; extra=[k for k in t if k not in s]; bad=[k for k in t if k in s and s[k].shape!=t[k].shape]
print('missing',miss,'extra',extra,'shape',bad)
checkpoint.save(Path('detail_ema_half.safetensors'),{k:v.half() if v.is_floating_point() else v for k,v in t.items() if k in s},{})
