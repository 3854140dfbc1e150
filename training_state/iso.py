"""iso.py MODE OUT: FD ratio (n=48 a context, inner 160 px) of tiles made one way.
modes: npz | single-gen | single-real | pipe-real"""
import sys, json, torch, numpy as np, glob
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0,'/root/evaltree/benchmarks')
from diffinfinite_lite.models import checkpoint, pretrained
from diffinfinite_lite.labels import condition_map, pool_mask
from diffinfinite_lite.sampling.solvers import cosine_alphas
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb, to_tensor
from diffinfinite_lite.metrics import fidelity
from diffinfinite_lite.metrics.features import efficientnet_features, HandcraftedFeatures, Standardiser
mode,out=sys.argv[1:3]; N=int(sys.argv[3]) if len(sys.argv)>3 else 48; CROP=32
models=pretrained.load_models(); al=cosine_alphas(); d=pretrained.load_draft()
tiles,cfg=checkpoint.load(Path('/root/land/dry/tiles.safetensors')); ctx=cfg['contexts']
OLD=pretrained.load_models('/root/land/oldw') if 'drawn' in mode or 'old' in mode else None
names=('adenocarcinoma','squamous','normal')
g=torch.Generator().manual_seed(1); sel=[]
for name in names:
    by={}
    for i,x in enumerate(ctx):
        if x==name: by.setdefault(cfg['clusters'][i],[]).append(i)
    own=[v[int(torch.randint(len(v),(),generator=g))] for v in by.values()]
    sel+=[own[int(k)] for k in torch.randperm(len(own),generator=g)[:N]]
def npz(name,key):
    f=sorted(x for x in glob.glob(f'/root/evaltree/runs/eval/1c6d0c22a3c5/{name}-1120-?-*.npz') if 'mixture' not in x and 'random' not in x)
    return np.concatenate([np.load(x)[key] for x in f])[:N]
made=None
if mode=='npz': made=np.concatenate([npz(n,'generated') for n in names])
elif mode.startswith('single'):
    if mode.endswith('gen'): masks=[(n,m) for n in names for m in npz(n,'masks')]; cond=torch.stack([condition_map(pool_mask(torch.from_numpy(m).long()[None])[0],n) for n,m in masks]); who=[n for n,_ in masks]
    elif 'drawn' in mode or 'oldown' in mode or 'layout' in mode:
        from diffinfinite_lite.pipelines import masks as pm
        from diffinfinite_lite.evaluation.inputs import cut_canvas
        def draw(c,seed):
            if 'layout' in mode: return pm.upsample(pm.generate_cells(None,c,(1120,1120),masks='layout',seed=seed),(1120,1120))
            return pm.generate_mask(OLD.mask,c,(1120,1120),seed=seed,precision='bf16')
        masks=[(c,m) for c in names for s_ in (0,1) for m in cut_canvas(draw(c,s_),(224,224))[:(N+1)//2]]
        cond=torch.stack([condition_map(pool_mask(torch.from_numpy(np.ascontiguousarray(m)).long()[None])[0],c) for c,m in masks]); who=[c for c,_ in masks]
    elif 'null' in mode: cond=torch.stack([condition_map(torch.zeros(28,28,dtype=torch.long),ctx[i]) for i in sel]); who=[ctx[i] for i in sel]
    else: cond=torch.stack([condition_map(pool_mask(tiles['masks'][i][None])[0],ctx[i]) for i in sel]); who=[ctx[i] for i in sel]
    g=torch.Generator().manual_seed(0); n=len(who)
    def ddim(net,shape,beside,steps,batch=12,eta=0.):
        z=torch.randn(shape,generator=g); ts=torch.linspace(999,0,steps+1).long()
        with torch.no_grad(), torch.autocast('cpu',torch.bfloat16):
            for s,t in zip(ts[:-1],ts[1:]):
                A=al[s]; v=torch.cat([net((z[k:k+batch] if beside is None else torch.cat([z[k:k+batch],beside[k:k+batch]],1)),torch.full((len(z[k:k+batch]),),int(s)),cond[k:k+batch]).float() for k in range(0,len(z),batch)])
                x0=A.sqrt()*z-(1-A).sqrt()*v; eps=(1-A).sqrt()*z+A.sqrt()*v; B=al[t] if t>0 else torch.tensor(1.)
                s2=eta**2*(1-B)/(1-A)*(1-A/B) if t>0 else torch.tensor(0.)
                z=B.sqrt()*x0+(1-B-s2).clamp(min=0).sqrt()*eps+(s2.sqrt()*torch.randn(z.shape,generator=g) if eta else 0)
        return z
    if 'oldown' in mode: models=OLD; beside=None
    else:
        codes=torch.stack([d.appearance.draw(c,g) for c in who])
        small=ddim(d.network,(n,3,28,28),torch.cat([codes,torch.ones(n,1)],1)[:,:,None,None].expand(-1,-1,28,28),40,eta=1.).clamp(-6,6)
        beside=torch.cat([small+.1*torch.randn(small.shape,generator=g),torch.full((n,1,28,28),.1)],1)
    z=ddim(models.image,(n,8,28,28),beside,20)
    with torch.no_grad(): made=torch.cat([models.autoencoder.decode(z[k:k+8]).clamp(-1,1) for k in range(0,n,8)])
    made=np.stack([to_rgb(x) for x in made])
elif mode=='pipe-real':
    from diffinfinite_lite import generate
    made=np.stack([generate(ctx[i],tiles['masks'][i].numpy(),seed=k,steps=20,precision='bf16').image for k,i in enumerate(sel)])
np.save(out,made)
cut=lambda x: x[:,CROP:-CROP,CROP:-CROP]
cache=Path('/root/land/iso_real.npy')
test=[]; seen={}
for t in catalog.load('lc25000-lung','test',normalised=True): seen.setdefault(t.cluster,[]).append(t.image)
for v in seen.values(): test+=v[:2]
test=np.stack([to_rgb(x[:,:224,:224]) for x in test]); real=np.stack([tiles['images'][i].numpy() for i in sel])
for name,ext in (('EfficientNet',efficientnet_features()),('handcrafted',HandcraftedFeatures())):
    F=[np.asarray(ext([to_tensor(x) for x in cut(s)])) for s in (test,real,made)]
    S=Standardiser.fit(F[0]); T,R,M=[S(f) for f in F]
    base=fidelity.frechet_distance(T,R); pr=fidelity.precision_recall(T,M); rr=fidelity.precision_recall(T,R)
    per=[round(fidelity.frechet_distance(T,M[k*N:(k+1)*N]),0) for k in range(3)]
    print(mode,json.dumps({'ruler':name,'FD over real':round(fidelity.frechet_distance(T,M)/base,2),'precision':round(pr.precision/rr.precision,2),'recall':round(pr.recall/rr.recall,2)}),flush=True)
