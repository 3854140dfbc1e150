"""dry/ folders of all networks, weights on a grid."""
import torch
from pathlib import Path
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.detail import Detail
from diffinfinite_lite.models.pretrained import load_models
L=127
def grid(t):
    out={}
    for k,v in t.items():
        if v.is_floating_point() and v.ndim>1 and v.numel()>4096:
            rows=v.float().flatten(1); top=rows.abs().amax(1).clamp(min=1e-12)
            s=2.0**torch.ceil(torch.log2(top/L))
            q=(rows/s[:,None]).round()*s[:,None]
            err=((q-rows).norm()/rows.norm()).item()
            assert err<.03,(k,err)
            out[k]=q.view(v.shape).half()
        else: out[k]=v.half() if v.is_floating_point() else v
    return out
D=Path('/root/land/dry')
def put(name,t,c): (D/name).mkdir(exist_ok=True); checkpoint.save(D/name/'ema.safetensors',grid(t),c,{})
base=load_models().image
d=Detail.begun(base)
t,c=checkpoint.load(Path('detail_new_half.safetensors')); print('detail',c); 
sd=d.state_dict(); assert set(t)==set(sd), set(t)^set(sd)
put('detail',t,d.config)
t,c=checkpoint.load(Path('draft_new_half.safetensors')); print('draft',c); put('draft',t,c)
t,c=checkpoint.load(Path('e470/training_state/mask_ema_half.safetensors')); print('mask',c); put('mask',t,c)
t,c=checkpoint.load(Path('c468/training_state/decoder_ema_half.safetensors')); print('decoder',c); put('decoder',t,c)
