"""Fréchet distance of drafts (thumbnails enlarged) over that of real training thumbnails to real ones of unseen clusters."""
import sys, torch, numpy as np
from pathlib import Path
torch.set_num_threads(1)
from torch.nn import functional as F
from diffinfinite_lite.models import checkpoint
from diffinfinite_lite.models.draft import Draft
from diffinfinite_lite.models.appearance import Appearance
from diffinfinite_lite.models.five_codes import with_air
from diffinfinite_lite.training.stages import Drafter, thumbnails, fit_mixtures
from diffinfinite_lite.training.recipes import _standardised
from diffinfinite_lite.labels import condition_map, pool_mask
from diffinfinite_lite.sampling.solvers import cosine_alphas
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb
from diffinfinite_lite.models.efficientnet import EfficientNetLite0
from diffinfinite_lite.metrics import features, fidelity
import diffinfinite_lite.metrics.features as MF
runs=Path(sys.argv[1]); steps=20; n=75
def ours():
    t,c=checkpoint.load(runs/'draft/ema.safetensors'); m=Drafter(Draft(**c['draft']),Appearance(**c['appearance']))
    m.load_state_dict({k:v.float() if v.is_floating_point() else v for k,v in t.items()}); return m.eval()
def recipe():
    t,_=checkpoint.load(Path('/work/shared/recipes/tissue/ckpt/draft_fp16.safetensors'))
    m=Drafter(Draft((128,192,256),(.70508,.45410,.81689),(.26082,.39157,.14366)),Appearance())
    s={}
    for k,v in t.items():
        if k.startswith('m.unet.'): s['draft.'+k[7:]]=v
        elif k.startswith('m.code.'): s['draft.code.'+k[7:]]=v
        elif k.startswith('m.attn.'):
            place,rest=k[7:].split('.',1); s[f"draft.attention.{ {'d':'down','u':'up'}[place[0]]+place[1]}.{rest}"]=v
        elif k.startswith('e.net.'): s['appearance.layers.'+k[6:]]=v
        elif k.startswith('e.out.'): s['appearance.out.'+k[6:]]=v
        elif k.startswith('e.bn.'): s['appearance.standardise.'+k[5:]]=v
    s=with_air({k:v.float() if v.is_floating_point() else v for k,v in s.items()})
    miss=m.load_state_dict(s,strict=False); print(miss); return m.eval()
tiles,cfg=checkpoint.load(runs/'tiles.safetensors'); ctx=cfg['contexts']
g=torch.Generator().manual_seed(1); sel=[]
for name in ('adenocarcinoma','squamous','normal'):
    by={}
    for i,x in enumerate(ctx):
        if x==name: by.setdefault(cfg['clusters'][i],i)
    own=list(by.values()); sel+=[own[int(k)] for k in torch.randperm(len(own),generator=g)[:n]]
cond=torch.stack([condition_map(pool_mask(tiles['masks'][i][None])[0],ctx[i]) for i in sel])
def sample(m,seed=0,codes='mixture',steps=20,noise=0.0,gain=1.0,eta=0.0,late=None,start=999):
    g=torch.Generator().manual_seed(seed); sub=torch.randperm(len(ctx),generator=g)[:1500]
    fit_mixtures(m.appearance,_standardised(thumbnails(tiles['images'][sub]),m.draft),[ctx[i] for i in sub])
    
    if codes=='real':
        with torch.no_grad(): codes=m.appearance(_standardised(thumbnails(tiles['images'][sel]),m.draft).float())
        codes=codes+noise*torch.randn(codes.shape,generator=g)
    else: codes=torch.stack([m.appearance.draw(ctx[i],g) for i in sel])
    al=cosine_alphas(); ts=torch.linspace(start,0,steps+1).long()
    z=torch.randn(len(sel),3,28,28,generator=g); beside=torch.cat([codes,torch.ones(len(sel),1)],1)[:,:,None,None].expand(-1,-1,28,28)
    if start<999:
        x=_standardised(thumbnails(tiles['images'][sel]),m.draft).float(); A=al[start]; z=A.sqrt()*x+(1-A).sqrt()*z
    with torch.no_grad(), torch.autocast('cpu',torch.bfloat16):
        for a,b in zip(ts[:-1],ts[1:]):
            A=al[a]; v=torch.cat([m.draft(torch.cat([z[k:k+25],beside[k:k+25]],1),torch.full((25,),int(a)),cond[k:k+25]) for k in range(0,len(sel),25)]).float()
            gn=gain if (late is None or int(a)>=late) else 1.0
            x0=gn*(A.sqrt()*z-(1-A).sqrt()*v).clamp(-4,4); eps=(z-A.sqrt()*x0)/(1-A).sqrt(); B=al[b] if b>0 else torch.tensor(1.)
            s2=eta**2*(1-B)/(1-A)*(1-A/B) if b>0 else torch.tensor(0.)
            z=B.sqrt()*x0+(1-B-s2).clamp(min=0).sqrt()*eps+s2.sqrt()*torch.randn(z.shape,generator=g)
    return m.draft.thumbnails.small(z).clamp(-1,1)
real_train=thumbnails(tiles['images'][sel]).float()
test=[t for t in catalog.load('lc25000-lung','test',normalised=True)]
seen={}
for t in test: seen.setdefault(t.cluster,[]).append(t)
two=[x for v in seen.values() for x in v[:2]]
real_test=thumbnails(torch.stack([torch.from_numpy(to_rgb(t.image)) for t in two])).float()
net=EfficientNetLite0.pretrained().eval()
def feats(small):
    out=[]
    with torch.no_grad():
        for part in small.split(16):
            big=F.interpolate(part,size=112,mode='bicubic').clamp(-1,1)
            taps=net.taps(big); out.append(torch.cat([x.mean((2,3)) for x in taps[-3:]],1))
    return torch.cat(out).double().numpy()
def fd(a,b):
    from scipy import linalg
    mu,sd=b.mean(0),b.std(0)+.05*b.std(); a,b=(a-mu)/sd,(b-mu)/sd
    ca,cb=np.cov(a.T),np.cov(b.T); s=linalg.sqrtm(ca@cb).real
    return float(((a.mean(0)-b.mean(0))**2).sum()+np.trace(ca+cb-2*s))
R=feats(real_test); base=fd(feats(real_train),R); print('real to real',base, 'features', R.shape)

from diffinfinite_lite.metrics import fidelity
def row(name,x):
    f=feats(x); mu,sd=R.mean(0),R.std(0)+.05*R.std(); p=fidelity.precision_recall((R-mu)/sd,(f-mu)/sd)
    print(name,'FD over real %.2f precision %.2f recall %.2f'%(fd(f,R)/base,p.precision,p.recall), 'mean',x.mean((0,2,3)).numpy().round(3),'std of tile means',x.mean((2,3)).std(0).numpy().round(3),'std',x.std((0,2,3)).numpy().round(3),'inner',x.std((2,3)).mean(0).numpy().round(3), flush=True)
row('real',real_train); m=ours()
for spec in sys.argv[2:]:
    kw=eval('dict('+spec+')'); row(spec,sample(m,**kw))
