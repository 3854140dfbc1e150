"""paint.py NAME N [key=value ...]: N tiles a context, whole, through the library; masks shared."""
import os,sys,time,warnings; warnings.simplefilter("ignore")
import numpy as np,torch; torch.set_num_threads(1)
from dataclasses import replace
from diffinfinite_lite import generate
from diffinfinite_lite.models.pretrained import load_models,load_draft
from diffinfinite_lite.pipelines import stages, generate as gen_mod
name,N=sys.argv[1],int(sys.argv[2]); how=dict(a.split('=') for a in sys.argv[3:])
M='/root/trial/masks.npz'
names=('adenocarcinoma','squamous','normal')
if not os.path.exists(M):
    from diffinfinite_lite.pipelines.masks import generate_mask
    from diffinfinite_lite.evaluation.inputs import cut_canvas
    models=load_models()
    out={c:np.concatenate([cut_canvas(generate_mask(models.mask,c,(1120,1120),seed=s,precision="fp32"),(224,224)) for s in (0,1)]) for c in names}
    np.savez(M,**out); print({c:x.shape for c,x in out.items()},flush=True)
masks=np.load(M)
models,d=load_models(),load_draft()
models.image.gain=float(how.get('gain',1)); d.network.gain=float(how.get('dgain',1))
find=stages.find_stages
def mine(*a,**k):
    out=find(*a,**k)
    if how.get('draft')=='ddim' and len(out)>1:
        out[0]=replace(out[0],method=replace(out[0].method,solver='ddim',eta=float(how.get('deta',1))))
    return out
for mod in list(sys.modules.values()):
    if getattr(mod,'find_stages',None) is find: mod.find_stages=mine
kw=dict(steps=int(how.get('steps',20)),precision='fp32',solver=how.get('solver','dpm-solver++'))
if 'draft_steps' in how: kw['draft_steps']=int(how['draft_steps'])
if 'noise' in how: kw['draft_noise']=float(how['noise'])
if 'omega' in how: kw['omega']=float(how['omega'])
pool=lambda x: x.reshape(len(x),28,8,28,8,3).mean((2,4))
made={c:[] for c in names}; t=time.time()
for n in range(N):
    for c in names: made[c].append(generate(c,masks[c][n%50],seed=n,**kw).image)
    if n%4==3 or n==N-1:
        np.savez(f'/root/trial/{name}.part.npz',**{c:np.stack(x) for c,x in made.items()}); os.replace(f'/root/trial/{name}.part.npz',f'/root/trial/{name}.npz')
        s=[]
        for c in names:
            x=np.stack(made[c]).astype(float); p=pool(x); s.append('%.1f/%.1f'%(p.std((1,2)).mean(),(x-p.repeat(8,1).repeat(8,2)).std((1,2)).mean()))
        print(name,n+1,*s,'%.1f s a tile'%((time.time()-t)/3/(n+1)),flush=True)
