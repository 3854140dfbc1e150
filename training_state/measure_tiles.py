"""Generated tiles under labels of training tiles, by three rulers over real to real, and a contact sheet.

python measure_tiles.py WEIGHTS OUT_PREFIX [--n 72] [--draft model|real|none] [--steps 20] [--dsteps 20] [--noise .1]
Windows of 28 x 28 in batches; pictures are cut to their inner 160 px (no decoder border); real ones alike.
"""
import sys, argparse, json, torch, numpy as np
from pathlib import Path
from PIL import Image
torch.set_num_threads(1)
sys.path.insert(0,'/root/tissue/repo/benchmarks')
from diffinfinite_lite.models import checkpoint, pretrained
from diffinfinite_lite.training.stages import thumbnails
from diffinfinite_lite.labels import condition_map, pool_mask
from diffinfinite_lite.sampling.solvers import cosine_alphas
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb, to_tensor
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import efficientnet_features, HandcraftedFeatures, Standardiser
import decoder as dec
a=argparse.ArgumentParser(); a.add_argument('weights'); a.add_argument('out'); a.add_argument('--n',type=int,default=72); a.add_argument('--draft',default='model')
a.add_argument('--steps',type=int,default=20); a.add_argument('--dsteps',type=int,default=20); a.add_argument('--noise',type=float,default=.1); a.add_argument('--deta',type=float,default=0.); a.add_argument('--eta',type=float,default=0.); a.add_argument('--seed',type=int,default=0); a=a.parse_args()
W=None if a.weights=='shipped' else a.weights
models=pretrained.load_models(W); al=cosine_alphas(); CROP=32
tiles,cfg=checkpoint.load(Path('/root/tissue/stages/tiles.safetensors')); ctx=cfg['contexts']
g=torch.Generator().manual_seed(1); sel=[]
for name in ('adenocarcinoma','squamous','normal'):
    by={}
    for i,x in enumerate(ctx):
        if x==name: by.setdefault(cfg['clusters'][i],[]).append(i)
    own=[v[int(torch.randint(len(v),(),generator=g))] for v in by.values()]
    sel+=[own[int(k)] for k in torch.randperm(len(own),generator=g)[:a.n]]
print('tiles',len(sel))
cond=torch.stack([condition_map(pool_mask(tiles['masks'][i][None])[0],ctx[i]) for i in sel])
g=torch.Generator().manual_seed(a.seed)
def ddim(net,shape,beside,steps,batch=12,eta=0.):
    z=torch.randn(shape,generator=g); ts=torch.linspace(999,0,steps+1).long(); old=None
    with torch.no_grad(), torch.autocast('cpu',torch.bfloat16):
        for s,t in zip(ts[:-1],ts[1:]):
            A=al[s]; v=torch.cat([net(torch.cat([z[k:k+batch],beside[k:k+batch]],1) if beside is not None else z[k:k+batch],torch.full((len(z[k:k+batch]),),int(s)),cond[k:k+batch]).float() for k in range(0,len(z),batch)])
            x0=A.sqrt()*z-(1-A).sqrt()*v; eps=(1-A).sqrt()*z+A.sqrt()*v; B=al[t] if t>0 else torch.tensor(1.)
            s2=eta**2*(1-B)/(1-A)*(1-A/B) if t>0 else torch.tensor(0.)
            z=B.sqrt()*x0+(1-B-s2).clamp(min=0).sqrt()*eps+(s2.sqrt()*torch.randn(z.shape,generator=g) if eta else 0)
    return z
n=len(sel); beside=None; small=None
if a.draft!='none':
    d=pretrained.load_draft(W)
    if a.draft=='real': small=((thumbnails(tiles['images'][sel]).float()-d.network.thumbnails.mean)/d.network.thumbnails.std)
    else:
        codes=torch.stack([d.appearance.draw(ctx[i],g) for i in sel])
        small=ddim(d.network,(n,3,28,28),torch.cat([codes,torch.ones(n,1)],1)[:,:,None,None].expand(-1,-1,28,28),a.dsteps,eta=a.deta)
        if hasattr(d.network,'thumbnails'): small=small.clamp(-6,6)
    noised=small+a.noise*torch.randn(small.shape,generator=g)
    beside=torch.cat([noised,torch.full((n,1,28,28),a.noise)],1)
z=ddim(models.image,(n,8,28,28),beside,a.steps,eta=a.eta)
with torch.no_grad(): made=torch.cat([models.autoencoder.decode(z[k:k+8]).clamp(-1,1) for k in range(0,n,8)])
real=torch.stack([to_tensor(tiles['images'][i].numpy()) for i in sel])
pic=lambda x: to_rgb(x)
np.save(a.out+'.npy',np.stack([pic(x) for x in made]))
rows=[]; K=6
for k in range(3):
    for r in range(2):
        rows.append(np.concatenate([pic(x) for x in real[k*a.n+r*K:k*a.n+(r+1)*K]]+[np.full((224,12,3),255,np.uint8)]+[pic(x) for x in made[k*a.n+r*K:k*a.n+(r+1)*K]],1))
Image.fromarray(np.concatenate(rows)).save(a.out+'.png')
cut=lambda x: x[...,CROP:-CROP,CROP:-CROP]
test=[]; seen={}
for t in catalog.load('lc25000-lung','test',normalised=True):
    seen.setdefault(t.cluster,[]).append(t.image)
for v in seen.values(): test+=v[:2]
test=torch.stack([x[:,:224,:224] for x in test]); print('test',len(test))
for name,ext in (('EfficientNet',efficientnet_features()),('handcrafted',HandcraftedFeatures()),('independent',dec.independent(Path('/root/tissue/open-nsfw.onnx')))):
    F=[np.asarray(ext([to_tensor(pic(x)) for x in cut(s)])) for s in (test,real,made)]
    S=Standardiser.fit(F[0]) if hasattr(Standardiser,'fit') else Standardiser(F[0]); T,R,M=[S(f) for f in F]
    base=fidelity.frechet_distance(T,R); pr=fidelity.precision_recall(T,M); rr=fidelity.precision_recall(T,R)
    told=fidelity.classifier_two_sample(T,M,np.random.default_rng(0))
    print(json.dumps({'ruler':name,'FD over real':round(fidelity.frechet_distance(T,M)/base,2),'precision':round(pr.precision/rr.precision,2),'recall':round(pr.recall/rr.recall,2),'told':round(told,3)},default=str),flush=True)
