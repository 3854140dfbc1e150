import glob,os,numpy as np
from diffinfinite_lite.data import catalog
from diffinfinite_lite.data.tiles import to_rgb
D='/root/evaltree/runs/eval/967a92bf7143/'
pool=lambda x: x.reshape(len(x),28,8,28,8,3).mean((2,4))
real={}
for t in catalog.load('lc25000-lung','test',normalised=True,one_per_cluster=True): real.setdefault(t.context,[]).append(to_rgb(t.image)[:224,:224])
def row(x):
    x=x.astype(float); p=pool(x); fine=x-p.repeat(8,1).repeat(8,2)
    g=lambda a: np.round(a.mean(),1)
    between=x.mean((1,2)).std(0); within=p.std((1,2)).mean(0)
    return dict(mean=np.round(x.mean((0,1,2)),0).tolist(),between_tiles=np.round(between,1).tolist(),thumb_within=np.round(within,1).tolist(),fine=np.round(fine.std((1,2)).mean(0),1).tolist(),p01=np.round(np.percentile(x[:,::2,::2].reshape(-1,3),1,axis=0),0).tolist(),p99=np.round(np.percentile(x[:,::2,::2].reshape(-1,3),99,axis=0),0).tolist())
for c in ('adenocarcinoma','squamous','normal'):
    print(c); print('  real   ',row(np.stack(real[c])))
    gen,dr=[],[]
    for s in (0,1,2):
        f=[x for x in glob.glob(D+f"{c}-1120-{s}-*.npz") if 'mixture' not in x]; z=np.load(max(f,key=os.path.getmtime)); gen.append(z['generated']); dr.append(z['drafts'])
    gen,dr=np.concatenate(gen),np.concatenate(dr).astype(float)
    print('  made   ',row(gen)); print('  drafts  between',np.round(dr.mean((1,2)).std(0),1).tolist(),'within',np.round(dr.std((1,2)).mean(0),1).tolist(),'mean',np.round(dr.mean((0,1,2)),0).tolist())
