"""Contact sheet of drafts under labels of training tiles: real thumbnail above, draft below."""
import sys, torch, numpy as np
from pathlib import Path
from PIL import Image
torch.set_num_threads(1)
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.draft import Draft, CODE
from diffinfinite_lite.models.appearance import Appearance
from diffinfinite_lite.training.stages import Drafter, thumbnails, fit_mixtures
from diffinfinite_lite.training.recipes import _standardised
from diffinfinite_lite.labels import condition_map, pool_mask
from diffinfinite_lite.sampling.solvers import cosine_alphas
runs=Path(sys.argv[1]); out=sys.argv[2]; n=int(sys.argv[3]) if len(sys.argv)>3 else 12; steps=20
t,c=checkpoint.load(runs/'draft/ema.safetensors')
m=Drafter(Draft(**c['draft']),Appearance(**c['appearance'])); m.load_state_dict({k:v.float() if v.is_floating_point() else v for k,v in t.items()}); m.eval()
tiles,cfg=checkpoint.load(runs/'tiles.safetensors')
g=torch.Generator().manual_seed(0); ctx=cfg['contexts']
sel=[]
for name in ('adenocarcinoma','squamous','normal'):
    own=[i for i,x in enumerate(ctx) if x==name]; sel+= [own[int(k)] for k in torch.randperm(len(own),generator=g)[:n]]
th=thumbnails(tiles['images'][sel]); std=_standardised(th,m.draft).float()
cond=torch.stack([condition_map(pool_mask(tiles['masks'][i][None])[0],ctx[i]) for i in sel])
sub=torch.randperm(len(ctx),generator=g)[:1500]
fit_mixtures(m.appearance,_standardised(thumbnails(tiles['images'][sub]),m.draft),[ctx[i] for i in sub])
codes=torch.stack([m.appearance.draw(ctx[i],g) for i in sel])
al=cosine_alphas(); ts=torch.linspace(999,0,steps+1).long()
z=torch.randn(std.shape,generator=g); prev=None
beside=torch.cat([codes,torch.ones(len(sel),1)],1)[:,:,None,None].expand(-1,-1,28,28)
with torch.no_grad():
    for a,b in zip(ts[:-1],ts[1:]):
        A=al[a]; v=m.draft(torch.cat([z,beside],1),torch.full((len(sel),),int(a)),cond)
        x0=A.sqrt()*z-(1-A).sqrt()*v; eps=(1-A).sqrt()*z+A.sqrt()*v
        x0=x0.clamp(-4,4)
        B=al[b] if b>0 else torch.tensor(1.)
        z=B.sqrt()*x0+(1-B).sqrt()*eps
def pic(x): return ((m.draft.thumbnails.small(x).clamp(-1,1)+1)*127.5).byte().permute(0,2,3,1).numpy()
real,gen=pic(std),pic(z)
rows=[]
for k in range(3):
    for s in (real,gen): rows.append(np.concatenate([np.kron(i,np.ones((4,4,1),np.uint8)) for i in s[k*n:(k+1)*n]],1))
Image.fromarray(np.concatenate(rows,0)).save(out)
