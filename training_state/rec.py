import sys,warnings; warnings.simplefilter("ignore")
import numpy as np,torch; torch.set_num_threads(1)
from pathlib import Path
from torch.nn import functional as F
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb,to_tensor
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import efficientnet_features, HandcraftedFeatures, Standardiser
from diffinfinite_lite.models.pretrained import load_models,load_lite,sampled_margin
names=('adenocarcinoma','squamous','normal'); N=40
own={c:[] for c in names}
for t in catalog.load('lc25000-lung','train',normalised=True,one_per_cluster=True): own[t.context].append(to_rgb(t.image)[:224,:224])
g=np.random.default_rng(0); R=[]
for c in names:
    o=g.permutation(len(own[c])); R+=[own[c][i] for i in o[:N]]
z=np.load('/root/trial/ref40.npz'); E=dict(eff=efficientnet_features(),hand=HandcraftedFeatures())
feats=lambda e,s: np.asarray(e([to_tensor(x) for x in s]))
new=load_lite(Path('/root/evaltree/diffinfinite_lite/weights')); old=load_lite(Path('/work/main/diffinfinite_lite/weights'))
import copy
mixd=copy.deepcopy(new)
@torch.no_grad()
def rec(enc,dec,m):
    out=[]
    for x in R:
        t=to_tensor(x)[None]
        p=F.pad(t,(8*m,)*4,mode='reflect') if m else t
        y=dec.decode(enc.encode(p))
        if m: y=y[...,8*m:-8*m,8*m:-8*m]
        out.append(to_rgb(y[0].clamp(-1,1)))
    return np.stack(out)
for name,(e,d,m) in {'old m0':(old,old,0),'new m4':(new,new,4),'new m12':(new,new,12),'new enc old dec m4':(new,old,4),'new m0':(new,new,0)}.items():
    x=rec(e,d,m); line=[]
    for k,ex in E.items():
        S=Standardiser.fit(z['T'+k]); t,r=S(z['T'+k]),S(z['R'+k]); f=S(feats(ex,x))
        line.append('%s real %.1f rec %.1f own-shift %.2f'%(k,fidelity.frechet_distance(t,r),fidelity.frechet_distance(t,f),fidelity.frechet_distance(r,f)))
    print(name,*line,flush=True)
