"""After the state was lost: decoder from its average of 105 minutes (half precision), fresh critics, steps from 300."""
from pathlib import Path
from diffinfinite_lite.models import checkpoint
t,c=checkpoint.load(Path('/root/tissue/decoder/decoder/state.safetensors'))
e,ec=checkpoint.load(Path('/root/tissue/decoder_ema_half.safetensors'))
print(ec, [k for k in e if not k.startswith('decoder.')][:5], len(e))
n=0
for k in list(t):
    for p in ('model.','ema.'):
        if k.startswith(p) and k[len(p):] in e:
            t[k]=e[k[len(p):]].to(t[k].dtype).clone(); n+=1
print(n, c)
c['step']=400; c['minutes']=105.14
import json,safetensors
o=open('/tmp/o.json').read()
checkpoint.save(Path('/root/tissue/decoder/decoder/state.safetensors'),t,c,json.loads(o))
