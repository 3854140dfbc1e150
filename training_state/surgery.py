"""After 2,584 steps with wrong weights of the terms: decoder from its average, the rest as it was, steps from 450 again."""
from pathlib import Path
from diffinfinite_lite.models import checkpoint
t,c=checkpoint.load(Path('/root/tissue/decoder/before/state.safetensors'))
for k in list(t):
    if k.startswith('model.decoder.'): t[k]=t['ema.'+k[6:]].clone()
c['step']=450
checkpoint.save(Path('/root/tissue/decoder/decoder/state.safetensors'),t,c); print(c['step'],c['minutes'])
